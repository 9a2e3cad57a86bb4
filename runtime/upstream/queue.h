// SPDX-License-Identifier: MIT
// Attempts that wait for a place among the requests of an upstream's breaker, first come first served: by worker strictly, and
// over all workers to within PERI_QUEUE_GRACE_MS. A worker has one queue for an upstream, whatever sets of endpoints and generations
// come and go meanwhile. Bounded, and nobody waits for ever.
#ifndef PERI_UPSTREAM_QUEUE_H
#define PERI_UPSTREAM_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "event/timer.h"

struct peri_breaker;
struct peri_guard;
struct peri_loop;
struct peri_queue;
struct peri_ticket;

#define PERI_QUEUE_GRACE_MS 10 ///< a worker takes a place for itself unless another's first has waited this much longer

/// One that waits; in its owner, who keeps it until the ticket has left.
struct peri_queue_place {
    struct peri_list link;
    struct peri_timer patience;
    struct peri_queue *queue;
    struct peri_ticket *ticket;
    uint64_t since_ms; ///< monotonic
    /// It is its turn: try peri_queue_enter. From the loop.
    void (*on_turn)(struct peri_queue_place *place);
    /// It has waited for too long: leave. From the loop.
    void (*on_timeout)(struct peri_queue_place *place);
};

/// The worker's queue for the upstream of `breaker`, one reference. NULL when out of memory.
struct peri_queue *peri_queue_acquire(const struct peri_breaker *breaker, struct peri_loop *loop);

/// Gives the reference back; with the last one, nobody waits. No-op for NULL.
void peri_queue_release(struct peri_queue *queue);

/// Takes a place among the requests of `guard`, which has a queue, for `ticket`: when there is one, and nobody waits, or it is this one's
/// turn, which then waits no more.
bool peri_queue_enter(struct peri_guard *guard, struct peri_ticket *ticket);

/// Waits behind the others, for as long as `guard` has it: `place` has its callbacks, the rest is zero. PERI_ERR_UPSTREAM_OVERFLOW when as
/// many wait as may.
peri_err_t peri_queue_join(struct peri_guard *guard, struct peri_ticket *ticket, struct peri_queue_place *place);

/// The ticket's attempt waits no more (peri_guard_leave calls this).
void peri_queue_leave(struct peri_ticket *ticket);

/// A place came free in this worker: whoever is first is asked, on the next turn of the loop.
void peri_queue_wake(struct peri_queue *queue);

#endif
