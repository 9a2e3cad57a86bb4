// SPDX-License-Identifier: MIT
// The event loop of a process: libuv's loop, one timer wheel, a queue of deferred calls and the streams that have bytes to
// flush at the end of the turn. Time is read once a turn; in virtual mode (the test kit) it moves only by
// peri_loop_advance.
#ifndef PERI_EVENT_LOOP_H
#define PERI_EVENT_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"

struct peri_loop;

/// A call to make on the next turn of the loop. Embedded in its owner; at most once in the queue.
struct peri_defer {
    struct peri_list link;
    void (*run)(struct peri_defer *defer);
};

/// Opens a loop. With `is_virtual` time stands still but for peri_loop_advance, beginning at 2026-01-01T00:00:00Z.
/// NULL when out of memory or descriptors.
struct peri_loop *peri_loop_new(bool is_virtual);

/// Closes the loop; every handle on it was closed (asserted). Runs pending close callbacks.
void peri_loop_free(struct peri_loop *loop);

/// Runs until peri_loop_stop, or nothing is left to wait for.
void peri_loop_run(struct peri_loop *loop);

/// Makes peri_loop_run return after the present turn.
void peri_loop_stop(struct peri_loop *loop);

/// One turn without waiting: what is ready now. Returns true while there is more to do at once (deferred calls, I/O).
bool peri_loop_turn(struct peri_loop *loop);

/// One turn that waits for I/O or a timer, at most `ms` milliseconds.
void peri_loop_wait(struct peri_loop *loop, uint64_t ms);

/// Virtual mode: moves time forward by `ms`, running what falls due in order and all deferred work in between.
void peri_loop_advance(struct peri_loop *loop, uint64_t ms);

/// Virtual mode: monotonic time in milliseconds at which a timer may be due; UINT64_MAX when no timer is active.
uint64_t peri_loop_next_ms(struct peri_loop *loop);

/// Virtual mode: the wall clock stands at 2026-01-01T00:00:00Z again; monotonic time goes on.
void peri_loop_reset_wall(struct peri_loop *loop);

/// Virtual mode: the wall clock stands at `ms` milliseconds since 1970, as when somebody sets it; monotonic time and timers do
/// not move.
void peri_loop_set_wall(struct peri_loop *loop, uint64_t ms);

/// Timers that are active, and streams that are open: for those who look for leaks.
uint32_t peri_loop_timers(const struct peri_loop *loop);
uint32_t peri_loop_streams(const struct peri_loop *loop);

/// Sockets of the streams that are open: all descriptors but those that a process has anyway.
uint32_t peri_loop_sockets(const struct peri_loop *loop);

/// Begins no connection while `limit` sockets are open: the rest of the process's descriptors is for others. UINT32_MAX: no limit, as
/// at the start.
void peri_loop_limit_sockets(struct peri_loop *loop, uint32_t limit);

/// How many times the system had no descriptor or no memory to accept a connection with.
uint64_t peri_loop_refused_sockets(const struct peri_loop *loop);

/// The time of this turn; the first member of the loop. Both are 0 until somebody asks.
struct peri_loop_time {
    uint64_t ns;
    uint64_t ms;
};

/// Reads the clock for this turn.
void peri_loop_read_clock(struct peri_loop *loop);

/// Monotonic time in nanoseconds, read at most once a turn.
static inline uint64_t peri_loop_now_ns(struct peri_loop *loop)
{
    struct peri_loop_time *time = (struct peri_loop_time *)(void *)loop;
    if (time->ns == 0)
        peri_loop_read_clock(loop);
    return time->ns;
}

/// Monotonic time in milliseconds, as of this turn.
static inline uint64_t peri_loop_now_ms(struct peri_loop *loop)
{
    struct peri_loop_time *time = (struct peri_loop_time *)(void *)loop;
    if (time->ns == 0)
        peri_loop_read_clock(loop);
    return time->ms;
}

/// Some of this turn was spent: its time is read again when somebody asks. Virtual time stands.
void peri_loop_spend(struct peri_loop *loop);

/// Wall-clock time in milliseconds since 1970-01-01T00:00:00Z (virtual in virtual mode).
uint64_t peri_loop_wall_ms(struct peri_loop *loop);

/// Prepares a deferred call that is not queued.
void peri_defer_init(struct peri_defer *defer, void (*run)(struct peri_defer *defer));

/// Queues the call for the next turn; no-op when already queued.
void peri_defer_schedule(struct peri_loop *loop, struct peri_defer *defer);

/// Takes the call out of the queue, if it is there.
void peri_defer_cancel(struct peri_defer *defer);

/// Calls `on_idle(data)` each time before the loop waits (NULL: none). For work that is only worth doing when idle.
void peri_loop_set_idle(struct peri_loop *loop, void (*on_idle)(void *data), void *data);

/// Calls `on_intake(data)` each time the sockets have brought about `bytes` since (0: never), also in the middle of a turn: one turn may
/// bring 128 KiB from each of a thousand sockets. A read counts as 8 KiB at least: what little it brings may begin a request.
void peri_loop_watch_intake(struct peri_loop *loop, uint64_t bytes, void (*on_intake)(void *data), void *data);

/// The libuv loop (struct uv_loop_s *), for the files of event/ only.
void *peri_loop_uv(struct peri_loop *loop);

/// Version of libuv as linked.
const char *peri_loop_version(void);

#endif
