// SPDX-License-Identifier: MIT
// The order of things. Read it from top to bottom:
//
//   on_request     route the request, run its edits and request hooks
//   target         answer here, or choose an upstream and endpoint
//   attempt        upstream hooks, then the attempt; its events
//   response       response hooks, edits, head to the client, body pumped by proxy/forward
//   complete       log hooks, access log, metrics, release
//
// A phase that runs Lua ends in peri_pipeline_on_verdict, at once or later; what comes next is decided there.
#include "proxy/pipeline.h"

#include "base/assert.h"
#include "proxy/forward.h"
#include "proxy/generation.h"
#include "proxy/grpc.h"
#include "proxy/reply.h"
#include "proxy/retry.h"
#include "proxy/server_internal.h"
#include "proxy/tap.h"
#include "proxy/target.h"
#include "proxy/timing.h"
#include "proxy/trace.h"
#include "route/table.h"
#include "shared/metrics.h"
#include "upstream/upstream.h"

#define PERI_FAILURE_TEXT 4096 ///< bytes kept of what failed in a script

static void run_phase(struct peri_exchange *x, enum peri_phase phase)
{
    peri_debug_assert(x->route && x->generation);
    enum peri_verdict verdict = peri_chain_run(x->generation->script, x, x->route->index, phase, NULL);
    if (verdict != PERI_VERDICT_PENDING)
        peri_pipeline_on_verdict(x, phase, verdict);
}

static bool is_over(const struct peri_exchange *x)
{
    return x->state == PERI_X_LOG || x->state == PERI_X_DONE;
}

// ---- the end ----

static void finish(struct peri_exchange *x)
{
    struct peri_forward *f = x->forward;
    peri_debug_assert(x->state == PERI_X_LOG);
    peri_debug_assert(!peri_timer_is_active(&f->timer) && !f->endpoint);
    struct peri_server *server = f->server;
    struct peri_generation *generation = x->generation;
    uint64_t ns = peri_loop_now_ns(server->loop) - x->facts.start_ns;
    int status = x->facts.err != PERI_OK && !f->has_sent_head ? peri_err_info(x->facts.err)->status : x->res.status;
    if (!f->is_fetch) {
        peri_metrics_request(server->page, x->route ? x->route->metrics : 0, status, ns);
        peri_server_tell_end(server, x, status, ns);
    }
    peri_defer_cancel(&f->pump);
    if (x->facts.grpc)
        peri_grpc_end(x);
    if (PERI_UNLIKELY(f->tries.timing != NULL))
        peri_timing_end(f);
    if (f->canary)
        peri_canary_count(server, x, peri_grpc_is_failure(x) ? 500 : status, ns);
    peri_buf_close(&f->filtered.body);
    if (f->tries.retry)
        peri_retry_close(f);
    peri_chain_end(x);
    peri_exchange_set_state(x, PERI_X_DONE);
    peri_list_remove(&f->link);
    bool has_generation = !f->is_fetch || peri_trace_is_virtual(x->trace); // a fetch leaves it to its caller
    x->client->release(x);
    if (has_generation)
        peri_generation_unref(generation);
}

// `err`: why it ends, when it is not over yet.
static void give_up_attempt(struct peri_forward *f, peri_err_t err)
{
    peri_timer_stop(&f->timer);
    if (PERI_UNLIKELY(f->tries.hedge != NULL))
        peri_retry_stop_hedge(f, err);
    if (f->is_started && !f->is_attempt_over) {
        f->is_attempt_over = true;
        if (!f->attempt.has_head)
            peri_target_report(f, err);
        else if (f->tries.is_unjudged)
            peri_target_conclude(f, err);
        peri_attempt_cancel(&f->attempt);
    }
    peri_guard_leave(&f->tries.ticket);
    peri_target_hold(f, NULL);
    f->is_started = false;
}

static void end_attempt(struct peri_forward *f)
{
    give_up_attempt(f, PERI_ERR_CLIENT_GONE);
}

void peri_pipeline_complete(struct peri_exchange *x)
{
    if (is_over(x))
        return;
    end_attempt(x->forward);
    peri_exchange_set_state(x, PERI_X_LOG);
    if (peri_forward_hooks(x) & PERI_HOOK(PERI_PHASE_LOG) && !peri_trace_is_virtual(x->trace))
        run_phase(x, PERI_PHASE_LOG);
    else
        finish(x);
}

