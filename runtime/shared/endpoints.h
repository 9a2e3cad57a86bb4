// SPDX-License-Identifier: MIT
// What all workers know of the upstreams that are watched and of their endpoints: one row for each upstream and for each
// (upstream, address), found by name when a generation is built. A row goes on across reloads and worker restarts; one that no
// generation of any worker holds is given to another name when the table is full.
//
// Shared numbers are single words, stored one by one: a process may die between any two of them. What belongs to a worker is in
// its metrics page (the cells): counters go on after it, gauges are zeroed with it, a reader sums.
#ifndef PERI_SHARED_ENDPOINTS_H
#define PERI_SHARED_ENDPOINTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

#define PERI_ENDPOINT_ROWS 4096
#define PERI_ENDPOINT_UPSTREAMS 256
#define PERI_ENDPOINT_TEXT 248 // bytes of an upstream's name or an address
#define PERI_BUDGET_SLOTS 11   // of a retry budget: the present one and ten before it
#define PERI_ACCRUAL_TENTHS 10 // of the time over which successes are counted

struct peri_metrics_page;
struct peri_shm;

/// Why an endpoint gets no requests: bits of peri_endpoint_row.flags. None: it gets them.
enum peri_endpoint_flag {
    PERI_ENDPOINT_EJECTED = 1,   ///< its results were worse than allowed (upstream/outlier.h)
    PERI_ENDPOINT_UNHEALTHY = 2, ///< active checks fail
    PERI_ENDPOINT_SHUT = 4,      ///< failures accrued (upstream/accrual.h)
};

/// Why an endpoint is ejected.
enum peri_outlier_reason {
    PERI_OUTLIER_NONE,
    PERI_OUTLIER_5XX,                ///< too many 5xx in a row
    PERI_OUTLIER_GATEWAY,            ///< too many 502, 503 or 504 in a row
    PERI_OUTLIER_LOCAL,              ///< too many attempts in a row without an answer (split mode)
    PERI_OUTLIER_SUCCESS_RATE,       ///< succeeds less often than the others
    PERI_OUTLIER_FAILURE_PERCENTAGE, ///< fails too often
    PERI_OUTLIER_REASONS,
};

/// What became of an active check.
enum peri_health_result {
    PERI_HEALTH_SUCCESS,
    PERI_HEALTH_STATUS,      ///< answered with a status that is not expected
    PERI_HEALTH_GRPC,        ///< the call failed with a gRPC status
    PERI_HEALTH_NOT_SERVING, ///< the service says that it does not serve
    PERI_HEALTH_CONNECT,     ///< no connection
    PERI_HEALTH_TLS,         ///< no TLS
    PERI_HEALTH_TIMEOUT,     ///< not in time
    PERI_HEALTH_BROKEN,      ///< no answer that can be read
    PERI_HEALTH_RESULTS,
};

/// How failure accrual uses an endpoint.
enum peri_accrual_state {
    PERI_ACCRUAL_OPEN,
    PERI_ACCRUAL_SHUT,
    PERI_ACCRUAL_PROBATION, ///< one attempt may begin
    PERI_ACCRUAL_PROBING,   ///< and did
    PERI_ACCRUAL_ANSWERING, ///< and its response has begun, but does not say yet what it means
};

/// Why failure accrual shut an endpoint.
enum peri_accrual_reason {
    PERI_ACCRUAL_BY_NONE,
    PERI_ACCRUAL_BY_RUN,       ///< too many failures in a row
    PERI_ACCRUAL_BY_RATE,      ///< too few successes in the window
    PERI_ACCRUAL_BY_PROBATION, ///< the attempt of its probation failed
    PERI_ACCRUAL_REASONS,
};

/// What people are told about an endpoint.
enum peri_endpoint_state {
    PERI_ENDPOINT_IS_HEALTHY, ///< nothing is known against it
    PERI_ENDPOINT_IS_EJECTED,
    PERI_ENDPOINT_IS_UNHEALTHY, ///< whether or not it is ejected or shut too
    PERI_ENDPOINT_IS_SHUT,
    PERI_ENDPOINT_STATES,
};

