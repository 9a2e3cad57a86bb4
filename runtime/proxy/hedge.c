// SPDX-License-Identifier: MIT
// The hedge has a response of its own until it wins: then the attempt moves to where the exchange's is, and its response to x->res.
// Nothing of the request is held back for it: what left for the first attempt was kept (proxy/retry), and a hedge begins only when all
// of it had left.
#include "proxy/hedge.h"

#include "base/assert.h"
#include "event/loop.h"
#include "exchange/exchange.h"
#include "proxy/forward.h"
#include "proxy/retry.h"
#include "proxy/server_internal.h"
#include "proxy/tap.h"
#include "proxy/target.h"
#include "proxy/timing.h"
#include "proxy/trace.h"
#include "shared/metrics.h"
#include "upstream/retry.h"
#include "upstream/upstream.h"

struct peri_hedge {
    struct peri_exchange *x;
    struct peri_timer timer; ///< until the hedge begins; then the time of its attempt
    struct peri_attempt attempt;
    struct peri_response res;
    struct peri_ticket ticket;
    struct peri_endpoint *endpoint; ///< counted as one of its requests while it runs
    uint64_t begun_ns;
    uint32_t made;      ///< in this exchange
    uint32_t traced_at; ///< place of the attempt in the trace
    bool is_running;
    bool is_probe; ///< its endpoint is in probation and waits for its result
    bool is_fresh; ///< on a new connection, because the one that it met was closing
};

static const struct peri_attempt_events hedge_events;

static uint64_t now_ns(const struct peri_forward *f)
{
    return peri_loop_now_ns(f->server->loop);
}

static struct peri_metrics_upstream *counts_of(struct peri_forward *f)
{
    return &f->server->page->upstream_connections[f->upstream->metrics];
}

static void note(struct peri_exchange *x, struct peri_slice text)
{
    if (PERI_UNLIKELY(x->trace != NULL))
        peri_trace_note(x, text);
}

bool peri_hedge_is_running(const struct peri_forward *f)
{
    return f->tries.hedge && f->tries.hedge->is_running;
}

// ---- the end of a hedge ----

// Tells the hedge's endpoint what became of it.
static void report(struct peri_forward *f, peri_err_t err)
{
    struct peri_hedge *hedge = f->tries.hedge;
    uint64_t now = now_ns(f);
    const struct peri_result result = {
        .err = err,
        .res = err == PERI_OK ? &hedge->res : NULL,
        .latency_ns = now - hedge->begun_ns,
        .now_ns = now,
    };
    hedge->is_probe = false;
    peri_endpoint_report(f->upstream, hedge->endpoint, &result);
}

static void trace_result(struct peri_exchange *x, int status, peri_err_t err, struct peri_slice text)
{
    if (PERI_LIKELY(x->trace == NULL))
        return;
    uint32_t present = peri_trace_turn_to(x, x->forward->tries.hedge->traced_at);
    peri_trace_result(x, status, err);
    peri_trace_note(x, text);
    peri_trace_turn_to(x, present);
}

// The hedge does not run any more; the first attempt goes on.
static void end(struct peri_forward *f, enum peri_hedge_result result)
{
    struct peri_hedge *hedge = f->tries.hedge;
    peri_debug_assert(hedge->is_running);
    counts_of(f)->hedges[result]++;
    peri_timer_stop(&hedge->timer);
    peri_attempt_cancel(&hedge->attempt);
    peri_guard_leave(&hedge->ticket);
    peri_endpoint_leave(hedge->endpoint);
    hedge->is_running = false;
}

void peri_hedge_stop(struct peri_forward *f, peri_err_t err)
{
    struct peri_hedge *hedge = f->tries.hedge;
    if (!hedge)
        return;
    peri_timer_stop(&hedge->timer);
    if (!hedge->is_running)
        return;
    report(f, err);
    trace_result(f->x, 0, err == PERI_ERR_CLIENT_GONE ? PERI_OK : err, PERI_SLICE("a hedge; cancelled"));
    end(f, PERI_HEDGE_LOST);
}

