// SPDX-License-Identifier: MIT
// How many retries an upstream is worth, so that a failing one is not buried under them. Two models, both over all workers:
//
//   concurrency   Envoy: retries under way < max(min_concurrency, percent of the requests under way)
//   rate          Finagle and tower: each request deposits, each retry withdraws; deposits are worth something for `ttl`
#ifndef PERI_UPSTREAM_RETRY_BUDGET_H
#define PERI_UPSTREAM_RETRY_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

/// Envoy's model.
struct peri_retry_concurrency {
    double percent; ///< of the requests under way
    uint32_t min_concurrency;
};

/// May one more retry begin, with `retries` under way among `active` attempts?
bool peri_retry_concurrency_allows(const struct peri_retry_concurrency *budget, uint64_t active, uint64_t retries);

/// tower's TpsBudget. The deposits are in slots of a tenth of `ttl_ms`, which all workers share.
struct peri_retry_rate {
    uint64_t ttl_ms;         ///< 1000 to 60000
    uint32_t min_per_second; ///< retries that need no deposits
    double ratio;            ///< retries per request; 0 to 1000
    uint64_t *slots;         ///< PERI_BUDGET_SLOTS, zero at first
};

/// A request begins that is no retry.
void peri_retry_rate_deposit(const struct peri_retry_rate *budget, uint64_t now_ms);

/// Pays for a retry; false when there is not enough.
bool peri_retry_rate_withdraw(const struct peri_retry_rate *budget, uint64_t now_ms);

#endif