void peri_pipeline_end_all(struct peri_server *server)
{
    struct peri_list *link = server->exchanges.next;
    while (link != &server->exchanges) {
        struct peri_exchange *x = PERI_LIST_ITEM(link, struct peri_forward, link)->x;
        bool is_fetch = x->forward->is_fetch; // ends with the script that waits for it
        peri_assert(is_fetch || x->state == PERI_X_LOG);
        if (!is_fetch)
            finish(x);
        link = is_fetch ? link->next : server->exchanges.next; // others may have gone with it
    }
}

// ---- the response ----

static bool has_response_body(const struct peri_exchange *x)
{
    if (x->req.method == PERI_METHOD_HEAD || x->res.status == 204 || x->res.status == 304)
        return false;
    return x->res.content_length > 0 || x->res.content_length == PERI_LENGTH_UNKNOWN || x->res_body.queue.len > 0;
}

// May a hook of `phase` change the body on its way? Not when all are `dry`.
static bool changes_body(const struct peri_exchange *x, enum peri_phase phase, uint32_t dry)
{
    return (peri_forward_hooks(x) & (PERI_HOOK(phase) | dry)) == PERI_HOOK(phase);
}

static void send_response(struct peri_exchange *x)
{
    struct peri_forward *f = x->forward;
    peri_debug_assert(x->state == PERI_X_RESPONSE && !f->has_sent_head);
    bool is_usual = f->broken == PERI_OK && x->req.upgrade.len == 0;
    peri_err_t err = PERI_LIKELY(is_usual) ? PERI_OK : peri_forward_check_response(x);
    if (err != PERI_OK) {
        peri_pipeline_fail(x, err);
        return;
    }
    if (x->route)
        peri_plan_edit(&x->res.headers, x->route->response_edits, x->route->response_edit_count);
    if (x->facts.grpc)
        peri_grpc_finish_response(x);
    bool has_body = has_response_body(x);
    if (has_body && changes_body(x, PERI_PHASE_RESPONSE_BODY, PERI_HOOK_RESPONSE_BODY_DRY))
        x->res.content_length = PERI_LENGTH_UNKNOWN;
    if (!f->is_started || f->is_attempt_over)
        peri_reply_add_date(f->server->loop, x);
    if (PERI_UNLIKELY(x->trace != NULL) && !x->trace->is_virtual)
        peri_trace_put_header(x);
    f->has_sent_head = true;
    peri_exchange_set_state(x, x->res.is_upgrade ? PERI_X_TUNNEL : PERI_X_SENDING);
    x->client->send_head(x, !has_body && !x->res.is_upgrade);
    if (!has_body && !x->res.is_upgrade) {
        x->client->send_end(x);
        peri_pipeline_complete(x);
        return;
    }
    peri_forward_pump_response(x);
}

// A response is in x->res: the upstream's head, a policy's reply or an error document.
static void on_response_ready(struct peri_exchange *x, peri_err_t err)
{
    struct peri_forward *f = x->forward;
    peri_debug_assert(!f->has_sent_head);
    if (x->state != PERI_X_RESPONSE)
        peri_exchange_set_state(x, PERI_X_RESPONSE);
    if (f->awaits_response) {
        f->awaits_response = false;
        enum peri_verdict verdict = peri_chain_resume_response(x, err);
        if (verdict != PERI_VERDICT_PENDING)
            peri_pipeline_on_verdict(x, PERI_PHASE_REQUEST, verdict);
    } else if (peri_forward_hooks(x) & PERI_HOOK(PERI_PHASE_RESPONSE) && !f->has_run_response) {
        f->has_run_response = true;
        run_phase(x, PERI_PHASE_RESPONSE);
    } else {
        send_response(x);
    }
}

void peri_pipeline_fail(struct peri_exchange *x, peri_err_t err)
{
    struct peri_forward *f = x->forward;
    if (is_over(x))
        return;
    x->facts.err = err;
    f->is_answered = !f->awaits_response;
    if (PERI_UNLIKELY(x->trace != NULL))
        peri_trace_result(x, 0, err);
    end_attempt(f);
    if (f->has_sent_head) {
        x->client->reset(x, err);
        peri_pipeline_complete(x);
        return;
    }
    if (peri_reply_error(x, err) != PERI_OK) {
        x->client->reset(x, PERI_ERR_NOMEM);
        peri_pipeline_complete(x);
        return;
    }
    const struct peri_server_dev *dev = f->server->dev;
    if (dev && !f->is_fetch)
        dev->explain(dev->data, x, err);
    on_response_ready(x, err);
}

