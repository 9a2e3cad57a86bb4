// SPDX-License-Identifier: MIT
// Reads the normalised configuration (docs/internals/config-json.md) into upstreams, plans and the route table. The Lua side has
// validated it; what still fails here (a pattern that PCRE2 refuses, memory) is reported with its path.
#include "proxy/generation.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/log.h"
#include "codec/json.h"
#include "event/tls.h"
#include "proxy/balance_config.h"
#include "proxy/guard_config.h"
#include "proxy/mask.h"
#include "proxy/tls_config.h"
#include "route/match.h"
#include "route/rewrite.h"
#include "route/table.h"
#include "script/vm.h"
#include "shared/metrics.h"
#include "upstream/upstream.h"

#define PERI_GENERATION_MEMORY (64u * 1024 * 1024)
#define PERI_DIRECT_MAX 256

struct builder {
    struct peri_generation *generation;
    const struct peri_source *source;
    struct peri_shm *shm;
    struct peri_metrics_page *page; ///< this worker's
    char message[256];
    char path[128];
};

static peri_err_t refuse(struct builder *b, const char *path, const char *message)
{
    snprintf(b->path, sizeof(b->path), "%s", path);
    if (message != b->message)
        snprintf(b->message, sizeof(b->message), "%s", message);
    return PERI_ERR_INVALID;
}

static struct peri_slice keep(struct builder *b, struct peri_slice text)
{
    return peri_arena_copy(&b->generation->arena, text);
}

static void *zalloc(struct builder *b, size_t count, size_t size)
{
    return peri_arena_zalloc(&b->generation->arena, count * size + 1);
}

// ---- upstreams ----

static peri_err_t refuse_tls(struct builder *b, const char *place, const struct peri_tls_fault *fault)
{
    char path[128];
    snprintf(path, sizeof(path), fault->setting[0] ? "%s.tls.%s" : "%s.tls", place, fault->setting);
    return refuse(b, path, fault->message);
}

// What is spoken with the upstream's endpoints. `settings->tls` is one reference of the caller's.
static peri_err_t read_protocol(struct builder *b, const struct peri_json *json, struct peri_pool_settings *settings)
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
    return settings->tls ? PERI_OK : refuse_tls(b, place, &fault);
}

static peri_err_t read_endpoints(struct builder *b, const struct peri_json *json, struct peri_upstream *upstream)
{
    const struct peri_json *pool = peri_json_get(json, "pool");
    const struct peri_json *endpoints = peri_json_get(json, "endpoints");
    struct peri_pool_settings settings = {
        .max_idle = (uint32_t)peri_json_get_integer(pool, "max_idle", 128),
        .idle_ms = (uint64_t)peri_json_get_integer(pool, "idle_ms", 60000),
        .max_requests = (uint64_t)peri_json_get_integer(pool, "max_requests", 0),
        .open = &b->page->upstream_connections[upstream->metrics].connections,
    };
    peri_err_t err = read_protocol(b, json, &settings);
    for (size_t i = 0; err == PERI_OK && i < peri_json_count(endpoints); i++) {
        const struct peri_json *endpoint = peri_json_at(endpoints, i);
        if (peri_upstream_add(upstream, b->generation->pools, peri_json_get_string(endpoint, "address"),
                              (uint32_t)peri_json_get_integer(endpoint, "weight", 1), &settings) != PERI_OK)
            err = refuse(b, "upstreams", "malformed endpoint address");
    }
    peri_tls_client_unref(settings.tls); // the pools have theirs
    return err;
}

static peri_err_t read_guard(struct builder *b, const struct peri_json *json, struct peri_upstream *upstream)
{
    peri_err_t err = peri_guard_config_read(upstream, json, b->shm, b->page);
    if (err != PERI_ERR_LIMIT)
        return err;
    return refuse(b, "upstreams",
                  "too many upstreams (256) or endpoints (4096) have outlier, breaker or health settings");
}

