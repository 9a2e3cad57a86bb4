// SPDX-License-Identifier: MIT
// Reads the routes of a normalised configuration into the route table and plans, and where their policies look for credentials.
#include <stdio.h>
#include <stdlib.h>

#include "codec/json.h"
#include "proxy/balance_config.h"
#include "proxy/generation_internal.h"
#include "proxy/mask.h"
#include "route/match.h"
#include "route/rewrite.h"
#include "route/table.h"
#include "shared/metrics.h"
#include "upstream/upstream.h"

static peri_err_t read_choice(struct peri_generation_builder *b, struct peri_route *route, struct peri_slice name,
                              uint32_t weight)
{
    struct peri_upstream *upstream = peri_generation_find_upstream(b->generation, name);
    if (!upstream)
        return peri_generation_refuse(b, "routes", "unknown upstream");
    route->choices[route->choice_count++] = (struct peri_choice){upstream, weight};
    route->weight_sum += weight;
    return PERI_OK;
}

static peri_err_t read_split(struct peri_generation_builder *b, struct peri_route *route,
                             const struct peri_json *choices)
{
    peri_err_t err = PERI_OK;
    route->choices = peri_generation_zalloc(b, peri_json_count(choices), sizeof(*route->choices));
    for (size_t i = 0; route->choices && i < peri_json_count(choices) && err == PERI_OK; i++) {
        const struct peri_json *choice = peri_json_at(choices, i);
        err = read_choice(b, route, peri_json_get_string(choice, "upstream"),
                          (uint32_t)peri_json_get_integer(choice, "weight", 1));
    }
    return route->choices ? err : PERI_ERR_NOMEM;
}

static peri_err_t read_reply(struct peri_generation_builder *b, struct peri_route *route,
                             const struct peri_json *target)
{
    const struct peri_json *headers = peri_json_get(target, "headers");
    route->status = (int)peri_json_get_integer(target, "status", 200);
    route->body = peri_generation_keep(b, peri_json_get_string(target, "body"));
    route->location = peri_generation_keep(b, peri_json_get_string(target, "location"));
    route->fields = peri_generation_zalloc(b, peri_json_count(headers), sizeof(*route->fields));
    if (!route->fields)
        return PERI_ERR_NOMEM;
    for (size_t i = 0; i < peri_json_count(headers); i++) {
        const struct peri_json *pair = peri_json_at(headers, i);
        route->fields[route->field_count++] =
            (struct peri_field){.name = peri_generation_keep(b, peri_json_string(peri_json_at(pair, 0))),
                                .value = peri_generation_keep(b, peri_json_string(peri_json_at(pair, 1)))};
    }
    return PERI_OK;
}

static peri_err_t read_target(struct peri_generation_builder *b, struct peri_route *route,
                              const struct peri_json *target)
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
    route->choices = peri_generation_zalloc(b, 1, sizeof(*route->choices));
    return route->choices ? read_choice(b, route, peri_json_get_string(target, "upstream"), 1) : PERI_ERR_NOMEM;
}

static enum peri_edit_op read_op(struct peri_slice op)
{
    if (peri_slice_eq(op, PERI_SLICE("add")))
        return PERI_EDIT_ADD;
    return peri_slice_eq(op, PERI_SLICE("remove")) ? PERI_EDIT_REMOVE : PERI_EDIT_SET;
}

static peri_err_t read_edits(struct peri_generation_builder *b, struct peri_route *route, const struct peri_json *edits)
{
    size_t count = peri_json_count(edits);
    route->request_edits = peri_generation_zalloc(b, count, sizeof(*route->request_edits));
    route->response_edits = peri_generation_zalloc(b, count, sizeof(*route->response_edits));
    if (!route->request_edits || !route->response_edits)
        return PERI_ERR_NOMEM;
    for (size_t i = 0; i < count; i++) {
        const struct peri_json *json = peri_json_at(edits, i);
        struct peri_edit edit = {
            .op = read_op(peri_json_get_string(json, "op")),
            .name = peri_generation_keep(b, peri_json_get_string(json, "name")),
            .value = peri_generation_keep(b, peri_json_get_string(json, "value")),
        };
        if (peri_slice_eq(peri_json_get_string(json, "on"), PERI_SLICE("response")))
            route->response_edits[route->response_edit_count++] = edit;
        else
            route->request_edits[route->request_edit_count++] = edit;
    }
    return PERI_OK;
}

static struct peri_match_field *read_fields(struct peri_generation_builder *b, const struct peri_json *list)
{
    struct peri_match_field *fields = peri_generation_zalloc(b, peri_json_count(list), sizeof(*fields));
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

static peri_err_t read_match(struct peri_generation_builder *b, const struct peri_json *json, struct peri_match *match)
{
    const struct peri_json *methods = peri_json_get(json, "methods");
    struct peri_slice *names = peri_generation_zalloc(b, peri_json_count(methods), sizeof(*names));
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

static peri_err_t read_rewrite(struct peri_generation_builder *b, struct peri_route *route,
                               const struct peri_json *json, const struct peri_match *match)
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

static peri_err_t read_route(struct peri_generation_builder *b, const struct peri_json *json, uint32_t index)
{
    struct peri_generation *g = b->generation;
    struct peri_route *route = &g->routes[index];
    struct peri_match match;
    char path[64];
    snprintf(path, sizeof(path), "routes[%u].match", index + 1);
    route->index = index;
    route->name = peri_generation_keep(b, peri_json_get_string(json, "name"));
    route->hooks = (uint32_t)peri_json_get_integer(json, "hooks", 0);
    route->metrics = peri_metrics_route(b->shm, route->name);
    route->labels = peri_labels_read(peri_json_get(json, "labels"), &g->arena);
    route->is_high = peri_slice_eq(peri_json_get_string(json, "priority"), PERI_SLICE("high"));
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
        return peri_generation_refuse(b, path, b->message);
    snprintf(path, sizeof(path), "routes[%u].rewrite", index + 1);
    err = read_rewrite(b, route, peri_json_get(json, "rewrite"), &match);
    return err == PERI_OK ? PERI_OK : peri_generation_refuse(b, path, b->message);
}

peri_err_t peri_generation_read_routes(struct peri_generation_builder *b, const struct peri_json *list)
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
static peri_err_t read_credentials(struct peri_generation_builder *b, const struct peri_json *list)
{
    struct peri_generation *g = b->generation;
    for (size_t i = 0; i < peri_json_count(list); i++) {
        struct peri_secret secret;
        if (!peri_secret_parse(peri_json_string(peri_json_at(list, i)), &secret) || has_secret(g, &secret))
            continue;
        secret.name = peri_generation_keep(b, secret.name);
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

peri_err_t peri_generation_read_secrets(struct peri_generation_builder *b, const struct peri_json *routes)
{
    size_t total = 0;
    peri_err_t err = PERI_OK;
    for (size_t i = 0; i < peri_json_count(routes); i++)
        for (size_t k = 0; k < peri_json_count(peri_json_get(peri_json_at(routes, i), "chain")); k++)
            total += peri_json_count(credentials_at(routes, i, k));
    if (total == 0)
        return PERI_OK;
    b->generation->secrets = peri_generation_zalloc(b, total, sizeof(*b->generation->secrets));
    if (!b->generation->secrets)
        return PERI_ERR_NOMEM;
    for (size_t i = 0; i < peri_json_count(routes); i++)
        for (size_t k = 0; k < peri_json_count(peri_json_get(peri_json_at(routes, i), "chain")) && err == PERI_OK; k++)
            err = read_credentials(b, credentials_at(routes, i, k));
    return err;
}
