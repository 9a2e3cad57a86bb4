// SPDX-License-Identifier: MIT
// How one of several endpoints is chosen: one small table of functions for each algorithm, one file balancer_NAME.c for each
// table. A balancer gets the endpoints that can be used (upstream/select) and says which; it knows nothing of health, priorities,
// zones, labels or requests. Time and random numbers come with the question.
#ifndef PERI_UPSTREAM_BALANCER_H
#define PERI_UPSTREAM_BALANCER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

struct peri_balancer;
struct peri_endpoint;
struct peri_result;

/// Endpoints to choose from.
struct peri_endpoint_set {
    struct peri_endpoint **items;
    uint32_t count;
    uint64_t shares; ///< sum over the items
    bool is_even;    ///< all have the same share
    uint32_t mark;   ///< that the items bear; 0: all of the upstream are in it
};

/// What a choice may depend on.
struct peri_balance_question {
    uint64_t hash;    ///< of the request's key, for balancers that have one
    uint64_t now_ns;  ///< monotonic
    uint64_t *random; ///< state of the generator
};

struct peri_balancer_settings {
    uint32_t ring_min;        ///< ring_hash: points at least
    uint32_t ring_max;        ///< ring_hash: points at most
    uint32_t table_size;      ///< maglev: places, a prime
    uint32_t load_bound;      ///< ring_hash, maglev: per cent of the mean load that an endpoint may have; 0: no bound
    uint64_t ewma_decay_ns;   ///< ewma: time in which what was measured loses 63 % of its effect
    uint64_t ewma_default_ns; ///< ewma: round trip of an endpoint that was never asked
};

struct peri_balancer_type {
    const char *name;
    bool is_keyed; ///< the question needs a hash
    /// Makes the balancer for all endpoints of an upstream, which outlive it. NULL when out of memory.
    struct peri_balancer *(*create)(const struct peri_balancer_settings *settings, struct peri_endpoint_set all);
    /// Chooses one of `set`, which has at least two.
    struct peri_endpoint *(*pick)(const struct peri_balancer *balancer, const struct peri_endpoint_set *set,
                                  const struct peri_balance_question *question);
    /// Takes the result of an attempt in; NULL: of no interest.
    void (*report)(const struct peri_balancer *balancer, struct peri_endpoint *endpoint,
                   const struct peri_result *result);
};

/// The head of every balancer; one malloc'ed block.
struct peri_balancer {
    const struct peri_balancer_type *type;
    struct peri_balancer_settings settings;
};

extern const struct peri_balancer_type peri_balancer_round_robin; ///< smooth, weighted
extern const struct peri_balancer_type peri_balancer_random;      ///< by weight
extern const struct peri_balancer_type
    peri_balancer_least_request; ///< the less busy of two; by weight and load when weights differ
extern const struct peri_balancer_type peri_balancer_ewma; ///< the cheaper of two by peak-EWMA and pending attempts
extern const struct peri_balancer_type peri_balancer_ring_hash; ///< ketama
extern const struct peri_balancer_type peri_balancer_maglev;    ///< Maglev's table

/// Defaults of all settings.
extern const struct peri_balancer_settings peri_balancer_defaults;

/// The algorithm of this name, or NULL.
const struct peri_balancer_type *peri_balancer_find(struct peri_slice name);

/// A balancer with `extra` bytes of its own behind its head, zeroed; NULL when out of memory. For the files balancer_*.c.
struct peri_balancer *peri_balancer_alloc(const struct peri_balancer_type *type,
                                          const struct peri_balancer_settings *settings, size_t extra);

/// Is the endpoint in the set?
bool peri_endpoint_set_has(const struct peri_endpoint_set *set, const struct peri_endpoint *endpoint);

/// One of the set at random, by share.
struct peri_endpoint *peri_endpoint_set_random(const struct peri_endpoint_set *set, uint64_t *random);

/// Most attempts that an endpoint of the set may have under way before the next one goes elsewhere (consistent hashing with
/// bounded loads, Mirrokni et al. 2016): its part of `bound` per cent of the mean, and 1 at least.
uint32_t peri_endpoint_set_bound(const struct peri_endpoint_set *set, const struct peri_endpoint *endpoint,
                                 uint32_t bound);

#endif
