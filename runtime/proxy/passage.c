// SPDX-License-Identifier: MIT
// One client from its arrival to its end:
//
//   on_client -> policies -> upstream -> dial -> (the next endpoint) -> relay -> over -> both streams closed: freed
//        any of them may fail: over, client closed
//
// Over means that its line is logged and its generation let go; the server may be freed before the streams are closed.
#include "proxy/passage.h"

#include <stdlib.h>

#include "base/assert.h"
#include "codec/proxy_protocol.h"
#include "downstream/tcp.h"
#include "event/loop.h"
#include "event/stream.h"
#include "proxy/accesslog.h"
#include "proxy/reach.h"
#include "proxy/relay.h"
#include "proxy/server_internal.h"
#include "proxy/tcp_plan.h"
#include "script/connect.h"
#include "shared/metrics.h"
#include "upstream/upstream.h"

struct passage {
    struct peri_tcp *tcp;
    struct peri_server *server;         ///< borrowed until it is over
    struct peri_generation *generation; ///< one reference; NULL when it is over
    const struct peri_tcp_plan *plan;
    struct peri_connect connect; ///< the question to its policies
    struct peri_timer timer;     ///< of their answer; then of the whole connection
    struct peri_reach reach;     ///< of an endpoint of the upstream
    struct peri_relay relay;
    uint64_t start_ns;
    char client[46]; ///< its address: the closed stream does not know it any more
    uint16_t port;
    bool is_joined;  ///< the relay runs, or ran
    bool is_limited; ///< the timer is that of the whole connection
};

static struct peri_metrics_listener *counts_of(const struct passage *p)
{
    return &p->server->page->listeners[p->plan->metrics];
}

// ---- the end ----

static void passage_log(const struct passage *p, peri_err_t err)
{
    struct peri_accesslog_tcp facts = {
        .client = peri_slice_from(p->client),
        .listener = p->plan->address,
        .server_name = peri_slice_from(p->tcp->server_name),
        .upstream = p->reach.upstream ? p->reach.upstream->name : peri_slice(NULL, 0),
        .endpoint = peri_reach_address(&p->reach),
        .err = err,
        .ns = peri_loop_now_ns(p->server->loop) - p->start_ns,
        .bytes_in = p->relay.sides[PERI_RELAY_CLIENT].bytes,
        .bytes_out = p->relay.sides[PERI_RELAY_UPSTREAM].bytes,
    };
    peri_accesslog_add_tcp(p->server->log, &facts);
}

static void passage_over(struct passage *p, peri_err_t err)
{
    struct peri_metrics_listener *counts = counts_of(p);
    peri_assert(p->generation);
    peri_timer_stop(&p->timer);
    counts->connections--;
    counts->failed += !p->is_joined;
    if (p->server->log)
        passage_log(p, err);
    peri_reach_leave(&p->reach);
    peri_generation_unref(p->generation);
    p->generation = NULL;
}

static void passage_free(struct passage *p)
{
    peri_debug_assert(!p->generation && !p->reach.dial);
    peri_tcp_end(p->tcp);
    free(p);
}

// Before the streams are joined.
static void passage_abort(struct passage *p, peri_err_t err)
{
    peri_debug_assert(!p->is_joined);
    if (!p->generation)
        return;
    peri_connect_cancel(&p->connect);
    passage_over(p, err);
    peri_stream_close(p->tcp->stream);
}

// At once, whatever it is doing.
static void passage_close(struct passage *p, peri_err_t err)
{
    if (!p->is_joined) {
        passage_abort(p, err);
        return;
    }
    if (p->generation)
        passage_over(p, err);
    peri_relay_close(&p->relay);
}

// ---- joined ----

static void on_relay_over(struct peri_relay *relay, peri_err_t err)
{
    passage_over(PERI_CONTAINER(relay, struct passage, relay), err);
}

static void on_relay_closed(struct peri_relay *relay, int side)
{
    struct passage *p = PERI_CONTAINER(relay, struct passage, relay);
    if (side == PERI_RELAY_UPSTREAM)
        peri_reach_end(&p->reach);
    if (!relay->sides[0].stream && !relay->sides[1].stream)
        passage_free(p);
}

static const struct peri_relay_events relay_events = {.on_over = on_relay_over, .on_closed = on_relay_closed};

static bool read_address(const char *text, struct peri_ip *ip)
{
    return peri_ip_parse(peri_slice_from(text), ip) == PERI_OK;
}

// Says who the client is, for an upstream that asks for it.
static void write_header(const struct passage *p, struct peri_stream *upstream)
{
    struct peri_proxy_protocol header = {.version = p->reach.upstream->proxy_protocol, .source_port = p->port};
    char destination[46], text[PERI_PROXY_PROTOCOL_TEXT];
    peri_stream_local(p->tcp->stream, destination, &header.destination_port);
    header.has_addresses = read_address(p->client, &header.source) && read_address(destination, &header.destination);
    peri_stream_write(upstream, peri_slice(text, peri_proxy_protocol_format(&header, text)));
}

static void passage_join(struct passage *p, struct peri_stream *upstream)
{
    struct peri_metrics_listener *counts = counts_of(p);
    struct peri_buf *seen = &p->tcp->seen;
    p->is_joined = true;
    p->relay.sides[PERI_RELAY_CLIENT].count = &counts->bytes_in;
    p->relay.sides[PERI_RELAY_UPSTREAM].count = &counts->bytes_out;
    peri_relay_start(&p->relay, p->server->loop, &relay_events, p->tcp->stream, upstream,
                     p->tcp->base.home->settings->stream_idle_ms);
    if (p->reach.upstream->proxy_protocol)
        write_header(p, upstream);
    while (seen->len > 0) {
        struct peri_slice run = peri_buf_peek(seen);
        peri_relay_put(&p->relay, PERI_RELAY_CLIENT, run);
        peri_buf_take(seen, run.len);
    }
}

