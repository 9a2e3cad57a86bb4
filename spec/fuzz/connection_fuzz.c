// SPDX-License-Identifier: MIT
// Fuzzes a whole client connection: bytes through a memory stream, an owner that answers in one of several manners, the client
// gone at the end. The contract of exchange/exchange.h holds, nothing is left over, and an owner that answers complete requests
// sees the same ones however the bytes are cut. Connections that turn to HTTP/2 are left to other targets.
//
// The first byte chooses the manner, the second where the bytes are cut.
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "codec/h2.h"
#include "downstream/listener.h"
#include "event/loop.h"
#include "event/stream.h"
#include "exchange/exchange.h"

/// The target. Reads exactly `size` bytes at `data`; always returns 0.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum manner { AT_END, AT_ONCE, IN_CHUNKS, LATE, RESETS, PAUSES, NEVER, TUNNELS, MANNERS };

static struct {
    struct peri_loop *loop;
    struct peri_stream *client;
    struct peri_exchange *x; ///< held; NULL between exchanges
    struct peri_buf log;     ///< what the owner saw
    struct peri_buf out;     ///< what the client got
    enum manner manner;
    bool is_inside; ///< in a client_ops call
    bool is_ended;  ///< the body of x came to its end
} world;

static void note(struct peri_slice what)
{
    peri_assert(peri_buf_put(&world.log, what) == PERI_OK);
}

static void release(void)
{
    struct peri_exchange *x = world.x;
    world.x = NULL;
    if (x->state != PERI_X_LOG)
        peri_exchange_set_state(x, PERI_X_LOG);
    peri_exchange_set_state(x, PERI_X_DONE);
    world.is_inside = true;
    x->client->release(x);
    world.is_inside = false;
}

static void answer(int64_t length)
{
    struct peri_exchange *x = world.x;
    x->res.status = 200;
    x->res.content_length = length;
    peri_exchange_set_state(x, PERI_X_RESPONSE);
    peri_exchange_set_state(x, PERI_X_SENDING);
    world.is_inside = true;
    x->client->send_interim(x, 103, NULL);
    x->client->send_head(x, false);
    x->client->send_body(x, PERI_SLICE("ab"));
    x->client->send_body(x, PERI_SLICE("c"));
    x->client->send_end(x);
    world.is_inside = false;
    release();
}

static void on_request(struct peri_exchange *x)
{
    peri_assert(!world.is_inside && !world.x && x->state == PERI_X_REQUEST);
    world.x = x;
    world.is_ended = false;
    note(x->req.method_name);
    note(x->req.path);
    note(x->req.query);
    note(x->req.authority);
    note(PERI_SLICE("\n"));
    if (world.manner == AT_ONCE) {
        answer(3);
    } else if (world.manner == RESETS) {
        x->client->reset(x, PERI_ERR_UPSTREAM_RESET);
        release();
    }
}

static void open_tunnel(struct peri_exchange *x)
{
    x->res.status = 101;
    x->res.is_upgrade = true;
    x->res.upgrade = PERI_SLICE("x");
    peri_exchange_set_state(x, PERI_X_RESPONSE);
    peri_exchange_set_state(x, PERI_X_TUNNEL);
    x->client->send_head(x, false);
    x->client->send_body(x, PERI_SLICE("frame"));
    world.is_ended = false;
}

static void on_body(struct peri_exchange *x, struct peri_slice data)
{
    peri_assert(!world.is_inside && x == world.x && data.len > 0 && !world.is_ended);
    note(data);
    if (world.manner == PAUSES)
        x->client->pause_body(x, true);
}

static void on_body_end(struct peri_exchange *x)
{
    peri_assert(!world.is_inside && x == world.x && !world.is_ended);
    world.is_ended = true;
    note(PERI_SLICE("\nend\n"));
    if (x->state == PERI_X_TUNNEL) {
        x->client->send_end(x);
        release();
    } else if (world.manner == TUNNELS && x->req.upgrade.len > 0) {
        open_tunnel(x);
    } else if (world.manner == AT_END || world.manner == PAUSES || world.manner == TUNNELS) {
        answer(3);
    } else if (world.manner == IN_CHUNKS) {
        answer(PERI_LENGTH_UNKNOWN);
    }
}

static void on_client_drain(struct peri_exchange *x)
{
    peri_assert(!world.is_inside && x == world.x);
}

