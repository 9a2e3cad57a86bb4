// SPDX-License-Identifier: MIT
// A client connection until its TLS handshake is done; then it becomes one that speaks the protocol agreed on. It counts as
// a connection from the beginning, so that a storm of half-open ones meets the listener's limit. Its first byte is looked at before
// TLS is: who speaks HTTP here, in the clear, is told so in words that it can read.
#include <stdlib.h>

#include "base/log.h"
#include "downstream/connection.h"
#include "downstream/tcp.h"
#include "event/loop.h"
#include "event/stream.h"
#include "event/timer.h"
#include "event/tls.h"
#include "shared/metrics.h"

#define LINGER_MS 2000 // how long a peer is read out after it was told
#define PLAIN_TEXT "This port speaks TLS: the request has to come by https.\n"
#define PLAIN_ANSWER                                                                                                   \
    "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 56\r\nconnection: "                       \
    "close\r\n\r\n" PLAIN_TEXT

struct handshake {
    struct peri_connection base;    ///< first: the listener's view
    struct peri_stream *stream;     ///< the raw one until its first byte came, then the one that speaks TLS
    struct peri_tls_server *server; ///< referenced
    struct peri_timer timer;        ///< until the first byte
    uint64_t end_ms;                ///< when the handshake must be done; 0 for never
};

static void handshake_free(struct handshake *h)
{
    peri_timer_stop(&h->timer);
    peri_tls_server_unref(h->server);
    peri_connection_leave(&h->base);
    free(h);
}

static void on_asked_to_go(struct peri_connection *base)
{
    peri_stream_close(PERI_CONTAINER(base, struct handshake, base)->stream);
}

static void on_close_asked(struct peri_connection *base, peri_err_t err)
{
    PERI_UNUSED(err);
    on_asked_to_go(base);
}

static const struct peri_connection_ops handshake_ops = {.drain = on_asked_to_go, .close = on_close_asked};

static void note_failure(struct handshake *h, const char *why)
{
    char ip[46];
    uint16_t port;
    peri_timer_stop(&h->timer);
    peri_stream_peer(h->stream, ip, &port);
    peri_debug("tls: %s: %s", ip, why);
    if (h->base.home->page)
        h->base.home->page->handshakes_failed++;
}

static void handshake_fail(struct handshake *h, const char *why)
{
    note_failure(h, why);
    peri_stream_close(h->stream);
}

// The connection that speaks what was agreed on.
static bool open_connection(struct peri_connection_home *home, struct peri_stream *stream, struct peri_tls_info *tls)
{
    if (home->tcp)
        return peri_tcp_open(home, stream, tls);
    if (peri_slice_eq(peri_slice_from(tls->alpn), PERI_SLICE("h2")))
        return peri_connection_open_h2(home, stream, tls, false, peri_slice(NULL, 0));
    return peri_connection_open(home, stream, tls);
}

static void on_connect(struct peri_stream *stream, peri_err_t err)
{
    struct handshake *h = peri_stream_data(stream);
    struct peri_connection_home *home = h->base.home;
    if (err != PERI_OK) {
        handshake_fail(h, peri_stream_tls_failure(stream));
        return;
    }
    struct peri_tls_info *tls = peri_stream_take_tls(stream);
    handshake_free(h);
    if (!open_connection(home, stream, tls))
        home->on_closed(home);
}

static void on_close(struct peri_stream *stream)
{
    struct handshake *h = peri_stream_data(stream);
    struct peri_connection_home *home = h->base.home;
    handshake_free(h);
    home->on_closed(home);
}

static const struct peri_stream_events handshake_events = {.on_connect = on_connect, .on_close = on_close};

// ---- before the first byte ----

static void answer_plain(struct handshake *h)
{
    _Static_assert(sizeof(PLAIN_TEXT) - 1 == 56, "the length that PLAIN_ANSWER says");
    note_failure(h, "HTTP without TLS");
    peri_stream_write(h->stream, PERI_SLICE(PLAIN_ANSWER));
    peri_stream_close_gently(h->stream, LINGER_MS, true);
}

static uint64_t time_left(const struct handshake *h)
{
    uint64_t now = peri_loop_now_ms(h->base.home->loop);
    if (h->end_ms == 0)
        return 0;
    return h->end_ms > now ? h->end_ms - now : 1;
}

static void begin_tls(struct handshake *h, struct peri_stream *raw, struct peri_slice data)
{
    struct peri_connection_home *home = h->base.home;
    peri_timer_stop(&h->timer);
    h->stream = peri_stream_accept_tls(raw, h->server, time_left(h), &handshake_events, h);
    if (!h->stream) {
        handshake_free(h);
        home->on_closed(home);
        return;
    }
    peri_stream_hand_on(raw, data);
}

// No record of TLS begins with a letter, and every method of HTTP does.
static void on_first_read(struct peri_stream *stream, struct peri_slice data)
{
    struct handshake *h = peri_stream_data(stream);
    bool is_http = data.ptr[0] >= 'A' && data.ptr[0] <= 'Z';
    if (is_http && !h->base.home->tcp)
        answer_plain(h);
    else
        begin_tls(h, stream, data);
}

static void on_first_end(struct peri_stream *stream, peri_err_t err)
{
    PERI_UNUSED(err);
    handshake_fail(peri_stream_data(stream), "the peer closed the connection before the handshake");
}

static const struct peri_stream_events first_events = {
    .on_read = on_first_read, .on_end = on_first_end, .on_close = on_close};

static void on_timeout(struct peri_timer *timer)
{
    handshake_fail(PERI_CONTAINER(timer, struct handshake, timer), "no handshake in time");
}

bool peri_connection_open_tls(struct peri_connection_home *home, struct peri_stream *stream,
                              struct peri_tls_server *server)
{
    struct handshake *h = calloc(1, sizeof(*h));
    if (!h) {
        peri_connection_discard(stream);
        return false;
    }
    h->stream = stream;
    h->server = peri_tls_server_ref(server);
    peri_timer_init(&h->timer, on_timeout);
    if (home->settings->headers_ms > 0) {
        h->end_ms = peri_loop_now_ms(home->loop) + home->settings->headers_ms;
        peri_timer_start(home->loop, &h->timer, home->settings->headers_ms);
    }
    peri_connection_enter(&h->base, home, &handshake_ops);
    peri_stream_set_owner(stream, &first_events, h);
    peri_stream_read_start(stream);
    return true;
}
