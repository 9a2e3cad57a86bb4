// SPDX-License-Identifier: MIT
// Failure accrual, Linkerd's circuit breaker for endpoints: one that fails too often is shut, and after a while one real request may
// show whether it is well again. Works on rows that all workers share, with the time and the randomness it is given; knows nothing of
// connections. An alternative to outlier detection (upstream/outlier.h), which compares endpoints and waits for a fixed time.
//
//          failures in a row, or too low a rate            until_ms is over            an attempt begins
//   open ---------------------------------------> shut -------------------> probation -----------------> probing
//    ^                                              ^                                                      |  |
//    |                                              +------- failed: the next wait is twice as long -------+  |
//    +----------------------------- succeeded, or its response goes on when until_ms is over -----------------+
#ifndef PERI_UPSTREAM_ACCRUAL_H
#define PERI_UPSTREAM_ACCRUAL_H

#include <stdbool.h>
#include <stdint.h>

#include "shared/endpoints.h"

/// The settings, with Linkerd's numbers as defaults.
struct peri_accrual_settings {
    uint32_t failures;     ///< in a row
    uint64_t min_ms;       ///< the first wait; each further one in a row is twice as long
    uint64_t max_ms;       ///< the longest
    double jitter;         ///< share of a wait that is added at most, at random
    bool is_unified;       ///< the rate of successes counts too
    double success_rate;   ///< below it, 0 to 1
    uint64_t window_ms;    ///< of the last so many milliseconds
    uint32_t min_requests; ///< that are needed for a rate
    uint64_t probe_ms;     ///< after that long a request that was to show something is waited for no longer
};

/// What the result of an attempt means.
enum peri_accrual_verdict {
    PERI_ACCRUAL_SUCCESS,
    PERI_ACCRUAL_FAILURE,
    PERI_ACCRUAL_LIMITED, ///< the endpoint asks for less: a failure for the rate, nothing for runs
    PERI_ACCRUAL_NOTHING, ///< says nothing about the endpoint
};

/// consecutive, with Linkerd's numbers.
void peri_accrual_defaults(struct peri_accrual_settings *settings);

/// What an answer means. `grpc` is its gRPC status; above 16 for none.
enum peri_accrual_verdict peri_accrual_judge(const struct peri_accrual_settings *settings, int status, uint64_t grpc);

/// Counts the result of an attempt on an open endpoint. The reason when it is time to shut it.
enum peri_accrual_reason peri_accrual_count(const struct peri_accrual_settings *settings,
                                            struct peri_endpoint_accrual *accrual, enum peri_accrual_verdict verdict,
                                            uint64_t now_ms);

// The following change who is used: the caller keeps others from the row (peri_endpoints_acquire).

/// Shuts an open endpoint; false when it is not open any more. *random: upstream/random.h.
bool peri_accrual_shut(const struct peri_accrual_settings *settings, struct peri_endpoint_row *row,
                       enum peri_accrual_reason reason, uint64_t now_ms, uint64_t *random);

/// Begins probation when its time has come, or anew when nothing was heard of the last request that was to show something; opens the
/// endpoint when the response to that still goes on. True when something changed.
bool peri_accrual_tick(struct peri_endpoint_row *row, uint64_t now_ms);

/// An attempt that begins at `now_ns` wants to be the one of the probation. False when there is another already.
bool peri_accrual_claim(const struct peri_accrual_settings *settings, struct peri_endpoint_row *row, uint64_t now_ns);

/// Hears that the response to an attempt that began at `begun_ns` has begun, and that its end will say what it means.
void peri_accrual_hear(struct peri_endpoint_row *row, uint64_t begun_ns);

/// Hears the result of an attempt that began at `begun_ns` on an endpoint that is not open; those that began before the probation
/// are ignored. The state afterwards.
enum peri_accrual_state peri_accrual_resolve(const struct peri_accrual_settings *settings,
                                             struct peri_endpoint_row *row, enum peri_accrual_verdict verdict,
                                             uint64_t begun_ns, uint64_t now_ms, uint64_t *random);

/// Opens the endpoint and forgets everything: nobody counts any more.
void peri_accrual_forget(struct peri_endpoint_row *row);

/// May the next change of `row` be due at `now_ms`? Cheap; takes no lock.
static inline bool peri_accrual_is_due(const struct peri_endpoint_row *row, uint64_t now_ms)
{
    uint32_t state = __atomic_load_n(&row->accrual.state, __ATOMIC_RELAXED);
    bool is_waiting = state != PERI_ACCRUAL_OPEN && state != PERI_ACCRUAL_PROBATION;
    return is_waiting && now_ms >= row->accrual.until_ms;
}

#endif
