// SPDX-License-Identifier: MIT
// The request goes through the real parser and the real table, so that the answer cannot differ from that under traffic.
// What a route is made of comes from the normalised configuration, where names are still names.
#include "proxy/explain.h"

#include <stdio.h>

#include "codec/h1.h"
#include "codec/json.h"
#include "downstream/connection.h"
#include "exchange/exchange.h"
#include "proxy/generation.h"
#include "route/rewrite.h"
#include "route/table.h"
#include "script/chain.h"
#include "upstream/upstream.h"

// ---- reading ----

static bool on_begin(struct peri_h1 *h1)
{
    struct peri_exchange *x = h1->data;
    peri_h1_set_request(h1, &x->req);
    return true;
}

static peri_err_t on_head(struct peri_h1 *h1)
{
    return peri_connection_read_target(h1->data);
}

static peri_err_t on_body(struct peri_h1 *h1, struct peri_slice data)
{
    PERI_UNUSED(h1);
    PERI_UNUSED(data);
    return PERI_OK;
}

static void on_end(struct peri_h1 *h1)
{
    PERI_UNUSED(h1);
}

static peri_err_t refuse(char *message, size_t size, const char *what, struct peri_slice text)
{
    snprintf(message, size, "'%.*s' %s", (int)text.len, text.ptr, what);
    return PERI_ERR_INVALID;
}

static bool split_header(struct peri_slice line, struct peri_slice *name, struct peri_slice *value)
{
    const char *colon = line.len ? memchr(line.ptr, ':', line.len) : NULL;
    if (!colon)
        return false;
    *name = peri_slice(line.ptr, (size_t)(colon - line.ptr));
    *value = peri_slice_trim(peri_slice(colon + 1, line.len - name->len - 1));
    return peri_header_is_name(*name) && peri_header_is_value(*value);
}

// Nothing of it can end its line or its part of the line: one request is one request.
static peri_err_t check(const struct peri_explain_request *request, bool *has_host, char *message, size_t size)
{
    struct peri_slice name, value, url = request->url;
    *has_host = false;
    if (!peri_header_is_name(request->method))
        return refuse(message, size, "is no method", request->method);
    for (size_t i = 0; i < url.len; i++)
        if ((unsigned char)url.ptr[i] <= ' ' || url.ptr[i] == 0x7f)
            return refuse(message, size, "is no URL: it has a space or a control byte in it", url);
    if (url.len == 0)
        return refuse(message, size, "is no URL", url);
    for (uint32_t i = 0; i < request->header_count; i++) {
        if (!split_header(request->headers[i], &name, &value))
            return refuse(message, size, "is no header: expected 'Name: value'", request->headers[i]);
        *has_host |= peri_slice_ieq(name, PERI_SLICE("host"));
    }
    return PERI_OK;
}

static char *put(char *out, struct peri_slice text, const char *tail)
{
    return stpcpy(mempcpy(out, text.ptr, text.len), tail);
}

// The head as a client sends it. The host of a URL replaces the Host field, whatever that says.
static struct peri_slice write_head(struct peri_arena *arena, const struct peri_explain_request *request, bool has_host)
{
    static const char tail[] = " HTTP/1.1\r\nHost: url\r\n\r\n";
    bool is_absolute = request->url.ptr[0] != '/' && request->url.ptr[0] != '*';
    size_t size = request->method.len + request->url.len + sizeof(tail) + 1;
    for (uint32_t i = 0; i < request->header_count; i++)
        size += request->headers[i].len + 2;
    char *base = peri_arena_alloc(arena, size), *out = base;
    if (!base)
        return peri_slice(NULL, 0);
    out = put(out, request->method, " ");
    out = put(out, request->url, has_host || is_absolute ? " HTTP/1.1\r\n" : " HTTP/1.0\r\n");
    if (is_absolute && !has_host)
        out = stpcpy(out, "Host: url\r\n");
    for (uint32_t i = 0; i < request->header_count; i++)
        out = put(out, request->headers[i], "\r\n");
    out = stpcpy(out, "\r\n");
    return peri_slice(base, (size_t)(out - base));
}

