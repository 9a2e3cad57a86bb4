// SPDX-License-Identifier: MIT
// The range doubles with each retry and stops at the maximum.
#include "upstream/backoff.h"

#include "base/assert.h"
#include "upstream/random.h"

uint64_t peri_backoff_ms(uint64_t base_ms, uint64_t max_ms, uint32_t retry, uint64_t *random)
{
    peri_assert(retry > 0);
    uint64_t range = max_ms;
    if (retry < 32 && base_ms <= max_ms / ((UINT64_C(1) << retry) - 1))
        range = base_ms * ((UINT64_C(1) << retry) - 1);
    return peri_random_below(random, range < UINT32_MAX ? (uint32_t)range : UINT32_MAX);
}
