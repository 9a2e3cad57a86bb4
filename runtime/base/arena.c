// SPDX-License-Identifier: MIT
// Bump allocation over a chain of malloc'ed blocks.
#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"

#define PERI_ARENA_FIRST 4096
#define PERI_ARENA_LARGEST 65536
#define PERI_ARENA_KEPT 16384 ///< a first block larger than this is not kept: many arenas wait in pools

struct peri_arena_block {
    struct peri_arena_block *next;
    size_t size; ///< usable bytes in `data`
    max_align_t data[];
};

struct peri_arena_hook {
    struct peri_arena_hook *next;
    void (*dispose)(void *data);
    void *data;
};

static void arena_use(struct peri_arena *arena, struct peri_arena_block *block)
{
    arena->last = block;
    arena->next = block ? (char *)block->data : NULL;
    arena->end = block ? arena->next + block->size : NULL;
}

static void arena_run_hooks(struct peri_arena *arena)
{
    while (arena->hooks) {
        struct peri_arena_hook *hook = arena->hooks;
        arena->hooks = hook->next;
        hook->dispose(hook->data);
    }
}

static void arena_free_from(struct peri_arena_block *block)
{
    while (block) {
        struct peri_arena_block *next = block->next;
        free(block);
        block = next;
    }
}

void peri_arena_init(struct peri_arena *arena, size_t limit)
{
    *arena = (struct peri_arena){.limit = limit};
}

void peri_arena_reset(struct peri_arena *arena)
{
    arena_run_hooks(arena);
    if (arena->first && arena->first->size > PERI_ARENA_KEPT) {
        arena_free_from(arena->first);
        arena->first = NULL;
    } else if (arena->first && arena->first->next) {
        arena_free_from(arena->first->next);
        arena->first->next = NULL;
    }
    arena->used = 0;
    arena_use(arena, arena->first);
}

void peri_arena_close(struct peri_arena *arena)
{
    arena_run_hooks(arena);
    arena_free_from(arena->first);
    peri_arena_init(arena, arena->limit);
}

void *peri_arena_alloc_slow(struct peri_arena *arena, size_t size)
{
    size_t need = (size + 7) & ~(size_t)7;
    size_t room = arena->last ? arena->last->size * 2 : PERI_ARENA_FIRST;
    if (room > PERI_ARENA_LARGEST)
        room = PERI_ARENA_LARGEST;
    if (room < need)
        room = need;
    if (need < size || arena->used > arena->limit || need > arena->limit - arena->used)
        return NULL;
    struct peri_arena_block *block = malloc(sizeof(*block) + room);
    if (!block)
        return NULL;
    *block = (struct peri_arena_block){.size = room};
    if (arena->last)
        arena->last->next = block;
    else
        arena->first = block;
    arena->used += room;
    arena_use(arena, block);
    arena->next += need;
    return block->data;
}

void *peri_arena_zalloc(struct peri_arena *arena, size_t size)
{
    void *ptr = peri_arena_alloc(arena, size);
    return ptr ? memset(ptr, 0, size) : NULL;
}

struct peri_slice peri_arena_copy(struct peri_arena *arena, struct peri_slice s)
{
    char *copy = peri_arena_alloc(arena, s.len + 1);
    if (!copy)
        return peri_slice(NULL, 0);
    if (s.len > 0)
        memcpy(copy, s.ptr, s.len);
    copy[s.len] = '\0';
    return peri_slice(copy, s.len);
}

struct peri_slice peri_arena_printf(struct peri_arena *arena, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    peri_assert(len >= 0);
    char *text = peri_arena_alloc(arena, (size_t)len + 1);
    if (!text)
        return peri_slice(NULL, 0);
    va_start(args, format);
    vsnprintf(text, (size_t)len + 1, format, args);
    va_end(args);
    return peri_slice(text, (size_t)len);
}

bool peri_arena_on_reset(struct peri_arena *arena, void (*dispose)(void *data), void *data)
{
    struct peri_arena_hook *hook = peri_arena_alloc(arena, sizeof(*hook));
    if (!hook)
        return false;
    *hook = (struct peri_arena_hook){arena->hooks, dispose, data};
    arena->hooks = hook;
    return true;
}
