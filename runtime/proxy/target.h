// SPDX-License-Identifier: MIT
// Where an exchange goes: its upstream, the endpoint for the coming attempt, and what the endpoint's balancer hears of it
// afterwards.
#ifndef PERI_PROXY_TARGET_H
#define PERI_PROXY_TARGET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"
#include "upstream/pool.h"

struct peri_attempt;
struct peri_endpoint;
struct peri_exchange;
struct peri_forward;
struct peri_upstream;

/// The upstream of the exchange: what a script chose, or its route says; NULL for none.
struct peri_upstream *peri_target_choose(const struct peri_exchange *x);

/// An endpoint of `upstream` for the coming attempt; NULL when there is none that can be used.
struct peri_endpoint *peri_target_pick(struct peri_exchange *x, struct peri_upstream *upstream);

/// The same, but rather not `except`; simple choices are not made simpler.
struct peri_endpoint *peri_target_pick_other(struct peri_exchange *x, struct peri_upstream *upstream,
                                             const struct peri_endpoint *except);

/// The exchange counts as one of the endpoint's for as long as it holds it. NULL lets go.
void peri_target_hold(struct peri_forward *f, struct peri_endpoint *endpoint);

/// The attempt wants to begin, and the upstream has a queue. True when it has to wait, or has failed because too many do;
/// peri_pipeline_begin_attempt is called when it is its turn. False: it has its place, or need not ask for one.
bool peri_target_wait(struct peri_exchange *x);

/// Does what replaces the present attempt, whose connection was closing or refused it, need a connection of its own? A refused stream was
/// not alone: when its connection takes no more, all that it has refused share another one.
bool peri_target_needs_fresh(const struct peri_forward *f);

/// What the coming attempt meets at its endpoint, for the breaker. `is_replacement`: of an attempt whose connection was closing, which leaves it
/// its place, or refused it, which does not.
enum peri_pool_state peri_target_pool(const struct peri_forward *f, bool is_replacement);

/// Gives the request the path that the upstream sees, once; the route has a rewrite. Errors as peri_rewrite_apply.
peri_err_t peri_target_rewrite(struct peri_exchange *x);

/// A script chose the upstream and, when not empty, the endpoint (peri_script_host.choose_upstream).
peri_err_t peri_target_set(struct peri_exchange *x, struct peri_slice upstream, struct peri_slice endpoint);

/// Decides now which upstream the exchange goes to (peri_script_host.target): its name; ptr is NULL for none.
struct peri_slice peri_target_decide(struct peri_exchange *x);

/// The state of endpoint `index` of that upstream (peri_script_host.endpoint). PERI_ERR_NOT_FOUND.
peri_err_t peri_target_endpoint(struct peri_exchange *x, uint32_t index, uint32_t *active, bool *is_available);

/// Notes a wish (peri_script_host.wish). PERI_ERR_INVALID, PERI_ERR_NOMEM.
peri_err_t peri_target_wish(struct peri_exchange *x, int32_t which, struct peri_slice text);

/// Tells the upstream why no response head of the attempt comes.
void peri_target_report(struct peri_forward *f, peri_err_t err);

/// Tells the upstream the end of a response whose head did not say all (f->tries.is_unjudged): it is complete (PERI_OK), or why it will
/// not be; PERI_ERR_CLIENT_GONE says nothing about the endpoint.
void peri_target_conclude(struct peri_forward *f, peri_err_t err);

/// `attempt`, the present one or a hedge, has its connection: counts whether that was pooled.
void peri_target_count_connection(const struct peri_forward *f, const struct peri_attempt *attempt);

/// The present attempt was answered: counts that, and tells the upstream. `goes_on`: the response is wanted to its end.
void peri_target_count_answer(struct peri_exchange *x, bool goes_on);

/// The present attempt failed, before or after its response head; as peri_target_count_answer.
void peri_target_count_error(struct peri_exchange *x, peri_err_t err);

/// The response head is there: with sticky clients, makes it name the endpoint where the client's cookie does not.
void peri_target_stick(struct peri_exchange *x);

#endif
