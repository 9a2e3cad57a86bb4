// SPDX-License-Identifier: MIT
// Bodies on their way. Bytes pass straight through when nobody holds them up; otherwise they wait in the exchange's queues, and
// the source is stopped above the high mark.
//
//   client --on_request_body--> [hooks] --> attempt          attempt --on_response_body--> [hooks] --> client
#include "proxy/forward.h"

#include "base/assert.h"
#include "codec/websocket.h"
#include "proxy/generation.h"
#include "proxy/pipeline.h"
#include "proxy/retry.h"
#include "proxy/server_internal.h"
#include "proxy/trace.h"

uint32_t peri_forward_hooks(const struct peri_exchange *x)
{
    return x->route ? x->route->hooks : 0;
}

// Is the side's body kept for a script that reads it as a whole?
static bool is_held(const struct peri_forward *f, enum peri_side side)
{
    return f->flow[side].is_reading || !peri_list_is_empty(&f->pump.link);
}

static bool is_upstream_ready(const struct peri_forward *f)
{
    return f->is_started && f->attempt.is_ready && f->attempt.connection && !f->attempt.is_sent;
}

// ---- both directions ----

static struct peri_body *body_of(struct peri_exchange *x, enum peri_side side)
{
    return side == PERI_SIDE_REQUEST ? &x->req_body : &x->res_body;
}

static void send_request_bytes(struct peri_forward *f, struct peri_slice data)
{
    peri_debug_assert(is_upstream_ready(f));
    f->has_sent_body = f->has_sent_body || data.len > 0;
    if (f->tries.retry)
        peri_retry_keep(f, data, true);
    if (data.len > 0 && !peri_attempt_send_body(&f->attempt, data))
        f->flow[PERI_SIDE_REQUEST].is_blocked = true;
}

static void send_response_bytes(struct peri_exchange *x, struct peri_slice data)
{
    if (data.len > 0 && !x->client->send_body(x, data))
        x->forward->flow[PERI_SIDE_RESPONSE].is_blocked = true;
}

static void keep_filtered(struct peri_forward *f, struct peri_slice data)
{
    if (peri_buf_put(&f->filtered.body, data) != PERI_OK)
        f->filtered.is_broken = true;
}

static void end_chunk(struct peri_exchange *x, enum peri_side side)
{
    struct peri_flow *flow = &x->forward->flow[side];
    peri_debug_assert(flow->is_hook_running && flow->chunk.in.len <= body_of(x, side)->queue.len);
    flow->is_hook_running = false;
    flow->is_last_done = flow->chunk.is_last;
    if (side == PERI_SIDE_RESPONSE)
        send_response_bytes(x, flow->chunk.out);
    else if (x->forward->is_replayed)
        keep_filtered(x->forward, flow->chunk.out);
    else if (is_upstream_ready(x->forward))
        send_request_bytes(x->forward, flow->chunk.out);
    else if (x->forward->tries.retry)
        peri_retry_keep(x->forward, flow->chunk.out, false); // between two attempts
    peri_body_take(body_of(x, side), flow->chunk.in.len);
}

// What became of a chunk.
enum chunk_way {
    CHUNK_MOVED,   ///< it was passed on
    CHUNK_STAYS,   ///< it is with the hooks for now, or there is none
    CHUNK_DECIDED, ///< a hook ended the exchange's way as it was: the exchange may be gone
};

