// SPDX-License-Identifier: MIT
// The way of an attempt:
//
//   start -> pooled connection | connect -> head out -> on_ready -> body out -> (interim)* -> head in -> body in -> end
//                                                                               | any error: connection closed, on_error
#include "upstream/attempt.h"

#include <stdlib.h>

#include "base/assert.h"
#include "codec/h2.h"
#include "event/loop.h"
#include "event/stream.h"
#include "upstream/connection.h"
#include "upstream/session.h"

static const struct peri_h1_limits limits = {
    .header_bytes = 60 * 1024, .headers = 200, .uri_bytes = 0, .allow_underscores = true};

static struct peri_attempt *attempt_of(struct peri_h1 *h1)
{
    return ((struct peri_upstream_connection *)h1->data)->attempt;
}

static void attempt_fail(struct peri_attempt *attempt, peri_err_t err)
{
    struct peri_upstream_connection *c = attempt->connection;
    peri_debug_assert(c && c->attempt == attempt);
    attempt->connection = NULL;
    peri_upstream_connection_close(c);
    attempt->events->on_error(attempt, err);
}

// The response is complete: the connection is kept when nothing stands against it.
static void attempt_finish(struct peri_attempt *attempt, bool can_reuse)
{
    struct peri_upstream_connection *c = attempt->connection;
    peri_debug_assert(c && c->attempt == attempt && attempt->has_head);
    attempt->connection = NULL;
    if (c->is_stopped) {
        c->is_stopped = false;
        peri_stream_read_start(c->stream);
    }
    if (can_reuse && attempt->is_sent && peri_stream_pending(c->stream) == 0)
        peri_pool_put(c);
    else
        peri_upstream_connection_close(c);
    attempt->events->on_end(attempt);
}

// ---- the request ----

static void attempt_write_head(struct peri_attempt *attempt)
{
    const struct peri_request *req = attempt->req;
    struct peri_stream *stream = attempt->connection->stream;
    struct peri_h1_head head = {.framing = PERI_H1_NO_BODY, .length = -1};
    if (!attempt->has_no_body && req->content_length >= 0 && !attempt->has_no_length) {
        head.framing = PERI_H1_LENGTH;
        head.length = req->content_length;
    } else if (!attempt->has_no_body) {
        head.framing = PERI_H1_CHUNKED;
    } else if (req->method == PERI_METHOD_POST || req->method == PERI_METHOD_PUT || req->method == PERI_METHOD_PATCH) {
        head.length = 0; // RFC 9110 8.6: methods that anticipate content say that there is none
    }
    attempt->is_chunked = head.framing == PERI_H1_CHUNKED;
    size_t size = peri_h1_request_size(req);
    char *room = size <= PERI_STREAM_RESERVE ? peri_stream_reserve(stream, size) : NULL;
    if (room) {
        peri_stream_commit(stream, (size_t)(peri_h1_write_request(room, req, &head) - room));
        return;
    }
    char *text = malloc(size);
    if (!text) {
        peri_stream_close(stream);
        return;
    }
    char *end = peri_h1_write_request(text, req, &head);
    peri_stream_write(stream, peri_slice(text, (size_t)(end - text)));
    free(text);
}

static void attempt_begin(struct peri_attempt *attempt)
{
    struct peri_upstream_connection *c = attempt->connection;
    peri_debug_assert(!attempt->is_ready && c->stream);
    c->requests++;
    attempt_write_head(attempt);
    attempt->is_ready = true;
    attempt->is_sent = attempt->has_no_body;
    attempt->events->on_ready(attempt);
}

bool peri_attempt_send_body(struct peri_attempt *attempt, struct peri_slice data)
{
    peri_debug_assert(attempt->is_ready);
    if (PERI_UNLIKELY(attempt->stream != NULL))
        return peri_session_send_body(attempt, data);
    struct peri_stream *stream = attempt->connection->stream;
    if (data.len == 0)
        return true;
    if (attempt->is_chunked) {
        char line[PERI_H1_CHUNK_HEAD];
        char *end = peri_h1_write_chunk(line, data.len);
        peri_stream_write(stream, peri_slice(line, (size_t)(end - line)));
    }
    peri_stream_write(stream, data);
    if (attempt->is_chunked)
        peri_stream_write(stream, PERI_SLICE("\r\n"));
    return peri_stream_pending(stream) < PERI_STREAM_HIGH;
}

void peri_attempt_send_end(struct peri_attempt *attempt, const struct peri_headers *trailers)
{
    static const struct peri_headers none;
    peri_debug_assert(attempt->is_ready);
    if (PERI_UNLIKELY(attempt->stream != NULL)) {
        peri_session_send_end(attempt, trailers);
        return;
    }
    struct peri_stream *stream = attempt->connection->stream;
    attempt->is_sent = true;
    if (attempt->has_head && attempt->res->is_upgrade) {
        peri_stream_shutdown(stream);
    } else if (attempt->is_chunked) {
        const struct peri_headers *last = trailers ? trailers : &none;
        char *text = malloc(peri_h1_last_size(last));
        if (!text) {
            peri_stream_close(stream);
            return;
        }
        char *end = peri_h1_write_last(text, last);
        peri_stream_write(stream, peri_slice(text, (size_t)(end - text)));
        free(text);
    }
}

