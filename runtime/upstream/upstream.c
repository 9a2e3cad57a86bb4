// SPDX-License-Identifier: MIT
// The life of an upstream; choices go through upstream/select and a balancer.
#include "upstream/upstream.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/xxh64.h"
#include "codec/digest.h"
#include "exchange/exchange.h"
#include "upstream/guard.h"
#include "upstream/random.h"
#include "upstream/select.h"

#define PANIC_PERCENT 50
#define PICKS_MAX 16 ///< more often than that states do not change between two looks

// Workers and upstreams begin at different places.
static uint64_t make_seed(const struct peri_upstream *upstream)
{
    uint64_t seed;
    if (peri_digest_random((unsigned char *)&seed, sizeof(seed)) != PERI_OK)
        seed = (uint64_t)(uintptr_t)upstream;
    return seed | 1;
}

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
    upstream->random = make_seed(upstream);
    upstream->balance = (struct peri_balance){
        .type = &peri_balancer_round_robin,
        .settings = peri_balancer_defaults,
        .panic_percent = PANIC_PERCENT,
        .zone = PERI_ZONE_NONE,
    };
    return upstream;
}

void peri_upstream_free(struct peri_upstream *upstream)
{
    peri_guard_free(upstream->guard);
    for (uint32_t i = 0; i < upstream->count; i++)
        peri_pool_release(upstream->endpoints[i].pool);
    free(upstream->balancer);
    free(upstream->whole.items);
    free(upstream->endpoints);
    free((void *)(uintptr_t)upstream->name.ptr);
    free(upstream);
}

peri_err_t peri_upstream_add(struct peri_upstream *upstream, struct peri_pools *pools, struct peri_slice address,
                             uint32_t weight, const struct peri_pool_settings *settings)
{
    peri_debug_assert(!upstream->balancer);
    struct peri_endpoint *grown = realloc(upstream->endpoints, (upstream->count + 1) * sizeof(*grown));
    if (!grown)
        return PERI_ERR_NOMEM;
    upstream->endpoints = grown;
    struct peri_pool *pool = peri_pools_get(pools, address, settings);
    if (!pool)
        return PERI_ERR_INVALID;
    weight = weight > 0 ? weight : 1;
    grown[upstream->count++] = (struct peri_endpoint){
        .pool = pool,
        .active = peri_pool_active(pool),
        .weight = weight,
        .share = weight * PERI_SHARE_UNIT,
        .zone = PERI_ZONE_NONE,
        .was_available = true,
    };
    return PERI_OK;
}

static void list_all(struct peri_upstream *upstream)
{
    struct peri_endpoint_set *all = &upstream->whole;
    *all = (struct peri_endpoint_set){.items = all->items, .count = upstream->count, .is_even = true};
    upstream->tier_count = 1;
    for (uint32_t i = 0; i < upstream->count; i++) {
        struct peri_endpoint *endpoint = &upstream->endpoints[i];
        peri_assert(endpoint->priority < PERI_PRIORITIES);
        all->items[i] = endpoint;
        all->shares += endpoint->share;
        all->is_even = all->is_even && endpoint->share == upstream->endpoints[0].share;
        if (endpoint->priority >= upstream->tier_count)
            upstream->tier_count = endpoint->priority + 1;
    }
}

peri_err_t peri_upstream_seal(struct peri_upstream *upstream)
{
    const struct peri_balance *balance = &upstream->balance;
    peri_assert(!upstream->balancer);
    struct peri_endpoint **items = calloc(2 * (size_t)upstream->count + 1, sizeof(*items));
    if (!items)
        return PERI_ERR_NOMEM;
    free(upstream->whole.items);
    upstream->whole.items = items;
    upstream->set.items = items + upstream->count;
    list_all(upstream);
    upstream->is_lone =
        upstream->count == 1 && balance->panic_percent > 0 && !(upstream->guard && upstream->guard->has_accrual);
    upstream->balancer = balance->type->create(&balance->settings, upstream->whole);
    return upstream->balancer ? PERI_OK : PERI_ERR_NOMEM;
}

// What is known of the endpoints' state may not hold any more.
static void look_again(struct peri_upstream *upstream)
{
    upstream->view.at_ms = 0;
    upstream->view.is_simple = false;
}

void peri_endpoint_watch(struct peri_upstream *upstream, struct peri_endpoint *endpoint, const uint32_t *health)
{
    endpoint->health = health;
    look_again(upstream);
}

void peri_upstream_inherit(struct peri_upstream *upstream, const struct peri_upstream *old, uint64_t now_ms)
{
    for (uint32_t i = 0; i < upstream->count; i++) {
        struct peri_endpoint *endpoint = &upstream->endpoints[i];
        uint32_t k = 0;
        while (k < old->count &&
               !peri_slice_eq(peri_pool_address(old->endpoints[k].pool), peri_pool_address(endpoint->pool)))
            k++;
        if (k < old->count) {
            endpoint->load = old->endpoints[k].load;
            endpoint->started_ms = old->endpoints[k].started_ms;
            endpoint->was_available = old->endpoints[k].was_available;
        } else if (upstream->balance.slow_start_ms > 0) {
            endpoint->started_ms = now_ms;
        }
    }
    look_again(upstream);
}

