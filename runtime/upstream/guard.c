// SPDX-License-Identifier: MIT
// Counting is on the way of every attempt: plain adds in this worker's cells, and a look at counters that are zero while all is well.
// Whatever changes who may be used takes the table's lock.
#include "upstream/guard.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/log.h"
#include "codec/message.h"
#include "shared/metrics.h"
#include "shared/shm.h"
#include "upstream/connection.h"
#include "upstream/health.h"
#include "upstream/queue.h"
#include "upstream/upstream.h"
#include "upstream/verdict.h"

// ---- life

static peri_err_t hold_endpoint(struct peri_guard *guard, uint32_t index)
{
    struct peri_endpoint *endpoint = &guard->upstream->endpoints[index];
    int32_t row = peri_endpoints_hold(guard->shm, guard->page, guard->row, peri_pool_address(endpoint->pool));
    if (row < 0)
        return PERI_ERR_LIMIT;
    guard->rows[index] = row;
    guard->hosts[index].row = peri_endpoints_row(guard->shm, row);
    guard->count++;
    endpoint->health = &guard->hosts[index].row->flags;
    return PERI_OK;
}

static peri_err_t hold_rows(struct peri_guard *guard)
{
    const struct peri_upstream *upstream = guard->upstream;
    peri_err_t err = PERI_OK;
    guard->rows = calloc(upstream->count + 1, sizeof(*guard->rows));
    guard->hosts = calloc(upstream->count + 1, sizeof(*guard->hosts));
    if (!guard->rows || !guard->hosts)
        return PERI_ERR_NOMEM;
    guard->row = peri_endpoints_hold_upstream(guard->shm, guard->page, upstream->name);
    if (guard->row < 0)
        return PERI_ERR_LIMIT;
    for (uint32_t i = 0; i < upstream->count && err == PERI_OK; i++)
        err = hold_endpoint(guard, i);
    return err;
}

static peri_err_t open_queue(struct peri_guard *guard, uint64_t timeout_ms)
{
    if (timeout_ms == 0 || guard->count == 0)
        return PERI_OK;
    struct peri_loop *loop = peri_pool_loop(guard->upstream->endpoints[0].pool);
    guard->queue_ms = timeout_ms;
    guard->queue = peri_queue_acquire(&guard->breaker, loop);
    return guard->queue ? PERI_OK : PERI_ERR_NOMEM;
}

static void read_settings(struct peri_guard *guard, const struct peri_guard_settings *settings)
{
    if (settings->outlier) {
        guard->has_outlier = true;
        guard->outlier = *settings->outlier;
    }
    if (settings->accrual) {
        guard->has_accrual = true;
        guard->accrual = *settings->accrual;
    }
    guard->breaker.shm = guard->shm;
    guard->breaker.upstream = guard->row;
    guard->breaker.cell = &guard->page->breakers[guard->row];
    for (unsigned i = 0; i < PERI_BREAKER_GAUGES; i++)
        guard->breaker.limits[i] = settings->limits ? settings->limits[i] : UINT32_MAX;
    guard->health = settings->health ? peri_health_ref(settings->health) : NULL;
    peri_assert(!guard->health || guard->health->target_count == guard->count);
    guard->has_retries = settings->retries != NULL;
    guard->has_breaker = settings->limits || settings->retries;
    if (!settings->retries)
        return;
    guard->retries = *settings->retries;
    guard->retries.rate.slots = peri_endpoints_upstream(guard->shm, guard->row)->budget;
}

peri_err_t peri_guard_new(struct peri_upstream *upstream, const struct peri_guard_settings *settings,
                          struct peri_shm *shm, struct peri_metrics_page *page)
{
    peri_assert(!upstream->guard);
    struct peri_guard *guard = calloc(1, sizeof(*guard));
    if (!guard)
        return PERI_ERR_NOMEM;
    *guard = (struct peri_guard){.shm = shm, .page = page, .upstream = upstream, .row = -1};
    upstream->guard = guard;
    peri_err_t err = hold_rows(guard);
    if (err != PERI_OK)
        return err;
    read_settings(guard, settings);
    return open_queue(guard, settings->queue_ms);
}