void peri_hedge_reset(struct peri_forward *f)
{
    if (f->tries.hedge)
        f->tries.hedge->made = 0;
}

bool peri_hedge_take_over(struct peri_exchange *x)
{
    struct peri_forward *f = x->forward;
    struct peri_hedge *hedge = f->tries.hedge;
    if (!peri_hedge_is_running(f))
        return false;
    counts_of(f)->hedges[PERI_HEDGE_WON]++;
    peri_timer_stop(&hedge->timer);
    peri_attempt_cancel(&f->attempt);
    peri_guard_leave(&f->tries.ticket);
    peri_target_hold(f, hedge->endpoint);
    peri_endpoint_leave(hedge->endpoint); // it was counted before it was held
    f->tries.is_probe = hedge->is_probe;
    hedge->is_running = false;
    f->tries.ticket = hedge->ticket;
    hedge->ticket = (struct peri_ticket){0};
    peri_attempt_move(&f->attempt, &hedge->attempt, &x->res);
    f->is_attempt_over = f->flow[PERI_SIDE_REQUEST].is_blocked = false;
    x->facts.endpoint = peri_pool_address(f->endpoint->pool);
    x->facts.upstream_ns = hedge->begun_ns;
    f->attempt.events = f->tap ? peri_tap_attempt(f->tap, &peri_retry_attempt) : &peri_retry_attempt;
    if (PERI_UNLIKELY(x->trace != NULL))
        peri_trace_turn_to(x, hedge->traced_at);
    peri_retry_rearm(x, hedge->begun_ns);
    peri_hedge_arm(x);
    return true;
}

// The hedge was no help. There may be another one.
static void fail(struct peri_forward *f)
{
    end(f, PERI_HEDGE_FAILED);
    peri_hedge_arm(f->x);
}

// ---- events of the hedge ----

static void start(struct peri_exchange *x, bool wants_fresh)
{
    struct peri_forward *f = x->forward;
    struct peri_hedge *hedge = f->tries.hedge;
    hedge->is_fresh = wants_fresh;
    peri_headers_init(&hedge->res.headers, &x->arena);
    hedge->attempt = (struct peri_attempt){
        .events = &hedge_events,
        .data = x,
        .pool = hedge->endpoint->pool,
        .req = &x->req,
        .res = &hedge->res,
        .connect_ms = f->upstream->connect_ms,
        .wants_fresh = wants_fresh,
        .has_no_length = f->attempt.has_no_length,
        .has_no_body = f->attempt.has_no_body,
    };
    peri_attempt_start(&hedge->attempt);
}

static void on_ready(struct peri_attempt *attempt)
{
    struct peri_exchange *x = attempt->data;
    struct peri_forward *f = x->forward;
    peri_target_count_connection(f, attempt);
    peri_guard_ready(&f->tries.hedge->ticket);
    if (attempt->has_no_body)
        return;
    peri_retry_send_kept(f, attempt);
    peri_attempt_send_end(attempt, &x->req.trailers);
}

static void on_interim(struct peri_attempt *attempt, int status, const struct peri_headers *headers)
{
    PERI_UNUSED(attempt); // those of one attempt are enough
    PERI_UNUSED(status);
    PERI_UNUSED(headers);
}

static void on_head(struct peri_attempt *attempt)
{
    struct peri_exchange *x = attempt->data;
    struct peri_forward *f = x->forward;
    const struct peri_retry_settings *settings = peri_retry_settings_of(f);
    if (!settings || !peri_retry_wants_response(settings, &f->tries.hedge->res)) {
        peri_target_report(f, PERI_ERR_CLIENT_GONE);
        note(x, PERI_SLICE("cancelled: the hedge was answered"));
        peri_hedge_take_over(x);
        f->attempt.events->on_head(&f->attempt);
        return;
    }
    int status = f->tries.hedge->res.status;
    peri_metrics_attempt(f->server->page, f->upstream->metrics, status, now_ns(f) - f->tries.hedge->begun_ns);
    report(f, PERI_OK);
    trace_result(x, status, PERI_OK, PERI_SLICE("a hedge; not wanted while the first attempt may be answered"));
    fail(f);
}

