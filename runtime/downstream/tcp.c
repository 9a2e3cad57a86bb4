// SPDX-License-Identifier: MIT
// From the accepted stream to its owner:
//
//   open -> (with SNI, without TLS of our own: read a ClientHello) -> on_client -> the owner's -> end
#include "downstream/tcp.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "codec/client_hello.h"
#include "event/stream.h"
#include "event/tls.h"

static struct peri_tcp *of(struct peri_connection *base)
{
    return PERI_CONTAINER(base, struct peri_tcp, base);
}

static void tcp_free(struct peri_tcp *tcp)
{
    peri_connection_leave(&tcp->base);
    peri_timer_stop(&tcp->timer);
    peri_buf_close(&tcp->seen);
    free(tcp->base.tls);
    free(tcp);
}

void peri_tcp_end(struct peri_tcp *tcp)
{
    struct peri_connection_home *home = tcp->base.home;
    peri_debug_assert(tcp->is_owned);
    tcp_free(tcp);
    home->on_closed(home);
}

static void tcp_close(struct peri_tcp *tcp)
{
    peri_timer_stop(&tcp->timer);
    peri_stream_close(tcp->stream);
}

static void on_asked_to_go(struct peri_connection *base)
{
    struct peri_tcp *tcp = of(base);
    if (tcp->is_owned)
        tcp->owner->drain(tcp);
    else
        tcp_close(tcp);
}

static void on_close_asked(struct peri_connection *base, peri_err_t err)
{
    struct peri_tcp *tcp = of(base);
    if (tcp->is_owned)
        tcp->owner->close(tcp, err);
    else
        tcp_close(tcp);
}

static const struct peri_connection_ops tcp_ops = {.drain = on_asked_to_go, .close = on_close_asked};

// ---- the look at the ClientHello ----

static void on_close(struct peri_stream *stream)
{
    struct peri_tcp *tcp = peri_stream_data(stream);
    struct peri_connection_home *home = tcp->base.home;
    tcp_free(tcp);
    home->on_closed(home);
}

static void on_end(struct peri_stream *stream, peri_err_t err)
{
    PERI_UNUSED(err);
    tcp_close(peri_stream_data(stream));
}

static bool tcp_pass(struct peri_tcp *tcp)
{
    peri_timer_stop(&tcp->timer);
    tcp->is_owned = true;
    return tcp->owner->on_client(tcp);
}

static void tcp_pass_or_close(struct peri_tcp *tcp)
{
    peri_stream_read_stop(tcp->stream);
    if (tcp_pass(tcp))
        return;
    tcp->is_owned = false;
    tcp_close(tcp);
}

// What has come so far, in one piece: nearly always it is in one already.
static peri_err_t parse_seen(const struct peri_tcp *tcp, struct peri_client_hello *hello)
{
    struct peri_slice first = peri_buf_peek(&tcp->seen);
    if (first.len == tcp->seen.len)
        return peri_client_hello_parse(first, hello);
    char *all = malloc(tcp->seen.len);
    if (!all)
        return PERI_ERR_NOMEM;
    peri_buf_copy(&tcp->seen, all);
    peri_err_t err = peri_client_hello_parse(peri_slice(all, tcp->seen.len), hello);
    free(all);
    return err;
}

static void keep_hello(struct peri_tcp *tcp, const struct peri_client_hello *hello)
{
    _Static_assert(sizeof(tcp->server_name) == sizeof(hello->server_name), "one size");
    _Static_assert(sizeof(tcp->alpn) == sizeof(hello->alpn), "one size");
    memcpy(tcp->server_name, hello->server_name, sizeof(tcp->server_name));
    memcpy(tcp->alpn, hello->alpn, hello->alpn_len);
    tcp->alpn_len = hello->alpn_len;
}

// What is no ClientHello has no server name: it goes where connections without one go. What is read is bounded: the verdict is there
// after PERI_CLIENT_HELLO_SEEN bytes.
static void on_read(struct peri_stream *stream, struct peri_slice data)
{
    struct peri_tcp *tcp = peri_stream_data(stream);
    struct peri_client_hello hello;
    if (peri_buf_put(&tcp->seen, data) != PERI_OK) {
        tcp_close(tcp);
        return;
    }
    peri_err_t err = parse_seen(tcp, &hello);
    if (err == PERI_ERR_AGAIN)
        return;
    if (err == PERI_ERR_NOMEM) {
        tcp_close(tcp);
        return;
    }
    if (err == PERI_OK)
        keep_hello(tcp, &hello);
    tcp_pass_or_close(tcp);
}

static const struct peri_stream_events look_events = {.on_read = on_read, .on_end = on_end, .on_close = on_close};

static void on_timeout(struct peri_timer *timer)
{
    tcp_close(PERI_CONTAINER(timer, struct peri_tcp, timer));
}

static void tcp_look(struct peri_tcp *tcp)
{
    struct peri_connection_home *home = tcp->base.home;
    if (home->settings->headers_ms > 0)
        peri_timer_start(home->loop, &tcp->timer, home->settings->headers_ms);
    peri_stream_read_start(tcp->stream);
}

// ---- open ----

static void copy_lower(char *out, size_t size, const char *text)
{
    size_t i = 0;
    for (; text[i] && i + 1 < size; i++)
        out[i] = (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] + 32 : text[i]);
    out[i] = '\0';
}

bool peri_tcp_open(struct peri_connection_home *home, struct peri_stream *stream, struct peri_tls_info *tls)
{
    struct peri_tcp *tcp = calloc(1, sizeof(*tcp));
    if (!tcp) {
        free(tls);
        peri_connection_discard(stream);
        return false;
    }
    tcp->stream = stream;
    tcp->owner = home->tcp;
    tcp->base.tls = tls;
    if (tls)
        copy_lower(tcp->server_name, sizeof(tcp->server_name), tls->server_name);
    peri_buf_init(&tcp->seen);
    peri_timer_init(&tcp->timer, on_timeout);
    peri_connection_enter(&tcp->base, home, &tcp_ops);
    peri_stream_set_owner(stream, &look_events, tcp);
    if (home->looks_at_hello && !tls)
        tcp_look(tcp);
    else
        tcp_pass_or_close(tcp);
    return true;
}