// Gives the next chunk to the hooks.
static enum chunk_way hook_chunk(struct peri_exchange *x, enum peri_side side)
{
    enum peri_phase phase = side == PERI_SIDE_REQUEST ? PERI_PHASE_REQUEST_BODY : PERI_PHASE_RESPONSE_BODY;
    struct peri_flow *flow = &x->forward->flow[side];
    const struct peri_body *body = body_of(x, side);
    struct peri_slice run = peri_body_peek(body);
    bool is_last = body->is_ended && run.len == body->queue.len;
    if (flow->is_hook_running || flow->is_last_done || (run.len == 0 && !is_last))
        return CHUNK_STAYS;
    flow->chunk = (struct peri_chain_chunk){.in = run, .is_last = is_last};
    flow->is_hook_running = true;
    enum peri_verdict verdict = peri_chain_run(x->generation->script, x, x->route->index, phase, &flow->chunk);
    if (verdict == PERI_VERDICT_CONTINUE) {
        end_chunk(x, side);
        return CHUNK_MOVED;
    }
    if (verdict == PERI_VERDICT_PENDING)
        return CHUNK_STAYS;
    peri_pipeline_on_verdict(x, phase, verdict);
    return CHUNK_DECIDED;
}

// Gives chunks to the hooks for as long as they and the receiver take them. False when the exchange may be gone.
static bool pump_hooks(struct peri_exchange *x, enum peri_side side)
{
    const struct peri_flow *flow = &x->forward->flow[side];
    enum chunk_way way = CHUNK_MOVED;
    while (way == CHUNK_MOVED && !flow->is_blocked)
        way = hook_chunk(x, side);
    return way != CHUNK_DECIDED;
}

// ---- request body ----

static void pause_request(struct peri_exchange *x, bool paused)
{
    if (x->req_body.is_paused == paused)
        return;
    x->req_body.is_paused = paused;
    x->client->pause_body(x, paused);
}

void peri_forward_invite_body(struct peri_exchange *x)
{
    if (x->req.expects_continue && !x->req_body.is_ended)
        x->client->send_interim(x, 100, NULL);
    if (!x->req_body.is_ended && !peri_body_is_full(&x->req_body))
        pause_request(x, false);
}

bool peri_forward_filter_request(struct peri_exchange *x)
{
    struct peri_forward *f = x->forward;
    const struct peri_flow *flow = &f->flow[PERI_SIDE_REQUEST];
    bool has_hook = peri_forward_hooks(x) & PERI_HOOK(PERI_PHASE_REQUEST_BODY);
    if (!has_hook || !f->is_replayed || x->req.content_length == PERI_LENGTH_NONE || f->filtered.is_used)
        return true;
    if (!pump_hooks(x, PERI_SIDE_REQUEST) || !flow->is_last_done)
        return false;
    if (f->filtered.is_broken) {
        peri_pipeline_fail(x, PERI_ERR_NOMEM);
        return false;
    }
    f->filtered.is_used = true;
    peri_body_close(&x->req_body);
    x->req_body.queue = f->filtered.body;
    peri_buf_init(&f->filtered.body);
    x->req.content_length = (int64_t)x->req_body.queue.len;
    return true;
}

// With around() the request may be sent again: the queue is kept, and it is whole (see pipeline).
static void replay_request(struct peri_exchange *x)
{
    peri_debug_assert(x->req_body.is_ended || x->req.content_length == PERI_LENGTH_NONE);
    struct peri_slice run;
    for (size_t at = 0; (run = peri_buf_peek_at(&x->req_body.queue, at)).len > 0; at += run.len)
        peri_attempt_send_body(&x->forward->attempt, run);
    peri_attempt_send_end(&x->forward->attempt, &x->req.trailers);
}

static void pump_request_plain(struct peri_exchange *x)
{
    struct peri_forward *f = x->forward;
    while (x->req_body.queue.len > 0 && !f->flow[PERI_SIDE_REQUEST].is_blocked) {
        struct peri_slice run = peri_body_peek(&x->req_body);
        send_request_bytes(f, run);
        peri_body_take(&x->req_body, run.len);
    }
}

// A request that is only explained: its body passes the hooks, and that is the end of it. False when the exchange may be gone.
static bool sink_request(struct peri_exchange *x)
{
    const struct peri_forward *f = x->forward;
    bool has_hook = peri_forward_hooks(x) & PERI_HOOK(PERI_PHASE_REQUEST_BODY) && !f->is_replayed;
    if (!x->trace->has_arrived || is_held(f, PERI_SIDE_REQUEST))
        return true;
    if (has_hook && x->req.content_length != PERI_LENGTH_NONE) {
        if (!pump_hooks(x, PERI_SIDE_REQUEST))
            return false;
        if (!f->flow[PERI_SIDE_REQUEST].is_last_done)
            return true; // a hook waits, or more of the body comes
    }
    peri_pipeline_complete(x);
    return false;
}