// What the hedge's answer brings after its head, the exchange's attempt hears.
static void on_body(struct peri_attempt *attempt, struct peri_slice data)
{
    PERI_UNUSED(attempt);
    PERI_UNUSED(data);
    peri_assert(false);
}

static void on_end(struct peri_attempt *attempt)
{
    PERI_UNUSED(attempt);
    peri_assert(false);
}

static void on_error(struct peri_attempt *attempt, peri_err_t err)
{
    struct peri_exchange *x = attempt->data;
    struct peri_forward *f = x->forward;
    if (peri_attempt_is_stale(attempt) && !f->tries.hedge->is_fresh) {
        start(x, true);
        return;
    }
    peri_metrics_attempt(f->server->page, f->upstream->metrics, 0, now_ns(f) - f->tries.hedge->begun_ns);
    report(f, err);
    trace_result(x, 0, err, PERI_SLICE("a hedge"));
    fail(f);
}

static void on_drain(struct peri_attempt *attempt)
{
    PERI_UNUSED(attempt); // all of the request is queued
}

static const struct peri_attempt_events hedge_events = {
    .on_ready = on_ready,
    .on_interim = on_interim,
    .on_head = on_head,
    .on_body = on_body,
    .on_end = on_end,
    .on_error = on_error,
    .on_drain = on_drain,
};

// ---- the beginning ----

// Do the breaker and the budget allow one more attempt?
static bool enter(struct peri_forward *f, struct peri_endpoint *endpoint)
{
    struct peri_guard *guard = f->upstream->guard;
    struct peri_ticket *ticket = &f->tries.hedge->ticket;
    ticket->is_high = f->tries.ticket.is_high;
    return peri_guard_retry(guard, ticket, now_ns(f) / 1000000) &&
           peri_guard_enter(guard, peri_pool_state(endpoint->pool), ticket) == PERI_OK;
}

static void trace_begin(struct peri_exchange *x)
{
    struct peri_hedge *hedge = x->forward->tries.hedge;
    struct peri_slice first = x->facts.endpoint;
    peri_trace_note(x, PERI_SLICE("not answered so far: a hedge"));
    uint32_t present = x->trace->present;
    x->facts.endpoint = peri_pool_address(hedge->endpoint->pool);
    peri_trace_attempt(x);
    x->facts.endpoint = first;
    hedge->traced_at = peri_trace_turn_to(x, present);
}

static void begin(struct peri_exchange *x, struct peri_endpoint *endpoint)
{
    struct peri_forward *f = x->forward;
    struct peri_hedge *hedge = f->tries.hedge;
    hedge->made++;
    hedge->is_running = true;
    hedge->endpoint = endpoint;
    hedge->begun_ns = now_ns(f);
    peri_endpoint_enter(endpoint);
    x->facts.attempts++;
    if (PERI_UNLIKELY(x->trace != NULL))
        trace_begin(x);
    uint64_t per_try_ms = peri_retry_per_try_ms(f);
    if (per_try_ms > 0)
        peri_timer_start(f->server->loop, &hedge->timer, per_try_ms);
    start(x, false);
}

// Another endpoint. What the first attempt is to its own, it stays.
static struct peri_endpoint *pick(struct peri_exchange *x)
{
    struct peri_forward *f = x->forward;
    bool is_first_probe = f->tries.is_probe;
    f->tries.is_probe = false;
    struct peri_endpoint *endpoint = peri_target_pick_other(x, f->upstream, f->endpoint);
    f->tries.hedge->is_probe = f->tries.is_probe;
    f->tries.is_probe = is_first_probe;
    return endpoint;
}

