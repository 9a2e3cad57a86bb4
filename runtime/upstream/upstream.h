// SPDX-License-Identifier: MIT
// A named set of endpoints and the choice among them. Belongs to one generation; the pools behind the endpoints outlive it.
#ifndef PERI_UPSTREAM_UPSTREAM_H
#define PERI_UPSTREAM_UPSTREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"
#include "upstream/pool.h"

enum peri_balance {
    PERI_BALANCE_ROUND_ROBIN,   ///< smooth weighted round robin
    PERI_BALANCE_RANDOM,        ///< by weight
    PERI_BALANCE_LEAST_REQUEST, ///< the less loaded of two random endpoints, load over weight
};

struct peri_endpoint {
    struct peri_pool *pool; ///< one reference, owned
    uint32_t weight;        ///< 1 or more
    int64_t current;        ///< round robin's credit
    uint32_t active;        ///< attempts under way in this worker
};

struct peri_upstream {
    struct peri_slice name; ///< owned copy
    struct peri_endpoint *endpoints;
    uint32_t count;
    uint32_t weight_sum;
    enum peri_balance balance;
    uint64_t connect_ms; ///< to establish a connection; 0 for no limit
    uint64_t request_ms; ///< from the complete request to the response head
    uint64_t idle_ms;    ///< without a byte of the response body
    int32_t metrics;     ///< row of peri_metrics_upstream
    uint64_t random;     ///< state of the generator
};

/// An empty upstream (settings zero); NULL when out of memory.
struct peri_upstream *peri_upstream_new(struct peri_slice name);

/// Releases the pools and frees the upstream; no attempt refers to its endpoints.
void peri_upstream_free(struct peri_upstream *upstream);

/// Adds an endpoint. PERI_ERR_INVALID for a malformed address; PERI_ERR_NOMEM.
peri_err_t peri_upstream_add(struct peri_upstream *upstream, struct peri_pools *pools, struct peri_slice address,
                             uint32_t weight, const struct peri_pool_settings *settings);

/// Chooses an endpoint by the upstream's balance, not `except` when there is another (NULL: any). NULL when there is none.
struct peri_endpoint *peri_upstream_pick(struct peri_upstream *upstream, const struct peri_endpoint *except);

/// The endpoint with this address, or NULL.
struct peri_endpoint *peri_upstream_find(struct peri_upstream *upstream, struct peri_slice address);

#endif
