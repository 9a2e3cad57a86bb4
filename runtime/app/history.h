// SPDX-License-Identifier: MIT
// The generations that were accepted, newest first: the current one and those kept for a rollback, each with the snapshot
// and the configuration it was made of.
#ifndef PERI_APP_HISTORY_H
#define PERI_APP_HISTORY_H

#include <stdint.h>

#include "base/list.h"
#include "base/slice.h"

struct peri_config;
struct peri_snapshot;

/// One generation.
struct peri_edition {
    struct peri_list link;
    uint64_t number;
    uint64_t made_ms;               ///< wall clock
    uint64_t origin;                ///< number of the generation that a rollback brought back; 0: from files
    struct peri_snapshot *snapshot; ///< one reference
    struct peri_config *config;     ///< owned
    char *text;                     ///< owned; the normalised configuration
};

struct peri_history {
    struct peri_list editions; ///< newest first; the first one is current
    uint64_t last_number;      ///< highest number ever given
};

/// Makes an empty history.
void peri_history_init(struct peri_history *history);

/// Frees every edition.
void peri_history_close(struct peri_history *history);

/// An edition with the next number, which is not in the history yet. `snapshot` and `text` are taken, also on failure; NULL
/// with a malloc'ed list of errors in *errors when the configuration cannot be used.
struct peri_edition *peri_edition_new(struct peri_history *history, struct peri_snapshot *snapshot, char *text,
                                      char **errors);

/// Frees an edition that is in no history; NULL is fine.
void peri_edition_free(struct peri_edition *edition);

/// Makes `edition` (taken) the current one and forgets all but the `keep` newest before it.
void peri_history_add(struct peri_history *history, struct peri_edition *edition, uint32_t keep);

/// The current edition; NULL when there is none.
struct peri_edition *peri_history_current(const struct peri_history *history);

/// The edition `number`, or with 0 the one that a rollback goes back to: the newest that is older than the current one (than
/// its origin, when it is a rollback itself) and differs from it. NULL when it is not kept.
struct peri_edition *peri_history_find(const struct peri_history *history, uint64_t number);

#endif
