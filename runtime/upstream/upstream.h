// SPDX-License-Identifier: MIT
// A named set of endpoints and the choice among them. Belongs to one generation; the pools behind the endpoints outlive it, and
// what was learned of an endpoint is passed on to the next generation.
//
//   pick ── look: who is available? (once a millisecond) ── select: priority, labels, zone ── balancer: which one
#ifndef PERI_UPSTREAM_UPSTREAM_H
#define PERI_UPSTREAM_UPSTREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"
#include "upstream/balancer.h"
#include "upstream/endpoint.h"
#include "upstream/pool.h"
#include "upstream/request_key.h"
#include "upstream/tiers.h"

struct peri_guard;

/// Which endpoints a choice is limited to.
struct peri_filter {
    const struct peri_labels *labels; ///< NULL: any
    const struct peri_endpoint *except;
    uint32_t priority;
    uint32_t zone; ///< PERI_ZONE_NONE: any
    bool is_panic; ///< those that are not available too
};

/// Who is available, as of a moment.
struct peri_view {
    uint64_t at_ms;  ///< 0: to be looked at anew
    bool is_settled; ///< nothing changes with time: nobody watches the endpoints, none starts slowly
    bool is_limited; ///< only endpoints with certain labels were counted
    struct peri_tier tiers[PERI_PRIORITIES];
    bool is_simple;   ///< whole and settled, and nothing of a request matters: the balancer may be asked at once
    bool is_whole;    ///< every endpoint can be used, and no one rather than another
    bool is_gathered; ///< `set` holds those of `filter`
    struct peri_filter filter; ///< of `set`
};

/// How endpoints are chosen. Set before peri_upstream_seal.
struct peri_balance {
    const struct peri_balancer_type *type;
    struct peri_balancer_settings settings;
    struct peri_key_source key; ///< of keyed balancers
    struct peri_slice cookie;   ///< of sticky clients; borrowed; empty: none are
    uint64_t cookie_s;          ///< its life; 0: a session's
    bool has_function;          ///< a script chooses first; `type` where it does not
    uint32_t panic_percent;     ///< see peri_tiers_share
    uint64_t slow_start_ms;     ///< 0: none
    uint32_t zone_count;
    uint32_t zone; ///< this process's; PERI_ZONE_NONE
};

struct peri_upstream {
    struct peri_slice name; ///< owned copy
    struct peri_endpoint *endpoints;
    uint32_t count;
    uint32_t tier_count; ///< highest priority + 1
    struct peri_balance balance;
    struct peri_balancer *balancer; ///< owned; NULL before peri_upstream_seal
    struct peri_endpoint_set whole; ///< all endpoints; its items are owned
    struct peri_endpoint_set set;   ///< those of view.filter; its items stand behind the others
    struct peri_view view;
    bool is_lone;                      ///< the only endpoint is chosen without a look: peri_upstream_pick_simply
    uint64_t connect_ms;               ///< to establish a connection; 0 for no limit
    uint64_t request_ms;               ///< from the complete request to the response head
    uint64_t idle_ms;                  ///< without a byte of the response body
    uint64_t stream_ms;                ///< for a whole exchange or tunnel
    struct peri_slice deadline_header; ///< of a request: how long its answer is waited for; borrowed; empty for none
    bool is_timed;                     ///< one of the last two is set
    bool has_warned;                   ///< the log has what is wrong with hedges here
    int32_t metrics;                   ///< row of peri_metrics_upstream
    uint8_t proxy_protocol;            ///< version of the PROXY header that its connections begin with; 0: none
    uint64_t random;                   ///< state of the generator
    uint32_t reaches;                  ///< connections that are no request's and go to one of its endpoints
    struct peri_guard *guard;          ///< who watches over it, owned; NULL: nobody
};