/// A row's name.
struct peri_row_name {
    uint32_t is_used; ///< stored last: the rest is whole
    uint32_t owner;   ///< row of the upstream; 0 in rows of upstreams
    uint32_t len;
    char text[PERI_ENDPOINT_TEXT];
};

/// Results in a row, and the ejection that came of them.
struct peri_endpoint_outlier {
    uint32_t consecutive_5xx;
    uint32_t consecutive_gateway;
    uint32_t consecutive_local;
    uint32_t reason;        ///< of the last ejection: enum peri_outlier_reason
    uint32_t backoff;       ///< the time of the next ejection is this many times the base, and one more
    uint32_t ejections;     ///< since the row was made
    uint64_t ejected_ms;    ///< monotonic; when the last ejection began
    uint64_t until_ms;      ///< monotonic; the first sweep from then on ends it
    uint64_t returned_ms;   ///< monotonic; when the last ejection ended; 0 for never
    uint64_t swept_total;   ///< sum of the cells at the last sweep
    uint64_t swept_success; ///< the same
};

/// What active checks found (upstream/health.h).
struct peri_endpoint_health {
    uint32_t successes;  ///< in a row
    uint32_t failures;   ///< in a row
    uint32_t checks;     ///< made; 0: nothing is known yet
    uint32_t failed;     ///< checks that failed
    uint32_t result;     ///< of the last check: enum peri_health_result
    int32_t status;      ///< of its answer: HTTP's, or gRPC's with PERI_HEALTH_GRPC; 0 for none
    uint64_t checked_ms; ///< monotonic; when the last check ended
    uint64_t next_ms;    ///< monotonic; when the next is due
    uint64_t changed_ms; ///< monotonic; when the endpoint became healthy or unhealthy; 0 for never
};

/// What failure accrual counts.
struct peri_endpoint_accrual {
    uint32_t state;    ///< enum peri_accrual_state
    uint32_t failures; ///< in a row
    uint32_t backoff;  ///< times it was shut in a row
    uint32_t reason;   ///< it was shut last: enum peri_accrual_reason
    uint64_t shuts;    ///< since the row was made
    uint64_t until_ms; ///< monotonic; shut: when probation begins; then: when its attempt is waited for no longer
    uint64_t probe_ns; ///< monotonic; results of attempts that began earlier are ignored
    uint64_t window[PERI_ACCRUAL_TENTHS];
};

/// What all workers know of one endpoint; a whole number of cache lines.
struct peri_endpoint_row {
    uint32_t flags; ///< enum peri_endpoint_flag; read by every choice, alone in its cache line
    uint32_t unused[15];
    struct peri_endpoint_outlier outlier;
    struct peri_endpoint_health health;
    struct peri_endpoint_accrual accrual;
    struct peri_row_name name;
    uint32_t rest[5];
};

/// What all workers know of one upstream.
struct peri_upstream_row {
    uint64_t swept_ms;                       ///< monotonic; the last sweep of its endpoints
    uint64_t budget[PERI_BUDGET_SLOTS];      ///< upstream/retry_budget.h
    uint64_t detected[PERI_OUTLIER_REASONS]; ///< endpoints found to be outliers, by reason
    uint64_t enforced[PERI_OUTLIER_REASONS]; ///< and ejected
    uint64_t overflows;                      ///< not ejected, because too many were
    uint64_t budget_overflows;               ///< retries that the budget refused
    uint64_t checks[PERI_HEALTH_RESULTS];    ///< active checks, by result
    uint64_t shuts[PERI_ACCRUAL_REASONS];    ///< endpoints that failure accrual shut, by reason
    struct peri_row_name name;
};