// ---- the attempt ----

// The response will not become whole. A script that reads it may answer itself; else the exchange fails.
static void break_response(struct peri_exchange *x, peri_err_t err)
{
    if (!x->forward->flow[PERI_SIDE_RESPONSE].is_reading) {
        peri_pipeline_fail(x, err);
        return;
    }
    x->forward->broken = err; // what came cannot be passed on
    peri_forward_wake_reader(x, PERI_SIDE_RESPONSE, err);
}

// Does the client or a hook hold the response up, and not the upstream?
static bool is_held_up(const struct peri_forward *f)
{
    const struct peri_flow *flow = &f->flow[PERI_SIDE_RESPONSE];
    return f->attempt.has_head && !flow->is_reading && (flow->is_blocked || f->x->state == PERI_X_RESPONSE);
}

static void try_again(struct peri_exchange *x);

static void on_timer(struct peri_timer *timer)
{
    struct peri_forward *f = PERI_CONTAINER(timer, struct peri_forward, timer);
    if (f->tries.retry && f->tries.retry->is_waiting) {
        try_again(f->x);
        return;
    }
    if (is_held_up(f)) {
        peri_timing_limit_idle(f);
        return;
    }
    f->server->page->upstream_connections[f->upstream->metrics].timeouts++;
    peri_attempt_doubt(&f->attempt);
    if (f->tries.retry && peri_retry_on_timeout(f->x))
        return;
    give_up_attempt(f, PERI_ERR_UPSTREAM_TIMEOUT);
    break_response(f->x, PERI_ERR_UPSTREAM_TIMEOUT);
}

void peri_pipeline_expire(struct peri_exchange *x, peri_err_t err)
{
    if (is_over(x))
        return;
    peri_attempt_doubt(&x->forward->attempt);
    end_attempt(x->forward);
    break_response(x, err);
}

// Does the upstream's breaker let the attempt begin? Otherwise the exchange waits, or has failed.
static bool enter_guard(struct peri_exchange *x, bool is_replacement)
{
    struct peri_forward *f = x->forward;
    enum peri_pool_state pool = peri_target_pool(f, is_replacement);
    if (f->upstream->guard->has_retries)
        peri_retry_begin(x);
    if (f->tries.ticket.guard != f->upstream->guard) // a hook sent it elsewhere
        peri_guard_leave(&f->tries.ticket);
    if (!is_replacement) // what replaces a connection that was closing keeps its place
        peri_guard_pause(&f->tries.ticket);
    f->tries.ticket.is_high = x->route && x->route->is_high;
    if (!is_replacement && f->upstream->guard->queue && !f->tries.ticket.is_high && peri_target_wait(x))
        return false;
    peri_err_t err = peri_guard_enter(f->upstream->guard, pool, &f->tries.ticket);
    if (err != PERI_OK)
        peri_pipeline_fail(x, err);
    return err == PERI_OK;
}

static void begin_attempt(struct peri_exchange *x, bool is_replacement)
{
    struct peri_forward *f = x->forward;
    bool wants_fresh = is_replacement && peri_target_needs_fresh(f);
    peri_debug_assert(f->endpoint && f->upstream && !f->attempt.connection);
    peri_debug_assert(x->state == PERI_X_FORWARD);
    if (PERI_UNLIKELY(f->tries.timing || f->upstream->is_timed) && !peri_timing_admit(x))
        return;
    if (f->upstream->guard && !enter_guard(x, is_replacement))
        return;
    const struct peri_attempt_events *events = f->tries.retry ? &peri_retry_attempt : &peri_pipeline_attempt;
    bool has_no_body = x->req.content_length == PERI_LENGTH_NONE;
    f->attempt = (struct peri_attempt){
        .events = f->tap ? peri_tap_attempt(f->tap, events) : events,
        .data = x,
        .pool = f->endpoint->pool,
        .req = &x->req,
        .res = &x->res,
        .connect_ms = f->upstream->connect_ms,
        .wants_fresh = wants_fresh,
        .has_no_length =
            !has_no_body && !f->is_replayed && changes_body(x, PERI_PHASE_REQUEST_BODY, PERI_HOOK_REQUEST_BODY_DRY),
        .has_no_body = has_no_body,
    };
    if (PERI_UNLIKELY(x->trace != NULL)) {
        peri_trace_attempt(x);
        if (x->trace->is_virtual) {
            x->trace->has_arrived = true;
            peri_forward_pump_request(x);
            return;
        }
    }
    f->is_started = true;
    f->is_attempt_over = f->flow[PERI_SIDE_REQUEST].is_blocked = false;
    x->facts.upstream_ns = peri_loop_now_ns(f->server->loop);
    peri_timing_limit_attempt(x, false);
    peri_attempt_start(&f->attempt);
}

