// SPDX-License-Identifier: MIT
// A client connection until its TLS handshake is done; then it becomes one that speaks the protocol agreed on. It counts as
// a connection from the beginning, so that a storm of half-open ones meets the listener's limit.
#include <stdlib.h>

#include "base/log.h"
#include "downstream/connection.h"
#include "downstream/tcp.h"
#include "event/stream.h"
#include "event/tls.h"
#include "shared/metrics.h"

struct handshake {
    struct peri_connection base; ///< first: the listener's view
    struct peri_stream *stream;
};

static void handshake_free(struct handshake *h)
{
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

static void handshake_fail(struct handshake *h)
{
    char ip[46];
    uint16_t port;
    peri_stream_peer(h->stream, ip, &port);
    peri_debug("tls: %s: %s", ip, peri_stream_tls_failure(h->stream));
    if (h->base.home->page)
        h->base.home->page->handshakes_failed++;
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
        handshake_fail(h);
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

bool peri_connection_open_tls(struct peri_connection_home *home, struct peri_stream *stream,
                              struct peri_tls_server *server)
{
    struct handshake *h = calloc(1, sizeof(*h));
    if (!h) {
        peri_connection_discard(stream);
        return false;
    }
    h->stream = peri_stream_accept_tls(stream, server, home->settings->headers_ms, &handshake_events, h);
    if (!h->stream) {
        free(h);
        return false;
    }
    peri_connection_enter(&h->base, home, &handshake_ops);
    return true;
}
