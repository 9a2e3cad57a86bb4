// SPDX-License-Identifier: MIT
// Counters and histograms in shared memory. Each worker has a page set of its own and adds with plain stores; a reader sums over
// all workers, past and present. Rows (route, upstream, policy on a route) are found by name once per generation and keep
// their index for the life of the memory, so that counters go on across reloads and restarts.
//
// The hot path is inline: a request costs three adds.
#ifndef PERI_SHARED_METRICS_H
#define PERI_SHARED_METRICS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "shared/canary.h"
#include "shared/endpoints.h"
#include "shared/looks.h"
#include "shared/overload.h"

#define PERI_METRICS_ROUTES 1024   // row 0 is "other": names beyond the table count there
#define PERI_METRICS_UPSTREAMS 256 // the same
#define PERI_METRICS_POLICIES 4096 // the same
#define PERI_METRICS_LISTENERS 64  // the same; only those that pass TCP on have one
#define PERI_METRICS_NAME_MAX 240  // longer names count as "other"
#define PERI_METRICS_BOUNDS 14     // OpenTelemetry's: 5 ms to 10 s
#define PERI_METRICS_CODES 512     // 100 to 599 by their own; index 500 is any other status
#define PERI_METRICS_CALLS 18      // statuses of gRPC by their own; index 17 is a call without one
#define PERI_METRICS_CELLS 65536   // of the series that scripts define (shared/series.h)
#define PERI_METRICS_PAGE_SIZE 4096

struct peri_shm;

/// Durations of one row; two cache lines.
struct peri_metrics_latency {
    uint64_t sum_ns;
    uint64_t buckets[PERI_METRICS_BOUNDS + 1]; ///< not cumulative; the last one has no bound
};

/// Status codes of one row; exactly one memory page, untouched until the row is used.
struct peri_metrics_codes {
    uint64_t counts[PERI_METRICS_CODES];
};

/// gRPC calls of one row by status.
struct peri_metrics_calls {
    uint64_t counts[PERI_METRICS_CALLS];
    uint64_t unused[32 - PERI_METRICS_CALLS];
};

/// What became of a retry, or why there was none.
enum peri_retry_result {
    PERI_RETRY_STALE,    ///< a connection that was closing was replaced by a new one
    PERI_RETRY_SUCCESS,  ///< it was answered with something that needs no retry
    PERI_RETRY_FAILURE,  ///< it failed as well
    PERI_RETRY_LIMIT,    ///< none: no attempts or no time were left
    PERI_RETRY_OVERFLOW, ///< none: the budget or the breaker refused it
    PERI_RETRY_RESULTS,
};

/// What became of a hedge, or why there was none.
enum peri_hedge_result {
    PERI_HEDGE_WON,      ///< it was answered first, or the first attempt had failed
    PERI_HEDGE_LOST,     ///< it was cancelled: the first attempt was answered, or nobody waited any more
    PERI_HEDGE_FAILED,   ///< it failed while the first attempt was under way
    PERI_HEDGE_OVERFLOW, ///< none: the budget or the breaker refused it
    PERI_HEDGE_RESULTS,
};

/// Connections of one upstream. The owner of the page adds to the members directly.
struct peri_metrics_upstream {
    int64_t connections;       ///< gauge: open now, idle ones included
    uint64_t connects;         ///< connections established
    uint64_t connect_failures; ///< connections refused, timed out or not resolved
    uint64_t reuses;           ///< attempts on a pooled connection
    uint64_t timeouts;         ///< attempts that got no answer in time
    uint64_t resets;           ///< attempts broken off by the upstream
    uint64_t retries[PERI_RETRY_RESULTS];
    uint64_t hedges[PERI_HEDGE_RESULTS];
    uint64_t unused[1];
};

/// Clients of a listener that passes TCP on; one cache line. The owner of the page adds to the members directly.
struct peri_metrics_listener {
    int64_t connections; ///< gauge: open now
    uint64_t total;      ///< that came
    uint64_t failed;     ///< that were not passed on: refused by a policy, no upstream, not reached
    uint64_t bytes_in;   ///< from the clients
    uint64_t bytes_out;  ///< to the clients
    uint64_t unused[3];
};

/// Work of one policy on one route.
struct peri_metrics_policy {
    uint64_t calls;
    uint64_t errors;
    uint64_t ticks;       ///< CPU time; peri_metrics_ticks_per_second
    uint64_t waits;       ///< time between, spent waiting; the same
    uint32_t trips;       ///< calls that spent their CPU budget
    uint32_t quarantined; ///< generation in which this worker does not ask it any more; 0: none
};

