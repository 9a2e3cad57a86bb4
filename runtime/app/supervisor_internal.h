// SPDX-License-Identifier: MIT
// What the files of the supervisor share; nobody else includes this.
#ifndef PERI_APP_SUPERVISOR_INTERNAL_H
#define PERI_APP_SUPERVISOR_INTERNAL_H

#include "app/chronicle.h"
#include "app/history.h"
#include "app/listeners.h"
#include "app/reload.h"
#include "app/supervisor.h"
#include "event/loop.h"
#include "event/tls_tickets.h"

struct peri_admin;
struct peri_check;
struct peri_check_result;
struct peri_children;
struct peri_dev;
struct peri_link;
struct peri_listening;
struct peri_recording;
struct peri_signal;
struct peri_watcher;
struct peri_workers;
struct peri_workers_ops;

#define PERI_SUPERVISOR_SIGNALS 3 ///< SIGTERM, SIGINT, SIGHUP

/// The canary that is on.
struct peri_supervisor_canary {
    uint64_t began_ms; ///< loop time
    uint32_t deaths;   ///< workers that ended since
};

/// Requests for an explanation that workers have not answered.
struct peri_supervisor_explanations {
    struct peri_list waiters; ///< peri_explain_waiter
    uint64_t last_id;
};

/// The admin interface, and what it waits for. Both pointers are NULL where there is none.
struct peri_supervisor_admin {
    struct peri_listening *socket;
    struct peri_admin *interface;
    struct peri_supervisor_explanations explanations;
};

struct peri_supervisor {
    const struct peri_supervisor_options *options;
    enum peri_supervisor_state state;
    int status; ///< exit status
    uint64_t started_ms;
    struct peri_loop *loop;
    struct peri_shm *shm;
    struct peri_tls_ticket_rotation tickets;
    struct peri_children *children;
    struct peri_workers *workers;
    struct peri_listeners listeners;
    struct peri_history history;
    struct peri_chronicle chronicle;
    struct peri_chronicle_entry *entry; ///< of the attempt under way; NULL for none
    struct peri_check *check;           ///< under way; NULL for none
    struct peri_reload reload;
    struct peri_edition *candidate; ///< owned; of the reload under way
    struct peri_supervisor_canary canary;
    struct peri_defer revive; ///< a rollback's candidate waits to be prepared
    struct peri_reload_waiter *waiter;
    bool wants_reload;            ///< a signal or a change of files asked for one while another was under way
    struct peri_watcher *watcher; ///< NULL unless the configuration is watched
    struct peri_dev *dev;         ///< NULL unless this is `perigee dev`
    struct peri_supervisor_admin admin;
    struct peri_recording *recording; ///< NULL when nothing is recorded
    struct peri_signal *signals[PERI_SUPERVISOR_SIGNALS];
};

/// Calls of the workers, with the supervisor as data (supervisor_workers.c).
extern const struct peri_workers_ops peri_supervisor_workers_ops;

/// Changes the state; asserts that the change is legal.
void peri_supervisor_set_state(struct peri_supervisor *supervisor, enum peri_supervisor_state state);

/// Ends the process with `status` after this turn of the loop.
void peri_supervisor_stop(struct peri_supervisor *supervisor, int status);

/// Starts to load the configuration for the first time. False when the system refuses.
bool peri_supervisor_load(struct peri_supervisor *supervisor);

/// Tells on stderr why the process does not start.
void peri_supervisor_refuse(struct peri_supervisor *supervisor, const char *errors);

/// peri_edition_new, under the settings of `perigee dev` where that runs.
struct peri_edition *peri_supervisor_make_edition(struct peri_supervisor *supervisor, struct peri_check_result *result,
                                                  char **errors);

/// Prepares what reloads need in a supervisor that has a loop.
void peri_supervisor_init_reload(struct peri_supervisor *supervisor);

/// Reloads because of a signal or a change of files: now, or after the reload under way.
void peri_supervisor_reload_soon(struct peri_supervisor *supervisor);

/// A worker answered the request `id` for an explanation; a worker has ended: its requests get none (supervisor_explain.c).
void peri_supervisor_explained(struct peri_supervisor *supervisor, uint64_t id, struct peri_slice answer);
void peri_supervisor_unexplained(struct peri_supervisor *supervisor, uint32_t worker);

/// Watches the files of `snapshot`, or nothing when the current configuration does not want it.
void peri_supervisor_watch(struct peri_supervisor *supervisor, struct peri_snapshot *snapshot);

/// Sends the candidate its share of the exchanges; false when its configuration wants no canary (supervisor_canary.c, as the
/// next three). `data` is the supervisor.
bool peri_supervisor_canary(void *data);

/// What is to become of the canary that is on; *errors is malloc'ed when it is given up. `data` is the supervisor.
enum peri_canary_verdict peri_supervisor_judge_canary(void *data, char **errors);

/// A worker that was started while a canary is on gets the candidate too.
void peri_supervisor_join_canary(struct peri_supervisor *supervisor, struct peri_link *link);

/// Tells whoever waits for the reload that a canary is on.
void peri_supervisor_tell_canary(struct peri_supervisor *supervisor);

/// Ends a reload that is under way: whoever waits for it is told that the process ends.
void peri_supervisor_abandon_reload(struct peri_supervisor *supervisor);

#endif
