// SPDX-License-Identifier: MIT
// Each direction is open, ended (the other stream is shut down behind the last byte) or broken:
//
//   read -> write to the other -> (it is high: stop reading) -> (it has drained: read again)
//   both ended -> both closed when all is sent
#include "proxy/relay.h"

#include "base/assert.h"
#include "event/stream.h"

#define PERI_RELAY_LINGER_MS 30000 ///< for the last bytes of a slow side once both have ended

static int side_of(const struct peri_relay *relay, const struct peri_stream *stream)
{
    peri_debug_assert(stream == relay->sides[0].stream || stream == relay->sides[1].stream);
    return stream == relay->sides[PERI_RELAY_CLIENT].stream ? PERI_RELAY_CLIENT : PERI_RELAY_UPSTREAM;
}

static void relay_touch(struct peri_relay *relay)
{
    if (relay->idle_ms > 0 && !relay->is_over)
        peri_timer_start(relay->loop, &relay->idle, relay->idle_ms);
}

static void relay_reset(struct peri_relay *relay)
{
    relay->is_over = true;
    peri_timer_stop(&relay->idle);
    for (int i = 0; i < 2; i++)
        if (relay->sides[i].stream)
            peri_stream_reset(relay->sides[i].stream);
}

static void relay_break(struct peri_relay *relay, peri_err_t err)
{
    bool was_over = relay->is_over;
    relay_reset(relay);
    if (!was_over)
        relay->events->on_over(relay, err);
}

static void relay_check_end(struct peri_relay *relay)
{
    if (!relay->sides[0].has_end || !relay->sides[1].has_end)
        return;
    relay->is_over = true;
    peri_timer_stop(&relay->idle);
    for (int i = 0; i < 2; i++)
        peri_stream_close_gently(relay->sides[i].stream, PERI_RELAY_LINGER_MS, false);
    relay->events->on_over(relay, PERI_OK);
}

void peri_relay_put(struct peri_relay *relay, int side, struct peri_slice data)
{
    struct peri_relay_side *from = &relay->sides[side];
    struct peri_stream *to = relay->sides[!side].stream;
    from->bytes += data.len;
    if (from->count)
        *from->count += data.len;
    peri_stream_write(to, data);
    if (peri_stream_pending(to) >= PERI_STREAM_HIGH && !from->is_stopped) {
        from->is_stopped = true;
        peri_stream_read_stop(from->stream);
    }
}

static void on_read(struct peri_stream *stream, struct peri_slice data)
{
    struct peri_relay *relay = peri_stream_data(stream);
    if (relay->is_over)
        return;
    relay_touch(relay);
    peri_relay_put(relay, side_of(relay, stream), data);
}

static void on_drain(struct peri_stream *stream)
{
    struct peri_relay *relay = peri_stream_data(stream);
    struct peri_relay_side *from = &relay->sides[!side_of(relay, stream)];
    if (relay->is_over || !from->is_stopped)
        return;
    relay_touch(relay);
    from->is_stopped = false;
    peri_stream_read_start(from->stream);
}

static void on_end(struct peri_stream *stream, peri_err_t err)
{
    struct peri_relay *relay = peri_stream_data(stream);
    int side = side_of(relay, stream);
    if (err != PERI_OK) {
        relay_break(relay, side == PERI_RELAY_CLIENT ? PERI_ERR_CLIENT_GONE : PERI_ERR_UPSTREAM_RESET);
        return;
    }
    if (relay->is_over)
        return;
    relay_touch(relay);
    relay->sides[side].has_end = true;
    peri_stream_shutdown(relay->sides[!side].stream);
    relay_check_end(relay);
}

static void on_close(struct peri_stream *stream)
{
    struct peri_relay *relay = peri_stream_data(stream);
    int side = side_of(relay, stream);
    if (!relay->is_over) // closed from below
        relay_break(relay, side == PERI_RELAY_CLIENT ? PERI_ERR_CLIENT_GONE : PERI_ERR_UPSTREAM_RESET);
    relay->sides[side].stream = NULL;
    relay->events->on_closed(relay, side);
}

static const struct peri_stream_events relay_events = {
    .on_read = on_read, .on_end = on_end, .on_drain = on_drain, .on_close = on_close};

static void on_idle(struct peri_timer *timer)
{
    relay_break(PERI_CONTAINER(timer, struct peri_relay, idle), PERI_ERR_IDLE_TIMEOUT);
}

void peri_relay_start(struct peri_relay *relay, struct peri_loop *loop, const struct peri_relay_events *events,
                      struct peri_stream *client, struct peri_stream *upstream, uint64_t idle_ms)
{
    peri_debug_assert(!relay->is_over && client != upstream);
    relay->sides[PERI_RELAY_CLIENT].stream = client;
    relay->sides[PERI_RELAY_UPSTREAM].stream = upstream;
    relay->events = events;
    relay->loop = loop;
    relay->idle_ms = idle_ms;
    peri_timer_init(&relay->idle, on_idle);
    relay_touch(relay);
    for (int i = 0; i < 2; i++) {
        peri_stream_set_owner(relay->sides[i].stream, &relay_events, relay);
        peri_stream_read_start(relay->sides[i].stream);
    }
}

void peri_relay_close(struct peri_relay *relay)
{
    relay_reset(relay);
}
