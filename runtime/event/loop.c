// SPDX-License-Identifier: MIT
// The loop's turn:
//
//   libuv timers -> prepare: deferred calls, flush, idle work -> wait for I/O -> I/O callbacks -> check: deferred calls, flush
#include "event/loop.h"

#include <stdlib.h>
#include <time.h>

#include "base/assert.h"
#include "event/loop_internal.h"

#define PERI_VIRTUAL_START_NS 1000000000000ull
#define PERI_VIRTUAL_WALL_MS 1767225600000ull // 2026-01-01T00:00:00Z

static void loop_set_clock(struct peri_loop *loop, uint64_t ns)
{
    loop->now = (struct peri_loop_time){.ns = ns, .ms = ns / 1000000};
}

static void loop_run_deferred(struct peri_loop *loop)
{
    struct peri_list batch;
    if (peri_list_is_empty(&loop->deferred))
        return;
    batch = loop->deferred;
    batch.next->prev = batch.prev->next = &batch;
    peri_list_init(&loop->deferred);
    while (!peri_list_is_empty(&batch)) {
        struct peri_defer *defer = PERI_LIST_ITEM(batch.next, struct peri_defer, link);
        peri_list_remove(&defer->link);
        defer->run(defer);
    }
}

static void loop_end_turn(struct peri_loop *loop)
{
    loop_run_deferred(loop);
    peri_streams_flush(loop);
}

static void on_idle(uv_idle_t *handle)
{
    PERI_UNUSED(handle);
}

static void on_prepare(uv_prepare_t *handle)
{
    struct peri_loop *loop = handle->data;
    loop_end_turn(loop);
    if (!peri_list_is_empty(&loop->deferred)) {
        uv_idle_start(&loop->idle, on_idle);
    } else {
        uv_idle_stop(&loop->idle);
        if (loop->on_idle)
            loop->on_idle(loop->idle_data);
    }
    if (!loop->is_virtual)
        loop->now.ns = 0;
}

static void on_check(uv_check_t *handle)
{
    loop_end_turn(handle->data);
}

static void loop_open_handles(struct peri_loop *loop)
{
    uv_prepare_init(&loop->uv, &loop->prepare);
    uv_check_init(&loop->uv, &loop->check);
    uv_idle_init(&loop->uv, &loop->idle);
    loop->prepare.data = loop->check.data = loop->idle.data = loop;
    uv_prepare_start(&loop->prepare, on_prepare);
    uv_check_start(&loop->check, on_check);
    uv_unref((uv_handle_t *)&loop->prepare);
    uv_unref((uv_handle_t *)&loop->check);
}

struct peri_loop *peri_loop_new(bool is_virtual)
{
    struct peri_loop *loop = calloc(1, sizeof(*loop));
    if (!loop)
        return NULL;
    if (uv_loop_init(&loop->uv) != 0) {
        free(loop);
        return NULL;
    }
    loop->is_virtual = is_virtual;
    loop->sockets.limit = UINT32_MAX;
    peri_loop_watch_intake(loop, 0, NULL, NULL);
    if (is_virtual)
        loop_set_clock(loop, PERI_VIRTUAL_START_NS);
    loop->wall_start_ns = PERI_VIRTUAL_START_NS;
    loop->wall_start_ms = PERI_VIRTUAL_WALL_MS;
    peri_list_init(&loop->deferred);
    peri_list_init(&loop->dirty);
    loop_open_handles(loop);
    peri_wheel_init(loop);
    return loop;
}

static void loop_free_corks(struct peri_loop *loop)
{
    while (loop->corks) {
        void *next = *(void **)loop->corks;
        free(loop->corks);
        loop->corks = next;
    }
}

void peri_loop_free(struct peri_loop *loop)
{
    loop_end_turn(loop);
    uv_close((uv_handle_t *)&loop->prepare, NULL);
    uv_close((uv_handle_t *)&loop->check, NULL);
    uv_close((uv_handle_t *)&loop->idle, NULL);
    uv_close((uv_handle_t *)&loop->timer, NULL);
    do {
        loop_end_turn(loop);
        uv_run(&loop->uv, UV_RUN_NOWAIT);
    } while (!peri_list_is_empty(&loop->deferred));
    int closed = uv_loop_close(&loop->uv);
    peri_assert(closed == 0);
    loop_free_corks(loop);
    free(loop);
}

