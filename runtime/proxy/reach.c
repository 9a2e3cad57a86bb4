// SPDX-License-Identifier: MIT
// The choices are made in upstream/; this is their order for one connection.
#include "proxy/reach.h"

#include "base/assert.h"
#include "base/xxh64.h"
#include "codec/message.h"
#include "event/loop.h"
#include "proxy/server_internal.h"
#include "shared/metrics.h"
#include "upstream/dial.h"
#include "upstream/upstream.h"

#define PERI_REACH_ATTEMPTS 3 ///< endpoints that are tried

static struct peri_metrics_upstream *counts_of(const struct peri_reach *reach)
{
    return &reach->server->page->upstream_connections[reach->upstream->metrics];
}

static void hold_endpoint(struct peri_reach *reach, struct peri_endpoint *endpoint)
{
    if (endpoint) {
        peri_endpoint_enter(endpoint);
        reach->upstream->reaches++;
    }
    if (reach->endpoint) {
        peri_endpoint_leave(reach->endpoint);
        reach->upstream->reaches--;
    }
    reach->endpoint = endpoint;
}

// That a connection stands is as good an answer as any.
static void report(struct peri_reach *reach, peri_err_t err)
{
    static const struct peri_response answer = {.status = 200};
    uint64_t now_ns = peri_loop_now_ns(reach->server->loop);
    struct peri_result result = {
        .err = err,
        .res = err == PERI_OK ? &answer : NULL,
        .latency_ns = now_ns - reach->begun_ns,
        .now_ns = now_ns,
    };
    reach->is_probe = false;
    peri_endpoint_report(reach->upstream, reach->endpoint, &result);
}

static peri_err_t reach_try(struct peri_reach *reach);

static void on_dialled(void *data, peri_err_t err, struct peri_stream *stream)
{
    struct peri_reach *reach = data;
    report(reach, err);
    if (reach->attempts > 1)
        counts_of(reach)->retries[err == PERI_OK ? PERI_RETRY_SUCCESS : PERI_RETRY_FAILURE]++;
    if (err == PERI_OK) {
        counts_of(reach)->connects++;
        peri_guard_ready(&reach->ticket);
        reach->on_done(reach, PERI_OK, stream);
        return;
    }
    reach->dial = NULL;
    peri_guard_leave(&reach->ticket);
    counts_of(reach)->connect_failures++;
    if (reach->attempts < PERI_REACH_ATTEMPTS && reach->attempts < reach->upstream->count)
        err = reach_try(reach);
    if (err != PERI_OK)
        reach->on_done(reach, err, NULL);
}

// Of all keys that a balancer may go by, a connection has only its client.
static void set_key(const struct peri_reach *reach, struct peri_pick *pick)
{
    const struct peri_balance *balance = &reach->upstream->balance;
    pick->has_hash = balance->type->is_keyed && balance->key.kind == PERI_KEY_CLIENT;
    pick->hash = pick->has_hash ? peri_xxh64(reach->client, 0) : 0;
}

// The attempt that was to decide about its endpoint did not begin, or nobody waits for it.
static void forgo(struct peri_reach *reach)
{
    if (reach->is_probe)
        peri_upstream_forgo(reach->upstream, reach->endpoint, peri_loop_now_ns(reach->server->loop));
    reach->is_probe = false;
}

static peri_err_t reach_try(struct peri_reach *reach)
{
    struct peri_upstream *upstream = reach->upstream;
    reach->begun_ns = peri_loop_now_ns(reach->server->loop);
    struct peri_pick pick = {.now_ns = reach->begun_ns, .except = reach->endpoint};
    set_key(reach, &pick);
    struct peri_endpoint *endpoint = peri_upstream_pick(upstream, &pick);
    if (!endpoint)
        return PERI_ERR_NO_ENDPOINT;
    hold_endpoint(reach, endpoint);
    reach->is_probe = pick.is_probe;
    reach->attempts++;
    peri_err_t err = upstream->guard ? peri_guard_enter(upstream->guard, PERI_POOL_BUSY, &reach->ticket) : PERI_OK;
    if (err != PERI_OK) {
        forgo(reach);
        return err;
    }
    reach->dial = peri_dial_start(endpoint->pool, upstream->connect_ms, on_dialled, reach);
    if (reach->dial)
        return PERI_OK;
    forgo(reach);
    return PERI_ERR_NOMEM;
}

peri_err_t peri_reach_start(struct peri_reach *reach, struct peri_server *server, struct peri_upstream *upstream)
{
    peri_debug_assert(!reach->upstream && !reach->dial);
    reach->server = server;
    reach->upstream = upstream;
    return reach_try(reach);
}

struct peri_slice peri_reach_address(const struct peri_reach *reach)
{
    return reach->endpoint ? peri_pool_address(reach->endpoint->pool) : peri_slice(NULL, 0);
}

void peri_reach_leave(struct peri_reach *reach)
{
    if (reach->dial && !peri_dial_is_done(reach->dial)) {
        peri_dial_cancel(reach->dial);
        reach->dial = NULL;
        forgo(reach);
    }
    peri_guard_leave(&reach->ticket);
    hold_endpoint(reach, NULL);
}

void peri_reach_end(struct peri_reach *reach)
{
    peri_dial_end(reach->dial);
    reach->dial = NULL;
}