// The endpoint that the client's cookie names, while it can be used.
static struct peri_endpoint *find_sticky(struct peri_upstream *upstream, const struct peri_pick *pick)
{
    for (uint32_t i = 0; i < upstream->count; i++) {
        struct peri_endpoint *endpoint = &upstream->endpoints[i];
        if (peri_slice_eq(endpoint->token, pick->token))
            return endpoint != pick->except && peri_endpoint_is_available(endpoint) &&
                           peri_endpoint_has(endpoint, pick->labels)
                       ? endpoint
                       : NULL;
    }
    return NULL;
}

static struct peri_endpoint *choose(struct peri_upstream *upstream, struct peri_pick *pick)
{
    struct peri_endpoint *sticky = pick->token.len > 0 ? find_sticky(upstream, pick) : NULL;
    pick->is_sticky = sticky != NULL;
    if (sticky)
        return sticky;
    const struct peri_endpoint_set *set = peri_upstream_select(upstream, pick);
    pick->among = set->count;
    if (set->count < 2)
        return set->count > 0 ? set->items[0] : NULL;
    struct peri_balance_question question = {
        .hash = pick->hash,
        .now_ns = pick->now_ns,
        .random = &upstream->random,
    };
    if (upstream->balance.type->is_keyed && !pick->has_hash)
        question.hash = (uint64_t)peri_random_next(&upstream->random) << 32 | peri_random_next(&upstream->random);
    return upstream->balance.type->pick(upstream->balancer, set, &question);
}

// A state may have changed since the last look; in a panic, which is known after another one, it does not matter.
static bool may_use(struct peri_upstream *upstream, const struct peri_endpoint *endpoint, struct peri_pick *pick,
                    bool has_looked)
{
    if (endpoint->was_available && !peri_endpoint_is_available(endpoint))
        return false; // another worker has just found out
    struct peri_guard *guard = upstream->guard;
    uint32_t index = (uint32_t)(endpoint - upstream->endpoints);
    return !guard || pick->is_idle || peri_guard_admit(guard, index, pick->now_ns, &pick->is_probe) ||
           (has_looked && !peri_endpoint_is_available(endpoint));
}

struct peri_endpoint *peri_upstream_pick(struct peri_upstream *upstream, struct peri_pick *pick)
{
    if (upstream->count == 0)
        return NULL;
    peri_assert(upstream->balancer != NULL);
    struct peri_endpoint *endpoint = choose(upstream, pick);
    for (unsigned i = 0; endpoint && !may_use(upstream, endpoint, pick, i > 0) && i < PICKS_MAX; i++) {
        look_again(upstream);
        endpoint = choose(upstream, pick);
    }
    return endpoint;
}

struct peri_endpoint *peri_upstream_pick_for(struct peri_upstream *upstream, const struct peri_exchange *x,
                                             struct peri_pick *pick)
{
    const struct peri_balance *balance = &upstream->balance;
    if (balance->cookie.len > 0)
        pick->token = peri_headers_find_cookie(&x->req.headers, balance->cookie);
    if (x->wish && x->wish->labels.count > 0)
        pick->labels = &x->wish->labels;
    if (balance->type->is_keyed) {
        struct peri_slice key = peri_request_key(x, &balance->key);
        pick->has_hash = key.ptr != NULL;
        pick->hash = key.ptr ? peri_xxh64(key, 0) : 0;
    }
    return peri_upstream_pick(upstream, pick);
}

void peri_upstream_forgo(struct peri_upstream *upstream, const struct peri_endpoint *endpoint, uint64_t now_ns)
{
    struct peri_result nothing = {.err = PERI_ERR_CLIENT_GONE, .now_ns = now_ns};
    peri_guard_report(upstream->guard, endpoint, &nothing);
}

struct peri_endpoint *peri_upstream_find(struct peri_upstream *upstream, struct peri_slice address)
{
    for (uint32_t i = 0; i < upstream->count; i++)
        if (peri_slice_eq(peri_pool_address(upstream->endpoints[i].pool), address))
            return &upstream->endpoints[i];
    return NULL;
}

bool peri_endpoint_report(struct peri_upstream *upstream, struct peri_endpoint *endpoint,
                          const struct peri_result *result)
{
    const struct peri_balancer_type *type = upstream->balance.type;
    peri_debug_assert(endpoint >= upstream->endpoints && endpoint < upstream->endpoints + upstream->count);
    if (type->report && result->err != PERI_ERR_OVERLOADED) // that lack is ours: nothing is known of the endpoint
        type->report(upstream->balancer, endpoint, result);
    bool is_open = upstream->guard && peri_guard_report(upstream->guard, endpoint, result);
    if (result->err != PERI_OK || result->res->status >= 500)
        look_again(upstream); // the endpoint may have been ejected for it
    return is_open;
}

void peri_endpoint_conclude(struct peri_upstream *upstream, struct peri_endpoint *endpoint,
                            const struct peri_result *result)
{
    peri_debug_assert(endpoint >= upstream->endpoints && endpoint < upstream->endpoints + upstream->count);
    peri_guard_conclude(upstream->guard, endpoint, result);
    look_again(upstream);
}
