// SPDX-License-Identifier: MIT
// POST /record: an answer that lasts as long as its client stays, with one line for each exchange that is recorded
// (docs/operations/record-replay.md).
#ifndef PERI_APP_ADMIN_RECORD_H
#define PERI_APP_ADMIN_RECORD_H

#include <stdbool.h>

#include "app/recording.h"
#include "event/timer.h"

struct peri_exchange;
struct peri_supervisor;

/// The recording of an admin interface.
struct peri_admin_record {
    struct peri_supervisor *supervisor; ///< borrowed
    struct peri_loop *loop;             ///< borrowed
    struct peri_exchange *x;            ///< the request that gets it; NULL when nothing is recorded
    struct peri_recording_sink sink;
    struct peri_timer timer;
    bool is_full; ///< the client does not read
};

/// Nothing is recorded.
void peri_admin_record_init(struct peri_admin_record *record, struct peri_loop *loop,
                            struct peri_supervisor *supervisor);

/// Starts what the query of `x` asks for and begins its answer. 0, or the status of the refusal with a sentence in *detail.
int peri_admin_record_start(struct peri_admin_record *record, struct peri_exchange *x, const char **detail);

/// The client takes lines again.
void peri_admin_record_drain(struct peri_admin_record *record, const struct peri_exchange *x);

/// The client is gone. False when `x` is not the recording.
bool peri_admin_record_abort(struct peri_admin_record *record, struct peri_exchange *x);

#endif
