// SPDX-License-Identifier: MIT
// One discovered upstream, as the files discovery*.c see it. Nobody else includes this.
#ifndef PERI_PROXY_DISCOVERY_INTERNAL_H
#define PERI_PROXY_DISCOVERY_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/arena.h"
#include "base/list.h"
#include "base/slice.h"
#include "event/dns.h"
#include "event/timer.h"
#include "proxy/discovery.h"
#include "upstream/endpoint_list.h"
#include "upstream/pool.h"

struct peri_discovery;
struct peri_generation_builder;
struct peri_metrics_page;
struct peri_shm;
struct peri_upstream;
struct peri_watch;

/// Where sets come from. A source without `open` keeps nothing beyond what struct peri_discovery has for it.
struct peri_discovery_source {
    /// Makes d->state from `settings`, the "discovery" of the upstream, while the generation is built. Errors as peri_discovery_add.
    peri_err_t (*open)(struct peri_discovery *d, struct peri_generation_builder *b, const struct peri_json *settings);
    void (*close)(struct peri_discovery *d); ///< frees d->state; after `stop`
    void (*start)(struct peri_discovery *d);
    void (*on_look)(struct peri_timer *timer); ///< of peri_discovery.look
    void (*renew)(struct peri_discovery *d);   ///< looks at once, with nothing known; NULL when that changes nothing
    void (*stop)(struct peri_discovery *d);    ///< after start, once
};

/// One set: an upstream and what its texts live in.
struct peri_discovery_set {
    struct peri_list link;          ///< among the retired
    struct peri_upstream *upstream; ///< owned when retired; the present one is the generation's
    struct peri_arena arena;        ///< unused by the configured set
    char *text;                     ///< its endpoints as JSON, owned; NULL: as configured
};

/// Rows in shared memory through which the set can be seen.
struct peri_discovery_rows {
    int32_t upstream; ///< -1: none
    int32_t *items;   ///< owned
    uint32_t count;
};

/// A name that is looked up.
struct peri_discovery_name {
    struct peri_dns_query query;
    struct peri_slice host; ///< in the settings
    uint16_t port;
    bool is_asking;
};

/// A file that is watched.
struct peri_discovery_file {
    struct peri_slice path; ///< in the settings; NUL-terminated there
    struct peri_watch *watch;
    struct stat seen; ///< when it was read last
};

struct peri_discovery {
    struct peri_discovery *next;
    struct peri_generation *generation;
    uint32_t index; ///< of the upstream
    struct peri_shm *shm;
    struct peri_metrics_page *page;
    struct peri_json *settings; ///< of the upstream, owned
    struct peri_pool_settings pool;
    struct peri_discovery_set *set; ///< present, owned
    struct peri_list retired;
    struct peri_discovery_rows rows;
    const struct peri_discovery_source *source;
    struct peri_slice
        place; ///< where it looks, for the log; in the settings; empty when the upstream's name says enough
    struct peri_discovery_name name;
    struct peri_discovery_file file;
    void *state;            ///< of other sources, owned
    struct peri_timer look; ///< the next one
    struct peri_timer free_retired;
    uint64_t random;
    bool is_started;
    bool has_looked; ///< once, whatever was found, or was waited for long enough; in the generation before counts
    bool is_ahead;   ///< its set is not in shared memory, because the generation does not serve yet
    bool is_failing; ///< the last look found nothing that can be used: said once
};

extern const struct peri_discovery_source peri_discovery_dns;
extern const struct peri_discovery_source peri_discovery_file;
extern const struct peri_discovery_source peri_discovery_srv;
extern const struct peri_discovery_source peri_discovery_http;
extern const struct peri_discovery_source peri_discovery_dynamic;

/// Puts `endpoints` (a normalised list, taken; NULL when out of memory) in the place of the present set, unless they are the same.
/// PERI_ERR_INVALID for an address that is malformed, PERI_ERR_LIMIT, PERI_ERR_NOMEM: the present set stays.
peri_err_t peri_discovery_replace(struct peri_discovery *d, struct peri_json *endpoints);

/// The same with what a look has found: for other workers to take over.
peri_err_t peri_discovery_put(struct peri_discovery *d, struct peri_json *endpoints);

/// What is asked, malloc'ed: sources of equal texts find the same endpoints, however and how often they ask. NULL when out of memory.
char *peri_discovery_identity(const struct peri_discovery *d);

/// Puts the present set into shared memory, once the generation serves.
void peri_discovery_remember(struct peri_discovery *d);

/// Takes over the set in shared memory. False when there is none.
bool peri_discovery_recall(struct peri_discovery *d);

/// Writes an IP address with a port in the form of the configuration. False for other families.
bool peri_discovery_format(const struct sockaddr_storage *address, uint16_t port, char text[PERI_ENDPOINT_LIST_TEXT]);

/// A look failed: counts it, and logs why, unless the one before failed too. With NULL: it did not.
void peri_discovery_note(struct peri_discovery *d, const char *problem);

/// Counts a look, as above, and no more.
void peri_discovery_count(const struct peri_discovery *d, const char *problem);

/// Looks again in `ms` milliseconds and up to a tenth more, so that workers and proxies do not ask all at once.
void peri_discovery_look_in(struct peri_discovery *d, uint64_t ms);

#endif
