// SPDX-License-Identifier: MIT
// The choices themselves are made in upstream/.
#include "proxy/target.h"

#include <perigee/ffi.h>

#include "base/assert.h"
#include "base/attr.h"
#include "event/loop.h"
#include "exchange/exchange.h"
#include "proxy/choice.h"
#include "proxy/forward.h"
#include "proxy/generation.h"
#include "proxy/plan.h"
#include "proxy/server_internal.h"
#include "proxy/trace.h"
#include "route/rewrite.h"
#include "shared/metrics.h"
#include "upstream/upstream.h"

struct peri_upstream *peri_target_choose(const struct peri_exchange *x)
{
    const struct peri_route *route = x->route;
    if (x->forward->upstream || !route || route->choice_count == 0)
        return x->forward->upstream;
    if (route->choice_count == 1)
        return route->choices[0].upstream;
    uint64_t at = (x->id * 0x9e3779b97f4a7c15ull >> 32) % route->weight_sum;
    uint32_t i = 0;
    while (at >= route->choices[i].weight)
        at -= route->choices[i++].weight;
    return route->choices[i].upstream;
}

// The endpoint that a script wished for, once.
static struct peri_endpoint *take_wish(struct peri_exchange *x, struct peri_upstream *upstream)
{
    struct peri_slice address = x->wish->endpoint;
    x->wish->endpoint = peri_slice(NULL, 0);
    return address.len > 0 ? peri_upstream_find(upstream, address) : NULL;
}

// ---- the choice ----

// The attempt that was to decide about its endpoint is given up before it could.
static void forgo(struct peri_forward *f)
{
    if (!f->tries.is_probe)
        return;
    f->tries.is_probe = false;
    peri_upstream_forgo(f->upstream, f->endpoint, peri_loop_now_ns(f->server->loop));
}

static PERI_NOINLINE struct peri_endpoint *pick(struct peri_exchange *x, struct peri_upstream *upstream,
                                                uint64_t now_ns, const struct peri_endpoint *except)
{
    struct peri_endpoint *wished = x->wish ? take_wish(x, upstream) : NULL;
    if (wished) {
        peri_choice_note_script(x, false);
        return wished;
    }
    struct peri_pick question = {
        .now_ns = now_ns,
        .except = except,
        .labels = x->route ? x->route->labels : NULL,
        .is_idle = x->trace && x->trace->is_virtual,
    };
    forgo(x->forward);
    struct peri_endpoint *endpoint = peri_upstream_pick_for(upstream, x, &question);
    x->forward->tries.is_probe = question.is_probe;
    if (PERI_UNLIKELY(x->trace != NULL))
        peri_choice_note(x, upstream, &question);
    return endpoint;
}

struct peri_endpoint *peri_target_pick(struct peri_exchange *x, struct peri_upstream *upstream)
{
    bool is_free = !x->wish && !x->trace && (!x->route || !x->route->labels);
    uint64_t now_ns = peri_loop_now_ns(x->forward->server->loop);
    struct peri_endpoint *endpoint = is_free ? peri_upstream_pick_simply(upstream, now_ns) : NULL;
    return endpoint ? endpoint : pick(x, upstream, now_ns, NULL);
}

struct peri_endpoint *peri_target_pick_other(struct peri_exchange *x, struct peri_upstream *upstream,
                                             const struct peri_endpoint *except)
{
    return pick(x, upstream, peri_loop_now_ns(x->forward->server->loop), except);
}

void peri_target_hold(struct peri_forward *f, struct peri_endpoint *endpoint)
{
    if (!endpoint)
        forgo(f);
    else
        peri_endpoint_enter(endpoint);
    if (f->endpoint)
        peri_endpoint_leave(f->endpoint);
    f->endpoint = endpoint;
}

