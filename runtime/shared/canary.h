// SPDX-License-Identifier: MIT
// What is counted while a canary is on: the exchanges of the generation that serves and of the one that is tried, side by side.
// Each worker adds to its own page with plain stores; the supervisor sums. Nothing is counted without a canary.
#ifndef PERI_SHARED_CANARY_H
#define PERI_SHARED_CANARY_H

#include <stdint.h>

#define PERI_CANARY_BUCKETS 128 ///< of durations: 65 µs to 17 s, 8 for each doubling

struct peri_shm;

enum peri_canary_side {
    PERI_CANARY_OLD, ///< the generation that serves
    PERI_CANARY_NEW, ///< the one that is tried
    PERI_CANARY_SIDES,
};

/// Exchanges of one generation that began while the canary was on.
struct peri_canary_counts {
    uint64_t begun;
    uint64_t ended;
    uint64_t errors; ///< ended with a 5xx, or broken off by the upstream or the proxy
    uint64_t buckets[PERI_CANARY_BUCKETS];
};

/// A worker's page, and the sum of all.
struct peri_canary_page {
    uint64_t generation; ///< that is tried; the counts are those of its canary
    struct peri_canary_counts sides[PERI_CANARY_SIDES];
};

/// Bucket of a duration.
static inline unsigned peri_canary_bucket(uint64_t ns)
{
    uint64_t units = ns >> 16;
    if (units < 8)
        return (unsigned)units;
    unsigned exponent = 63u - (unsigned)__builtin_clzll(units);
    unsigned bucket = 8 * (exponent - 2) + ((unsigned)(units >> (exponent - 3)) & 7);
    return bucket < PERI_CANARY_BUCKETS ? bucket : PERI_CANARY_BUCKETS - 1;
}

/// First duration in nanoseconds that is longer than those of a bucket.
uint64_t peri_canary_bound_ns(unsigned bucket);

/// Begins to count for the canary `generation`; what was counted for it before in this place goes on. Called by the worker.
void peri_canary_open(struct peri_canary_page *page, uint64_t generation);

/// Sums the pages of all workers that count for `generation`.
void peri_canary_sum(const struct peri_shm *shm, uint64_t generation, struct peri_canary_page *out);

#endif