// ---- connecting ----

static void on_reached(struct peri_reach *reach, peri_err_t err, struct peri_stream *stream)
{
    struct passage *p = PERI_CONTAINER(reach, struct passage, reach);
    if (err == PERI_OK)
        passage_join(p, stream);
    else
        passage_abort(p, err);
}

// The whole connection, from the moment that the client was there.
static void passage_limit(struct passage *p, uint64_t ms)
{
    uint64_t passed_ms = (peri_loop_now_ns(p->server->loop) - p->start_ns) / 1000000;
    p->is_limited = true;
    peri_timer_start(p->server->loop, &p->timer, passed_ms < ms ? ms - passed_ms : 1);
}

static void passage_choose(struct passage *p)
{
    struct peri_slice chosen = peri_slice_from(p->connect.upstream);
    struct peri_upstream *upstream = chosen.len > 0 ? peri_generation_find_upstream(p->generation, chosen)
                                                    : peri_tcp_plan_find(p->plan, peri_slice_from(p->tcp->server_name));
    p->reach.on_done = on_reached;
    p->reach.client = peri_slice_from(p->client);
    if (upstream && upstream->stream_ms > 0)
        passage_limit(p, upstream->stream_ms);
    peri_err_t err = upstream ? peri_reach_start(&p->reach, p->server, upstream) : PERI_ERR_NO_ROUTE;
    if (err != PERI_OK)
        passage_abort(p, err);
}

// ---- policies ----

static void passage_obey(struct passage *p, enum peri_verdict verdict)
{
    peri_timer_stop(&p->timer);
    if (verdict == PERI_VERDICT_CONTINUE)
        passage_choose(p);
    else
        passage_abort(p, verdict == PERI_VERDICT_REPLY ? PERI_ERR_REFUSED : PERI_ERR_POLICY);
}

static void on_verdict(struct peri_connect *connect, enum peri_verdict verdict)
{
    passage_obey(PERI_CONTAINER(connect, struct passage, connect), verdict);
}

static void on_timeout(struct peri_timer *timer)
{
    struct passage *p = PERI_CONTAINER(timer, struct passage, timer);
    passage_close(p, p->is_limited ? PERI_ERR_DURATION : PERI_ERR_POLICY);
}

static void passage_ask(struct passage *p)
{
    uint64_t max_ms = p->tcp->base.home->settings->headers_ms;
    p->connect = (struct peri_connect){
        .client = peri_slice_from(p->client),
        .port = p->port,
        .server_name = peri_slice_from(p->tcp->server_name),
        .alpn = peri_slice((const char *)p->tcp->alpn, p->tcp->alpn_len),
        .on_verdict = on_verdict,
    };
    enum peri_verdict verdict = peri_connect_run(p->generation->script, (uint32_t)p->plan->connect, &p->connect);
    if (verdict != PERI_VERDICT_PENDING)
        passage_obey(p, verdict);
    else if (max_ms > 0)
        peri_timer_start(p->server->loop, &p->timer, max_ms);
}

// ---- the client, until it is joined ----

// What came with the PROXY header: nothing is read before the streams are joined.
static void on_read(struct peri_stream *stream, struct peri_slice data)
{
    struct passage *p = peri_stream_data(stream);
    if (p->generation && peri_buf_put(&p->tcp->seen, data) != PERI_OK)
        passage_abort(p, PERI_ERR_NOMEM);
}

static void on_end(struct peri_stream *stream, peri_err_t err)
{
    PERI_UNUSED(err);
    passage_abort(peri_stream_data(stream), PERI_ERR_CLIENT_GONE);
}

static void on_close(struct peri_stream *stream)
{
    struct passage *p = peri_stream_data(stream);
    passage_abort(p, PERI_ERR_CLIENT_GONE); // closed from below; otherwise it is over already
    passage_free(p);
}

static const struct peri_stream_events client_events = {.on_read = on_read, .on_end = on_end, .on_close = on_close};

static bool on_client(struct peri_tcp *tcp)
{
    const struct peri_server_listener *l = tcp->base.home->tcp_data;
    struct peri_generation *generation = l->server->current;
    const struct peri_tcp_plan *plan = peri_generation_find_tcp(generation, l->address);
    struct passage *p = plan ? calloc(1, sizeof(*p)) : NULL;
    if (!p)
        return false;
    p->tcp = tcp;
    p->server = l->server;
    p->generation = peri_generation_ref(generation);
    p->plan = plan;
    p->start_ns = peri_loop_now_ns(l->server->loop);
    peri_stream_peer(tcp->stream, p->client, &p->port);
    tcp->data = p;
    peri_timer_init(&p->timer, on_timeout);
    counts_of(p)->connections++;
    counts_of(p)->total++;
    peri_stream_set_owner(tcp->stream, &client_events, p);
    if (plan->connect >= 0)
        passage_ask(p);
    else
        passage_choose(p);
    return true;
}

static void on_drain_asked(struct peri_tcp *tcp)
{
    struct passage *p = tcp->data;
    if (!p->is_joined)
        passage_abort(p, PERI_ERR_DRAINING);
}

static void on_close_asked(struct peri_tcp *tcp, peri_err_t err)
{
    passage_close(tcp->data, err);
}

const struct peri_tcp_owner peri_passage_owner = {
    .on_client = on_client, .drain = on_drain_asked, .close = on_close_asked};
