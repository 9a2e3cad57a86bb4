// SPDX-License-Identifier: MIT
// The life of a client connection that speaks HTTP/1.x:
//
//   idle --first byte--> reading a head --head--> exchange --both sides complete--> idle | close
//                            | error: answer, close gently
//
// The exchange is let go when the owner released it and the request was read to its end (or the connection closes). Bytes
// of the next request wait in `ahead`; reading stops when more than PERI_AHEAD_MAX of them wait.
//
// A client may end its direction behind its last request and still read (RFC 9112 9.6): it gets its responses, then the
// connection closes. In the middle of a request that end is the end of the exchange. A client that has gone altogether looks
// the same until something is written to it: after PERI_LEAVING_MS without that it counts as gone.
#include "downstream/connection.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/buf.h"
#include "codec/h1.h"
#include "downstream/forwarded.h"
#include "downstream/preface.h"
#include "event/loop.h"
#include "event/stream.h"
#include "event/timer.h"
#include "exchange/exchange.h"
#include "shared/metrics.h"

#define PERI_AHEAD_MAX (64 * 1024)  ///< bytes of pipelined requests that may wait
#define PERI_DRAIN_BODY (64 * 1024) ///< unread request body that is read and dropped to keep a connection
#define PERI_LINGER_MS 2000         ///< how long a peer is read out after its last response
#define PERI_CLOSE_MS 30000         ///< how long a slow reader has for the end of its last response

#define PERI_LEAVING_MS 5000 ///< how long a client that sends no more is believed to wait for a response

enum wait { WAIT_IDLE, WAIT_HEAD, WAIT_REQUEST, WAIT_STREAM, WAIT_LEAVING };

struct h1_connection {
    struct peri_connection base; ///< first: the listener's view
    struct peri_stream *stream;
    struct peri_exchange *x; ///< owned; NULL between exchanges
    struct peri_h1 h1;
    struct peri_buf ahead; ///< read, not parsed yet
    struct peri_timer timer;
    struct peri_defer resume; ///< parse what waits in `ahead`
    struct peri_client_addr peer;
    uint64_t request_end_ms; ///< when the whole request must be here; 0 for never
    uint64_t body_seen;      ///< request body bytes read
    enum wait wait;
    enum peri_h1_framing framing; ///< of the response, once its head was sent
    peri_err_t refusal;           ///< why the rest of the request is not read; PERI_OK while it is
    bool is_fresh;                ///< nothing was read yet, and it may be HTTP/2
    bool keep_alive;              ///< serve another request after this one
    bool is_parsing;              ///< inside peri_h1_feed
    bool is_request_done;         ///< the request was read to its end
    bool is_response_done;        ///< the response was handed to the stream completely
    bool is_released;             ///< the owner is finished with x
    bool has_head;                ///< the response head was sent
    bool has_end;                 ///< the client ended its direction: nothing follows what waits in `ahead`
    bool is_given_up;             ///< the owner knows that the client side is gone
    bool is_paused;               ///< the owner wants no body now
    bool is_stopped;              ///< reading is stopped
    bool is_closing;              ///< no exchange follows
};

static struct h1_connection *of(struct peri_exchange *x)
{
    return x->client_data;
}

static bool is_tunnel(const struct h1_connection *c)
{
    return c->framing == PERI_H1_TUNNEL;
}

// Has everything been taken from a client that sends no more?
static bool connection_is_read_out(const struct h1_connection *c)
{
    return c->has_end && c->ahead.len == 0;
}

// ---- timeouts ----

static void connection_wait(struct h1_connection *c, enum wait wait)
{
    const struct peri_listener_settings *s = c->base.home->settings;
    uint64_t ms = 0;
    c->wait = wait;
    switch (wait) {
    case WAIT_IDLE: ms = s->idle_ms; break;
    case WAIT_HEAD: ms = s->headers_ms; break;
    case WAIT_REQUEST:
    case WAIT_STREAM: ms = s->stream_idle_ms; break;
    case WAIT_LEAVING: ms = PERI_LEAVING_MS; break;
    }
    if (wait == WAIT_REQUEST && c->request_end_ms != 0) {
        uint64_t now = peri_loop_now_ms(c->base.home->loop);
        uint64_t rest = c->request_end_ms > now ? c->request_end_ms - now : 0;
        if (ms == 0 || rest < ms)
            ms = rest ? rest : 1;
    }
    if (ms > 0)
        peri_timer_start(c->base.home->loop, &c->timer, ms);
    else
        peri_timer_stop(&c->timer);
}

