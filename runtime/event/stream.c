// SPDX-License-Identifier: MIT
// The part of a stream that does not depend on its backend: cork, queue, marks, orderly end.
//
//   write --small--> cork --end of turn--> try_write --rest--> queue --send_queue--> sent ... until empty
//   write --large--> try_write(cork, data) --rest--> queue
#include "event/stream.h"

#include <stdlib.h>

#include "base/assert.h"
#include "event/stream_internal.h"

#define PERI_STREAM_SMALL 4096 ///< bytes up to which copying into the cork beats a system call of its own

static char *cork_take(struct peri_loop *loop)
{
    char *cork = loop->corks;
    if (!cork)
        return malloc(PERI_CORK_SIZE);
    loop->corks = *(void **)(void *)cork;
    loop->cork_count--;
    return cork;
}

static void cork_give(struct peri_loop *loop, char *cork)
{
    if (loop->cork_count >= PERI_CORK_POOL) {
        free(cork);
        return;
    }
    *(void **)(void *)cork = loop->corks;
    loop->corks = cork;
    loop->cork_count++;
}

static void stream_drop_cork(struct peri_stream *stream)
{
    peri_list_remove(&stream->dirty);
    stream->cork_len = 0;
    if (stream->cork)
        cork_give(stream->loop, stream->cork);
    stream->cork = NULL;
}

static void on_report(struct peri_defer *defer)
{
    struct peri_stream *stream = PERI_CONTAINER(defer, struct peri_stream, report);
    if (!stream->is_closing)
        peri_stream_ended(stream, PERI_ERR_CLOSED);
}

static void on_linger(struct peri_timer *timer)
{
    peri_stream_close(PERI_CONTAINER(timer, struct peri_stream, linger));
}

void peri_stream_init(struct peri_stream *stream, struct peri_loop *loop, const struct peri_stream_ops *ops)
{
    *stream = (struct peri_stream){.ops = ops, .loop = loop};
    loop->stream_count++;
    peri_list_init(&stream->dirty);
    peri_defer_init(&stream->report, on_report);
    peri_timer_init(&stream->linger, on_linger);
}

void peri_stream_set_owner(struct peri_stream *stream, const struct peri_stream_events *events, void *data)
{
    peri_debug_assert(events && events->on_close);
    stream->events = events;
    stream->data = data;
}

void *peri_stream_data(const struct peri_stream *stream)
{
    return stream->data;
}

static void tell_address(const struct peri_stream_address *address, char ip[46], uint16_t *port)
{
    memcpy(ip, address->ip, sizeof(address->ip));
    *port = address->port;
}

void peri_stream_peer(const struct peri_stream *stream, char ip[46], uint16_t *port)
{
    if (stream->peer)
        tell_address(stream->peer, ip, port);
    else
        stream->ops->peer(stream, ip, port);
}

void peri_stream_local(const struct peri_stream *stream, char ip[46], uint16_t *port)
{
    if (stream->local)
        tell_address(stream->local, ip, port);
    else
        stream->ops->local(stream, ip, port);
}

static peri_err_t set_address(struct peri_stream_address **address, struct peri_slice ip, uint16_t port)
{
    struct peri_stream_address *a = *address ? *address : calloc(1, sizeof(*a));
    if (!a)
        return PERI_ERR_NOMEM;
    size_t len = ip.len < sizeof(a->ip) ? ip.len : sizeof(a->ip) - 1;
    memcpy(a->ip, ip.ptr, len);
    a->ip[len] = '\0';
    a->port = port;
    *address = a;
    return PERI_OK;
}

peri_err_t peri_stream_set_peer(struct peri_stream *stream, struct peri_slice ip, uint16_t port)
{
    return set_address(&stream->peer, ip, port);
}

peri_err_t peri_stream_set_local(struct peri_stream *stream, struct peri_slice ip, uint16_t port)
{
    return set_address(&stream->local, ip, port);
}

void peri_stream_read_start(struct peri_stream *stream)
{
    if (!stream->is_closing && !stream->is_ended)
        stream->ops->read_start(stream);
}

