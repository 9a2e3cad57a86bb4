// SPDX-License-Identifier: MIT
// Nothing of a response is passed on before its head was judged, so an attempt that is made again leaves no trace with the client.
// The timer of the exchange, which limits an attempt, is between two of them the back-off.
#include "proxy/retry.h"

#include "base/assert.h"
#include "event/loop.h"
#include "exchange/exchange.h"
#include "proxy/forward.h"
#include "proxy/hedge.h"
#include "proxy/pipeline.h"
#include "proxy/server_internal.h"
#include "proxy/target.h"
#include "proxy/timing.h"
#include "proxy/trace.h"
#include "shared/metrics.h"
#include "upstream/retry.h"
#include "upstream/upstream.h"
#include "upstream/verdict.h"

#define RETRY_DRAIN 16384 ///< bytes of a response that are read for the sake of its connection

static uint64_t now_ns(const struct peri_forward *f)
{
    return peri_loop_now_ns(f->server->loop);
}

const struct peri_retry_settings *peri_retry_settings_of(const struct peri_forward *f)
{
    const struct peri_guard *guard = f->upstream->guard;
    return guard && guard->has_retries ? &guard->retries : NULL;
}

static void count(struct peri_forward *f, enum peri_retry_result result)
{
    f->server->page->upstream_connections[f->upstream->metrics].retries[result]++;
}

static void forget_refusal(struct peri_exchange *x)
{
    x->facts.flags &= ~(uint32_t)PERI_FLAGS_OF_RETRIES;
}

// ---- life ----

void peri_retry_begin(struct peri_exchange *x)
{
    struct peri_forward *f = x->forward;
    if (!f->tries.retry)
        f->tries.retry = peri_arena_zalloc(&x->arena, sizeof(*f->tries.retry));
    if (!f->tries.retry)
        return;
    f->tries.retry->is_waiting = f->tries.retry->is_discarding = false;
    if (!f->tries.retry->is_begun)
        peri_guard_deposit(f->upstream->guard, now_ns(f) / 1000000);
    f->tries.retry->is_begun = true;
}

void peri_retry_reset(struct peri_forward *f)
{
    struct peri_retry *retry = f->tries.retry;
    retry->is_begun = retry->is_waiting = retry->is_discarding = false;
    retry->failed = NULL;
    retry->made = 0;
    retry->deadline_ns = 0;
    forget_refusal(f->x);
    peri_hedge_reset(f);
}

void peri_retry_close(struct peri_forward *f)
{
    peri_buf_close(&f->tries.retry->kept);
}

uint64_t peri_retry_per_try_ms(const struct peri_forward *f)
{
    const struct peri_retry_settings *settings = peri_retry_settings_of(f);
    return peri_timing_per_try_ms(f, settings ? settings->per_try_ms : 0);
}

void peri_retry_rearm(struct peri_exchange *x, uint64_t begun_ns)
{
    struct peri_forward *f = x->forward;
    uint64_t now = now_ns(f), per_try_ms = peri_retry_per_try_ms(f), end = f->tries.retry->deadline_ns;
    if (per_try_ms > 0 && begun_ns + per_try_ms * 1000000 < end)
        end = begun_ns + per_try_ms * 1000000;
    if (end == UINT64_MAX) {
        peri_timer_stop(&f->timer);
        return;
    }
    uint64_t ms = end > now ? (end - now) / 1000000 : 0;
    peri_timer_start(f->server->loop, &f->timer, ms > 0 ? ms : 1);
}

PERI_NOINLINE void peri_retry_arm(struct peri_exchange *x, uint64_t request_ms, bool is_anew)
{
    struct peri_forward *f = x->forward;
    struct peri_retry *retry = f->tries.retry;
    uint64_t now = now_ns(f);
    if (retry->is_waiting)
        return;
    if (retry->deadline_ns == 0 || is_anew)
        retry->deadline_ns = request_ms > 0 ? now + request_ms * 1000000 : UINT64_MAX;
    peri_retry_rearm(x, now);
    peri_hedge_arm(x);
}

PERI_NOINLINE void peri_retry_stop_hedge(struct peri_forward *f, peri_err_t err)
{
    peri_hedge_stop(f, err);
}

// ---- the request body ----

static void forget(struct peri_retry *retry)
{
    peri_buf_close(&retry->kept);
    retry->is_cut = true;
}