/// What a policy in a dry run would have done.
enum peri_metrics_would {
    PERI_WOULD_ANSWER, ///< replied
    PERI_WOULD_FAIL,   ///< failed
    PERI_WOULD_CHANGE, ///< changed the request, the response or the upstream
    PERI_WOULD_COUNT = 4,
};

/// The Lua heap of a worker.
struct peri_metrics_heap {
    uint64_t limit;   ///< bytes that it may have
    uint64_t full;    ///< collections because a script met that limit
    uint64_t pauses;  ///< steps of garbage collection between two turns of the loop
    uint64_t ticks;   ///< their time; peri_metrics_ticks_per_second
    uint64_t longest; ///< the longest of them; the same
};

/// What one worker counts. Zero at the start; only its worker writes it, with plain stores.
struct peri_metrics_page {
    int64_t connections;        ///< gauge: open client connections
    uint64_t accepted;          ///< client connections accepted
    uint64_t refused;           ///< client connections closed at once because of a limit
    uint64_t handshakes_failed; ///< TLS handshakes with clients that did not succeed
    uint64_t preambles_refused; ///< connections of trusted proxies that began without a valid PROXY header
    uint64_t log_drops;         ///< access log lines dropped because the ring was full
    struct peri_metrics_heap heap;
    uint64_t calls; ///< gRPC calls: without one nobody reads their rows
    struct peri_canary_page canary;
    struct peri_overload_page overload;
    uint64_t unused[500 - (sizeof(struct peri_canary_page) + sizeof(struct peri_overload_page)) / sizeof(uint64_t)];
    struct peri_metrics_latency routes[PERI_METRICS_ROUTES];
    struct peri_metrics_latency upstreams[PERI_METRICS_UPSTREAMS];
    struct peri_metrics_upstream upstream_connections[PERI_METRICS_UPSTREAMS];
    struct peri_look_cell looks[PERI_METRICS_UPSTREAMS]; ///< rows are those of `upstreams`
    struct peri_metrics_listener listeners[PERI_METRICS_LISTENERS];
    struct peri_metrics_policy policies[PERI_METRICS_POLICIES];
    uint64_t dry_runs[PERI_METRICS_POLICIES][PERI_WOULD_COUNT];
    double cells[PERI_METRICS_CELLS];
    struct peri_breaker_cell breakers[PERI_ENDPOINT_UPSTREAMS];
    struct peri_endpoint_cell endpoints[PERI_ENDPOINT_ROWS];
    struct peri_metrics_calls route_calls[PERI_METRICS_ROUTES];
    struct peri_metrics_codes route_codes[PERI_METRICS_ROUTES];
    struct peri_metrics_codes upstream_codes[PERI_METRICS_UPSTREAMS];
};

/// How a reload ended.
enum peri_reload_result {
    PERI_RELOAD_OK,                 ///< every worker switched
    PERI_RELOAD_REFUSED,            ///< the configuration has errors
    PERI_RELOAD_FAILED,             ///< a worker died or was too slow
    PERI_RELOAD_ROLLBACK,           ///< an older generation was brought back
    PERI_RELOAD_CANARY_ROLLED_BACK, ///< a share of the exchanges was sent to the new generation, and it was given up
    PERI_RELOAD_COUNT,
};

/// Requests of a route or an upstream, summed over all workers.
struct peri_metrics_sum {
    uint64_t requests;
    uint64_t by_class[6]; ///< [1] informational … [5] server errors; [0] any other status
    uint64_t sum_ns;
    uint64_t buckets[PERI_METRICS_BOUNDS + 1];
};

/// Work of a policy on a route, summed over all workers.
struct peri_metrics_policy_sum {
    struct peri_slice policy; ///< borrowed from the memory
    struct peri_slice route;
    uint64_t calls;
    uint64_t errors;
    uint64_t trips;
    uint32_t quarantined; ///< workers that do not ask it any more
    double cpu_seconds;
    double duration_seconds;          ///< with the time spent waiting
    uint64_t would[PERI_WOULD_COUNT]; ///< of its dry runs
};

/// The Lua heap of one worker and its garbage.
struct peri_metrics_lua {
    uint64_t limit; ///< bytes
    uint64_t full;  ///< collections because a script met the limit
    uint64_t pauses;
    double pause_seconds;
    double longest_seconds;
};

