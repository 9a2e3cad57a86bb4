// SPDX-License-Identifier: MIT
// The active checks of one worker, when it is the one that checks for its host: when each endpoint is due, and what becomes of the
// findings in shared memory. Endpoints are known by their rows, so that a new set of them, or a new generation, changes nothing for
// those that stay.
#ifndef PERI_UPSTREAM_CHECKER_H
#define PERI_UPSTREAM_CHECKER_H

#include <stdint.h>

#define PERI_CHECKER_MAX 64 ///< checks under way at the same time; others wait for their turn

struct peri_checker;
struct peri_loop;
struct peri_pools;
struct peri_shm;
struct peri_upstream;

/// A checker of nothing. NULL when out of memory.
struct peri_checker *peri_checker_new(struct peri_loop *loop, struct peri_pools *pools, struct peri_shm *shm);

/// Ends every check and frees the checker. No-op for NULL.
void peri_checker_free(struct peri_checker *checker);

/// From now on the endpoints of these upstreams are checked whose guards have settings for that, and no others; their rows are
/// held until the next call. Checks under way of those that stay go on, others end. Out of memory leaves endpoints unchecked
/// (logged).
void peri_checker_set(struct peri_checker *checker, struct peri_upstream *const *upstreams, uint32_t count);

#endif
