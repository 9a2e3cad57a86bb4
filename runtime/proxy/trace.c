// SPDX-License-Identifier: MIT
// Collects while the exchange goes its way, all in its arena and bounded; what does not fit is left out and said so.
#include "proxy/trace.h"

#include <stdlib.h>

#include "base/assert.h"
#include "codec/digest.h"
#include "codec/json.h"
#include "event/loop.h"
#include "exchange/exchange.h"
#include "proxy/flags.h"
#include "proxy/forward.h"
#include "proxy/generation.h"
#include "proxy/server_internal.h"
#include "route/table.h"

#define HEADER PERI_SLICE("x-perigee-explain")
#define CANDIDATES 16 ///< routes that the header tells of

// ---- beginning ----

peri_err_t peri_trace_begin(struct peri_exchange *x, bool is_virtual)
{
    peri_assert(!x->trace);
    x->trace = peri_arena_zalloc(&x->arena, sizeof(*x->trace));
    if (!x->trace)
        return PERI_ERR_NOMEM;
    x->trace->is_virtual = is_virtual;
    return PERI_OK;
}

// Is the digest of `token` the one of the configuration? The time that it takes depends on the length of `token` only.
static bool is_token(const struct peri_generation *generation, struct peri_slice token)
{
    unsigned char digest[PERI_DIGEST_SIZE];
    char text[PERI_DIGEST_TEXT + 1];
    unsigned difference = 0;
    if (peri_digest_sha256(token, digest) != PERI_OK)
        return false;
    peri_digest_format(digest, text);
    for (size_t i = 0; i < PERI_DIGEST_TEXT; i++)
        difference |= (unsigned char)text[i] ^ (unsigned char)generation->explain.ptr[i];
    return difference == 0;
}

void peri_trace_admit(struct peri_exchange *x)
{
    const struct peri_header *header = peri_headers_find_name(&x->req.headers, HEADER, 0, NULL);
    if (!header)
        return;
    struct peri_slice token = peri_slice(header->value, header->value_len);
    bool is_once = peri_headers_remove(&x->req.headers, HEADER) == 1;
    if (is_once && is_token(x->generation, token))
        peri_trace_begin(x, false); // without memory there is no trace
}

// ---- collecting ----

static void on_candidate(void *data, const void *route, const char *reason)
{
    struct peri_trace *trace = data;
    trace->candidates[trace->candidate_count++] = (struct peri_trace_candidate){route, reason};
}

void peri_trace_route(struct peri_exchange *x)
{
    struct peri_trace *trace = x->trace;
    size_t count = x->generation->route_count;
    trace->method = x->req.method_name;
    trace->host = x->req.host;
    trace->path = x->req.path;
    trace->query = x->req.query;
    trace->candidates = count ? peri_arena_alloc(&x->arena, count * sizeof(*trace->candidates)) : NULL;
    if (trace->candidates)
        peri_route_table_explain(x->generation->table, x, on_candidate, trace);
    else
        trace->is_cut = count > 0;
}

void peri_trace_add(struct peri_exchange *x, struct peri_slice json)
{
    struct peri_trace *trace = x->trace;
    struct peri_trace_decision *decision = NULL;
    if (trace && trace->decision_bytes + json.len <= PERI_TRACE_DECISIONS)
        decision = peri_arena_zalloc(&x->arena, sizeof(*decision));
    if (decision)
        decision->json = peri_arena_copy(&x->arena, json);
    if (!decision || !decision->json.ptr) {
        if (trace)
            trace->is_cut = true;
        return;
    }
    trace->decision_bytes += json.len;
    if (trace->last)
        trace->last->next = decision;
    else
        trace->first = decision;
    trace->last = decision;
}

void peri_trace_rewrite(struct peri_exchange *x, struct peri_slice from, peri_err_t err)
{
    x->trace->is_rewritten = true;
    x->trace->from = from;
    x->trace->to = err == PERI_OK ? x->req.path : peri_slice(NULL, 0);
}

static uint64_t now_ns(const struct peri_exchange *x)
{
    return peri_loop_now_ns(x->forward->server->loop);
}

void peri_trace_attempt(struct peri_exchange *x)
{
    struct peri_trace *trace = x->trace;
    if (trace->attempt_count == PERI_TRACE_ATTEMPTS) {
        trace->is_cut = true;
        return;
    }
    trace->present = trace->attempt_count;
    trace->attempts[trace->attempt_count++] = (struct peri_trace_attempt){
        .upstream = x->facts.upstream,
        .endpoint = x->facts.endpoint,
        .choice = trace->choice,
        .begin_ns = now_ns(x),
    };
}

uint32_t peri_trace_turn_to(struct peri_exchange *x, uint32_t place)
{
    uint32_t present = x->trace->present;
    peri_debug_assert(place < PERI_TRACE_ATTEMPTS);
    x->trace->present = place;
    return present;
}

void peri_trace_result(struct peri_exchange *x, int status, peri_err_t err)
{
    struct peri_trace *trace = x->trace;
    struct peri_trace_attempt *attempt = &trace->attempts[trace->present];
    if (trace->attempt_count == 0 || attempt->end_ns)
        return;
    attempt->status = status;
    attempt->err = err;
    attempt->end_ns = now_ns(x);
}

void peri_trace_note(struct peri_exchange *x, struct peri_slice note)
{
    struct peri_trace *trace = x->trace;
    if (trace->attempt_count > 0)
        trace->attempts[trace->present].note = note;
}

