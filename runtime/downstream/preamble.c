// SPDX-License-Identifier: MIT
// A client connection until its PROXY header was read; then it becomes one that is served. It counts as a connection from the
// beginning. The header nearly always comes in one piece, with or before the client's first bytes; what follows it is handed on.
#include "downstream/preamble.h"

#include <stdlib.h>

#include "base/log.h"
#include "codec/proxy_protocol.h"
#include "downstream/connection.h"
#include "event/stream.h"
#include "event/timer.h"
#include "shared/metrics.h"

struct peri_trusted_proxies {
    struct peri_ip_set *networks; ///< owned
    bool has_unix;
};

struct preamble {
    struct peri_connection base; ///< first: the listener's view
    struct peri_stream *stream;
    struct peri_timer timer;
    char *seen; ///< owned; the header as far as it came, when that was not all at once
    size_t seen_len;
};

// ---- whom to believe ----

struct peri_trusted_proxies *peri_trusted_proxies_new(void)
{
    struct peri_trusted_proxies *proxies = calloc(1, sizeof(*proxies));
    if (proxies)
        proxies->networks = peri_ip_set_new();
    if (!proxies || !proxies->networks) {
        free(proxies);
        return NULL;
    }
    return proxies;
}

void peri_trusted_proxies_free(struct peri_trusted_proxies *proxies)
{
    if (!proxies)
        return;
    peri_ip_set_free(proxies->networks);
    free(proxies);
}

peri_err_t peri_trusted_proxies_add(struct peri_trusted_proxies *proxies, struct peri_slice entry)
{
    if (!peri_slice_eq(entry, PERI_SLICE("unix")))
        return peri_ip_set_add(proxies->networks, entry, NULL, 0);
    proxies->has_unix = true;
    return PERI_OK;
}

bool peri_trusted_proxies_have(struct peri_trusted_proxies *proxies, const struct peri_stream *stream)
{
    char text[PERI_IP_TEXT];
    struct peri_ip ip;
    uint16_t port;
    peri_stream_peer(stream, text, &port);
    struct peri_slice peer = peri_slice_from(text);
    if (peri_slice_eq(peer, PERI_SLICE("unix")))
        return proxies->has_unix;
    return peri_ip_parse(peer, &ip) == PERI_OK && peri_ip_set_contains(proxies->networks, &ip);
}

// ---- the end: closed, or served ----

static void preamble_free(struct preamble *p)
{
    peri_connection_leave(&p->base);
    peri_timer_stop(&p->timer);
    free(p->seen);
    free(p);
}

static void preamble_close(struct preamble *p)
{
    peri_timer_stop(&p->timer);
    peri_stream_close(p->stream);
}

static void on_asked_to_go(struct peri_connection *base)
{
    preamble_close(PERI_CONTAINER(base, struct preamble, base));
}

static void on_close_asked(struct peri_connection *base, peri_err_t err)
{
    PERI_UNUSED(err);
    on_asked_to_go(base);
}

static const struct peri_connection_ops preamble_ops = {.drain = on_asked_to_go, .close = on_close_asked};

static void preamble_refuse(struct preamble *p, const char *why)
{
    char ip[PERI_IP_TEXT];
    uint16_t port;
    peri_stream_peer(p->stream, ip, &port);
    peri_debug("proxy protocol: %s: %s", ip, why);
    if (p->base.home->page)
        p->base.home->page->preambles_refused++;
    preamble_close(p);
}

static peri_err_t take_addresses(struct peri_stream *stream, const struct peri_proxy_protocol *header)
{
    char ip[PERI_IP_TEXT];
    peri_ip_format(&header->source, ip);
    peri_err_t err = peri_stream_set_peer(stream, peri_slice_from(ip), header->source_port);
    peri_ip_format(&header->destination, ip);
    return err == PERI_OK ? peri_stream_set_local(stream, peri_slice_from(ip), header->destination_port) : err;
}

static void preamble_pass(struct preamble *p, const struct peri_proxy_protocol *header, struct peri_slice rest)
{
    struct peri_connection_home *home = p->base.home;
    struct peri_stream *stream = p->stream;
    if (header->has_addresses && take_addresses(stream, header) != PERI_OK) {
        preamble_close(p);
        return;
    }
    preamble_free(p);
    home->serve(home, stream);
    peri_stream_hand_on(stream, rest);
}

// ---- reading ----

// Keeps what came for later, at most as much as a header can have.
static bool preamble_keep(struct preamble *p, struct peri_slice data)
{
    char *seen = realloc(p->seen, p->seen_len + data.len);
    if (!seen)
        return false;
    memcpy(seen + p->seen_len, data.ptr, data.len);
    p->seen = seen;
    p->seen_len += data.len;
    return true;
}

static void on_read(struct peri_stream *stream, struct peri_slice data)
{
    struct preamble *p = peri_stream_data(stream);
    struct peri_proxy_protocol header;
    size_t before = p->seen_len, room = PERI_PROXY_PROTOCOL_MAX - before, len;
    struct peri_slice all = data;
    if (before > 0) {
        if (!preamble_keep(p, peri_slice(data.ptr, data.len < room ? data.len : room))) {
            preamble_close(p);
            return;
        }
        all = peri_slice(p->seen, p->seen_len);
    }
    peri_err_t err = peri_proxy_protocol_parse(all, &header, &len);
    if (err == PERI_OK)
        preamble_pass(p, &header, peri_slice(data.ptr + (len - before), data.len - (len - before)));
    else if (err != PERI_ERR_AGAIN)
        preamble_refuse(p, err == PERI_ERR_LIMIT ? "the header is too long" : "no valid header");
    else if (before == 0 && !preamble_keep(p, data))
        preamble_close(p);
}

// A proxy that looks whether we are there connects and goes without a word: nothing to complain of.
static void on_end(struct peri_stream *stream, peri_err_t err)
{
    struct preamble *p = peri_stream_data(stream);
    if (err == PERI_OK && p->seen_len > 0)
        preamble_refuse(p, "the connection ended in the header");
    else
        preamble_close(p);
}

static void on_close(struct peri_stream *stream)
{
    struct preamble *p = peri_stream_data(stream);
    struct peri_connection_home *home = p->base.home;
    preamble_free(p);
    home->on_closed(home);
}

static const struct peri_stream_events preamble_events = {.on_read = on_read, .on_end = on_end, .on_close = on_close};

static void on_timeout(struct peri_timer *timer)
{
    preamble_refuse(PERI_CONTAINER(timer, struct preamble, timer), "no header in time");
}

bool peri_preamble_open(struct peri_connection_home *home, struct peri_stream *stream)
{
    struct preamble *p = calloc(1, sizeof(*p));
    if (!p) {
        peri_connection_discard(stream);
        return false;
    }
    p->stream = stream;
    peri_timer_init(&p->timer, on_timeout);
    if (home->settings->headers_ms > 0)
        peri_timer_start(home->loop, &p->timer, home->settings->headers_ms);
    peri_connection_enter(&p->base, home, &preamble_ops);
    peri_stream_set_owner(stream, &preamble_events, p);
    peri_stream_read_start(stream);
    return true;
}