void peri_guard_free(struct peri_guard *guard)
{
    if (!guard)
        return;
    for (uint32_t i = 0; i < guard->count; i++)
        peri_endpoints_drop(guard->page, guard->rows[i]);
    if (guard->row >= 0)
        peri_endpoints_drop_upstream(guard->page, guard->row);
    peri_health_unref(guard->health);
    peri_queue_release(guard->queue);
    free(guard->rows);
    free(guard->hosts);
    free(guard);
}

// ---- results

// What an attempt without an answer counts as, with Envoy's codes; false when it says nothing about the endpoint.
static bool read_failure(peri_err_t err, struct peri_outlier_result *out)
{
    out->is_local = true;
    switch (err) {
    case PERI_ERR_RESOLVE:
    case PERI_ERR_CONNECT:
    case PERI_ERR_CONNECT_TIMEOUT:
    case PERI_ERR_TLS: out->status = 503; return true;
    case PERI_ERR_UPSTREAM_TIMEOUT: out->status = 504; return true;
    case PERI_ERR_UPSTREAM_RESET: out->status = 500; return true;
    case PERI_ERR_UPSTREAM_PROTOCOL:
    case PERI_ERR_RESPONSE_TOO_LARGE: *out = (struct peri_outlier_result){500, false}; return true;
    default: return false;
    }
}

static struct peri_outlier begin_decision(struct peri_guard *guard, uint64_t now_ms)
{
    peri_endpoints_acquire(guard->shm);
    return (struct peri_outlier){
        .settings = &guard->outlier,
        .upstream = peri_endpoints_upstream(guard->shm, guard->row),
        .hosts = guard->hosts,
        .count = guard->count,
        .now_ms = now_ms,
        .random = &guard->upstream->random,
    };
}

static void log_change(const struct peri_guard *guard, uint32_t index, bool was_ejected)
{
    const struct peri_endpoint_row *row = guard->hosts[index].row;
    const struct peri_slice name = guard->upstream->name;
    const struct peri_slice address = peri_pool_address(guard->upstream->endpoints[index].pool);
    bool is_ejected = __atomic_load_n(&row->flags, __ATOMIC_RELAXED) & PERI_ENDPOINT_EJECTED;
    if (is_ejected && !was_ejected)
        peri_warn("upstream %.*s: %.*s is ejected for %llu ms (%s)", (int)name.len, name.ptr, (int)address.len,
                  address.ptr, (unsigned long long)(row->outlier.until_ms - row->outlier.ejected_ms),
                  peri_endpoints_reason_name(row->outlier.reason));
    else if (was_ejected && !is_ejected)
        peri_info("upstream %.*s: %.*s is back", (int)name.len, name.ptr, (int)address.len, address.ptr);
}

static void eject(struct peri_guard *guard, uint32_t index, enum peri_outlier_reason reason, uint64_t now_ms)
{
    struct peri_outlier outlier = begin_decision(guard, now_ms);
    bool was_ejected = guard->hosts[index].row->flags & PERI_ENDPOINT_EJECTED;
    peri_outlier_eject(&outlier, index, reason);
    peri_endpoints_release(guard->shm);
    log_change(guard, index, was_ejected);
}

static void report_outlier(struct peri_guard *guard, uint32_t index, const struct peri_result *result)
{
    struct peri_outlier_result counted = {result->res ? result->res->status : 0, false};
    if (result->err != PERI_OK && !read_failure(result->err, &counted))
        return;
    struct peri_endpoint_cell *cell = &guard->page->endpoints[guard->rows[index]];
    cell->total++;
    cell->success += !peri_outlier_is_failure(&counted);
    enum peri_outlier_reason reason = peri_outlier_count(&guard->outlier, guard->hosts[index].row, &counted);
    if (PERI_UNLIKELY(reason != PERI_OUTLIER_NONE))
        eject(guard, index, reason, result->now_ns / 1000000);
}

// ---- failure accrual