/// What belongs to no row, summed over all workers.
struct peri_metrics_process_sum {
    uint64_t generation;
    uint64_t reloads[PERI_RELOAD_COUNT];
    int64_t connections;
    uint64_t accepted;
    uint64_t refused;
    uint64_t handshakes_failed;
    uint64_t preambles_refused;
    uint64_t log_drops;
};

/// Upper bounds of the duration buckets in nanoseconds, ascending.
extern const uint64_t peri_metrics_bounds_ns[PERI_METRICS_BOUNDS];

/// Bucket of a duration.
static inline unsigned peri_metrics_bucket(uint64_t ns)
{
    unsigned i = 0;
    while (i < PERI_METRICS_BOUNDS && ns > peri_metrics_bounds_ns[i])
        i++;
    return i;
}

/// Index of a status among the codes.
static inline unsigned peri_metrics_code(int status)
{
    unsigned index = (unsigned)status - 100u;
    return index < 500 ? index : 500;
}

/// Counts an exchange of `route` (from peri_metrics_route) that ended with `status` after `ns` nanoseconds.
static inline void peri_metrics_request(struct peri_metrics_page *page, int32_t route, int status, uint64_t ns)
{
    uint32_t row = (uint32_t)route < PERI_METRICS_ROUTES ? (uint32_t)route : 0;
    page->routes[row].sum_ns += ns;
    page->routes[row].buckets[peri_metrics_bucket(ns)]++;
    page->route_codes[row].counts[peri_metrics_code(status)]++;
}

/// Counts a gRPC call of `route` that ended with `status`; negative: it got none.
static inline void peri_metrics_call(struct peri_metrics_page *page, int32_t route, int status)
{
    uint32_t row = (uint32_t)route < PERI_METRICS_ROUTES ? (uint32_t)route : 0;
    page->route_calls[row]
        .counts[(unsigned)status < PERI_METRICS_CALLS - 1 ? (unsigned)status : PERI_METRICS_CALLS - 1]++;
    page->calls++;
}

/// Counts an attempt on `upstream` (from peri_metrics_upstream) answered with `status` (0: not at all) after `ns`.
static inline void peri_metrics_attempt(struct peri_metrics_page *page, int32_t upstream, int status, uint64_t ns)
{
    uint32_t row = (uint32_t)upstream < PERI_METRICS_UPSTREAMS ? (uint32_t)upstream : 0;
    page->upstreams[row].sum_ns += ns;
    page->upstreams[row].buckets[peri_metrics_bucket(ns)]++;
    page->upstream_codes[row].counts[peri_metrics_code(status)]++;
}

/// Counts one call of a policy (row from peri_metrics_policy): `ticks` of CPU (peri_metrics_ticks), `waits` ticks of waiting.
static inline void peri_metrics_policy_call(struct peri_metrics_page *page, int32_t policy, uint64_t ticks,
                                            uint64_t waits, bool is_error)
{
    uint32_t row = (uint32_t)policy < PERI_METRICS_POLICIES ? (uint32_t)policy : 0;
    page->policies[row].calls++;
    page->policies[row].errors += is_error;
    page->policies[row].ticks += ticks;
    page->policies[row].waits += waits;
}

/// Counts a call of a policy that spent its CPU budget.
static inline void peri_metrics_policy_trip(struct peri_metrics_page *page, int32_t policy)
{
    page->policies[(uint32_t)policy < PERI_METRICS_POLICIES ? (uint32_t)policy : 0].trips++;
}

/// Notes the generation in which this worker keeps a policy in quarantine; 0 for none.
static inline void peri_metrics_policy_quarantine(struct peri_metrics_page *page, int32_t policy, uint64_t generation)
{
    page->policies[(uint32_t)policy < PERI_METRICS_POLICIES ? (uint32_t)policy : 0].quarantined = (uint32_t)generation;
}

/// Counts a step of garbage collection that took `ticks`; `is_full` says that a script had met the limit.
static inline void peri_metrics_gc(struct peri_metrics_page *page, uint64_t ticks, bool is_full)
{
    page->heap.pauses++;
    page->heap.ticks += ticks;
    page->heap.full += is_full;
    if (ticks > page->heap.longest)
        page->heap.longest = ticks;
}

/// Counts what a policy in a dry run would have done.
static inline void peri_metrics_policy_would(struct peri_metrics_page *page, int32_t policy,
                                             enum peri_metrics_would would)
{
    page->dry_runs[(uint32_t)policy < PERI_METRICS_POLICIES ? (uint32_t)policy : 0][would]++;
}

