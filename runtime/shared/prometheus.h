// SPDX-License-Identifier: MIT
// Writes everything that shared memory counts in Prometheus' text format (version 0.0.4), in an order that does not change
// from scrape to scrape. Any process that has the memory mapped may.
#ifndef PERI_SHARED_PROMETHEUS_H
#define PERI_SHARED_PROMETHEUS_H

#include <stddef.h>

#include "base/err.h"

struct peri_shm;
struct peri_text;

/// Value of the Content-Type header that goes with the text.
#define PERI_PROMETHEUS_TYPE "text/plain; version=0.0.4; charset=utf-8"

/// Appends the whole exposition to `out` (shared/text.h). PERI_OK or PERI_ERR_NOMEM.
peri_err_t peri_metrics_write(const struct peri_shm *shm, struct peri_text *out);

#endif
