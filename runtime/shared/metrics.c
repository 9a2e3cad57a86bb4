// SPDX-License-Identifier: MIT
// The rows' names and the sums. Members are read one by one while their workers add to them: each number is whole, a set of
// them may be some nanoseconds apart.
#include "shared/metrics.h"

#include <time.h>

#include "base/assert.h"
#include "shared/segment.h"
#include "shared/shm.h"

_Static_assert(PERI_METRICS_NAME_MAX <= PERI_NAME_TEXT, "a name fits into its row");
_Static_assert(sizeof(struct peri_metrics_codes) == PERI_METRICS_PAGE_SIZE, "the codes of a row are one memory page");
_Static_assert(offsetof(struct peri_metrics_page, route_codes) % PERI_METRICS_PAGE_SIZE == 0, "and begin on one");
_Static_assert(sizeof(struct peri_metrics_page) % PERI_METRICS_PAGE_SIZE == 0, "a worker's pages are its own");

#define NS_PER_SECOND 1000000000.0

const uint64_t peri_metrics_bounds_ns[PERI_METRICS_BOUNDS] = {
    5000000,   10000000,  25000000,   50000000,   75000000,   100000000,  250000000,
    500000000, 750000000, 1000000000, 2500000000, 5000000000, 7500000000, 10000000000,
};

// ---- rows

static int32_t metrics_row(struct peri_shm *shm, const struct peri_names *names, uint32_t owner, struct peri_slice name)
{
    if (name.len > PERI_METRICS_NAME_MAX)
        return 0;
    int32_t row = peri_names_find(names, owner, name);
    if (row < 0) {
        peri_shm_registry_acquire(shm);
        row = peri_names_add(names, owner, name);
        peri_shm_registry_release(shm);
    }
    return row < 0 ? 0 : row;
}

int32_t peri_metrics_route(struct peri_shm *shm, struct peri_slice name)
{
    return metrics_row(shm, &shm->routes, 0, name);
}

int32_t peri_metrics_upstream(struct peri_shm *shm, struct peri_slice name)
{
    return metrics_row(shm, &shm->upstreams, 0, name);
}

int32_t peri_metrics_listener(struct peri_shm *shm, struct peri_slice address)
{
    return metrics_row(shm, &shm->listeners, 0, address);
}

int32_t peri_metrics_policy(struct peri_shm *shm, struct peri_slice policy, struct peri_slice route)
{
    return metrics_row(shm, &shm->policies, (uint32_t)peri_metrics_route(shm, route), policy);
}

uint32_t peri_metrics_route_count(const struct peri_shm *shm)
{
    return peri_names_count(&shm->routes);
}

uint32_t peri_metrics_upstream_count(const struct peri_shm *shm)
{
    return peri_names_count(&shm->upstreams);
}

uint32_t peri_metrics_policy_count(const struct peri_shm *shm)
{
    return peri_names_count(&shm->policies);
}

uint32_t peri_metrics_listener_count(const struct peri_shm *shm)
{
    return peri_names_count(&shm->listeners);
}

struct peri_slice peri_metrics_route_name(const struct peri_shm *shm, uint32_t row)
{
    peri_assert(row < PERI_METRICS_ROUTES);
    return peri_names_text(&shm->routes, row);
}

struct peri_slice peri_metrics_upstream_name(const struct peri_shm *shm, uint32_t row)
{
    peri_assert(row < PERI_METRICS_UPSTREAMS);
    return peri_names_text(&shm->upstreams, row);
}

int32_t peri_metrics_find_upstream(const struct peri_shm *shm, struct peri_slice name)
{
    return peri_names_find(&shm->upstreams, 0, name);
}

struct peri_slice peri_metrics_listener_name(const struct peri_shm *shm, uint32_t row)
{
    peri_assert(row < PERI_METRICS_LISTENERS);
    return peri_names_text(&shm->listeners, row);
}

// ---- the process

void peri_metrics_reload(struct peri_shm *shm, enum peri_reload_result result)
{
    peri_assert(result < PERI_RELOAD_COUNT);
    __atomic_fetch_add(&shm->head->reloads[result], 1, __ATOMIC_RELAXED);
}

void peri_metrics_set_generation(struct peri_shm *shm, uint64_t generation)
{
    __atomic_store_n(&shm->head->generation, generation, __ATOMIC_RELAXED);
}

const char *peri_retry_result_name(uint32_t result)
{
    static const char *const names[] = {"stale", "success", "failure", "limit", "overflow"};
    peri_assert(result < PERI_COUNT(names));
    return names[result];
}

const char *peri_hedge_result_name(uint32_t result)
{
    static const char *const names[] = {"won", "lost", "failed", "overflow"};
    peri_assert(result < PERI_COUNT(names));
    return names[result];
}