static void connection_progress(struct h1_connection *c)
{
    if (!c->x || c->x->state == PERI_X_IDLE)
        return;
    if (!c->is_request_done)
        connection_wait(c, WAIT_REQUEST);
    else
        connection_wait(c, c->has_end && !is_tunnel(c) ? WAIT_LEAVING : WAIT_STREAM);
}

// ---- the end ----

// Frees the connection without its stream, its exchange and what TLS said.
static void connection_dissolve(struct h1_connection *c)
{
    peri_timer_stop(&c->timer);
    peri_defer_cancel(&c->resume);
    peri_buf_close(&c->ahead);
    peri_connection_leave(&c->base);
    free(c);
}

static void connection_drop_exchange(struct h1_connection *c)
{
    struct peri_exchange *x = c->x;
    c->x = NULL;
    if (x)
        peri_exchange_free(x);
}

// Tells the owner, once, that the client side is gone. The exchange stays until it is released.
static void connection_abort(struct h1_connection *c, peri_err_t err)
{
    c->is_closing = true;
    c->keep_alive = false;
    if (!c->x || c->is_released || c->is_given_up)
        return;
    if (c->x->state == PERI_X_IDLE) { // the head was not complete: nobody else knows this exchange
        connection_drop_exchange(c);
        return;
    }
    c->is_given_up = true;
    c->x->owner->on_abort(c->x, err);
}

// Closes at once. Where the end of the connection is the end of the response, an unfinished one must not look finished.
static void connection_cut(struct h1_connection *c)
{
    if (c->framing == PERI_H1_CLOSE && !c->is_response_done)
        peri_stream_reset(c->stream);
    else
        peri_stream_close(c->stream);
}

static void connection_close(struct h1_connection *c, peri_err_t err)
{
    connection_abort(c, err);
    if (c->stream)
        connection_cut(c);
}

static void connection_close_gently(struct h1_connection *c, bool waits_for_peer)
{
    peri_debug_assert(c->stream != NULL);
    c->is_closing = true;
    peri_timer_stop(&c->timer);
    peri_stream_close_gently(c->stream, waits_for_peer ? PERI_LINGER_MS : PERI_CLOSE_MS, waits_for_peer);
}

// ---- answering without the owner: the request never became one ----

// A head that cannot be trusted is answered here, in the one form that needs no request.
static void connection_refuse(struct h1_connection *c, peri_err_t err)
{
    const struct peri_err_info *info = peri_err_info(err);
    char body[256];
    char head[512];
    int body_len =
        snprintf(body, sizeof(body), "{\"type\":\"urn:perigee:%s\",\"title\":\"%s\",\"status\":%d,\"detail\":\"%s\"}",
                 info->name, peri_status_text(info->status), info->status, info->text);
    int head_len = snprintf(head, sizeof(head),
                            "HTTP/1.1 %d %s\r\ncontent-type: application/problem+json\r\ncontent-length: %d\r\n"
                            "connection: close\r\n\r\n",
                            info->status, peri_status_text(info->status), body_len);
    peri_stream_write(c->stream, peri_slice(head, (size_t)head_len));
    peri_stream_write(c->stream, peri_slice(body, (size_t)body_len));
}

// The end of a connection whose request is not read on: an answer when none was begun.
static void connection_end_refused(struct h1_connection *c)
{
    bool has_head = c->x && c->has_head;
    if (c->x && c->x->state == PERI_X_IDLE && c->base.owner->on_refused) {
        c->x->peer = c->peer;
        c->x->client_ip = peri_slice(c->x->peer.ip, c->x->peer.ip_len);
        c->x->owner_data = c->base.home->owner_data;
        c->base.owner->on_refused(c->x, c->refusal);
    }
    connection_drop_exchange(c);
    if (has_head && c->framing == PERI_H1_CLOSE && !c->is_response_done) {
        c->is_closing = true;
        connection_cut(c);
        return;
    }
    if (!has_head)
        connection_refuse(c, c->refusal);
    connection_close_gently(c, true);
}

