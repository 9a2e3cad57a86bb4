// SPDX-License-Identifier: MIT
// Upstreams whose endpoints change while their generation serves, because DNS or a file says so. A new set is a new upstream in
// the place of the old one, made from the same settings; what was learned of an address goes over to it. Exchanges that were on
// their way to the old one finish there, and it is freed when the last of them has ended. A set that cannot be used changes nothing.
#ifndef PERI_PROXY_DISCOVERY_H
#define PERI_PROXY_DISCOVERY_H

#include <stdint.h>

#include "base/err.h"

struct peri_generation;
struct peri_generation_builder;
struct peri_json;
struct peri_pool_settings;

/// Notes while a generation is built that upstream `index` is discovered as `json`, its normalised settings (copied), say: for the
/// present it has the endpoints that are in there. PERI_ERR_NOMEM.
peri_err_t peri_discovery_add(struct peri_generation_builder *b, uint32_t index, const struct peri_json *json,
                              const struct peri_pool_settings *settings);

/// Takes over the sets that `old` found for upstreams of the same name and source.
void peri_discovery_inherit(struct peri_generation *generation, const struct peri_generation *old);

/// Begins to look, now and from then on. Files are read at once. Nothing is done in a server in memory (test kit).
void peri_discovery_start_all(struct peri_generation *generation);

/// Ends every look: no exchange begins with this generation any more.
void peri_discovery_stop_all(struct peri_generation *generation);

/// Ends every look and frees the sets that were replaced; the present ones are the generation's. No exchange is under way.
void peri_discovery_free_all(struct peri_generation *generation);

#endif