static peri_err_t read_upstream(struct builder *b, const struct peri_json *json)
{
    struct peri_generation *g = b->generation;
    const struct peri_json *timeouts = peri_json_get(json, "timeouts");
    struct peri_upstream *upstream = peri_upstream_new(peri_json_get_string(json, "name"));
    if (!upstream)
        return PERI_ERR_NOMEM;
    g->upstreams[g->upstream_count++] = upstream;
    upstream->connect_ms = (uint64_t)peri_json_get_integer(timeouts, "connect_ms", 5000);
    upstream->request_ms = (uint64_t)peri_json_get_integer(timeouts, "request_ms", 15000);
    upstream->idle_ms = (uint64_t)peri_json_get_integer(timeouts, "idle_ms", 300000);
    upstream->metrics = peri_metrics_upstream(b->shm, upstream->name);
    peri_err_t err = read_endpoints(b, json, upstream);
    if (err == PERI_OK)
        err = read_guard(b, json, upstream);
    return err == PERI_OK ? peri_balance_read(upstream, json, &g->arena, b->shm) : err;
}

static peri_err_t read_upstreams(struct builder *b, const struct peri_json *list)
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

static peri_err_t read_listener_tls(struct builder *b, const struct peri_json *json, size_t index)
{
    struct peri_generation *g = b->generation;
    const struct peri_json *tls = peri_json_get(json, "tls");
    struct peri_tls_fault fault;
    char place[32];
    if (!tls)
        return PERI_OK;
    struct peri_generation_tls *entry = &g->tls[g->tls_count];
    entry->address = keep(b, peri_json_get_string(json, "address"));
    entry->server = peri_tls_config_server(tls, b->source, b->shm, &fault);
    snprintf(place, sizeof(place), "listeners[%zu]", index + 1);
    if (!entry->server)
        return refuse_tls(b, place, &fault);
    g->tls_count++;
    return PERI_OK;
}

static peri_err_t read_listeners(struct builder *b, const struct peri_json *list)
{
    size_t count = peri_json_count(list);
    b->generation->tls = zalloc(b, count, sizeof(*b->generation->tls));
    peri_err_t err = b->generation->tls ? PERI_OK : PERI_ERR_NOMEM;
    for (size_t i = 0; err == PERI_OK && i < count; i++)
        err = read_listener_tls(b, peri_json_at(list, i), i);
    return err;
}

// ---- routes ----

static peri_err_t read_choice(struct builder *b, struct peri_route *route, struct peri_slice name, uint32_t weight)
{
    struct peri_upstream *upstream = peri_generation_find_upstream(b->generation, name);
    if (!upstream)
        return refuse(b, "routes", "unknown upstream");
    route->choices[route->choice_count++] = (struct peri_choice){upstream, weight};
    route->weight_sum += weight;
    return PERI_OK;
}

static peri_err_t read_split(struct builder *b, struct peri_route *route, const struct peri_json *choices)
{
    peri_err_t err = PERI_OK;
    route->choices = zalloc(b, peri_json_count(choices), sizeof(*route->choices));
    for (size_t i = 0; route->choices && i < peri_json_count(choices) && err == PERI_OK; i++) {
        const struct peri_json *choice = peri_json_at(choices, i);
        err = read_choice(b, route, peri_json_get_string(choice, "upstream"),
                          (uint32_t)peri_json_get_integer(choice, "weight", 1));
    }
    return route->choices ? err : PERI_ERR_NOMEM;
}

