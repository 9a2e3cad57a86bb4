// SPDX-License-Identifier: MIT
// How the shared memory is laid out; for the files of shared/ only. Sections follow each other, each on a page of its own:
//
//   head · worker slots · names (routes, upstreams, policies, listeners, dictionaries) · series · endpoints · metrics pages · shard heads ·
//   shards
//
// Everything that is read as an index or a length is checked against the sizes in struct peri_shm, which this process computed
// itself: another process that writes nonsense costs data, never memory safety.
#ifndef PERI_SHARED_SEGMENT_H
#define PERI_SHARED_SEGMENT_H

#include <stddef.h>
#include <stdint.h>

#include "event/tls.h"
#include "shared/lock.h"
#include "shared/metrics.h"
#include "shared/names.h"

#define PERI_SHM_MAGIC 0x3165656769726570u // "perigee1"
#define PERI_SHM_LAYOUT 12u                // grows with every change of a struct in this memory

#define PERI_SHM_DICTS 256
#define PERI_SHM_SHARDS_MAX 64

struct peri_endpoints_table;
struct peri_series_table;
struct peri_shard_head;

/// The first page.
struct peri_shm_head {
    uint64_t magic;
    uint32_t layout;
    uint32_t workers;
    uint64_t dict_bytes;
    uint64_t size;
    uint64_t hash_secret[2];
    uint64_t start_ticks; ///< peri_metrics_ticks when the memory was made
    uint64_t start_ns;    ///< CLOCK_MONOTONIC at the same moment
    uint64_t generation;
    uint64_t reloads[PERI_RELOAD_COUNT];
    struct peri_tls_ticket_keys tickets;
    struct peri_lock registry; ///< guards the tables of names, series and endpoints
    uint32_t route_count;
    uint32_t upstream_count;
    uint32_t policy_count;
    uint32_t listener_count;
    uint32_t dict_count;
};

/// One worker; cache lines of its own.
struct peri_shm_slot {
    uint32_t state;
    int32_t pid;
    uint64_t heartbeat_ms;
    uint64_t started_ms;
    uint64_t generation;
    uint64_t lua_bytes;
    uint32_t restarts;
    uint32_t has_page; ///< the metrics page was handed out: readers look at it
    char padding[128 - 48];
};

/// This process's view: where the sections are, and the sizes it trusts.
struct peri_shm {
    int fd;
    char *base;
    size_t size;
    uint32_t workers;
    uint32_t shards;       ///< a power of two
    uint32_t shard_places; ///< of the index of one shard; a power of two
    uint64_t shard_bytes;  ///< index and chunks of one shard
    struct peri_shm_head *head;
    struct peri_shm_slot *slots;
    struct peri_names routes;
    struct peri_names upstreams;
    struct peri_names policies;
    struct peri_names listeners;
    struct peri_names dicts;
    struct peri_series_table *series;
    struct peri_endpoints_table *endpoints;
    struct peri_metrics_page *pages;
    struct peri_shard_head *shard_heads;
    char *shard_data;
    size_t pages_offset; ///< of `pages` in the memory
};

/// Holds the registry's lock. A process that died inside left nothing half-done that counts.
void peri_shm_registry_acquire(struct peri_shm *shm);

/// Lets the registry go.
void peri_shm_registry_release(struct peri_shm *shm);

/// The metrics page of a worker that ever asked for it, for reading; NULL for others: reading them would allocate memory.
const struct peri_metrics_page *peri_shm_page(const struct peri_shm *shm, uint32_t worker);

#endif
