// SPDX-License-Identifier: MIT
// Upstreams whose endpoints change while their generation serves, because DNS, a file, a server or a script says so. A new set is a new upstream in
// the place of the old one, made from the same settings; what was learned of an address goes over to it. Exchanges that were on
// their way to the old one finish there, and it is freed when the last of them has ended. A set that cannot be used changes nothing.
#ifndef PERI_PROXY_DISCOVERY_H
#define PERI_PROXY_DISCOVERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

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

/// Takes over the sets that other workers found, where none is known yet: this one takes the place of a worker that has ended.
void peri_discovery_recall_all(struct peri_generation *generation);

/// The generation serves now: what it found so far is there for other workers to take over.
void peri_discovery_switch_all(struct peri_generation *generation);

/// Begins to look, now and from then on. Files are read at once. Nothing is done in a server in memory (test kit).
void peri_discovery_start_all(struct peri_generation *generation);

/// Other servers answer for names now: looks those up at once that were asked from the old ones.
void peri_discovery_renew_all(struct peri_generation *generation);

/// Has every upstream been looked for, or is its set known from before?
bool peri_discovery_is_warm(const struct peri_generation *generation);

/// Waits for none of them any longer, nor does a generation that inherits from this one: logs for which that matters.
void peri_discovery_end_wait(struct peri_generation *generation);

/// Ends every look, and shows the sets no more: no exchange begins with this generation any more.
void peri_discovery_stop_all(struct peri_generation *generation);

/// Ends every look and frees the sets that were replaced; the present ones are the generation's. No exchange is under way.
void peri_discovery_free_all(struct peri_generation *generation);

/// Makes `text`, a list in JSON, the endpoints of the upstream `name`, which has the setting `dynamic`, in all workers. PERI_ERR_NOT_FOUND;
/// PERI_ERR_CLOSED for other upstreams; PERI_ERR_INVALID with the reason in `problem` (cut at `size`).
peri_err_t peri_discovery_set(struct peri_generation *generation, struct peri_slice name, struct peri_slice text,
                              char *problem, size_t size);

/// The present endpoints of the upstream `name` as a list in JSON, malloc'ed. NULL when there is no such upstream, or out of memory.
char *peri_discovery_list(const struct peri_generation *generation, struct peri_slice name);

#endif