/// What a choice is made for.
struct peri_pick {
    uint64_t now_ns;                    ///< monotonic
    const struct peri_endpoint *except; ///< not this one when there is another; NULL: any
    const struct peri_labels *labels;   ///< only endpoints that have these; NULL: any
    struct peri_slice token;            ///< of the client's sticky cookie; empty for none
    uint64_t hash;                      ///< of the request's key
    bool is_idle;                       ///< somebody only asks what would be chosen: nothing is sent
    bool has_hash;                      ///< without it a keyed balancer chooses at random
    // What is told afterwards:
    bool is_sticky; ///< the token decided
    bool
        is_probe; ///< the attempt is that of the endpoint's probation: its result is reported, or peri_upstream_forgo called
    uint32_t among; ///< endpoints that the balancer could choose from
};

/// An empty upstream with round robin (other settings zero); NULL when out of memory.
struct peri_upstream *peri_upstream_new(struct peri_slice name);

/// Releases the pools and frees the upstream; no attempt refers to its endpoints.
void peri_upstream_free(struct peri_upstream *upstream);

/// Adds an endpoint, before peri_upstream_seal. PERI_ERR_INVALID for a malformed address; PERI_ERR_NOMEM.
peri_err_t peri_upstream_add(struct peri_upstream *upstream, struct peri_pools *pools, struct peri_slice address,
                             uint32_t weight, const struct peri_pool_settings *settings);

/// The endpoints and `balance` are complete: makes the balancer. PERI_ERR_NOMEM.
peri_err_t peri_upstream_seal(struct peri_upstream *upstream);

/// From now on the endpoint can be used while *health is 0 (borrowed until the upstream is freed; other processes may change it).
void peri_endpoint_watch(struct peri_upstream *upstream, struct peri_endpoint *endpoint, const uint32_t *health);

/// Passes on what `old`, an upstream of the generation before, learned of endpoints that both have. Those that are new start slowly.
void peri_upstream_inherit(struct peri_upstream *upstream, const struct peri_upstream *old, uint64_t now_ms);

/// Chooses where nothing of the request matters and nobody's state: the only endpoint (with panic it is used in any; but by failure
/// accrual it comes back when somebody looks), or the balancer's choice among all. NULL: ask peri_upstream_pick.
static inline struct peri_endpoint *peri_upstream_pick_simply(struct peri_upstream *upstream, uint64_t now_ns)
{
    if (upstream->is_lone)
        return upstream->endpoints;
    if (!upstream->view.is_simple)
        return NULL;
    struct peri_balance_question question = {.now_ns = now_ns, .random = &upstream->random};
    return upstream->balance.type->pick(upstream->balancer, &upstream->whole, &question);
}

/// Chooses an endpoint. NULL when there is none that can be used.
struct peri_endpoint *peri_upstream_pick(struct peri_upstream *upstream, struct peri_pick *pick);

/// Chooses an endpoint for the request of `x` (peri_upstream_pick with what the balance wants to know of it); `pick` says the rest.
struct peri_endpoint *peri_upstream_pick_for(struct peri_upstream *upstream, const struct peri_exchange *x,
                                             struct peri_pick *pick);

/// The endpoint with this address, or NULL.
struct peri_endpoint *peri_upstream_find(struct peri_upstream *upstream, struct peri_slice address);

/// The attempt that was to decide about the endpoint's probation did not begin: another one may.
void peri_upstream_forgo(struct peri_upstream *upstream, const struct peri_endpoint *endpoint, uint64_t now_ns);

/// Does it matter to anybody that an attempt was answered with `status`? Otherwise peri_endpoint_report may be left out.
static inline bool peri_upstream_wants_report(const struct peri_upstream *upstream, int status)
{
    return upstream->balance.type->report || upstream->guard || status >= 500;
}

/// Tells what became of an attempt, once: when its response head came, or when it ended without one. True, only when it `goes_on`: the
/// head does not say all; peri_endpoint_conclude is to be called.
bool peri_endpoint_report(struct peri_upstream *upstream, struct peri_endpoint *endpoint,
                          const struct peri_result *result);

/// Tells the end of a response whose head did not say all: PERI_OK, its trailers are there; otherwise why they will not come.
void peri_endpoint_conclude(struct peri_upstream *upstream, struct peri_endpoint *endpoint,
                            const struct peri_result *result);

#endif
