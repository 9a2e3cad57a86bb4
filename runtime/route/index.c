// SPDX-License-Identifier: MIT
// Open addressing with linear probing, at most half full. The hash reads eight bytes at a time and folds a 128-bit product.
#include "route/index.h"

#include "base/arena.h"
#include "base/assert.h"

#define INDEX_FIRST 4

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

uint32_t peri_index_hash(struct peri_slice key)
{
    const uint64_t odd = 0x9e3779b97f4a7c15u;
    uint64_t hash = key.len + 1, word = 0;
    if (key.len >= 8) {
        for (size_t at = 0; at + 8 < key.len; at += 8) {
            memcpy(&word, key.ptr + at, 8);
            hash = fold(hash ^ word, odd);
        }
        memcpy(&word, key.ptr + key.len - 8, 8);
    } else if (key.len > 0) {
        word = load_short(key.ptr, key.len);
    }
    hash = fold(hash ^ word, odd);
    return (uint32_t)(hash ^ hash >> 32);
}

void *peri_index_find(const struct peri_index *index, struct peri_slice key, uint32_t hash)
{
    if (index->count == 0)
        return NULL;
    for (uint32_t at = hash;; at++) {
        const struct peri_index_slot *slot = &index->slots[at & index->mask];
        if (!slot->value)
            return NULL;
        if (slot->hash == hash && peri_slice_eq(peri_slice(slot->key, slot->key_len), key))
            return slot->value;
    }
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
    index_place(index, &(struct peri_index_slot){key.ptr, value, (uint32_t)key.len, peri_index_hash(key)});
    index->count++;
    return true;
}
