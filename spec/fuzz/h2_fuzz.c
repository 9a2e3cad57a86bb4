// SPDX-License-Identifier: MIT
// Fuzzes a client connection that speaks HTTP/2, from its frames to the owner of its exchanges: the contract of exchange/exchange.h
// holds for each, whatever the others do, and nothing is left over when the client is gone.
//
// The first byte chooses the manners of the owner, the second where the bytes are cut and how the client ends. What follows are frames:
// kind, flags, stream, length (one byte each), payload. With the highest bit of the first byte set they are bytes as they are.
#include <stdlib.h>

#include "base/assert.h"
#include "codec/h2.h"
#include "downstream/listener.h"
#include "event/loop.h"
#include "event/stream.h"
#include "exchange/exchange.h"

/// The target. Reads exactly `size` bytes at `data`; always returns 0.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define STREAMS 16
#define RAW 0x80

enum manner { AT_END, AT_ONCE, LARGE, LATE, RESETS, PAUSES, NEVER, TUNNELS, MANNERS };

struct held {
    struct peri_exchange *x; ///< NULL: free
    enum manner manner;
    bool is_ended;
    bool is_full; ///< its client takes no more until on_client_drain
};

static struct {
    struct peri_loop *loop;
    struct peri_stream *client;
    struct held held[STREAMS];
    unsigned begun;
    uint8_t manner;
    bool is_inside; ///< in a client_ops call
} world;

static struct held *find(const struct peri_exchange *x)
{
    for (unsigned i = 0; i < STREAMS; i++)
        if (world.held[i].x == x)
            return &world.held[i];
    return NULL;
}

static struct held *find_live(const struct peri_exchange *x)
{
    struct held *h = find(x);
    peri_assert(!world.is_inside && h);
    return h;
}

static void release(struct held *h)
{
    struct peri_exchange *x = h->x;
    h->x = NULL;
    if (x->state != PERI_X_LOG)
        peri_exchange_set_state(x, PERI_X_LOG);
    peri_exchange_set_state(x, PERI_X_DONE);
    world.is_inside = true;
    x->client->release(x);
    world.is_inside = false;
}

static void answer(struct held *h)
{
    static char bytes[100 * 1024];
    struct peri_exchange *x = h->x;
    size_t len = h->manner == LARGE ? sizeof(bytes) : 3;
    x->res.status = 200;
    x->res.content_length = h->manner == LARGE ? PERI_LENGTH_UNKNOWN : (int64_t)len;
    peri_headers_add(&x->res.trailers, PERI_SLICE("x-sum"), PERI_SLICE("1"));
    peri_exchange_set_state(x, PERI_X_RESPONSE);
    peri_exchange_set_state(x, PERI_X_SENDING);
    world.is_inside = true;
    x->client->send_interim(x, 103, NULL);
    x->client->send_head(x, false);
    x->client->send_body(x, peri_slice(bytes, len));
    x->client->send_end(x);
    world.is_inside = false;
    release(h);
}

static void on_request(struct peri_exchange *x)
{
    struct held *h = find(NULL);
    peri_assert(!world.is_inside && h && x->state == PERI_X_REQUEST);
    peri_assert(x->req.version == 20 && x->req.path.len > 0 && x->req.authority.len > 0 && x->req.method_name.len > 0);
    *h = (struct held){.x = x, .manner = (enum manner)((world.manner + world.begun++) % MANNERS)};
    if (h->manner == AT_ONCE) {
        answer(h);
    } else if (h->manner == RESETS) {
        x->client->reset(x, PERI_ERR_UPSTREAM_RESET);
        release(h);
    } else if (h->manner == TUNNELS && x->req.upgrade.len > 0) {
        x->res.status = 101;
        x->res.is_upgrade = true;
        peri_exchange_set_state(x, PERI_X_RESPONSE);
        peri_exchange_set_state(x, PERI_X_TUNNEL);
        x->client->send_head(x, false);
        x->client->send_body(x, PERI_SLICE("frame"));
    }
}

static void on_body(struct peri_exchange *x, struct peri_slice data)
{
    struct held *h = find(x);
    peri_assert(!world.is_inside && data.len > 0);
    if (!h)
        return; // it was answered at once, from on_request
    peri_assert(!h->is_ended);
    peri_assert(x->req.upgrade.len == 0 || x->state == PERI_X_TUNNEL);
    if (h->manner == PAUSES)
        x->client->pause_body(x, true);
}

