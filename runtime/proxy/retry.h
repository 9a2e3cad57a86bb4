// SPDX-License-Identifier: MIT
// Makes failed attempts again, for upstreams with `retries`: stands between the attempt's events and proxy/pipeline, which never
// hears of an attempt that is followed by another. The request body is kept, up to a limit, to be sent again.
//
//   attempt failed --worth it? body kept? attempts, time, budget left?--> back-off --> pipeline: another endpoint, next attempt
//                  `no: the pipeline passes the failure on
#ifndef PERI_PROXY_RETRY_H
#define PERI_PROXY_RETRY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

struct peri_attempt;
struct peri_attempt_events;
struct peri_endpoint;
struct peri_exchange;
struct peri_forward;
struct peri_retry_settings;

/// What the attempts of an exchange have in common.
struct peri_retry {
    struct peri_buf kept;               ///< of the request body: what left for an upstream
    uint64_t deadline_ns;               ///< monotonic; of all attempts; 0: not known yet; UINT64_MAX: none
    const struct peri_endpoint *failed; ///< the last one that did; compared, not looked at
    uint32_t made;                      ///< retries
    bool is_begun;                      ///< the first attempt was counted
    bool is_waiting;                    ///< for the next attempt
    bool is_discarding;                 ///< the present attempt's response is not wanted
    bool is_cut;                        ///< `kept` is not all: there is no way back
    bool is_broken;                     ///< the same, and an attempt needs it
};

/// The events of an exchange's attempts, in front of peri_pipeline_attempt.
extern const struct peri_attempt_events peri_retry_attempt;

/// An attempt on an upstream with `retries` begins: gives the exchange its peri_retry when it has none (out of memory: then it goes without),
/// counts the first for the budget.
void peri_retry_begin(struct peri_exchange *x);

/// around() asks again: attempts and time are counted anew. f->tries.retry is set, as for all below.
void peri_retry_reset(struct peri_forward *f);

/// Frees what was kept.
void peri_retry_close(struct peri_forward *f);

/// Starts the exchange's timer for an attempt: what is left of `request_ms` (0: no limit), at most the time of one. `is_anew`: the
/// request is still arriving, its time begins only now.
void peri_retry_arm(struct peri_exchange *x, uint64_t request_ms, bool is_anew);

/// The same for one that began at `begun_ns`, when the time of all is known.
void peri_retry_rearm(struct peri_exchange *x, uint64_t begun_ns);

/// The settings of the attempt's upstream; NULL when a hook sent it to one without.
const struct peri_retry_settings *peri_retry_settings_of(const struct peri_forward *f);

/// Milliseconds that one attempt has for its response head; 0: as many as are left.
uint64_t peri_retry_per_try_ms(const struct peri_forward *f);

/// Ends what runs beside the attempt (peri_hedge_stop).
void peri_retry_stop_hedge(struct peri_forward *f, peri_err_t err);

/// Can the part of the request body that has left leave again?
bool peri_retry_can_send_again(const struct peri_forward *f);

/// Sends that part on `attempt`, which is ready.
void peri_retry_send_kept(struct peri_forward *f, struct peri_attempt *attempt);

/// Keeps request body bytes: of those that leave now; or of those that come from a hook while no attempt takes them.
void peri_retry_keep(struct peri_forward *f, struct peri_slice data, bool is_leaving);

/// The attempt was not answered in time. True when another follows: it is cancelled.
bool peri_retry_on_timeout(struct peri_exchange *x);

/// Did the failed attempt meet a connection that was closing (peri_attempt_is_stale), for the first time and with a request that is safe
/// to send again on a new one?
bool peri_retry_is_stale(const struct peri_exchange *x);

#endif
