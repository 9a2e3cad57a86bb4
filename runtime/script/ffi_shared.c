// SPDX-License-Identifier: MIT
// Dictionaries and token buckets for scripts: shared/dict and shared/bucket with the signatures of ffi.h, the loop's clock and
// seconds. A string that is read waits in one buffer for the caller, who makes a Lua string of it at once.
#include "script/ffi_shared.h"

#include <math.h>
#include <perigee/ffi.h>

#include "base/attr.h"
#include "shared/bucket.h"
#include "shared/dict.h"
#include "shared/shm.h"

#define TTL_SECONDS_MAX 1e12

_Static_assert((int)PERI_FFI_STRING == (int)PERI_DICT_STRING && (int)PERI_FFI_NUMBER == (int)PERI_DICT_NUMBER &&
                   (int)PERI_FFI_BOOLEAN == (int)PERI_DICT_BOOLEAN && (int)PERI_FFI_NONE == (int)PERI_DICT_NONE,
               "the types of ffi.h are those of shared/dict.h");
_Static_assert((int)PERI_FFI_SHARED_ADD == (int)PERI_DICT_ADD && (int)PERI_FFI_SHARED_REPLACE == (int)PERI_DICT_REPLACE,
               "and so are the modes");

static struct peri_ffi_binding binding;
static struct peri_shm *private_shm; // lives as long as the process: scripts hold numbers that belong to it
static char value_buffer[PERI_DICT_VALUE_MAX];

void peri_ffi_shared_bind(struct peri_shm *shm, int worker)
{
    binding = (struct peri_ffi_binding){0};
    if (!shm)
        return;
    binding.shm = shm;
    binding.worker = (uint32_t)worker;
    binding.page = peri_shm_metrics(shm, (uint32_t)worker);
}

const struct peri_ffi_binding *peri_ffi_shared_binding(void)
{
    if (PERI_LIKELY(binding.shm != NULL))
        return &binding;
    if (!private_shm)
        private_shm = peri_shm_create(&(struct peri_shm_options){1, PERI_SHM_DICT_BYTES_MIN});
    peri_ffi_shared_bind(private_shm, 0);
    return &binding;
}

// ---- between the two sides

// False when there is no memory or no key.
static bool place_set(struct peri_dict_at *at, int32_t dict, const char *key, size_t len)
{
    *at = (struct peri_dict_at){
        .shm = peri_ffi_shared_binding()->shm,
        .dict = dict,
        .key = peri_slice(key, len),
        .now_ms = (uint64_t)(peri_ffi_monotonic() * 1000.0),
    };
    return at->shm != NULL && key != NULL;
}

// Part of a millisecond is a whole one: nothing that has a time to live lives for ever by rounding.
static uint64_t ttl_from_seconds(double ttl)
{
    return ttl > 0 ? (uint64_t)ceil(fmin(ttl, TTL_SECONDS_MAX) * 1000.0) : 0;
}

static double seconds_from_ms(uint64_t ms)
{
    return ms == UINT64_MAX ? (double)INFINITY : (double)ms / 1000.0;
}

static bool value_from_ffi(const struct peri_ffi_value *value, struct peri_dict_value *out)
{
    *out = (struct peri_dict_value){
        .type = (enum peri_dict_type)value->type,
        .number = value->type == PERI_FFI_BOOLEAN ? value->number != 0 : value->number,
    };
    if (value->type == PERI_FFI_STRING)
        out->string = peri_slice(value->ptr, value->len);
    return value->type >= PERI_FFI_NONE && value->type <= PERI_FFI_BOOLEAN &&
           (value->type != PERI_FFI_STRING || value->ptr != NULL);
}

static int32_t error_to_ffi(peri_err_t err)
{
    return err == PERI_OK ? 0 : err == PERI_ERR_NOMEM ? PERI_FFI_SHARED_NOMEM : PERI_FFI_SHARED_INVALID;
}

// ---- dictionaries

PERI_EXPORT int32_t peri_ffi_shared_open(const char *name, size_t len)
{
    struct peri_shm *shm = peri_ffi_shared_binding()->shm;
    return shm && name ? peri_dict_open(shm, peri_slice(name, len)) : -1;
}

