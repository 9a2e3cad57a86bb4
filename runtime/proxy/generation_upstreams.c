// SPDX-License-Identifier: MIT
// Reads the upstreams and the TLS of listeners of a normalised configuration.
#include <stdio.h>
#include <stdlib.h>

#include "codec/json.h"
#include "event/tls.h"
#include "proxy/balance_config.h"
#include "proxy/discovery.h"
#include "proxy/generation_internal.h"
#include "proxy/guard_config.h"
#include "proxy/tls_config.h"
#include "shared/metrics.h"
#include "upstream/upstream.h"

peri_err_t peri_generation_refuse_tls(struct peri_generation_builder *b, const char *place,
                                      const struct peri_tls_fault *fault)
{
    char path[128];
    snprintf(path, sizeof(path), fault->setting[0] ? "%s.tls.%s" : "%s.tls", place, fault->setting);
    return peri_generation_refuse(b, path, fault->message);
}

// What is spoken with the upstream's endpoints. `settings->tls` is one reference of the caller's.
static peri_err_t read_protocol(struct peri_generation_builder *b, const struct peri_json *json,
                                struct peri_pool_settings *settings)
{
    const struct peri_json *tls = peri_json_get(json, "tls");
    struct peri_slice protocol = peri_json_get_string(json, "protocol");
    struct peri_tls_fault fault;
    char place[96];
    bool is_h2 = peri_slice_eq(protocol, PERI_SLICE("h2")) || peri_slice_eq(protocol, PERI_SLICE("h2c"));
    bool is_h1 = peri_slice_eq(protocol, PERI_SLICE("h1"));
    settings->protocol = is_h2 ? PERI_POOL_H2 : is_h1 ? PERI_POOL_H1 : PERI_POOL_AUTO;
    if (!tls)
        return PERI_OK;
    struct peri_slice name = peri_json_get_string(json, "name");
    snprintf(place, sizeof(place), "upstreams.%.*s", (int)(name.len < 80 ? name.len : 80), name.ptr);
    settings->tls = peri_tls_config_client(tls, b->source, !is_h2, !is_h1, &fault);
    return settings->tls ? PERI_OK : peri_generation_refuse_tls(b, place, &fault);
}

// How the upstream connects; `settings->tls` is one reference of the caller's.
static peri_err_t read_pool(struct peri_generation_builder *b, const struct peri_json *json,
                            const struct peri_upstream *upstream, struct peri_pool_settings *settings)
{
    const struct peri_json *pool = peri_json_get(json, "pool");
    *settings = (struct peri_pool_settings){
        .max_idle = (uint32_t)peri_json_get_integer(pool, "max_idle", 128),
        .idle_ms = (uint64_t)peri_json_get_integer(pool, "idle_ms", 60000),
        .max_requests = (uint64_t)peri_json_get_integer(pool, "max_requests", 0),
        .open = &b->page->upstream_connections[upstream->metrics].connections,
    };
    return read_protocol(b, json, settings);
}

static peri_err_t add_endpoints(struct peri_generation_builder *b, const struct peri_json *json,
                                const struct peri_pool_settings *settings, struct peri_upstream *upstream)
{
    const struct peri_json *endpoints = peri_json_get(json, "endpoints");
    peri_err_t err = PERI_OK;
    for (size_t i = 0; err == PERI_OK && i < peri_json_count(endpoints); i++) {
        const struct peri_json *endpoint = peri_json_at(endpoints, i);
        if (peri_upstream_add(upstream, b->generation->pools, peri_json_get_string(endpoint, "address"),
                              (uint32_t)peri_json_get_integer(endpoint, "weight", 1), settings) != PERI_OK)
            err = peri_generation_refuse(b, "upstreams", "malformed endpoint address");
    }
    return err;
}

static peri_err_t read_guard(struct peri_generation_builder *b, const struct peri_json *json,
                             const struct peri_pool_settings *settings, struct peri_upstream *upstream)
{
    peri_err_t err = peri_guard_config_read(upstream, json, settings, b->shm, b->page);
    if (err != PERI_ERR_LIMIT)
        return err;
    return peri_generation_refuse(b, "upstreams",
                                  "too many upstreams (256) or endpoints (4096) have outlier, accrual, breaker, "
                                  "retries, hedge or health settings");
}