const char *peri_reload_result_name(enum peri_reload_result result)
{
    static const char *const names[] = {"ok", "refused", "failed", "rollback", "canary_rolled_back"};
    peri_assert(result < PERI_RELOAD_COUNT);
    return names[result];
}

// ---- sums

static uint64_t load(const uint64_t *counter)
{
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

// Adds one worker's row. A row that no request met is passed over: to read its codes would allocate them.
static void sum_row(const struct peri_metrics_latency *row, const struct peri_metrics_codes *row_codes,
                    struct peri_metrics_sum *out, uint64_t *codes)
{
    uint64_t requests = 0;
    for (unsigned i = 0; i < PERI_COUNT(row->buckets); i++) {
        uint64_t count = load(&row->buckets[i]);
        out->buckets[i] += count;
        requests += count;
    }
    out->sum_ns += load(&row->sum_ns);
    out->requests += requests;
    for (unsigned i = 0; requests > 0 && i < PERI_METRICS_CODES; i++) {
        uint64_t count = load(&row_codes->counts[i]);
        out->by_class[i < 500 ? 1 + i / 100 : 0] += count;
        if (codes)
            codes[i] += count;
    }
}

static void sum_clear(struct peri_metrics_sum *out, uint64_t *codes)
{
    *out = (struct peri_metrics_sum){0};
    if (codes)
        memset(codes, 0, PERI_METRICS_CODES * sizeof(*codes));
}

void peri_metrics_sum_route(const struct peri_shm *shm, uint32_t row, struct peri_metrics_sum *out, uint64_t *codes)
{
    peri_assert(row < PERI_METRICS_ROUTES);
    sum_clear(out, codes);
    for (uint32_t worker = 0; worker < shm->workers; worker++) {
        const struct peri_metrics_page *page = peri_shm_page(shm, worker);
        if (page)
            sum_row(&page->routes[row], &page->route_codes[row], out, codes);
    }
}

void peri_metrics_sum_calls(const struct peri_shm *shm, uint32_t row, uint64_t *calls)
{
    peri_assert(row < PERI_METRICS_ROUTES);
    memset(calls, 0, PERI_METRICS_CALLS * sizeof(*calls));
    for (uint32_t worker = 0; worker < shm->workers; worker++) {
        const struct peri_metrics_page *page = peri_shm_page(shm, worker);
        for (unsigned i = 0; page && load(&page->calls) > 0 && i < PERI_METRICS_CALLS; i++)
            calls[i] += load(&page->route_calls[row].counts[i]);
    }
}

void peri_metrics_sum_upstream(const struct peri_shm *shm, uint32_t row, struct peri_metrics_sum *out, uint64_t *codes)
{
    peri_assert(row < PERI_METRICS_UPSTREAMS);
    sum_clear(out, codes);
    for (uint32_t worker = 0; worker < shm->workers; worker++) {
        const struct peri_metrics_page *page = peri_shm_page(shm, worker);
        if (page)
            sum_row(&page->upstreams[row], &page->upstream_codes[row], out, codes);
    }
}

void peri_metrics_sum_connections(const struct peri_shm *shm, uint32_t row, struct peri_metrics_upstream *out)
{
    peri_assert(row < PERI_METRICS_UPSTREAMS);
    *out = (struct peri_metrics_upstream){0};
    for (uint32_t worker = 0; worker < shm->workers; worker++) {
        const struct peri_metrics_page *page = peri_shm_page(shm, worker);
        if (!page)
            continue;
        const struct peri_metrics_upstream *from = &page->upstream_connections[row];
        out->connections += __atomic_load_n(&from->connections, __ATOMIC_RELAXED);
        out->connects += load(&from->connects);
        out->connect_failures += load(&from->connect_failures);
        out->reuses += load(&from->reuses);
        out->timeouts += load(&from->timeouts);
        out->resets += load(&from->resets);
        for (unsigned i = 0; i < PERI_RETRY_RESULTS; i++)
            out->retries[i] += load(&from->retries[i]);
        for (unsigned i = 0; i < PERI_HEDGE_RESULTS; i++)
            out->hedges[i] += load(&from->hedges[i]);
    }
}

int64_t peri_metrics_connections(const struct peri_shm *shm, uint32_t row)
{
    peri_assert(row < PERI_METRICS_UPSTREAMS);
    int64_t sum = 0;
    for (uint32_t worker = 0; worker < shm->workers; worker++) {
        const struct peri_metrics_page *page = peri_shm_page(shm, worker);
        if (page)
            sum += __atomic_load_n(&page->upstream_connections[row].connections, __ATOMIC_RELAXED);
    }
    return sum;
}

// A quarantine ends with its generation.
static bool is_quarantined(const struct peri_shm *shm, uint32_t worker, const struct peri_metrics_policy *policy)
{
    struct peri_worker_info info;
    uint32_t generation = __atomic_load_n(&policy->quarantined, __ATOMIC_RELAXED);
    if (generation == 0)
        return false;
    peri_shm_worker_get(shm, worker, &info);
    return generation == (uint32_t)info.generation;
}

void peri_metrics_sum_listener(const struct peri_shm *shm, uint32_t row, struct peri_metrics_listener *out)
{
    peri_assert(row < PERI_METRICS_LISTENERS);
    *out = (struct peri_metrics_listener){0};
    for (uint32_t worker = 0; worker < shm->workers; worker++) {
        const struct peri_metrics_page *page = peri_shm_page(shm, worker);
        if (!page)
            continue;
        out->connections += __atomic_load_n(&page->listeners[row].connections, __ATOMIC_RELAXED);
        out->total += load(&page->listeners[row].total);
        out->failed += load(&page->listeners[row].failed);
        out->bytes_in += load(&page->listeners[row].bytes_in);
        out->bytes_out += load(&page->listeners[row].bytes_out);
    }
}

void peri_metrics_sum_policy(const struct peri_shm *shm, uint32_t row, struct peri_metrics_policy_sum *out)
{
    peri_assert(row < PERI_METRICS_POLICIES);
    uint32_t route = shm->policies.rows[row].owner;
    uint64_t ticks = 0, waits = 0;
    *out = (struct peri_metrics_policy_sum){.policy = peri_names_text(&shm->policies, row)};
    out->route = peri_names_text(&shm->routes, route < PERI_METRICS_ROUTES ? route : 0);
    for (uint32_t worker = 0; worker < shm->workers; worker++) {
        const struct peri_metrics_page *page = peri_shm_page(shm, worker);
        if (!page)
            continue;
        out->calls += load(&page->policies[row].calls);
        out->errors += load(&page->policies[row].errors);
        out->trips += __atomic_load_n(&page->policies[row].trips, __ATOMIC_RELAXED);
        out->quarantined += is_quarantined(shm, worker, &page->policies[row]);
        ticks += load(&page->policies[row].ticks);
        waits += load(&page->policies[row].waits);
        for (unsigned i = 0; i < PERI_WOULD_COUNT; i++)
            out->would[i] += load(&page->dry_runs[row][i]);
    }
    out->cpu_seconds = (double)ticks / peri_metrics_ticks_per_second(shm);
    out->duration_seconds = out->cpu_seconds + (double)waits / peri_metrics_ticks_per_second(shm);
}

void peri_metrics_lua(const struct peri_shm *shm, uint32_t worker, struct peri_metrics_lua *out)
{
    const struct peri_metrics_page *page = peri_shm_page(shm, worker);
    *out = (struct peri_metrics_lua){0};
    if (!page)
        return;
    double per_second = peri_metrics_ticks_per_second(shm);
    out->limit = load(&page->heap.limit);
    out->full = load(&page->heap.full);
    out->pauses = load(&page->heap.pauses);
    out->pause_seconds = (double)load(&page->heap.ticks) / per_second;
    out->longest_seconds = (double)load(&page->heap.longest) / per_second;
}

void peri_metrics_sum_process(const struct peri_shm *shm, struct peri_metrics_process_sum *out)
{
    *out = (struct peri_metrics_process_sum){.generation = load(&shm->head->generation)};
    for (unsigned i = 0; i < PERI_RELOAD_COUNT; i++)
        out->reloads[i] = load(&shm->head->reloads[i]);
    for (uint32_t worker = 0; worker < shm->workers; worker++) {
        const struct peri_metrics_page *page = peri_shm_page(shm, worker);
        if (!page)
            continue;
        out->connections += __atomic_load_n(&page->connections, __ATOMIC_RELAXED);
        out->accepted += load(&page->accepted);
        out->refused += load(&page->refused);
        out->handshakes_failed += load(&page->handshakes_failed);
        out->preambles_refused += load(&page->preambles_refused);
        out->log_drops += load(&page->log_drops);
    }
}

// ---- the clock

uint64_t peri_metrics_clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

double peri_metrics_ticks_per_second(const struct peri_shm *shm)
{
    double ticks = (double)(peri_metrics_ticks() - shm->head->start_ticks);
    double ns = (double)(peri_metrics_clock_ns() - shm->head->start_ns);
    return ticks > 0 && ns > 0 ? ticks / ns * NS_PER_SECOND : NS_PER_SECOND;
}