void peri_retry_keep(struct peri_forward *f, struct peri_slice data, bool is_leaving)
{
    struct peri_retry *retry = f->tries.retry;
    const struct peri_retry_settings *settings = peri_retry_settings_of(f);
    if (retry->is_cut || data.len == 0)
        return;
    if (is_leaving && (!settings || retry->kept.len + data.len > settings->body_bytes)) {
        forget(retry);
    } else if (peri_buf_put(&retry->kept, data) != PERI_OK) {
        forget(retry);
        retry->is_broken = !is_leaving;
    }
}

void peri_retry_send_kept(struct peri_forward *f, struct peri_attempt *attempt)
{
    const struct peri_buf *kept = f->is_replayed ? &f->x->req_body.queue : &f->tries.retry->kept;
    struct peri_slice run;
    for (size_t at = 0; (run = peri_buf_peek_at(kept, at)).len > 0; at += run.len)
        if (!peri_attempt_send_body(attempt, run) && attempt == &f->attempt)
            f->flow[PERI_SIDE_REQUEST].is_blocked = true;
}

bool peri_retry_can_send_again(const struct peri_forward *f)
{
    return f->is_replayed || f->attempt.has_no_body || !f->tries.retry->is_cut;
}

// ---- the decision ----

static bool refuse(struct peri_exchange *x, enum peri_retry_result result)
{
    bool is_limit = result == PERI_RETRY_LIMIT;
    count(x->forward, result);
    forget_refusal(x);
    x->facts.flags |= is_limit ? PERI_FLAG_RETRY_LIMIT : PERI_FLAG_RETRY_OVERFLOW;
    if (PERI_UNLIKELY(x->trace != NULL))
        peri_trace_note(x, is_limit ? PERI_SLICE("no retry: no attempts or no time left")
                                    : PERI_SLICE("no retry: the budget or the breaker refuses it"));
    return false;
}

// Would the exchange have ended by then, for whatever reason?
static bool is_too_late(const struct peri_forward *f, uint64_t at_ns)
{
    return at_ns >= f->tries.retry->deadline_ns || (f->tries.timing && at_ns >= f->tries.timing->end_ns);
}

// A retry is wanted: schedules it, unless something stands against it.
static bool schedule(struct peri_exchange *x, const struct peri_retry_settings *settings, uint64_t pushback_ms)
{
    struct peri_forward *f = x->forward;
    struct peri_retry *retry = f->tries.retry;
    uint64_t now = now_ns(f);
    if (retry->made > 0)
        count(f, PERI_RETRY_FAILURE);
    if (!peri_retry_can_send_again(f)) {
        if (PERI_UNLIKELY(x->trace != NULL))
            peri_trace_note(x, PERI_SLICE("no retry: the request body was not kept"));
        return false;
    }
    uint64_t ms = peri_retry_delay_ms(settings, retry->made + 1, pushback_ms, &f->upstream->random);
    if (retry->made >= settings->attempts || is_too_late(f, now + ms * 1000000))
        return refuse(x, PERI_RETRY_LIMIT);
    if (!peri_guard_retry(f->upstream->guard, &f->tries.ticket, now / 1000000))
        return refuse(x, PERI_RETRY_OVERFLOW);
    peri_hedge_stop(f, PERI_ERR_CLIENT_GONE);
    retry->made++;
    retry->is_waiting = true;
    retry->failed = f->endpoint;
    if (PERI_UNLIKELY(x->trace != NULL))
        peri_trace_note(x, peri_arena_printf(&x->arena, "retry after %llu ms", (unsigned long long)ms));
    peri_timer_start(f->server->loop, &f->timer, ms);
    return true;
}

static bool schedule_after_error(struct peri_exchange *x, peri_err_t err)
{
    const struct peri_forward *f = x->forward;
    const struct peri_retry_settings *settings = peri_retry_settings_of(f);
    return settings && peri_retry_wants_error(settings, &f->attempt, err) && schedule(x, settings, 0);
}

bool peri_retry_is_stale(const struct peri_exchange *x)
{
    const struct peri_forward *f = x->forward;
    return peri_attempt_is_stale(&f->attempt) && !f->tries.is_stale_replaced && !f->has_sent_body &&
           peri_method_is_idempotent(x->req.method);
}

bool peri_retry_on_timeout(struct peri_exchange *x)
{
    struct peri_forward *f = x->forward;
    bool is_all_over = now_ns(f) + 1000000 >= f->tries.retry->deadline_ns; // timers count in milliseconds
    if (f->attempt.has_head || is_all_over)
        return false;
    bool is_hedged = peri_hedge_is_running(f);
    if (!is_hedged && !schedule_after_error(x, PERI_ERR_UPSTREAM_TIMEOUT))
        return false;
    if (PERI_UNLIKELY(x->trace != NULL))
        peri_trace_result(x, 0, PERI_ERR_UPSTREAM_TIMEOUT);
    peri_target_report(f, PERI_ERR_UPSTREAM_TIMEOUT);
    if (is_hedged)
        return peri_hedge_take_over(x);
    f->is_attempt_over = true;
    peri_attempt_cancel(&f->attempt);
    return true;
}

