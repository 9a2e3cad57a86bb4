// SPDX-License-Identifier: MIT
// A listener in memory with a client at its one end and a scripted owner of the exchanges at the other: what the owner was told is
// kept by exchange, what it answers is the test's matter. Every call of the owner is checked against the contract of
// exchange/exchange.h: none from inside a client_ops call, none after the release, bytes only before the end.
#ifndef PERI_SPEC_DOWNSTREAM_WORLD_H
#define PERI_SPEC_DOWNSTREAM_WORLD_H

#include "downstream/listener.h"
#include "exchange/exchange.h"
#include "memory_peer.h"

#define SEEN_MAX 64

struct seen {
    struct peri_exchange *x; ///< NULL once released
    char line[256];          ///< method, path, query, authority
    char headers[4096];
    char trailers[1024];
    int64_t length;
    char *body;
    size_t body_len;
    bool is_body_ended;
    unsigned aborts;
    peri_err_t abort_err;
    unsigned drains;
};

static struct {
    struct peri_loop *loop;
    struct peri_listener *listener;
    struct memory_peer client;
    struct seen seen[SEEN_MAX];
    unsigned count;
    unsigned depth; ///< inside client_ops calls
    /// What the owner does; NULL: nothing.
    void (*on_request)(struct seen *s);
    void (*on_body)(struct seen *s, struct peri_slice data);
    void (*on_body_end)(struct seen *s);
    void (*on_drain)(struct seen *s);
    bool keeps_aborted; ///< the test releases aborted exchanges itself
} world;

static struct seen *seen_of(struct peri_exchange *x)
{
    assert_int_equal(world.depth, 0);
    for (unsigned i = world.count; i-- > 0;)
        if (world.seen[i].x == x)
            return &world.seen[i];
    fail_msg("the owner was called for an exchange that it does not hold");
    return NULL;
}

static void seen_fields(char *out, size_t size, const struct peri_headers *headers)
{
    size_t len = 0;
    out[0] = 0;
    for (unsigned i = 0; i < headers->count && len < size; i++)
        len += (size_t)snprintf(out + len, size - len, "%.*s: %.*s\n", (int)headers->items[i].name_len,
                                headers->items[i].name, (int)headers->items[i].value_len, headers->items[i].value);
}

static void owner_on_request(struct peri_exchange *x)
{
    assert_int_equal(world.depth, 0);
    assert_int_equal(x->state, PERI_X_REQUEST);
    assert_true(world.count < SEEN_MAX);
    struct seen *s = &world.seen[world.count++];
    s->x = x;
    s->length = x->req.content_length;
    snprintf(s->line, sizeof(s->line), "%.*s %.*s%s%.*s %.*s", (int)x->req.method_name.len, x->req.method_name.ptr,
             (int)x->req.path.len, x->req.path.ptr, x->req.query.len ? "?" : "", (int)x->req.query.len,
             x->req.query.ptr, (int)x->req.authority.len, x->req.authority.ptr ? x->req.authority.ptr : "");
    seen_fields(s->headers, sizeof(s->headers), &x->req.headers);
    if (world.on_request)
        world.on_request(s);
}

static void owner_on_body(struct peri_exchange *x, struct peri_slice data)
{
    struct seen *s = seen_of(x);
    assert_true(data.len > 0 && !s->is_body_ended && s->aborts == 0);
    s->body = fail_alloc_spared(s->body, s->body_len + data.len + 1);
    memcpy(s->body + s->body_len, data.ptr, data.len);
    s->body_len += data.len;
    s->body[s->body_len] = 0;
    if (world.on_body)
        world.on_body(s, data);
}

static void owner_on_body_end(struct peri_exchange *x)
{
    struct seen *s = seen_of(x);
    assert_true(!s->is_body_ended && s->aborts == 0);
    s->is_body_ended = true;
    seen_fields(s->trailers, sizeof(s->trailers), &x->req.trailers);
    if (world.on_body_end)
        world.on_body_end(s);
}

static void owner_on_drain(struct peri_exchange *x)
{
    struct seen *s = seen_of(x);
    assert_int_equal(s->aborts, 0);
    s->drains++;
    if (world.on_drain)
        world.on_drain(s);
}

/// Lets go of the exchange, as the pipeline does at its end.
UNUSED static void release(struct seen *s)
{
    struct peri_exchange *x = s->x;
    assert_non_null(x);
    s->x = NULL;
    if (x->state != PERI_X_LOG)
        peri_exchange_set_state(x, PERI_X_LOG);
    peri_exchange_set_state(x, PERI_X_DONE);
    world.depth++;
    x->client->release(x);
    world.depth--;
}

static void owner_on_abort(struct peri_exchange *x, peri_err_t err)
{
    struct seen *s = seen_of(x);
    s->aborts++;
    s->abort_err = err;
    assert_int_equal(s->aborts, 1);
    if (!world.keeps_aborted)
        release(s);
}