static void log_accrual(const struct peri_guard *guard, uint32_t index, uint64_t now_ms)
{
    const struct peri_endpoint_accrual *accrual = &guard->hosts[index].row->accrual;
    const struct peri_slice name = guard->upstream->name;
    const struct peri_slice address = peri_pool_address(guard->upstream->endpoints[index].pool);
    uint64_t until_ms = accrual->until_ms > now_ms ? accrual->until_ms - now_ms : 0;
    if (accrual->state == PERI_ACCRUAL_SHUT)
        peri_warn("upstream %.*s: %.*s is shut for %llu ms (%s)", (int)name.len, name.ptr, (int)address.len,
                  address.ptr, (unsigned long long)until_ms, peri_endpoints_accrual_name(accrual->reason));
    else if (accrual->state == PERI_ACCRUAL_OPEN)
        peri_info("upstream %.*s: %.*s is open again", (int)name.len, name.ptr, (int)address.len, address.ptr);
}

static enum peri_accrual_verdict judge(const struct peri_guard *guard, const struct peri_result *result)
{
    struct peri_outlier_result failure;
    if (result->err == PERI_OK)
        return peri_accrual_judge(&guard->accrual, result->res->status, peri_verdict_grpc_status(result->res));
    return read_failure(result->err, &failure) ? PERI_ACCRUAL_FAILURE : PERI_ACCRUAL_NOTHING;
}

static void count_shut(struct peri_guard *guard, enum peri_accrual_reason reason)
{
    peri_endpoints_upstream(guard->shm, guard->row)->shuts[reason]++;
}

static void shut(struct peri_guard *guard, uint32_t index, enum peri_accrual_reason reason, uint64_t now_ms)
{
    peri_endpoints_acquire(guard->shm);
    bool is_shut =
        peri_accrual_shut(&guard->accrual, guard->hosts[index].row, reason, now_ms, &guard->upstream->random);
    if (is_shut)
        count_shut(guard, reason);
    peri_endpoints_release(guard->shm);
    if (is_shut)
        log_accrual(guard, index, now_ms);
}

// A result of an endpoint that is not open.
static void resolve(struct peri_guard *guard, uint32_t index, enum peri_accrual_verdict verdict,
                    const struct peri_result *result)
{
    struct peri_endpoint_row *row = guard->hosts[index].row;
    uint64_t now_ms = result->now_ns / 1000000;
    peri_endpoints_acquire(guard->shm);
    uint32_t before = row->accrual.state;
    uint32_t after = peri_accrual_resolve(&guard->accrual, row, verdict, result->now_ns - result->latency_ns, now_ms,
                                          &guard->upstream->random);
    if (before != after && after == PERI_ACCRUAL_SHUT)
        count_shut(guard, PERI_ACCRUAL_BY_PROBATION);
    peri_endpoints_release(guard->shm);
    if (before != after)
        log_accrual(guard, index, now_ms);
}

static void count_verdict(struct peri_guard *guard, uint32_t index, enum peri_accrual_verdict verdict,
                          const struct peri_result *result)
{
    struct peri_endpoint_accrual *accrual = &guard->hosts[index].row->accrual;
    uint64_t now_ms = result->now_ns / 1000000;
    if (PERI_UNLIKELY(__atomic_load_n(&accrual->state, __ATOMIC_ACQUIRE) != PERI_ACCRUAL_OPEN)) {
        resolve(guard, index, verdict, result);
        return;
    }
    enum peri_accrual_reason reason = peri_accrual_count(&guard->accrual, accrual, verdict, now_ms);
    if (PERI_UNLIKELY(reason != PERI_ACCRUAL_BY_NONE))
        shut(guard, index, reason, now_ms);
}

// The head of a response that will be judged by its trailers.
static void hear(struct peri_guard *guard, uint32_t index, const struct peri_result *result)
{
    struct peri_endpoint_row *row = guard->hosts[index].row;
    if (__atomic_load_n(&row->accrual.state, __ATOMIC_ACQUIRE) != PERI_ACCRUAL_PROBING)
        return;
    peri_endpoints_acquire(guard->shm);
    peri_accrual_hear(row, result->now_ns - result->latency_ns);
    peri_endpoints_release(guard->shm);
}

// True when the result is not known yet.
static bool report_accrual(struct peri_guard *guard, uint32_t index, const struct peri_result *result)
{
    enum peri_accrual_verdict verdict = judge(guard, result);
    if (verdict == PERI_ACCRUAL_SUCCESS && result->goes_on && peri_verdict_is_open(result->res)) {
        hear(guard, index, result);
        return true;
    }
    count_verdict(guard, index, verdict, result);
    return false;
}

