// SPDX-License-Identifier: MIT
// What serves traffic, seen by the processes: a server with its listeners and its heartbeat. A worker process is one of these driven over a control socket (worker_main.c); the single process drives
// its own (link_local.c).
#ifndef PERI_APP_WORKER_H
#define PERI_APP_WORKER_H

#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"
#include "proxy/mask.h"

struct peri_listen_plan;
struct peri_loop;
struct peri_server_dev;
struct peri_shm;
struct peri_snapshot;
struct peri_worker;

#define PERI_RECORDING_NAMES 1024 ///< bytes of the names that are declared secret, with the final zero

/// Settings that a worker keeps for its life; handed to worker processes as these bytes.
struct peri_worker_settings {
    uint64_t lua_memory; ///< bytes of Lua heap
    uint64_t beat_ms;    ///< time between two heartbeats, which also tell what the worker uses
    char role[16];       ///< default of the setting "role"
};

/// What is recorded; handed to worker processes as these bytes.
struct peri_recording_settings {
    double sample;       ///< share of the exchanges, 0 to 1
    uint64_t body_limit; ///< bytes of each body that are kept
    bool keeps_credentials;
    unsigned char key[PERI_MASK_KEY]; ///< of the masks
    char names[PERI_RECORDING_NAMES]; ///< "header:NAME" …, separated by commas, NUL-terminated
};

/// What a worker tells about its candidates.
struct peri_worker_events {
    /// Candidate `number` is ready: its upstreams that are discovered have been looked for, or the time for that is over. From the loop.
    void (*on_ready)(void *data, uint64_t number);
    /// Generation `number` serves. From the loop, or from inside peri_worker_switch and peri_worker_build.
    void (*on_switched)(void *data, uint64_t number);
};

struct peri_worker_options {
    struct peri_loop *loop;                      ///< borrowed
    struct peri_shm *shm;                        ///< borrowed
    uint32_t index;                              ///< of its slot in `shm`
    const struct peri_worker_settings *settings; ///< borrowed for the call
    const struct peri_server_dev *dev;           ///< borrowed; NULL unless this is `perigee dev`
    const struct peri_worker_events *events;     ///< borrowed
    void *data;                                  ///< for `events`
};

/// NULL when memory is out or the VM cannot start (logged).
struct peri_worker *peri_worker_new(const struct peri_worker_options *options);

/// Builds generation `number` from `snapshot` (borrowed for the call) as the candidate. PERI_OK: on_ready tells when it is ready; or
/// PERI_ERR_INVALID with a malloc'ed list of errors in *errors.
peri_err_t peri_worker_build(struct peri_worker *worker, uint64_t number, struct peri_snapshot *snapshot,
                             char **errors);

/// Makes candidate `number` current as soon as it is ready, then opens the plan's listeners on `fds` (taken, in the order of plan->add)
/// and closes those to be removed. A listener that cannot be opened is logged. Nothing is done when there is no such candidate.
void peri_worker_switch(struct peri_worker *worker, uint64_t number, const struct peri_listen_plan *plan,
                        const int *fds);

/// Sends `share` millionths of the exchanges to candidate `number`, if that is there, as soon as it is ready.
void peri_worker_canary(struct peri_worker *worker, uint64_t number, uint32_t share);

/// Drops candidate `number`, if that is there.
void peri_worker_drop(struct peri_worker *worker, uint64_t number);

/// Records exchanges as `settings` (borrowed) say and sends the lines to `fd` (taken); with NULL: stops.
void peri_worker_record(struct peri_worker *worker, const struct peri_recording_settings *settings, int fd);

/// Explains the request in `request` (JSON, borrowed for the call; proxy/explain.h). Calls on_done(data, id, answer) once from the loop:
/// JSON, borrowed for the call; { "refused": sentence } for what is no request.
void peri_worker_explain(struct peri_worker *worker, uint64_t id, struct peri_slice request,
                         void (*on_done)(void *data, uint64_t id, struct peri_slice answer), void *data);

/// Stops accepting and calls on_drained(data) once, when the last connection is gone or after `ms`.
void peri_worker_drain(struct peri_worker *worker, uint64_t ms, void (*on_drained)(void *data), void *data);

/// Closes everything at once. NULL is fine.
void peri_worker_free(struct peri_worker *worker);

#endif
