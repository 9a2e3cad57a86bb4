// SPDX-License-Identifier: MIT
// What watches over one upstream in one generation: its row and those of its endpoints, outlier detection or failure accrual on
// results, the breaker, how endpoints are checked. An upstream without such settings has no guard and pays nothing.
#ifndef PERI_UPSTREAM_GUARD_H
#define PERI_UPSTREAM_GUARD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "upstream/accrual.h"
#include "upstream/breaker.h"
#include "upstream/outlier.h"
#include "upstream/pool.h"
#include "upstream/retry.h"

#define PERI_GUARD_TEXT 48 ///< room for peri_guard_describe

struct peri_endpoint;
struct peri_health_settings;
struct peri_metrics_page;
struct peri_queue;
struct peri_queue_place;
struct peri_result;
struct peri_upstream;

/// What is watched; NULL for what is not.
struct peri_guard_settings {
    const struct peri_outlier_settings *outlier; ///< copied
    const struct peri_accrual_settings *accrual; ///< copied; not beside outlier
    const uint32_t *limits;                      ///< of the breaker, by gauge; copied
    uint64_t queue_ms; ///< how long attempts wait for a place among the requests; 0: they do not
    const struct peri_retry_settings *retries; ///< copied
    struct peri_health_settings *health;       ///< of active checks, a target for each endpoint; referenced
};

struct peri_guard {
    struct peri_shm *shm;           ///< borrowed
    struct peri_metrics_page *page; ///< this worker's
    struct peri_upstream *upstream; ///< whose guard this is
    int32_t row;
    uint32_t count;                  ///< endpoints
    int32_t *rows;                   ///< of the endpoints, by their number; owned
    struct peri_outlier_host *hosts; ///< the same, with room for their sums; owned
    struct peri_outlier_settings outlier;
    struct peri_queue *queue; ///< of attempts that wait for a place; one reference; NULL: none does
    uint64_t queue_ms;        ///< how long they wait
    struct peri_accrual_settings accrual;
    struct peri_breaker breaker; ///< without limits when only retries want to know what is under way
    struct peri_retry_settings retries;
    struct peri_health_settings *health; ///< one reference; NULL: no active checks
    bool has_outlier;
    bool has_accrual;
    bool has_breaker;
    bool has_retries;
};

/// What an attempt counts as in the breaker, for as long as it lasts. Zero it before use.
struct peri_ticket {
    struct peri_guard *guard;       ///< NULL: nothing is counted
    uint32_t gauges;                ///< bits by enum peri_breaker_gauge, as of the default priority
    bool is_high;                   ///< has high priority; set while nothing is counted
    struct peri_queue_place *place; ///< while the attempt waits in the guard's queue
};

/// Makes the guard of an upstream whose endpoints are complete, and sets upstream->guard. PERI_ERR_LIMIT when the shared table is
/// full; PERI_ERR_NOMEM.
peri_err_t peri_guard_new(struct peri_upstream *upstream, const struct peri_guard_settings *settings,
                          struct peri_shm *shm, struct peri_metrics_page *page);

/// Lets the rows go and frees the guard. No-op for NULL.
void peri_guard_free(struct peri_guard *guard);

/// Counts the result of an attempt on `endpoint`; ejects or shuts it when it was one failure too many. True when failure accrual waits
/// for the trailers of a response that `goes_on`, and counts it in peri_guard_conclude.
bool peri_guard_report(struct peri_guard *guard, const struct peri_endpoint *endpoint,
                       const struct peri_result *result);

/// Counts the end of such a response (peri_endpoint_conclude).
void peri_guard_conclude(struct peri_guard *guard, const struct peri_endpoint *endpoint,
                         const struct peri_result *result);

/// What is due for the endpoints at `now_ms` (monotonic), before their states are looked at: probations begin.
void peri_guard_look(struct peri_guard *guard, uint64_t now_ms);

/// May an attempt that begins at `now_ns` use the endpoint `index`? False when its state is not what it was at the last look. With
/// *is_probe the attempt is the only one of a probation from then on.
bool peri_guard_admit(struct peri_guard *guard, uint32_t index, uint64_t now_ns, bool *is_probe);

/// An attempt wants to begin, and would meet `pool`. It may have its place among the requests already (peri_queue_enter).
/// PERI_ERR_UPSTREAM_OVERFLOW when a limit of the breaker is reached.
peri_err_t peri_guard_enter(struct peri_guard *guard, enum peri_pool_state pool, struct peri_ticket *ticket);

/// The attempt has its connection.
void peri_guard_ready(struct peri_ticket *ticket);

/// An attempt on an upstream with retries begins that is none.
void peri_guard_deposit(struct peri_guard *guard, uint64_t now_ms);

/// The attempt has failed and wants to be followed by a retry: from now on it counts as one, until it has ended. False when the
/// budget or the breaker refuses it.
bool peri_guard_retry(struct peri_guard *guard, struct peri_ticket *ticket, uint64_t now_ms);

/// The attempt is over, but if it is a retry that goes on.
void peri_guard_pause(struct peri_ticket *ticket);

/// The attempt is over. No-op when it never entered.
void peri_guard_leave(struct peri_ticket *ticket);

/// Says why endpoint `index` gets no requests: "unhealthy (http 503)", "ejected (5xx)", "shut (probation)". False when it does.
bool peri_guard_describe(const struct peri_guard *guard, uint32_t index, char text[PERI_GUARD_TEXT]);

/// The endpoints are going to be checked: those of which nothing is known begin as the settings say. No-op without checks.
void peri_guard_expect_checks(struct peri_guard *guard);

/// Sweeps the endpoints when an interval has passed since anybody did; ends what is not watched for any more. Only the worker that
/// has the lease calls this. Returns the monotonic time of the next sweep; UINT64_MAX for none.
uint64_t peri_guard_sweep(struct peri_guard *guard, uint64_t now_ms);

#endif