// Nobody knows what policies have made of the head meanwhile: it was no failure. Without a status the call is UNKNOWN, which is none.
void peri_guard_conclude(struct peri_guard *guard, const struct peri_endpoint *endpoint,
                         const struct peri_result *result)
{
    uint32_t index = (uint32_t)(endpoint - guard->upstream->endpoints);
    peri_debug_assert(guard->has_accrual && index < guard->count);
    enum peri_accrual_verdict verdict =
        result->err == PERI_OK ? peri_accrual_judge(&guard->accrual, 200, peri_verdict_trailer_status(result->res))
                               : judge(guard, result);
    count_verdict(guard, index, verdict, result);
}

void peri_guard_look(struct peri_guard *guard, uint64_t now_ms)
{
    for (uint32_t i = 0; guard->has_accrual && i < guard->count; i++) {
        if (!peri_accrual_is_due(guard->hosts[i].row, now_ms))
            continue;
        peri_endpoints_acquire(guard->shm);
        bool has_changed = peri_accrual_tick(guard->hosts[i].row, now_ms);
        peri_endpoints_release(guard->shm);
        if (has_changed)
            log_accrual(guard, i, now_ms);
    }
}

bool peri_guard_admit(struct peri_guard *guard, uint32_t index, uint64_t now_ns, bool *is_probe)
{
    struct peri_endpoint_row *row = guard->hosts[index].row;
    if (!guard->has_accrual || __atomic_load_n(&row->accrual.state, __ATOMIC_ACQUIRE) == PERI_ACCRUAL_OPEN)
        return true;
    peri_endpoints_acquire(guard->shm);
    *is_probe = peri_accrual_claim(&guard->accrual, row, now_ns);
    peri_endpoints_release(guard->shm);
    return *is_probe;
}

bool peri_guard_report(struct peri_guard *guard, const struct peri_endpoint *endpoint, const struct peri_result *result)
{
    uint32_t index = (uint32_t)(endpoint - guard->upstream->endpoints);
    peri_debug_assert(index < guard->count);
    if (guard->has_outlier)
        report_outlier(guard, index, result);
    return guard->has_accrual && report_accrual(guard, index, result);
}

bool peri_guard_describe(const struct peri_guard *guard, uint32_t index, char text[PERI_GUARD_TEXT])
{
    const struct peri_endpoint_row *row = guard->hosts[index].row;
    uint32_t flags = __atomic_load_n(&row->flags, __ATOMIC_ACQUIRE);
    char found[PERI_HEALTH_TEXT] = "not checked yet";
    peri_debug_assert(index < guard->count);
    if (row->health.checks > 0)
        peri_health_describe(&row->health, found);
    if (flags & PERI_ENDPOINT_UNHEALTHY)
        snprintf(text, PERI_GUARD_TEXT, "unhealthy (%s)", found);
    else if (flags & PERI_ENDPOINT_EJECTED)
        snprintf(text, PERI_GUARD_TEXT, "ejected (%s)", peri_endpoints_reason_name(row->outlier.reason));
    else if (flags & PERI_ENDPOINT_SHUT)
        snprintf(text, PERI_GUARD_TEXT, "shut (%s)", peri_endpoints_accrual_name(row->accrual.reason));
    return flags != 0;
}

// ---- the breaker

static bool has(const struct peri_ticket *ticket, enum peri_breaker_gauge gauge)
{
    return ticket->gauges & 1u << gauge;
}

static enum peri_breaker_gauge of_priority(const struct peri_ticket *ticket, unsigned gauge)
{
    return (enum peri_breaker_gauge)(gauge + (ticket->is_high ? PERI_BREAKER_HIGH : 0));
}

static bool take(struct peri_ticket *ticket, enum peri_breaker_gauge gauge)
{
    if (!peri_breaker_enter(&ticket->guard->breaker, of_priority(ticket, gauge)))
        return false;
    ticket->gauges |= 1u << gauge;
    return true;
}

