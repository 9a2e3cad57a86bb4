// SPDX-License-Identifier: MIT
// What the balancers have in common.
#include "upstream/balancer.h"

#include <stdlib.h>

#include "base/assert.h"
#include "upstream/endpoint.h"
#include "upstream/random.h"

const struct peri_balancer_settings peri_balancer_defaults = {
    .ring_min = 1024,
    .ring_max = 1048576,
    .table_size = 65537,
    .ewma_decay_ns = 10000000000u,
    .ewma_default_ns = 30000000u,
};

const struct peri_balancer_type *peri_balancer_find(struct peri_slice name)
{
    static const struct peri_balancer_type *const types[] = {
        &peri_balancer_round_robin, &peri_balancer_random,    &peri_balancer_least_request,
        &peri_balancer_ewma,        &peri_balancer_ring_hash, &peri_balancer_maglev,
    };
    for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if (peri_slice_eq(name, peri_slice_from(types[i]->name)))
            return types[i];
    return NULL;
}

struct peri_balancer *peri_balancer_alloc(const struct peri_balancer_type *type,
                                          const struct peri_balancer_settings *settings, size_t extra)
{
    struct peri_balancer *balancer = calloc(1, sizeof(*balancer) + extra);
    if (balancer)
        *balancer = (struct peri_balancer){.type = type, .settings = *settings};
    return balancer;
}

bool peri_endpoint_set_has(const struct peri_endpoint_set *set, const struct peri_endpoint *endpoint)
{
    return set->mark == 0 || endpoint->mark == set->mark;
}

struct peri_endpoint *peri_endpoint_set_random(const struct peri_endpoint_set *set, uint64_t *random)
{
    peri_debug_assert(set->count > 0 && set->shares > 0);
    if (set->is_even)
        return set->items[peri_random_below(random, set->count)];
    uint64_t wide = (uint64_t)peri_random_next(random) << 32 | peri_random_next(random);
    uint64_t at = wide % set->shares;
    uint32_t i = 0;
    while (at >= set->items[i]->share)
        at -= set->items[i++]->share;
    return set->items[i];
}

uint32_t peri_endpoint_set_bound(const struct peri_endpoint_set *set, const struct peri_endpoint *endpoint,
                                 uint32_t bound)
{
    uint64_t active = 1; // the attempt that is to come
    for (uint32_t i = 0; i < set->count; i++)
        active += *set->items[i]->active;
    uint64_t total = active * bound * endpoint->share;
    uint64_t places = (total + 100 * set->shares - 1) / (100 * set->shares);
    return places > UINT32_MAX ? UINT32_MAX : places > 1 ? (uint32_t)places : 1;
}