// The exchange is over on both sides: free it and go on with what waits.
static void connection_finish(struct h1_connection *c)
{
    if (!c->is_released || c->is_parsing)
        return;
    if (c->is_closing) {
        connection_drop_exchange(c);
        return;
    }
    if (c->refusal != PERI_OK) {
        connection_end_refused(c);
        return;
    }
    if (!c->is_response_done || (!c->is_request_done && c->keep_alive))
        return;
    bool is_whole = c->is_request_done;
    connection_drop_exchange(c);
    if (!c->keep_alive || c->base.home->is_closing || connection_is_read_out(c)) {
        connection_close_gently(c, !is_whole);
        return;
    }
    connection_wait(c, WAIT_IDLE);
    if (c->ahead.len > 0)
        peri_defer_schedule(c->base.home->loop, &c->resume);
}

// ---- parser events ----

static bool on_begin(struct peri_h1 *h1)
{
    struct h1_connection *c = h1->data;
    peri_assert(!c->x);
    c->x = peri_exchange_new();
    if (!c->x)
        return false;
    c->is_request_done = c->is_response_done = c->is_released = false;
    c->has_head = c->is_paused = false;
    c->framing = PERI_H1_NO_BODY;
    c->body_seen = 0;
    c->x->facts.start_ns = peri_loop_now_ns(c->base.home->loop);
    peri_h1_set_request(h1, &c->x->req);
    return true;
}

static const struct peri_client_ops client_ops;

static peri_err_t on_head(struct peri_h1 *h1)
{
    struct h1_connection *c = h1->data;
    struct peri_exchange *x = c->x;
    peri_debug_assert(c->x && c->x->state == PERI_X_IDLE);
    x->tls = c->base.tls;
    x->req.scheme = c->base.tls ? PERI_SLICE("https") : PERI_SLICE("http");
    peri_err_t err = peri_connection_read_target(x);
    if (err != PERI_OK)
        return err;
    if (x->req.content_length > 0 && (uint64_t)x->req.content_length > c->base.home->settings->body_bytes)
        return PERI_ERR_BODY_TOO_LARGE;
    c->keep_alive = h1->keep_alive && !c->base.home->is_closing;
    x->client = &client_ops;
    x->client_data = c;
    x->owner = c->base.owner;
    x->owner_data = c->base.home->owner_data;
    x->peer = c->peer;
    if (x->req.content_length == 0)
        x->req.content_length = PERI_LENGTH_NONE;
    c->request_end_ms = 0;
    if (x->req.content_length != PERI_LENGTH_NONE && c->base.home->settings->request_ms > 0)
        c->request_end_ms = x->facts.start_ns / 1000000 + c->base.home->settings->request_ms;
    err = peri_forwarded_apply(x, c->base.home->settings);
    if (err != PERI_OK)
        return err;
    connection_wait(c, WAIT_REQUEST);
    peri_exchange_set_state(x, PERI_X_REQUEST);
    x->owner->on_request(x);
    return PERI_OK;
}

static peri_err_t on_body(struct peri_h1 *h1, struct peri_slice data)
{
    struct h1_connection *c = h1->data;
    peri_debug_assert(c->x && c->x->state != PERI_X_IDLE && !c->is_request_done);
    c->body_seen += data.len;
    if (c->body_seen > c->base.home->settings->body_bytes)
        return PERI_ERR_BODY_TOO_LARGE;
    c->x->facts.bytes_in += data.len;
    if (!c->is_released && !c->is_closing)
        c->x->owner->on_body(c->x, data);
    return PERI_OK;
}

static void on_end(struct peri_h1 *h1)
{
    struct h1_connection *c = h1->data;
    peri_debug_assert(c->x && !c->is_request_done);
    c->is_request_done = true;
    if (c->request_end_ms != 0) // the time for the request does not run on
        connection_wait(c, WAIT_STREAM);
    if (!c->is_released && !c->is_closing)
        c->x->owner->on_body_end(c->x);
}

static const struct peri_h1_events h1_events = {
    .on_begin = on_begin, .on_head = on_head, .on_body = on_body, .on_end = on_end};

// ---- reading ----