peri_err_t peri_generation_fill_upstream(struct peri_generation_builder *b, struct peri_upstream *upstream,
                                         const struct peri_json *json, const struct peri_pool_settings *settings,
                                         struct peri_arena *arena)
{
    const struct peri_json *timeouts = peri_json_get(json, "timeouts");
    upstream->connect_ms = (uint64_t)peri_json_get_integer(timeouts, "connect_ms", 5000);
    upstream->request_ms = (uint64_t)peri_json_get_integer(timeouts, "request_ms", 15000);
    upstream->idle_ms = (uint64_t)peri_json_get_integer(timeouts, "idle_ms", 300000);
    upstream->stream_ms = (uint64_t)peri_json_get_integer(timeouts, "stream_ms", 0);
    upstream->deadline_header = peri_arena_copy(arena, peri_json_get_string(json, "deadline_header"));
    upstream->is_timed = upstream->stream_ms > 0 || upstream->deadline_header.len > 0;
    upstream->proxy_protocol = (uint8_t)peri_json_get_integer(json, "proxy_protocol", 0);
    peri_err_t err = add_endpoints(b, json, settings, upstream);
    if (err == PERI_OK)
        err = read_guard(b, json, settings, upstream);
    return err == PERI_OK ? peri_balance_read(upstream, json, arena, b->shm) : err;
}

static peri_err_t read_upstream(struct peri_generation_builder *b, const struct peri_json *json)
{
    struct peri_generation *g = b->generation;
    struct peri_upstream *upstream = peri_upstream_new(peri_json_get_string(json, "name"));
    struct peri_pool_settings settings;
    if (!upstream)
        return PERI_ERR_NOMEM;
    g->upstreams[g->upstream_count++] = upstream;
    upstream->metrics = peri_metrics_upstream(b->shm, upstream->name);
    peri_err_t err = read_pool(b, json, upstream, &settings);
    if (err == PERI_OK)
        err = peri_generation_fill_upstream(b, upstream, json, &settings, &g->arena);
    if (err == PERI_OK && peri_json_get(json, "discovery"))
        err = peri_discovery_add(b, g->upstream_count - 1, json, &settings);
    peri_tls_client_unref(settings.tls); // the pools and the discovery have theirs
    return err;
}

peri_err_t peri_generation_read_upstreams(struct peri_generation_builder *b, const struct peri_json *list)
{
    struct peri_generation *g = b->generation;
    size_t count = peri_json_count(list);
    g->upstreams = calloc(count + 1, sizeof(*g->upstreams));
    peri_err_t err = g->upstreams ? PERI_OK : PERI_ERR_NOMEM;
    for (size_t i = 0; i < count && err == PERI_OK; i++)
        err = read_upstream(b, peri_json_at(list, i));
    return err;
}

// ---- listeners ----

static peri_err_t read_listener_tls(struct peri_generation_builder *b, const struct peri_json *json, size_t index)
{
    struct peri_generation *g = b->generation;
    const struct peri_json *tls = peri_json_get(json, "tls");
    struct peri_tls_fault fault;
    char place[32];
    if (!tls)
        return PERI_OK;
    struct peri_generation_tls *entry = &g->tls[g->tls_count];
    entry->address = peri_generation_keep(b, peri_json_get_string(json, "address"));
    entry->server = peri_tls_config_server(tls, b->source, b->shm, &fault);
    snprintf(place, sizeof(place), "listeners[%zu]", index + 1);
    if (!entry->server)
        return peri_generation_refuse_tls(b, place, &fault);
    g->tls_count++;
    return PERI_OK;
}

peri_err_t peri_generation_read_listeners(struct peri_generation_builder *b, const struct peri_json *list)
{
    size_t count = peri_json_count(list);
    b->generation->tls = peri_generation_zalloc(b, count, sizeof(*b->generation->tls));
    peri_err_t err = b->generation->tls ? PERI_OK : PERI_ERR_NOMEM;
    for (size_t i = 0; err == PERI_OK && i < count; i++)
        err = read_listener_tls(b, peri_json_at(list, i), i);
    if (err == PERI_OK)
        err = peri_generation_read_tcp(b->generation, b->shm, list);
    return err == PERI_ERR_INVALID && !b->message[0] ? peri_generation_refuse(b, "listeners", "unknown upstream") : err;
}