peri_err_t peri_target_set(struct peri_exchange *x, struct peri_slice name, struct peri_slice address)
{
    struct peri_forward *f = x->forward;
    struct peri_upstream *upstream = peri_generation_find_upstream(x->generation, name);
    struct peri_endpoint *endpoint = upstream && address.len > 0 ? peri_upstream_find(upstream, address) : NULL;
    if (!upstream || (address.len > 0 && !endpoint))
        return PERI_ERR_NOT_FOUND;
    if (f->is_started)
        return PERI_ERR_CLOSED;                  // by now the attempt is under way
    if (x->state == PERI_X_FORWARD && !endpoint) // from on_upstream: the attempt comes next
        endpoint = peri_target_pick(x, upstream);
    if (x->state == PERI_X_FORWARD && !endpoint)
        return PERI_ERR_NOT_FOUND;
    if (address.len > 0) {
        forgo(f);
        peri_choice_note_script(x, true);
    }
    f->upstream = upstream;
    peri_target_hold(f, endpoint);
    x->facts.upstream = upstream->name;
    if (endpoint)
        x->facts.endpoint = peri_pool_address(endpoint->pool);
    return PERI_OK;
}

peri_err_t peri_target_rewrite(struct peri_exchange *x)
{
    struct peri_forward *f = x->forward;
    if (f->is_rewritten)
        return PERI_OK;
    struct peri_slice from = x->req.path;
    f->is_rewritten = true;
    peri_err_t err = peri_rewrite_apply(x->route->rewrite, x, &x->req.path);
    if (PERI_UNLIKELY(x->trace != NULL))
        peri_trace_rewrite(x, from, err);
    return err;
}

// ---- the connection ----

bool peri_target_needs_fresh(const struct peri_forward *f)
{
    return !f->attempt.is_refused || peri_pool_state(f->endpoint->pool) == PERI_POOL_CONNECTED;
}

enum peri_pool_state peri_target_pool(const struct peri_forward *f, bool is_replacement)
{
    enum peri_pool_state state = peri_pool_state(f->endpoint->pool);
    if (!is_replacement)
        return state;
    if (!f->attempt.is_refused)
        return PERI_POOL_CONNECTING;
    return state == PERI_POOL_CONNECTED ? PERI_POOL_BUSY : state;
}

// ---- what scripts ask and wish ----

struct peri_slice peri_target_decide(struct peri_exchange *x)
{
    x->forward->upstream = peri_target_choose(x);
    return x->forward->upstream ? x->forward->upstream->name : peri_slice(NULL, 0);
}

peri_err_t peri_target_endpoint(struct peri_exchange *x, uint32_t index, uint32_t *active, bool *is_available)
{
    const struct peri_upstream *upstream = x->forward->upstream;
    if (!upstream || index >= upstream->count)
        return PERI_ERR_NOT_FOUND;
    *active = *upstream->endpoints[index].active;
    *is_available = peri_endpoint_is_available(&upstream->endpoints[index]);
    return PERI_OK;
}

// The text up to the next zero, which is taken too.
static struct peri_slice take_text(struct peri_slice *rest)
{
    const char *end = memchr(rest->ptr, 0, rest->len);
    size_t len = end ? (size_t)(end - rest->ptr) : rest->len;
    struct peri_slice text = peri_slice(rest->ptr, len);
    len += end != NULL;
    *rest = peri_slice(rest->ptr + len, rest->len - len);
    return text;
}

static peri_err_t read_labels(struct peri_arena *arena, struct peri_slice text, struct peri_labels *labels)
{
    size_t zeros = 0;
    for (size_t i = 0; i < text.len; i++)
        zeros += text.ptr[i] == '\0';
    struct peri_label *items = peri_arena_zalloc(arena, (zeros / 2 + 1) * sizeof(*items));
    if (!items)
        return PERI_ERR_NOMEM;
    *labels = (struct peri_labels){.items = items};
    while (text.len > 0 && labels->count < zeros / 2) {
        items[labels->count].name = take_text(&text);
        items[labels->count++].value = take_text(&text);
    }
    return PERI_OK;
}

peri_err_t peri_target_wish(struct peri_exchange *x, int32_t which, struct peri_slice text)
{
    struct peri_slice copy = peri_arena_copy(&x->arena, text);
    if (!x->wish)
        x->wish = peri_arena_zalloc(&x->arena, sizeof(*x->wish));
    if (!x->wish || !copy.ptr)
        return PERI_ERR_NOMEM;
    switch (which) {
    case PERI_FFI_WISH_KEY: x->wish->key = copy; return PERI_OK;
    case PERI_FFI_WISH_ENDPOINT: x->wish->endpoint = copy; return PERI_OK;
    case PERI_FFI_WISH_LABELS: return read_labels(&x->arena, copy, &x->wish->labels);
    default: return PERI_ERR_INVALID;
    }
}

