// SPDX-License-Identifier: MIT
// What the files of event/ share about the loop. Nobody outside event/ includes this.
#ifndef PERI_EVENT_LOOP_INTERNAL_H
#define PERI_EVENT_LOOP_INTERNAL_H

#include <uv.h>

#include "event/loop.h"
#include "event/timer.h"

#define PERI_WHEEL_SLOTS 1024
#define PERI_READ_BUFFER (128 * 1024) // a body of 64 KiB with its head comes in one read
#define PERI_INTAKE_LEAST (8 * 1024)  // that a read counts for
#define PERI_CORK_SIZE (8 * 1024)
#define PERI_CORK_POOL 64

struct peri_wheel {
    struct peri_list slots[PERI_WHEEL_SLOTS];
    uint64_t used[PERI_WHEEL_SLOTS / 64]; ///< bit per slot that may hold timers
    uint64_t tick;                        ///< last tick that was run
    uint64_t tick_ms;                     ///< length of a tick
    uint64_t armed_ms;                    ///< when the libuv timer fires; UINT64_MAX for never
};

/// Sockets of streams.
struct peri_sockets {
    uint32_t open;
    uint32_t limit;   ///< from here on no connection is begun
    uint64_t refused; ///< times the system had none to accept a connection with
};

/// What the sockets bring.
struct peri_intake {
    int64_t left; ///< bytes until `on_intake` is called
    int64_t step;
    void (*on_intake)(void *data); ///< NULL: nobody asks
    void *data;
};

struct peri_loop {
    struct peri_loop_time now; ///< first: peri_loop_now_ns reads it
    uv_loop_t uv;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t idle; ///< active only while deferred calls wait
    uv_timer_t timer;
    bool is_virtual;
    uint64_t wall_start_ns; ///< virtual mode: now_ns when the wall clock was last set
    uint64_t wall_start_ms; ///< virtual mode: what it was set to
    uint32_t stream_count;  ///< open
    struct peri_sockets sockets;
    struct peri_intake intake;
    struct peri_wheel wheel;
    struct peri_list deferred;
    struct peri_list dirty; ///< streams with corked bytes
    void (*on_idle)(void *data);
    void *idle_data;
    void *corks; ///< free cork buffers, linked through their first word
    unsigned cork_count;
    char read_buffer[PERI_READ_BUFFER]; ///< every stream reads into this; borrowed for the call
};

/// Opens and closes the wheel with the loop.
void peri_wheel_init(struct peri_loop *loop);

/// Runs the timers that are due now.
void peri_wheel_run(struct peri_loop *loop);

/// Time of the earliest slot that may hold a timer; UINT64_MAX for none.
uint64_t peri_wheel_next_ms(const struct peri_loop *loop);

/// Timers that are active.
uint32_t peri_wheel_count(const struct peri_loop *loop);

/// Writes what the dirty streams have corked.
void peri_streams_flush(struct peri_loop *loop);

#endif