void peri_pipeline_begin_attempt(struct peri_exchange *x)
{
    begin_attempt(x, false);
}

static void on_ready(struct peri_attempt *attempt)
{
    struct peri_exchange *x = attempt->data;
    struct peri_forward *f = x->forward;
    peri_debug_assert(f->is_started && !f->is_attempt_over);
    peri_target_count_connection(f, attempt);
    peri_guard_ready(&f->tries.ticket);
    if (!attempt->has_no_body)
        peri_forward_pump_request(x);
}

static void on_interim(struct peri_attempt *attempt, int status, const struct peri_headers *headers)
{
    struct peri_exchange *x = attempt->data;
    if (status != 100) // the client's wait for 100 is answered by us
        x->client->send_interim(x, status, headers);
}

static void on_head(struct peri_attempt *attempt)
{
    struct peri_exchange *x = attempt->data;
    struct peri_forward *f = x->forward;
    peri_debug_assert(x->state == PERI_X_FORWARD && f->is_started);
    x->facts.head_ns = peri_loop_now_ns(f->server->loop);
    peri_target_count_answer(x, true);
    peri_target_stick(x);
    if (x->facts.grpc)
        peri_grpc_note(x);
    if (x->res.is_upgrade)
        peri_timer_stop(&f->timer);
    else
        peri_timing_limit_idle(f);
    if (has_response_body(x) || x->res.is_upgrade)
        on_response_ready(x, PERI_OK);
    // else: on_end follows at once, and the connection is back in its pool before the client hears of it
}

static void on_body(struct peri_attempt *attempt, struct peri_slice data)
{
    struct peri_exchange *x = attempt->data;
    struct peri_forward *f = x->forward;
    if (peri_timer_is_active(&f->timer))
        peri_timing_limit_idle(f);
    peri_forward_on_response_body(x, data);
}

static void on_end(struct peri_attempt *attempt)
{
    struct peri_exchange *x = attempt->data;
    struct peri_forward *f = x->forward;
    peri_debug_assert(f->is_started && !f->is_attempt_over);
    f->is_attempt_over = true;
    peri_timer_stop(&f->timer);
    if (PERI_UNLIKELY(f->tries.is_unjudged))
        peri_target_conclude(f, PERI_OK);
    if (x->facts.grpc)
        peri_grpc_note(x);
    if (f->flow[PERI_SIDE_RESPONSE].is_replaced)
        return;
    x->res_body.is_ended = true;
    if (x->state == PERI_X_FORWARD) {
        on_response_ready(x, PERI_OK);
        return;
    }
    peri_forward_on_body_complete(x, PERI_SIDE_RESPONSE);
    if (!is_over(x))
        peri_forward_pump_response(x);
}

static void on_error(struct peri_attempt *attempt, peri_err_t err)
{
    struct peri_exchange *x = attempt->data;
    struct peri_forward *f = x->forward;
    if (peri_retry_is_stale(x)) {
        f->tries.is_stale_replaced = true;
        f->server->page->upstream_connections[f->upstream->metrics].retries[PERI_RETRY_STALE]++;
        if (PERI_UNLIKELY(x->trace != NULL))
            peri_trace_result(x, 0, err);
        begin_attempt(x, true);
        return;
    }
    f->is_attempt_over = true;
    peri_target_count_error(x, err);
    if (x->res_body.is_ended && f->flow[PERI_SIDE_RESPONSE].is_replaced)
        return;
    break_response(x, err);
}

static void on_upstream_drain(struct peri_attempt *attempt)
{
    struct peri_exchange *x = attempt->data;
    x->forward->flow[PERI_SIDE_REQUEST].is_blocked = false;
    if (x->state == PERI_X_TUNNEL)
        x->client->pause_body(x, false);
    else
        peri_forward_pump_request(x);
}

