// SPDX-License-Identifier: MIT
// Memory of one exchange: many small allocations, one release. Blocks grow by doubling; the first, unless it is large, is kept
// across resets so that a recycled arena does not touch malloc. Dispose hooks run on reset, newest first.
#ifndef PERI_BASE_ARENA_H
#define PERI_BASE_ARENA_H

#include <stddef.h>

#include "base/attr.h"
#include "base/slice.h"

struct peri_arena_block;
struct peri_arena_hook;

struct peri_arena {
    char *next;                     ///< first free byte of the current block
    char *end;                      ///< one past the current block
    struct peri_arena_block *first; ///< owned; kept by reset
    struct peri_arena_block *last;  ///< owned through the chain from `first`
    struct peri_arena_hook *hooks;  ///< newest first
    size_t used;                    ///< bytes handed out since the last reset
    size_t limit;                   ///< alloc fails beyond this many bytes
};

/// Prepares an arena that hands out at most `limit` bytes between resets. Allocates nothing.
void peri_arena_init(struct peri_arena *arena, size_t limit);

/// Runs the hooks and makes the arena empty; keeps the first block unless it is larger than 16 KiB.
void peri_arena_reset(struct peri_arena *arena);

/// Runs the hooks and gives everything back. The arena may be initialised again.
void peri_arena_close(struct peri_arena *arena);

/// Slow path of peri_arena_alloc: takes a new block. NULL when memory or the limit is exhausted.
void *peri_arena_alloc_slow(struct peri_arena *arena, size_t size);

/// `size` bytes (1 or more) aligned to 8, uninitialised, borrowed until reset. NULL when memory or the limit is exhausted.
static inline void *peri_arena_alloc(struct peri_arena *arena, size_t size)
{
    size_t need = (size + 7) & ~(size_t)7;
    if (need < size || need > (size_t)(arena->end - arena->next))
        return peri_arena_alloc_slow(arena, size);
    void *ptr = arena->next;
    arena->next += need;
    return ptr;
}

/// Zeroed variant of peri_arena_alloc.
void *peri_arena_zalloc(struct peri_arena *arena, size_t size);

/// Copy of `s` in the arena, NUL-terminated one byte past its length. ptr is NULL when out of memory.
struct peri_slice peri_arena_copy(struct peri_arena *arena, struct peri_slice s);

/// printf into the arena; ptr is NULL when out of memory.
struct peri_slice peri_arena_printf(struct peri_arena *arena, const char *format, ...) PERI_PRINTF(2, 3);

/// Calls `dispose(data)` on reset. False when out of memory (dispose is then not called).
bool peri_arena_on_reset(struct peri_arena *arena, void (*dispose)(void *data), void *data);

#endif