/// What one worker counts of an endpoint.
struct peri_endpoint_cell {
    uint64_t total;   ///< attempts that ended with a result
    uint64_t success; ///< of those: no failure
    uint32_t holders; ///< generations of this worker that have the endpoint
    uint32_t listed;  ///< of those: it is in the set that was discovered last
    uint32_t weight;  ///< its weight there
    uint32_t unused;
};

/// What a breaker limits, for requests of each priority apart.
enum peri_breaker_gauge {
    PERI_BREAKER_CONNECTIONS, ///< open connections, idle ones included; its gauge is that of the metrics, for both priorities
    PERI_BREAKER_PENDING,                       ///< attempts that wait for a connection
    PERI_BREAKER_REQUESTS,                      ///< attempts under way
    PERI_BREAKER_RETRIES,                       ///< of those: beyond the first
    PERI_BREAKER_HIGH,                          ///< the same of requests with high priority: added to the four above
    PERI_BREAKER_QUEUE = 2 * PERI_BREAKER_HIGH, ///< attempts that wait for a place (upstream/queue.h)
    PERI_BREAKER_GAUGES,
};

/// What became of an attempt that waited in the queue.
enum peri_queue_result {
    PERI_QUEUE_SERVED,  ///< it got its place
    PERI_QUEUE_TIMEOUT, ///< it waited for too long
    PERI_QUEUE_GONE,    ///< its exchange ended: the client went away, or its deadline passed
    PERI_QUEUE_RESULTS,
};

/// What one worker counts of an upstream; whole cache lines.
struct peri_breaker_cell {
    int64_t gauges[PERI_BREAKER_GAUGES];
    uint64_t overflows[PERI_BREAKER_GAUGES]; ///< refusals, by the limit that refused
    uint64_t queued[PERI_QUEUE_RESULTS];
    uint64_t waiting_since_ms; ///< monotonic; the first of the queue came; 0: nobody waits
    uint32_t holders;          ///< generations of this worker that have the upstream
    uint32_t unused[3];
};

/// One worker works for all: a word in shared memory that says which, and until when. Zero: nobody.
struct peri_lease {
    uint64_t word; ///< worker + 1 in the upper 16 bits, monotonic milliseconds in the lower 48
};

/// Takes or renews the lease for `ms` milliseconds. True when `worker` has it now: nobody else had, or their time was over.
bool peri_lease_take(struct peri_lease *lease, uint32_t worker, uint64_t now_ms, uint64_t ms);

/// Gives the lease back when `worker` has it.
void peri_lease_drop(struct peri_lease *lease, uint32_t worker);

/// The lease of the worker that sweeps and checks endpoints. Borrowed until peri_shm_close; dropped when its worker ends.
struct peri_lease *peri_endpoints_lease(struct peri_shm *shm);

/// Row of the upstream `name`, made when it is new, and held by the owner of `page` until released. -1 when the name is too
/// long or every row is held.
int32_t peri_endpoints_hold_upstream(struct peri_shm *shm, struct peri_metrics_page *page, struct peri_slice name);

/// Row of the endpoint `address` of upstream row `upstream`; as peri_endpoints_hold_upstream.
int32_t peri_endpoints_hold(struct peri_shm *shm, struct peri_metrics_page *page, int32_t upstream,
                            struct peri_slice address);

/// One generation of the page's owner has gone: it holds the row once less.
void peri_endpoints_drop_upstream(struct peri_metrics_page *page, int32_t upstream);
void peri_endpoints_drop(struct peri_metrics_page *page, int32_t row);

/// The held row is in a discovered set of the page's owner now, or not any more.
void peri_endpoints_list(struct peri_metrics_page *page, int32_t row, uint32_t weight);
void peri_endpoints_unlist(struct peri_metrics_page *page, int32_t row);

/// The next row from `row` on that is in a discovered set of upstream row `upstream` in any worker, and its weight; -1 for none.
int32_t peri_endpoints_find_listed(const struct peri_shm *shm, int32_t upstream, int32_t row, uint32_t *weight);

