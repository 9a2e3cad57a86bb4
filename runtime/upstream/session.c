// SPDX-License-Identifier: MIT
// Attempts on streams. A session serves as long as its peer takes streams; then it finishes those it has and closes.
//
//   begin -> open a stream for each attempt … -> GOAWAY, too old, idle -> no more streams -> closed
#include "upstream/session.h"

#include <stdlib.h>

#include "base/assert.h"
#include "codec/h2.h"
#include "codec/websocket.h"
#include "event/loop.h"
#include "event/stream.h"
#include "upstream/attempt.h"
#include "upstream/connection.h"

#define DOUBT_MS 10 // silence that is no round trip

static const struct peri_h2_limits limits = {
    .header_bytes = 60 * 1024, .headers = 200, .streams = 1000, .allow_underscores = true};

static struct peri_loop *loop_of(const struct peri_upstream_connection *c)
{
    return peri_pool_loop(c->pool);
}

// ---- what the codec tells of a stream ----

// The attempt needs its stream no more; the connection may be idle now.
static void attempt_detach(struct peri_attempt *attempt)
{
    struct peri_upstream_connection *c = attempt->connection;
    attempt->stream = NULL;
    attempt->connection = NULL;
    c->streams--;
    if (c->streams == 0)
        peri_timer_start(loop_of(c), &c->timer, peri_pool_settings_of(c->pool)->idle_ms);
    peri_defer_schedule(loop_of(c), &c->flush);
}

static void attempt_end(struct peri_attempt *attempt)
{
    struct peri_h2_stream *stream = attempt->stream;
    attempt_detach(attempt);
    if (attempt->is_sent)
        peri_h2_release(stream);
    else
        peri_h2_reset(stream, PERI_OK); // the rest of the request is not wanted any more
    attempt->events->on_end(attempt);
}

// A tunnel was opened: in HTTP/1.1 the server would prove that it means WebSocket, so others see that proof (RFC 8441 5).
static void add_accept(struct peri_attempt *attempt)
{
    const struct peri_header *key =
        peri_headers_find_name(&attempt->req->headers, PERI_SLICE("sec-websocket-key"), 0, NULL);
    char accept[PERI_WEBSOCKET_ACCEPT];
    if (key && peri_websocket_make_accept(peri_slice(key->value, key->value_len), accept) == PERI_OK)
        peri_headers_set(&attempt->res->headers, PERI_SLICE("sec-websocket-accept"),
                         peri_slice(accept, sizeof(accept)));
}

static void on_head(struct peri_h2_stream *stream, bool ends)
{
    struct peri_attempt *attempt = stream->data;
    attempt->has_bytes = attempt->has_head = true;
    if (attempt->res->is_upgrade)
        add_accept(attempt);
    attempt->events->on_head(attempt);
    if (ends && stream->data) // it may have moved
        attempt_end(stream->data);
}

static void on_interim(struct peri_h2_stream *stream, int status, const struct peri_headers *headers)
{
    struct peri_attempt *attempt = stream->data;
    attempt->has_bytes = true;
    attempt->events->on_interim(attempt, status, headers);
}

static void on_body(struct peri_h2_stream *stream, struct peri_slice data)
{
    struct peri_attempt *attempt = stream->data;
    attempt->events->on_body(attempt, data);
}

static void on_end(struct peri_h2_stream *stream)
{
    attempt_end(stream->data);
}

static void on_drain(struct peri_h2_stream *stream)
{
    struct peri_attempt *attempt = stream->data;
    attempt->events->on_drain(attempt);
}

static peri_err_t error_of(peri_err_t err)
{
    switch (err) {
    case PERI_ERR_HEADERS_TOO_LARGE: return PERI_ERR_RESPONSE_TOO_LARGE;
    case PERI_ERR_BAD_REQUEST:
    case PERI_ERR_BAD_HOST: return PERI_ERR_UPSTREAM_PROTOCOL;
    default: return PERI_ERR_UPSTREAM_RESET;
    }
}

