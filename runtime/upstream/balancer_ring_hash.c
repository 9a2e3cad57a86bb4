// SPDX-License-Identifier: MIT
// Ketama: every endpoint has points on a ring, in number by its weight, and a key belongs to the first point at or behind its hash.
// The points are XXH64 of "ADDRESS_NUMBER". Their number depends on nothing but the endpoint's weight against the least one (Envoy's
// depends on how many endpoints there are): when an endpoint comes or goes, only the keys of its own points move.
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/xxh64.h"
#include "upstream/balancer.h"
#include "upstream/endpoint.h"
#include "upstream/pool.h"

#define NAME_MAX_LEN 512

struct point {
    uint64_t hash;
    struct peri_endpoint *endpoint;
};

struct ring {
    struct peri_balancer base;
    uint32_t count;
    struct point points[];
};

static int compare(const void *a, const void *b)
{
    const struct point *p = a, *q = b;
    return p->hash < q->hash ? -1 : p->hash > q->hash;
}

// Points of an endpoint: two of the least weight fill the smallest ring. Fewer when the largest one would be too small.
static uint32_t points_of(const struct peri_balancer_settings *settings, const struct peri_endpoint *endpoint,
                          uint64_t least, uint64_t sum)
{
    uint64_t each = (settings->ring_min + 1) / 2;
    uint64_t total = each * sum / least;
    uint64_t points = each * endpoint->weight / least;
    if (total > settings->ring_max)
        points = (uint64_t)settings->ring_max * endpoint->weight / sum;
    return points > 0 ? (uint32_t)points : 1;
}

static void add_points(struct ring *ring, struct peri_endpoint *endpoint, uint32_t count)
{
    char text[NAME_MAX_LEN];
    struct peri_slice address = peri_pool_address(endpoint->pool);
    int len = (int)(address.len < sizeof(text) - 16 ? address.len : sizeof(text) - 16);
    for (uint32_t i = 0; i < count; i++) {
        int end = snprintf(text, sizeof(text), "%.*s_%u", len, address.ptr, i);
        ring->points[ring->count++] = (struct point){peri_xxh64(peri_slice(text, (size_t)end), 0), endpoint};
    }
}

static struct peri_balancer *create(const struct peri_balancer_settings *settings, struct peri_endpoint_set all)
{
    uint64_t sum = 0, least = UINT32_MAX;
    for (uint32_t i = 0; i < all.count; i++) {
        sum += all.items[i]->weight;
        least = all.items[i]->weight < least ? all.items[i]->weight : least;
    }
    size_t total = 0;
    for (uint32_t i = 0; i < all.count; i++)
        total += points_of(settings, all.items[i], least, sum);
    struct ring *ring = (struct ring *)peri_balancer_alloc(
        &peri_balancer_ring_hash, settings, sizeof(*ring) - sizeof(ring->base) + total * sizeof(ring->points[0]));
    if (!ring)
        return NULL;
    for (uint32_t i = 0; i < all.count; i++)
        add_points(ring, all.items[i], points_of(settings, all.items[i], least, sum));
    peri_assert(ring->count == total);
    qsort(ring->points, ring->count, sizeof(ring->points[0]), compare);
    return &ring->base;
}

// The first point at or behind `hash`.
static uint32_t find(const struct ring *ring, uint64_t hash)
{
    uint32_t low = 0, high = ring->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (ring->points[middle].hash < hash)
            low = middle + 1;
        else
            high = middle;
    }
    return low < ring->count ? low : 0;
}

static bool has_room(const struct ring *ring, const struct peri_endpoint_set *set, const struct peri_endpoint *endpoint)
{
    uint32_t bound = ring->base.settings.load_bound;
    return bound == 0 || *endpoint->active < peri_endpoint_set_bound(set, endpoint, bound);
}

static struct peri_endpoint *pick(const struct peri_balancer *balancer, const struct peri_endpoint_set *set,
                                  const struct peri_balance_question *question)
{
    const struct ring *ring = (const struct ring *)balancer;
    struct peri_endpoint *first = NULL, *last = NULL;
    uint32_t at = find(ring, question->hash);
    for (uint32_t i = 0; i < ring->count; i++, at = at + 1 < ring->count ? at + 1 : 0) {
        struct peri_endpoint *endpoint = ring->points[at].endpoint;
        if (endpoint == last || !peri_endpoint_set_has(set, endpoint))
            continue;
        if (has_room(ring, set, endpoint))
            return endpoint;
        first = first ? first : endpoint;
        last = endpoint;
    }
    peri_assert(first != NULL); // every endpoint has a point
    return first;
}

const struct peri_balancer_type peri_balancer_ring_hash = {
    .name = "ring_hash", .is_keyed = true, .create = create, .pick = pick};