// ---- afterwards ----

static struct peri_result result_of(const struct peri_forward *f, peri_err_t err)
{
    uint64_t now_ns = peri_loop_now_ns(f->server->loop);
    return (struct peri_result){
        .err = err,
        .res = err == PERI_OK ? &f->x->res : NULL,
        .latency_ns = now_ns - f->x->facts.upstream_ns,
        .now_ns = now_ns,
    };
}

static PERI_NOINLINE void report(struct peri_forward *f, peri_err_t err, bool goes_on)
{
    struct peri_result result = result_of(f, err);
    result.goes_on = goes_on;
    f->tries.is_probe = false;
    f->tries.is_unjudged = peri_endpoint_report(f->upstream, f->endpoint, &result);
}

void peri_target_report(struct peri_forward *f, peri_err_t err)
{
    report(f, err, false);
}

PERI_NOINLINE void peri_target_conclude(struct peri_forward *f, peri_err_t err)
{
    struct peri_result result = result_of(f, err);
    peri_debug_assert(f->tries.is_unjudged);
    f->tries.is_unjudged = false;
    peri_endpoint_conclude(f->upstream, f->endpoint, &result);
}

void peri_target_count_connection(const struct peri_forward *f, const struct peri_attempt *attempt)
{
    struct peri_metrics_upstream *counts = &f->server->page->upstream_connections[f->upstream->metrics];
    if (attempt->is_reused)
        counts->reuses++;
    else
        counts->connects++;
}

static void count_attempt(struct peri_exchange *x, int status)
{
    struct peri_forward *f = x->forward;
    peri_metrics_attempt(f->server->page, f->upstream->metrics, status,
                         peri_loop_now_ns(f->server->loop) - x->facts.upstream_ns);
    if (PERI_UNLIKELY(x->trace != NULL) && status > 0)
        peri_trace_result(x, status, PERI_OK);
}

void peri_target_count_answer(struct peri_exchange *x, bool goes_on)
{
    count_attempt(x, x->res.status);
    if (peri_upstream_wants_report(x->forward->upstream, x->res.status))
        report(x->forward, PERI_OK, goes_on);
}

void peri_target_count_error(struct peri_exchange *x, peri_err_t err)
{
    struct peri_forward *f = x->forward;
    struct peri_metrics_upstream *counts = &f->server->page->upstream_connections[f->upstream->metrics];
    if (err == PERI_ERR_CONNECT || err == PERI_ERR_CONNECT_TIMEOUT || err == PERI_ERR_RESOLVE)
        counts->connect_failures++;
    else if (err == PERI_ERR_UPSTREAM_RESET)
        counts->resets++;
    if (!f->attempt.has_head) {
        count_attempt(x, 0);
        peri_target_report(f, err);
    } else if (f->tries.is_unjudged) {
        peri_target_conclude(f, err);
    }
}

static void set_cookie(struct peri_exchange *x, const struct peri_balance *balance, struct peri_slice token)
{
    bool is_secure = peri_slice_eq(x->req.scheme, PERI_SLICE("https"));
    struct peri_slice life = PERI_SLICE("");
    if (balance->cookie_s > 0)
        life = peri_arena_printf(&x->arena, "; Max-Age=%llu", (unsigned long long)balance->cookie_s);
    struct peri_slice value = peri_arena_printf(&x->arena, "%.*s=%.*s; Path=/%.*s; HttpOnly; SameSite=Lax%s",
                                                (int)balance->cookie.len, balance->cookie.ptr, (int)token.len,
                                                token.ptr, (int)life.len, life.ptr, is_secure ? "; Secure" : "");
    if (value.ptr) // without memory the client is not sticky
        peri_headers_append_known(&x->res.headers, PERI_H_SET_COOKIE, value);
}

static PERI_NOINLINE void stick(struct peri_exchange *x, const struct peri_balance *balance)
{
    struct peri_slice token = x->forward->endpoint->token;
    if (!peri_slice_eq(peri_headers_find_cookie(&x->req.headers, balance->cookie), token))
        set_cookie(x, balance, token);
}

void peri_target_stick(struct peri_exchange *x)
{
    const struct peri_balance *balance = &x->forward->upstream->balance;
    if (balance->cookie.len > 0)
        stick(x, balance);
}