static void on_reset(struct peri_h2_stream *stream, peri_err_t err)
{
    struct peri_attempt *attempt = stream->data;
    if (err == PERI_ERR_AGAIN)
        attempt->is_refused = attempt->is_reused =
            true; // as on a connection that was closed while idle: nobody has looked at it
    attempt_detach(attempt);
    attempt->events->on_error(attempt, error_of(err));
}

static bool on_begin(struct peri_h2_stream *stream)
{
    PERI_UNUSED(stream);
    return false; // upstreams do not begin streams
}

static void on_output(struct peri_h2 *h2)
{
    struct peri_upstream_connection *c = peri_h2_data(h2);
    peri_defer_schedule(loop_of(c), &c->flush);
}

static void attempt_open(struct peri_attempt *attempt, struct peri_upstream_connection *c);

static void on_settings(struct peri_h2 *h2)
{
    struct peri_upstream_connection *c = peri_h2_data(h2);
    struct peri_attempt *attempt = c->attempt;
    c->attempt = NULL;
    if (!attempt)
        return;
    if (peri_h2_has_connect_protocol(h2)) {
        attempt_open(attempt, c);
        return;
    }
    attempt->connection = NULL;
    peri_timer_start(loop_of(c), &c->timer, peri_pool_settings_of(c->pool)->idle_ms);
    attempt->events->on_error(attempt, PERI_ERR_UPSTREAM_PROTOCOL); // it takes no WebSockets
}

static const struct peri_h2_events h2_events = {
    .on_begin = on_begin,
    .on_head = on_head,
    .on_interim = on_interim,
    .on_body = on_body,
    .on_end = on_end,
    .on_drain = on_drain,
    .on_reset = on_reset,
    .on_settings = on_settings,
    .on_output = on_output,
};

// ---- bytes ----

// An attempt that still waits for the server's settings is told first.
static void session_close(struct peri_upstream_connection *c)
{
    struct peri_attempt *attempt = c->attempt;
    c->attempt = NULL;
    peri_upstream_connection_close(c);
    if (attempt) {
        attempt->connection = NULL;
        attempt->events->on_error(attempt, PERI_ERR_UPSTREAM_RESET);
    }
}

static void session_flush(struct peri_upstream_connection *c)
{
    if (c->is_closing)
        return;
    peri_h2_flush(c->h2, c->stream);
    bool is_done = c->streams == 0 && (peri_h2_is_going(c->h2) || c->is_doubted);
    if (peri_h2_is_over(c->h2) || is_done)
        session_close(c);
}

static void on_flush(struct peri_defer *defer)
{
    session_flush(PERI_CONTAINER(defer, struct peri_upstream_connection, flush));
}

static void on_stream_read(struct peri_stream *stream, struct peri_slice data)
{
    struct peri_upstream_connection *c = peri_stream_data(stream);
    if (c->is_closing)
        return;
    c->heard_ms = peri_loop_now_ms(loop_of(c));
    c->is_doubted = false;
    peri_h2_feed(c->h2, data, c->heard_ms);
}

static void on_stream_end(struct peri_stream *stream, peri_err_t err)
{
    PERI_UNUSED(err);
    session_close(peri_stream_data(stream));
}

static void on_stream_drain(struct peri_stream *stream)
{
    session_flush(peri_stream_data(stream));
}

static void on_stream_close(struct peri_stream *stream)
{
    struct peri_upstream_connection *c = peri_stream_data(stream);
    session_close(c);
    peri_upstream_connection_closed(c);
}

static const struct peri_stream_events session_events = {
    .on_read = on_stream_read, .on_end = on_stream_end, .on_drain = on_stream_drain, .on_close = on_stream_close};

// ---- attempts ----

