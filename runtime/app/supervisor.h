// SPDX-License-Identifier: MIT
// The process that the operator starts: loads the configuration, opens the listeners, keeps the workers, drives reloads and
// answers the admin interface. With one local worker it is the single process; nothing else differs.
//
//   LOADING --accepted--> STARTING --all serve--> SERVING --SIGTERM, /drain--> DRAINING --nobody left--> STOPPED
//      |                     |                                                    | second signal: at once
//      +--- refused, signal -+--------------------------------------------------------------> STOPPED
#ifndef PERI_APP_SUPERVISOR_H
#define PERI_APP_SUPERVISOR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "base/slice.h"
#include "event/timer.h"
#include "shared/metrics.h"

struct peri_canary_case;
struct peri_chronicle;
struct peri_edition;
struct peri_history;
struct peri_recording_settings;
struct peri_recording_sink;
struct peri_shm;
struct peri_supervisor;

enum peri_supervisor_state {
    PERI_SUPERVISOR_LOADING,
    PERI_SUPERVISOR_STARTING,
    PERI_SUPERVISOR_SERVING,
    PERI_SUPERVISOR_DRAINING,
    PERI_SUPERVISOR_STOPPED,
    PERI_SUPERVISOR_COUNT
};

struct peri_supervisor_options {
    const char *file; ///< the configuration; borrowed
    const char *role; ///< default of the setting "role": "gateway" or "sidecar"; borrowed
    bool is_dev;      ///< `perigee dev`: one process, for people, that starts whatever the files hold
};

/// Result of peri_supervisor_run besides exit statuses, in `perigee dev` only: run again, a setting changed that needs it.
#define PERI_SUPERVISOR_AGAIN (-1)

/// How a reload or rollback ended.
struct peri_reload_outcome {
    enum peri_reload_result result;
    uint64_t generation; ///< that answers now
    uint64_t canary;     ///< number of the generation that is tried from now on; 0: none
    const char *errors;  ///< list of errors (app/errors.h), borrowed for the call; NULL after success
};

/// Who waits for a reload; embedded in its owner.
struct peri_reload_waiter {
    /// Called once from the loop.
    void (*on_done)(struct peri_reload_waiter *waiter, const struct peri_reload_outcome *outcome);
};

/// Who waits for an explanation; embedded in its owner.
struct peri_explain_waiter {
    struct peri_list link; ///< among the waiters
    struct peri_timer timer;
    uint64_t id;
    uint32_t worker;
    /// Called once from the loop: JSON (proxy/explain.h), borrowed for the call; ptr is NULL when the worker has ended, or does not answer.
    void (*on_done)(struct peri_explain_waiter *waiter, struct peri_slice answer);
};

/// Runs until a signal or /drain ends it. Returns the exit status: 0, or 1 when it could not start (errors on stderr); or
/// PERI_SUPERVISOR_AGAIN.
int peri_supervisor_run(const struct peri_supervisor_options *options);

/// Starts a reload from the files. It is told once the canary is on, when there is one. `waiter` (borrowed until on_done or peri_supervisor_forget; may be NULL) is told.
/// PERI_ERR_AGAIN while another is under way, PERI_ERR_DRAINING when the process starts or ends, PERI_ERR_SYSTEM when
/// the check cannot be started.
peri_err_t peri_supervisor_reload(struct peri_supervisor *supervisor, struct peri_reload_waiter *waiter);

/// Goes back to generation `number`, or with 0 to the one before; while a canary is on, 0 gives that up instead. Errors as peri_supervisor_reload, and PERI_ERR_NOT_FOUND
/// when it is not kept.
peri_err_t peri_supervisor_rollback(struct peri_supervisor *supervisor, uint64_t number,
                                    struct peri_reload_waiter *waiter);

/// The waiter is not told any more.
void peri_supervisor_forget(struct peri_supervisor *supervisor, struct peri_reload_waiter *waiter);

/// Lets every worker record exchanges and gives the lines to `sink` (borrowed until the end). PERI_ERR_AGAIN while another recording
/// is under way, PERI_ERR_DRAINING when the process starts or ends, PERI_ERR_SYSTEM.
peri_err_t peri_supervisor_record(struct peri_supervisor *supervisor, const struct peri_recording_settings *settings,
                                  struct peri_recording_sink *sink);

/// The sink takes lines again.
void peri_supervisor_record_resume(struct peri_supervisor *supervisor);

/// Ends the recording, if there is one.
void peri_supervisor_record_stop(struct peri_supervisor *supervisor);

/// Lets a worker explain `request` (JSON, borrowed for the call). `waiter` (borrowed until on_done or
/// peri_supervisor_forget_explain) is told. PERI_ERR_DRAINING when no worker serves.
peri_err_t peri_supervisor_explain(struct peri_supervisor *supervisor, struct peri_slice request,
                                   struct peri_explain_waiter *waiter);

/// The waiter is not told any more.
void peri_supervisor_forget_explain(struct peri_explain_waiter *waiter);

/// Begins to drain, as SIGTERM does.
void peri_supervisor_drain(struct peri_supervisor *supervisor);

/// Present state.
enum peri_supervisor_state peri_supervisor_state(const struct peri_supervisor *supervisor);

/// Name of a state, for /status: "loading", "starting", "serving", "draining", "stopped".
const char *peri_supervisor_state_name(enum peri_supervisor_state state);

/// Name of the state of the reload under way: "idle" …
const char *peri_supervisor_reload_state(const struct peri_supervisor *supervisor);

/// What the judge of the canary that is on would be told now; false when none is.
bool peri_supervisor_canary_case(const struct peri_supervisor *supervisor, struct peri_canary_case *c);

/// Milliseconds since the canary that is on began.
uint64_t peri_supervisor_canary_ms(const struct peri_supervisor *supervisor);

/// The candidate of the reload under way; NULL when there is none. Borrowed.
const struct peri_edition *peri_supervisor_candidate(const struct peri_supervisor *supervisor);

/// What was tried and what became of it; borrowed.
const struct peri_chronicle *peri_supervisor_chronicle(const struct peri_supervisor *supervisor);

/// The generations that can serve; borrowed.
const struct peri_history *peri_supervisor_history(const struct peri_supervisor *supervisor);

/// The shared memory; borrowed.
struct peri_shm *peri_supervisor_shm(const struct peri_supervisor *supervisor);

/// Milliseconds since the process began.
uint64_t peri_supervisor_uptime_ms(const struct peri_supervisor *supervisor);

/// Number of listeners that are open, and the real address of one of them (borrowed until the next reload).
uint32_t peri_supervisor_listener_count(const struct peri_supervisor *supervisor);
const char *peri_supervisor_listener(const struct peri_supervisor *supervisor, uint32_t index);

#endif
