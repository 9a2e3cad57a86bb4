// SPDX-License-Identifier: MIT
// Each operation finds the shard of its key, holds it, and works on one entry. Types and times to live have their meaning here.
#include "shared/dict.h"

#include "base/assert.h"
#include "shared/dict_entry.h"
#include "shared/hash.h"
#include "shared/segment.h"

// The longest key and value together take less than a quarter of the smallest shard, so whatever is valid fits.
_Static_assert((PERI_DICT_KEY_MAX + PERI_DICT_VALUE_MAX) * 2 < PERI_SHARD_BYTES_MIN / 2, "a value fits into its shard");
_Static_assert(PERI_DICT_COUNT_MAX == PERI_SHM_DICTS, "the table of names has room for every dictionary");

int32_t peri_dict_open(struct peri_shm *shm, struct peri_slice name)
{
    if (name.len == 0 || name.len > PERI_DICT_NAME_MAX)
        return -1;
    int32_t dict = peri_names_find(&shm->dicts, 0, name);
    if (dict >= 0)
        return dict;
    peri_shm_registry_acquire(shm);
    dict = peri_names_add(&shm->dicts, 0, name);
    peri_shm_registry_release(shm);
    return dict;
}

static bool is_dict(const struct peri_shm *shm, int32_t dict)
{
    return dict >= 0 && (uint32_t)dict < peri_names_count(&shm->dicts);
}

bool peri_dict_acquire(const struct peri_dict_at *at, struct peri_dict_place *place)
{
    struct peri_shm *shm = at->shm;
    if (!is_dict(shm, at->dict) || at->key.len > PERI_DICT_KEY_MAX)
        return false;
    uint64_t secret[2] = {shm->head->hash_secret[0] ^ (uint64_t)at->dict, shm->head->hash_secret[1]};
    uint64_t hash = peri_hash(secret, at->key);
    place->key = (struct peri_shard_key){hash, (uint16_t)at->dict, at->key};
    peri_shard_acquire(shm, (uint32_t)(hash >> 32) & (shm->shards - 1), &place->shard);
    place->entry = peri_shard_find(&place->shard, &place->key);
    if (place->entry && place->entry->expires_ms != 0 && place->entry->expires_ms <= at->now_ms) {
        peri_shard_remove(&place->shard, place->entry);
        place->entry = NULL;
    }
    return true;
}

void peri_dict_release(struct peri_dict_place *place)
{
    peri_shard_release(&place->shard);
}

uint64_t peri_dict_expiry(uint64_t now_ms, uint64_t ttl_ms)
{
    return ttl_ms == 0 ? 0 : ttl_ms > UINT64_MAX - now_ms ? UINT64_MAX : now_ms + ttl_ms;
}

static bool is_number_like(enum peri_dict_type type)
{
    return type == PERI_DICT_NUMBER || type == PERI_DICT_BUCKET;
}

static bool is_storable(const struct peri_dict_value *value)
{
    switch (value->type) {
    case PERI_DICT_STRING: return value->string.len <= PERI_DICT_VALUE_MAX;
    case PERI_DICT_NUMBER:
    case PERI_DICT_BOOLEAN: return true;
    default: return false;
    }
}

// Overwrites the place's entry, or makes it.
static peri_err_t place_store(struct peri_dict_place *place, const struct peri_dict_at *at,
                              const struct peri_dict_value *value, uint64_t ttl_ms)
{
    struct peri_slice bytes = value->type == PERI_DICT_STRING ? value->string : PERI_SLICE("");
    if (place->entry && !peri_shard_fits(place->entry, (uint32_t)bytes.len)) {
        peri_shard_remove(&place->shard, place->entry);
        place->entry = NULL;
    }
    if (!place->entry)
        place->entry = peri_shard_insert(&place->shard, &place->key, (uint32_t)bytes.len, at->now_ms);
    if (!place->entry)
        return PERI_ERR_NOMEM;
    place->entry->type = (uint8_t)value->type;
    place->entry->number = value->number;
    place->entry->expires_ms = peri_dict_expiry(at->now_ms, ttl_ms);
    peri_shard_write(&place->shard, place->entry, bytes);
    return PERI_OK;
}

