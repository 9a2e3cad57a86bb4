// SPDX-License-Identifier: MIT
// A client connection that speaks HTTP/2: every stream is an exchange, and the connection is the session they share.
//
//   bytes -> peri_h2_feed -> on_begin: exchange -> on_head: owner->on_request … on_body … on_end
//   client ops -> peri_h2_send_* -> on_output -> flush: deliver, pull -> bytes
//
// A stream and its exchange end apart: the exchange when its owner releases it, the stream when both messages are complete. The
// connection ends when the session is over, and its memory goes with the last exchange.
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "codec/h2.h"
#include "codec/websocket.h"
#include "downstream/connection.h"
#include "downstream/forwarded.h"
#include "event/loop.h"
#include "event/stream.h"
#include "event/timer.h"
#include "event/tls.h"
#include "exchange/exchange.h"
#include "shared/metrics.h"

#define DRAIN_MS 100   ///< between the warning and the last GOAWAY: requests on their way arrive
#define LINGER_MS 2000 ///< how long a peer is read out after the last frame

struct h2_connection {
    struct peri_connection link; ///< first: the listener's view
    struct peri_stream *stream;  ///< NULL once closed
    struct peri_h2 *h2;          ///< NULL once closing
    struct peri_list requests;   ///< exchanges that were not released
    uint32_t request_count;
    struct peri_defer flush;
    struct peri_timer timer; ///< idle, or between two GOAWAYs
    struct peri_client_addr peer;
    bool is_draining;
    bool is_closing;
};

// One exchange's client side; in the arena of the exchange.
struct h2_request {
    struct peri_list link; ///< in connection->requests
    struct h2_connection *c;
    struct peri_exchange *x;
    struct peri_h2_stream *stream; ///< NULL once it is gone
    struct peri_timer timer;
    uint64_t request_end_ms; ///< when the whole request must be here; 0 for never
    uint64_t body_seen;
    bool has_head;         ///< the response head was sent
    bool is_request_done;  ///< the request was read to its end
    bool is_response_done; ///< the response was given to the codec completely
};

static struct h2_request *of(struct peri_exchange *x)
{
    return x->client_data;
}

static struct peri_loop *loop_of(const struct h2_connection *c)
{
    return c->link.home->loop;
}

static const struct peri_listener_settings *settings_of(const struct h2_connection *c)
{
    return c->link.home->settings;
}

// ---- the end ----

static void connection_free(struct h2_connection *c)
{
    struct peri_connection_home *home = c->link.home;
    peri_timer_stop(&c->timer);
    peri_defer_cancel(&c->flush);
    free(c->link.tls);
    peri_connection_leave(&c->link);
    free(c);
    home->on_closed(home);
}

static void connection_check_gone(struct h2_connection *c)
{
    if (!c->stream && peri_list_is_empty(&c->requests))
        connection_free(c);
}

// Every exchange learns that its client is gone; the stream is closed by the caller.
static void connection_end_session(struct h2_connection *c)
{
    struct peri_h2 *h2 = c->h2;
    c->is_closing = true;
    c->h2 = NULL;
    peri_timer_stop(&c->timer);
    peri_h2_free(h2);
}

static void connection_close(struct peri_connection *link, peri_err_t err)
{
    struct h2_connection *c = PERI_CONTAINER(link, struct h2_connection, link);
    PERI_UNUSED(err);
    if (c->h2)
        connection_end_session(c);
    if (c->stream)
        peri_stream_close(c->stream);
}

static void connection_wait_idle(struct h2_connection *c)
{
    if (settings_of(c)->idle_ms > 0 && !c->is_draining)
        peri_timer_start(loop_of(c), &c->timer, settings_of(c)->idle_ms);
}

static void connection_drain(struct peri_connection *link)
{
    struct h2_connection *c = PERI_CONTAINER(link, struct h2_connection, link);
    if (c->is_closing || c->is_draining)
        return;
    c->is_draining = true;
    peri_h2_drain(c->h2, false);
    peri_timer_start(loop_of(c), &c->timer, DRAIN_MS);
}

// Nothing is under way any more.
static void connection_rest(struct h2_connection *c)
{
    if (c->link.home->is_closing)
        connection_drain(&c->link);
    else
        connection_wait_idle(c);
}

static void on_timer(struct peri_timer *timer)
{
    struct h2_connection *c = PERI_CONTAINER(timer, struct h2_connection, timer);
    c->is_draining = true;
    peri_h2_drain(c->h2, true);
}

// ---- timeouts of a request ----

static void request_wait(struct h2_request *r)
{
    uint64_t ms = settings_of(r->c)->stream_idle_ms;
    if (!r->is_request_done && r->request_end_ms != 0) {
        uint64_t now = peri_loop_now_ms(loop_of(r->c));
        uint64_t rest = r->request_end_ms > now ? r->request_end_ms - now : 1;
        if (ms == 0 || rest < ms)
            ms = rest;
    }
    if (ms > 0)
        peri_timer_start(loop_of(r->c), &r->timer, ms);
    else
        peri_timer_stop(&r->timer);
}

