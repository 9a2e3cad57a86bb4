// SPDX-License-Identifier: MIT
// A bucket is an entry with its tokens as of `updated_ms`. It is brought up to date, compared and charged under one lock, so
// that any number of processes admit exactly what the rate allows. Time that seems to run backwards (a worker whose clock
// reading is some milliseconds older) adds nothing and loses nothing.
#include "shared/bucket.h"

#include <math.h>

#include "shared/dict.h"
#include "shared/dict_entry.h"

#define BUCKET_EPSILON 1e-9 // forgives the rounding of ten takes of 0.1

static bool is_valid(const struct peri_bucket_rate *rate)
{
    return isfinite(rate->per_second) && rate->per_second > 0 && isfinite(rate->burst) && rate->burst > 0 &&
           isfinite(rate->cost) && rate->cost >= 0;
}

static uint64_t ms_until(double tokens, const struct peri_bucket_rate *rate)
{
    double ms = ceil(tokens / rate->per_second * 1000.0 - BUCKET_EPSILON);
    return ms <= 0 ? 0 : ms < 9e15 ? (uint64_t)ms : UINT64_MAX;
}

static void bucket_refill(struct peri_entry *entry, const struct peri_bucket_rate *rate, uint64_t now_ms)
{
    if (now_ms > entry->updated_ms) {
        entry->number += (double)(now_ms - entry->updated_ms) * rate->per_second / 1000.0;
        entry->updated_ms = now_ms;
    }
    if (entry->number > rate->burst)
        entry->number = rate->burst;
}

static void bucket_take(struct peri_entry *entry, const struct peri_bucket_rate *rate,
                        struct peri_bucket_result *result)
{
    result->is_admitted = entry->number >= rate->cost * (1 - BUCKET_EPSILON);
    result->retry_after_ms = 0;
    if (result->is_admitted)
        entry->number = entry->number > rate->cost ? entry->number - rate->cost : 0;
    else
        result->retry_after_ms = rate->cost > rate->burst ? UINT64_MAX : ms_until(rate->cost - entry->number, rate);
    result->remaining = entry->number;
    result->reset_ms = ms_until(rate->burst - entry->number, rate);
}

// The bucket at the place, made full when there is none. NULL when something else is there.
static struct peri_entry *bucket_open(struct peri_dict_place *place, const struct peri_bucket_rate *rate,
                                      uint64_t now_ms)
{
    if (place->entry)
        return place->entry->type == PERI_DICT_BUCKET ? place->entry : NULL;
    struct peri_entry *entry = peri_shard_insert(&place->shard, &place->key, 0, now_ms);
    if (entry) {
        entry->type = PERI_DICT_BUCKET;
        entry->number = rate->burst;
        entry->updated_ms = now_ms;
    }
    return entry;
}

peri_err_t peri_bucket_take(const struct peri_dict_at *at, const struct peri_bucket_rate *rate,
                            struct peri_bucket_result *result)
{
    struct peri_dict_place place;
    if (!is_valid(rate) || !peri_dict_acquire(at, &place))
        return PERI_ERR_INVALID;
    struct peri_entry *entry = bucket_open(&place, rate, at->now_ms);
    if (entry) {
        bucket_refill(entry, rate, at->now_ms);
        bucket_take(entry, rate, result);
        entry->expires_ms = peri_dict_expiry(entry->updated_ms, result->reset_ms + 1);
    }
    peri_dict_release(&place);
    return entry ? PERI_OK : PERI_ERR_INVALID;
}
