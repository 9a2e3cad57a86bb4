// SPDX-License-Identifier: MIT
// The workers of a supervisor: started, watched over by their heartbeats, replaced when they end. What a worker serves is
// told to it by the owner (`brief`); this only cares that there is one in every seat.
//
//   seat: empty --start--> starting --switched--> serving --end--> empty --back off--> starting …
#ifndef PERI_APP_WORKERS_H
#define PERI_APP_WORKERS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

struct peri_children;
struct peri_link;
struct peri_loop;
struct peri_server_dev;
struct peri_shm;
struct peri_workers;

/// What the owner is asked and told. All but `brief` run from the loop.
struct peri_workers_ops {
    /// A worker has been started: order it to build and to switch to the current generation.
    void (*brief)(void *data, struct peri_link *link);
    /// A worker built generation `number`; `errors` (borrowed) is NULL when it is ready.
    void (*on_built)(void *data, uint32_t worker, uint64_t number, const char *errors);
    /// A worker switched to generation `number`.
    void (*on_switched)(void *data, uint32_t worker, uint64_t number);
    /// A worker answered the request `id` for an explanation (JSON, borrowed).
    void (*on_explained)(void *data, uint64_t id, struct peri_slice answer);
    /// A worker has ended.
    void (*on_lost)(void *data, uint32_t worker);
    /// Every worker serves: for the first time.
    void (*on_serving)(void *data);
    /// A worker ended before all served for the first time. `errors` (borrowed) says why.
    void (*on_hopeless)(void *data, const char *errors);
    /// No worker is left, after a drain or a kill.
    void (*on_empty)(void *data);
};

struct peri_workers_options {
    struct peri_loop *loop;         ///< borrowed
    struct peri_shm *shm;           ///< borrowed; has a slot for each
    struct peri_children *children; ///< borrowed
    uint32_t count;
    bool is_local;                      ///< the one worker is this process
    uint64_t lua_memory;                ///< bytes of Lua heap of each
    uint64_t watchdog_ms;               ///< a worker without a heartbeat for this long is killed; 0: never
    const char *role;                   ///< default of the setting "role"; borrowed
    const struct peri_server_dev *dev;  ///< borrowed; NULL unless this is `perigee dev`, whose worker is local
    const struct peri_workers_ops *ops; ///< borrowed
    void *data;                         ///< borrowed
};

/// Makes the seats; nobody is started. NULL when out of memory.
struct peri_workers *peri_workers_new(const struct peri_workers_options *options);

/// Frees the seats; every worker has ended. NULL is fine.
void peri_workers_free(struct peri_workers *workers);

/// Starts a worker in every seat. A failure is told by on_hopeless.
void peri_workers_start(struct peri_workers *workers);

/// Calls each(data, link) for every worker that runs.
void peri_workers_each(struct peri_workers *workers, void (*each)(void *data, struct peri_link *link), void *data);

/// The link of worker `index`; NULL while it does not run.
struct peri_link *peri_workers_link(const struct peri_workers *workers, uint32_t index);

/// The link of a worker that serves; NULL when there is none.
struct peri_link *peri_workers_serving(const struct peri_workers *workers);

/// While held, no worker is started; those that wait are when the hold ends.
void peri_workers_hold(struct peri_workers *workers, bool is_held);

/// Lets the heartbeat of every worker that has one now pause until it has built something, at most for `ms`.
void peri_workers_excuse(struct peri_workers *workers, uint64_t ms);

/// Lets every worker finish what is open, at most `ms`, and end. Nobody is replaced from now on.
void peri_workers_drain(struct peri_workers *workers, uint64_t ms);

/// Ends every worker at once. Nobody is replaced from now on.
void peri_workers_kill(struct peri_workers *workers);

#endif
