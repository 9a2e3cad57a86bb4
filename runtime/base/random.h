// SPDX-License-Identifier: MIT
// Random numbers for jitter and dice: even, fast and repeatable from a seed, so that tests can follow them. Not for secrets.
#ifndef PERI_BASE_RANDOM_H
#define PERI_BASE_RANDOM_H

#include <stdint.h>

/// The next 32 bits of the generator whose state (never 0) is *state: xorshift64* (Vigna 2016).
static inline uint32_t peri_random_next(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return (uint32_t)((x * 2685821657736338717ull) >> 32);
}

/// A number from 0 to bound - 1; 0 when bound is 0. Its bias is below bound / 2^32.
static inline uint32_t peri_random_below(uint64_t *state, uint32_t bound)
{
    return (uint32_t)((uint64_t)peri_random_next(state) * bound >> 32);
}

#endif
