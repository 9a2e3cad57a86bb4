// SPDX-License-Identifier: MIT
// The bodies of the admin interface.
#ifndef PERI_APP_ADMIN_VIEWS_H
#define PERI_APP_ADMIN_VIEWS_H

#include <stdint.h>

#include <stdint.h>

struct peri_json;
struct peri_supervisor;

/// GET /status: generation, digest, uptime_s, state, reload, listeners, workers. Owned by the caller; NULL when out of
/// memory, as for every function here.
struct peri_json *peri_admin_status(const struct peri_supervisor *supervisor);

/// GET /generations: the current one and those that a rollback can bring back, newest first.
struct peri_json *peri_admin_generations(const struct peri_supervisor *supervisor);

/// What generation `number` changed against the one before, as a unified diff; borrowed. NULL when that is not known.
const char *peri_admin_diff(const struct peri_supervisor *supervisor, uint64_t number);

/// GET /routes: the routes of the current generation with their counters.
struct peri_json *peri_admin_routes(const struct peri_supervisor *supervisor);

/// GET /upstreams: the upstreams of the current generation with their counters.
struct peri_json *peri_admin_upstreams(const struct peri_supervisor *supervisor);

/// GET /policies: calls, errors and CPU time of each policy on each route that ever ran it.
struct peri_json *peri_admin_policies(const struct peri_supervisor *supervisor);

#endif
