// SPDX-License-Identifier: MIT
// One timer: it fires when the next sweep is due, but at least once a second to renew the lease or to find it free.
#include "upstream/keeper.h"

#include <stdbool.h>
#include <stdlib.h>

#include "event/loop.h"
#include "event/timer.h"
#include "shared/endpoints.h"
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
};

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
    if (peri_lease_take(peri_endpoints_lease(keeper->shm), keeper->worker, now_ms, KEEPER_LEASE_MS))
        next_ms = keeper_sweep(keeper, now_ms);
    peri_timer_start(keeper->loop, &keeper->timer, next_ms > now_ms ? next_ms - now_ms : 1);
}

struct peri_keeper *peri_keeper_new(struct peri_loop *loop, struct peri_shm *shm, uint32_t worker)
{
    struct peri_keeper *keeper = calloc(1, sizeof(*keeper));
    if (!keeper)
        return NULL;
    *keeper = (struct peri_keeper){.loop = loop, .shm = shm, .worker = worker};
    peri_timer_init(&keeper->timer, on_timer);
    return keeper;
}

void peri_keeper_set(struct peri_keeper *keeper, struct peri_upstream *const *upstreams, uint32_t count)
{
    bool has_guard = false;
    keeper->upstreams = upstreams;
    keeper->count = count;
    for (uint32_t i = 0; i < count; i++)
        has_guard = has_guard || upstreams[i]->guard;
    if (has_guard) {
        peri_timer_start(keeper->loop, &keeper->timer, 0);
        return;
    }
    peri_timer_stop(&keeper->timer);
    peri_lease_drop(peri_endpoints_lease(keeper->shm), keeper->worker);
}

void peri_keeper_free(struct peri_keeper *keeper)
{
    if (!keeper)
        return;
    peri_keeper_set(keeper, NULL, 0);
    free(keeper);
}
