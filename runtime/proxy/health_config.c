// SPDX-License-Identifier: MIT
// The Lua side has validated the settings and filled in every default.
#include "proxy/health_config.h"

#include <string.h>

#include "codec/json.h"
#include "event/tls.h"
#include "upstream/health.h"
#include "upstream/upstream.h"

static enum peri_health_type read_type(const struct peri_json *json)
{
    struct peri_slice type = peri_json_get_string(json, "type");
    if (peri_slice_eq(type, PERI_SLICE("tcp")))
        return PERI_HEALTH_BY_TCP;
    return peri_slice_eq(type, PERI_SLICE("grpc")) ? PERI_HEALTH_BY_GRPC : PERI_HEALTH_BY_HTTP;
}

static void read_numbers(const struct peri_json *json, struct peri_health_settings *settings)
{
    const struct peri_json *expected = peri_json_get(json, "expected");
    settings->interval_ms = (uint64_t)peri_json_get_integer(json, "interval_ms", 5000);
    settings->jitter_ms = (uint64_t)peri_json_get_integer(json, "jitter_ms", 0);
    settings->timeout_ms = (uint64_t)peri_json_get_integer(json, "timeout_ms", 2000);
    settings->healthy = (uint32_t)peri_json_get_integer(json, "healthy", 2);
    settings->unhealthy = (uint32_t)peri_json_get_integer(json, "unhealthy", 3);
    settings->begins_unhealthy = peri_slice_eq(peri_json_get_string(json, "initial"), PERI_SLICE("unhealthy"));
    for (size_t i = 0; i < peri_json_count(expected); i++) {
        const struct peri_json *range = peri_json_at(expected, i);
        unsigned first = (unsigned)peri_json_integer(peri_json_at(range, 0), 200);
        peri_health_expect(settings, first, (unsigned)peri_json_integer(peri_json_at(range, 1), first));
    }
}

static bool keep(struct peri_health_settings *settings, struct peri_slice text, struct peri_slice *out)
{
    *out = peri_arena_copy(&settings->arena, text);
    return out->ptr != NULL;
}

static bool read_headers(const struct peri_json *list, struct peri_health_settings *settings)
{
    size_t count = peri_json_count(list);
    settings->headers = peri_arena_zalloc(&settings->arena, count * sizeof(*settings->headers) + 1);
    for (size_t i = 0; settings->headers && i < count; i++) {
        const struct peri_json *pair = peri_json_at(list, i);
        struct peri_health_header *header = &settings->headers[settings->header_count++];
        if (!keep(settings, peri_json_string(peri_json_at(pair, 0)), &header->name) ||
            !keep(settings, peri_json_string(peri_json_at(pair, 1)), &header->value))
            return false;
    }
    return settings->headers != NULL;
}

// ---- targets

// What `json` says of the endpoint with this address, if it is in the configuration.
static const struct peri_json *find_endpoint(const struct peri_json *json, uint32_t index, struct peri_slice address)
{
    const struct peri_json *endpoint = peri_json_at(peri_json_get(json, "endpoints"), index);
    return peri_slice_eq(peri_json_get_string(endpoint, "address"), address) ? peri_json_get(endpoint, "health") : NULL;
}

static struct peri_slice with_port(struct peri_health_settings *settings, struct peri_slice address, int64_t port)
{
    const char *colon = memrchr(address.ptr, ':', address.len);
    if (port == 0 || !colon || peri_slice_starts(address, PERI_SLICE("unix:")))
        return peri_arena_copy(&settings->arena, address);
    return peri_arena_printf(&settings->arena, "%.*s:%d", (int)(colon - address.ptr), address.ptr, (int)port);
}

// `path` is the one of all that say nothing else.
static bool read_target(const struct peri_json *json, struct peri_health_settings *settings, uint32_t index,
                        struct peri_slice address, struct peri_slice path)
{
    struct peri_health_target *target = &settings->targets[index];
    const struct peri_json *own = find_endpoint(json, index, address);
    struct peri_slice own_path = peri_json_get_string(own, "path");
    int64_t port = peri_json_get_integer(peri_json_get(json, "health"), "port", 0);
    target->address = with_port(settings, address, peri_json_get_integer(own, "port", port));
    target->path = path;
    return target->address.ptr && (!own_path.ptr || keep(settings, own_path, &target->path));
}

static bool read_targets(const struct peri_upstream *upstream, const struct peri_json *json,
                         struct peri_health_settings *settings)
{
    struct peri_slice path = peri_json_get_string(peri_json_get(json, "health"), "path");
    settings->targets = peri_arena_zalloc(&settings->arena, (upstream->count + 1) * sizeof(*settings->targets));
    settings->target_count = upstream->count;
    if (!settings->targets || (path.ptr && !keep(settings, path, &path)))
        return false;
    for (uint32_t i = 0; i < upstream->count; i++)
        if (!read_target(json, settings, i, peri_pool_address(upstream->endpoints[i].pool), path))
            return false;
    return true;
}

// Each check has a connection of its own, which is no part of the upstream's limits; gRPC is HTTP/2 by definition.
static void set_pool(struct peri_health_settings *settings, const struct peri_pool_settings *pool)
{
    bool is_clear_grpc = settings->type == PERI_HEALTH_BY_GRPC && !pool->tls;
    settings->pool = (struct peri_pool_settings){
        .protocol = is_clear_grpc ? PERI_POOL_H2 : pool->protocol,
        .tls = pool->tls ? peri_tls_client_ref(pool->tls) : NULL,
    };
}

struct peri_health_settings *peri_health_config_read(const struct peri_upstream *upstream, const struct peri_json *json,
                                                     const struct peri_pool_settings *pool)
{
    const struct peri_json *health = peri_json_get(json, "health");
    struct peri_health_settings *settings = peri_health_new();
    if (!settings)
        return NULL;
    settings->type = read_type(health);
    set_pool(settings, pool);
    read_numbers(health, settings);
    struct peri_slice host = peri_json_get_string(health, "host");
    struct peri_slice service = peri_json_get_string(health, "service");
    bool is_read = (!host.ptr || keep(settings, host, &settings->host)) &&
                   (!service.ptr || keep(settings, service, &settings->service)) &&
                   read_headers(peri_json_get(health, "headers"), settings) && read_targets(upstream, json, settings);
    if (is_read)
        return settings;
    peri_health_unref(settings);
    return NULL;
}
