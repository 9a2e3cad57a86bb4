// SPDX-License-Identifier: MIT
// Timers on the loop's one wheel: 1024 slots of 4 ms, entries re-checked lazily, so that moving a deadline later is one store.
// A timer fires once, not before its deadline, in the order of slots.
#ifndef PERI_EVENT_TIMER_H
#define PERI_EVENT_TIMER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

struct peri_loop;

/// Embedded in its owner. Zero it with peri_timer_init before use.
struct peri_timer {
    struct peri_list link;
    uint64_t deadline_ms; ///< monotonic; 0 when stopped
    uint64_t slot_ms;     ///< time of the slot it hangs in
    void (*on_fire)(struct peri_timer *timer);
};

/// Prepares a stopped timer.
void peri_timer_init(struct peri_timer *timer, void (*on_fire)(struct peri_timer *timer));

/// Starts or moves the timer to fire `delay_ms` from now.
void peri_timer_start(struct peri_loop *loop, struct peri_timer *timer, uint64_t delay_ms);

/// Stops the timer; no-op when stopped. Safe from inside any timer's on_fire.
void peri_timer_stop(struct peri_timer *timer);

/// Will the timer fire?
static inline bool peri_timer_is_active(const struct peri_timer *timer)
{
    return timer->deadline_ms != 0;
}

#endif
