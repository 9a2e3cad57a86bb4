// SPDX-License-Identifier: MIT
// Limits on what an upstream is asked to do at the same time, over all workers. Each worker keeps its own share of the gauges
// and adds those of the others up: a worker that dies takes its share with it.
#ifndef PERI_UPSTREAM_BREAKER_H
#define PERI_UPSTREAM_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

#include "shared/endpoints.h"

/// The breaker of one upstream, as one worker sees it.
struct peri_breaker {
    const struct peri_shm *shm;
    struct peri_breaker_cell *cell;       ///< this worker's
    int32_t upstream;                     ///< row
    uint32_t limits[PERI_BREAKER_GAUGES]; ///< by gauge
};

/// Envoy's limits.
void peri_breaker_defaults(struct peri_breaker *breaker);

/// Counts one more, if the limit allows; else counts the refusal. All workers together never exceed the limit; two that reach for
/// the last place at the same moment may both be refused.
bool peri_breaker_enter(struct peri_breaker *breaker, enum peri_breaker_gauge gauge);

/// Counts one more, if the limit allows; a refusal is not counted, since whoever asks will ask again.
bool peri_breaker_try(struct peri_breaker *breaker, enum peri_breaker_gauge gauge);

/// Counts one less.
void peri_breaker_leave(struct peri_breaker *breaker, enum peri_breaker_gauge gauge);

#endif