static void on_body_end(struct peri_exchange *x)
{
    struct held *h = find_live(x);
    peri_assert(!h->is_ended);
    h->is_ended = true;
    if (x->state == PERI_X_TUNNEL) {
        x->client->send_end(x);
        release(h);
    } else if (h->manner == AT_END || h->manner == PAUSES || h->manner == LARGE || h->manner == TUNNELS) {
        answer(h);
    }
}

static void on_client_drain(struct peri_exchange *x)
{
    find_live(x)->is_full = false;
}

static void on_abort(struct peri_exchange *x, peri_err_t err)
{
    struct held *h = find_live(x);
    peri_assert(err != PERI_OK);
    release(h);
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
    PERI_UNUSED(data);
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

static void turn(void)
{
    while (peri_loop_turn(world.loop))
        ;
}

// Those who are paused go on, those who answer late do so.
static void settle(void)
{
    turn();
    for (unsigned i = 0; i < STREAMS; i++) {
        struct held *h = &world.held[i];
        if (h->x && h->manner == PAUSES)
            h->x->client->pause_body(h->x, false);
        else if (h->x && h->manner == LATE && h->x->state == PERI_X_REQUEST)
            answer(h);
    }
    turn();
}

static void send(struct peri_slice bytes, uint8_t cut)
{
    uint32_t random = cut;
    for (size_t at = 0; at < bytes.len && world.client;) {
        random = random * 1664525u + 1013904223u;
        size_t len = cut == 0 ? bytes.len : 1 + (random >> 16) % (cut * 2u);
        len = len < bytes.len - at ? len : bytes.len - at;
        peri_stream_write(world.client, peri_slice(bytes.ptr + at, len));
        at += len;
        settle();
    }
}

// Frames with their lengths right, so that what is fuzzed is what stands in them.
static void send_frames(struct peri_slice input, uint8_t cut)
{
    while (input.len >= 4) {
        const uint8_t *in = (const uint8_t *)input.ptr;
        size_t len = in[3] < input.len - 4 ? in[3] : input.len - 4;
        char frame[9 + 255] = {0, 0, (char)len, (char)in[0], (char)in[1], 0, 0, 0, (char)in[2]};
        memcpy(frame + 9, in + 4, len);
        send(peri_slice(frame, 9 + len), cut);
        input = peri_slice(input.ptr + 4 + len, input.len - 4 - len);
    }
}

static struct peri_listener *open_world(uint8_t manner)
{
    static struct peri_listener_settings settings;
    struct peri_stream *pair[2];
    memset(&world, 0, sizeof(world));
    settings = peri_listener_defaults();
    settings.body_bytes = 100000;
    settings.streams = STREAMS;
    world.loop = peri_loop_new(true);
    world.manner = manner & ~RAW;
    struct peri_listener *listener = peri_listener_open_memory(world.loop, &settings, &owner, &world);
    peri_assert(world.loop && listener && peri_stream_open_pair(world.loop, pair));
    world.client = pair[0];
    peri_stream_set_owner(pair[0], &client_events, NULL);
    peri_stream_read_start(pair[0]);
    peri_listener_adopt(listener, pair[1]);
    return listener;
}

static void on_drained(void *data)
{
    PERI_UNUSED(data);
}

static void close_world(struct peri_listener *listener, uint8_t how)
{
    if (how & 0x40)
        peri_listener_drain(listener, on_drained, NULL);
    if (how & 0x10)
        peri_loop_advance(world.loop, 400000);
    settle();
    if (world.client && how & 0x20)
        peri_stream_shutdown(world.client);
    settle();
    if (world.client)
        peri_stream_close(world.client);
    settle();
    peri_listener_close(listener);
    settle();
    for (unsigned i = 0; i < STREAMS; i++)
        peri_assert(!world.held[i].x);
    peri_assert(!world.client && peri_exchange_count() == 0);
    peri_assert(peri_loop_streams(world.loop) == 0 && peri_loop_timers(world.loop) == 0);
    peri_loop_free(world.loop);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct peri_slice input = peri_slice((const char *)data + 2, size - 2);
    struct peri_listener *listener = open_world(data[0]);
    uint8_t cut = data[1] & 15;
    send(PERI_SLICE(PERI_H2_PREFACE), cut);
    if (data[0] & RAW)
        send(input, cut);
    else
        send_frames(input, cut);
    close_world(listener, data[1]);
    return 0;
}