PERI_EXPORT int32_t peri_ffi_shared_get(int32_t dict, const char *key, size_t len, struct peri_ffi_value *out)
{
    struct peri_dict_at at;
    struct peri_dict_value value;
    if (!place_set(&at, dict, key, len))
        return PERI_FFI_SHARED_INVALID;
    peri_err_t err = peri_dict_get(&at, &value, value_buffer);
    out->type = value.type == PERI_DICT_BUCKET ? (int32_t)PERI_FFI_NUMBER : (int32_t)value.type;
    out->number = value.number;
    out->ptr = value.string.ptr;
    out->len = value.string.len;
    return error_to_ffi(err);
}

PERI_EXPORT int32_t peri_ffi_shared_put(int32_t dict, const char *key, size_t len, const struct peri_ffi_value *value,
                                        int32_t mode, double ttl)
{
    struct peri_dict_at at;
    struct peri_dict_value stored;
    bool is_stored;
    if (!place_set(&at, dict, key, len) || !value_from_ffi(value, &stored))
        return PERI_FFI_SHARED_INVALID;
    peri_err_t err = peri_dict_put(&at, &stored, (enum peri_dict_mode)mode, ttl_from_seconds(ttl), &is_stored);
    return err == PERI_OK ? is_stored : error_to_ffi(err);
}

PERI_EXPORT int32_t peri_ffi_shared_swap(int32_t dict, const char *key, size_t len,
                                         const struct peri_ffi_value *expected, const struct peri_ffi_value *value,
                                         double ttl)
{
    struct peri_dict_at at;
    struct peri_dict_value before, after;
    bool is_stored;
    if (!place_set(&at, dict, key, len) || !value_from_ffi(expected, &before) || !value_from_ffi(value, &after))
        return PERI_FFI_SHARED_INVALID;
    peri_err_t err = peri_dict_swap(&at, &before, &after, ttl_from_seconds(ttl), &is_stored);
    return err == PERI_OK ? is_stored : error_to_ffi(err);
}

PERI_EXPORT int32_t peri_ffi_shared_incr(int32_t dict, const char *key, size_t len, double by, double init, double ttl,
                                         double *sum)
{
    struct peri_dict_at at;
    if (!place_set(&at, dict, key, len) || len > PERI_DICT_KEY_MAX)
        return PERI_FFI_SHARED_INVALID;
    peri_err_t err = peri_dict_incr(&at, by, init, ttl_from_seconds(ttl), sum);
    return err == PERI_ERR_INVALID ? (int32_t)PERI_FFI_SHARED_TYPE : error_to_ffi(err);
}

PERI_EXPORT int32_t peri_ffi_shared_remove(int32_t dict, const char *key, size_t len)
{
    struct peri_dict_at at;
    return place_set(&at, dict, key, len) && peri_dict_remove(&at);
}

PERI_EXPORT int32_t peri_ffi_shared_ttl(int32_t dict, const char *key, size_t len, double *ttl)
{
    struct peri_dict_at at;
    uint64_t ms = 0;
    if (!place_set(&at, dict, key, len) || !peri_dict_ttl(&at, &ms))
        return 0;
    *ttl = seconds_from_ms(ms);
    return 1;
}

PERI_EXPORT int32_t peri_ffi_shared_expire(int32_t dict, const char *key, size_t len, double ttl)
{
    struct peri_dict_at at;
    return place_set(&at, dict, key, len) && peri_dict_expire(&at, ttl_from_seconds(ttl));
}

PERI_EXPORT int32_t peri_ffi_shared_keys(int32_t dict, uint32_t limit, char *out, size_t size)
{
    struct peri_dict_at at;
    return place_set(&at, dict, "", 0) ? (int32_t)peri_dict_keys(at.shm, dict, at.now_ms, limit, out, size) : 0;
}

PERI_EXPORT void peri_ffi_shared_flush(int32_t dict)
{
    struct peri_shm *shm = peri_ffi_shared_binding()->shm;
    if (shm)
        peri_dict_flush(shm, dict);
}

// ---- token buckets

PERI_EXPORT int32_t peri_ffi_shared_take(int32_t dict, const char *key, size_t len, double rate, double burst,
                                         double cost, struct peri_ffi_bucket *out)
{
    struct peri_dict_at at;
    struct peri_bucket_result result;
    struct peri_bucket_rate wanted = {rate, burst, cost};
    if (!place_set(&at, dict, key, len))
        return PERI_FFI_SHARED_INVALID;
    peri_err_t err = peri_bucket_take(&at, &wanted, &result);
    if (err != PERI_OK)
        return error_to_ffi(err);
    out->remaining = result.remaining;
    out->retry_after = seconds_from_ms(result.retry_after_ms);
    out->reset = seconds_from_ms(result.reset_ms);
    return result.is_admitted;
}