static void attempt_open(struct peri_attempt *attempt, struct peri_upstream_connection *c)
{
    struct peri_arena *arena = attempt->res->headers.arena;
    *attempt->res = (struct peri_response){.content_length = PERI_LENGTH_NONE};
    peri_headers_init(&attempt->res->headers, arena);
    peri_headers_init(&attempt->res->trailers, arena);
    attempt->stream = peri_h2_open(c->h2, attempt, attempt->req, attempt->res, attempt->has_no_body);
    if (!attempt->stream) {
        attempt->connection = NULL;
        attempt->events->on_error(attempt, PERI_ERR_NOMEM);
        return;
    }
    c->requests++;
    c->streams++;
    peri_timer_stop(&c->timer);
    attempt->connection = c;
    attempt->opened_ms = peri_loop_now_ms(loop_of(c));
    attempt->is_ready = true;
    attempt->is_sent = attempt->has_no_body;
    attempt->events->on_ready(attempt);
}

static bool has_room(const struct peri_upstream_connection *c, bool is_tunnel)
{
    uint64_t most = peri_pool_settings_of(c->pool)->max_requests;
    return !c->is_closing && !c->is_doubted && (most == 0 || c->requests < most) && peri_h2_can_open(c->h2) &&
           (!is_tunnel || peri_h2_has_connect_protocol(c->h2));
}

bool peri_session_has_room(const struct peri_list *sessions)
{
    for (const struct peri_list *link = sessions->next; link != sessions; link = link->next)
        if (has_room(PERI_LIST_ITEM(link, struct peri_upstream_connection, link), false))
            return true;
    return false;
}

bool peri_session_start(struct peri_attempt *attempt)
{
    struct peri_list *sessions = peri_pool_sessions(attempt->pool);
    for (struct peri_list *link = sessions->next; link != sessions; link = link->next) {
        struct peri_upstream_connection *c = PERI_LIST_ITEM(link, struct peri_upstream_connection, link);
        if (!has_room(c, attempt->req->upgrade.len > 0))
            continue;
        attempt->is_reused = true;
        attempt_open(attempt, c);
        return true;
    }
    return false;
}

void peri_session_begin(struct peri_upstream_connection *c)
{
    struct peri_attempt *attempt = c->attempt;
    c->attempt = NULL;
    c->h2 = peri_h2_new(PERI_H2_CLIENT, &limits, &h2_events, c);
    if (!c->h2) {
        attempt->connection = NULL;
        peri_upstream_connection_close(c);
        attempt->events->on_error(attempt, PERI_ERR_NOMEM);
        return;
    }
    peri_defer_init(&c->flush, on_flush);
    peri_stream_set_owner(c->stream, &session_events, c);
    peri_list_append(peri_pool_sessions(c->pool), &c->link);
    if (attempt->req->upgrade.len > 0)
        c->attempt = attempt; // whether the server takes it is in its settings (RFC 8441 3)
    else
        attempt_open(attempt, c);
}

bool peri_session_send_body(struct peri_attempt *attempt, struct peri_slice data)
{
    return peri_h2_send_body(attempt->stream, data);
}

void peri_session_send_end(struct peri_attempt *attempt, const struct peri_headers *trailers)
{
    attempt->is_sent = true;
    peri_h2_send_end(attempt->stream, trailers);
}

void peri_session_pause(struct peri_attempt *attempt, bool paused)
{
    peri_h2_pause(attempt->stream, paused);
}

void peri_session_cancel(struct peri_attempt *attempt)
{
    struct peri_h2_stream *stream = attempt->stream;
    attempt_detach(attempt);
    peri_h2_reset(stream, PERI_OK);
}

void peri_session_doubt(struct peri_attempt *attempt)
{
    struct peri_upstream_connection *c = attempt->connection;
    uint64_t waited_ms = peri_loop_now_ms(loop_of(c)) - attempt->opened_ms;
    if (c->heard_ms <= attempt->opened_ms && waited_ms >= DOUBT_MS)
        c->is_doubted = true;
}

void peri_session_end(struct peri_upstream_connection *c)
{
    struct peri_h2 *h2 = c->h2;
    if (!h2)
        return;
    c->is_closing = true;
    peri_defer_cancel(&c->flush);
    peri_h2_free(h2); // every attempt is told
    peri_defer_cancel(&c->flush);
    c->h2 = NULL;
}