bool peri_forward_pump_request(struct peri_exchange *x)
{
    struct peri_forward *f = x->forward;
    bool has_hook = peri_forward_hooks(x) & PERI_HOOK(PERI_PHASE_REQUEST_BODY);
    if (peri_trace_is_virtual(x->trace))
        return sink_request(x);
    if (!is_upstream_ready(f) || f->attempt.has_no_body || is_held(f, PERI_SIDE_REQUEST))
        return true;
    if (f->is_replayed) {
        replay_request(x);
        return true;
    }
    if (!has_hook)
        pump_request_plain(x);
    else if (!pump_hooks(x, PERI_SIDE_REQUEST))
        return false;
    if (x->req_body.is_ended && x->req_body.queue.len == 0 && (!has_hook || f->flow[PERI_SIDE_REQUEST].is_last_done))
        peri_attempt_send_end(&f->attempt, &x->req.trailers);
    else if (peri_body_is_low(&x->req_body) && !f->flow[PERI_SIDE_REQUEST].is_blocked)
        peri_forward_invite_body(x);
    return true;
}

// Is a script that reads the whole body over its limit?
static bool is_over_read_limit(struct peri_forward *f, enum peri_side side, const struct peri_body *body)
{
    return f->flow[side].is_reading && body->queue.len > f->flow[side].read_limit;
}

void peri_forward_on_request_body(struct peri_exchange *x, struct peri_slice data)
{
    struct peri_forward *f = x->forward;
    if (x->facts.bytes_in > f->body_limit) {
        peri_pipeline_fail(x, PERI_ERR_BODY_TOO_LARGE);
        return;
    }
    if (f->flow[PERI_SIDE_REQUEST].is_replaced)
        return;
    bool is_direct = is_upstream_ready(f) && !f->attempt.has_no_body && !f->is_replayed &&
                     !f->flow[PERI_SIDE_REQUEST].is_blocked && x->req_body.queue.len == 0 &&
                     !is_held(f, PERI_SIDE_REQUEST) && !(peri_forward_hooks(x) & PERI_HOOK(PERI_PHASE_REQUEST_BODY));
    if (is_direct) {
        send_request_bytes(f, data);
        if (f->flow[PERI_SIDE_REQUEST].is_blocked)
            pause_request(x, true);
        return;
    }
    if (peri_body_put(&x->req_body, data) != PERI_OK) {
        peri_pipeline_fail(x, PERI_ERR_NOMEM);
        return;
    }
    if (is_over_read_limit(f, PERI_SIDE_REQUEST, &x->req_body)) {
        if (f->awaits_response) // it is the pipeline that reads, to be able to send the request again
            peri_pipeline_fail(x, PERI_ERR_BODY_TOO_LARGE);
        else
            peri_forward_wake_reader(x, PERI_SIDE_REQUEST, PERI_ERR_BODY_TOO_LARGE);
        return;
    }
    if (peri_forward_pump_request(x) && peri_body_is_full(&x->req_body))
        pause_request(x, true);
}

// ---- the response's head ----

static struct peri_slice find_value(const struct peri_headers *headers, struct peri_slice name)
{
    const struct peri_header *h = peri_headers_find_name(headers, name, 0, NULL);
    return h ? peri_slice(h->value, h->value_len) : peri_slice(NULL, 0);
}

// Did the upstream agree to the upgrade that a client of HTTP/2 asked for (RFC 6455 4.1, RFC 8441 5)?
static bool is_agreed(const struct peri_exchange *x)
{
    return peri_slice_ieq(x->res.upgrade, x->req.upgrade) &&
           peri_websocket_is_accepted(find_value(&x->req.headers, PERI_SLICE("sec-websocket-key")),
                                      find_value(&x->res.headers, PERI_SLICE("sec-websocket-accept")));
}

