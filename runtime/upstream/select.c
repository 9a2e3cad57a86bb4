// SPDX-License-Identifier: MIT
// A look at all endpoints costs a few instructions each, so it is taken once a millisecond (sooner after a failure), and what it
// finds is kept: in the common case that everybody can be used, the set is that of all. A set that was gathered is kept as long
// as the same one is asked for.
#include "upstream/select.h"

#include "base/assert.h"
#include "upstream/guard.h"
#include "upstream/random.h"
#include "upstream/upstream.h"

bool peri_endpoint_has(const struct peri_endpoint *endpoint, const struct peri_labels *labels)
{
    for (uint32_t i = 0; labels && i < labels->count; i++) {
        uint32_t k = 0;
        while (k < endpoint->labels.count && !(peri_slice_eq(endpoint->labels.items[k].name, labels->items[i].name) &&
                                               peri_slice_eq(endpoint->labels.items[k].value, labels->items[i].value)))
            k++;
        if (k == endpoint->labels.count)
            return false;
    }
    return true;
}

// ---- the look ----

// Slow start begins when an endpoint becomes available (or is new: peri_upstream_inherit).
static void set_share(const struct peri_upstream *upstream, struct peri_endpoint *endpoint, bool is_available,
                      uint64_t now_ms)
{
    uint64_t window = upstream->balance.slow_start_ms;
    if (is_available && !endpoint->was_available && window > 0)
        endpoint->started_ms = now_ms;
    endpoint->was_available = is_available;
    endpoint->share = endpoint->weight * PERI_SHARE_UNIT;
    if (endpoint->started_ms == 0)
        return;
    uint32_t part = window > 0 ? peri_slow_start_share(now_ms - endpoint->started_ms, window) : 1000;
    if (part == 1000)
        endpoint->started_ms = 0;
    endpoint->share = endpoint->weight * part; // a thousandth of PERI_SHARE_UNIT times weight each
}

static void sum_up(struct peri_endpoint_set *set)
{
    set->shares = 0;
    set->is_even = true;
    for (uint32_t i = 0; i < set->count; i++) {
        set->shares += set->items[i]->share;
        set->is_even = set->is_even && set->items[i]->share == set->items[0]->share;
    }
}

static void look(struct peri_upstream *upstream, const struct peri_labels *labels, uint64_t now_ms)
{
    struct peri_view *view = &upstream->view;
    uint32_t available = 0;
    if (upstream->guard)
        peri_guard_look(upstream->guard, now_ms - 1); // see peri_upstream_select
    view->at_ms = now_ms;
    view->is_limited = labels != NULL;
    view->is_settled = true;
    view->is_gathered = false;
    for (uint32_t i = 0; i < upstream->tier_count; i++)
        view->tiers[i] = (struct peri_tier){0};
    for (uint32_t i = 0; i < upstream->count; i++) {
        struct peri_endpoint *endpoint = &upstream->endpoints[i];
        bool is_available = peri_endpoint_is_available(endpoint);
        set_share(upstream, endpoint, is_available, now_ms);
        available += is_available;
        view->is_settled = view->is_settled && !endpoint->health && endpoint->started_ms == 0;
        if (labels && !peri_endpoint_has(endpoint, labels))
            continue;
        view->tiers[endpoint->priority].total++;
        view->tiers[endpoint->priority].available += is_available;
    }
    peri_tiers_share(view->tiers, upstream->tier_count, upstream->balance.panic_percent);
    if (upstream->balance.slow_start_ms > 0)
        sum_up(&upstream->whole);
    view->is_whole = !labels && available == upstream->count && upstream->tier_count == 1 &&
                     upstream->balance.zone == PERI_ZONE_NONE;
    view->is_simple = view->is_whole && view->is_settled && upstream->count > 1 && !upstream->balance.type->is_keyed &&
                      upstream->balance.cookie.len == 0;
}

// ---- the set ----

