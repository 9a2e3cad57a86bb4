// SPDX-License-Identifier: MIT
// What is told about an exchange with a trace. What a route is made of comes from the normalised configuration, where names are
// still names.
#include "proxy/explain.h"

#include "codec/json.h"
#include "exchange/exchange.h"
#include "proxy/flags.h"
#include "proxy/generation.h"
#include "proxy/trace.h"
#include "script/chain.h"
#include "upstream/upstream.h"

// ---- telling ----

struct teller {
    const struct peri_generation *generation;
    const struct peri_exchange *x;
    struct peri_json *config;
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

static struct peri_json *view_request(const struct peri_trace *trace)
{
    struct peri_json *view = peri_json_new_object();
    peri_json_set(view, "method", peri_json_new_string(trace->method));
    peri_json_set(view, "host", peri_json_new_string(trace->host));
    peri_json_set(view, "path", peri_json_new_string(trace->path));
    peri_json_set(view, "query", peri_json_new_string(trace->query));
    return view;
}

static struct peri_json *view_candidates(const struct teller *teller)
{
    const struct peri_trace *trace = teller->x->trace;
    struct peri_json *list = peri_json_new_array();
    for (uint32_t i = 0; i < trace->candidate_count; i++) {
        const struct peri_trace_candidate *candidate = &trace->candidates[i];
        const struct peri_json *json = config_of(teller, candidate->route);
        struct peri_json *view = peri_json_new_object();
        peri_json_set(view, "route", peri_json_copy(peri_json_get(json, "name")));
        peri_json_set(view, "match", peri_json_copy(peri_json_get(json, "match")));
        peri_json_set(view, "reason", candidate->reason ? new_text(candidate->reason) : peri_json_new_null());
        peri_json_append(list, view);
    }
    return list;
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

// Fields as a list of names and values; secrets are not shown.
static struct peri_json *view_headers(const struct peri_headers *headers)
{
    struct peri_json *list = peri_json_new_array();
    for (unsigned i = 0; i < headers->count; i++) {
        const struct peri_header *header = &headers->items[i];
        struct peri_slice name = peri_slice(header->name, header->name_len);
        bool is_secret = peri_header_is_secret(name);
        struct peri_json *view = peri_json_new_object();
        peri_json_set(view, "name", peri_json_new_string(name));
        peri_json_set(view, "value",
                      is_secret ? new_text("(masked)")
                                : peri_json_new_string(peri_slice(header->value, header->value_len)));
        peri_json_append(list, view);
    }
    return list;
}

// What the upstream would get, when the request came so far.
static struct peri_json *view_sent(const struct peri_exchange *x)
{
    const struct peri_trace *trace = x->trace;
    if (!trace->has_arrived || trace->attempt_count == 0)
        return peri_json_new_null();
    const struct peri_trace_attempt *attempt = &trace->attempts[trace->attempt_count - 1];
    struct peri_json *view = peri_json_new_object();
    peri_json_set(view, "upstream", peri_json_new_string(attempt->upstream));
    peri_json_set(view, "endpoint", peri_json_new_string(attempt->endpoint));
    peri_json_set(view, "choice", peri_json_new_string(attempt->choice));
    peri_json_set(view, "method", peri_json_new_string(x->req.method_name));
    peri_json_set(view, "host", peri_json_new_string(x->req.authority));
    peri_json_set(view, "path", peri_json_new_string(x->req.path));
    peri_json_set(view, "query", peri_json_new_string(x->req.query));
    peri_json_set(view, "headers", view_headers(&x->req.headers));
    return view;
}

static struct peri_json *view_answer(const struct peri_exchange *x, const struct peri_explain_answer *answer)
{
    if (!answer)
        return peri_json_new_null();
    peri_err_t err = x->facts.err;
    char room[PERI_FLAGS_ROOM];
    struct peri_json *view = peri_json_new_object();
    peri_json_set(view, "status", peri_json_new_integer(x->res.status));
    peri_json_set(view, "flags", peri_json_new_string(peri_flags_format(x, x->res.status, room)));
    peri_json_set(view, "error", err != PERI_OK ? new_text(peri_err_info(err)->name) : peri_json_new_null());
    peri_json_set(view, "choice", peri_trace_view_lack(x));
    peri_json_set(view, "headers", view_headers(&x->res.headers));
    peri_json_set(view, "body", peri_json_new_string(answer->body));
    peri_json_set(view, "cut", peri_json_new_bool(answer->is_cut));
    return view;
}

static void tell_route(const struct teller *teller, struct peri_json *out)
{
    const struct peri_route *route = teller->x->route;
    const struct peri_json *json = route ? config_of(teller, route) : NULL;
    const struct peri_json *edits = peri_json_get(json, "edits");
    peri_json_set(out, "route", route ? view_route(json, teller->x) : peri_json_new_null());
    peri_json_set(out, "policies", view_policies(json));
    peri_json_set(out, "lua", peri_json_new_bool(route && route->hooks));
    peri_json_set(out, "edits", edits ? peri_json_copy(edits) : peri_json_new_array());
    peri_json_set(out, "target", route ? view_target(teller, route) : peri_json_new_null());
}

struct peri_json *peri_explain_view(const struct peri_generation *generation, const struct peri_exchange *x,
                                    const struct peri_explain_answer *answer, bool is_late)
{
    struct teller teller = {.generation = generation, .x = x};
    struct peri_json *out = peri_json_new_object();
    teller.config = peri_json_parse(peri_slice_from(generation->config), false, NULL, 0);
    peri_json_set(out, "generation", peri_json_new_integer((int64_t)generation->number));
    peri_json_set(out, "request", view_request(x->trace));
    peri_json_set(out, "candidates", view_candidates(&teller));
    tell_route(&teller, out);
    peri_json_set(out, "decisions", peri_trace_view_decisions(x->trace));
    peri_json_set(out, "rewrite", peri_trace_view_rewrite(x->trace));
    peri_json_set(out, "sent", view_sent(x));
    peri_json_set(out, "answer", view_answer(x, answer));
    peri_json_set(out, "late", peri_json_new_bool(is_late));
    peri_json_set(out, "cut", peri_json_new_bool(x->trace->is_cut));
    peri_json_free(teller.config);
    return out;
}
