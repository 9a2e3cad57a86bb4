// SPDX-License-Identifier: MIT
// A connection of the pool without an attempt; the stream's events are the dial's until it is given away.
#include "upstream/dial.h"

#include <stdlib.h>

#include "base/assert.h"
#include "event/stream.h"
#include "upstream/connection.h"

struct peri_dial {
    struct peri_upstream_connection *connection;
    void (*on_done)(void *data, peri_err_t err, struct peri_stream *stream);
    void *data;
};

static void dial_fail(struct peri_upstream_connection *c, peri_err_t err)
{
    struct peri_dial *dial = c->dial;
    if (!dial)
        return; // cancelled
    void (*on_done)(void *, peri_err_t, struct peri_stream *) = dial->on_done;
    void *data = dial->data;
    peri_upstream_connection_close(c);
    free(dial);
    on_done(data, err, NULL);
}

static void on_connect(struct peri_stream *stream, peri_err_t err)
{
    struct peri_upstream_connection *c = peri_stream_data(stream);
    struct peri_dial *dial = c->dial;
    peri_timer_stop(&c->timer);
    if (!dial)
        return;
    if (err != PERI_OK) {
        dial_fail(c, err == PERI_ERR_OVERLOADED ? err : PERI_ERR_CONNECT);
        return;
    }
    c->is_connected = true;
    dial->on_done(dial->data, PERI_OK, stream);
}

static void on_read(struct peri_stream *stream, struct peri_slice data)
{
    PERI_UNUSED(stream);
    PERI_UNUSED(data);
    peri_assert(false); // nobody reads yet
}

static void on_end(struct peri_stream *stream, peri_err_t err)
{
    PERI_UNUSED(err);
    dial_fail(peri_stream_data(stream), PERI_ERR_CONNECT);
}

static void on_close(struct peri_stream *stream)
{
    peri_upstream_connection_closed(peri_stream_data(stream));
}

static const struct peri_stream_events dial_events = {
    .on_connect = on_connect, .on_read = on_read, .on_end = on_end, .on_close = on_close};

struct peri_dial *peri_dial_start(struct peri_pool *pool, uint64_t connect_ms,
                                  void (*on_done)(void *data, peri_err_t err, struct peri_stream *stream), void *data)
{
    struct peri_dial *dial = calloc(1, sizeof(*dial));
    if (!dial)
        return NULL;
    dial->on_done = on_done;
    dial->data = data;
    dial->connection = peri_pool_dial(pool, &dial_events, dial, connect_ms, dial_fail);
    if (dial->connection)
        return dial;
    free(dial);
    return NULL;
}

bool peri_dial_is_done(const struct peri_dial *dial)
{
    return dial->connection->is_connected;
}

void peri_dial_cancel(struct peri_dial *dial)
{
    peri_debug_assert(!dial->connection->is_connected);
    peri_upstream_connection_close(dial->connection);
    free(dial);
}

void peri_dial_end(struct peri_dial *dial)
{
    peri_debug_assert(dial->connection->is_connected);
    dial->connection->dial = NULL;
    peri_upstream_connection_closed(dial->connection);
    free(dial);
}
