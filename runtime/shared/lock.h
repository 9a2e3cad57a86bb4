// SPDX-License-Identifier: MIT
// A mutex in shared memory that survives its owner: when a process dies inside, the next one is told so and repairs what the
// lock protects. Wraps POSIX robust mutexes.
#ifndef PERI_SHARED_LOCK_H
#define PERI_SHARED_LOCK_H

#include <pthread.h>
#include <stdbool.h>

#include "base/attr.h"

struct peri_lock {
    pthread_mutex_t mutex;
};

/// Prepares a lock in fresh shared memory. False when the system refuses.
bool peri_lock_init(struct peri_lock *lock);

/// Waits for the lock. True when its last owner died inside: the caller repairs the data and then calls peri_lock_repaired;
/// dying before that leaves the duty to the next.
PERI_NODISCARD bool peri_lock_acquire(struct peri_lock *lock);

/// The data are sound again.
void peri_lock_repaired(struct peri_lock *lock);

/// Lets the next one in.
void peri_lock_release(struct peri_lock *lock);

#endif