static void connection_set_reading(struct h1_connection *c)
{
    bool stop = c->is_paused || c->ahead.len > PERI_AHEAD_MAX;
    if (stop == c->is_stopped || c->is_closing)
        return;
    c->is_stopped = stop;
    if (stop)
        peri_stream_read_stop(c->stream);
    else
        peri_stream_read_start(c->stream);
}

// Is the connection ready for bytes of a request?
static bool connection_can_parse(const struct h1_connection *c)
{
    return !c->is_closing && !c->is_paused && c->refusal == PERI_OK && (!c->x || !c->is_request_done);
}

// The bytes cannot be a request, or not go on as one; or they do not come in time.
static void connection_on_bad(struct h1_connection *c, peri_err_t err)
{
    c->refusal = err;
    c->keep_alive = false;
    peri_timer_stop(&c->timer);
    if (c->x && c->x->state != PERI_X_IDLE && !c->is_released) {
        c->is_given_up = true;
        c->x->owner->on_abort(c->x, err); // its release ends the connection
    } else {
        connection_end_refused(c);
    }
}

static void connection_parse(struct h1_connection *c, struct peri_slice data)
{
    while (data.len > 0 && connection_can_parse(c)) {
        size_t consumed;
        c->is_parsing = true;
        peri_err_t err = peri_h1_feed(&c->h1, data, &consumed);
        c->is_parsing = false;
        data.ptr += consumed;
        data.len -= consumed;
        if (err != PERI_OK) {
            connection_on_bad(c, err);
            return;
        }
        connection_finish(c);
    }
    if (data.len > 0 && !c->is_closing && c->refusal == PERI_OK && peri_buf_put(&c->ahead, data) != PERI_OK)
        connection_close(c, PERI_ERR_NOMEM);
}

static void connection_parse_ahead(struct h1_connection *c)
{
    while (c->ahead.len > 0 && connection_can_parse(c)) {
        struct peri_slice run = peri_buf_peek(&c->ahead);
        size_t consumed;
        c->is_parsing = true;
        peri_err_t err = peri_h1_feed(&c->h1, run, &consumed);
        c->is_parsing = false;
        peri_buf_take(&c->ahead, err == PERI_OK ? consumed : c->ahead.len);
        if (err != PERI_OK) {
            connection_on_bad(c, err);
            return;
        }
        connection_finish(c);
    }
}

static void connection_give_tunnel(struct h1_connection *c, struct peri_slice data)
{
    peri_debug_assert(c->x && is_tunnel(c) && !c->is_released && !c->is_closing);
    c->x->facts.bytes_in += data.len;
    c->x->owner->on_body(c->x, data);
}

// The client sends no more: what becomes of the request that it left unfinished, or of the connection without one?
static void connection_check_end(struct h1_connection *c)
{
    if (!connection_is_read_out(c) || c->is_closing || c->refusal != PERI_OK)
        return;
    if (!c->x)
        connection_close_gently(c, false); // the end of the last response may still wait to be read
    else if (!c->is_request_done)
        connection_close(c, PERI_ERR_CLIENT_GONE);
}

static void connection_next(struct h1_connection *c)
{
    if (is_tunnel(c)) {
        while (c->ahead.len > 0 && !c->is_closing && !c->is_paused) {
            struct peri_slice run = peri_buf_peek(&c->ahead);
            connection_give_tunnel(c, run);
            peri_buf_take(&c->ahead, run.len);
        }
        if (connection_is_read_out(c) && !c->is_closing) {
            c->has_end = false; // of a tunnel it is told once
            c->x->owner->on_body_end(c->x);
        }
    } else {
        if (!c->x && c->ahead.len > 0)
            connection_wait(c, WAIT_HEAD);
        connection_parse_ahead(c);
        connection_check_end(c);
    }
    connection_set_reading(c);
}

static void on_resume(struct peri_defer *defer)
{
    struct h1_connection *c = PERI_CONTAINER(defer, struct h1_connection, resume);
    if (!c->is_closing)
        connection_next(c);
}

// The client speaks HTTP/2: this connection gives its stream away and is gone. `rest` is what came behind the preface.
static void connection_become_h2(struct h1_connection *c, struct peri_slice rest)
{
    struct peri_connection_home *home = c->base.home;
    struct peri_stream *stream = c->stream;
    struct peri_tls_info *tls = c->base.tls;
    connection_dissolve(c);
    if (!peri_connection_open_h2(home, stream, tls, true, rest))
        home->on_closed(home);
}

