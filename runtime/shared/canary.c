// SPDX-License-Identifier: MIT
// The bounds of the buckets, and the sum over the workers.
#include "shared/canary.h"

#include <stddef.h>
#include <string.h>

#include "base/assert.h"
#include "shared/metrics.h"
#include "shared/segment.h"

_Static_assert(offsetof(struct peri_metrics_page, canary) + sizeof(struct peri_canary_page) <= PERI_METRICS_PAGE_SIZE,
               "the counts lie in a page that exists anyway");

uint64_t peri_canary_bound_ns(unsigned bucket)
{
    peri_assert(bucket < PERI_CANARY_BUCKETS);
    if (bucket < 8)
        return (uint64_t)(bucket + 1) << 16;
    unsigned exponent = bucket / 8 + 2;
    return ((UINT64_C(1) << exponent) + ((uint64_t)(bucket % 8 + 1) << (exponent - 3))) << 16;
}

void peri_canary_open(struct peri_canary_page *page, uint64_t generation)
{
    peri_assert(generation > 0);
    if (page->generation == generation)
        return;
    __atomic_store_n(&page->generation, 0, __ATOMIC_RELEASE);
    memset(page->sides, 0, sizeof(page->sides));
    __atomic_store_n(&page->generation, generation, __ATOMIC_RELEASE);
}

static uint64_t load(const uint64_t *counter)
{
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

static void add(const struct peri_canary_counts *counts, struct peri_canary_counts *out)
{
    // `begun` is read last: what has ended had begun.
    out->errors += load(&counts->errors);
    for (unsigned i = 0; i < PERI_CANARY_BUCKETS; i++)
        out->buckets[i] += load(&counts->buckets[i]);
    out->ended += load(&counts->ended);
    out->begun += load(&counts->begun);
}

void peri_canary_sum(const struct peri_shm *shm, uint64_t generation, struct peri_canary_page *out)
{
    *out = (struct peri_canary_page){.generation = generation};
    for (uint32_t worker = 0; worker < shm->workers; worker++) {
        const struct peri_metrics_page *page = peri_shm_page(shm, worker);
        if (!page || __atomic_load_n(&page->canary.generation, __ATOMIC_ACQUIRE) != generation)
            continue;
        for (unsigned side = 0; side < PERI_CANARY_SIDES; side++)
            add(&page->canary.sides[side], &out->sides[side]);
    }
}
