// SPDX-License-Identifier: MIT
// The pool of slots: pages that are never given back, a free list that hands out the last one released first.
#include "script/slot.h"

#include <stdlib.h>

#include "base/assert.h"
#include "exchange/exchange.h"
#include "script/script_types.h"

#define PERI_SLOT_PAGE 64
#define PERI_SLOT_PAGES 1024
#define PERI_SLOT_GENS 512 // random numbers made at a time

static struct peri_slot *pages[PERI_SLOT_PAGES];
static unsigned page_count;
static struct peri_list free_slots = {&free_slots, &free_slots};
static uint32_t used_count;

// A handle is two numbers in a table that the script can write to. What keeps it from reaching another exchange is that the
// second cannot be guessed, nor computed from those seen before.
static double random_gen(void)
{
    static uint64_t gens[PERI_SLOT_GENS];
    static unsigned left;
    if (left == 0) {
        int32_t err = peri_ffi_random((char *)gens, sizeof(gens));
        peri_assert(err == 0);
        left = PERI_SLOT_GENS;
    }
    return (double)(gens[--left] >> 11);
}

static bool slot_grow(void)
{
    struct peri_slot *page = page_count < PERI_SLOT_PAGES ? calloc(PERI_SLOT_PAGE, sizeof(*page)) : NULL;
    if (!page)
        return false;
    for (int i = 0; i < PERI_SLOT_PAGE; i++) {
        page[i].ffi.id = (int32_t)page_count * PERI_SLOT_PAGE + i + 1;
        page[i].ffi.gen = random_gen();
        peri_list_init(&page[i].fibers);
        peri_list_init(&page[i].tasks);
        peri_list_append(&free_slots, &page[i].link);
    }
    pages[page_count++] = page;
    return true;
}

struct peri_slot *peri_slot_acquire(struct peri_exchange *x, struct peri_script_generation *script)
{
    peri_assert(!x->slot);
    if (peri_list_is_empty(&free_slots) && !slot_grow())
        return NULL;
    struct peri_slot *slot = PERI_LIST_ITEM(free_slots.next, struct peri_slot, link);
    peri_list_remove(&slot->link);
    memset(slot->ffi.steps, 0, sizeof(slot->ffi.steps));
    slot->ffi.is_unwound = 0;
    slot->x = x;
    slot->script = script;
    x->slot = slot;
    used_count++;
    return slot;
}

void peri_slot_release(struct peri_slot *slot)
{
    peri_debug_assert(slot->x && slot->x->slot == slot);
    peri_debug_assert(used_count > 0 && slot->task_count == 0);
    peri_assert(peri_list_is_empty(&slot->fibers) && peri_list_is_empty(&slot->tasks));
    slot->x->slot = NULL;
    slot->x = NULL;
    slot->script = NULL;
    slot->ffi.gen = random_gen();
    slot->heads = NULL;
    slot->ffi.ptr = NULL;
    slot->ffi.len = 0;
    peri_list_prepend(&free_slots, &slot->link);
    used_count--;
}

uint32_t peri_slot_count(void)
{
    return used_count;
}

struct peri_slot *peri_slot_find(int32_t id)
{
    unsigned index = (unsigned)id - 1;
    return index / PERI_SLOT_PAGE < page_count ? &pages[index / PERI_SLOT_PAGE][index % PERI_SLOT_PAGE] : NULL;
}
