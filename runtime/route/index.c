// SPDX-License-Identifier: MIT
// Open addressing with linear probing, at most half full. The hash reads 16 bytes at a time and folds a 128-bit product.
#include "route/index.h"

#include "base/arena.h"
#include "base/assert.h"

#define INDEX_FIRST 4

static uint64_t load(const char *ptr)
{
    uint64_t word;
    memcpy(&word, ptr, 8);
    return word;
}

/// The 1 to 7 bytes of a short key, each at least once; the length is hashed beside them.
static uint64_t load_short(const char *ptr, size_t len)
{
    if (len >= 4) {
        uint32_t head, tail;
        memcpy(&head, ptr, 4);
        memcpy(&tail, ptr + len - 4, 4);
        return (uint64_t)head << 32 | tail;
    }
    return (uint64_t)(uint8_t)ptr[0] << 16 | (uint64_t)(uint8_t)ptr[len / 2] << 8 | (uint8_t)ptr[len - 1];
}

static uint64_t fold(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint32_t hash_key(struct peri_slice key)
{
    const uint64_t salt = 0x9e3779b97f4a7c15u;
    uint64_t hash = 0xd6e8feb86659fd93u ^ key.len, head = 0, tail = 0;
    for (size_t at = 0; at + 16 < key.len; at += 16)
        hash = fold(load(key.ptr + at) ^ salt, load(key.ptr + at + 8) ^ hash);
    if (key.len >= 8) {
        head = load(key.ptr + (key.len >= 16 ? key.len - 16 : 0));
        tail = load(key.ptr + key.len - 8);
    } else if (key.len > 0) {
        head = load_short(key.ptr, key.len);
    }
    hash = fold(head ^ salt, tail ^ hash);
    return (uint32_t)(hash ^ hash >> 32);
}

void *peri_index_probe(const struct peri_index *index, struct peri_slice key)
{
    uint32_t hash = hash_key(key);
    for (uint32_t at = hash;; at++) {
        const struct peri_index_slot *slot = &index->slots[at & index->mask];
        if (!slot->value)
            return NULL;
        if (slot->hash == hash && peri_slice_eq(peri_slice(slot->key, slot->key_len), key))
            return slot->value;
    }
}

const struct peri_index_slot *peri_index_next(const struct peri_index *index, uint32_t *at)
{
    while (index->count > 0 && *at <= index->mask) {
        const struct peri_index_slot *slot = &index->slots[(*at)++];
        if (slot->value)
            return slot;
    }
    return NULL;
}

static void index_place(struct peri_index *index, const struct peri_index_slot *slot)
{
    uint32_t at = slot->hash & index->mask;
    while (index->slots[at].value)
        at = (at + 1) & index->mask;
    index->slots[at] = *slot;
}

static bool index_grow(struct peri_index *index, struct peri_arena *arena)
{
    struct peri_index old = *index;
    uint32_t size = old.slots ? (old.mask + 1) * 2 : INDEX_FIRST;
    struct peri_index_slot *slots = peri_arena_zalloc(arena, size * sizeof *slots);
    if (!slots)
        return false;
    index->slots = slots;
    index->mask = size - 1;
    for (uint32_t at = 0; old.slots && at <= old.mask; at++)
        if (old.slots[at].value)
            index_place(index, &old.slots[at]);
    return true;
}

bool peri_index_put(struct peri_index *index, struct peri_arena *arena, struct peri_slice key, void *value)
{
    peri_assert(value);
    if ((!index->slots || index->count * 2 > index->mask) && !index_grow(index, arena))
        return false;
    index_place(index, &(struct peri_index_slot){key.ptr, value, (uint32_t)key.len, hash_key(key)});
    index->lengths |= (uint64_t)1 << (key.len & 63);
    index->count++;
    return true;
}