// ---- the response ----

static bool on_begin(struct peri_h1 *h1)
{
    struct peri_attempt *attempt = attempt_of(h1);
    struct peri_arena *arena = attempt->res->headers.arena;
    *attempt->res = (struct peri_response){.content_length = PERI_LENGTH_NONE};
    peri_headers_init(&attempt->res->headers, arena);
    peri_headers_init(&attempt->res->trailers, arena);
    peri_h1_set_response(h1, attempt->res, attempt->req->method == PERI_METHOD_HEAD);
    return true;
}

static peri_err_t on_head(struct peri_h1 *h1)
{
    struct peri_attempt *attempt = attempt_of(h1);
    peri_debug_assert(!attempt->has_head);
    int status = attempt->res->status;
    if (status == 101 && attempt->req->upgrade.len == 0)
        return PERI_ERR_UPSTREAM_PROTOCOL; // nobody asked for a tunnel
    struct peri_upstream_connection *c = h1->data;
    if (status < 200 && status != 101) {
        attempt->events->on_interim(attempt, status, &attempt->res->headers);
    } else {
        attempt->has_head = true;
        attempt->events->on_head(attempt);
    }
    return c->is_closing ? PERI_ERR_CLOSED : PERI_OK; // cancelled from the event: the response's memory may be gone
}

static peri_err_t on_body(struct peri_h1 *h1, struct peri_slice data)
{
    struct peri_upstream_connection *c = h1->data;
    c->attempt->events->on_body(c->attempt, data);
    return c->is_closing ? PERI_ERR_CLOSED : PERI_OK;
}

static void on_end(struct peri_h1 *h1)
{
    PERI_UNUSED(h1); // seen after feeding, outside the parser
}

static const struct peri_h1_events h1_events = {
    .on_begin = on_begin, .on_head = on_head, .on_body = on_body, .on_end = on_end};

// After a feed: is the response over?
static void attempt_check_end(struct peri_attempt *attempt, size_t rest)
{
    struct peri_upstream_connection *c = attempt->connection;
    if (attempt->has_head && !peri_h1_is_busy(&c->h1) && !c->h1.is_tunnel)
        attempt_finish(attempt, rest == 0 && c->h1.keep_alive);
}

static void connection_feed(struct peri_upstream_connection *c, struct peri_slice data)
{
    while (data.len > 0 && c->attempt && c->attempt->connection) {
        struct peri_attempt *attempt = c->attempt;
        size_t consumed;
        if (c->h1.is_tunnel) {
            attempt->events->on_body(attempt, data);
            return;
        }
        peri_err_t err = peri_h1_feed(&c->h1, data, &consumed);
        if (c->is_closing)
            return;           // the owner cancelled the attempt from an event
        attempt = c->attempt; // it may have moved
        if (err != PERI_OK) {
            attempt_fail(attempt,
                         err == PERI_ERR_HEADERS_TOO_LARGE ? PERI_ERR_RESPONSE_TOO_LARGE : PERI_ERR_UPSTREAM_PROTOCOL);
            return;
        }
        data.ptr += consumed;
        data.len -= consumed;
        attempt_check_end(attempt, data.len);
    }
}

static void on_stream_read(struct peri_stream *stream, struct peri_slice data)
{
    struct peri_upstream_connection *c = peri_stream_data(stream);
    if (!c->attempt) { // bytes that nobody asked for: the connection cannot be trusted
        peri_upstream_connection_close(c);
        return;
    }
    c->attempt->has_bytes = true;
    connection_feed(c, data);
}

static void on_stream_end(struct peri_stream *stream, peri_err_t err)
{
    struct peri_upstream_connection *c = peri_stream_data(stream);
    struct peri_attempt *attempt = c->attempt;
    if (!attempt) {
        peri_upstream_connection_close(c);
        return;
    }
    if (err == PERI_OK && c->h1.is_tunnel) {
        attempt_finish(attempt, false);
        return;
    }
    bool is_whole = err == PERI_OK && attempt->has_head && peri_h1_finish(&c->h1) == PERI_OK;
    if (c->is_closing)
        return;
    if (is_whole)
        attempt_finish(attempt, false);
    else
        attempt_fail(attempt, attempt->is_ready ? PERI_ERR_UPSTREAM_RESET : PERI_ERR_CONNECT);
}

