// SPDX-License-Identifier: MIT
// Names of rows, and the sums. A name is looked up when a generation is built, not per request: a walk over the rows will do.
#include "shared/endpoints.h"

#include <stddef.h>
#include <string.h>

#include "base/assert.h"
#include "shared/endpoints_table.h"
#include "shared/metrics.h"
#include "shared/segment.h"
#include "shared/shm.h"

#define LEASE_TIME ((UINT64_C(1) << 48) - 1)

_Static_assert(sizeof(struct peri_row_name) == 260, "a name is whole words");
_Static_assert(offsetof(struct peri_endpoint_row, outlier) == 64,
               "what every choice reads has a cache line of its own");
_Static_assert(sizeof(struct peri_endpoint_row) % 64 == 0 && offsetof(struct peri_endpoints_table, rows) % 64 == 0,
               "and no other row shares it");
_Static_assert(sizeof(struct peri_endpoint_cell) == 32, "cells do not straddle cache lines");
_Static_assert(sizeof(struct peri_breaker_cell) == 192, "cells of breakers do not share cache lines");

// ---- the lease

bool peri_lease_take(struct peri_lease *lease, uint32_t worker, uint64_t now_ms, uint64_t ms)
{
    uint64_t word = __atomic_load_n(&lease->word, __ATOMIC_ACQUIRE);
    uint64_t owner = word >> 48;
    if (owner != 0 && owner != worker + 1u && (word & LEASE_TIME) > now_ms)
        return false;
    uint64_t mine = (uint64_t)(worker + 1) << 48 | ((now_ms + ms) & LEASE_TIME);
    return __atomic_compare_exchange_n(&lease->word, &word, mine, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

void peri_lease_drop(struct peri_lease *lease, uint32_t worker)
{
    uint64_t word = __atomic_load_n(&lease->word, __ATOMIC_ACQUIRE);
    if (word >> 48 == worker + 1u)
        __atomic_compare_exchange_n(&lease->word, &word, 0, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

struct peri_lease *peri_endpoints_lease(struct peri_shm *shm)
{
    return &shm->endpoints->lease;
}

// ---- names

// One kind of rows: where their names are in the table, and where their holders are in a page.
struct row_kind {
    size_t base;
    size_t size; ///< bytes of a row
    size_t name; ///< of the name in a row
    size_t count;
    uint32_t limit;
    size_t cells;
    size_t cell_size;
    size_t holders; ///< in a cell
};

static const struct row_kind upstream_kind = {
    .base = offsetof(struct peri_endpoints_table, upstreams),
    .size = sizeof(struct peri_upstream_row),
    .name = offsetof(struct peri_upstream_row, name),
    .count = offsetof(struct peri_endpoints_table, upstream_count),
    .limit = PERI_ENDPOINT_UPSTREAMS,
    .cells = offsetof(struct peri_metrics_page, breakers),
    .cell_size = sizeof(struct peri_breaker_cell),
    .holders = offsetof(struct peri_breaker_cell, holders),
};

static const struct row_kind endpoint_kind = {
    .base = offsetof(struct peri_endpoints_table, rows),
    .size = sizeof(struct peri_endpoint_row),
    .name = offsetof(struct peri_endpoint_row, name),
    .count = offsetof(struct peri_endpoints_table, row_count),
    .limit = PERI_ENDPOINT_ROWS,
    .cells = offsetof(struct peri_metrics_page, endpoints),
    .cell_size = sizeof(struct peri_endpoint_cell),
    .holders = offsetof(struct peri_endpoint_cell, holders),
};

static char *row_at(const struct peri_shm *shm, const struct row_kind *kind, uint32_t row)
{
    return (char *)shm->endpoints + kind->base + row * kind->size;
}

static struct peri_row_name *name_at(const struct peri_shm *shm, const struct row_kind *kind, uint32_t row)
{
    return (struct peri_row_name *)(void *)(row_at(shm, kind, row) + kind->name);
}

static uint32_t *count_of(const struct peri_shm *shm, const struct row_kind *kind)
{
    return (uint32_t *)(void *)((char *)shm->endpoints + kind->count);
}

static uint32_t rows_used(const struct peri_shm *shm, const struct row_kind *kind)
{
    uint32_t count = __atomic_load_n(count_of(shm, kind), __ATOMIC_ACQUIRE);
    return count < kind->limit ? count : kind->limit;
}

static char *cell_at(const struct peri_metrics_page *page, const struct row_kind *kind, uint32_t row)
{
    return (char *)(uintptr_t)page + kind->cells + row * kind->cell_size;
}

static uint32_t *holders_at(const struct peri_metrics_page *page, const struct row_kind *kind, uint32_t row)
{
    return (uint32_t *)(void *)(cell_at(page, kind, row) + kind->holders);
}

static bool is_named(const struct peri_row_name *name, uint32_t owner, struct peri_slice text)
{
    return name->is_used && name->owner == owner && name->len == text.len && text.len <= PERI_ENDPOINT_TEXT &&
           memcmp(name->text, text.ptr, text.len) == 0;
}

static int32_t find_row(const struct peri_shm *shm, const struct row_kind *kind, uint32_t owner, struct peri_slice text)
{
    uint32_t count = rows_used(shm, kind);
    for (uint32_t row = 0; row < count; row++)
        if (is_named(name_at(shm, kind, row), owner, text))
            return (int32_t)row;
    return -1;
}

static bool is_held(const struct peri_shm *shm, const struct row_kind *kind, uint32_t row)
{
    for (uint32_t worker = 0; worker < shm->workers; worker++) {
        const struct peri_metrics_page *page = peri_shm_page(shm, worker);
        if (page && __atomic_load_n(holders_at(page, kind, row), __ATOMIC_ACQUIRE) > 0)
            return true;
    }
    return false;
}

// A row for a new name: a fresh one, or one that nobody holds. -1 when there is neither.
static int32_t find_room(const struct peri_shm *shm, const struct row_kind *kind)
{
    uint32_t count = rows_used(shm, kind);
    if (count < kind->limit)
        return (int32_t)count;
    for (uint32_t row = 0; row < count; row++)
        if (!is_held(shm, kind, row))
            return (int32_t)row;
    return -1;
}

// The endpoints of an upstream whose row goes to another name have no name any more.
static void forget_endpoints(const struct peri_shm *shm, uint32_t upstream)
{
    uint32_t count = rows_used(shm, &endpoint_kind);
    for (uint32_t row = 0; row < count; row++)
        if (name_at(shm, &endpoint_kind, row)->owner == upstream)
            __atomic_store_n(&name_at(shm, &endpoint_kind, row)->is_used, 0, __ATOMIC_RELEASE);
}

// Gives a row that nobody holds its name. A process that dies in here leaves a row without one.
static void name_row(const struct peri_shm *shm, const struct row_kind *kind, uint32_t row, uint32_t owner,
                     struct peri_slice text)
{
    struct peri_row_name *name = name_at(shm, kind, row);
    __atomic_store_n(&name->is_used, 0, __ATOMIC_RELEASE);
    if (kind == &upstream_kind)
        forget_endpoints(shm, row);
    memset(row_at(shm, kind, row), 0, kind->size);
    for (uint32_t worker = 0; worker < shm->workers; worker++)
        if (peri_shm_page(shm, worker))
            memset(cell_at(peri_shm_page(shm, worker), kind, row), 0, kind->cell_size);
    name->owner = owner;
    name->len = (uint32_t)text.len;
    memcpy(name->text, text.ptr, text.len);
    __atomic_store_n(&name->is_used, 1, __ATOMIC_RELEASE);
    if (row == rows_used(shm, kind))
        __atomic_store_n(count_of(shm, kind), row + 1, __ATOMIC_RELEASE);
}

static int32_t hold_row(struct peri_shm *shm, struct peri_metrics_page *page, const struct row_kind *kind,
                        uint32_t owner, struct peri_slice text)
{
    if (text.len == 0 || text.len > PERI_ENDPOINT_TEXT)
        return -1;
    peri_shm_registry_acquire(shm);
    int32_t row = find_row(shm, kind, owner, text);
    if (row < 0) {
        row = find_room(shm, kind);
        if (row >= 0)
            name_row(shm, kind, (uint32_t)row, owner, text);
    }
    if (row >= 0)
        __atomic_fetch_add(holders_at(page, kind, (uint32_t)row), 1, __ATOMIC_RELEASE);
    peri_shm_registry_release(shm);
    return row;
}

// A reset between two tests may have taken the count away.
static void drop_row(struct peri_metrics_page *page, const struct row_kind *kind, int32_t row)
{
    peri_assert(row >= 0 && (uint32_t)row < kind->limit);
    uint32_t *holders = holders_at(page, kind, (uint32_t)row);
    if (*holders > 0)
        __atomic_fetch_sub(holders, 1, __ATOMIC_RELEASE);
}

int32_t peri_endpoints_hold_upstream(struct peri_shm *shm, struct peri_metrics_page *page, struct peri_slice name)
{
    return hold_row(shm, page, &upstream_kind, 0, name);
}

int32_t peri_endpoints_hold(struct peri_shm *shm, struct peri_metrics_page *page, int32_t upstream,
                            struct peri_slice address)
{
    peri_assert(upstream >= 0 && upstream < PERI_ENDPOINT_UPSTREAMS);
    return hold_row(shm, page, &endpoint_kind, (uint32_t)upstream, address);
}

void peri_endpoints_drop_upstream(struct peri_metrics_page *page, int32_t upstream)
{
    drop_row(page, &upstream_kind, upstream);
}

void peri_endpoints_drop(struct peri_metrics_page *page, int32_t row)
{
    drop_row(page, &endpoint_kind, row);
}

void peri_endpoints_list(struct peri_metrics_page *page, int32_t row, uint32_t weight)
{
    peri_assert(row >= 0 && row < PERI_ENDPOINT_ROWS);
    page->endpoints[row].weight = weight;
    __atomic_fetch_add(&page->endpoints[row].listed, 1, __ATOMIC_RELEASE);
}

void peri_endpoints_unlist(struct peri_metrics_page *page, int32_t row)
{
    peri_assert(row >= 0 && row < PERI_ENDPOINT_ROWS);
    if (page->endpoints[row].listed > 0) // a reset between two tests may have taken the count away
        __atomic_fetch_sub(&page->endpoints[row].listed, 1, __ATOMIC_RELEASE);
}

static bool is_listed(const struct peri_shm *shm, int32_t row, uint32_t *weight)
{
    for (uint32_t worker = 0; worker < shm->workers; worker++) {
        const struct peri_metrics_page *page = peri_shm_page(shm, worker);
        if (!page || __atomic_load_n(&page->endpoints[row].listed, __ATOMIC_ACQUIRE) == 0)
            continue;
        *weight = page->endpoints[row].weight;
        return true;
    }
    return false;
}

int32_t peri_endpoints_find_listed(const struct peri_shm *shm, int32_t upstream, int32_t row, uint32_t *weight)
{
    int32_t count = (int32_t)rows_used(shm, &endpoint_kind);
    for (; row < count; row++) {
        const struct peri_row_name *name = name_at(shm, &endpoint_kind, (uint32_t)row);
        if (name->is_used && name->owner == (uint32_t)upstream && is_listed(shm, row, weight))
            return row;
    }
    return -1;
}

struct peri_slice peri_endpoints_address(const struct peri_shm *shm, int32_t row)
{
    const struct peri_row_name *name = &peri_endpoints_row(shm, row)->name;
    return peri_slice(name->text, name->len <= PERI_ENDPOINT_TEXT ? name->len : 0);
}

int32_t peri_endpoints_find_upstream(struct peri_shm *shm, struct peri_slice name)
{
    peri_shm_registry_acquire(shm);
    int32_t row = find_row(shm, &upstream_kind, 0, name);
    peri_shm_registry_release(shm);
    return row;
}

int32_t peri_endpoints_find(struct peri_shm *shm, int32_t upstream, struct peri_slice address)
{
    peri_shm_registry_acquire(shm);
    int32_t row = find_row(shm, &endpoint_kind, (uint32_t)upstream, address);
    peri_shm_registry_release(shm);
    return row;
}

struct peri_upstream_row *peri_endpoints_upstream(const struct peri_shm *shm, int32_t upstream)
{
    peri_assert(upstream >= 0 && upstream < PERI_ENDPOINT_UPSTREAMS);
    return &shm->endpoints->upstreams[upstream];
}

struct peri_endpoint_row *peri_endpoints_row(const struct peri_shm *shm, int32_t row)
{
    peri_assert(row >= 0 && row < PERI_ENDPOINT_ROWS);
    return &shm->endpoints->rows[row];
}

// ---- sums

void peri_endpoints_sum(const struct peri_shm *shm, int32_t row, uint64_t *total, uint64_t *success)
{
    peri_assert(row >= 0 && row < PERI_ENDPOINT_ROWS);
    *total = *success = 0;
    for (uint32_t worker = 0; worker < shm->workers; worker++) {
        const struct peri_metrics_page *page = peri_shm_page(shm, worker);
        if (!page)
            continue;
        *success += __atomic_load_n(&page->endpoints[row].success, __ATOMIC_RELAXED);
        *total += __atomic_load_n(&page->endpoints[row].total, __ATOMIC_RELAXED);
    }
}

int64_t peri_endpoints_gauge(const struct peri_shm *shm, int32_t upstream, enum peri_breaker_gauge gauge)
{
    peri_assert(upstream >= 0 && upstream < PERI_ENDPOINT_UPSTREAMS);
    int64_t sum = 0;
    for (uint32_t worker = 0; worker < shm->workers; worker++) {
        const struct peri_metrics_page *page = peri_shm_page(shm, worker);
        if (page)
            sum += __atomic_load_n(&page->breakers[upstream].gauges[gauge], __ATOMIC_SEQ_CST);
    }
    return sum;
}

uint64_t peri_endpoints_overflows(const struct peri_shm *shm, int32_t upstream, enum peri_breaker_gauge gauge)
{
    peri_assert(upstream >= 0 && upstream < PERI_ENDPOINT_UPSTREAMS);
    uint64_t sum = 0;
    for (uint32_t worker = 0; worker < shm->workers; worker++) {
        const struct peri_metrics_page *page = peri_shm_page(shm, worker);
        if (page)
            sum += __atomic_load_n(&page->breakers[upstream].overflows[gauge], __ATOMIC_RELAXED);
    }
    return sum;
}

uint64_t peri_endpoints_queued(const struct peri_shm *shm, int32_t upstream, enum peri_queue_result result)
{
    peri_assert(upstream >= 0 && upstream < PERI_ENDPOINT_UPSTREAMS);
    uint64_t sum = 0;
    for (uint32_t worker = 0; worker < shm->workers; worker++) {
        const struct peri_metrics_page *page = peri_shm_page(shm, worker);
        if (page)
            sum += __atomic_load_n(&page->breakers[upstream].queued[result], __ATOMIC_RELAXED);
    }
    return sum;
}

uint64_t peri_endpoints_waiting_since(const struct peri_shm *shm, int32_t upstream, const struct peri_breaker_cell *own)
{
    peri_assert(upstream >= 0 && upstream < PERI_ENDPOINT_UPSTREAMS);
    uint64_t first = UINT64_MAX;
    for (uint32_t worker = 0; worker < shm->workers; worker++) {
        const struct peri_metrics_page *page = peri_shm_page(shm, worker);
        const struct peri_breaker_cell *cell = page ? &page->breakers[upstream] : own;
        uint64_t since = __atomic_load_n(&cell->waiting_since_ms, __ATOMIC_RELAXED);
        if (cell != own && since != 0 && since < first)
            first = since;
    }
    return first;
}

// ---- for those who look

uint32_t peri_endpoints_upstream_count(const struct peri_shm *shm)
{
    return rows_used(shm, &upstream_kind);
}

struct peri_slice peri_endpoints_upstream_name(const struct peri_shm *shm, uint32_t upstream)
{
    const struct peri_row_name *name = name_at(shm, &upstream_kind, upstream);
    bool is_there = __atomic_load_n(&name->is_used, __ATOMIC_ACQUIRE) && is_held(shm, &upstream_kind, upstream);
    return peri_slice(name->text, is_there && name->len <= PERI_ENDPOINT_TEXT ? name->len : 0);
}

void peri_endpoints_count(const struct peri_shm *shm, uint32_t upstream, uint32_t states[PERI_ENDPOINT_STATES])
{
    uint32_t count = rows_used(shm, &endpoint_kind);
    memset(states, 0, PERI_ENDPOINT_STATES * sizeof(*states));
    for (uint32_t row = 0; row < count; row++) {
        const struct peri_endpoint_row *endpoint = peri_endpoints_row(shm, (int32_t)row);
        if (endpoint->name.is_used && endpoint->name.owner == upstream && is_held(shm, &endpoint_kind, row))
            states[peri_endpoints_state(__atomic_load_n(&endpoint->flags, __ATOMIC_RELAXED))]++;
    }
}

enum peri_endpoint_state peri_endpoints_state(uint32_t flags)
{
    if (flags & PERI_ENDPOINT_UNHEALTHY)
        return PERI_ENDPOINT_IS_UNHEALTHY;
    if (flags & PERI_ENDPOINT_EJECTED)
        return PERI_ENDPOINT_IS_EJECTED;
    return flags & PERI_ENDPOINT_SHUT ? PERI_ENDPOINT_IS_SHUT : PERI_ENDPOINT_IS_HEALTHY;
}

const char *peri_endpoints_state_name(uint32_t state)
{
    static const char *const names[] = {"healthy", "ejected", "unhealthy", "shut"};
    peri_assert(state < PERI_COUNT(names));
    return names[state];
}

const char *peri_endpoints_reason_name(uint32_t reason)
{
    static const char *const names[] = {
        "none", "5xx", "gateway_failure", "local_origin_failure", "success_rate", "failure_percentage"};
    return names[reason < PERI_COUNT(names) ? reason : 0];
}

const char *peri_endpoints_result_name(uint32_t result)
{
    static const char *const names[] = {"success", "status", "grpc_status", "not_serving",
                                        "connect", "tls",    "timeout",     "protocol"};
    peri_assert(result < PERI_COUNT(names));
    return names[result];
}

const char *peri_endpoints_accrual_name(uint32_t reason)
{
    static const char *const names[] = {"none", "consecutive_failures", "success_rate", "probation"};
    return names[reason < PERI_COUNT(names) ? reason : 0];
}

const char *peri_endpoints_gauge_name(enum peri_breaker_gauge gauge)
{
    static const char *const names[] = {"connections",  "pending",       "requests",     "retries", "high_connections",
                                        "high_pending", "high_requests", "high_retries", "queue"};
    peri_assert((unsigned)gauge < PERI_COUNT(names));
    return names[gauge];
}

const char *peri_endpoints_queue_name(enum peri_queue_result result)
{
    static const char *const names[] = {"served", "timeout", "gone"};
    peri_assert((unsigned)result < PERI_COUNT(names));
    return names[result];
}

// ---- life

void peri_endpoints_acquire(struct peri_shm *shm)
{
    peri_shm_registry_acquire(shm);
}

void peri_endpoints_release(struct peri_shm *shm)
{
    peri_shm_registry_release(shm);
}

void peri_endpoints_end_worker(struct peri_shm *shm, uint32_t worker)
{
    peri_lease_drop(&shm->endpoints->lease, worker);
    struct peri_metrics_page *page = &shm->pages[worker];
    if (!peri_shm_page(shm, worker))
        return;
    for (uint32_t row = 0; row < rows_used(shm, &upstream_kind); row++) {
        for (unsigned gauge = 0; gauge < PERI_BREAKER_GAUGES; gauge++)
            __atomic_store_n(&page->breakers[row].gauges[gauge], 0, __ATOMIC_RELAXED);
        __atomic_store_n(&page->breakers[row].waiting_since_ms, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&page->breakers[row].holders, 0, __ATOMIC_RELEASE);
    }
    for (uint32_t row = 0; row < rows_used(shm, &endpoint_kind); row++) {
        __atomic_store_n(&page->endpoints[row].listed, 0, __ATOMIC_RELEASE);
        __atomic_store_n(&page->endpoints[row].holders, 0, __ATOMIC_RELEASE);
    }
}

void peri_endpoints_reset(struct peri_shm *shm)
{
    struct peri_endpoints_table *table = shm->endpoints;
    table->lease.word = 0;
    for (uint32_t row = 0; row < rows_used(shm, &upstream_kind); row++)
        memset(&table->upstreams[row], 0, offsetof(struct peri_upstream_row, name));
    for (uint32_t row = 0; row < rows_used(shm, &endpoint_kind); row++)
        memset(&table->rows[row], 0, offsetof(struct peri_endpoint_row, name));
}
