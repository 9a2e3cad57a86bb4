// SPDX-License-Identifier: MIT
// Does for all workers of a host what only one of them should do: sweeps the results of endpoints, and checks them. Every worker has
// a keeper; the one whose worker has the lease in shared memory works, the others look every second whether it still does.
#ifndef PERI_UPSTREAM_KEEPER_H
#define PERI_UPSTREAM_KEEPER_H

#include <stdint.h>

struct peri_keeper;
struct peri_loop;
struct peri_pools;
struct peri_shm;
struct peri_upstream;

/// A keeper of nothing yet, for worker number `worker`. It checks endpoints over `pools`, which outlive it; with NULL it does not,
/// and endpoints are what their results say. NULL when out of memory.
struct peri_keeper *peri_keeper_new(struct peri_loop *loop, struct peri_pools *pools, struct peri_shm *shm,
                                    uint32_t worker);

/// Gives the lease back and frees the keeper. No-op for NULL.
void peri_keeper_free(struct peri_keeper *keeper);

/// From now on these upstreams are kept: borrowed until the next call. No-op for a keeper that rests.
void peri_keeper_set(struct peri_keeper *keeper, struct peri_upstream *const *upstreams, uint32_t count);

/// The worker is about to end: keeps nothing any more, and leaves the work to another.
void peri_keeper_rest(struct peri_keeper *keeper);

#endif