static const struct peri_owner_ops world_owner = {
    .on_request = owner_on_request,
    .on_body = owner_on_body,
    .on_body_end = owner_on_body_end,
    .on_client_drain = owner_on_drain,
    .on_abort = owner_on_abort,
};

/// One more client of the listener.
UNUSED static void world_connect(struct memory_peer *client)
{
    struct peri_stream *pair[2];
    assert_true(peri_stream_open_pair(world.loop, pair));
    memory_peer_open(client, world.loop, pair[0]);
    peri_listener_adopt(world.listener, pair[1]);
    settle(world.loop);
}

UNUSED static void world_open_with(const struct peri_listener_settings *settings)
{
    memset(&world, 0, sizeof(world));
    world.loop = peri_loop_new(true);
    assert_non_null(world.loop);
    world.listener = peri_listener_open_memory(world.loop, settings, &world_owner, &world);
    assert_non_null(world.listener);
    world_connect(&world.client);
}

UNUSED static int world_open(void **state)
{
    (void)state;
    struct peri_listener_settings settings = peri_listener_defaults();
    world_open_with(&settings);
    return 0;
}

/// Closes everything; fails when something was left open.
UNUSED static int world_close(void **state)
{
    (void)state;
    world.keeps_aborted = true;
    if (world.listener)
        peri_listener_close(world.listener);
    memory_peer_free(&world.client);
    for (unsigned i = 0; i < world.count; i++) {
        if (world.seen[i].x)
            release(&world.seen[i]);
        free(world.seen[i].body);
    }
    settle(world.loop);
    assert_int_equal(peri_loop_streams(world.loop), 0);
    assert_int_equal(peri_loop_timers(world.loop), 0);
    peri_loop_free(world.loop);
    peri_exchange_pool_close();
    return 0;
}

UNUSED static void world_reopen(const struct peri_listener_settings *settings)
{
    world_close(NULL);
    world_open_with(settings);
}

// ---- answers ----

UNUSED static void send_head(struct seen *s, int status, int64_t length, bool ends)
{
    s->x->res.status = status;
    s->x->res.content_length = length;
    peri_exchange_set_state(s->x, PERI_X_RESPONSE);
    peri_exchange_set_state(s->x, s->x->res.is_upgrade ? PERI_X_TUNNEL : PERI_X_SENDING);
    world.depth++;
    s->x->client->send_head(s->x, ends);
    world.depth--;
}

UNUSED static bool send_body(struct seen *s, struct peri_slice data)
{
    world.depth++;
    bool may_go_on = s->x->client->send_body(s->x, data);
    world.depth--;
    return may_go_on;
}

UNUSED static void send_end(struct seen *s)
{
    world.depth++;
    s->x->client->send_end(s->x);
    world.depth--;
}

UNUSED static void pause_body(struct seen *s, bool paused)
{
    world.depth++;
    s->x->client->pause_body(s->x, paused);
    world.depth--;
}

UNUSED static void reset(struct seen *s)
{
    world.depth++;
    s->x->client->reset(s->x, PERI_ERR_UPSTREAM_RESET);
    world.depth--;
}

UNUSED static void add_header(struct seen *s, const char *name, const char *value)
{
    assert_int_equal(peri_headers_add(&s->x->res.headers, peri_slice_from(name), peri_slice_from(value)), PERI_OK);
}

/// A whole response, and the release.
UNUSED static void answer(struct seen *s, int status, const char *body)
{
    size_t len = strlen(body);
    send_head(s, status, (int64_t)len, len == 0);
    if (len > 0)
        send_body(s, peri_slice_from(body));
    send_end(s);
    release(s);
}

/// An owner that answers every request with its path as soon as it is complete.
UNUSED static void answer_path(struct seen *s)
{
    char path[256];
    snprintf(path, sizeof(path), "%.*s", (int)s->x->req.path.len, s->x->req.path.ptr);
    answer(s, 200, path);
}

/// An owner that answers at once, before the request is complete.
UNUSED static void answer_ok(struct seen *s)
{
    answer(s, 200, "ok");
}

// ---- what the client got ----

#define assert_got(text) assert_string_equal(memory_peer_text(&world.client), text)

/// The client got a response with this status and the connection is at its end.
UNUSED static void assert_refused(int status)
{
    char begin[32];
    snprintf(begin, sizeof(begin), "HTTP/1.1 %d ", status);
    const char *text = memory_peer_text(&world.client);
    if (strncmp(text, begin, strlen(begin)) != 0)
        fail_msg("expected %d, got: %s", status, text);
    assert_non_null(strstr(text, "\r\nconnection: close\r\n"));
    assert_non_null(strstr(text, "\r\ncontent-type: application/problem+json\r\n"));
    assert_true(world.client.is_ended);
}

#endif
