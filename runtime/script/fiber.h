// SPDX-License-Identifier: MIT
// Pooled coroutines. One that waits has exactly one wake-up armed; what wakes it is always the event loop, never a call made by
// a coroutine. Knows neither phases nor tasks: whoever acquires a fiber is told when a later part of its run ends.
//
//   acquire -> resume -> DONE            -> release
//                     -> WAITS -> (loop) -> resume -> on_end(DONE | WAITS | FAILED)
//                     -> FAILED          -> drop
#ifndef PERI_SCRIPT_FIBER_H
#define PERI_SCRIPT_FIBER_H

#include "base/err.h"
#include "script/script_types.h"

/// A fiber for a run of `script`, and of `slot`'s exchange when that is not NULL, told apart by the caller through `task` and
/// `phase`. `on_end` is called from the loop each time that a resumption there comes to rest. NULL when out of memory.
struct peri_fiber *peri_fiber_acquire(struct peri_script_generation *script, struct peri_slot *slot,
                                      void (*on_end)(struct peri_fiber *fiber, enum peri_fiber_end end));

/// Runs the coroutine with the `nargs` values on top of its stack (below them the function, when it starts).
enum peri_fiber_end peri_fiber_resume(struct peri_fiber *fiber, int nargs);

/// Gives back a fiber that is DONE.
void peri_fiber_release(struct peri_fiber *fiber);

/// Gives back a fiber in any state but running: what it waits for is cancelled, its coroutine is never resumed.
void peri_fiber_drop(struct peri_fiber *fiber);

/// The fiber that runs now; NULL outside VM entries.
struct peri_fiber *peri_fiber_current(void);

/// Arms `wait` on the running fiber, replacing what was armed. NULL when no fiber runs, or it must not wait.
struct peri_fiber *peri_fiber_wait(enum peri_wait wait);

/// Lets a waiting fiber go on in the next turn of the loop, with `err` as the reason.
void peri_fiber_wake(struct peri_fiber *fiber, peri_err_t err);

/// Lets a waiting fiber go on now. Only from the event loop.
void peri_fiber_continue(struct peri_fiber *fiber, peri_err_t err);

/// Frees all fibers of a VM that is about to be closed.
void peri_fiber_pool_close(struct peri_vm *vm);

#endif