void peri_stream_read_stop(struct peri_stream *stream)
{
    if (!stream->is_closing && !stream->is_ended)
        stream->ops->read_stop(stream);
}

// What to do when nothing is pending any more.
static void stream_on_empty(struct peri_stream *stream)
{
    if (stream->wants_close && !stream->waits_for_peer) {
        peri_stream_close(stream);
    } else if (stream->wants_shutdown) {
        stream->wants_shutdown = false;
        stream->ops->shutdown(stream);
    }
}

static void stream_break(struct peri_stream *stream)
{
    stream->is_broken = true;
    if (!stream->is_sending) // otherwise the backend still reads from it
        peri_buf_close(&stream->queue);
    stream_drop_cork(stream);
    peri_defer_schedule(stream->loop, &stream->report);
}

static void stream_send_queue(struct peri_stream *stream)
{
    if (stream->queue.len >= PERI_STREAM_HIGH)
        stream->is_high = true;
    if (!stream->is_sending && stream->queue.len > 0) {
        stream->is_sending = true;
        stream->ops->send_queue(stream);
    }
}

// Writes runs in order; queues what is not taken.
static peri_err_t stream_write_runs(struct peri_stream *stream, const struct peri_slice *runs, unsigned count)
{
    ssize_t taken = stream->queue.len > 0 ? 0 : stream->ops->try_write(stream, runs, count);
    if (taken < 0) {
        stream_break(stream);
        return PERI_OK;
    }
    peri_err_t err = PERI_OK;
    for (unsigned i = 0; i < count && err == PERI_OK; i++) {
        size_t skip = (size_t)taken < runs[i].len ? (size_t)taken : runs[i].len;
        taken -= (ssize_t)skip;
        err = peri_buf_put(&stream->queue, peri_slice(runs[i].ptr + skip, runs[i].len - skip));
    }
    if (err == PERI_OK)
        stream_send_queue(stream);
    else
        stream_break(stream); // what is written next must not follow a hole
    return err;
}

void peri_stream_flush(struct peri_stream *stream)
{
    if (stream->cork_len == 0)
        return;
    struct peri_slice run = peri_slice(stream->cork, stream->cork_len);
    stream_write_runs(stream, &run, 1);
    if (stream->cork)
        stream_drop_cork(stream);
    if (stream->queue.len == 0)
        stream_on_empty(stream);
}

void peri_streams_flush(struct peri_loop *loop)
{
    while (!peri_list_is_empty(&loop->dirty))
        peri_stream_flush(PERI_LIST_ITEM(loop->dirty.next, struct peri_stream, dirty));
}

char *peri_stream_reserve(struct peri_stream *stream, size_t len)
{
    peri_assert(len <= PERI_STREAM_RESERVE);
    if (stream->queue.len > 0 || stream->is_broken || stream->is_closing)
        return NULL;
    if (stream->cork_len + len > PERI_CORK_SIZE) {
        peri_stream_flush(stream);
        if (stream->queue.len > 0 || stream->is_broken || stream->is_closing)
            return NULL;
    }
    if (!stream->cork)
        stream->cork = cork_take(stream->loop);
    return stream->cork ? stream->cork + stream->cork_len : NULL;
}

void peri_stream_commit(struct peri_stream *stream, size_t len)
{
    peri_debug_assert(stream->cork && stream->cork_len + len <= PERI_CORK_SIZE);
    stream->cork_len += (uint32_t)len;
    if (peri_list_is_empty(&stream->dirty))
        peri_list_append(&stream->loop->dirty, &stream->dirty);
}

static peri_err_t stream_write_large(struct peri_stream *stream, struct peri_slice data)
{
    struct peri_slice runs[2] = {peri_slice(stream->cork, stream->cork_len), data};
    unsigned skip = stream->cork_len == 0;
    peri_err_t err = stream_write_runs(stream, runs + skip, 2 - skip);
    if (stream->cork)
        stream_drop_cork(stream);
    return err;
}

