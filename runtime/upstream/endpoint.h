// SPDX-License-Identifier: MIT
// One address of an upstream, as this worker sees it: what was configured, what balancers remember about it, whether it can be
// used. Plain data; belongs to its upstream.
#ifndef PERI_UPSTREAM_ENDPOINT_H
#define PERI_UPSTREAM_ENDPOINT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/slice.h"
#include "upstream/ewma.h"

struct peri_pool;
struct peri_response;

#define PERI_SHARE_UNIT 1000u     ///< share of an endpoint of weight 1
#define PERI_PRIORITIES 16        ///< priorities are 0 (first) to 15
#define PERI_ZONES 32             ///< zones of one upstream
#define PERI_ZONE_NONE PERI_ZONES ///< an endpoint without a zone

struct peri_label {
    struct peri_slice name;
    struct peri_slice value;
};

/// Labels of an endpoint, or those that a request asks for. Borrowed.
struct peri_labels {
    const struct peri_label *items;
    uint32_t count;
};

struct peri_endpoint {
    struct peri_pool *pool;    ///< one reference, owned
    const uint32_t *health;    ///< 0: can be used; borrowed, may be shared with other processes; NULL: nobody watches
    uint32_t weight;           ///< 1 or more
    uint32_t share;            ///< weight in thousandths; less during slow start
    int64_t current;           ///< credit in round_robin and least_request
    struct peri_ewma load;     ///< of ewma
    uint32_t *active;          ///< attempts under way (peri_pool_active): other sets and generations count there too
    uint32_t mark;             ///< number of the set that the endpoint was last gathered into
    uint32_t priority;         ///< 0 is asked first
    uint32_t zone;             ///< number in the upstream; PERI_ZONE_NONE
    uint64_t started_ms;       ///< slow start began; 0: it is over
    bool was_available;        ///< at the last look
    struct peri_labels labels; ///< borrowed
    struct peri_slice token;   ///< names it in sticky cookies; borrowed; empty for none
};

/// What became of one attempt.
struct peri_result {
    peri_err_t err; ///< PERI_OK: a response head came; PERI_ERR_CLIENT_GONE: nobody waited for it any more
    const struct peri_response *res; ///< the head, borrowed for the call; NULL without one
    uint64_t latency_ns;             ///< from the attempt's begin to the head, or to its end without one
    uint64_t now_ns;                 ///< monotonic
    bool goes_on;                    ///< whoever tells it will hear of the response's end too (peri_endpoint_conclude)
};

/// May attempts be sent there? The only question that balancing asks about health.
static inline bool peri_endpoint_is_available(const struct peri_endpoint *endpoint)
{
    return !endpoint->health || __atomic_load_n(endpoint->health, __ATOMIC_RELAXED) == 0;
}

/// An attempt on the endpoint begins, as far as balancing is concerned.
static inline void peri_endpoint_enter(const struct peri_endpoint *endpoint)
{
    ++*endpoint->active;
}

/// It is over.
static inline void peri_endpoint_leave(const struct peri_endpoint *endpoint)
{
    peri_assert(*endpoint->active > 0);
    --*endpoint->active;
}

/// Has the endpoint all of `labels`?
bool peri_endpoint_has(const struct peri_endpoint *endpoint, const struct peri_labels *labels);

#endif