static void request_free(struct h2_request *r)
{
    struct h2_connection *c = r->c;
    struct peri_exchange *x = r->x;
    peri_timer_stop(&r->timer);
    peri_list_remove(&r->link);
    peri_exchange_free(x);
    if (--c->request_count == 0 && !c->is_closing)
        connection_rest(c);
    connection_check_gone(c);
}

// Answers in the name of the proxy on a stream without an owner, and lets it go.
static void stream_refuse(struct peri_h2_stream *stream, peri_err_t err)
{
    const struct peri_err_info *info = peri_err_info(err);
    struct peri_arena arena;
    char body[256];
    int len =
        snprintf(body, sizeof(body), "{\"type\":\"urn:perigee:%s\",\"title\":\"%s\",\"status\":%d,\"detail\":\"%s\"}",
                 info->name, peri_status_text(info->status), info->status, info->text);
    peri_arena_init(&arena, 4096);
    struct peri_response res = {.status = info->status, .content_length = len};
    peri_headers_init(&res.headers, &arena);
    peri_headers_append_known(&res.headers, PERI_H_CONTENT_TYPE, PERI_SLICE("application/problem+json"));
    peri_h2_send_head(stream, &res, false);
    peri_h2_send_body(stream, peri_slice(body, (size_t)len));
    peri_h2_send_end(stream, NULL);
    peri_h2_release(stream);
    peri_arena_close(&arena);
}

static void request_take_away(struct h2_request *r, peri_err_t err)
{
    peri_timer_stop(&r->timer);
    r->stream = NULL;
    r->x->owner->on_abort(r->x, err);
}

static void on_request_timeout(struct peri_timer *timer)
{
    struct h2_request *r = PERI_CONTAINER(timer, struct h2_request, timer);
    struct peri_h2_stream *stream = r->stream;
    bool has_head = r->has_head;
    if (r->x->state == PERI_X_IDLE) { // a block of headers that does not end
        request_free(r);
        peri_h2_reset(stream, PERI_ERR_REQUEST_TIMEOUT);
        return;
    }
    bool is_sent = r->is_request_done || r->x->req.upgrade.len > 0;
    peri_err_t err = is_sent ? PERI_ERR_IDLE_TIMEOUT : PERI_ERR_REQUEST_TIMEOUT;
    request_take_away(r, err);
    if (!stream)
        return;
    if (has_head)
        peri_h2_reset(stream, err);
    else
        stream_refuse(stream, err);
}

// ---- what the codec tells ----

static bool on_begin(struct peri_h2_stream *stream)
{
    struct h2_connection *c = peri_h2_data(stream->h2);
    struct peri_exchange *x = peri_exchange_new();
    struct h2_request *r = x ? peri_arena_zalloc(&x->arena, sizeof(*r)) : NULL;
    if (!r) {
        if (x)
            peri_exchange_free(x);
        return false;
    }
    *r = (struct h2_request){.c = c, .x = x, .stream = stream};
    peri_timer_init(&r->timer, on_request_timeout);
    peri_list_append(&c->requests, &r->link);
    c->request_count++;
    peri_timer_stop(&c->timer);
    x->client_data = r;
    x->facts.start_ns = peri_loop_now_ns(loop_of(c));
    peri_h2_stream_set_request(stream, r, &x->req);
    if (settings_of(c)->headers_ms > 0)
        peri_timer_start(loop_of(c), &r->timer, settings_of(c)->headers_ms);
    return true;
}

static const struct peri_client_ops client_ops;

static void request_dress(struct h2_request *r)
{
    struct peri_exchange *x = r->x;
    struct peri_connection_home *home = r->c->link.home;
    x->client = &client_ops;
    x->owner = r->c->link.owner;
    x->owner_data = home->owner_data;
    x->peer = r->c->peer;
    x->client_ip = peri_slice(x->peer.ip, x->peer.ip_len);
    x->tls = r->c->link.tls;
    x->req.scheme = r->c->link.tls ? PERI_SLICE("https") : PERI_SLICE("http");
}

// The head as everybody else expects it; or why not.
static peri_err_t request_read(struct h2_request *r)
{
    struct peri_exchange *x = r->x;
    const struct peri_listener_settings *s = settings_of(r->c);
    if (r->stream->block.err != PERI_OK)
        return r->stream->block.err;
    if (x->req.target.len > s->uri_bytes)
        return PERI_ERR_URI_TOO_LONG;
    peri_err_t err = peri_connection_read_target(x);
    if (err != PERI_OK)
        return err;
    if (x->req.content_length > 0 && (uint64_t)x->req.content_length > s->body_bytes)
        return PERI_ERR_BODY_TOO_LARGE;
    return peri_forwarded_apply(x, s);
}