// Looks at the first bytes of a connection. True when `data` needs no more attention: the connection is another one now, or over, or the
// preface of HTTP/2 is not complete.
static bool connection_sniff(struct h1_connection *c, struct peri_slice data)
{
    size_t used;
    enum peri_preface preface = peri_preface_look(c->ahead.len, data, &used);
    c->is_fresh = preface == PERI_PREFACE_PART;
    switch (preface) {
    case PERI_PREFACE_HTTP1: return false;
    case PERI_PREFACE_HTTP2: connection_become_h2(c, peri_slice(data.ptr + used, data.len - used)); break;
    case PERI_PREFACE_NO_HTTP: connection_close_gently(c, false); break;
    case PERI_PREFACE_PART:
        if (c->ahead.len == 0)
            connection_wait(c, WAIT_HEAD);
        if (peri_buf_put(&c->ahead, data) != PERI_OK)
            connection_close(c, PERI_ERR_NOMEM);
    }
    return true;
}

static void on_read(struct peri_stream *stream, struct peri_slice data)
{
    struct h1_connection *c = peri_stream_data(stream);
    if (c->is_closing || c->refusal != PERI_OK || (PERI_UNLIKELY(c->is_fresh) && connection_sniff(c, data)))
        return;
    connection_progress(c);
    if (c->ahead.len > 0 || is_tunnel(c)) {
        if (is_tunnel(c) && c->ahead.len == 0 && !c->is_paused) {
            connection_give_tunnel(c, data);
            return;
        }
        if (peri_buf_put(&c->ahead, data) != PERI_OK) {
            connection_close(c, PERI_ERR_NOMEM);
            return;
        }
        connection_next(c);
    } else {
        connection_parse(c, data);
    }
    if (c->x && c->x->state == PERI_X_IDLE && c->wait == WAIT_IDLE)
        connection_wait(c, WAIT_HEAD); // the head did not come in one piece: it has its time from now on
    connection_set_reading(c);
}

static void on_stream_end(struct peri_stream *stream, peri_err_t err)
{
    struct h1_connection *c = peri_stream_data(stream);
    if (c->is_closing)
        return;
    if (err != PERI_OK) {
        connection_close(c, PERI_ERR_CLIENT_GONE);
        return;
    }
    c->has_end = true;
    connection_next(c);
    if (!c->is_closing)
        connection_progress(c);
}

static void on_stream_drain(struct peri_stream *stream)
{
    struct h1_connection *c = peri_stream_data(stream);
    connection_progress(c);
    if (c->x && !c->is_released && !c->is_closing)
        c->x->owner->on_client_drain(c->x);
}

// The stream is gone; the connection goes with it once its exchange is released.
static void connection_free(struct h1_connection *c)
{
    struct peri_connection_home *home = c->base.home;
    peri_debug_assert(!c->x && !c->stream);
    free(c->base.tls);
    connection_dissolve(c);
    home->on_closed(home);
}

static void on_stream_close(struct peri_stream *stream)
{
    struct h1_connection *c = peri_stream_data(stream);
    peri_debug_assert(c->stream == stream);
    if (!c->is_closing)
        connection_abort(c, PERI_ERR_CLIENT_GONE);
    c->stream = NULL; // from here on a release frees the connection
    if (c->x && c->is_released)
        connection_drop_exchange(c);
    if (!c->x)
        connection_free(c);
}

static const struct peri_stream_events stream_events = {
    .on_read = on_read, .on_end = on_stream_end, .on_drain = on_stream_drain, .on_close = on_stream_close};

static void on_timeout(struct peri_timer *timer)
{
    struct h1_connection *c = PERI_CONTAINER(timer, struct h1_connection, timer);
    if (c->is_closing)
        return;
    if (c->wait == WAIT_IDLE)
        connection_close_gently(c, false);
    else if (c->wait == WAIT_LEAVING && peri_stream_pending(c->stream) > 0)
        connection_wait(c, WAIT_STREAM); // it reads slowly, or the next write to it fails
    else if (c->wait == WAIT_LEAVING)
        connection_close(c, PERI_ERR_CLIENT_GONE);
    else
        connection_on_bad(c, c->x && c->is_request_done ? PERI_ERR_IDLE_TIMEOUT : PERI_ERR_REQUEST_TIMEOUT);
}

