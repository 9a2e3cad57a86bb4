// SPDX-License-Identifier: MIT
// One timer: it fires when the next sweep is due, but at least once a second to renew the lease or to find it free.
#include "upstream/keeper.h"

#include <stdbool.h>
#include <stdlib.h>

#include "event/loop.h"
#include "event/timer.h"
#include "shared/endpoints.h"
#include "upstream/checker.h"
#include "upstream/guard.h"
#include "upstream/upstream.h"

#define KEEPER_LEASE_MS 3000
#define KEEPER_TICK_MS 1000

struct peri_keeper {
    struct peri_loop *loop;
    struct peri_shm *shm;
    uint32_t worker;
    struct peri_upstream *const *upstreams;
    uint32_t count;
    struct peri_timer timer;
    struct peri_checker *checker; ///< NULL: endpoints are not checked
    bool is_at_work;              ///< had the lease when it looked
    bool is_resting;
};

static void keeper_check(struct peri_keeper *keeper)
{
    if (keeper->checker)
        peri_checker_set(keeper->checker, keeper->upstreams, keeper->is_at_work ? keeper->count : 0);
}

// Sweeps what is due; the monotonic time at which something is due next.
static uint64_t keeper_sweep(struct peri_keeper *keeper, uint64_t now_ms)
{
    uint64_t next_ms = now_ms + KEEPER_TICK_MS;
    for (uint32_t i = 0; i < keeper->count; i++) {
        struct peri_guard *guard = keeper->upstreams[i]->guard;
        uint64_t due_ms = guard ? peri_guard_sweep(guard, now_ms) : UINT64_MAX;
        next_ms = due_ms < next_ms ? due_ms : next_ms;
    }
    return next_ms;
}

static void on_timer(struct peri_timer *timer)
{
    struct peri_keeper *keeper = PERI_CONTAINER(timer, struct peri_keeper, timer);
    uint64_t now_ms = peri_loop_now_ms(keeper->loop);
    uint64_t next_ms = now_ms + KEEPER_TICK_MS;
    bool was_at_work = keeper->is_at_work;
    keeper->is_at_work = peri_lease_take(peri_endpoints_lease(keeper->shm), keeper->worker, now_ms, KEEPER_LEASE_MS);
    if (keeper->is_at_work != was_at_work)
        keeper_check(keeper);
    if (keeper->is_at_work)
        next_ms = keeper_sweep(keeper, now_ms);
    peri_timer_start(keeper->loop, &keeper->timer, next_ms > now_ms ? next_ms - now_ms : 1);
}

struct peri_keeper *peri_keeper_new(struct peri_loop *loop, struct peri_pools *pools, struct peri_shm *shm,
                                    uint32_t worker)
{
    struct peri_keeper *keeper = calloc(1, sizeof(*keeper));
    struct peri_checker *checker = pools ? peri_checker_new(loop, pools, shm) : NULL;
    if (!keeper || (pools && !checker)) {
        peri_checker_free(checker);
        free(keeper);
        return NULL;
    }
    *keeper = (struct peri_keeper){.loop = loop, .shm = shm, .worker = worker, .checker = checker};
    peri_timer_init(&keeper->timer, on_timer);
    return keeper;
}

void peri_keeper_set(struct peri_keeper *keeper, struct peri_upstream *const *upstreams, uint32_t count)
{
    bool has_guard = false;
    if (keeper->is_resting)
        return;
    keeper->upstreams = upstreams;
    keeper->count = count;
    for (uint32_t i = 0; i < count; i++) {
        has_guard = has_guard || upstreams[i]->guard;
        if (upstreams[i]->guard && keeper->checker)
            peri_guard_expect_checks(upstreams[i]->guard);
    }
    keeper->is_at_work = keeper->is_at_work && has_guard;
    keeper_check(keeper);
    if (has_guard) {
        peri_timer_start(keeper->loop, &keeper->timer, 0);
        return;
    }
    peri_timer_stop(&keeper->timer);
    peri_lease_drop(peri_endpoints_lease(keeper->shm), keeper->worker);
}

void peri_keeper_rest(struct peri_keeper *keeper)
{
    peri_keeper_set(keeper, NULL, 0);
    keeper->is_resting = true;
}

void peri_keeper_free(struct peri_keeper *keeper)
{
    if (!keeper)
        return;
    peri_keeper_rest(keeper);
    peri_checker_free(keeper->checker);
    free(keeper);
}