static void give(struct peri_ticket *ticket, enum peri_breaker_gauge gauge)
{
    struct peri_guard *guard = ticket->guard;
    if (!has(ticket, gauge))
        return;
    peri_breaker_leave(&guard->breaker, of_priority(ticket, gauge));
    ticket->gauges &= ~(1u << gauge);
    if (guard->queue && gauge == PERI_BREAKER_REQUESTS)
        peri_queue_wake(guard->queue);
}

// A connection to another endpoint that nobody uses gives its place up.
static bool make_room(const struct peri_guard *guard)
{
    for (uint32_t i = 0; i < guard->count; i++)
        if (peri_pool_drop_idle(guard->upstream->endpoints[i].pool))
            return true;
    return false;
}

// The pool counts connections when it opens them: here is only the question whether one more may be. As in Envoy a pool without any
// may always have one: others' connections must not keep an endpoint, or a worker, from its requests for as long as they are idle.
static bool may_connect(struct peri_guard *guard, enum peri_pool_state pool, const struct peri_ticket *ticket)
{
    enum peri_breaker_gauge gauge = of_priority(ticket, PERI_BREAKER_CONNECTIONS);
    const struct peri_breaker *breaker = &guard->breaker;
    int64_t open = peri_metrics_connections(guard->shm, (uint32_t)guard->upstream->metrics);
    if (open < breaker->limits[gauge] || make_room(guard))
        return true;
    if (pool == PERI_POOL_EMPTY && breaker->limits[gauge] > 0)
        return true;
    breaker->cell->overflows[gauge]++;
    return false;
}

// A connection that others are making is theirs: who joins them needs no other one.
static bool may_reach(struct peri_guard *guard, enum peri_pool_state pool, struct peri_ticket *ticket)
{
    if (pool == PERI_POOL_CONNECTED)
        return true;
    return (pool == PERI_POOL_CONNECTING || may_connect(guard, pool, ticket)) && take(ticket, PERI_BREAKER_PENDING);
}

peri_err_t peri_guard_enter(struct peri_guard *guard, enum peri_pool_state pool, struct peri_ticket *ticket)
{
    peri_debug_assert((ticket->gauges & ~(1u << PERI_BREAKER_RETRIES | 1u << PERI_BREAKER_REQUESTS)) == 0);
    if (!guard->has_breaker)
        return PERI_OK;
    ticket->guard = guard;
    if ((has(ticket, PERI_BREAKER_REQUESTS) || take(ticket, PERI_BREAKER_REQUESTS)) && may_reach(guard, pool, ticket))
        return PERI_OK;
    peri_guard_leave(ticket);
    return PERI_ERR_UPSTREAM_OVERFLOW;
}

void peri_guard_ready(struct peri_ticket *ticket)
{
    give(ticket, PERI_BREAKER_PENDING);
}

void peri_guard_pause(struct peri_ticket *ticket)
{
    if (ticket->gauges == 0)
        return;
    give(ticket, PERI_BREAKER_PENDING);
    give(ticket, PERI_BREAKER_REQUESTS);
}

void peri_guard_leave(struct peri_ticket *ticket)
{
    if (has(ticket, PERI_BREAKER_QUEUE))
        peri_queue_leave(ticket);
    for (unsigned gauge = 0; ticket->gauges != 0 && gauge < PERI_BREAKER_HIGH; gauge++)
        give(ticket, (enum peri_breaker_gauge)gauge);
}

// ---- retries

void peri_guard_deposit(struct peri_guard *guard, uint64_t now_ms)
{
    if (guard->retries.model == PERI_RETRY_BY_RATE)
        peri_retry_rate_deposit(&guard->retries.rate, now_ms);
}

// One of the retries under way is the one that is asked for.
static bool pay(struct peri_guard *guard, const struct peri_ticket *ticket, uint64_t now_ms)
{
    const struct peri_retry_settings *settings = &guard->retries;
    if (settings->model == PERI_RETRY_BY_RATE)
        return peri_retry_rate_withdraw(&settings->rate, now_ms);
    int64_t active = peri_endpoints_gauge(guard->shm, guard->row, of_priority(ticket, PERI_BREAKER_REQUESTS));
    int64_t others = peri_endpoints_gauge(guard->shm, guard->row, of_priority(ticket, PERI_BREAKER_RETRIES)) - 1;
    return peri_retry_concurrency_allows(&settings->concurrency, (uint64_t)(active > 0 ? active : 0),
                                         (uint64_t)(others > 0 ? others : 0));
}