peri_err_t peri_dict_get(const struct peri_dict_at *at, struct peri_dict_value *out, char *buf)
{
    struct peri_dict_place place;
    *out = (struct peri_dict_value){.type = PERI_DICT_NONE};
    if (!peri_dict_acquire(at, &place))
        return PERI_ERR_INVALID;
    if (place.entry) {
        out->type = (enum peri_dict_type)place.entry->type;
        out->number = place.entry->number;
        if (out->type == PERI_DICT_STRING)
            out->string = peri_slice(buf, peri_shard_read(&place.shard, place.entry, buf, PERI_DICT_VALUE_MAX));
    }
    peri_dict_release(&place);
    return PERI_OK;
}

peri_err_t peri_dict_put(const struct peri_dict_at *at, const struct peri_dict_value *value, enum peri_dict_mode mode,
                         uint64_t ttl_ms, bool *is_stored)
{
    struct peri_dict_place place;
    peri_err_t err = PERI_OK;
    *is_stored = false;
    if (!is_storable(value) || !peri_dict_acquire(at, &place))
        return PERI_ERR_INVALID;
    if (mode == PERI_DICT_SET || (mode == PERI_DICT_ADD) == (place.entry == NULL)) {
        err = place_store(&place, at, value, ttl_ms);
        *is_stored = err == PERI_OK;
    }
    peri_dict_release(&place);
    return err;
}

static bool place_equals(struct peri_dict_place *place, const struct peri_dict_value *value)
{
    const struct peri_entry *entry = place->entry;
    if (!entry || value->type == PERI_DICT_NONE)
        return !entry && value->type == PERI_DICT_NONE;
    if (is_number_like(value->type))
        return is_number_like((enum peri_dict_type)entry->type) && entry->number == value->number;
    if (entry->type != (uint8_t)value->type)
        return false;
    return value->type == PERI_DICT_STRING ? peri_shard_equals(&place->shard, entry, value->string)
                                           : entry->number == value->number;
}

peri_err_t peri_dict_swap(const struct peri_dict_at *at, const struct peri_dict_value *expected,
                          const struct peri_dict_value *value, uint64_t ttl_ms, bool *is_stored)
{
    struct peri_dict_place place;
    peri_err_t err = PERI_OK;
    *is_stored = false;
    if ((value->type != PERI_DICT_NONE && !is_storable(value)) || !peri_dict_acquire(at, &place))
        return PERI_ERR_INVALID;
    if (place_equals(&place, expected)) {
        if (value->type != PERI_DICT_NONE)
            err = place_store(&place, at, value, ttl_ms);
        else if (place.entry)
            peri_shard_remove(&place.shard, place.entry);
        *is_stored = err == PERI_OK;
    }
    peri_dict_release(&place);
    return err;
}

peri_err_t peri_dict_incr(const struct peri_dict_at *at, double by, double init, uint64_t ttl_ms, double *sum)
{
    struct peri_dict_place place;
    peri_err_t err = PERI_OK;
    if (!peri_dict_acquire(at, &place))
        return PERI_ERR_INVALID;
    if (!place.entry) {
        struct peri_dict_value first = {.type = PERI_DICT_NUMBER, .number = init + by};
        err = place_store(&place, at, &first, ttl_ms);
    } else if (place.entry->type == PERI_DICT_NUMBER) {
        place.entry->number += by;
    } else {
        err = PERI_ERR_INVALID;
    }
    if (err == PERI_OK)
        *sum = place.entry->number;
    peri_dict_release(&place);
    return err;
}

bool peri_dict_remove(const struct peri_dict_at *at)
{
    struct peri_dict_place place;
    if (!peri_dict_acquire(at, &place))
        return false;
    bool is_there = place.entry != NULL;
    if (is_there)
        peri_shard_remove(&place.shard, place.entry);
    peri_dict_release(&place);
    return is_there;
}

