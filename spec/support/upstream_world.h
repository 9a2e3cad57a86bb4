// SPDX-License-Identifier: MIT
// Pools whose connections end in memory, at origins in the hands of a test, and attempts that write down what they were told.
#ifndef PERI_SPEC_UPSTREAM_WORLD_H
#define PERI_SPEC_UPSTREAM_WORLD_H

#include "base/arena.h"
#include "codec/message.h"
#include "memory_peer.h"
#include "upstream/attempt.h"
#include "upstream/pool.h"

#define ORIGINS_MAX 32

static struct {
    struct peri_loop *loop;
    struct peri_pools *pools;
    struct peri_pool *pool;
    struct memory_peer origins[ORIGINS_MAX]; ///< one per connection, in the order of their opening
    unsigned count;
    bool refuses;   ///< the next connections fail
    bool is_silent; ///< nothing comes of them
    unsigned depth; ///< inside a call of attempt.h
    int64_t gauge;  ///< open connections, as the pool counts
} world;

static struct peri_stream *world_connect(void *data, struct peri_slice address)
{
    struct peri_stream *pair[2];
    assert_ptr_equal(data, &world);
    assert_true(peri_slice_eq(address, PERI_SLICE("origin:80")));
    if (world.is_silent)
        return PERI_STREAM_SILENCE;
    if (world.refuses || !peri_stream_open_pair(world.loop, pair))
        return NULL;
    assert_true(world.count < ORIGINS_MAX);
    memory_peer_open(&world.origins[world.count++], world.loop, pair[1]);
    return pair[0];
}

UNUSED static struct peri_pool_settings world_settings(void)
{
    return (struct peri_pool_settings){.max_idle = 2, .idle_ms = 1000, .open = &world.gauge};
}

UNUSED static int world_open(void **state)
{
    (void)state;
    memset(&world, 0, sizeof(world));
    world.loop = peri_loop_new(true);
    assert_non_null(world.loop);
    world.pools =
        peri_pools_new(&(struct peri_pools_options){.loop = world.loop, .connect = world_connect, .data = &world});
    struct peri_pool_settings settings = world_settings();
    world.pool = peri_pools_get(world.pools, PERI_SLICE("origin:80"), &settings);
    assert_non_null(world.pool);
    return 0;
}

/// Closes everything; fails when a connection or a timer is left.
UNUSED static int world_close(void **state)
{
    (void)state;
    if (world.pool)
        peri_pool_release(world.pool);
    peri_pools_free(world.pools);
    settle(world.loop);
    for (unsigned i = 0; i < world.count; i++)
        memory_peer_free(&world.origins[i]);
    settle(world.loop);
    assert_int_equal(peri_loop_streams(world.loop), 0);
    assert_int_equal(peri_loop_timers(world.loop), 0);
    assert_int_equal(world.gauge, 0);
    peri_loop_free(world.loop);
    return 0;
}

// ---- attempts ----

enum event { ON_READY, ON_INTERIM, ON_HEAD, ON_BODY, ON_END, ON_ERROR, ON_DRAIN };

struct
try {
    struct peri_attempt attempt;
    struct peri_arena arena;
    struct peri_request req;
    struct peri_response res;
    char log[4096]; ///< what the attempt told, a word each
    char *body;
    size_t body_len;
    unsigned drains;
    bool is_over; ///< on_end or on_error came, or it was cancelled
    peri_err_t err;
    /// What the test does inside an event; NULL: nothing.
    void (*react)(struct try * t, enum event event);
};

static struct try *try_of(struct peri_attempt *attempt, enum event event)
{
    struct try *t = attempt->data;
    if (t->is_over)
        fail_msg("event %d after the end of the attempt: %s", event, t->log);
    return t;
}

__attribute__((format(printf, 2, 3))) static void try_say(struct try *t, const char *format, ...)
{
    size_t len = strlen(t->log);
    va_list args;
    va_start(args, format);
    vsnprintf(t->log + len, sizeof(t->log) - len, format, args);
    va_end(args);
}

static void try_react(struct try *t, enum event event)
{
    if (t->react)
        t->react(t, event);
}