peri_err_t peri_forward_check_response(const struct peri_exchange *x)
{
    if (x->forward->broken != PERI_OK && !x->res_body.is_ended)
        return x->forward->broken;
    if (x->req.upgrade.len == 0 || x->req.version < 20)
        return PERI_OK;
    bool is_success = x->res.status >= 200 && x->res.status < 300;
    return is_success || (x->res.is_upgrade && !is_agreed(x)) ? PERI_ERR_UPSTREAM_PROTOCOL : PERI_OK;
}

// ---- response body ----

static void pump_response_plain(struct peri_exchange *x)
{
    while (x->res_body.queue.len > 0 && !x->forward->flow[PERI_SIDE_RESPONSE].is_blocked) {
        struct peri_slice run = peri_body_peek(&x->res_body);
        send_response_bytes(x, run);
        peri_body_take(&x->res_body, run.len);
    }
}

bool peri_forward_pump_response(struct peri_exchange *x)
{
    struct peri_forward *f = x->forward;
    bool has_hook = peri_forward_hooks(x) & PERI_HOOK(PERI_PHASE_RESPONSE_BODY) && x->state == PERI_X_SENDING;
    if (!f->has_sent_head || is_held(f, PERI_SIDE_RESPONSE))
        return true;
    if (!has_hook)
        pump_response_plain(x);
    else if (!pump_hooks(x, PERI_SIDE_RESPONSE))
        return false;
    if (x->res_body.is_ended && x->res_body.queue.len == 0 && (!has_hook || f->flow[PERI_SIDE_RESPONSE].is_last_done)) {
        x->client->send_end(x);
        peri_pipeline_complete(x);
        return false;
    }
    if (f->is_started && !f->is_attempt_over && peri_body_is_low(&x->res_body) &&
        !f->flow[PERI_SIDE_RESPONSE].is_blocked)
        peri_attempt_pause(&f->attempt, false);
    return true;
}

void peri_forward_on_response_body(struct peri_exchange *x, struct peri_slice data)
{
    struct peri_forward *f = x->forward;
    if (f->flow[PERI_SIDE_RESPONSE].is_replaced)
        return;
    bool is_direct = f->has_sent_head && !f->flow[PERI_SIDE_RESPONSE].is_blocked && x->res_body.queue.len == 0 &&
                     !is_held(f, PERI_SIDE_RESPONSE) &&
                     (x->state == PERI_X_TUNNEL || !(peri_forward_hooks(x) & PERI_HOOK(PERI_PHASE_RESPONSE_BODY)));
    if (is_direct) {
        send_response_bytes(x, data);
        if (f->flow[PERI_SIDE_RESPONSE].is_blocked)
            peri_attempt_pause(&f->attempt, true);
        return;
    }
    if (peri_body_put(&x->res_body, data) != PERI_OK) {
        peri_pipeline_fail(x, PERI_ERR_NOMEM);
        return;
    }
    if (is_over_read_limit(f, PERI_SIDE_RESPONSE, &x->res_body)) {
        peri_forward_wake_reader(x, PERI_SIDE_RESPONSE, PERI_ERR_RESPONSE_TOO_LARGE);
        peri_attempt_pause(&f->attempt, true);
        return;
    }
    if (peri_forward_pump_response(x) && peri_body_is_full(&x->res_body))
        peri_attempt_pause(&f->attempt, true);
}

void peri_forward_end_chunk(struct peri_exchange *x, enum peri_side side)
{
    end_chunk(x, side);
    if (side == PERI_SIDE_REQUEST && x->forward->is_replayed)
        peri_pipeline_send_whole(x);
    else if (side == PERI_SIDE_REQUEST)
        peri_forward_pump_request(x);
    else
        peri_forward_pump_response(x);
}

