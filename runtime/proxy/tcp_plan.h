// SPDX-License-Identifier: MIT
// Where the connections of a listener that passes TCP on go: by the server name that the client asks for, or all to one upstream.
// Read from the normalised configuration (peri_generation_read_tcp); belongs to one generation.
#ifndef PERI_PROXY_TCP_PLAN_H
#define PERI_PROXY_TCP_PLAN_H

#include <stdint.h>

#include "base/slice.h"

struct peri_upstream;

struct peri_tcp_name {
    struct peri_slice name; ///< in lower case; ".suffix" for every name below it
    struct peri_upstream *upstream;
};

struct peri_tcp_plan {
    struct peri_slice address;      ///< of the listener
    struct peri_upstream *upstream; ///< for all others; NULL: they are closed
    struct peri_tcp_name *names;    ///< longest first, so that the first one that fits is the right one
    uint32_t count;
    int32_t connect; ///< number of its policies' chain (script/connect.h); -1: it has none
    int32_t metrics; ///< row of peri_metrics_listener
};

/// The upstream for a client that asks for `server_name` (in lower case, "" for none); NULL for none.
struct peri_upstream *peri_tcp_plan_find(const struct peri_tcp_plan *plan, struct peri_slice server_name);

#endif
