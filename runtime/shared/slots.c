// SPDX-License-Identifier: MIT
// The workers' slots: single numbers, each stored by one process and read by any. The state is stored last and read first.
#include <string.h>

#include "base/assert.h"
#include "shared/segment.h"
#include "shared/shm.h"

_Static_assert(sizeof(struct peri_shm_slot) == 128, "slots do not share cache lines");

static struct peri_shm_slot *shm_slot(const struct peri_shm *shm, uint32_t worker)
{
    peri_assert(worker < shm->workers);
    return &shm->slots[worker];
}

static void page_clear_gauges(struct peri_metrics_page *page, uint32_t upstreams)
{
    __atomic_store_n(&page->connections, 0, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < PERI_RESOURCES; i++) {
        __atomic_store_n(&page->overload.gauges[i].used, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&page->overload.gauges[i].state, 0, __ATOMIC_RELAXED);
    }
    for (uint32_t i = 0; i < upstreams; i++)
        __atomic_store_n(&page->upstream_connections[i].connections, 0, __ATOMIC_RELAXED);
    for (uint32_t i = 0; i < PERI_METRICS_LISTENERS; i++)
        __atomic_store_n(&page->listeners[i].connections, 0, __ATOMIC_RELAXED);
}

static void slot_clear_gauges(struct peri_shm *shm, uint32_t worker)
{
    struct peri_shm_slot *slot = shm_slot(shm, worker);
    __atomic_store_n(&slot->lua_bytes, 0, __ATOMIC_RELAXED);
    if (peri_shm_page(shm, worker))
        page_clear_gauges(&shm->pages[worker], peri_names_count(&shm->upstreams));
    peri_endpoints_end_worker(shm, worker);
}

void peri_shm_worker_begin(struct peri_shm *shm, uint32_t worker, int32_t pid, uint64_t now_ms)
{
    struct peri_shm_slot *slot = shm_slot(shm, worker);
    slot_clear_gauges(shm, worker);
    __atomic_store_n(&slot->restarts, slot->restarts + (slot->pid != 0), __ATOMIC_RELAXED);
    __atomic_store_n(&slot->generation, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&slot->started_ms, now_ms, __ATOMIC_RELAXED);
    __atomic_store_n(&slot->heartbeat_ms, now_ms, __ATOMIC_RELAXED);
    __atomic_store_n(&slot->pid, pid, __ATOMIC_RELAXED);
    peri_shm_worker_set_state(shm, worker, PERI_WORKER_STARTING);
}

void peri_shm_worker_beat(struct peri_shm *shm, uint32_t worker, uint64_t now_ms)
{
    __atomic_store_n(&shm_slot(shm, worker)->heartbeat_ms, now_ms, __ATOMIC_RELAXED);
}

void peri_shm_worker_set_state(struct peri_shm *shm, uint32_t worker, enum peri_worker_state state)
{
    __atomic_store_n(&shm_slot(shm, worker)->state, (uint32_t)state, __ATOMIC_RELEASE);
}

void peri_shm_worker_set_generation(struct peri_shm *shm, uint32_t worker, uint64_t generation)
{
    __atomic_store_n(&shm_slot(shm, worker)->generation, generation, __ATOMIC_RELEASE);
}

void peri_shm_worker_set_lua_bytes(struct peri_shm *shm, uint32_t worker, uint64_t bytes)
{
    __atomic_store_n(&shm_slot(shm, worker)->lua_bytes, bytes, __ATOMIC_RELAXED);
}

void peri_shm_worker_end(struct peri_shm *shm, uint32_t worker)
{
    slot_clear_gauges(shm, worker);
    peri_shm_worker_set_state(shm, worker, PERI_WORKER_DEAD);
}

void peri_shm_worker_get(const struct peri_shm *shm, uint32_t worker, struct peri_worker_info *out)
{
    const struct peri_shm_slot *slot = shm_slot(shm, worker);
    const struct peri_metrics_page *page = peri_shm_page(shm, worker);
    uint32_t state = __atomic_load_n(&slot->state, __ATOMIC_ACQUIRE);
    int64_t connections = page ? __atomic_load_n(&page->connections, __ATOMIC_RELAXED) : 0;
    out->state = state <= PERI_WORKER_DEAD ? (enum peri_worker_state)state : PERI_WORKER_EMPTY;
    out->pid = __atomic_load_n(&slot->pid, __ATOMIC_RELAXED);
    out->heartbeat_ms = __atomic_load_n(&slot->heartbeat_ms, __ATOMIC_RELAXED);
    out->started_ms = __atomic_load_n(&slot->started_ms, __ATOMIC_RELAXED);
    out->generation = __atomic_load_n(&slot->generation, __ATOMIC_ACQUIRE);
    out->lua_bytes = __atomic_load_n(&slot->lua_bytes, __ATOMIC_RELAXED);
    out->restarts = __atomic_load_n(&slot->restarts, __ATOMIC_RELAXED);
    out->connections = connections > 0 ? (uint32_t)connections : 0;
}

const char *peri_worker_state_name(enum peri_worker_state state)
{
    static const char *const names[] = {"empty", "starting", "ready", "draining", "dead"};
    peri_assert((unsigned)state < PERI_COUNT(names));
    return names[state];
}

struct peri_metrics_page *peri_shm_metrics(struct peri_shm *shm, uint32_t worker)
{
    __atomic_store_n(&shm_slot(shm, worker)->has_page, 1, __ATOMIC_RELEASE);
    return &shm->pages[worker];
}

const struct peri_metrics_page *peri_shm_page(const struct peri_shm *shm, uint32_t worker)
{
    return __atomic_load_n(&shm_slot(shm, worker)->has_page, __ATOMIC_ACQUIRE) ? &shm->pages[worker] : NULL;
}
