// SPDX-License-Identifier: MIT
// The choices themselves are made in upstream/.
#include "proxy/target.h"

#include "base/assert.h"
#include "event/loop.h"
#include "exchange/exchange.h"
#include "proxy/forward.h"
#include "proxy/generation.h"
#include "proxy/plan.h"
#include "proxy/server_internal.h"
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

struct peri_endpoint *peri_target_pick(struct peri_exchange *x, struct peri_upstream *upstream)
{
    struct peri_pick pick = {
        .now_ns = peri_loop_now_ns(x->forward->server->loop),
        .labels = x->route ? x->route->labels : NULL,
    };
    return peri_upstream_pick_for(upstream, x, &pick);
}

void peri_target_hold(struct peri_forward *f, struct peri_endpoint *endpoint)
{
    if (endpoint)
        endpoint->active++;
    if (f->endpoint) {
        peri_assert(f->endpoint->active > 0);
        f->endpoint->active--;
    }
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
    f->upstream = upstream;
    peri_target_hold(f, endpoint);
    x->facts.upstream = upstream->name;
    if (endpoint)
        x->facts.endpoint = peri_pool_address(endpoint->pool);
    return PERI_OK;
}

void peri_target_report(struct peri_forward *f, peri_err_t err)
{
    if (err == PERI_OK && !peri_upstream_wants_report(f->upstream, f->x->res.status))
        return;
    uint64_t now_ns = peri_loop_now_ns(f->server->loop);
    struct peri_result result = {
        .err = err,
        .res = err == PERI_OK ? &f->x->res : NULL,
        .latency_ns = now_ns - f->x->facts.upstream_ns,
        .now_ns = now_ns,
    };
    peri_endpoint_report(f->upstream, f->endpoint, &result);
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

void peri_target_stick(struct peri_exchange *x)
{
    const struct peri_forward *f = x->forward;
    const struct peri_balance *balance = &f->upstream->balance;
    if (balance->cookie.len == 0)
        return;
    struct peri_slice named = peri_headers_find_cookie(&x->req.headers, balance->cookie);
    if (!peri_slice_eq(named, f->endpoint->token))
        set_cookie(x, balance, f->endpoint->token);
}
