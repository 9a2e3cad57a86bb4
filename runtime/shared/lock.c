// SPDX-License-Identifier: MIT
// Robust, process-shared mutexes. Any answer but "locked" and "the owner died" means that the memory itself is broken.
#include "shared/lock.h"

#include <errno.h>

#include "base/assert.h"

bool peri_lock_init(struct peri_lock *lock)
{
    pthread_mutexattr_t attr;
    if (pthread_mutexattr_init(&attr) != 0)
        return false;
    bool is_made = pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED) == 0 &&
                   pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST) == 0 &&
                   pthread_mutex_init(&lock->mutex, &attr) == 0;
    pthread_mutexattr_destroy(&attr);
    return is_made;
}

bool peri_lock_acquire(struct peri_lock *lock)
{
    int rc = pthread_mutex_lock(&lock->mutex);
    peri_assert(rc == 0 || rc == EOWNERDEAD);
    return rc == EOWNERDEAD;
}

void peri_lock_repaired(struct peri_lock *lock)
{
    int rc = pthread_mutex_consistent(&lock->mutex);
    peri_assert(rc == 0);
}

void peri_lock_release(struct peri_lock *lock)
{
    int rc = pthread_mutex_unlock(&lock->mutex);
    peri_assert(rc == 0);
}