bool peri_dict_ttl(const struct peri_dict_at *at, uint64_t *ttl_ms)
{
    struct peri_dict_place place;
    if (!peri_dict_acquire(at, &place))
        return false;
    bool is_there = place.entry != NULL;
    if (is_there)
        *ttl_ms = place.entry->expires_ms == 0 ? UINT64_MAX : place.entry->expires_ms - at->now_ms;
    peri_dict_release(&place);
    return is_there;
}

bool peri_dict_expire(const struct peri_dict_at *at, uint64_t ttl_ms)
{
    struct peri_dict_place place;
    if (!peri_dict_acquire(at, &place))
        return false;
    bool is_there = place.entry != NULL;
    if (is_there)
        place.entry->expires_ms = peri_dict_expiry(at->now_ms, ttl_ms);
    peri_dict_release(&place);
    return is_there;
}

// What peri_dict_keys has gathered.
struct dict_keys {
    char *at;
    size_t left;
    uint32_t count;
    uint32_t limit;
};

static void keys_of_shard(struct peri_shard *shard, int32_t dict, uint64_t now_ms, struct dict_keys *keys)
{
    struct peri_entry *entry = peri_shard_first(shard);
    for (uint32_t steps = 0; entry && steps < shard->count && keys->count < keys->limit; steps++) {
        uint16_t len = entry->key_len;
        bool is_live = entry->expires_ms == 0 || entry->expires_ms > now_ms;
        if (entry->dict == dict && is_live && len <= PERI_DICT_KEY_MAX) {
            if (keys->left < sizeof(len) + len)
                return;
            memcpy(keys->at, &len, sizeof(len));
            peri_shard_read_key(shard, entry, keys->at + sizeof(len), len);
            keys->at += sizeof(len) + len;
            keys->left -= sizeof(len) + len;
            keys->count++;
        }
        entry = peri_shard_next(shard, entry);
    }
}

uint32_t peri_dict_keys(struct peri_shm *shm, int32_t dict, uint64_t now_ms, uint32_t limit, char *buf, size_t size)
{
    struct dict_keys keys = {buf, size, 0, limit < PERI_DICT_KEYS_MAX ? limit : PERI_DICT_KEYS_MAX};
    for (uint32_t i = 0; is_dict(shm, dict) && i < shm->shards; i++) {
        struct peri_shard shard;
        peri_shard_acquire(shm, i, &shard);
        keys_of_shard(&shard, dict, now_ms, &keys);
        peri_shard_release(&shard);
    }
    return keys.count;
}

static void flush_shard(struct peri_shard *shard, int32_t dict)
{
    struct peri_entry *entry = peri_shard_first(shard);
    for (uint32_t steps = 0; entry && steps < shard->count; steps++) {
        struct peri_entry *next = peri_shard_next(shard, entry);
        if (entry->dict == dict)
            peri_shard_remove(shard, entry);
        entry = next;
    }
}

void peri_dict_flush(struct peri_shm *shm, int32_t dict)
{
    for (uint32_t i = 0; is_dict(shm, dict) && i < shm->shards; i++) {
        struct peri_shard shard;
        peri_shard_acquire(shm, i, &shard);
        flush_shard(&shard, dict);
        peri_shard_release(&shard);
    }
}

void peri_dict_stats(const struct peri_shm *shm, struct peri_dict_stats *out)
{
    *out = (struct peri_dict_stats){.bytes = shm->shards * shm->shard_bytes};
    for (uint32_t i = 0; i < shm->shards; i++) {
        const struct peri_shard_head *head = &shm->shard_heads[i];
        out->used += (uint64_t)__atomic_load_n(&head->used, __ATOMIC_RELAXED) * sizeof(struct peri_entry);
        out->entries += __atomic_load_n(&head->entries, __ATOMIC_RELAXED);
        out->evictions += __atomic_load_n(&head->evictions, __ATOMIC_RELAXED);
        out->resets += __atomic_load_n(&head->resets, __ATOMIC_RELAXED);
    }
}
