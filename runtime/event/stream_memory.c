// SPDX-License-Identifier: MIT
// Streams in memory, joined in pairs: what one writes, the other reads on a later turn. They have the limits of real
// sockets (64 KiB in flight, orderly end in each direction), so that tests meet real back-pressure.
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/attr.h"
#include "event/stream_internal.h"

#define PERI_MEMORY_WINDOW (64 * 1024) ///< bytes in flight in one direction

struct memory_stream {
    struct peri_stream base;
    struct memory_stream *peer;  ///< NULL once it is closed
    struct peri_buf inbox;       ///< sent by the peer, not read yet
    struct peri_defer turn;      ///< delivers the inbox and the end
    struct peri_defer writable;  ///< the peer made room
    struct peri_defer connected; ///< tells the owner so
    struct peri_defer gone;
    bool is_reading;
    bool has_eof; ///< the peer ended its direction
};

static struct memory_stream *memory(struct peri_stream *stream)
{
    return PERI_CONTAINER(stream, struct memory_stream, base);
}

static ssize_t memory_try_write(struct peri_stream *stream, const struct peri_slice *runs, unsigned count)
{
    struct memory_stream *peer = memory(stream)->peer;
    if (!peer)
        return -1;
    ssize_t taken = 0;
    for (unsigned i = 0; i < count; i++) {
        size_t room = PERI_MEMORY_WINDOW - peer->inbox.len;
        size_t part = runs[i].len < room ? runs[i].len : room;
        if (peri_buf_put(&peer->inbox, peri_slice(runs[i].ptr, part)) != PERI_OK)
            return -1;
        taken += (ssize_t)part;
        if (part < runs[i].len)
            break;
    }
    peri_defer_schedule(peer->base.loop, &peer->turn);
    return taken;
}

static void memory_send_queue(struct peri_stream *stream)
{
    struct memory_stream *self = memory(stream);
    if (!self->peer || self->peer->inbox.len < PERI_MEMORY_WINDOW)
        peri_defer_schedule(stream->loop, &self->writable);
}

static void on_memory_writable(struct peri_defer *defer)
{
    struct memory_stream *self = PERI_CONTAINER(defer, struct memory_stream, writable);
    struct peri_slice runs[PERI_STREAM_RUNS];
    unsigned count = peri_buf_peek_many(&self->base.queue, runs, PERI_STREAM_RUNS);
    ssize_t taken = memory_try_write(&self->base, runs, count);
    peri_stream_sent(&self->base, taken < 0 ? 0 : (size_t)taken, taken < 0);
}

static void memory_read_start(struct peri_stream *stream)
{
    memory(stream)->is_reading = true;
    peri_defer_schedule(stream->loop, &memory(stream)->turn);
}

static void memory_read_stop(struct peri_stream *stream)
{
    memory(stream)->is_reading = false;
}

static void memory_shutdown(struct peri_stream *stream)
{
    struct memory_stream *peer = memory(stream)->peer;
    if (!peer)
        return;
    peer->has_eof = true;
    peri_defer_schedule(peer->base.loop, &peer->turn);
}

static void memory_read_some(struct memory_stream *self)
{
    char *buffer = self->base.loop->read_buffer;
    size_t len = 0;
    while (self->inbox.len > 0 && len < PERI_READ_BUFFER) {
        struct peri_slice run = peri_buf_peek(&self->inbox);
        size_t part = run.len < PERI_READ_BUFFER - len ? run.len : PERI_READ_BUFFER - len;
        memcpy(buffer + len, run.ptr, part);
        peri_buf_take(&self->inbox, part);
        len += part;
    }
    if (self->peer && self->peer->base.is_sending)
        peri_defer_schedule(self->peer->base.loop, &self->peer->writable);
    peri_stream_received(&self->base, peri_slice(buffer, len));
}

static void on_memory_turn(struct peri_defer *defer)
{
    struct memory_stream *self = PERI_CONTAINER(defer, struct memory_stream, turn);
    if (!self->is_reading || self->base.is_closing)
        return;
    if (self->inbox.len > 0) {
        memory_read_some(self);
        if (!self->base.is_closing)
            peri_defer_schedule(self->base.loop, &self->turn);
    } else if (self->has_eof || !self->peer) {
        peri_stream_ended(&self->base, self->has_eof ? PERI_OK : PERI_ERR_CLOSED);
    }
}

static void on_memory_gone(struct peri_defer *defer)
{
    struct memory_stream *self = PERI_CONTAINER(defer, struct memory_stream, gone);
    peri_buf_close(&self->inbox);
    peri_stream_closed(&self->base);
}

static void on_memory_connected(struct peri_defer *defer)
{
    struct memory_stream *self = PERI_CONTAINER(defer, struct memory_stream, connected);
    self->base.events->on_connect(&self->base, PERI_OK);
}

void peri_stream_announce(struct peri_stream *stream)
{
    peri_defer_schedule(stream->loop, &memory(stream)->connected);
}

static void memory_close(struct peri_stream *stream, bool is_reset)
{
    struct memory_stream *self = memory(stream);
    peri_defer_cancel(&self->turn);
    peri_defer_cancel(&self->writable);
    peri_defer_cancel(&self->connected);
    if (self->peer) {
        self->peer->has_eof = self->peer->has_eof || (self->inbox.len == 0 && !is_reset);
        self->peer->peer = NULL;
        peri_defer_schedule(self->peer->base.loop, &self->peer->turn);
        if (self->peer->base.is_sending)
            peri_defer_schedule(self->peer->base.loop, &self->peer->writable);
    }
    peri_defer_schedule(stream->loop, &self->gone);
}

static void memory_peer(const struct peri_stream *stream, char ip[46], uint16_t *port)
{
    PERI_UNUSED(stream);
    memcpy(ip, "memory", sizeof("memory"));
    *port = 0;
}

static const struct peri_stream_ops memory_ops = {
    .try_write = memory_try_write,
    .send_queue = memory_send_queue,
    .read_start = memory_read_start,
    .read_stop = memory_read_stop,
    .shutdown = memory_shutdown,
    .close = memory_close,
    .peer = memory_peer,
    .local = memory_peer,
};

size_t peri_stream_unread(const struct peri_stream *stream)
{
    peri_assert(stream->ops == &memory_ops);
    const struct memory_stream *self = PERI_CONTAINER(stream, const struct memory_stream, base);
    return peri_stream_pending(stream) + (self->peer ? self->peer->inbox.len : 0);
}

static struct memory_stream *memory_new(struct peri_loop *loop)
{
    struct memory_stream *self = calloc(1, sizeof(*self));
    if (!self)
        return NULL;
    peri_stream_init(&self->base, loop, &memory_ops);
    peri_buf_init(&self->inbox);
    peri_defer_init(&self->turn, on_memory_turn);
    peri_defer_init(&self->writable, on_memory_writable);
    peri_defer_init(&self->connected, on_memory_connected);
    peri_defer_init(&self->gone, on_memory_gone);
    return self;
}

bool peri_stream_open_pair(struct peri_loop *loop, struct peri_stream *pair[2])
{
    struct memory_stream *a = memory_new(loop);
    struct memory_stream *b = memory_new(loop);
    if (!a || !b) {
        loop->stream_count -= (a != NULL) + (b != NULL);
        free(a);
        free(b);
        return false;
    }
    a->peer = b;
    b->peer = a;
    pair[0] = &a->base;
    pair[1] = &b->base;
    return true;
}
