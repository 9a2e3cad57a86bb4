// SPDX-License-Identifier: MIT
// The life of a generation. It is built from the normalised configuration (docs/internals/config-json.md); the Lua side has validated
// that, and what still fails here (a pattern that PCRE2 refuses, memory) is reported with its path.
#include "proxy/generation_internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/log.h"
#include "codec/json.h"
#include "event/tls.h"
#include "proxy/discovery.h"
#include "route/rewrite.h"
#include "route/table.h"
#include "script/vm.h"
#include "upstream/upstream.h"

#define PERI_GENERATION_MEMORY (64u * 1024 * 1024)
#define PERI_DIRECT_MAX 256

peri_err_t peri_generation_refuse(struct peri_generation_builder *b, const char *path, const char *message)
{
    snprintf(b->path, sizeof(b->path), "%s", path);
    if (message != b->message)
        snprintf(b->message, sizeof(b->message), "%s", message);
    return PERI_ERR_INVALID;
}

struct peri_slice peri_generation_keep(struct peri_generation_builder *b, struct peri_slice text)
{
    return peri_arena_copy(&b->generation->arena, text);
}

void *peri_generation_zalloc(struct peri_generation_builder *b, size_t count, size_t size)
{
    return peri_arena_zalloc(&b->generation->arena, count * size + 1);
}

// ---- life ----

static char *format_error(const struct peri_generation_builder *b, peri_err_t err)
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
    struct peri_generation_builder b = {.generation = g, .source = source, .shm = shm, .page = page};
    struct peri_json *json = peri_json_parse(peri_slice_from(config), false, b.message, sizeof(b.message));
    peri_err_t err = json ? peri_generation_read_upstreams(&b, peri_json_get(json, "upstreams")) : PERI_ERR_INVALID;
    if (err == PERI_OK)
        err = peri_generation_read_listeners(&b, peri_json_get(json, "listeners"));
    if (err == PERI_OK)
        err = peri_generation_read_routes(&b, peri_json_get(json, "routes"));
    if (err == PERI_OK)
        err = peri_generation_read_secrets(&b, peri_json_get(json, "routes"));
    g->explain = peri_generation_keep(&b, peri_json_get_string(peri_json_get(json, "explain"), "digest"));
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
    peri_discovery_inherit(g, old);
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
    peri_discovery_free_all(g);
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
