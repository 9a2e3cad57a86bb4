// SPDX-License-Identifier: MIT
// Reads the active health checks of an upstream (`health`, and what its endpoints say otherwise).
#ifndef PERI_PROXY_HEALTH_CONFIG_H
#define PERI_PROXY_HEALTH_CONFIG_H

struct peri_health_settings;
struct peri_json;
struct peri_pool_settings;
struct peri_upstream;

/// The settings in `json`, the normalised form of the upstream, with a target for each of its endpoints, which are complete and
/// connect as `pool` says. One reference is the caller's. NULL when out of memory.
struct peri_health_settings *peri_health_config_read(const struct peri_upstream *upstream, const struct peri_json *json,
                                                     const struct peri_pool_settings *pool);

#endif