peri_err_t peri_stream_write(struct peri_stream *stream, struct peri_slice data)
{
    if (data.len == 0 || stream->is_broken || stream->is_closing)
        return PERI_OK;
    if (data.len <= PERI_STREAM_SMALL) {
        char *room = peri_stream_reserve(stream, data.len);
        if (room) {
            memcpy(room, data.ptr, data.len);
            peri_stream_commit(stream, data.len);
            return PERI_OK;
        }
        if (stream->is_broken || stream->is_closing)
            return PERI_OK;
    }
    return stream_write_large(stream, data);
}

size_t peri_stream_pending(const struct peri_stream *stream)
{
    return stream->queue.len + stream->cork_len;
}

void peri_stream_sent(struct peri_stream *stream, size_t len, bool is_broken)
{
    peri_debug_assert(stream->is_sending);
    stream->is_sending = false;
    if (stream->is_closing)
        return;
    if (is_broken || stream->is_broken) {
        stream_break(stream);
        return;
    }
    peri_buf_take(&stream->queue, len);
    stream_send_queue(stream);
    if (stream->is_high && peri_stream_pending(stream) <= PERI_STREAM_LOW) {
        stream->is_high = false;
        if (stream->events && stream->events->on_drain)
            stream->events->on_drain(stream);
    }
    if (!stream->is_closing && peri_stream_pending(stream) == 0)
        stream_on_empty(stream);
}

void peri_stream_ended(struct peri_stream *stream, peri_err_t err)
{
    if (stream->is_ended && (err == PERI_OK || stream->has_failed))
        return;
    stream->is_ended = true;
    stream->has_failed = err != PERI_OK;
    stream->waits_for_peer = false;
    if (stream->wants_close && (err != PERI_OK || peri_stream_pending(stream) == 0))
        peri_stream_close(stream);
    else if (!stream->wants_close && stream->events)
        stream->events->on_end(stream, err);
}

void peri_stream_shutdown(struct peri_stream *stream)
{
    if (stream->is_closing || stream->is_broken)
        return;
    stream->wants_shutdown = true;
    if (peri_stream_pending(stream) == 0)
        stream_on_empty(stream);
}

static void stream_close(struct peri_stream *stream, bool is_reset)
{
    if (stream->is_closing)
        return;
    stream->is_closing = true;
    peri_timer_stop(&stream->linger);
    peri_defer_cancel(&stream->report);
    stream_drop_cork(stream);
    stream->ops->close(stream, is_reset);
}

void peri_stream_close(struct peri_stream *stream)
{
    stream_close(stream, false);
}

void peri_stream_reset(struct peri_stream *stream)
{
    stream_close(stream, true);
}

void peri_stream_closed(struct peri_stream *stream)
{
    peri_debug_assert(stream->is_closing && stream->cork_len == 0);
    peri_buf_close(&stream->queue);
    stream->loop->stream_count--;
    if (stream->events)
        stream->events->on_close(stream);
    free(stream->peer);
    free(stream->local);
    free(stream);
}

void peri_stream_received(struct peri_stream *stream, struct peri_slice data)
{
    if (!stream->is_closing && !stream->wants_close && stream->events)
        stream->events->on_read(stream, data);
}

void peri_stream_hand_on(struct peri_stream *stream, struct peri_slice data)
{
    if (data.len > 0)
        peri_stream_received(stream, data);
}

void peri_stream_close_gently(struct peri_stream *stream, uint64_t max_ms, bool waits_for_peer)
{
    if (stream->is_closing || stream->wants_close)
        return;
    stream->wants_close = true;
    stream->waits_for_peer = waits_for_peer && !stream->is_ended;
    stream->wants_shutdown = stream->waits_for_peer;
    if (stream->is_broken) {
        peri_stream_close(stream);
        return;
    }
    peri_timer_start(stream->loop, &stream->linger, max_ms);
    peri_stream_read_start(stream);
    if (peri_stream_pending(stream) == 0)
        stream_on_empty(stream);
}
