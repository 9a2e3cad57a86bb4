// SPDX-License-Identifier: MIT
// Reaches an endpoint of an upstream for a connection that is no request's: chooses one, asks the upstream's breaker, connects, and
// tries the next one when that fails. Each attempt is told to whoever watches over the upstream.
#ifndef PERI_PROXY_REACH_H
#define PERI_PROXY_REACH_H

#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"
#include "upstream/guard.h"

struct peri_dial;
struct peri_endpoint;
struct peri_server;
struct peri_stream;
struct peri_upstream;

/// Embedded in its owner; zero it, but for on_done and client, before use.
struct peri_reach {
    /// The stream of the endpoint, which does not read, or why none was reached. From the loop.
    void (*on_done)(struct peri_reach *reach, peri_err_t err, struct peri_stream *stream);
    struct peri_server *server;     ///< borrowed until peri_reach_leave
    struct peri_upstream *upstream; ///< the same; NULL before the start
    struct peri_slice client;       ///< its address, for balancers that are keyed by it; borrowed likewise
    struct peri_endpoint *endpoint; ///< that counts it as one of its own
    struct peri_dial *dial;         ///< under way, or of the stream
    struct peri_ticket ticket;      ///< of the breaker
    bool is_probe;                  ///< the endpoint is in probation and waits for the result
    uint64_t begun_ns;              ///< when the attempt did
    unsigned attempts;
};

/// Starts. PERI_OK: on_done will be called. Otherwise it will not: PERI_ERR_NO_ENDPOINT, PERI_ERR_UPSTREAM_OVERFLOW, PERI_ERR_NOMEM.
peri_err_t peri_reach_start(struct peri_reach *reach, struct peri_server *server, struct peri_upstream *upstream);

/// Address of the endpoint; empty for none.
struct peri_slice peri_reach_address(const struct peri_reach *reach);

/// Nobody wants the connection any more, or it is over: cancels what is under way and lets go of the upstream. A stream that was given
/// is still the owner's to close. May be called twice.
void peri_reach_leave(struct peri_reach *reach);

/// From the on_close of the stream.
void peri_reach_end(struct peri_reach *reach);

#endif