// ---- the client side of an exchange ----

// Will the request come to its end by itself soon enough to keep the connection?
static bool connection_request_ends_soon(const struct h1_connection *c)
{
    if (c->is_request_done)
        return true;
    if (c->x->req.expects_continue)
        return false;
    if (c->x->req.content_length == PERI_LENGTH_NONE)
        return true; // the parser is about to say so
    int64_t rest = c->x->req.content_length - (int64_t)c->body_seen;
    return c->x->req.content_length >= 0 && rest <= PERI_DRAIN_BODY;
}

static struct peri_h1_head connection_frame(struct h1_connection *c, bool ends)
{
    const struct peri_exchange *x = c->x;
    const struct peri_response *res = &x->res;
    struct peri_h1_head head = {.framing = PERI_H1_LENGTH, .length = res->content_length};
    bool has_no_body = x->req.method == PERI_METHOD_HEAD || res->status == 204 || res->status == 304;
    if (res->is_upgrade) {
        head.framing = PERI_H1_TUNNEL;
    } else if (has_no_body) {
        head.framing = PERI_H1_NO_BODY;
        if (res->status == 204)
            head.length = -1;
    } else if (ends) {
        head.length = 0;
    } else if (res->content_length < 0 && x->req.version >= 11) {
        head.framing = PERI_H1_CHUNKED;
    } else if (res->content_length < 0) {
        head.framing = PERI_H1_CLOSE;
        c->keep_alive = false;
    }
    return head;
}

static void client_send_head(struct peri_exchange *x, bool ends)
{
    struct h1_connection *c = of(x);
    peri_debug_assert(c->x == x && !c->is_given_up && !c->has_head);
    if (c->base.home->is_closing || connection_is_read_out(c) || !connection_request_ends_soon(c))
        c->keep_alive = false;
    struct peri_h1_head head = connection_frame(c, ends);
    head.close = !c->keep_alive && head.framing != PERI_H1_TUNNEL;
    head.say_keep_alive = c->keep_alive && x->req.version == 10;
    c->framing = head.framing;
    c->has_head = true;
    size_t size = peri_h1_response_size(&x->res);
    char *room = size <= PERI_STREAM_RESERVE ? peri_stream_reserve(c->stream, size) : NULL;
    if (room) {
        char *end = peri_h1_write_response(room, &x->res, &head);
        peri_stream_commit(c->stream, (size_t)(end - room));
    } else {
        char *text = malloc(size);
        if (text) {
            char *end = peri_h1_write_response(text, &x->res, &head);
            peri_stream_write(c->stream, peri_slice(text, (size_t)(end - text)));
            free(text);
        } else {
            peri_stream_close(c->stream);
        }
    }
    if (is_tunnel(c))
        peri_defer_schedule(c->base.home->loop, &c->resume);
}

static void client_send_interim(struct peri_exchange *x, int status, const struct peri_headers *headers)
{
    struct h1_connection *c = of(x);
    peri_debug_assert(c->x == x && !c->is_given_up);
    if (x->req.version < 11 || c->has_head)
        return;
    size_t size = peri_h1_interim_size(headers);
    char *room = size <= PERI_STREAM_RESERVE ? peri_stream_reserve(c->stream, size) : NULL;
    if (!room)
        return; // interim responses are advice; a client that does not read gets none
    peri_stream_commit(c->stream, (size_t)(peri_h1_write_interim(room, status, headers) - room));
    if (status == 100)
        x->req.expects_continue = false;
}

static bool client_send_body(struct peri_exchange *x, struct peri_slice data)
{
    struct h1_connection *c = of(x);
    peri_debug_assert(c->x == x && !c->is_given_up && c->has_head && !c->is_response_done);
    if (data.len == 0)
        return peri_stream_pending(c->stream) < PERI_STREAM_HIGH;
    x->facts.bytes_out += data.len;
    connection_progress(c);
    if (x->req.method == PERI_METHOD_HEAD)
        return true;
    if (c->framing == PERI_H1_CHUNKED) {
        char line[PERI_H1_CHUNK_HEAD];
        char *end = peri_h1_write_chunk(line, data.len);
        peri_stream_write(c->stream, peri_slice(line, (size_t)(end - line)));
    }
    peri_stream_write(c->stream, data);
    if (c->framing == PERI_H1_CHUNKED)
        peri_stream_write(c->stream, PERI_SLICE("\r\n"));
    return peri_stream_pending(c->stream) < PERI_STREAM_HIGH;
}

