// SPDX-License-Identifier: MIT
// A worker as the supervisor sees it: orders go down, answers come up, in the order in which they were given, whether the
// worker is another process (link_process.c) or this one (link_local.c). Orders do not wait for the answers of earlier
// ones: a fresh worker gets build and switch in one go.
#ifndef PERI_APP_LINK_H
#define PERI_APP_LINK_H

#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

struct peri_children;
struct peri_link;
struct peri_listen_plan;
struct peri_loop;
struct peri_recording_settings;
struct peri_server_dev;
struct peri_shm;
struct peri_snapshot;
struct peri_worker_settings;

struct peri_link_ops {
    /// Build generation `number` from `snapshot` (borrowed). Answered by on_ready or on_failed.
    void (*build)(struct peri_link *link, uint64_t number, struct peri_snapshot *snapshot);
    /// Switch to generation `number`; `fds` (borrowed) are the sockets of plan->add. Answered by on_switched when it was ready.
    void (*switch_to)(struct peri_link *link, uint64_t number, const struct peri_listen_plan *plan, const int *fds);
    /// Send `share` millionths of the exchanges to the candidate `number`, if it is ready. Not answered.
    void (*canary)(struct peri_link *link, uint64_t number, uint32_t share);
    /// Drop the candidate `number`. Not answered.
    void (*drop)(struct peri_link *link, uint64_t number);
    /// Explain the request `id` (JSON, borrowed) with the generation that answers. Answered by on_explained.
    void (*explain)(struct peri_link *link, uint64_t id, struct peri_slice request);
    /// Finish what is open, at most `ms`, and end. Answered by on_end.
    void (*drain)(struct peri_link *link, uint64_t ms);
    /// Record exchanges as `settings` (borrowed) say and send the lines to `fd` (borrowed); with NULL: stop. Not answered.
    void (*record)(struct peri_link *link, const struct peri_recording_settings *settings, int fd);
    /// End at once. Answered by on_end.
    void (*kill)(struct peri_link *link);
};

/// What a worker tells. All run from the loop, never from inside an order.
struct peri_link_events {
    void (*on_ready)(struct peri_link *link, uint64_t number);
    /// `errors` (app/errors.h) is borrowed for the call.
    void (*on_failed)(struct peri_link *link, uint64_t number, const char *errors);
    void (*on_switched)(struct peri_link *link, uint64_t number);
    /// `answer` (JSON, borrowed for the call) is what is to be told of the request `id`.
    void (*on_explained)(struct peri_link *link, uint64_t id, struct peri_slice answer);
    /// The worker has ended; `how` says it in words, borrowed for the call. The link is freed afterwards. Last event.
    void (*on_end)(struct peri_link *link, const char *how);
};

/// Base of both kinds.
struct peri_link {
    const struct peri_link_ops *ops;
    const struct peri_link_events *events;
    void *data;     ///< the owner's
    uint32_t index; ///< of the worker
};

struct peri_link_options {
    struct peri_loop *loop;                      ///< borrowed
    struct peri_shm *shm;                        ///< borrowed
    struct peri_children *children;              ///< borrowed; for processes only
    const struct peri_worker_settings *settings; ///< borrowed for the call
    const struct peri_server_dev *dev;           ///< borrowed; for local links only; NULL unless this is `perigee dev`
    const struct peri_link_events *events;       ///< borrowed
    void *data;                                  ///< borrowed
    uint32_t index;
};

/// Starts a worker process. NULL when the system refuses (logged).
struct peri_link *peri_link_open_process(const struct peri_link_options *options);

/// Starts a worker inside this process. NULL when memory is out or the VM cannot start (logged).
struct peri_link *peri_link_open_local(const struct peri_link_options *options);

#endif