static void try_on_ready(struct peri_attempt *attempt)
{
    struct try *t = try_of(attempt, ON_READY);
    try_say(t, "ready%s ", attempt->is_reused ? "(reused)" : "");
    try_react(t, ON_READY);
}

static void try_on_interim(struct peri_attempt *attempt, int status, const struct peri_headers *headers)
{
    struct try *t = try_of(attempt, ON_INTERIM);
    try_say(t, "interim(%d,%u) ", status, headers->count);
    try_react(t, ON_INTERIM);
}

static void try_on_head(struct peri_attempt *attempt)
{
    struct try *t = try_of(attempt, ON_HEAD);
    try_say(t, "head(%d,%lld) ", attempt->res->status, (long long)attempt->res->content_length);
    try_react(t, ON_HEAD);
}

static void try_on_body(struct peri_attempt *attempt, struct peri_slice data)
{
    struct try *t = try_of(attempt, ON_BODY);
    assert_true(data.len > 0);
    t->body = fail_alloc_spared(t->body, t->body_len + data.len + 1);
    memcpy(t->body + t->body_len, data.ptr, data.len);
    t->body_len += data.len;
    t->body[t->body_len] = 0;
    try_react(t, ON_BODY);
}

static void try_on_end(struct peri_attempt *attempt)
{
    struct try *t = try_of(attempt, ON_END);
    try_say(t, "end ");
    t->is_over = true;
    try_react(t, ON_END);
}

static void try_on_error(struct peri_attempt *attempt, peri_err_t err)
{
    struct try *t = try_of(attempt, ON_ERROR);
    try_say(t, "error(%s) ", peri_err_info(err)->name);
    t->is_over = true;
    t->err = err;
    try_react(t, ON_ERROR);
}

static void try_on_drain(struct peri_attempt *attempt)
{
    struct try *t = try_of(attempt, ON_DRAIN);
    t->drains++;
    try_react(t, ON_DRAIN);
}

static const struct peri_attempt_events try_events = {
    .on_ready = try_on_ready,
    .on_interim = try_on_interim,
    .on_head = try_on_head,
    .on_body = try_on_body,
    .on_end = try_on_end,
    .on_error = try_on_error,
    .on_drain = try_on_drain,
};

/// A GET of /path that has not been started; change it, then start it.
UNUSED static void try_open(struct try *t)
{
    memset(t, 0, sizeof(*t));
    peri_arena_init(&t->arena, 4 << 20);
    t->req = (struct peri_request){.method = PERI_METHOD_GET,
                                   .method_name = PERI_SLICE("GET"),
                                   .authority = PERI_SLICE("a"),
                                   .path = PERI_SLICE("/path"),
                                   .content_length = PERI_LENGTH_NONE};
    peri_headers_init(&t->req.headers, &t->arena);
    peri_headers_init(&t->req.trailers, &t->arena);
    peri_headers_init(&t->res.headers, &t->arena);
    peri_headers_init(&t->res.trailers, &t->arena);
    t->attempt = (struct peri_attempt){.events = &try_events,
                                       .data = t,
                                       .pool = world.pool,
                                       .req = &t->req,
                                       .res = &t->res,
                                       .connect_ms = 500,
                                       .has_no_body = true};
}

/// Makes it a POST whose body follows.
UNUSED static void try_with_body(struct try *t, int64_t length)
{
    t->req.method = PERI_METHOD_POST;
    t->req.method_name = PERI_SLICE("POST");
    t->req.content_length = length;
    t->attempt.has_no_body = false;
}

UNUSED static void try_start(struct try *t)
{
    peri_attempt_start(&t->attempt);
    settle(world.loop);
}

UNUSED static void try_cancel(struct try *t)
{
    t->is_over = true;
    peri_attempt_cancel(&t->attempt);
}

UNUSED static void try_free(struct try *t)
{
    if (!t->is_over)
        try_cancel(t);
    settle(world.loop);
    peri_arena_close(&t->arena);
    free(t->body);
    t->body = NULL;
}

/// Opens and starts a GET.
UNUSED static void try_get(struct try *t)
{
    try_open(t);
    try_start(t);
}

#define GET_LINES "GET /path HTTP/1.1\r\nhost: a\r\n\r\n"

#endif