void peri_loop_run(struct peri_loop *loop)
{
    peri_assert(!loop->is_virtual);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
}

void peri_loop_stop(struct peri_loop *loop)
{
    uv_stop(&loop->uv);
}

bool peri_loop_turn(struct peri_loop *loop)
{
    if (loop->is_virtual)
        loop_end_turn(loop);
    uv_run(&loop->uv, UV_RUN_NOWAIT);
    return !peri_list_is_empty(&loop->deferred) || !peri_list_is_empty(&loop->dirty);
}

static void on_wait_over(struct peri_timer *timer)
{
    PERI_UNUSED(timer);
}

void peri_loop_wait(struct peri_loop *loop, uint64_t ms)
{
    struct peri_timer timer;
    peri_assert(!loop->is_virtual);
    peri_timer_init(&timer, on_wait_over);
    peri_timer_start(loop, &timer, ms);
    uv_run(&loop->uv, UV_RUN_ONCE);
    peri_timer_stop(&timer);
}

static void loop_settle(struct peri_loop *loop)
{
    while (peri_loop_turn(loop))
        ;
}

void peri_loop_advance(struct peri_loop *loop, uint64_t ms)
{
    peri_assert(loop->is_virtual);
    uint64_t target = loop->now.ms + ms;
    loop_settle(loop);
    for (uint64_t next; (next = peri_wheel_next_ms(loop)) <= target;) {
        if (next > loop->now.ms)
            loop_set_clock(loop, next * 1000000);
        peri_wheel_run(loop);
        loop_settle(loop);
    }
    loop_set_clock(loop, target * 1000000);
    peri_wheel_run(loop);
    loop_settle(loop);
}

uint64_t peri_loop_next_ms(struct peri_loop *loop)
{
    return peri_wheel_next_ms(loop);
}

void peri_loop_reset_wall(struct peri_loop *loop)
{
    peri_loop_set_wall(loop, PERI_VIRTUAL_WALL_MS);
}

void peri_loop_set_wall(struct peri_loop *loop, uint64_t ms)
{
    peri_assert(loop->is_virtual);
    loop->wall_start_ns = loop->now.ns;
    loop->wall_start_ms = ms;
}

uint32_t peri_loop_timers(const struct peri_loop *loop)
{
    return peri_wheel_count(loop);
}

uint32_t peri_loop_streams(const struct peri_loop *loop)
{
    return loop->stream_count;
}

uint32_t peri_loop_sockets(const struct peri_loop *loop)
{
    return loop->sockets.open;
}

void peri_loop_limit_sockets(struct peri_loop *loop, uint32_t limit)
{
    loop->sockets.limit = limit;
}

uint64_t peri_loop_refused_sockets(const struct peri_loop *loop)
{
    return loop->sockets.refused;
}

void peri_loop_read_clock(struct peri_loop *loop)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    loop_set_clock(loop, (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec);
}

void peri_loop_spend(struct peri_loop *loop)
{
    if (!loop->is_virtual)
        loop->now.ns = 0;
}

uint64_t peri_loop_wall_ms(struct peri_loop *loop)
{
    if (loop->is_virtual)
        return loop->wall_start_ms + (loop->now.ns - loop->wall_start_ns) / 1000000;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void peri_defer_init(struct peri_defer *defer, void (*run)(struct peri_defer *defer))
{
    defer->run = run;
    peri_list_init(&defer->link);
}

void peri_defer_schedule(struct peri_loop *loop, struct peri_defer *defer)
{
    peri_debug_assert(defer->run != NULL);
    if (peri_list_is_empty(&defer->link))
        peri_list_append(&loop->deferred, &defer->link);
}

void peri_defer_cancel(struct peri_defer *defer)
{
    peri_list_remove(&defer->link);
}

void peri_loop_set_idle(struct peri_loop *loop, void (*idle)(void *data), void *data)
{
    loop->on_idle = idle;
    loop->idle_data = data;
}

void peri_loop_watch_intake(struct peri_loop *loop, uint64_t bytes, void (*on_intake)(void *data), void *data)
{
    int64_t step = bytes > 0 && bytes < INT64_MAX ? (int64_t)bytes : INT64_MAX;
    loop->intake = (struct peri_intake){.left = step, .step = step, .on_intake = on_intake, .data = data};
}

void *peri_loop_uv(struct peri_loop *loop)
{
    return &loop->uv;
}

const char *peri_loop_version(void)
{
    return uv_version_string();
}