// What asks for a WebSocket goes on as in HTTP/1.1, with a key of ours. Nothing of the client's passes before the tunnel is open
// (security.md row 10).
static peri_err_t request_make_tunnel(struct h2_request *r)
{
    char key[PERI_WEBSOCKET_KEY];
    peri_err_t err = peri_websocket_make_key(key);
    if (err != PERI_OK)
        return err;
    peri_h2_pause(r->stream, true);
    return peri_headers_set(&r->x->req.headers, PERI_SLICE("sec-websocket-key"), peri_slice(key, sizeof(key)));
}

static void request_refuse(struct h2_request *r, peri_err_t err)
{
    struct peri_h2_stream *stream = r->stream;
    if (r->x->owner->on_refused)
        r->x->owner->on_refused(r->x, err);
    request_free(r);
    stream_refuse(stream, err);
}

static void on_head(struct peri_h2_stream *stream, bool ends)
{
    struct h2_request *r = stream->data;
    struct peri_exchange *x = r->x;
    request_dress(r);
    r->is_request_done = ends;
    peri_err_t err = request_read(r);
    if (err == PERI_OK && stream->is_tunnel)
        err = request_make_tunnel(r);
    if (err != PERI_OK) {
        request_refuse(r, err);
        return;
    }
    if (!ends && settings_of(r->c)->request_ms > 0 && x->req.upgrade.len == 0)
        r->request_end_ms = x->facts.start_ns / 1000000 + settings_of(r->c)->request_ms;
    request_wait(r);
    peri_exchange_set_state(x, PERI_X_REQUEST);
    x->owner->on_request(x);
    if (ends && stream->data == r)
        x->owner->on_body_end(x);
}

static void on_body(struct peri_h2_stream *stream, struct peri_slice data)
{
    struct h2_request *r = stream->data;
    r->body_seen += data.len;
    if (r->body_seen > settings_of(r->c)->body_bytes && !stream->is_tunnel) {
        bool has_head = r->has_head;
        request_take_away(r, PERI_ERR_BODY_TOO_LARGE);
        if (has_head)
            peri_h2_reset(stream, PERI_ERR_BODY_TOO_LARGE);
        else
            stream_refuse(stream, PERI_ERR_BODY_TOO_LARGE);
        return;
    }
    r->x->facts.bytes_in += data.len;
    request_wait(r);
    r->x->owner->on_body(r->x, data);
}

static void on_end(struct peri_h2_stream *stream)
{
    struct h2_request *r = stream->data;
    r->is_request_done = true;
    request_wait(r);
    r->x->owner->on_body_end(r->x);
}

static void on_drain(struct peri_h2_stream *stream)
{
    struct h2_request *r = stream->data;
    request_wait(r);
    if (!r->is_response_done)
        r->x->owner->on_client_drain(r->x);
}

static void on_reset(struct peri_h2_stream *stream, peri_err_t err)
{
    struct h2_request *r = stream->data;
    r->stream = NULL;
    if (r->x->state == PERI_X_IDLE) { // the head was not complete, or cannot be read: nobody else knows this exchange
        if (err != PERI_ERR_CLOSED && r->c->link.owner->on_refused) {
            request_dress(r);
            r->x->owner->on_refused(r->x, err);
        }
        request_free(r);
        return;
    }
    request_take_away(r, PERI_ERR_CLIENT_GONE);
}

static void on_output(struct peri_h2 *h2)
{
    struct h2_connection *c = peri_h2_data(h2);
    peri_defer_schedule(loop_of(c), &c->flush);
}

static const struct peri_h2_events h2_events = {
    .on_begin = on_begin,
    .on_head = on_head,
    .on_body = on_body,
    .on_end = on_end,
    .on_drain = on_drain,
    .on_reset = on_reset,
    .on_output = on_output,
};

// ---- bytes ----

static void connection_flush(struct h2_connection *c)
{
    if (c->is_closing || !c->stream)
        return;
    peri_h2_flush(c->h2, c->stream);
    if (peri_h2_is_over(c->h2)) {
        connection_end_session(c);
        peri_stream_close_gently(c->stream, LINGER_MS, true);
    }
}

static void on_flush(struct peri_defer *defer)
{
    connection_flush(PERI_CONTAINER(defer, struct h2_connection, flush));
}

static void on_read(struct peri_stream *stream, struct peri_slice data)
{
    struct h2_connection *c = peri_stream_data(stream);
    if (!c->is_closing)
        peri_h2_feed(c->h2, data, peri_loop_now_ms(loop_of(c))); // an error is said and ends the session at the flush
}

