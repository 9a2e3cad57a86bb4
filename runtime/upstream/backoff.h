// SPDX-License-Identifier: MIT
// How long to wait before a retry: exponential with full jitter, as Envoy's router does.
#ifndef PERI_UPSTREAM_BACKOFF_H
#define PERI_UPSTREAM_BACKOFF_H

#include <stdint.h>

/// Milliseconds before retry number `retry` (1 for the first): evenly from 0 to below (2^retry - 1) * base_ms, which counts as at most
/// max_ms. `random` is the state of upstream/random.h.
uint64_t peri_backoff_ms(uint64_t base_ms, uint64_t max_ms, uint32_t retry, uint64_t *random);

#endif