static peri_err_t read_reply(struct builder *b, struct peri_route *route, const struct peri_json *target)
{
    const struct peri_json *headers = peri_json_get(target, "headers");
    route->status = (int)peri_json_get_integer(target, "status", 200);
    route->body = keep(b, peri_json_get_string(target, "body"));
    route->location = keep(b, peri_json_get_string(target, "location"));
    route->fields = zalloc(b, peri_json_count(headers), sizeof(*route->fields));
    if (!route->fields)
        return PERI_ERR_NOMEM;
    for (size_t i = 0; i < peri_json_count(headers); i++) {
        const struct peri_json *pair = peri_json_at(headers, i);
        route->fields[route->field_count++] =
            (struct peri_field){.name = keep(b, peri_json_string(peri_json_at(pair, 0))),
                                .value = keep(b, peri_json_string(peri_json_at(pair, 1)))};
    }
    return PERI_OK;
}

static peri_err_t read_target(struct builder *b, struct peri_route *route, const struct peri_json *target)
{
    struct peri_slice kind = peri_json_get_string(target, "kind");
    if (peri_slice_eq(kind, PERI_SLICE("split"))) {
        route->target = PERI_TARGET_SPLIT;
        return read_split(b, route, peri_json_get(target, "choices"));
    }
    if (peri_slice_eq(kind, PERI_SLICE("lua"))) {
        route->target = PERI_TARGET_LUA;
        return PERI_OK;
    }
    if (peri_slice_eq(kind, PERI_SLICE("handler"))) {
        route->target = PERI_TARGET_HANDLER;
        return PERI_OK;
    }
    if (peri_slice_eq(kind, PERI_SLICE("redirect")) || peri_slice_eq(kind, PERI_SLICE("reply"))) {
        route->target = kind.len == 5 ? PERI_TARGET_REPLY : PERI_TARGET_REDIRECT;
        return read_reply(b, route, target);
    }
    route->target = PERI_TARGET_UPSTREAM;
    route->choices = zalloc(b, 1, sizeof(*route->choices));
    return route->choices ? read_choice(b, route, peri_json_get_string(target, "upstream"), 1) : PERI_ERR_NOMEM;
}

static enum peri_edit_op read_op(struct peri_slice op)
{
    if (peri_slice_eq(op, PERI_SLICE("add")))
        return PERI_EDIT_ADD;
    return peri_slice_eq(op, PERI_SLICE("remove")) ? PERI_EDIT_REMOVE : PERI_EDIT_SET;
}

static peri_err_t read_edits(struct builder *b, struct peri_route *route, const struct peri_json *edits)
{
    size_t count = peri_json_count(edits);
    route->request_edits = zalloc(b, count, sizeof(*route->request_edits));
    route->response_edits = zalloc(b, count, sizeof(*route->response_edits));
    if (!route->request_edits || !route->response_edits)
        return PERI_ERR_NOMEM;
    for (size_t i = 0; i < count; i++) {
        const struct peri_json *json = peri_json_at(edits, i);
        struct peri_edit edit = {
            .op = read_op(peri_json_get_string(json, "op")),
            .name = keep(b, peri_json_get_string(json, "name")),
            .value = keep(b, peri_json_get_string(json, "value")),
        };
        if (peri_slice_eq(peri_json_get_string(json, "on"), PERI_SLICE("response")))
            route->response_edits[route->response_edit_count++] = edit;
        else
            route->request_edits[route->request_edit_count++] = edit;
    }
    return PERI_OK;
}

static struct peri_match_field *read_fields(struct builder *b, const struct peri_json *list)
{
    struct peri_match_field *fields = zalloc(b, peri_json_count(list), sizeof(*fields));
    for (size_t i = 0; fields && i < peri_json_count(list); i++) {
        const struct peri_json *json = peri_json_at(list, i);
        struct peri_slice regex = peri_json_get_string(json, "regex");
        fields[i] = (struct peri_match_field){
            .name = peri_json_get_string(json, "name"),
            .value = regex.ptr ? regex : peri_json_get_string(json, "value"),
            .is_regex = regex.ptr != NULL,
            .is_presence = peri_json_get_bool(json, "present", false),
        };
    }
    return fields;
}

