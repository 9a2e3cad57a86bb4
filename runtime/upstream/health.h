// SPDX-License-Identifier: MIT
// Active health checks: what is asked of the endpoints of an upstream, and what answers make of them. The state of an endpoint is its
// row in shared memory; time and randomness are the caller's. Who asks, and how: upstream/checker.h, upstream/health_check.h.
//
//            first answer decides; then `unhealthy` failures in a row
//   healthy ---------------------------------------------------------> unhealthy
//           <---------------------------------------------------------
//            first answer decides; then `healthy` successes in a row
#ifndef PERI_UPSTREAM_HEALTH_H
#define PERI_UPSTREAM_HEALTH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/slice.h"
#include "shared/endpoints.h"
#include "upstream/pool.h"

#define PERI_HEALTH_TEXT 24      ///< room for peri_health_describe
#define PERI_HEALTH_STATUSES 600 ///< statuses are below

enum peri_health_type {
    PERI_HEALTH_BY_HTTP, ///< GET: the status of the answer decides
    PERI_HEALTH_BY_TCP,  ///< a connection, with TLS if the upstream has it
    PERI_HEALTH_BY_GRPC, ///< grpc.health.v1.Health/Check
};

/// Where one endpoint is checked.
struct peri_health_target {
    struct peri_slice address; ///< as of a pool
    struct peri_slice path;    ///< PERI_HEALTH_BY_HTTP: with its query
};

struct peri_health_header {
    struct peri_slice name; ///< lower case
    struct peri_slice value;
};

/// The settings of one upstream. Counted references, since a check goes on while a set of endpoints is replaced.
struct peri_health_settings {
    uint32_t references;
    struct peri_arena arena; ///< of all that is here
    enum peri_health_type type;
    struct peri_slice host;             ///< authority; empty: the address
    struct peri_slice service;          ///< PERI_HEALTH_BY_GRPC
    struct peri_health_header *headers; ///< sent with HTTP and gRPC
    uint32_t header_count;
    uint64_t interval_ms;                             ///< from the end of a check to the next
    uint64_t jitter_ms;                               ///< up to this is added, at random
    uint64_t timeout_ms;                              ///< of a check, the connection included
    uint32_t healthy;                                 ///< successes in a row
    uint32_t unhealthy;                               ///< failures in a row
    bool begins_unhealthy;                            ///< without requests until the first success
    unsigned char expected[PERI_HEALTH_STATUSES / 8]; ///< PERI_HEALTH_BY_HTTP: bit per status
    struct peri_pool_settings pool;                   ///< its TLS: one reference
    struct peri_health_target *targets;               ///< by the number of the endpoint
    uint32_t target_count;
};

/// What a check found.
struct peri_health_finding {
    enum peri_health_result result;
    int status;   ///< of the answer; 0 for none
    bool is_void; ///< there was nothing to check with: it says nothing of the endpoint
};

enum peri_health_change { PERI_HEALTH_SAME, PERI_HEALTH_UP, PERI_HEALTH_DOWN };

/// New settings, zero but for one reference; NULL when out of memory.
struct peri_health_settings *peri_health_new(void);

/// One more reference; one less, the last one frees the settings. NULL is fine.
struct peri_health_settings *peri_health_ref(struct peri_health_settings *settings);
void peri_health_unref(struct peri_health_settings *settings);

/// Statuses from `first` to `last` (below PERI_HEALTH_STATUSES) are expected.
void peri_health_expect(struct peri_health_settings *settings, unsigned first, unsigned last);

/// Is an answer with this status a success?
bool peri_health_is_expected(const struct peri_health_settings *settings, int status);

/// Nothing is known of an endpoint that will be checked: it is used, or not, as the settings say. The caller keeps others from
/// the row (peri_endpoints_acquire), as in the next two.
void peri_health_begin(const struct peri_health_settings *settings, struct peri_endpoint_row *row);

/// Counts what a check found at `now_ms` (monotonic), and says when the next one is due. *random: upstream/random.h.
enum peri_health_change peri_health_count(const struct peri_health_settings *settings, struct peri_endpoint_row *row,
                                          const struct peri_health_finding *finding, uint64_t now_ms, uint64_t *random);

/// Forgets all checks: the endpoint is not checked any more.
void peri_health_forget(struct peri_endpoint_row *row);

/// Milliseconds until the next check of an endpoint, 0 for now; never longer than an interval, whatever was due before a reload.
uint64_t peri_health_wait_ms(const struct peri_health_settings *settings, const struct peri_endpoint_row *row,
                             uint64_t now_ms);

/// Says what the last check found: "ok", "http 503", "grpc 14", "not serving", "connect failed", "tls failed", "timeout",
/// "broken answer".
void peri_health_describe(const struct peri_endpoint_health *health, char text[PERI_HEALTH_TEXT]);

#endif
