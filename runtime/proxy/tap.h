// SPDX-License-Identifier: MIT
// Records exchanges while somebody listens: what came, what was decided, what went to the upstream and came back, as one line of
// JSON an exchange (docs/operations/record-replay.md). An exchange that is recorded gets calls of the tap in the place of the
// pipeline's own; the others never know. Where the lines go is the owner's matter.
#ifndef PERI_PROXY_TAP_H
#define PERI_PROXY_TAP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "proxy/mask.h"

struct peri_attempt_events;
struct peri_exchange;
struct peri_loop;
struct peri_tap;
struct peri_tap_record;

#define PERI_TAP_BODY_MAX (1024 * 1024)      ///< most bytes of one body that can be asked for
#define PERI_TAP_MEMORY (16u * 1024 * 1024)  ///< bytes of bodies that all records under way may hold
#define PERI_TAP_LINE_MAX (8u * 1024 * 1024) ///< bytes of the longest line; a longer one is dropped
#define PERI_TAP_RECORDS 1024                ///< records under way; beyond them exchanges are dropped
#define PERI_TAP_NAMES 32                    ///< names that whoever records may declare secret

struct peri_tap_options {
    double sample;                    ///< share of the exchanges that are recorded, 0 to 1
    uint64_t body_limit;              ///< bytes of each body that are kept
    bool keeps_credentials;           ///< nothing is masked
    unsigned char key[PERI_MASK_KEY]; ///< of the masks; the same in all workers
    uint64_t seed;                    ///< of the choice of exchanges; another one in each worker
    struct peri_slice names;          ///< declared secret: "header:NAME" …, separated by commas; copied
    /// A line without its newline, borrowed for the call; empty for an exchange that was dropped.
    void (*emit)(void *data, struct peri_slice line);
    void *data; ///< for `emit`
};

/// A tap that records exchanges that begin from now on. NULL when out of memory or a name is malformed.
struct peri_tap *peri_tap_open(struct peri_loop *loop, const struct peri_tap_options *options);

/// Ends it: nothing is emitted any more. Exchanges that are being recorded finish as they are. NULL is fine.
void peri_tap_close(struct peri_tap *tap);

/// An exchange of a listener begins, before anything was changed: records it, if it is chosen. x->forward is attached.
void peri_tap_begin(struct peri_tap *tap, struct peri_exchange *x);

/// What an attempt for a recorded exchange reports to, in the place of `events`, to which all is passed on.
const struct peri_attempt_events *peri_tap_attempt(struct peri_tap_record *record,
                                                   const struct peri_attempt_events *events);

#endif
