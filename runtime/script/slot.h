// SPDX-License-Identifier: MIT
// Handles on exchanges for Lua. A slot outlives its exchange, so a stale Lua object finds another generation number there,
// never freed memory.
#ifndef PERI_SCRIPT_SLOT_H
#define PERI_SCRIPT_SLOT_H

#include <stdint.h>

struct peri_exchange;
struct peri_script_generation;
struct peri_slot;

/// Gives the exchange a slot (x->slot). NULL when memory or ids are exhausted.
struct peri_slot *peri_slot_acquire(struct peri_exchange *x, struct peri_script_generation *script);

/// Ends every handle on the slot's exchange. Its fibers and tasks are gone already.
void peri_slot_release(struct peri_slot *slot);

/// Slots that exchanges have: for those who look for leaks.
uint32_t peri_slot_count(void);

/// The slot with this id; NULL when there is none.
struct peri_slot *peri_slot_find(int32_t id);

#endif
