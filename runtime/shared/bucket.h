// SPDX-License-Identifier: MIT
// Token buckets in the shared dictionaries: a rate limit that all workers keep together, exactly. A bucket fills at `rate` up
// to `burst`; a take removes `cost` tokens, or none at all. A bucket that is full again is the same as no bucket, so each
// entry lives just that long.
#ifndef PERI_SHARED_BUCKET_H
#define PERI_SHARED_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct peri_dict_at;

struct peri_bucket_rate {
    double per_second; ///< tokens that flow in; > 0
    double burst;      ///< tokens it holds; > 0
    double cost;       ///< tokens that one take removes; >= 0. More than `burst` is never admitted
};

struct peri_bucket_result {
    bool is_admitted;
    double remaining;        ///< tokens left, after the take
    uint64_t retry_after_ms; ///< when refused: time until the same take can succeed (UINT64_MAX: never); else 0
    uint64_t reset_ms;       ///< time until the bucket is full again
};

/// Takes from the bucket at `at`, which begins full. PERI_OK, or PERI_ERR_INVALID (key, rate, or the entry is no bucket).
peri_err_t peri_bucket_take(const struct peri_dict_at *at, const struct peri_bucket_rate *rate,
                            struct peri_bucket_result *result);

#endif
