// SPDX-License-Identifier: MIT
// Which failed attempts are made again, and when: Envoy's words and numbers. Knows nothing of exchanges; proxy/retry does it.
#ifndef PERI_UPSTREAM_RETRY_H
#define PERI_UPSTREAM_RETRY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"
#include "upstream/retry_budget.h"

struct peri_attempt;
struct peri_response;

/// What is worth a retry, beside statuses: bits.
enum peri_retry_on {
    PERI_RETRY_5XX = 1,           ///< any 5xx, or no answer
    PERI_RETRY_GATEWAY = 2,       ///< 502, 503, 504, or no answer
    PERI_RETRY_RESET = 4,         ///< no answer
    PERI_RETRY_CONNECT = 8,       ///< no connection
    PERI_RETRY_REFUSED = 16,      ///< the HTTP/2 stream was refused
    PERI_RETRY_RETRIABLE_4XX = 32 ///< 409
};

/// How many retries there may be at a time, see upstream/retry_budget.h.
enum peri_retry_model { PERI_RETRY_BY_CONCURRENCY, PERI_RETRY_BY_RATE };

/// When a request is sent a second time though the first one may still be answered.
struct peri_hedge_settings {
    uint64_t after_ms;       ///< 0: only where a script says when
    uint32_t max;            ///< of one request, one at a time
    bool has_non_idempotent; ///< also methods that are not idempotent
};

struct peri_retry_settings {
    uint32_t attempts;       ///< beyond the first
    uint32_t on;             ///< bits of enum peri_retry_on
    uint32_t grpc;           ///< bits by grpc-status
    uint64_t statuses[8];    ///< bits by status - 100
    bool has_non_idempotent; ///< methods that are not idempotent are sent again, whatever the upstream made of them
    uint64_t per_try_ms;     ///< 0: no limit of its own
    uint64_t base_ms, max_ms;
    uint64_t body_bytes; ///< of a request's body, kept to be sent again
    enum peri_retry_model model;
    struct peri_retry_concurrency concurrency;
    struct peri_retry_rate rate;
    struct peri_hedge_settings hedge;
};

/// Adds a word of the setting `on`: a condition, the name of a gRPC status, or a status in digits. False for others.
bool peri_retry_add(struct peri_retry_settings *settings, struct peri_slice word);

/// Is a response with this head worth a retry?
bool peri_retry_wants_response(const struct peri_retry_settings *settings, const struct peri_response *res);

/// Is an attempt that ended with `err` before its response worth a retry, and is one safe?
bool peri_retry_wants_error(const struct peri_retry_settings *settings, const struct peri_attempt *attempt,
                            peri_err_t err);

/// Milliseconds before retry number `retry` (1 for the first): see peri_backoff_ms; when the upstream asked to be left alone for
/// `pushback_ms`, from that to 1.5 times that. `random` is the state of upstream/random.h.
uint64_t peri_retry_delay_ms(const struct peri_retry_settings *settings, uint32_t retry, uint64_t pushback_ms,
                             uint64_t *random);

#endif
