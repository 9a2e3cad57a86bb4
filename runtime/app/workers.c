// SPDX-License-Identifier: MIT
// Seats, back-off and the watchdog.
#include "app/workers.h"

#include <stdlib.h>
#include <string.h>

#include "app/errors.h"
#include "app/link.h"
#include "app/worker.h"
#include "base/assert.h"
#include "base/log.h"
#include "event/loop.h"
#include "event/timer.h"
#include "shared/shm.h"

#define BACKOFF_MS 10       ///< pause before the second replacement in a row; doubles
#define BACKOFF_MAX_MS 5000 ///< longest pause
#define GOOD_MS 10000       ///< a worker that lived this long ends a row of failures
#define START_MS 5000       ///< time without a heartbeat for a worker that starts, beyond the watchdog's
#define KILL_GRACE_MS 1000  ///< time beyond a drain before what is left is killed

struct seat {
    struct peri_workers *workers;
    struct peri_link *link; ///< NULL while nobody runs
    uint32_t index;
    bool is_serving;
    uint32_t failures; ///< in a row
    uint64_t started_ms;
    uint64_t building_ms; ///< the worker builds, and need not beat, until then
    struct peri_timer restart;
};

struct peri_workers {
    struct peri_workers_options options;
    struct peri_worker_settings settings;
    struct peri_timer watch;
    struct peri_timer grace;
    uint64_t watched_ms; ///< when the watchdog last looked
    uint64_t excused_ms; ///< the watchdog does nothing before
    bool was_serving;    ///< on_serving was called
    bool is_held;
    bool is_ending; ///< draining or killed
    struct seat seats[];
};

static uint64_t now_ms(const struct peri_workers *workers)
{
    return peri_loop_now_ms(workers->options.loop);
}

// ---- starting ----

static const struct peri_link_events events;

static void give_up(struct peri_workers *workers, const char *errors)
{
    workers->is_ending = true;
    workers->options.ops->on_hopeless(workers->options.data, errors);
}

static void wait_to_restart(struct seat *seat)
{
    uint64_t delay = seat->failures < 2 ? 0 : (uint64_t)BACKOFF_MS << (seat->failures - 2);
    if (seat->failures > 16 || delay > BACKOFF_MAX_MS)
        delay = BACKOFF_MAX_MS;
    peri_timer_start(seat->workers->options.loop, &seat->restart, delay);
}

static void start(struct seat *seat)
{
    struct peri_workers *workers = seat->workers;
    struct peri_link_options options = {
        .loop = workers->options.loop,
        .shm = workers->options.shm,
        .children = workers->options.children,
        .settings = &workers->settings,
        .dev = workers->options.dev,
        .events = &events,
        .data = seat,
        .index = seat->index,
    };
    seat->is_serving = false;
    seat->building_ms = 0;
    seat->started_ms = now_ms(workers);
    seat->link = workers->options.is_local ? peri_link_open_local(&options) : peri_link_open_process(&options);
    if (seat->link) {
        workers->options.ops->brief(workers->options.data, seat->link);
        return;
    }
    seat->failures++;
    wait_to_restart(seat);
}

static void on_restart(struct peri_timer *timer)
{
    struct seat *seat = PERI_CONTAINER(timer, struct seat, restart);
    if (!seat->workers->is_held && !seat->workers->is_ending)
        start(seat);
}

void peri_workers_start(struct peri_workers *workers)
{
    for (uint32_t i = 0; i < workers->options.count && !workers->is_ending; i++) {
        start(&workers->seats[i]);
        if (!workers->seats[i].link) {
            char *errors = peri_errors_new(NULL, "worker %u could not be started", i);
            give_up(workers, errors);
            free(errors);
        }
    }
    if (workers->options.watchdog_ms > 0 && !workers->options.is_local)
        peri_timer_start(workers->options.loop, &workers->watch, workers->settings.beat_ms);
}

// ---- what workers tell ----

static void on_ready(struct peri_link *link, uint64_t number)
{
    struct seat *seat = link->data;
    seat->building_ms = 0;
    seat->workers->options.ops->on_built(seat->workers->options.data, seat->index, number, NULL);
}