static void on_abort(struct peri_exchange *x, peri_err_t err)
{
    peri_assert(!world.is_inside && x == world.x && err != PERI_OK);
    release();
}

static const struct peri_owner_ops owner = {
    .on_request = on_request,
    .on_body = on_body,
    .on_body_end = on_body_end,
    .on_client_drain = on_client_drain,
    .on_abort = on_abort,
};

// ---- the client ----

static void on_read(struct peri_stream *stream, struct peri_slice data)
{
    PERI_UNUSED(stream);
    peri_assert(peri_buf_put(&world.out, data) == PERI_OK);
}

static void on_end(struct peri_stream *stream, peri_err_t err)
{
    PERI_UNUSED(stream);
    PERI_UNUSED(err);
}

static void on_close(struct peri_stream *stream)
{
    PERI_UNUSED(stream);
    world.client = NULL;
}

static const struct peri_stream_events client_events = {.on_read = on_read, .on_end = on_end, .on_close = on_close};

static void settle(void)
{
    while (peri_loop_turn(world.loop))
        ;
    for (unsigned i = 0; world.x && i < 100 && world.manner == PAUSES; i++) {
        world.x->client->pause_body(world.x, false);
        while (peri_loop_turn(world.loop))
            ;
    }
    if (world.manner == LATE && world.x && world.x->state == PERI_X_REQUEST)
        answer(3);
    while (peri_loop_turn(world.loop))
        ;
}

/// Everything that goes to the client begins as a response.
static void check_out(void)
{
    char begin[9] = {0};
    size_t len = world.out.len < 9 ? world.out.len : 9;
    struct peri_slice first = peri_buf_peek(&world.out);
    if (len == 0)
        return;
    memcpy(begin, first.ptr, first.len < len ? first.len : len);
    peri_assert(memcmp(begin, "HTTP/1.1 ", first.len < len ? first.len : len) == 0);
}

static char *run(struct peri_slice input, uint8_t manner, uint8_t cut)
{
    struct peri_listener_settings settings = peri_listener_defaults();
    struct peri_stream *pair[2];
    uint32_t random = cut;
    memset(&world, 0, sizeof(world));
    world.loop = peri_loop_new(true);
    world.manner = (enum manner)(manner % MANNERS);
    settings.body_bytes = 1000;
    settings.trusted_hops = manner >> 6;
    settings.allow_underscores = manner & 32;
    struct peri_listener *listener = peri_listener_open_memory(world.loop, &settings, &owner, &world);
    peri_assert(world.loop && listener && peri_stream_open_pair(world.loop, pair));
    world.client = pair[0];
    peri_stream_set_owner(pair[0], &client_events, NULL);
    peri_stream_read_start(pair[0]);
    peri_listener_adopt(listener, pair[1]);
    for (size_t at = 0; at < input.len;) {
        random = random * 1664525u + 1013904223u;
        size_t len = cut == 0 ? input.len : 1 + (random >> 16) % (cut * 2u);
        len = len < input.len - at ? len : input.len - at;
        peri_stream_write(world.client, peri_slice(input.ptr + at, len));
        at += len;
        settle();
    }
    if (random & 0x10000)
        peri_loop_advance(world.loop, 400000);
    if (random & 0x20000)
        peri_stream_shutdown(world.client);
    settle();
    peri_stream_close(world.client);
    settle();
    peri_listener_close(listener);
    settle();
    peri_assert(!world.x && !world.client && peri_exchange_count() == 0);
    peri_assert(peri_loop_streams(world.loop) == 0 && peri_loop_timers(world.loop) == 0);
    check_out();
    char *log = malloc(world.log.len + 1);
    peri_assert(log != NULL);
    peri_buf_copy(&world.log, log);
    log[world.log.len] = 0;
    peri_buf_close(&world.log);
    peri_buf_close(&world.out);
    peri_loop_free(world.loop);
    return log;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct peri_slice input = peri_slice((const char *)data + 2, size - 2);
    if (peri_slice_starts(input, PERI_SLICE(PERI_H2_PREFACE)))
        return 0;
    char *whole = run(input, data[0], 0);
    char *parts = run(input, data[0], (uint8_t)(data[1] | 1));
    if (data[0] % MANNERS == AT_END && strcmp(whole, parts) != 0) {
        fprintf(stderr, "in one piece:\n%s\nin parts:\n%s\n", whole, parts);
        abort();
    }
    free(whole);
    free(parts);
    return 0;
}
