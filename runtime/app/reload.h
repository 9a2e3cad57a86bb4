// SPDX-License-Identifier: MIT
// A reload as a transaction over all workers: either every worker switches to the new generation, or none does.
//
//   IDLE --start--> CHECKING --checked--> BUILDING --all ready--> CANARY --promoted--> SWITCHING --all switched--> IDLE   done(OK)
//                      |                     |                      |
//                      | errors              | errors, a worker     | judged worse, or stopped
//                      |                     | died, too slow       |
//                      v                     v                      v
//                    IDLE  done(REFUSED)   IDLE  discard, …       IDLE  discard, done(CANARY_ROLLED_BACK)
//
//   CANARY is passed over when none is wanted, and by a rollback. In it workers may end and be replaced as at any time.
//   In SWITCHING there is no way back: a worker that dies is done (its replacement starts on the new generation), one that
//   is too slow is killed, so that nobody answers with the old generation once the transaction has ended.
//
// Knows no processes and no files: what is to be done is given as calls, so that it can be tested alone.
#ifndef PERI_APP_RELOAD_H
#define PERI_APP_RELOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "app/canary_judge.h"
#include "event/timer.h"
#include "shared/metrics.h"
#include "shared/shm.h"

struct peri_loop;

#define PERI_RELOAD_STAGE_MS 5000 ///< time that building, and then switching, may take

enum peri_reload_state {
    PERI_RELOADING_IDLE,
    PERI_RELOADING_CHECKING,
    PERI_RELOADING_BUILDING,
    PERI_RELOADING_CANARY,
    PERI_RELOADING_SWITCHING,
    PERI_RELOADING_COUNT
};

#define PERI_RELOAD_CANARY_MS 100 ///< between two questions about a canary

struct peri_reload_ops {
    /// Starts to check the candidate (for a rollback: files that were accepted before); peri_reload_checked is called later.
    /// False when it cannot.
    bool (*check)(void *data, bool is_rollback);
    /// Orders every live worker to build the candidate and sets members[its index].
    void (*build)(void *data, bool members[PERI_SHM_WORKERS_MAX]);
    /// Every member has built the candidate: sends it its share of the exchanges. False when none is wanted.
    bool (*canary)(void *data);
    /// What is to become of the canary? With PERI_CANARY_GIVE_UP *errors says why (malloc'ed).
    enum peri_canary_verdict (*judge)(void *data, char **errors);
    /// The candidate is the current generation from now on: every live worker, all of them members, is ordered to switch.
    void (*commit)(void *data);
    /// Every worker drops the candidate, and so does the supervisor.
    void (*discard)(void *data);
    /// Kills a worker that does not switch.
    void (*kill)(void *data, uint32_t worker);
    /// The transaction has ended. `errors` (app/errors.h) is NULL after success and borrowed for the call. Called last: a
    /// new transaction may start inside.
    void (*done)(void *data, enum peri_reload_result result, const char *errors);
};

struct peri_reload {
    struct peri_loop *loop; ///< borrowed
    const struct peri_reload_ops *ops;
    void *data;
    enum peri_reload_state state;
    bool is_rollback;
    bool is_stopped;                    ///< the canary is given up because somebody wants it
    bool members[PERI_SHM_WORKERS_MAX]; ///< workers that take part
    bool waits[PERI_SHM_WORKERS_MAX];   ///< members that have not answered in this state
    struct peri_timer timer;
};

/// Prepares a transaction that is idle. Borrows everything.
void peri_reload_init(struct peri_reload *reload, struct peri_loop *loop, const struct peri_reload_ops *ops,
                      void *data);

/// Ends a transaction that is under way without a word (the process ends).
void peri_reload_close(struct peri_reload *reload);

/// Is a transaction under way?
bool peri_reload_is_busy(const struct peri_reload *reload);

/// Starts a transaction: from the files, or with `is_rollback` from what was accepted before. False when one is under way, or
/// when the check cannot be started.
bool peri_reload_start(struct peri_reload *reload, bool is_rollback);

/// The check has ended; `errors` (taken) is NULL when the candidate is accepted.
void peri_reload_checked(struct peri_reload *reload, char *errors);

/// A worker has built the candidate, or could not: `errors` (borrowed) is NULL when it is ready.
void peri_reload_built(struct peri_reload *reload, uint32_t worker, const char *errors);

/// A worker has switched.
void peri_reload_switched(struct peri_reload *reload, uint32_t worker);

/// In CANARY a worker that has been started was ordered to build the candidate too.
void peri_reload_joined(struct peri_reload *reload, uint32_t worker);

/// Gives the canary that is on up, from the loop.
void peri_reload_stop(struct peri_reload *reload);

/// A worker has ended.
void peri_reload_lost(struct peri_reload *reload, uint32_t worker);

/// Name of a state, for /status: "idle", "checking", "building", "canary", "switching".
const char *peri_reload_state_name(enum peri_reload_state state);

#endif