static void on_stream_drain(struct peri_stream *stream)
{
    struct peri_upstream_connection *c = peri_stream_data(stream);
    if (c->attempt)
        c->attempt->events->on_drain(c->attempt);
}

// Attempts that wait for this connection to become a session fail with it.
static void connect_failed(struct peri_upstream_connection *c, peri_err_t err)
{
    struct peri_pool *pool = c->pool;
    peri_pool_fail_waiting(pool, err);
    if (c->attempt)
        attempt_fail(c->attempt, err);
}

static void on_stream_connect(struct peri_stream *stream, peri_err_t err)
{
    struct peri_upstream_connection *c = peri_stream_data(stream);
    peri_timer_stop(&c->timer);
    if (!c->attempt)
        return;
    if (err != PERI_OK) {
        connect_failed(c, err == PERI_ERR_TLS || err == PERI_ERR_OVERLOADED ? err : PERI_ERR_CONNECT);
        return;
    }
    struct peri_pool *pool = c->pool;
    bool is_session = peri_pool_speaks_h2(c);
    peri_stream_read_start(stream);
    if (is_session)
        peri_session_begin(c);
    else
        attempt_begin(c->attempt);
    peri_pool_start_waiting(pool); // whatever it has become: others waited for a session
}

static void on_stream_close(struct peri_stream *stream)
{
    struct peri_upstream_connection *c = peri_stream_data(stream);
    if (c->attempt) { // closed from below, e.g. out of memory
        struct peri_attempt *attempt = c->attempt;
        attempt->connection = NULL;
        c->attempt = NULL;
        attempt->events->on_error(attempt, PERI_ERR_UPSTREAM_RESET);
    }
    peri_upstream_connection_closed(c);
}

static const struct peri_stream_events stream_events = {
    .on_connect = on_stream_connect,
    .on_read = on_stream_read,
    .on_end = on_stream_end,
    .on_drain = on_stream_drain,
    .on_close = on_stream_close,
};

// ---- start and end ----

void peri_attempt_start(struct peri_attempt *attempt)
{
    peri_debug_assert(!attempt->connection && !attempt->is_ready && attempt->pool);
    peri_list_init(&attempt->wait);
    attempt->is_paused = false;
    if (PERI_UNLIKELY(peri_pool_has_sessions(attempt->pool)) && !attempt->wants_fresh &&
        (peri_session_start(attempt) || peri_pool_wait(attempt)))
        return;
    struct peri_upstream_connection *c = attempt->wants_fresh ? NULL : peri_pool_take(attempt->pool);
    if (c) {
        attempt->is_reused = true;
        attempt->connection = c;
        c->attempt = attempt;
        peri_timer_stop(&c->timer);
        attempt_begin(attempt);
        return;
    }
    c = peri_pool_connect(attempt->pool, &stream_events, attempt, attempt->connect_ms, connect_failed);
    attempt->connection = c;
    if (!c) {
        attempt->events->on_error(attempt, PERI_ERR_NOMEM);
        return;
    }
    peri_h1_init(&c->h1, PERI_H1_CLIENT, &limits, &h1_events, c);
}

void peri_attempt_set_paused(struct peri_attempt *attempt, bool paused)
{
    struct peri_upstream_connection *c = attempt->connection;
    if (!c || !c->stream)
        return;
    attempt->is_paused = paused;
    if (attempt->stream) {
        peri_session_pause(attempt, paused);
        return;
    }
    c->is_stopped = paused;
    if (paused)
        peri_stream_read_stop(c->stream);
    else
        peri_stream_read_start(c->stream);
}

void peri_attempt_cancel(struct peri_attempt *attempt)
{
    struct peri_upstream_connection *c = attempt->connection;
    if (attempt->stream) {
        peri_session_cancel(attempt);
        return;
    }
    attempt->connection = NULL;
    if (c && c->h2)
        c->attempt = NULL; // waited for the server's settings; others may use the session
    else if (c)
        peri_upstream_connection_close(c);
    else
        peri_pool_stop_waiting(attempt);
}

void peri_attempt_doubt(struct peri_attempt *attempt)
{
    if (attempt->stream)
        peri_session_doubt(attempt);
}

void peri_attempt_move(struct peri_attempt *to, struct peri_attempt *from, struct peri_response *res)
{
    struct peri_upstream_connection *c = from->connection;
    peri_debug_assert(to != from && !to->connection && from->res != res);
    *to = *from;
    *res = *from->res;
    to->res = res;
    peri_list_init(&to->wait);
    if (from->stream) {
        peri_h2_stream_move(from->stream, to, res);
    } else if (c) {
        c->attempt = to;
        if (c->h1.res == from->res)
            peri_h1_move_response(&c->h1, res);
    } else if (!peri_list_is_empty(&from->wait)) {
        peri_list_prepend(&from->wait, &to->wait);
        peri_list_remove(&from->wait);
    }
    from->connection = NULL;
    from->stream = NULL;
}
