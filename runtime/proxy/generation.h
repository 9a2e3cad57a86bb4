// SPDX-License-Identifier: MIT
// Everything one reload produced, in this process: routes with their plans, upstreams, the Lua half. Counted references:
// the server holds one for the current generation, every exchange one for its own; the last one frees it.
#ifndef PERI_PROXY_GENERATION_H
#define PERI_PROXY_GENERATION_H

#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "proxy/plan.h"

struct peri_discovery;
struct peri_json;
struct peri_metrics_page;
struct peri_pools;
struct peri_route_table;
struct peri_script_generation;
struct peri_secret;
struct peri_server;
struct peri_shm;
struct peri_source;
struct peri_tcp_plan;
struct peri_tls_server;

/// TLS of the listener with this address.
struct peri_generation_tls {
    struct peri_slice address;      ///< in the arena
    struct peri_tls_server *server; ///< one reference
};

struct peri_generation {
    uint64_t number;
    struct peri_slice digest;  ///< in the arena
    struct peri_slice explain; ///< digest of the token of the setting `explain`, in the arena; empty without it
    uint32_t references;
    struct peri_arena arena; ///< plans and texts
    char *config;            ///< normalised JSON, owned
    struct peri_script_generation *script;
    struct peri_route_table *table;
    struct peri_route *routes;
    uint32_t route_count;
    struct peri_upstream **upstreams;
    uint32_t upstream_count;
    struct peri_discovery *discoveries; ///< of upstreams whose endpoints are not in the configuration; owned, linked
    struct peri_secret *secrets;        ///< credentials that policies declare (proxy/mask.h), in the arena
    uint32_t secret_count;
    struct peri_generation_tls *tls; ///< of the listeners that have it
    uint32_t tls_count;
    struct peri_tcp_plan *tcp; ///< of the listeners that pass TCP on, in the arena
    uint32_t tcp_count;
    struct peri_upstream **direct; ///< made for fetches to plain addresses
    uint32_t direct_count;
    struct peri_pools *pools;   ///< borrowed from the server
    struct peri_server *server; ///< borrowed; whose generation this is
};

/// Builds the C half from the normalised configuration and the files of `source` that it names. `script` and `config` are taken (also on failure); without `script`
/// (NULL) the generation can be looked at, but serves nothing. On failure returns NULL and *errors is a malloc'ed JSON array.
struct peri_generation *peri_generation_new(struct peri_script_generation *script, char *config,
                                            const struct peri_source *source, uint64_t number, struct peri_slice digest,
                                            struct peri_pools *pools, struct peri_shm *shm,
                                            struct peri_metrics_page *page, char **errors);

/// Passes on what the upstreams of `old` learned of their endpoints, to those of the same name; now_ms is monotonic.
void peri_generation_inherit(struct peri_generation *generation, struct peri_generation *old, uint64_t now_ms);

/// One more reference.
struct peri_generation *peri_generation_ref(struct peri_generation *generation);

/// One less; the last one releases the Lua half and frees everything.
void peri_generation_unref(struct peri_generation *generation);

/// TLS of the listener `address`; NULL for none.
struct peri_tls_server *peri_generation_find_tls(const struct peri_generation *generation, struct peri_slice address);

/// Reads where the connections of those `listeners` go that pass TCP on (proxy/tcp_plan.c). PERI_ERR_NOMEM; PERI_ERR_INVALID when an
/// upstream is not there.
peri_err_t peri_generation_read_tcp(struct peri_generation *generation, struct peri_shm *shm,
                                    const struct peri_json *listeners);

/// Where the connections of the listener `address` go; NULL when it speaks HTTP.
const struct peri_tcp_plan *peri_generation_find_tcp(const struct peri_generation *generation,
                                                     struct peri_slice address);

/// The upstream called `name`, or NULL.
struct peri_upstream *peri_generation_find_upstream(struct peri_generation *generation, struct peri_slice name);

/// An upstream of one endpoint for a plain "host:port", made when it is new; NULL when the address is malformed or 256 exist.
struct peri_upstream *peri_generation_direct(struct peri_generation *generation, struct peri_slice address);

#endif