static bool fits(const struct peri_filter *filter, const struct peri_endpoint *endpoint)
{
    return endpoint->priority == filter->priority && endpoint != filter->except &&
           (filter->zone == PERI_ZONE_NONE || endpoint->zone == filter->zone) &&
           (filter->is_panic || peri_endpoint_is_available(endpoint)) &&
           (!filter->labels || peri_endpoint_has(endpoint, filter->labels));
}

static bool is_same(const struct peri_filter *a, const struct peri_filter *b)
{
    return a->labels == b->labels && a->except == b->except && a->priority == b->priority && a->zone == b->zone &&
           a->is_panic == b->is_panic;
}

static void gather(struct peri_upstream *upstream, const struct peri_filter *filter)
{
    struct peri_endpoint_set *set = &upstream->set;
    if (upstream->view.is_gathered && is_same(&upstream->view.filter, filter))
        return;
    set->count = 0;
    set->mark = set->mark + 1 != 0 ? set->mark + 1 : 1;
    for (uint32_t i = 0; i < upstream->count; i++) {
        struct peri_endpoint *endpoint = &upstream->endpoints[i];
        if (!fits(filter, endpoint))
            continue;
        endpoint->mark = set->mark;
        set->items[set->count++] = endpoint;
    }
    sum_up(set);
    upstream->view.filter = *filter;
    upstream->view.is_gathered = true;
}

// The zone of this choice; PERI_ZONE_NONE: anywhere.
static uint32_t choose_zone(struct peri_upstream *upstream, const struct peri_filter *filter)
{
    uint32_t available[PERI_ZONES] = {0}, zones = upstream->balance.zone_count, own = upstream->balance.zone;
    uint32_t total = upstream->view.tiers[filter->priority].available;
    if (own == PERI_ZONE_NONE || filter->is_panic || total < PERI_ZONE_MIN_SIZE)
        return PERI_ZONE_NONE;
    for (uint32_t i = 0; i < upstream->count; i++) {
        const struct peri_endpoint *endpoint = &upstream->endpoints[i];
        if (endpoint->zone != PERI_ZONE_NONE && fits(filter, endpoint))
            available[endpoint->zone]++;
    }
    uint32_t zone = peri_zones_choose(available, zones, own, peri_random_next(&upstream->random));
    return available[zone] > 0 ? zone : PERI_ZONE_NONE;
}

// A key keeps its priority for as long as the loads stay as they are.
static uint32_t choose_percent(struct peri_upstream *upstream, const struct peri_pick *pick)
{
    bool is_keyed = pick->has_hash && upstream->balance.type->is_keyed;
    return is_keyed ? (uint32_t)(pick->hash % 100) : peri_random_below(&upstream->random, 100);
}

const struct peri_endpoint_set *peri_upstream_select(struct peri_upstream *upstream, const struct peri_pick *pick)
{
    const struct peri_view *view = &upstream->view;
    uint64_t now_ms = pick->now_ns / 1000000 + 1; // never 0
    bool is_current = view->at_ms == now_ms || (view->is_settled && view->at_ms != 0);
    if (!is_current || view->is_limited || pick->labels) // labels may be the request's own: nothing is kept for them
        look(upstream, pick->labels, now_ms);
    if (view->is_whole && !pick->except)
        return &upstream->whole;
    struct peri_filter filter = {.labels = pick->labels, .except = pick->except, .zone = PERI_ZONE_NONE};
    if (upstream->tier_count > 1)
        filter.priority = peri_tiers_choose(view->tiers, upstream->tier_count, choose_percent(upstream, pick));
    filter.is_panic = view->tiers[filter.priority].is_panic;
    filter.zone = choose_zone(upstream, &filter);
    gather(upstream, &filter);
    if (upstream->set.count == 0 && pick->except) {
        filter.except = NULL;
        filter.zone = PERI_ZONE_NONE;
        gather(upstream, &filter);
    }
    return &upstream->set;
}
