// SPDX-License-Identifier: MIT
// One probe for each endpoint, found by the number of its row:
//
//   due (timer) -> a place among PERI_CHECKER_MAX, or the queue for one -> check -> finding -> row -> due again
#include "upstream/checker.h"

#include <stdbool.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/log.h"
#include "codec/digest.h"
#include "event/loop.h"
#include "event/timer.h"
#include "shared/endpoints.h"
#include "upstream/guard.h"
#include "upstream/health_check.h"
#include "upstream/upstream.h"

struct probe {
    struct peri_list link; ///< of all
    struct peri_list turn; ///< in the queue
    struct peri_checker *checker;
    struct peri_health_settings *settings; ///< referenced
    struct peri_pool *pool;                ///< referenced
    uint32_t index;                        ///< of its target
    int32_t row;
    int32_t upstream; ///< row
    bool returns;     ///< a success ends an ejection
    bool is_wanted;
    struct peri_timer due;
    struct peri_health_check *check; ///< under way; NULL for none
};

struct peri_checker {
    struct peri_loop *loop;
    struct peri_pools *pools;
    struct peri_shm *shm;
    uint64_t random;
    struct probe **rows; ///< by row; NULL before the first probe
    struct peri_list probes;
    struct peri_list queue;
    uint32_t under_way;
};

// ---- checks

static void probe_start(struct probe *probe);

static void probe_schedule(struct probe *probe)
{
    struct peri_loop *loop = probe->checker->loop;
    const struct peri_endpoint_row *row = peri_endpoints_row(probe->checker->shm, probe->row);
    peri_timer_start(loop, &probe->due, peri_health_wait_ms(probe->settings, row, peri_loop_now_ms(loop)));
}

static void log_change(const struct probe *probe, enum peri_health_change change, bool is_back)
{
    struct peri_shm *shm = probe->checker->shm;
    const struct peri_slice name = peri_endpoints_upstream_name(shm, (uint32_t)probe->upstream);
    const struct peri_slice address = peri_endpoints_address(shm, probe->row);
    char why[PERI_HEALTH_TEXT];
    peri_health_describe(&peri_endpoints_row(shm, probe->row)->health, why);
    if (change == PERI_HEALTH_DOWN)
        peri_warn("upstream %.*s: %.*s is unhealthy (%s)", (int)name.len, name.ptr, (int)address.len, address.ptr, why);
    else if (change == PERI_HEALTH_UP)
        peri_info("upstream %.*s: %.*s is healthy", (int)name.len, name.ptr, (int)address.len, address.ptr);
    if (is_back)
        peri_info("upstream %.*s: %.*s is back, its check succeeded", (int)name.len, name.ptr, (int)address.len,
                  address.ptr);
}

// A success says that the endpoint is well, whatever its results were (Envoy's successful_active_health_check_uneject_host).
static bool end_ejection(const struct probe *probe, struct peri_endpoint_row *row, uint64_t now_ms)
{
    uint32_t flags = __atomic_load_n(&row->flags, __ATOMIC_RELAXED);
    bool is_good = row->health.result == PERI_HEALTH_SUCCESS && !(flags & PERI_ENDPOINT_UNHEALTHY);
    if (!probe->returns || !is_good || !(flags & PERI_ENDPOINT_EJECTED))
        return false;
    peri_outlier_return(row, now_ms);
    return true;
}

static void note(struct probe *probe, const struct peri_health_finding *finding)
{
    struct peri_checker *checker = probe->checker;
    struct peri_endpoint_row *row = peri_endpoints_row(checker->shm, probe->row);
    uint64_t now_ms = peri_loop_now_ms(checker->loop);
    peri_endpoints_acquire(checker->shm);
    enum peri_health_change change = peri_health_count(probe->settings, row, finding, now_ms, &checker->random);
    bool is_back = end_ejection(probe, row, now_ms);
    peri_endpoints_release(checker->shm);
    uint64_t *checks = peri_endpoints_upstream(checker->shm, probe->upstream)->checks;
    __atomic_fetch_add(&checks[finding->result], 1, __ATOMIC_RELAXED);
    log_change(probe, change, is_back);
}

static void start_next(struct peri_checker *checker)
{
    while (checker->under_way < PERI_CHECKER_MAX && !peri_list_is_empty(&checker->queue)) {
        struct probe *probe = PERI_LIST_ITEM(checker->queue.next, struct probe, turn);
        peri_list_remove(&probe->turn);
        probe_start(probe);
    }
}

static void on_found(void *data, const struct peri_health_finding *finding)
{
    struct probe *probe = data;
    struct peri_checker *checker = probe->checker;
    probe->check = NULL;
    checker->under_way--;
    if (finding->is_void) {
        peri_timer_start(checker->loop, &probe->due, probe->settings->interval_ms);
    } else {
        note(probe, finding);
        probe_schedule(probe);
    }
    start_next(checker);
}

