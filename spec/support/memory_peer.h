// SPDX-License-Identifier: MIT
// The other end of a memory stream, in the hands of a test: sends what it is told, keeps all that it receives, notes the end.
#ifndef PERI_SPEC_MEMORY_PEER_H
#define PERI_SPEC_MEMORY_PEER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "event/loop.h"
#include "event/stream.h"
#include "fail_alloc.h"

#ifndef UNUSED
#define UNUSED __attribute__((unused))
#endif

struct memory_peer {
    struct peri_loop *loop;
    struct peri_stream *stream; ///< NULL once closed
    char *in;                   ///< everything received, NUL-terminated
    size_t len;
    size_t size;
    bool is_ended;  ///< the other side ended its direction or broke
    peri_err_t end; ///< how
    unsigned drains;
};

static void memory_peer_on_read(struct peri_stream *stream, struct peri_slice data)
{
    struct memory_peer *peer = peri_stream_data(stream);
    while (peer->len + data.len + 1 > peer->size) {
        peer->size = peer->size ? peer->size * 2 : 65536;
        peer->in = fail_alloc_spared(peer->in, peer->size);
    }
    memcpy(peer->in + peer->len, data.ptr, data.len);
    peer->len += data.len;
    peer->in[peer->len] = 0;
}

static void memory_peer_on_end(struct peri_stream *stream, peri_err_t err)
{
    struct memory_peer *peer = peri_stream_data(stream);
    assert_false(peer->is_ended && (peer->end != PERI_OK || err == PERI_OK)); // once, and once more when it breaks
    peer->is_ended = true;
    peer->end = err;
}

static void memory_peer_on_drain(struct peri_stream *stream)
{
    struct memory_peer *peer = peri_stream_data(stream);
    peer->drains++;
}

static void memory_peer_on_close(struct peri_stream *stream)
{
    struct memory_peer *peer = peri_stream_data(stream);
    peer->stream = NULL;
}

static const struct peri_stream_events memory_peer_events = {
    .on_read = memory_peer_on_read,
    .on_end = memory_peer_on_end,
    .on_drain = memory_peer_on_drain,
    .on_close = memory_peer_on_close,
};

/// Takes one end of a pair.
UNUSED static void memory_peer_open(struct memory_peer *peer, struct peri_loop *loop, struct peri_stream *stream)
{
    *peer = (struct memory_peer){.loop = loop, .stream = stream};
    peri_stream_set_owner(stream, &memory_peer_events, peer);
    peri_stream_read_start(stream);
}

/// Turns the loop until there is nothing more to do at once.
UNUSED static void settle(struct peri_loop *loop)
{
    for (unsigned turns = 0; peri_loop_turn(loop); turns++)
        if (turns > 100000)
            fail_msg("the loop does not come to rest");
}

/// Sends without turning the loop.
UNUSED static void memory_peer_put(struct memory_peer *peer, struct peri_slice data)
{
    bool was_armed = fail_alloc_pause();
    assert_non_null(peer->stream);
    assert_int_equal(peri_stream_write(peer->stream, data), PERI_OK);
    fail_alloc.is_armed = was_armed;
}

/// Sends, and lets everybody react.
UNUSED static void memory_peer_send(struct memory_peer *peer, const char *text)
{
    memory_peer_put(peer, peri_slice_from(text));
    settle(peer->loop);
}

/// Sends in pieces of `part` bytes, each of which is read by itself.
UNUSED static void memory_peer_send_split(struct memory_peer *peer, struct peri_slice data, size_t part)
{
    while (data.len > 0 && peer->stream && !peer->is_ended) {
        size_t len = data.len < part ? data.len : part;
        memory_peer_put(peer, peri_slice(data.ptr, len));
        settle(peer->loop);
        data = peri_slice(data.ptr + len, data.len - len);
    }
}

/// What was received since the last call of memory_peer_forget.
UNUSED static const char *memory_peer_text(const struct memory_peer *peer)
{
    return peer->in ? peer->in : "";
}

/// Forgets what was received.
UNUSED static void memory_peer_forget(struct memory_peer *peer)
{
    peer->len = 0;
    if (peer->in)
        peer->in[0] = 0;
}

/// Ends our direction.
UNUSED static void memory_peer_end(struct memory_peer *peer)
{
    if (peer->stream)
        peri_stream_shutdown(peer->stream);
    settle(peer->loop);
}

/// Goes away.
UNUSED static void memory_peer_close(struct memory_peer *peer)
{
    if (peer->stream)
        peri_stream_close(peer->stream);
    settle(peer->loop);
}

/// Goes away without an end: the other side is told that the connection broke.
UNUSED static void memory_peer_reset(struct memory_peer *peer)
{
    if (peer->stream)
        peri_stream_reset(peer->stream);
    settle(peer->loop);
}

/// Goes away and frees what was received.
UNUSED static void memory_peer_free(struct memory_peer *peer)
{
    memory_peer_close(peer);
    assert_null(peer->stream);
    free(peer->in);
    peer->in = NULL;
}

#endif