// ---- events of the attempt ----

// What left before leaves again. More of it than the settings allow (a hook may have changed the upstream) does so only once.
static void send_again(struct peri_forward *f)
{
    struct peri_retry *retry = f->tries.retry;
    const struct peri_retry_settings *settings = peri_retry_settings_of(f);
    peri_retry_send_kept(f, &f->attempt);
    if (retry->kept.len > 0 && (!settings || retry->kept.len > settings->body_bytes))
        forget(retry);
}

static void on_ready(struct peri_attempt *attempt)
{
    struct peri_exchange *x = attempt->data;
    if (x->forward->tries.retry->is_broken) {
        peri_pipeline_fail(x, PERI_ERR_NOMEM);
        return;
    }
    if (!x->forward->is_replayed) // the pipeline sends that
        send_again(x->forward);
    peri_pipeline_attempt.on_ready(attempt);
}

static void on_interim(struct peri_attempt *attempt, int status, const struct peri_headers *headers)
{
    peri_pipeline_attempt.on_interim(attempt, status, headers);
}

// Nobody wants the body; a short one is read nevertheless, during the back-off, so that the connection can be kept.
static void discard(struct peri_exchange *x)
{
    struct peri_forward *f = x->forward;
    int64_t length = x->res.content_length;
    bool is_short = length == PERI_LENGTH_NONE || (length >= 0 && length <= RETRY_DRAIN);
    f->tries.retry->is_discarding = true;
    if (is_short || x->req.method == PERI_METHOD_HEAD)
        return;
    f->is_attempt_over = true;
    peri_attempt_cancel(&f->attempt);
}

static void on_head(struct peri_attempt *attempt)
{
    struct peri_exchange *x = attempt->data;
    struct peri_forward *f = x->forward;
    const struct peri_retry_settings *settings = peri_retry_settings_of(f);
    bool is_wanted = settings && peri_retry_wants_response(settings, &x->res);
    if (is_wanted && peri_hedge_is_running(f)) { // the other one may do better
        peri_target_count_answer(x, false);
        peri_hedge_take_over(x);
        return;
    }
    if (is_wanted && schedule(x, settings, peri_verdict_pushback_ms(&x->res))) {
        peri_target_count_answer(x, false);
        discard(x);
        return;
    }
    if (f->tries.retry->made > 0 && !is_wanted)
        count(f, PERI_RETRY_SUCCESS);
    peri_hedge_stop(f, PERI_ERR_CLIENT_GONE);
    peri_pipeline_attempt.on_head(attempt);
}

static void on_body(struct peri_attempt *attempt, struct peri_slice data)
{
    struct peri_exchange *x = attempt->data;
    if (!x->forward->tries.retry->is_discarding)
        peri_pipeline_attempt.on_body(attempt, data);
}

static void on_end(struct peri_attempt *attempt)
{
    struct peri_forward *f = ((struct peri_exchange *)attempt->data)->forward;
    if (f->tries.retry->is_discarding)
        f->is_attempt_over = true;
    else
        peri_pipeline_attempt.on_end(attempt);
}

static void on_error(struct peri_attempt *attempt, peri_err_t err)
{
    struct peri_exchange *x = attempt->data;
    struct peri_forward *f = x->forward;
    if (f->tries.retry->is_discarding) {
        f->is_attempt_over = true;
        return;
    }
    bool is_final = attempt->has_head || peri_retry_is_stale(x);
    bool is_hedged = !is_final && peri_hedge_is_running(f);
    if (is_final || (!is_hedged && !schedule_after_error(x, err))) {
        peri_pipeline_attempt.on_error(attempt, err);
        return;
    }
    f->is_attempt_over = true;
    peri_target_count_error(x, err);
    if (PERI_UNLIKELY(x->trace != NULL))
        peri_trace_result(x, 0, err);
    if (is_hedged)
        peri_hedge_take_over(x);
}

static void on_drain(struct peri_attempt *attempt)
{
    peri_pipeline_attempt.on_drain(attempt);
}

const struct peri_attempt_events peri_retry_attempt = {
    .on_ready = on_ready,
    .on_interim = on_interim,
    .on_head = on_head,
    .on_body = on_body,
    .on_end = on_end,
    .on_error = on_error,
    .on_drain = on_drain,
};