// The hedge that was to decide about the endpoint is not made.
static void forgo(struct peri_forward *f, const struct peri_endpoint *endpoint)
{
    if (f->tries.hedge->is_probe)
        peri_upstream_forgo(f->upstream, endpoint, now_ns(f));
    f->tries.hedge->is_probe = false;
}

// The first attempt was not answered in time.
static void on_late(struct peri_exchange *x)
{
    struct peri_forward *f = x->forward;
    struct peri_hedge *hedge = f->tries.hedge;
    peri_debug_assert(f->is_started && !f->is_attempt_over && !f->attempt.has_head);
    if (!f->attempt.has_no_body && !f->attempt.is_sent) { // the request is still on its way
        peri_hedge_arm(x);
        return;
    }
    if (!peri_retry_can_send_again(f)) {
        note(x, PERI_SLICE("no hedge: the request body was not kept"));
        return;
    }
    struct peri_endpoint *endpoint = pick(x);
    if (!endpoint)
        return;
    if (!peri_timing_send_on(x)) {
        forgo(f, endpoint);
        return;
    }
    if (!enter(f, endpoint)) {
        forgo(f, endpoint);
        peri_guard_leave(&hedge->ticket);
        counts_of(f)->hedges[PERI_HEDGE_OVERFLOW]++;
        note(x, PERI_SLICE("no hedge: the budget or the breaker refuses it"));
        return;
    }
    begin(x, endpoint);
}

static void on_timer(struct peri_timer *timer)
{
    struct peri_hedge *hedge = PERI_CONTAINER(timer, struct peri_hedge, timer);
    struct peri_forward *f = hedge->x->forward;
    if (!hedge->is_running) {
        on_late(hedge->x);
        return;
    }
    counts_of(f)->timeouts++;
    peri_attempt_doubt(&hedge->attempt);
    report(f, PERI_ERR_UPSTREAM_TIMEOUT);
    trace_result(hedge->x, 0, PERI_ERR_UPSTREAM_TIMEOUT, PERI_SLICE("a hedge"));
    fail(f);
}

// Milliseconds after which this exchange is hedged; 0: it is not.
static uint64_t after_ms(const struct peri_exchange *x, const struct peri_retry_settings *settings)
{
    const struct peri_forward *f = x->forward;
    const struct peri_hedge *hedge = f->tries.hedge;
    uint64_t ms = peri_timing_hedge_ms(f, settings->hedge.after_ms);
    bool is_safe = settings->hedge.has_non_idempotent || peri_method_is_idempotent(x->req.method);
    bool is_plain = x->req.upgrade.len == 0 && x->req.method != PERI_METHOD_CONNECT;
    return is_safe && is_plain && (!hedge || hedge->made < settings->hedge.max) ? ms : 0;
}

void peri_hedge_arm(struct peri_exchange *x)
{
    struct peri_forward *f = x->forward;
    const struct peri_retry_settings *settings = peri_retry_settings_of(f);
    uint64_t ms = settings && !peri_hedge_is_running(f) ? after_ms(x, settings) : 0;
    if (ms == 0)
        return;
    if (peri_forward_hooks(x) & PERI_HOOK(PERI_PHASE_UPSTREAM)) {
        note(x, PERI_SLICE("no hedge: a policy decides about each attempt (on_upstream)"));
        return;
    }
    if (!f->tries.hedge) {
        f->tries.hedge = peri_arena_zalloc(&x->arena, sizeof(*f->tries.hedge));
        if (!f->tries.hedge)
            return; // it goes without
        f->tries.hedge->x = x;
        peri_timer_init(&f->tries.hedge->timer, on_timer);
    }
    peri_timer_start(f->server->loop, &f->tries.hedge->timer, ms);
}