peri_err_t peri_explain_read(struct peri_exchange *x, const struct peri_explain_request *request, char *message,
                             size_t size)
{
    static const struct peri_h1_events events = {on_begin, on_head, on_body, on_end};
    static const struct peri_h1_limits limits = {.header_bytes = 61440, .headers = 100, .uri_bytes = 16384};
    struct peri_h1 h1;
    size_t consumed;
    bool has_host;
    peri_err_t err = check(request, &has_host, message, size);
    if (err != PERI_OK)
        return err;
    struct peri_slice head = write_head(&x->arena, request, has_host);
    if (!head.ptr)
        return PERI_ERR_NOMEM;
    peri_h1_init(&h1, PERI_H1_SERVER, &limits, &events, x);
    return peri_h1_feed(&h1, head, &consumed);
}

// ---- telling ----

struct teller {
    const struct peri_generation *generation;
    struct peri_exchange *x;
    struct peri_json *config;
    struct peri_json *out;
};

static struct peri_json *new_text(const char *text)
{
    return peri_json_new_string(peri_slice_from(text));
}

static const struct peri_json *find_named(const struct peri_json *list, struct peri_slice name)
{
    for (size_t i = 0; i < peri_json_count(list); i++)
        if (peri_slice_eq(peri_json_get_string(peri_json_at(list, i), "name"), name))
            return peri_json_at(list, i);
    return NULL;
}

static const struct peri_json *config_of(const struct teller *teller, const struct peri_route *route)
{
    return peri_json_at(peri_json_get(teller->config, "routes"), route->index);
}

static struct peri_json *view_request(const struct peri_request *req)
{
    struct peri_json *view = peri_json_new_object();
    peri_json_set(view, "method", peri_json_new_string(req->method_name));
    peri_json_set(view, "host", peri_json_new_string(req->host));
    peri_json_set(view, "path", peri_json_new_string(req->path));
    peri_json_set(view, "query", peri_json_new_string(req->query));
    return view;
}

static void on_candidate(void *data, const void *route, const char *reason)
{
    struct teller *teller = data;
    const struct peri_json *json = config_of(teller, route);
    struct peri_json *view = peri_json_new_object();
    peri_json_set(view, "route", peri_json_copy(peri_json_get(json, "name")));
    peri_json_set(view, "match", peri_json_copy(peri_json_get(json, "match")));
    peri_json_set(view, "reason", reason ? new_text(reason) : peri_json_new_null());
    peri_json_append(teller->out, view);
}

static struct peri_json *view_candidates(struct teller *teller)
{
    teller->out = peri_json_new_array();
    peri_route_table_explain(teller->generation->table, teller->x, on_candidate, teller);
    return teller->out;
}

static struct peri_json *view_route(const struct peri_json *route, const struct peri_exchange *x)
{
    const struct peri_json *names = peri_json_get(route, "captures");
    struct peri_json *view = peri_json_new_object(), *captures = peri_json_new_object();
    for (size_t i = 0; i < peri_json_count(names) && i < PERI_CAPTURES_MAX; i++)
        peri_json_set(captures, peri_json_string(peri_json_at(names, i)).ptr, peri_json_new_string(x->captures[i]));
    peri_json_set(view, "name", peri_json_copy(peri_json_get(route, "name")));
    peri_json_set(view, "captures", captures);
    return view;
}

static struct peri_json *view_hooks(uint32_t hooks)
{
    static const char *const names[PERI_PHASE_COUNT] = {"on_request",  "on_request_body",  "on_upstream",
                                                        "on_response", "on_response_body", "on_log"};
    struct peri_json *list = peri_json_new_array();
    if (hooks & PERI_HOOK_AROUND)
        peri_json_append(list, new_text("around"));
    for (unsigned phase = 0; phase < PERI_PHASE_COUNT; phase++)
        if (hooks & PERI_HOOK(phase))
            peri_json_append(list, new_text(names[phase]));
    return list;
}

static struct peri_json *view_policies(const struct peri_json *route)
{
    const struct peri_json *chain = peri_json_get(route, "chain");
    struct peri_json *list = peri_json_new_array();
    for (size_t i = 0; i < peri_json_count(chain); i++) {
        const struct peri_json *use = peri_json_at(chain, i);
        struct peri_json *view = peri_json_new_object();
        peri_json_set(view, "name", peri_json_copy(peri_json_get(use, "policy")));
        peri_json_set(view, "hooks", view_hooks((uint32_t)peri_json_get_integer(use, "hooks", 0)));
        peri_json_set(view, "when", peri_json_new_bool(peri_json_get_bool(use, "when", false)));
        peri_json_set(view, "dry_run", peri_json_new_bool(peri_json_get_bool(use, "dry_run", false)));
        peri_json_set(view, "on_failure", peri_json_copy(peri_json_get(use, "on_failure")));
        peri_json_append(list, view);
    }
    return list;
}

