// SPDX-License-Identifier: MIT
// Sets replace each other in the generation's list and in the plans of its routes, between two turns of the loop. Who uses a retired
// one is not counted per request: as long as there are any, a timer looks at the exchanges under way once a second.
//
//   source: look -> endpoints (JSON) -> put: build set | inherit | replace -> retired -> freed when nobody uses it
#include "proxy/discovery_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/log.h"
#include "codec/json.h"
#include "event/loop.h"
#include "event/tls.h"
#include "proxy/forward.h"
#include "proxy/generation_internal.h"
#include "proxy/server_internal.h"
#include "shared/endpoints.h"
#include "upstream/keeper.h"
#include "upstream/upstream.h"

#define SET_MEMORY (16u * 1024 * 1024)
#define RETIRED_CHECK_MS 1000

// ---- sets

static struct peri_discovery_set *set_new(void)
{
    struct peri_discovery_set *set = calloc(1, sizeof(*set));
    if (!set)
        return NULL;
    peri_arena_init(&set->arena, SET_MEMORY);
    return set;
}

// Without its upstream, which may be the generation's.
static void set_free(struct peri_discovery_set *set)
{
    peri_arena_close(&set->arena);
    free(set->text);
    free(set);
}

static peri_err_t set_build(struct peri_discovery *d, struct peri_discovery_set *set)
{
    struct peri_generation_builder b = {.generation = d->generation, .shm = d->shm, .page = d->page};
    const struct peri_upstream *present = d->set->upstream;
    set->upstream = peri_upstream_new(present->name);
    if (!set->upstream)
        return PERI_ERR_NOMEM;
    set->upstream->metrics = present->metrics;
    return peri_generation_fill_upstream(&b, set->upstream, d->settings, &d->pool, &set->arena);
}

static struct peri_discovery_set *set_make(struct peri_discovery *d, struct peri_json *endpoints, peri_err_t *err)
{
    struct peri_discovery_set *set = set_new();
    char *text = peri_json_format(endpoints, false);
    bool is_set = peri_json_set(d->settings, "endpoints", endpoints); // taken
    *err = set && text && is_set ? set_build(d, set) : PERI_ERR_NOMEM;
    if (set && *err == PERI_OK) {
        set->text = text;
        return set;
    }
    if (set && set->upstream)
        peri_upstream_free(set->upstream);
    if (set)
        set_free(set);
    free(text);
    return NULL;
}

// ---- what can be seen

static void drop_rows(struct peri_discovery *d, struct peri_discovery_rows *rows)
{
    for (uint32_t i = 0; i < rows->count; i++) {
        peri_endpoints_unlist(d->page, rows->items[i]);
        peri_endpoints_drop(d->page, rows->items[i]);
    }
    if (rows->upstream >= 0)
        peri_endpoints_drop_upstream(d->page, rows->upstream);
    free(rows->items);
    *rows = (struct peri_discovery_rows){.upstream = -1};
}

// Without room in the table the set serves, but is not shown.
static void show(struct peri_discovery *d)
{
    const struct peri_upstream *upstream = d->set->upstream;
    struct peri_discovery_rows before = d->rows;
    d->rows = (struct peri_discovery_rows){
        .upstream = peri_endpoints_hold_upstream(d->shm, d->page, upstream->name),
        .items = calloc(upstream->count + 1, sizeof(*d->rows.items)),
    };
    for (uint32_t i = 0; d->rows.upstream >= 0 && d->rows.items && i < upstream->count; i++) {
        const struct peri_endpoint *endpoint = &upstream->endpoints[i];
        int32_t row = peri_endpoints_hold(d->shm, d->page, d->rows.upstream, peri_pool_address(endpoint->pool));
        if (row < 0)
            continue;
        peri_endpoints_list(d->page, row, endpoint->weight);
        d->rows.items[d->rows.count++] = row;
    }
    drop_rows(d, &before);
}

// ---- replacing

static bool is_used(const struct peri_discovery *d, const struct peri_upstream *upstream)
{
    const struct peri_list *exchanges = &d->generation->server->exchanges;
    if (upstream->reaches > 0)
        return true;
    for (const struct peri_list *link = exchanges->next; link != exchanges; link = link->next) {
        const struct peri_forward *f = PERI_LIST_ITEM(link, struct peri_forward, link);
        if (f->upstream == upstream || (upstream->guard && f->tries.ticket.guard == upstream->guard))
            return true;
    }
    return false;
}