static peri_err_t read_match(struct builder *b, const struct peri_json *json, struct peri_match *match)
{
    const struct peri_json *methods = peri_json_get(json, "methods");
    struct peri_slice *names = zalloc(b, peri_json_count(methods), sizeof(*names));
    *match = (struct peri_match){
        .host = peri_json_get_string(json, "host"),
        .path = peri_json_get_string(json, "path"),
        .path_regex = peri_json_get_string(json, "path_regex"),
        .methods = names,
        .method_count = (uint32_t)peri_json_count(methods),
        .headers = read_fields(b, peri_json_get(json, "headers")),
        .header_count = (uint32_t)peri_json_count(peri_json_get(json, "headers")),
        .query = read_fields(b, peri_json_get(json, "query")),
        .query_count = (uint32_t)peri_json_count(peri_json_get(json, "query")),
    };
    if (!names || !match->headers || !match->query)
        return PERI_ERR_NOMEM;
    for (uint32_t i = 0; i < match->method_count; i++)
        names[i] = peri_json_string(peri_json_at(methods, i));
    return PERI_OK;
}

static peri_err_t read_rewrite(struct builder *b, struct peri_route *route, const struct peri_json *json,
                               const struct peri_match *match)
{
    struct peri_rewrite_rule rule = {.kind = PERI_REWRITE_PREFIX, .text = peri_json_get_string(json, "prefix")};
    if (!json)
        return PERI_OK;
    if (peri_json_get(json, "path"))
        rule = (struct peri_rewrite_rule){.kind = PERI_REWRITE_PATH, .text = peri_json_get_string(json, "path")};
    else if (peri_json_get(json, "regex"))
        rule = (struct peri_rewrite_rule){.kind = PERI_REWRITE_REGEX,
                                          .text = peri_json_get_string(json, "regex"),
                                          .to = peri_json_get_string(json, "to")};
    return peri_rewrite_new(&rule, match, &route->rewrite, b->message, sizeof(b->message));
}

static peri_err_t read_route(struct builder *b, const struct peri_json *json, uint32_t index)
{
    struct peri_generation *g = b->generation;
    struct peri_route *route = &g->routes[index];
    struct peri_match match;
    char path[64];
    snprintf(path, sizeof(path), "routes[%u].match", index + 1);
    route->index = index;
    route->name = keep(b, peri_json_get_string(json, "name"));
    route->hooks = (uint32_t)peri_json_get_integer(json, "hooks", 0);
    route->metrics = peri_metrics_route(b->shm, route->name);
    route->labels = peri_labels_read(peri_json_get(json, "labels"), &g->arena);
    int64_t request_ms = peri_json_get_integer(peri_json_get(json, "timeouts"), "request_ms", -1);
    route->request_ms = request_ms >= 0 ? (uint64_t)request_ms : PERI_ROUTE_INHERITS;
    g->route_count++;
    peri_err_t err = read_target(b, route, peri_json_get(json, "target"));
    if (err == PERI_OK)
        err = read_edits(b, route, peri_json_get(json, "edits"));
    if (err == PERI_OK)
        err = read_match(b, peri_json_get(json, "match"), &match);
    if (err != PERI_OK)
        return err;
    err = peri_route_table_add(g->table, &match, route, b->message, sizeof(b->message));
    if (err != PERI_OK)
        return refuse(b, path, b->message);
    snprintf(path, sizeof(path), "routes[%u].rewrite", index + 1);
    err = read_rewrite(b, route, peri_json_get(json, "rewrite"), &match);
    return err == PERI_OK ? PERI_OK : refuse(b, path, b->message);
}

static peri_err_t read_routes(struct builder *b, const struct peri_json *list)
{
    struct peri_generation *g = b->generation;
    size_t count = peri_json_count(list);
    g->table = peri_route_table_new();
    g->routes = calloc(count + 1, sizeof(*g->routes));
    if (!g->table || !g->routes)
        return PERI_ERR_NOMEM;
    for (size_t i = 0; i < count; i++) {
        peri_err_t err = read_route(b, peri_json_at(list, i), (uint32_t)i);
        if (err != PERI_OK)
            return err;
    }
    return peri_route_table_seal(g->table);
}

