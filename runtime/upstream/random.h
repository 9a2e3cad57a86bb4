// SPDX-License-Identifier: MIT
// Random numbers for choices among endpoints: evenness matters, secrecy does not. The state is the caller's, so a test that sets it
// knows what comes.
#ifndef PERI_UPSTREAM_RANDOM_H
#define PERI_UPSTREAM_RANDOM_H

#include <stdint.h>

/// The next 32 random bits; *state is not 0 (xorshift64*, Vigna 2016).
static inline uint32_t peri_random_next(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return (uint32_t)(x * 2685821657736338717ull >> 32);
}

/// A random number below `bound`, which is not 0 (Lemire's multiplication; the bias is below bound / 2^32).
static inline uint32_t peri_random_below(uint64_t *state, uint32_t bound)
{
    return (uint32_t)((uint64_t)peri_random_next(state) * bound >> 32);
}

#endif