const struct peri_attempt_events peri_pipeline_attempt = {
    .on_ready = on_ready,
    .on_interim = on_interim,
    .on_head = on_head,
    .on_body = on_body,
    .on_end = on_end,
    .on_error = on_error,
    .on_drain = on_upstream_drain,
};

// ---- the target ----

// The endpoint is chosen, or there is none.
static void approach(struct peri_exchange *x)
{
    struct peri_forward *f = x->forward;
    if (!f->endpoint) {
        peri_pipeline_fail(x, PERI_ERR_NO_ENDPOINT);
        return;
    }
    x->facts.attempts++;
    x->facts.endpoint = peri_pool_address(f->endpoint->pool);
    if (x->state != PERI_X_FORWARD)
        peri_exchange_set_state(x, PERI_X_FORWARD);
    peri_err_t err = x->route && x->route->rewrite ? peri_target_rewrite(x) : PERI_OK;
    if (x->req.authority.len == 0)
        x->req.authority = x->facts.endpoint; // HTTP/1.0 without Host
    if (err != PERI_OK)
        peri_pipeline_fail(x, err);
    else if (peri_forward_hooks(x) & PERI_HOOK(PERI_PHASE_UPSTREAM))
        run_phase(x, PERI_PHASE_UPSTREAM);
    else
        begin_attempt(x, false);
}

static void forward(struct peri_exchange *x)
{
    struct peri_forward *f = x->forward;
    f->upstream = peri_target_choose(x);
    if (f->upstream) {
        x->facts.upstream = f->upstream->name; // also when none of its endpoints can be used
        if (!f->endpoint)
            peri_target_hold(f, peri_target_pick(x, f->upstream));
    }
    approach(x);
}

// The back-off is over: the next attempt, on another endpoint if there is one.
static void try_again(struct peri_exchange *x)
{
    struct peri_forward *f = x->forward;
    peri_debug_assert(x->state == PERI_X_FORWARD && !f->has_sent_head);
    if (!f->is_attempt_over)
        peri_attempt_cancel(&f->attempt); // its response was still being read, for the sake of the connection
    f->is_started = f->tries.retry->is_waiting = false;
    f->is_attempt_over = true;
    peri_target_hold(f, peri_target_pick_other(x, f->upstream, f->tries.retry->failed));
    approach(x);
}

static void go_to_target(struct peri_exchange *x)
{
    const struct peri_route *route = x->route;
    if (peri_forward_is_too_large(x)) {
        peri_pipeline_fail(x, PERI_ERR_BODY_TOO_LARGE);
        return;
    }
    if (route->target == PERI_TARGET_REDIRECT || route->target == PERI_TARGET_REPLY) {
        if (peri_reply_plan(x, route) == PERI_OK)
            on_response_ready(x, PERI_OK);
        else
            peri_pipeline_fail(x, PERI_ERR_NOMEM);
        return;
    }
    forward(x);
}

void peri_pipeline_send_whole(struct peri_exchange *x)
{
    if (peri_forward_filter_request(x))
        go_to_target(x);
}

void peri_pipeline_note_failure(struct peri_exchange *x, struct peri_slice text)
{
    if (text.len > PERI_FAILURE_TEXT)
        text.len = PERI_FAILURE_TEXT;
    if (x->forward->server->dev)
        x->facts.failure = peri_arena_copy(&x->arena, text);
}

// around() asked for the upstream's response, maybe again: the last one is dropped, the request body must be whole.
static void forward_again(struct peri_exchange *x)
{
    struct peri_forward *f = x->forward;
    peri_debug_assert(!f->has_sent_head && !f->awaits_response);
    f->has_run_response = f->awaits_response = true;
    f->is_replayed = !(peri_forward_hooks(x) & PERI_HOOK_AROUND_DRY);
    if (f->tries.retry)
        peri_retry_reset(f);
    if (x->state == PERI_X_RESPONSE) {
        end_attempt(f);
        peri_reply_reset(x);
        f->flow[PERI_SIDE_RESPONSE].is_replaced = false;
        f->broken = PERI_OK;
    }
    if (f->is_replayed && x->req.content_length != PERI_LENGTH_NONE && !x->req_body.is_ended) {
        peri_err_t err = peri_forward_read_body(x, PERI_SIDE_REQUEST, 1024 * 1024);
        if (err == PERI_ERR_AGAIN)
            return; // on_body_end comes back to `forward`
        if (err != PERI_OK) {
            peri_pipeline_fail(x, err);
            return;
        }
    }
    peri_pipeline_send_whole(x);
}