/// Name of an endpoint's row: its address, borrowed.
struct peri_slice peri_endpoints_address(const struct peri_shm *shm, int32_t row);

/// Rows of an upstream and of an address of it that exist, for whoever looks at them; -1 for none. They may be given to another
/// name at any time.
int32_t peri_endpoints_find_upstream(struct peri_shm *shm, struct peri_slice name);
int32_t peri_endpoints_find(struct peri_shm *shm, int32_t upstream, struct peri_slice address);

/// A row; borrowed until peri_shm_close.
struct peri_upstream_row *peri_endpoints_upstream(const struct peri_shm *shm, int32_t upstream);
struct peri_endpoint_row *peri_endpoints_row(const struct peri_shm *shm, int32_t row);

/// Sums the results of an endpoint over all workers, past and present.
void peri_endpoints_sum(const struct peri_shm *shm, int32_t row, uint64_t *total, uint64_t *success);

/// Sums a gauge of an upstream over all workers.
int64_t peri_endpoints_gauge(const struct peri_shm *shm, int32_t upstream, enum peri_breaker_gauge gauge);

/// Sums the refusals of a limit over all workers.
uint64_t peri_endpoints_overflows(const struct peri_shm *shm, int32_t upstream, enum peri_breaker_gauge gauge);

/// Sums what became of those that waited over all workers.
uint64_t peri_endpoints_queued(const struct peri_shm *shm, int32_t upstream, enum peri_queue_result result);

/// When the attempt that has waited longest came, among those of all workers but the one of `own`; UINT64_MAX: nobody waits.
uint64_t peri_endpoints_waiting_since(const struct peri_shm *shm, int32_t upstream,
                                      const struct peri_breaker_cell *own);

/// Rows of upstreams that were used at some time: 0 to count - 1 may have names.
uint32_t peri_endpoints_upstream_count(const struct peri_shm *shm);

/// Name of an upstream's row (below the count), borrowed; empty when nobody holds it.
struct peri_slice peri_endpoints_upstream_name(const struct peri_shm *shm, uint32_t upstream);

/// Counts the endpoints of an upstream's row that somebody holds, by state.
void peri_endpoints_count(const struct peri_shm *shm, uint32_t upstream, uint32_t states[PERI_ENDPOINT_STATES]);

/// The state that flags mean.
enum peri_endpoint_state peri_endpoints_state(uint32_t flags);

/// Name of a state: "healthy", "ejected", "unhealthy", "shut".
const char *peri_endpoints_state_name(uint32_t state);

/// Name of a reason, with Envoy's word: "5xx", "gateway_failure", "local_origin_failure", "success_rate", "failure_percentage".
const char *peri_endpoints_reason_name(uint32_t reason);

/// Name of a result: "success", "status", "grpc_status", "not_serving", "connect", "tls", "timeout", "protocol".
const char *peri_endpoints_result_name(uint32_t result);

/// Name of why failure accrual shut an endpoint: "consecutive_failures", "success_rate", "probation".
const char *peri_endpoints_accrual_name(uint32_t reason);

/// Name of a gauge: "connections", "pending", "requests", "retries", and with "high_" before it.
const char *peri_endpoints_gauge_name(enum peri_breaker_gauge gauge);

/// Name of what became of a wait: "served", "timeout", "gone".
const char *peri_endpoints_queue_name(enum peri_queue_result result);

/// Holds what only one process at a time may change (who is ejected). A process that dies inside leaves nothing half-done that
/// counts.
void peri_endpoints_acquire(struct peri_shm *shm);
void peri_endpoints_release(struct peri_shm *shm);

/// A worker has ended: its gauges and what it held are zero, its lease is free (peri_shm_worker_begin and _end).
void peri_endpoints_end_worker(struct peri_shm *shm, uint32_t worker);

/// Forgets everything but the names (peri_shm_reset; the pages of the workers are zeroed apart).
void peri_endpoints_reset(struct peri_shm *shm);

#endif
