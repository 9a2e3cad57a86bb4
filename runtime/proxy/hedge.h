// SPDX-License-Identifier: MIT
// Hedged requests: when an attempt is not answered after a while, a second one goes to another endpoint without breaking the first
// one off; whichever is answered first with something that needs no retry wins, the other is cancelled. At most two attempts are under
// way at a time. proxy/retry stands in front of both, so that whoever looks at an exchange sees one attempt, f->attempt: the other one
// is in here until it takes its place.
//
//   attempt --after--> allowed? body sent? budget? --> the hedge runs beside it
//     hedge answers: it becomes f->attempt, the first is cancelled        first answers: the hedge is cancelled
//     hedge fails: the first goes on                                      first fails: the hedge becomes f->attempt
#ifndef PERI_PROXY_HEDGE_H
#define PERI_PROXY_HEDGE_H

#include <stdbool.h>

#include "base/err.h"

struct peri_exchange;
struct peri_forward;
struct peri_hedge;

/// An attempt begins, or more of its request arrived: a hedge follows when that is wanted and nothing happens for so long. No-op while
/// one runs. The upstream has retry settings.
void peri_hedge_arm(struct peri_exchange *x);

/// Does a hedge run beside f->attempt?
bool peri_hedge_is_running(const struct peri_forward *f);

/// No hedge from now on; one that runs is cancelled, and counts as the one that lost. `err`: why, for the endpoint's reputation
/// (PERI_ERR_CLIENT_GONE says nothing about it).
void peri_hedge_stop(struct peri_forward *f, peri_err_t err);

/// f->attempt has failed and that was told, or is of no use: it is cancelled, and the hedge, if one runs, takes its place. False when none
/// does.
bool peri_hedge_take_over(struct peri_exchange *x);

/// around() asks again: hedges are counted anew.
void peri_hedge_reset(struct peri_forward *f);

#endif