// ---- whole bodies for scripts ----

static int64_t *length_of(struct peri_exchange *x, enum peri_side side)
{
    return side == PERI_SIDE_REQUEST ? &x->req.content_length : &x->res.content_length;
}

void peri_forward_on_pump(struct peri_defer *defer)
{
    struct peri_exchange *x = PERI_CONTAINER(defer, struct peri_forward, pump)->x;
    if (peri_forward_pump_request(x))
        peri_forward_pump_response(x);
}

void peri_forward_wake_reader(struct peri_exchange *x, enum peri_side side, peri_err_t err)
{
    struct peri_forward *f = x->forward;
    peri_assert(f->flow[side].is_reading);
    f->flow[side].is_reading = false;
    body_of(x, side)->high = PERI_BODY_HIGH;
    peri_chain_body_ready(x, side, err);
    peri_defer_schedule(f->server->loop, &f->pump); // the script copies the body first
}

void peri_forward_on_body_complete(struct peri_exchange *x, enum peri_side side)
{
    if (!x->forward->flow[side].is_reading)
        return;
    *length_of(x, side) = (int64_t)body_of(x, side)->queue.len;
    peri_forward_wake_reader(x, side, PERI_OK);
}

// Is the request's body, framed as the head says, on its way to an upstream?
static bool is_request_leaving(const struct peri_forward *f)
{
    return f->has_sent_body || (f->is_started && !f->is_attempt_over && !f->attempt.is_sent);
}

peri_err_t peri_forward_read_body(struct peri_exchange *x, enum peri_side side, uint64_t limit)
{
    struct peri_forward *f = x->forward;
    struct peri_body *body = body_of(x, side);
    int64_t length = *length_of(x, side);
    bool is_request = side == PERI_SIDE_REQUEST;
    if (body->queue.len > limit || (length >= 0 && (uint64_t)length > limit))
        return is_request ? PERI_ERR_BODY_TOO_LARGE : PERI_ERR_RESPONSE_TOO_LARGE;
    if (body->is_ended || length == PERI_LENGTH_NONE)
        return PERI_OK;
    bool is_kept = f->flow[side].is_hook_running && !f->has_sent_body; // by the hook that reads
    if (is_request ? is_request_leaving(f) && !is_kept : f->has_sent_head)
        return PERI_ERR_CLOSED; // part of it is gone
    if (!f->flow[side].is_reading || limit > f->flow[side].read_limit)
        f->flow[side].read_limit = limit; // each reader looks at its own in the end
    f->flow[side].is_reading = true;
    body->high = SIZE_MAX;
    if (is_request)
        peri_forward_invite_body(x);
    else if (f->is_started && !f->is_attempt_over)
        peri_attempt_pause(&f->attempt, false);
    return PERI_ERR_AGAIN;
}

peri_err_t peri_forward_set_body(struct peri_exchange *x, enum peri_side side, struct peri_slice data)
{
    struct peri_forward *f = x->forward;
    if (side == PERI_SIDE_REQUEST ? is_request_leaving(f) : f->has_sent_head)
        return PERI_ERR_CLOSED;
    peri_err_t err = peri_body_set(body_of(x, side), data);
    if (err != PERI_OK)
        return err;
    f->flow[side].is_replaced = true;
    *length_of(x, side) = data.len > 0 || side == PERI_SIDE_RESPONSE ? (int64_t)data.len : PERI_LENGTH_NONE;
    return PERI_OK;
}

void peri_forward_limit_body(struct peri_exchange *x, uint64_t limit)
{
    if (limit < x->forward->body_limit)
        x->forward->body_limit = limit;
}

bool peri_forward_is_too_large(const struct peri_exchange *x)
{
    const struct peri_forward *f = x->forward;
    bool is_larger = x->req.content_length > 0 && (uint64_t)x->req.content_length > f->body_limit;
    return is_larger && !f->flow[PERI_SIDE_REQUEST].is_replaced;
}