// ---- verdicts ----

static void on_request_verdict(struct peri_exchange *x, enum peri_verdict verdict)
{
    struct peri_forward *f = x->forward;
    bool has_response = x->state == PERI_X_RESPONSE;
    switch (verdict) {
    case PERI_VERDICT_FORWARD: forward_again(x); return;
    case PERI_VERDICT_FAIL:
        f->has_run_response = f->has_run_response || has_response;
        peri_pipeline_fail(x, x->facts.err != PERI_OK ? x->facts.err : PERI_ERR_POLICY);
        return;
    case PERI_VERDICT_REPLY:
        end_attempt(f);
        on_response_ready(x, PERI_OK);
        return;
    default:
        if (has_response)
            send_response(x);
        else
            go_to_target(x);
    }
}

static void on_body_verdict(struct peri_exchange *x, enum peri_phase phase, enum peri_verdict verdict)
{
    struct peri_forward *f = x->forward;
    bool is_request = phase == PERI_PHASE_REQUEST_BODY;
    enum peri_side side = is_request ? PERI_SIDE_REQUEST : PERI_SIDE_RESPONSE;
    if (verdict != PERI_VERDICT_CONTINUE)
        f->flow[side].is_hook_running = false; // around() may have the body seen again
    if (verdict == PERI_VERDICT_REPLY && !f->has_sent_head) {
        end_attempt(f);
        on_response_ready(x, PERI_OK);
        return;
    }
    if (verdict != PERI_VERDICT_CONTINUE) {
        peri_pipeline_fail(x, PERI_ERR_POLICY);
        return;
    }
    peri_forward_end_chunk(x, side);
}

// Does the phase decide about the response's head?
static bool is_head_phase(enum peri_phase phase)
{
    return phase == PERI_PHASE_REQUEST || phase == PERI_PHASE_UPSTREAM || phase == PERI_PHASE_RESPONSE;
}

void peri_pipeline_on_verdict(struct peri_exchange *x, enum peri_phase phase, enum peri_verdict verdict)
{
    if (phase == PERI_PHASE_LOG) {
        finish(x);
        return;
    }
    bool is_late = x->forward->has_sent_head || (x->forward->is_answered && phase != PERI_PHASE_RESPONSE);
    if (is_over(x) || (is_late && is_head_phase(phase)))
        return;
    switch (phase) {
    case PERI_PHASE_REQUEST: on_request_verdict(x, verdict); return;
    case PERI_PHASE_UPSTREAM:
        if (verdict == PERI_VERDICT_CONTINUE)
            begin_attempt(x, false);
        else if (verdict == PERI_VERDICT_REPLY)
            on_response_ready(x, PERI_OK);
        else
            peri_pipeline_fail(x, PERI_ERR_POLICY);
        return;
    case PERI_PHASE_RESPONSE:
        if (verdict == PERI_VERDICT_FAIL) {
            peri_pipeline_fail(x, PERI_ERR_POLICY);
            return;
        }
        if (verdict == PERI_VERDICT_REPLY)
            end_attempt(x->forward);
        send_response(x);
        return;
    default: on_body_verdict(x, phase, verdict);
    }
}

// ---- events of the client ----

static bool attach(struct peri_server *server, struct peri_exchange *x)
{
    peri_debug_assert(!x->forward);
    struct peri_forward *f = peri_arena_zalloc(&x->arena, sizeof(*f));
    if (!f)
        return false;
    f->x = x;
    f->server = server;
    f->body_limit = UINT64_MAX;
    peri_timer_init(&f->timer, on_timer);
    peri_defer_init(&f->pump, peri_forward_on_pump);
    peri_list_append(&server->exchanges, &f->link);
    x->forward = f;
    return true;
}

// The exchange cannot even begin.
static void drop(struct peri_exchange *x)
{
    x->client->reset(x, PERI_ERR_NOMEM);
    peri_exchange_set_state(x, PERI_X_LOG);
    peri_exchange_set_state(x, PERI_X_DONE);
    x->client->release(x);
}