static void on_failed(struct peri_link *link, uint64_t number, const char *errors)
{
    struct seat *seat = link->data;
    struct peri_workers *workers = seat->workers;
    seat->building_ms = 0;
    if (seat->is_serving) {
        workers->options.ops->on_built(workers->options.data, seat->index, number, errors);
        return;
    }
    if (!workers->was_serving && !workers->is_ending)
        give_up(workers, errors);
    else
        peri_error("worker %u cannot build generation %llu: %s", seat->index, (unsigned long long)number, errors);
    link->ops->kill(link);
}

static void tell_serving(struct peri_workers *workers)
{
    for (uint32_t i = 0; i < workers->options.count; i++)
        if (!workers->seats[i].is_serving)
            return;
    workers->was_serving = true;
    workers->options.ops->on_serving(workers->options.data);
}

static void on_switched(struct peri_link *link, uint64_t number)
{
    struct seat *seat = link->data;
    struct peri_workers *workers = seat->workers;
    seat->is_serving = true;
    workers->options.ops->on_switched(workers->options.data, seat->index, number);
    if (!workers->was_serving && !workers->is_ending)
        tell_serving(workers);
}

static void on_explained(struct peri_link *link, uint64_t id, struct peri_slice answer)
{
    struct seat *seat = link->data;
    seat->workers->options.ops->on_explained(seat->workers->options.data, id, answer);
}

static bool is_empty(const struct peri_workers *workers)
{
    for (uint32_t i = 0; i < workers->options.count; i++)
        if (workers->seats[i].link)
            return false;
    return true;
}

static void tell_empty(struct peri_workers *workers)
{
    if (!is_empty(workers))
        return;
    peri_timer_stop(&workers->watch);
    peri_timer_stop(&workers->grace);
    workers->options.ops->on_empty(workers->options.data);
}

static void replace(struct seat *seat, const char *how)
{
    struct peri_workers *workers = seat->workers;
    if (!workers->was_serving) {
        char *errors = peri_errors_new(NULL, "worker %u ended by %s while it started", seat->index, how);
        give_up(workers, errors);
        free(errors);
        return;
    }
    peri_warn("worker %u ended by %s: replaced", seat->index, how);
    seat->failures = now_ms(workers) - seat->started_ms >= GOOD_MS ? 1 : seat->failures + 1;
    wait_to_restart(seat);
}

static void on_end(struct peri_link *link, const char *how)
{
    struct seat *seat = link->data;
    struct peri_workers *workers = seat->workers;
    seat->link = NULL;
    seat->is_serving = false;
    peri_shm_worker_end(workers->options.shm, seat->index);
    workers->options.ops->on_lost(workers->options.data, seat->index);
    if (!workers->is_ending)
        replace(seat, how);
    if (workers->is_ending)
        tell_empty(workers);
}

static const struct peri_link_events events = {
    .on_ready = on_ready,
    .on_failed = on_failed,
    .on_switched = on_switched,
    .on_explained = on_explained,
    .on_end = on_end,
};

// ---- the watchdog ----

static uint64_t last_sign(const struct seat *seat, struct peri_worker_info *info)
{
    peri_shm_worker_get(seat->workers->options.shm, seat->index, info);
    return info->heartbeat_ms > seat->started_ms ? info->heartbeat_ms : seat->started_ms;
}

static void watch_seat(struct seat *seat, uint64_t now)
{
    struct peri_worker_info info;
    uint64_t seen = last_sign(seat, &info);
    uint64_t limit = seat->workers->options.watchdog_ms + (seat->is_serving ? 0 : START_MS);
    if (now < seen + limit || now < seat->building_ms)
        return;
    peri_error("worker %u (pid %d) is stuck: no heartbeat for %llu ms; killed", seat->index, (int)info.pid,
               (unsigned long long)(now - seen));
    seat->link->ops->kill(seat->link);
}

static void on_watch(struct peri_timer *timer)
{
    struct peri_workers *workers = PERI_CONTAINER(timer, struct peri_workers, watch);
    uint64_t now = now_ms(workers);
    uint64_t since = now - workers->watched_ms;
    workers->watched_ms = now;
    // When this process itself stood still (a stopped machine, a debugger), so did the workers.
    if (since > workers->options.watchdog_ms)
        workers->excused_ms = now + workers->options.watchdog_ms;
    for (uint32_t i = 0; i < workers->options.count && now >= workers->excused_ms; i++)
        if (workers->seats[i].link)
            watch_seat(&workers->seats[i], now);
    peri_timer_start(workers->options.loop, timer, workers->settings.beat_ms);
}