// ---- credentials ----

static bool has_secret(const struct peri_generation *g, const struct peri_secret *secret)
{
    for (uint32_t i = 0; i < g->secret_count; i++)
        if (g->secrets[i].place == secret->place && peri_slice_eq(g->secrets[i].name, secret->name))
            return true;
    return false;
}

// What one policy of a chain declares; each place once.
static peri_err_t read_credentials(struct builder *b, const struct peri_json *list)
{
    struct peri_generation *g = b->generation;
    for (size_t i = 0; i < peri_json_count(list); i++) {
        struct peri_secret secret;
        if (!peri_secret_parse(peri_json_string(peri_json_at(list, i)), &secret) || has_secret(g, &secret))
            continue;
        secret.name = keep(b, secret.name);
        if (!secret.name.ptr)
            return PERI_ERR_NOMEM;
        g->secrets[g->secret_count++] = secret;
    }
    return PERI_OK;
}

// What policy `k` of route `i` declares; NULL for nothing.
static const struct peri_json *credentials_at(const struct peri_json *routes, size_t i, size_t k)
{
    const struct peri_json *use = peri_json_at(peri_json_get(peri_json_at(routes, i), "chain"), k);
    return peri_json_get(use, "credentials");
}

static peri_err_t read_secrets(struct builder *b, const struct peri_json *routes)
{
    size_t total = 0;
    peri_err_t err = PERI_OK;
    for (size_t i = 0; i < peri_json_count(routes); i++)
        for (size_t k = 0; k < peri_json_count(peri_json_get(peri_json_at(routes, i), "chain")); k++)
            total += peri_json_count(credentials_at(routes, i, k));
    if (total == 0)
        return PERI_OK;
    b->generation->secrets = zalloc(b, total, sizeof(*b->generation->secrets));
    if (!b->generation->secrets)
        return PERI_ERR_NOMEM;
    for (size_t i = 0; i < peri_json_count(routes); i++)
        for (size_t k = 0; k < peri_json_count(peri_json_get(peri_json_at(routes, i), "chain")) && err == PERI_OK; k++)
            err = read_credentials(b, credentials_at(routes, i, k));
    return err;
}

// ---- life ----

static char *format_error(const struct builder *b, peri_err_t err)
{
    struct peri_json *list = peri_json_new_array();
    struct peri_json *error = peri_json_new_object();
    const char *message = err == PERI_ERR_INVALID ? b->message : peri_err_info(err)->text;
    peri_json_set(error, "path", peri_json_new_string(peri_slice_from(b->path)));
    peri_json_set(error, "message", peri_json_new_string(peri_slice_from(message)));
    peri_json_append(list, error);
    char *text = peri_json_format(list, false);
    peri_json_free(list);
    return text;
}

struct peri_generation *peri_generation_new(struct peri_script_generation *script, char *config,
                                            const struct peri_source *source, uint64_t number, struct peri_slice digest,
                                            struct peri_pools *pools, struct peri_shm *shm,
                                            struct peri_metrics_page *page, char **errors)
{
    struct peri_generation *g = calloc(1, sizeof(*g));
    peri_assert(g != NULL);
    *g =
        (struct peri_generation){.number = number, .references = 1, .config = config, .script = script, .pools = pools};
    peri_arena_init(&g->arena, PERI_GENERATION_MEMORY);
    g->digest = peri_arena_copy(&g->arena, digest);
    struct builder b = {.generation = g, .source = source, .shm = shm, .page = page};
    struct peri_json *json = peri_json_parse(peri_slice_from(config), false, b.message, sizeof(b.message));
    peri_err_t err = json ? read_upstreams(&b, peri_json_get(json, "upstreams")) : PERI_ERR_INVALID;
    if (err == PERI_OK)
        err = read_listeners(&b, peri_json_get(json, "listeners"));
    if (err == PERI_OK)
        err = read_routes(&b, peri_json_get(json, "routes"));
    if (err == PERI_OK)
        err = read_secrets(&b, peri_json_get(json, "routes"));
    g->explain = keep(&b, peri_json_get_string(peri_json_get(json, "explain"), "digest"));
    peri_json_free(json);
    if (err == PERI_OK) {
        if (script)
            peri_script_set_generation(script, g);
        return g;
    }
    *errors = format_error(&b, err);
    peri_generation_unref(g);
    return NULL;
}