static struct peri_json *view_upstream(const struct teller *teller, const struct peri_choice *choice)
{
    struct peri_slice name = choice->upstream->name;
    const struct peri_json *json = find_named(peri_json_get(teller->config, "upstreams"), name);
    struct peri_json *view = peri_json_new_object();
    peri_json_set(view, "name", peri_json_new_string(name));
    peri_json_set(view, "weight", peri_json_new_integer(choice->weight));
    peri_json_set(view, "balance", peri_json_copy(peri_json_get(json, "balance")));
    peri_json_set(view, "endpoints", peri_json_copy(peri_json_get(json, "endpoints")));
    peri_json_set(view, "timeouts", peri_json_copy(peri_json_get(json, "timeouts")));
    return view;
}

static struct peri_json *view_target(const struct teller *teller, const struct peri_route *route)
{
    struct peri_json *view = peri_json_copy(peri_json_get(config_of(teller, route), "target"));
    if (route->target != PERI_TARGET_UPSTREAM && route->target != PERI_TARGET_SPLIT)
        return view;
    struct peri_json *upstreams = peri_json_new_array();
    for (uint32_t i = 0; i < route->choice_count; i++)
        peri_json_append(upstreams, view_upstream(teller, &route->choices[i]));
    peri_json_free(view);
    view = peri_json_new_object();
    peri_json_set(view, "kind", new_text(route->target == PERI_TARGET_SPLIT ? "split" : "upstream"));
    peri_json_set(view, "upstreams", upstreams);
    return view;
}

static struct peri_json *view_rewrite(struct peri_exchange *x, peri_err_t *err)
{
    struct peri_slice path;
    if (!x->route->rewrite)
        return peri_json_new_null();
    *err = peri_rewrite_apply(x->route->rewrite, x, &path);
    struct peri_json *view = peri_json_new_object();
    peri_json_set(view, "from", peri_json_new_string(x->req.path));
    peri_json_set(view, "to", *err == PERI_OK ? peri_json_new_string(path) : peri_json_new_null());
    return view;
}

static struct peri_json *view_answer(peri_err_t err)
{
    if (err == PERI_OK)
        return peri_json_new_null();
    struct peri_json *view = peri_json_new_object();
    peri_json_set(view, "status", peri_json_new_integer(peri_err_info(err)->status));
    peri_json_set(view, "error", new_text(peri_err_info(err)->name));
    return view;
}

static void tell_route(const struct teller *teller, struct peri_json *out)
{
    const struct peri_route *route = teller->x->route;
    const struct peri_json *json = route ? config_of(teller, route) : NULL;
    const struct peri_json *edits = peri_json_get(json, "edits");
    peri_err_t err = route ? PERI_OK : PERI_ERR_NO_ROUTE;
    peri_json_set(out, "route", route ? view_route(json, teller->x) : peri_json_new_null());
    peri_json_set(out, "policies", view_policies(json));
    peri_json_set(out, "lua", peri_json_new_bool(route && route->hooks));
    peri_json_set(out, "edits", edits ? peri_json_copy(edits) : peri_json_new_array());
    peri_json_set(out, "rewrite", route ? view_rewrite(teller->x, &err) : peri_json_new_null());
    peri_json_set(out, "target", route ? view_target(teller, route) : peri_json_new_null());
    peri_json_set(out, "answer", view_answer(err));
}

struct peri_json *peri_explain(const struct peri_generation *generation, struct peri_exchange *x)
{
    struct teller teller = {.generation = generation, .x = x};
    struct peri_json *out = peri_json_new_object();
    teller.config = peri_json_parse(peri_slice_from(generation->config), false, NULL, 0);
    x->route = peri_route_table_find(generation->table, x);
    peri_json_set(out, "request", view_request(&x->req));
    peri_json_set(out, "candidates", view_candidates(&teller));
    tell_route(&teller, out);
    peri_json_free(teller.config);
    return out;
}
