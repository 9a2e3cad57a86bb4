// SPDX-License-Identifier: MIT
// Reads what an upstream's settings say about its health (`outlier`, `accrual`, `breaker`, `health`) and its retries into its guard.
#ifndef PERI_PROXY_GUARD_CONFIG_H
#define PERI_PROXY_GUARD_CONFIG_H

#include "base/err.h"

struct peri_json;
struct peri_metrics_page;
struct peri_pool_settings;
struct peri_shm;
struct peri_upstream;

/// Gives the upstream, whose endpoints are complete and connect as `pool` says, a guard when its normalised configuration asks for
/// one. Errors as peri_guard_new.
peri_err_t peri_guard_config_read(struct peri_upstream *upstream, const struct peri_json *json,
                                  const struct peri_pool_settings *pool, struct peri_shm *shm,
                                  struct peri_metrics_page *page);

#endif