void peri_generation_inherit(struct peri_generation *g, struct peri_generation *old, uint64_t now_ms)
{
    for (uint32_t i = 0; i < g->upstream_count; i++) {
        const struct peri_upstream *before = peri_generation_find_upstream(old, g->upstreams[i]->name);
        if (before)
            peri_upstream_inherit(g->upstreams[i], before, now_ms);
    }
}

struct peri_generation *peri_generation_ref(struct peri_generation *g)
{
    g->references++;
    return g;
}

void peri_generation_unref(struct peri_generation *g)
{
    peri_assert(g->references > 0);
    if (--g->references > 0)
        return;
    peri_debug("generation %llu is over", (unsigned long long)g->number);
    if (g->script)
        peri_script_release(g->script);
    for (uint32_t i = 0; i < g->route_count; i++)
        peri_rewrite_free(g->routes[i].rewrite);
    if (g->table)
        peri_route_table_free(g->table);
    for (uint32_t i = 0; i < g->upstream_count; i++)
        peri_upstream_free(g->upstreams[i]);
    for (uint32_t i = 0; i < g->direct_count; i++)
        peri_upstream_free(g->direct[i]);
    for (uint32_t i = 0; i < g->tls_count; i++)
        peri_tls_server_unref(g->tls[i].server);
    free(g->upstreams);
    free(g->direct);
    free(g->routes);
    free(g->config);
    peri_arena_close(&g->arena);
    free(g);
}

struct peri_tls_server *peri_generation_find_tls(const struct peri_generation *g, struct peri_slice address)
{
    for (uint32_t i = 0; i < g->tls_count; i++)
        if (peri_slice_eq(g->tls[i].address, address))
            return g->tls[i].server;
    return NULL;
}

struct peri_upstream *peri_generation_find_upstream(struct peri_generation *g, struct peri_slice name)
{
    for (uint32_t i = 0; i < g->upstream_count; i++)
        if (peri_slice_eq(g->upstreams[i]->name, name))
            return g->upstreams[i];
    return NULL;
}

struct peri_upstream *peri_generation_direct(struct peri_generation *g, struct peri_slice address)
{
    static const struct peri_pool_settings settings = {.max_idle = 16, .idle_ms = 30000};
    for (uint32_t i = 0; i < g->direct_count; i++)
        if (peri_slice_eq(g->direct[i]->name, address))
            return g->direct[i];
    if (g->direct_count == PERI_DIRECT_MAX)
        return NULL;
    struct peri_upstream **grown = realloc(g->direct, (g->direct_count + 1) * sizeof(struct peri_upstream *));
    if (!grown)
        return NULL;
    g->direct = grown;
    struct peri_upstream *upstream = peri_upstream_new(address);
    if (!upstream)
        return NULL;
    upstream->connect_ms = 5000;
    upstream->idle_ms = 60000;
    if (peri_upstream_add(upstream, g->pools, address, 1, &settings) != PERI_OK ||
        peri_upstream_seal(upstream) != PERI_OK) {
        peri_upstream_free(upstream);
        return NULL;
    }
    g->direct[g->direct_count++] = upstream;
    return upstream;
}
