// SPDX-License-Identifier: MIT
// Endpoint sets and the simple balancers.
#include "upstream/upstream.h"

#include <stdlib.h>

#include "base/assert.h"

struct peri_upstream *peri_upstream_new(struct peri_slice name)
{
    struct peri_upstream *upstream = calloc(1, sizeof(*upstream));
    char *copy = malloc(name.len + 1);
    if (!upstream || !copy) {
        free(upstream);
        free(copy);
        return NULL;
    }
    memcpy(copy, name.ptr, name.len);
    copy[name.len] = '\0';
    upstream->name = peri_slice(copy, name.len);
    upstream->random = (uint64_t)(uintptr_t)upstream | 1;
    return upstream;
}

void peri_upstream_free(struct peri_upstream *upstream)
{
    for (uint32_t i = 0; i < upstream->count; i++)
        peri_pool_release(upstream->endpoints[i].pool);
    free(upstream->endpoints);
    free((void *)(uintptr_t)upstream->name.ptr);
    free(upstream);
}

peri_err_t peri_upstream_add(struct peri_upstream *upstream, struct peri_pools *pools, struct peri_slice address,
                             uint32_t weight, const struct peri_pool_settings *settings)
{
    struct peri_endpoint *grown = realloc(upstream->endpoints, (upstream->count + 1) * sizeof(*grown));
    if (!grown)
        return PERI_ERR_NOMEM;
    upstream->endpoints = grown;
    struct peri_pool *pool = peri_pools_get(pools, address, settings);
    if (!pool)
        return PERI_ERR_INVALID;
    grown[upstream->count++] = (struct peri_endpoint){.pool = pool, .weight = weight ? weight : 1};
    upstream->weight_sum += weight ? weight : 1;
    return PERI_OK;
}

// xorshift64* (Vigna 2016): balance needs evenness, not secrecy.
static uint64_t upstream_random(struct peri_upstream *upstream)
{
    uint64_t x = upstream->random;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    upstream->random = x;
    return (x * 2685821657736338717ull) >> 32;
}

// nginx's smooth weighted round robin: everybody earns its weight, the richest is chosen and pays the sum.
static struct peri_endpoint *pick_round_robin(struct peri_upstream *upstream, const struct peri_endpoint *except)
{
    struct peri_endpoint *best = NULL;
    for (uint32_t i = 0; i < upstream->count; i++) {
        struct peri_endpoint *endpoint = &upstream->endpoints[i];
        endpoint->current += endpoint->weight;
        if (endpoint != except && (!best || endpoint->current > best->current))
            best = endpoint;
    }
    best->current -= upstream->weight_sum;
    return best;
}

static struct peri_endpoint *pick_random(struct peri_upstream *upstream, const struct peri_endpoint *except)
{
    uint32_t sum = upstream->weight_sum - (except ? except->weight : 0);
    uint32_t at = (uint32_t)(upstream_random(upstream) % sum);
    struct peri_endpoint *endpoint = upstream->endpoints;
    for (;; endpoint++) {
        if (endpoint == except)
            continue;
        if (at < endpoint->weight)
            return endpoint;
        at -= endpoint->weight;
    }
}

static struct peri_endpoint *pick_least_request(struct peri_upstream *upstream, const struct peri_endpoint *except)
{
    struct peri_endpoint *a = pick_random(upstream, except);
    struct peri_endpoint *b = pick_random(upstream, except);
    uint64_t load_a = (uint64_t)(a->active + 1) * b->weight;
    uint64_t load_b = (uint64_t)(b->active + 1) * a->weight;
    return load_b < load_a ? b : a;
}

struct peri_endpoint *peri_upstream_pick(struct peri_upstream *upstream, const struct peri_endpoint *except)
{
    peri_debug_assert(upstream->count == 0 || upstream->weight_sum > 0);
    if (upstream->count == 0)
        return NULL;
    if (upstream->count == 1)
        return upstream->endpoints;
    switch (upstream->balance) {
    case PERI_BALANCE_RANDOM: return pick_random(upstream, except);
    case PERI_BALANCE_LEAST_REQUEST: return pick_least_request(upstream, except);
    default: return pick_round_robin(upstream, except);
    }
}

struct peri_endpoint *peri_upstream_find(struct peri_upstream *upstream, struct peri_slice address)
{
    for (uint32_t i = 0; i < upstream->count; i++)
        if (peri_slice_eq(peri_pool_address(upstream->endpoints[i].pool), address))
            return &upstream->endpoints[i];
    return NULL;
}