static void retired_free(struct peri_discovery_set *set)
{
    peri_list_remove(&set->link);
    peri_upstream_free(set->upstream);
    set_free(set);
}

static void on_free_retired(struct peri_timer *timer)
{
    struct peri_discovery *d = PERI_CONTAINER(timer, struct peri_discovery, free_retired);
    struct peri_list *link = d->retired.next;
    while (link != &d->retired) {
        struct peri_discovery_set *set = PERI_LIST_ITEM(link, struct peri_discovery_set, link);
        link = link->next;
        if (!is_used(d, set->upstream))
            retired_free(set);
    }
    if (!peri_list_is_empty(&d->retired))
        peri_timer_start(d->generation->server->loop, &d->free_retired, RETIRED_CHECK_MS);
}

static void point_routes(const struct peri_generation *g, const struct peri_upstream *from, struct peri_upstream *to)
{
    for (uint32_t i = 0; i < g->route_count; i++)
        for (uint32_t k = 0; k < g->routes[i].choice_count; k++)
            if (g->routes[i].choices[k].upstream == from)
                g->routes[i].choices[k].upstream = to;
}

static void replace(struct peri_discovery *d, struct peri_discovery_set *set)
{
    struct peri_generation *g = d->generation;
    struct peri_discovery_set *before = d->set;
    point_routes(g, before->upstream, set->upstream);
    g->upstreams[d->index] = set->upstream;
    d->set = set;
    peri_list_append(&d->retired, &before->link);
    if (d->is_started)
        show(d);
    if (g->server->current == g)
        peri_keeper_set(g->server->keeper, g->upstreams, g->upstream_count);
    if (!peri_timer_is_active(&d->free_retired))
        peri_timer_start(g->server->loop, &d->free_retired, RETIRED_CHECK_MS);
}

static bool is_present(const struct peri_discovery *d, const struct peri_json *endpoints)
{
    char *text = d->set->text ? peri_json_format(endpoints, false) : NULL;
    bool is_same = text && strcmp(text, d->set->text) == 0;
    free(text);
    return is_same;
}

peri_err_t peri_discovery_replace(struct peri_discovery *d, struct peri_json *endpoints)
{
    peri_err_t err = PERI_ERR_NOMEM;
    if (!endpoints)
        return err;
    if (is_present(d, endpoints)) {
        peri_json_free(endpoints);
        return PERI_OK;
    }
    struct peri_discovery_set *set = set_make(d, endpoints, &err);
    if (!set)
        return err;
    const struct peri_slice name = set->upstream->name;
    if (d->set->text || d->set->upstream->count > 0)
        peri_upstream_inherit(set->upstream, d->set->upstream, peri_loop_now_ms(d->generation->server->loop));
    peri_info("upstream %.*s: %u endpoints are known now, %u before", (int)name.len, name.ptr, set->upstream->count,
              d->set->upstream->count);
    replace(d, set);
    return PERI_OK;
}

// ---- for the sources

peri_err_t peri_discovery_put(struct peri_discovery *d, struct peri_json *endpoints)
{
    const struct peri_discovery_set *before = d->set;
    peri_err_t err = peri_discovery_replace(d, endpoints);
    if (d->set != before)
        peri_discovery_remember(d);
    return err;
}

// ---- life

static const struct peri_discovery_source *find_source(const struct peri_json *discovery)
{
    static const struct {
        const char *member;
        const struct peri_discovery_source *source;
    } sources[] = {{"file", &peri_discovery_file},
                   {"srv", &peri_discovery_srv},
                   {"http", &peri_discovery_http},
                   {"dynamic", &peri_discovery_dynamic},
                   {"dns", &peri_discovery_dns}};
    unsigned i = 0;
    while (i + 1 < PERI_COUNT(sources) && !peri_json_get(discovery, sources[i].member))
        i++;
    return sources[i].source;
}

static peri_err_t set_source(struct peri_discovery *d, struct peri_generation_builder *b)
{
    const struct peri_json *discovery = peri_json_get(d->settings, "discovery");
    d->file.path = peri_json_get_string(discovery, "file");
    d->place = d->file.path;
    d->name.host = peri_json_get_string(discovery, "host");
    d->name.port = (uint16_t)peri_json_get_integer(discovery, "port", 0);
    d->source = find_source(discovery);
    peri_timer_init(&d->look, d->source->on_look);
    return d->source->open ? d->source->open(d, b, discovery) : PERI_OK;
}

