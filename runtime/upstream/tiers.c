// SPDX-License-Identifier: MIT
// Envoy's load balancer, load_balancer_base.cc and its documentation, whose tables are the tests.
#include "upstream/tiers.h"

#include <stddef.h>

#include "base/assert.h"

// Per cent of all requests that the tier can take.
static uint32_t health_of(const struct peri_tier *tier)
{
    uint64_t health = tier->total > 0 ? (uint64_t)tier->available * PERI_OVERPROVISIONING / tier->total : 0;
    return health < 100 ? (uint32_t)health : 100;
}

static bool is_short(const struct peri_tier *tier, uint32_t panic_percent)
{
    return (uint64_t)tier->available * 100 < (uint64_t)tier->total * panic_percent;
}

// Nobody can be relied on: every tier gets what its size says.
static void share_by_size(struct peri_tier *tiers, uint32_t count)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < count; i++)
        total += tiers[i].total;
    for (uint32_t i = 0; i < count && total > 0; i++)
        tiers[i].load = (uint32_t)(100ull * tiers[i].total / total);
}

static void share_by_health(struct peri_tier *tiers, uint32_t count, uint32_t sum)
{
    uint32_t left = 100;
    for (uint32_t i = 0; i < count && sum > 0; i++) {
        uint32_t load = health_of(&tiers[i]) * 100 / sum;
        tiers[i].load = load < left ? load : left;
        left -= tiers[i].load;
    }
}

// What rounding left over goes to the first tier that has something, or to the first one with endpoints.
static void give_rest(struct peri_tier *tiers, uint32_t count)
{
    struct peri_tier *first = NULL;
    uint32_t left = 100;
    for (uint32_t i = 0; i < count; i++) {
        left -= tiers[i].load;
        if (tiers[i].total > 0 && (!first || (first->load == 0 && tiers[i].load > 0)))
            first = &tiers[i];
    }
    if (first)
        first->load += left;
}

void peri_tiers_share(struct peri_tier *tiers, uint32_t count, uint32_t panic_percent)
{
    uint32_t sum = 0;
    bool is_total = panic_percent > 0; // panic everywhere
    for (uint32_t i = 0; i < count; i++) {
        tiers[i].load = 0;
        sum += health_of(&tiers[i]);
    }
    sum = sum < 100 ? sum : 100;
    for (uint32_t i = 0; i < count; i++) {
        tiers[i].is_panic = sum < 100 && is_short(&tiers[i], panic_percent);
        is_total = is_total && (tiers[i].is_panic || tiers[i].total == 0);
    }
    if (is_total)
        share_by_size(tiers, count);
    else
        share_by_health(tiers, count, sum);
    give_rest(tiers, count);
}

uint32_t peri_tiers_choose(const struct peri_tier *tiers, uint32_t count, uint32_t percent)
{
    peri_debug_assert(count > 0 && percent < 100);
    for (uint32_t i = 0; i + 1 < count; i++) {
        if (percent < tiers[i].load)
            return i;
        percent -= tiers[i].load;
    }
    return count - 1;
}

uint32_t peri_zones_choose(const uint32_t *available, uint32_t count, uint32_t own, uint32_t random)
{
    uint64_t total = 0, spare = 0;
    peri_debug_assert(own < count);
    for (uint32_t i = 0; i < count; i++)
        total += available[i];
    for (uint32_t i = 0; i < count; i++) // spare and even part are counted in endpoints times zones
        spare += (uint64_t)available[i] * count > total ? (uint64_t)available[i] * count - total : 0;
    uint64_t at = (uint64_t)random * total >> 32; // of the requests of an even part
    if (at < (uint64_t)available[own] * count || spare == 0)
        return own;
    at = ((uint64_t)random * 0x9e3779b97f4a7c15u >> 32) * spare >> 32;
    uint32_t zone = 0;
    for (;; zone++) {
        uint64_t part = (uint64_t)available[zone] * count > total ? (uint64_t)available[zone] * count - total : 0;
        if (at < part)
            return zone;
        at -= part;
    }
}

uint32_t peri_slow_start_share(uint64_t elapsed_ms, uint64_t window_ms)
{
    if (elapsed_ms >= window_ms)
        return 1000;
    uint32_t share = (uint32_t)(elapsed_ms * 1000 / window_ms);
    return share > 100 ? share : 100;
}