/// CLOCK_MONOTONIC in nanoseconds.
uint64_t peri_metrics_clock_ns(void);

/// The fastest clock there is: cycles of the time stamp counter, or nanoseconds where there is none.
static inline uint64_t peri_metrics_ticks(void)
{
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    uint64_t ticks;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
    return ticks;
#else
    return peri_metrics_clock_ns();
#endif
}

/// Row of the route called `name`, made when it is new; 0 ("other") when the table is full. For load time: takes a lock.
int32_t peri_metrics_route(struct peri_shm *shm, struct peri_slice name);

/// Row of the upstream called `name`; as peri_metrics_route.
int32_t peri_metrics_upstream(struct peri_shm *shm, struct peri_slice name);

/// Row of the listener with this address; as peri_metrics_route.
int32_t peri_metrics_listener(struct peri_shm *shm, struct peri_slice address);

/// Row of the policy `policy` on the route `route`; as peri_metrics_route.
int32_t peri_metrics_policy(struct peri_shm *shm, struct peri_slice policy, struct peri_slice route);

/// Counts a reload. The supervisor or the single process calls it.
void peri_metrics_reload(struct peri_shm *shm, enum peri_reload_result result);

/// Stores the number of the generation that answers.
void peri_metrics_set_generation(struct peri_shm *shm, uint64_t generation);

/// Name of a retry's result: "stale", "success", "failure", "limit", "overflow".
const char *peri_retry_result_name(uint32_t result);

/// Name of an enum peri_hedge_result, for labels.
const char *peri_hedge_result_name(uint32_t result);

/// Name of a reload's result: "ok", "refused", "failed", "rollback", "canary_rolled_back".
const char *peri_reload_result_name(enum peri_reload_result result);

/// Number of rows in use, "other" included: rows 0 to count - 1 have names.
uint32_t peri_metrics_route_count(const struct peri_shm *shm);
uint32_t peri_metrics_upstream_count(const struct peri_shm *shm);
uint32_t peri_metrics_policy_count(const struct peri_shm *shm);
uint32_t peri_metrics_listener_count(const struct peri_shm *shm);

/// Row of the upstream called `name`, for whoever looks at it; -1 for none.
int32_t peri_metrics_find_upstream(const struct peri_shm *shm, struct peri_slice name);

/// Name of a row, borrowed from the memory.
struct peri_slice peri_metrics_route_name(const struct peri_shm *shm, uint32_t row);
struct peri_slice peri_metrics_upstream_name(const struct peri_shm *shm, uint32_t row);
struct peri_slice peri_metrics_listener_name(const struct peri_shm *shm, uint32_t row);

/// Sums a route's row over all workers; `codes` (may be NULL) has PERI_METRICS_CODES places.
void peri_metrics_sum_route(const struct peri_shm *shm, uint32_t row, struct peri_metrics_sum *out, uint64_t *codes);

/// Sums the gRPC calls of a route's row by status (PERI_METRICS_CALLS places).
void peri_metrics_sum_calls(const struct peri_shm *shm, uint32_t row, uint64_t *calls);

/// Sums an upstream's row; as peri_metrics_sum_route.
void peri_metrics_sum_upstream(const struct peri_shm *shm, uint32_t row, struct peri_metrics_sum *out, uint64_t *codes);

/// Sums the connections of an upstream's row.
void peri_metrics_sum_connections(const struct peri_shm *shm, uint32_t row, struct peri_metrics_upstream *out);

/// Sums the open connections of an upstream's row.
int64_t peri_metrics_connections(const struct peri_shm *shm, uint32_t row);

/// Sums a listener's row.
void peri_metrics_sum_listener(const struct peri_shm *shm, uint32_t row, struct peri_metrics_listener *out);

/// Sums a policy's row.
void peri_metrics_sum_policy(const struct peri_shm *shm, uint32_t row, struct peri_metrics_policy_sum *out);

/// The Lua heap of worker `worker`; zeroes when it never ran.
void peri_metrics_lua(const struct peri_shm *shm, uint32_t worker, struct peri_metrics_lua *out);

/// Sums what belongs to no row.
void peri_metrics_sum_process(const struct peri_shm *shm, struct peri_metrics_process_sum *out);

/// Ticks of peri_metrics_ticks per second, measured since the memory was made.
double peri_metrics_ticks_per_second(const struct peri_shm *shm);

#endif
