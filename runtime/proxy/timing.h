// SPDX-License-Identifier: MIT
// How long an exchange may take: the time of an attempt, what scripts set instead of the configuration's, and the moment at which all
// of it ends, which is the client's deadline or the end of the longest duration, whichever comes first. Each attempt tells its server how
// much is left. Most exchanges have only the configuration's limits: then f->tries.timing is NULL.
#ifndef PERI_PROXY_TIMING_H
#define PERI_PROXY_TIMING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "event/timer.h"

struct peri_exchange;
struct peri_forward;

/// What a script may set for one exchange: milliseconds; PERI_ROUTE_INHERITS: the configuration's holds.
struct peri_timing_limits {
    uint64_t request; ///< as peri_upstream.request_ms
    uint64_t per_try; ///< as peri_retry_settings.per_try_ms
    uint64_t idle;    ///< as peri_upstream.idle_ms
    uint64_t stream;  ///< as peri_upstream.stream_ms
    uint64_t hedge;   ///< as peri_hedge_settings.after_ms
};

struct peri_timing {
    struct peri_exchange *x;
    struct peri_timer timer;
    uint64_t end_ns; ///< monotonic; when all of it ends; UINT64_MAX: not known
    peri_err_t err;  ///< why
    struct peri_timing_limits limits;
};

/// The client said how long it waits (x->facts.deadline_ns). False when there was no memory for that: the exchange has failed.
bool peri_timing_begin(struct peri_exchange *x);

/// The exchange is over.
void peri_timing_end(struct peri_forward *f);

/// A script sets a limit (PERI_FFI_LIMIT_*) of this exchange in milliseconds; 0 is none. A deadline can only come nearer.
/// PERI_ERR_INVALID, PERI_ERR_NOMEM.
peri_err_t peri_timing_set(struct peri_exchange *x, int32_t which, uint64_t ms);

/// An attempt begins: starts the time of the longest duration with the first, and says in the request's headers how much time is left.
/// False when there is none, or no memory: the exchange has failed.
bool peri_timing_admit(struct peri_exchange *x);

/// The same for a hedge, which is one of several: false, and nothing happened, when it is too late.
bool peri_timing_send_on(struct peri_exchange *x);

/// Limits how long the attempt waits for its response; `is_anew`: the request is still arriving.
void peri_timing_limit_attempt(struct peri_exchange *x, bool is_anew);

/// A byte of the response came, or nobody wanted one: the time without one begins anew.
void peri_timing_limit_idle(struct peri_forward *f);

/// Limits of the attempts of the exchange, milliseconds; 0: none. `configured` is the upstream's.
uint64_t peri_timing_request_ms(const struct peri_exchange *x);
uint64_t peri_timing_per_try_ms(const struct peri_forward *f, uint64_t configured);
uint64_t peri_timing_hedge_ms(const struct peri_forward *f, uint64_t configured);

#endif