bool peri_guard_retry(struct peri_guard *guard, struct peri_ticket *ticket, uint64_t now_ms)
{
    peri_debug_assert(guard->has_retries && guard->has_breaker);
    ticket->guard = guard;
    give(ticket, PERI_BREAKER_RETRIES); // of the retry that has failed
    if (!take(ticket, PERI_BREAKER_RETRIES))
        return false;
    if (!pay(guard, ticket, now_ms)) {
        give(ticket, PERI_BREAKER_RETRIES);
        __atomic_fetch_add(&peri_endpoints_upstream(guard->shm, guard->row)->budget_overflows, 1, __ATOMIC_RELAXED);
        return false;
    }
    peri_guard_pause(ticket);
    return true;
}

// ---- the sweep

static void clear_flag(const struct peri_guard *guard, uint32_t flag)
{
    for (uint32_t i = 0; i < guard->count; i++)
        if (__atomic_load_n(&guard->hosts[i].row->flags, __ATOMIC_RELAXED) & flag)
            __atomic_fetch_and(&guard->hosts[i].row->flags, ~flag, __ATOMIC_RELEASE);
}

static void sweep(struct peri_guard *guard, uint64_t now_ms)
{
    uint64_t *swept = &peri_endpoints_upstream(guard->shm, guard->row)->swept_ms;
    struct peri_outlier outlier = begin_decision(guard, now_ms);
    for (uint32_t i = 0; i < guard->count; i++) {
        struct peri_outlier_host *host = &guard->hosts[i];
        peri_endpoints_sum(guard->shm, guard->rows[i], &host->total, &host->success);
        host->was_ejected = host->row->flags & PERI_ENDPOINT_EJECTED;
    }
    peri_outlier_sweep(&outlier);
    __atomic_store_n(swept, now_ms, __ATOMIC_RELAXED);
    peri_endpoints_release(guard->shm);
    for (uint32_t i = 0; i < guard->count; i++)
        log_change(guard, i, guard->hosts[i].was_ejected);
}

// Nobody counts any more: every endpoint is open.
static void forget_accrual(struct peri_guard *guard)
{
    for (uint32_t i = 0; i < guard->count; i++) {
        struct peri_endpoint_row *row = guard->hosts[i].row;
        if (__atomic_load_n(&row->accrual.state, __ATOMIC_RELAXED) == PERI_ACCRUAL_OPEN)
            continue;
        peri_endpoints_acquire(guard->shm);
        peri_accrual_forget(row);
        peri_endpoints_release(guard->shm);
    }
}

// Nobody checks any more: what checks had found does not hold.
static void forget_checks(struct peri_guard *guard)
{
    for (uint32_t i = 0; i < guard->count; i++) {
        struct peri_endpoint_row *row = guard->hosts[i].row;
        uint32_t flags = __atomic_load_n(&row->flags, __ATOMIC_RELAXED);
        if (row->health.checks == 0 && !(flags & PERI_ENDPOINT_UNHEALTHY))
            continue;
        peri_endpoints_acquire(guard->shm);
        peri_health_forget(row);
        peri_endpoints_release(guard->shm);
    }
}

void peri_guard_expect_checks(struct peri_guard *guard)
{
    if (!guard->health)
        return;
    peri_endpoints_acquire(guard->shm);
    for (uint32_t i = 0; i < guard->count; i++)
        peri_health_begin(guard->health, guard->hosts[i].row);
    peri_endpoints_release(guard->shm);
}

uint64_t peri_guard_sweep(struct peri_guard *guard, uint64_t now_ms)
{
    if (!guard->health)
        forget_checks(guard);
    if (!guard->has_accrual)
        forget_accrual(guard);
    if (!guard->has_outlier) {
        clear_flag(guard, PERI_ENDPOINT_EJECTED);
        return UINT64_MAX;
    }
    uint64_t swept_ms = peri_endpoints_upstream(guard->shm, guard->row)->swept_ms;
    if (now_ms >= swept_ms + guard->outlier.interval_ms) {
        sweep(guard, now_ms);
        swept_ms = now_ms;
    }
    return swept_ms + guard->outlier.interval_ms;
}