peri_err_t peri_discovery_add(struct peri_generation_builder *b, uint32_t index, const struct peri_json *json,
                              const struct peri_pool_settings *settings)
{
    struct peri_generation *g = b->generation;
    struct peri_discovery *d = calloc(1, sizeof(*d));
    if (!d)
        return PERI_ERR_NOMEM;
    *d = (struct peri_discovery){.next = g->discoveries,
                                 .generation = g,
                                 .index = index,
                                 .shm = b->shm,
                                 .page = b->page,
                                 .pool = *settings,
                                 .rows.upstream = -1};
    d->settings = peri_json_copy(json);
    d->set = set_new();
    if (!d->settings || !d->set) {
        peri_json_free(d->settings);
        free(d->set);
        free(d);
        return PERI_ERR_NOMEM;
    }
    g->discoveries = d;
    d->set->upstream = g->upstreams[index];
    d->random = d->set->upstream->random;
    peri_list_init(&d->retired);
    peri_timer_init(&d->free_retired, on_free_retired);
    if (d->pool.tls)
        peri_tls_client_ref(d->pool.tls);
    return set_source(d, b);
}

static bool is_same_source(const struct peri_discovery *a, const struct peri_discovery *b)
{
    char *left = peri_discovery_identity(a);
    char *right = peri_discovery_identity(b);
    bool is_same = left && right && strcmp(left, right) == 0;
    free(left);
    free(right);
    return is_same && peri_slice_eq(a->set->upstream->name, b->set->upstream->name);
}

static void inherit(struct peri_discovery *d, const struct peri_discovery *from)
{
    d->has_looked = from->has_looked;
    if (from->set->text)
        peri_discovery_replace(d, peri_json_parse(peri_slice_from(from->set->text), false, NULL, 0));
}

void peri_discovery_inherit(struct peri_generation *generation, const struct peri_generation *old)
{
    for (struct peri_discovery *d = generation->discoveries; d; d = d->next)
        for (const struct peri_discovery *from = old->discoveries; from; from = from->next)
            if (is_same_source(d, from))
                inherit(d, from);
}

void peri_discovery_recall_all(struct peri_generation *generation)
{
    for (struct peri_discovery *d = generation->discoveries; d; d = d->next)
        if (!d->set->text)
            peri_discovery_recall(d);
}

void peri_discovery_switch_all(struct peri_generation *generation)
{
    for (struct peri_discovery *d = generation->discoveries; d; d = d->next)
        if (d->is_ahead)
            peri_discovery_remember(d);
}

void peri_discovery_start_all(struct peri_generation *generation)
{
    for (struct peri_discovery *d = generation->discoveries; d && generation->server->dns; d = d->next) {
        d->is_started = true;
        show(d);
        d->source->start(d);
    }
}

void peri_discovery_renew_all(struct peri_generation *generation)
{
    for (struct peri_discovery *d = generation->discoveries; d; d = d->next)
        if (d->is_started && d->source->renew)
            d->source->renew(d);
}

static void discovery_stop(struct peri_discovery *d)
{
    if (d->is_started)
        d->source->stop(d);
    d->is_started = false;
    peri_timer_stop(&d->look);
    drop_rows(d, &d->rows);
}

void peri_discovery_stop_all(struct peri_generation *generation)
{
    for (struct peri_discovery *d = generation->discoveries; d; d = d->next)
        discovery_stop(d);
}

static void discovery_free(struct peri_discovery *d)
{
    discovery_stop(d);
    peri_timer_stop(&d->free_retired);
    while (!peri_list_is_empty(&d->retired))
        retired_free(PERI_LIST_ITEM(d->retired.next, struct peri_discovery_set, link));
    if (d->source->close)
        d->source->close(d);
    set_free(d->set);
    peri_tls_client_unref(d->pool.tls);
    peri_json_free(d->settings);
    free(d);
}

void peri_discovery_free_all(struct peri_generation *generation)
{
    while (generation->discoveries) {
        struct peri_discovery *d = generation->discoveries;
        generation->discoveries = d->next;
        discovery_free(d);
    }
}