static void client_send_end(struct peri_exchange *x)
{
    struct h1_connection *c = of(x);
    peri_debug_assert(c->x == x && !c->is_given_up && c->has_head && !c->is_response_done);
    c->is_response_done = true;
    if (is_tunnel(c)) {
        c->keep_alive = false;
        peri_stream_shutdown(c->stream);
    } else if (c->framing == PERI_H1_CHUNKED) {
        size_t size = peri_h1_last_size(&x->res.trailers);
        char *text = peri_arena_alloc(&x->arena, size);
        if (!text) {
            peri_stream_close(c->stream);
            return;
        }
        char *end = peri_h1_write_last(text, &x->res.trailers);
        peri_stream_write(c->stream, peri_slice(text, (size_t)(end - text)));
    }
}

static void client_pause_body(struct peri_exchange *x, bool paused)
{
    struct h1_connection *c = of(x);
    if (c->is_paused == paused)
        return;
    c->is_paused = paused;
    if (!paused)
        peri_defer_schedule(c->base.home->loop, &c->resume);
    else if (!c->is_parsing)
        connection_set_reading(c);
}

static void client_reset(struct peri_exchange *x, peri_err_t err)
{
    struct h1_connection *c = of(x);
    peri_debug_assert(c->x == x && !c->is_given_up);
    PERI_UNUSED(err);
    c->is_closing = c->is_given_up = true;
    c->keep_alive = false;
    connection_cut(c);
}

static void client_release(struct peri_exchange *x)
{
    struct h1_connection *c = of(x);
    peri_assert(!c->is_released);
    c->is_released = true;
    if (c->is_paused)
        client_pause_body(x, false);
    if (!c->is_parsing && !c->stream) {
        connection_drop_exchange(c);
        connection_free(c);
        return;
    }
    connection_finish(c);
}

static const struct peri_client_ops client_ops = {
    .send_interim = client_send_interim,
    .send_head = client_send_head,
    .send_body = client_send_body,
    .send_end = client_send_end,
    .pause_body = client_pause_body,
    .reset = client_reset,
    .release = client_release,
};

// ---- the listener's view ----

static void on_drain_asked(struct peri_connection *base)
{
    struct h1_connection *c = PERI_CONTAINER(base, struct h1_connection, base);
    if (c->is_closing)
        return;
    c->keep_alive = false;
    if (!c->x)
        connection_close_gently(c, false);
}

static void on_close_asked(struct peri_connection *base, peri_err_t err)
{
    connection_close(PERI_CONTAINER(base, struct h1_connection, base), err);
}

// What was just opened has its first request on the way.
static void on_leave_asked(struct peri_connection *base)
{
    struct h1_connection *c = PERI_CONTAINER(base, struct h1_connection, base);
    if (!c->x && !c->is_closing && c->is_response_done && c->ahead.len == 0)
        connection_close_gently(c, false);
}

static const struct peri_connection_ops connection_ops = {
    .drain = on_drain_asked, .close = on_close_asked, .leave = on_leave_asked};

bool peri_connection_open(struct peri_connection_home *home, struct peri_stream *stream, struct peri_tls_info *tls)
{
    struct h1_connection *c = calloc(1, sizeof(*c));
    if (!c) {
        free(tls);
        peri_connection_discard(stream);
        return false;
    }
    c->stream = stream;
    c->base.tls = tls;
    c->is_fresh = !tls;
    peri_buf_init(&c->ahead);
    peri_timer_init(&c->timer, on_timeout);
    peri_defer_init(&c->resume, on_resume);
    peri_h1_init(&c->h1, PERI_H1_SERVER, &home->limits, &h1_events, c);
    peri_stream_peer(stream, c->peer.ip, &c->peer.port);
    c->peer.ip_len = (uint8_t)strlen(c->peer.ip);
    peri_connection_enter(&c->base, home, &connection_ops);
    peri_stream_set_owner(stream, &stream_events, c);
    connection_wait(c, WAIT_IDLE);
    peri_stream_read_start(stream);
    return true;
}
