// SPDX-License-Identifier: MIT
// A generation while it is built from its normalised configuration, as the files that read a part of that see it. Nobody else includes
// this.
#ifndef PERI_PROXY_GENERATION_INTERNAL_H
#define PERI_PROXY_GENERATION_INTERNAL_H

#include "proxy/generation.h"

struct peri_arena;
struct peri_json;
struct peri_metrics_page;
struct peri_pool_settings;
struct peri_shm;
struct peri_source;
struct peri_tls_fault;
struct peri_upstream;

struct peri_generation_builder {
    struct peri_generation *generation;
    const struct peri_source *source;
    struct peri_shm *shm;
    struct peri_metrics_page *page; ///< this worker's
    char message[256];              ///< what is wrong
    char path[128];                 ///< and where
};

/// PERI_ERR_INVALID, with what is wrong and where for whoever made the configuration.
peri_err_t peri_generation_refuse(struct peri_generation_builder *b, const char *path, const char *message);

/// The same for the setting below `place`.tls that `fault` names.
peri_err_t peri_generation_refuse_tls(struct peri_generation_builder *b, const char *place,
                                      const struct peri_tls_fault *fault);

/// A copy that lives as long as the generation; ptr is NULL when out of memory.
struct peri_slice peri_generation_keep(struct peri_generation_builder *b, struct peri_slice text);

/// Zeroed memory for `count` items that lives as long as the generation; not NULL for none. NULL when out of memory.
void *peri_generation_zalloc(struct peri_generation_builder *b, size_t count, size_t size);

/// Reads `upstreams` into their endpoints, pools, guards and balancers. PERI_ERR_NOMEM, or PERI_ERR_INVALID from peri_generation_refuse, as
/// the next three.
peri_err_t peri_generation_read_upstreams(struct peri_generation_builder *b, const struct peri_json *list);

/// Completes a new upstream (its name and number in the metrics are set) as `json` says, with pools of these settings and texts in
/// `arena`. Errors as above; the upstream is the caller's to free.
peri_err_t peri_generation_fill_upstream(struct peri_generation_builder *b, struct peri_upstream *upstream,
                                         const struct peri_json *json, const struct peri_pool_settings *settings,
                                         struct peri_arena *arena);

/// Reads the TLS of `listeners`.
peri_err_t peri_generation_read_listeners(struct peri_generation_builder *b, const struct peri_json *list);

/// Reads `routes` into the route table and their plans.
peri_err_t peri_generation_read_routes(struct peri_generation_builder *b, const struct peri_json *list);

/// Reads from `routes` where their policies look for credentials.
peri_err_t peri_generation_read_secrets(struct peri_generation_builder *b, const struct peri_json *routes);

#endif