void peri_workers_excuse(struct peri_workers *workers, uint64_t ms)
{
    struct peri_worker_info info;
    uint64_t now = now_ms(workers);
    for (uint32_t i = 0; i < workers->options.count; i++)
        if (now < last_sign(&workers->seats[i], &info) + 2 * workers->settings.beat_ms)
            workers->seats[i].building_ms = now + ms;
}

// ---- the whole ----

static void on_grace(struct peri_timer *timer)
{
    struct peri_workers *workers = PERI_CONTAINER(timer, struct peri_workers, grace);
    if (!is_empty(workers))
        peri_warn("the time to drain is over: workers killed");
    peri_workers_kill(workers);
}

static uint64_t beat_ms(uint64_t watchdog_ms)
{
    uint64_t beat = watchdog_ms / 4;
    if (watchdog_ms == 0)
        return 1000;
    return beat < 20 ? 20 : beat > 1000 ? 1000 : beat;
}

struct peri_workers *peri_workers_new(const struct peri_workers_options *options)
{
    struct peri_workers *workers = calloc(1, sizeof(*workers) + options->count * sizeof(struct seat));
    if (!workers)
        return NULL;
    peri_assert(options->count > 0 && (!options->is_local || options->count == 1));
    workers->options = *options;
    workers->settings.lua_memory = options->lua_memory;
    workers->settings.beat_ms = beat_ms(options->watchdog_ms);
    strncpy(workers->settings.role, options->role, sizeof(workers->settings.role) - 1);
    workers->watched_ms = now_ms(workers);
    peri_timer_init(&workers->watch, on_watch);
    peri_timer_init(&workers->grace, on_grace);
    for (uint32_t i = 0; i < options->count; i++) {
        workers->seats[i].workers = workers;
        workers->seats[i].index = i;
        peri_timer_init(&workers->seats[i].restart, on_restart);
    }
    return workers;
}

void peri_workers_free(struct peri_workers *workers)
{
    if (!workers)
        return;
    peri_assert(is_empty(workers));
    peri_timer_stop(&workers->watch);
    peri_timer_stop(&workers->grace);
    for (uint32_t i = 0; i < workers->options.count; i++)
        peri_timer_stop(&workers->seats[i].restart);
    free(workers);
}

void peri_workers_each(struct peri_workers *workers, void (*each)(void *data, struct peri_link *link), void *data)
{
    for (uint32_t i = 0; i < workers->options.count; i++)
        if (workers->seats[i].link)
            each(data, workers->seats[i].link);
}

struct peri_link *peri_workers_link(const struct peri_workers *workers, uint32_t index)
{
    return index < workers->options.count ? workers->seats[index].link : NULL;
}

struct peri_link *peri_workers_serving(const struct peri_workers *workers)
{
    for (uint32_t i = 0; i < workers->options.count; i++)
        if (workers->seats[i].link && workers->seats[i].is_serving)
            return workers->seats[i].link;
    return NULL;
}

void peri_workers_hold(struct peri_workers *workers, bool is_held)
{
    bool was_held = workers->is_held;
    workers->is_held = is_held;
    for (uint32_t i = 0; was_held && !is_held && i < workers->options.count; i++)
        if (!workers->seats[i].link && !peri_timer_is_active(&workers->seats[i].restart))
            peri_timer_start(workers->options.loop, &workers->seats[i].restart, 0);
}

static void drain_link(void *data, struct peri_link *link)
{
    link->ops->drain(link, *(const uint64_t *)data);
}

static void kill_link(void *data, struct peri_link *link)
{
    PERI_UNUSED(data);
    link->ops->kill(link);
}

static void begin_end(struct peri_workers *workers)
{
    workers->is_ending = true;
    for (uint32_t i = 0; i < workers->options.count; i++)
        peri_timer_stop(&workers->seats[i].restart);
}

void peri_workers_drain(struct peri_workers *workers, uint64_t ms)
{
    begin_end(workers);
    peri_timer_start(workers->options.loop, &workers->grace, is_empty(workers) ? 0 : ms + KILL_GRACE_MS);
    peri_workers_each(workers, drain_link, &ms);
}

void peri_workers_kill(struct peri_workers *workers)
{
    begin_end(workers);
    peri_workers_each(workers, kill_link, NULL);
    tell_empty(workers);
}
