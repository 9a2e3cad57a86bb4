// SPDX-License-Identifier: MIT
// What GET /upstreams says of the endpoints of an upstream.
#ifndef PERI_APP_ADMIN_ENDPOINTS_H
#define PERI_APP_ADMIN_ENDPOINTS_H

struct peri_json;
struct peri_shm;

/// Sets in `view` the endpoints of `upstream` (normalised configuration) with their states, and its breaker when it has one.
void peri_admin_set_endpoints(struct peri_json *view, struct peri_shm *shm, const struct peri_json *upstream);

#endif