static void probe_start(struct probe *probe)
{
    struct peri_checker *checker = probe->checker;
    peri_debug_assert(!probe->check && peri_list_is_empty(&probe->turn));
    if (checker->under_way >= PERI_CHECKER_MAX) {
        peri_list_append(&checker->queue, &probe->turn);
        return;
    }
    probe->check = peri_health_check_start(probe->settings, probe->index, probe->pool, on_found, probe);
    if (probe->check)
        checker->under_way++;
    else
        peri_timer_start(checker->loop, &probe->due, probe->settings->interval_ms); // out of memory says nothing of it
}

static void on_due(struct peri_timer *timer)
{
    probe_start(PERI_CONTAINER(timer, struct probe, due));
}

// ---- who is checked

static void probe_free(struct probe *probe)
{
    struct peri_checker *checker = probe->checker;
    if (probe->check) {
        peri_health_check_cancel(probe->check);
        checker->under_way--;
    }
    peri_timer_stop(&probe->due);
    peri_list_remove(&probe->turn);
    peri_list_remove(&probe->link);
    checker->rows[probe->row] = NULL;
    peri_pool_release(probe->pool);
    peri_health_unref(probe->settings);
    free(probe);
}

static struct probe *probe_new(struct peri_checker *checker, const struct peri_guard *guard, uint32_t index)
{
    if (!checker->rows)
        checker->rows = calloc(PERI_ENDPOINT_ROWS, sizeof(*checker->rows));
    struct probe *probe = checker->rows ? calloc(1, sizeof(*probe)) : NULL;
    if (!probe)
        return NULL;
    probe->checker = checker;
    probe->row = guard->rows[index];
    probe->upstream = guard->row;
    peri_list_init(&probe->turn);
    peri_timer_init(&probe->due, on_due);
    peri_list_append(&checker->probes, &probe->link);
    checker->rows[probe->row] = probe;
    return probe;
}

// The settings of the present set take the place of those before.
static void probe_set(struct probe *probe, const struct peri_guard *guard, uint32_t index, struct peri_pool *pool)
{
    struct peri_health_settings *before = probe->settings;
    if (probe->pool)
        peri_pool_release(probe->pool);
    probe->pool = pool;
    probe->settings = peri_health_ref(guard->health);
    peri_health_unref(before);
    probe->index = index;
    probe->returns = guard->has_outlier && guard->outlier.successful_active_health_check_uneject_host;
    probe->is_wanted = true;
    if (!probe->check && peri_list_is_empty(&probe->turn))
        probe_schedule(probe);
}

static void want_endpoint(struct peri_checker *checker, const struct peri_guard *guard, uint32_t index)
{
    const struct peri_health_settings *settings = guard->health;
    struct peri_pool *pool = peri_pools_get(checker->pools, settings->targets[index].address, &settings->pool);
    struct probe *probe = checker->rows ? checker->rows[guard->rows[index]] : NULL;
    if (pool && !probe)
        probe = probe_new(checker, guard, index);
    if (probe && pool) {
        probe_set(probe, guard, index, pool);
        return;
    }
    if (pool)
        peri_pool_release(pool);
    const struct peri_slice address = settings->targets[index].address;
    peri_error("out of memory: %.*s is not checked", (int)address.len, address.ptr);
}

static void drop_unwanted(struct peri_checker *checker)
{
    struct peri_list *link = checker->probes.next;
    while (link != &checker->probes) {
        struct probe *probe = PERI_LIST_ITEM(link, struct probe, link);
        link = link->next;
        if (!probe->is_wanted)
            probe_free(probe);
        else
            probe->is_wanted = false; // until the next set
    }
}

void peri_checker_set(struct peri_checker *checker, struct peri_upstream *const *upstreams, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct peri_guard *guard = upstreams[i]->guard;
        for (uint32_t k = 0; guard && guard->health && k < guard->count; k++)
            want_endpoint(checker, guard, k);
    }
    drop_unwanted(checker);
    start_next(checker);
}

// ---- life

struct peri_checker *peri_checker_new(struct peri_loop *loop, struct peri_pools *pools, struct peri_shm *shm)
{
    struct peri_checker *checker = calloc(1, sizeof(*checker));
    if (!checker)
        return NULL;
    checker->loop = loop;
    checker->pools = pools;
    checker->shm = shm;
    if (peri_digest_random((unsigned char *)&checker->random, sizeof(checker->random)) != PERI_OK)
        checker->random = (uint64_t)(uintptr_t)checker;
    checker->random |= 1;
    peri_list_init(&checker->probes);
    peri_list_init(&checker->queue);
    return checker;
}

void peri_checker_free(struct peri_checker *checker)
{
    if (!checker)
        return;
    peri_checker_set(checker, NULL, 0);
    peri_debug_assert(checker->under_way == 0);
    free(checker->rows);
    free(checker);
}