static void on_stream_end(struct peri_stream *stream, peri_err_t err)
{
    struct h2_connection *c = peri_stream_data(stream);
    connection_close(&c->link, err);
}

static void on_stream_drain(struct peri_stream *stream)
{
    connection_flush(peri_stream_data(stream));
}

static void on_stream_close(struct peri_stream *stream)
{
    struct h2_connection *c = peri_stream_data(stream);
    if (c->h2)
        connection_end_session(c);
    c->stream = NULL;
    connection_check_gone(c);
}

static const struct peri_stream_events stream_events = {
    .on_read = on_read, .on_end = on_stream_end, .on_drain = on_stream_drain, .on_close = on_stream_close};

// ---- the client side of an exchange ----

static void client_send_interim(struct peri_exchange *x, int status, const struct peri_headers *headers)
{
    struct h2_request *r = of(x);
    if (r->has_head)
        return;
    peri_h2_send_interim(r->stream, status, headers);
    if (status == 100)
        x->req.expects_continue = false;
}

static void client_send_head(struct peri_exchange *x, bool ends)
{
    struct h2_request *r = of(x);
    bool is_head = x->req.method == PERI_METHOD_HEAD || x->res.status == 204 || x->res.status == 304;
    r->has_head = true;
    if (ends && !is_head)
        x->res.content_length = x->facts.grpc ? PERI_LENGTH_NONE : 0; // "trailers-only" has no length
    if (x->res.status == 204)
        x->res.content_length = PERI_LENGTH_NONE;
    peri_h2_send_head(r->stream, &x->res, (ends || is_head) && !x->res.is_upgrade);
    if (x->res.is_upgrade)
        peri_h2_pause(r->stream, false); // what came early passes now
}

static bool client_send_body(struct peri_exchange *x, struct peri_slice data)
{
    struct h2_request *r = of(x);
    x->facts.bytes_out += data.len;
    request_wait(r);
    if (x->req.method == PERI_METHOD_HEAD)
        return true;
    return peri_h2_send_body(r->stream, data);
}

static void client_send_end(struct peri_exchange *x)
{
    struct h2_request *r = of(x);
    r->is_response_done = true;
    peri_h2_send_end(r->stream, &x->res.trailers);
}

static void client_pause_body(struct peri_exchange *x, bool paused)
{
    struct h2_request *r = of(x);
    bool is_early = r->stream->is_tunnel && !r->has_head;
    peri_h2_pause(r->stream, paused || is_early);
}

static void client_reset(struct peri_exchange *x, peri_err_t err)
{
    struct h2_request *r = of(x);
    peri_timer_stop(&r->timer);
    peri_h2_reset(r->stream, err);
    r->stream = NULL;
}

static void client_release(struct peri_exchange *x)
{
    struct h2_request *r = of(x);
    if (r->stream)
        peri_h2_release(r->stream);
    request_free(r);
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

// ---- opening ----

static void connection_leave(struct peri_connection *link)
{
    struct h2_connection *c = PERI_CONTAINER(link, struct h2_connection, link);
    if (c->request_count == 0)
        connection_drain(link); // a request that is on its way is still answered
}

static const struct peri_connection_ops connection_ops = {
    .drain = connection_drain, .close = connection_close, .leave = connection_leave};

static struct peri_h2 *session_new(struct h2_connection *c)
{
    const struct peri_listener_settings *s = settings_of(c);
    struct peri_h2_limits limits = {
        .header_bytes = s->header_bytes,
        .headers = s->headers,
        .streams = s->streams,
        .allow_underscores = s->allow_underscores,
    };
    return peri_h2_new(PERI_H2_SERVER, &limits, &h2_events, c);
}

bool peri_connection_open_h2(struct peri_connection_home *home, struct peri_stream *stream, struct peri_tls_info *tls,
                             bool has_preface, struct peri_slice rest)
{
    struct h2_connection *c = calloc(1, sizeof(*c));
    if (c) {
        c->link.home = home;
        c->h2 = session_new(c);
    }
    if (!c || !c->h2) {
        free(c);
        free(tls);
        peri_connection_discard(stream);
        return false;
    }
    c->stream = stream;
    c->link.tls = tls;
    peri_list_init(&c->requests);
    peri_timer_init(&c->timer, on_timer);
    peri_defer_init(&c->flush, on_flush);
    peri_stream_peer(stream, c->peer.ip, &c->peer.port);
    c->peer.ip_len = (uint8_t)strlen(c->peer.ip);
    peri_connection_enter(&c->link, home, &connection_ops);
    peri_stream_set_owner(stream, &stream_events, c);
    connection_wait_idle(c);
    peri_stream_read_start(stream);
    peri_defer_schedule(home->loop, &c->flush);
    if (has_preface) {
        on_read(stream, PERI_SLICE(PERI_H2_PREFACE));
        on_read(stream, rest);
    }
    return true;
}
