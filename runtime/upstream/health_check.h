// SPDX-License-Identifier: MIT
// One active check: a connection of its own to one address, one small request, one verdict. It sees what a new client would see, and
// takes nothing from the connections that carry traffic. Knows nothing of rows and intervals.
#ifndef PERI_UPSTREAM_HEALTH_CHECK_H
#define PERI_UPSTREAM_HEALTH_CHECK_H

#include "upstream/health.h"

struct peri_health_check;
struct peri_pool;

/// Checks target `index` of `settings` over `pool`; both are referenced until the end. on_done(data, finding) comes once, from the
/// loop, within the settings' timeout; the check is gone then. NULL when out of memory.
struct peri_health_check *
peri_health_check_start(struct peri_health_settings *settings, uint32_t index, struct peri_pool *pool,
                        void (*on_done)(void *data, const struct peri_health_finding *finding), void *data);

/// Ends a check before on_done, which is not called.
void peri_health_check_cancel(struct peri_health_check *check);

#endif
