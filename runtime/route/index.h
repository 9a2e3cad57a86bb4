// SPDX-License-Identifier: MIT
// A hash index from byte strings to pointers: filled while a table is built, then only read. Keys come from a
// configuration and probes from peers, so a peer cannot make chains long.
#ifndef PERI_ROUTE_INDEX_H
#define PERI_ROUTE_INDEX_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

struct peri_arena;

struct peri_index_slot {
    const char *key; ///< borrowed
    void *value;     ///< NULL marks a free slot
    uint32_t key_len;
    uint32_t hash;
};

/// Empty when all zero.
struct peri_index {
    struct peri_index_slot *slots; ///< in the arena given to put
    uint32_t mask;                 ///< slots - 1, a power of two less one
    uint32_t count;
    uint64_t lengths; ///< bit (length mod 64) of every key: most keys that are not there are turned away by it
};

/// Value of `key` in an index that is not empty, or NULL.
void *peri_index_probe(const struct peri_index *index, struct peri_slice key);

/// Value of `key`, or NULL.
static inline void *peri_index_find(const struct peri_index *index, struct peri_slice key)
{
    return index->lengths >> (key.len & 63) & 1 ? peri_index_probe(index, key) : NULL;
}

/// First slot in use at or behind *at, which moves behind it; NULL at the end. Begin with 0; the order means nothing.
const struct peri_index_slot *peri_index_next(const struct peri_index *index, uint32_t *at);

/// Adds `key` (borrowed as long as the index is used; not in it yet) with a value that is not NULL. Memory comes from
/// `arena`. False when out of memory.
bool peri_index_put(struct peri_index *index, struct peri_arena *arena, struct peri_slice key, void *value);

#endif