// ---- telling ----

static struct peri_json *new_text(const char *text)
{
    return peri_json_new_string(peri_slice_from(text));
}

struct peri_json *peri_trace_view_decisions(const struct peri_trace *trace)
{
    struct peri_json *list = peri_json_new_array();
    for (const struct peri_trace_decision *decision = trace->first; decision; decision = decision->next)
        peri_json_append(list, peri_json_parse(decision->json, false, NULL, 0));
    return list;
}

static struct peri_json *view_attempt(const struct peri_trace_attempt *attempt)
{
    struct peri_json *view = peri_json_new_object();
    peri_json_set(view, "upstream", peri_json_new_string(attempt->upstream));
    peri_json_set(view, "endpoint", peri_json_new_string(attempt->endpoint));
    peri_json_set(view, "choice", peri_json_new_string(attempt->choice));
    peri_json_set(view, "status", attempt->status ? peri_json_new_integer(attempt->status) : peri_json_new_null());
    peri_json_set(view, "error",
                  attempt->err != PERI_OK ? new_text(peri_err_info(attempt->err)->name) : peri_json_new_null());
    if (attempt->note.len > 0)
        peri_json_set(view, "note", peri_json_new_string(attempt->note));
    if (attempt->end_ns)
        peri_json_set(view, "us", peri_json_new_integer((int64_t)(attempt->end_ns - attempt->begin_ns) / 1000));
    return view;
}

struct peri_json *peri_trace_view_attempts(const struct peri_trace *trace)
{
    struct peri_json *list = peri_json_new_array();
    for (uint32_t i = 0; i < trace->attempt_count; i++)
        peri_json_append(list, view_attempt(&trace->attempts[i]));
    return list;
}

struct peri_json *peri_trace_view_lack(const struct peri_exchange *x)
{
    return x->facts.err == PERI_ERR_NO_ENDPOINT && x->trace->choice.len > 0 ? peri_json_new_string(x->trace->choice)
                                                                            : peri_json_new_null();
}

struct peri_json *peri_trace_view_rewrite(const struct peri_trace *trace)
{
    if (!trace->is_rewritten)
        return peri_json_new_null();
    struct peri_json *view = peri_json_new_object();
    peri_json_set(view, "from", peri_json_new_string(trace->from));
    peri_json_set(view, "to", trace->to.ptr ? peri_json_new_string(trace->to) : peri_json_new_null());
    return view;
}

// ---- the header ----

// The routes up to the one chosen; those behind it have no reason of their own.
static struct peri_json *view_candidates(const struct peri_trace *trace)
{
    struct peri_json *list = peri_json_new_array();
    for (uint32_t i = 0; i < trace->candidate_count && i < CANDIDATES; i++) {
        const struct peri_trace_candidate *candidate = &trace->candidates[i];
        struct peri_json *view = peri_json_new_object();
        peri_json_set(view, "route", peri_json_new_string(candidate->route->name));
        peri_json_set(view, "reason", candidate->reason ? new_text(candidate->reason) : peri_json_new_null());
        peri_json_append(list, view);
        if (!candidate->reason)
            break;
    }
    return list;
}

static struct peri_json *view_all(const struct peri_exchange *x)
{
    const struct peri_trace *trace = x->trace;
    struct peri_json *view = peri_json_new_object();
    peri_err_t err = x->facts.err;
    char room[PERI_FLAGS_ROOM];
    peri_json_set(view, "generation", peri_json_new_integer((int64_t)x->generation->number));
    peri_json_set(view, "route", x->route ? peri_json_new_string(x->route->name) : peri_json_new_null());
    peri_json_set(view, "candidates", view_candidates(trace));
    peri_json_set(view, "decisions", peri_trace_view_decisions(trace));
    peri_json_set(view, "rewrite", peri_trace_view_rewrite(trace));
    peri_json_set(view, "attempts", peri_trace_view_attempts(trace));
    peri_json_set(view, "choice", peri_trace_view_lack(x));
    peri_json_set(view, "status", peri_json_new_integer(x->res.status));
    peri_json_set(view, "flags", peri_json_new_string(peri_flags_format(x, x->res.status, room)));
    peri_json_set(view, "error", err != PERI_OK ? new_text(peri_err_info(err)->name) : peri_json_new_null());
    peri_json_set(view, "us", peri_json_new_integer((int64_t)(now_ns(x) - x->facts.start_ns) / 1000));
    peri_json_set(view, "cut", peri_json_new_bool(trace->is_cut));
    return view;
}

// Leaves out what is least missed, one thing after the other, until the text has room.
static char *format(struct peri_json *view)
{
    static const char *const order[] = {"candidates", "decisions", "attempts", "route"};
    char *text = peri_json_format_ascii(view);
    for (unsigned i = 0; text && strlen(text) > PERI_TRACE_HEADER && i < PERI_COUNT(order); i++) {
        free(text);
        peri_json_set(view, order[i], peri_json_new_null());
        peri_json_set(view, "cut", peri_json_new_bool(true));
        text = peri_json_format_ascii(view);
    }
    return text;
}

void peri_trace_put_header(struct peri_exchange *x)
{
    struct peri_json *view = view_all(x);
    char *text = format(view);
    peri_headers_remove(&x->res.headers, HEADER);
    if (text && strlen(text) <= PERI_TRACE_HEADER)
        peri_headers_add(&x->res.headers, HEADER, peri_slice_from(text));
    free(text);
    peri_json_free(view);
}