static void on_request(struct peri_exchange *x)
{
    struct peri_server *server = x->owner_data;
    peri_debug_assert(x->state == PERI_X_REQUEST && !x->forward);
    if (!server->current || !attach(server, x)) {
        drop(x);
        return;
    }
    bool is_virtual = peri_trace_is_virtual(x->trace);
    bool is_tried = server->canary.share && !is_virtual;
    x->generation = peri_generation_ref(is_tried ? peri_canary_choose(server, x) : server->current);
    if (server->tap && !is_virtual)
        peri_tap_begin(server->tap, x);
    if (!peri_grpc_begin(x) || (x->facts.deadline_ns != 0 && !peri_timing_begin(x)))
        return;
    if (PERI_UNLIKELY(x->generation->explain.len > 0))
        peri_trace_admit(x);
    if (PERI_UNLIKELY(server->dev != NULL) && !is_virtual && server->dev->is_refused(server->dev->data)) {
        peri_pipeline_fail(x, PERI_ERR_INVALID);
        return;
    }
    x->route = peri_route_table_find(x->generation->table, x);
    if (PERI_UNLIKELY(x->trace != NULL)) {
        peri_trace_route(x);
        x->forward->is_fetch = x->trace->is_virtual;
    }
    if (!x->route) {
        peri_pipeline_fail(x, PERI_ERR_NO_ROUTE);
        return;
    }
    peri_plan_edit(&x->req.headers, x->route->request_edits, x->route->request_edit_count);
    if (x->route->hooks & PERI_HOOK(PERI_PHASE_REQUEST))
        run_phase(x, PERI_PHASE_REQUEST);
    else
        go_to_target(x);
}

static void on_client_body(struct peri_exchange *x, struct peri_slice data)
{
    struct peri_forward *f = x->forward;
    if (is_over(x))
        return;
    if (x->state == PERI_X_TUNNEL) {
        if (!f->is_attempt_over && !peri_attempt_send_body(&f->attempt, data))
            x->client->pause_body(x, true);
        return;
    }
    if (peri_timer_is_active(&f->timer) && !f->attempt.has_head)
        peri_timing_limit_attempt(x, true);
    peri_forward_on_request_body(x, data);
}

static void on_client_body_end(struct peri_exchange *x)
{
    struct peri_forward *f = x->forward;
    if (is_over(x))
        return;
    if (x->state == PERI_X_TUNNEL) {
        if (!f->is_attempt_over)
            peri_attempt_send_end(&f->attempt, NULL);
        return;
    }
    if (!f->flow[PERI_SIDE_REQUEST].is_replaced)
        x->req_body.is_ended = true;
    if (f->awaits_response && f->flow[PERI_SIDE_REQUEST].is_reading) { // forward_again waited for this
        peri_forward_on_body_complete(x, PERI_SIDE_REQUEST);           // for tasks that read it too
        peri_pipeline_send_whole(x);
        return;
    }
    peri_forward_on_body_complete(x, PERI_SIDE_REQUEST);
    if (!is_over(x))
        peri_forward_pump_request(x);
}

static void on_client_drain(struct peri_exchange *x)
{
    if (is_over(x))
        return;
    x->forward->flow[PERI_SIDE_RESPONSE].is_blocked = false;
    peri_forward_pump_response(x);
}

static void on_refused(struct peri_exchange *x, peri_err_t err)
{
    struct peri_server *server = x->owner_data;
    int status = peri_err_info(err)->status;
    uint64_t ns = peri_loop_now_ns(server->loop) - x->facts.start_ns;
    x->facts.err = err;
    peri_metrics_request(server->page, 0, status, ns);
    peri_server_tell_end(server, x, status, ns);
}

static void on_abort(struct peri_exchange *x, peri_err_t err)
{
    if (is_over(x))
        return;
    x->facts.err = err;
    if (err == PERI_ERR_UPSTREAM_TIMEOUT) // of a fetch
        peri_attempt_doubt(&x->forward->attempt);
    peri_pipeline_complete(x);
}

const struct peri_owner_ops peri_pipeline_owner = {
    .on_request = on_request,
    .on_body = on_client_body,
    .on_body_end = on_client_body_end,
    .on_client_drain = on_client_drain,
    .on_refused = on_refused,
    .on_abort = on_abort,
};

void peri_pipeline_fetch(struct peri_server *server, struct peri_exchange *x, struct peri_upstream *upstream)
{
    peri_debug_assert(x->generation && upstream && !x->route);
    if (!attach(server, x)) {
        drop(x);
        return;
    }
    x->forward->upstream = upstream;
    x->forward->is_fetch = true;
    if (peri_timing_begin(x))
        forward(x);
}
