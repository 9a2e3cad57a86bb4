// SPDX-License-Identifier: MIT
// What was tried and what became of it: the generations that served, and the changes that were refused or given up, with the
// reason. Bounded; holds no snapshots (app/history.h does, for a rollback).
#ifndef PERI_APP_CHRONICLE_H
#define PERI_APP_CHRONICLE_H

#include <stdint.h>

#include "app/changes.h"
#include "base/list.h"
#include "codec/digest.h"

#define PERI_CHRONICLE_ENTRIES 64 ///< kept

struct peri_snapshot;

enum peri_chronicle_state {
    PERI_CHRONICLE_TRIED,       ///< under way
    PERI_CHRONICLE_CANARY,      ///< gets a share of the exchanges
    PERI_CHRONICLE_SERVES,      ///< answers now
    PERI_CHRONICLE_SUPERSEDED,  ///< answered until another took over
    PERI_CHRONICLE_REFUSED,     ///< has errors, or its specs fail
    PERI_CHRONICLE_FAILED,      ///< a worker ended or was too slow
    PERI_CHRONICLE_ROLLED_BACK, ///< was given up as a canary
    PERI_CHRONICLE_STATES
};

/// One attempt.
struct peri_chronicle_entry {
    struct peri_list link;
    enum peri_chronicle_state state;
    uint64_t number;                   ///< of the generation; 0: refused before it got one
    uint64_t before;                   ///< that it was to follow; 0: none
    uint64_t origin;                   ///< that a rollback brought back; 0: from files
    uint64_t made_ms;                  ///< wall clock
    uint32_t files;                    ///< paths of the snapshot
    char digest[PERI_DIGEST_TEXT + 1]; ///< "" without a snapshot
    char *reason;                      ///< owned; why it does not serve; NULL
    struct peri_changes changes;       ///< against the one before; empty without that
};

struct peri_chronicle {
    struct peri_list entries; ///< newest first
};

/// Makes it empty.
void peri_chronicle_init(struct peri_chronicle *chronicle);

/// Frees the entries.
void peri_chronicle_close(struct peri_chronicle *chronicle);

/// Notes an attempt, as PERI_CHRONICLE_TRIED: the snapshot `to` (NULL when there is none) against `from` (NULL for the first one) of
/// generation `before`. The entry is borrowed until PERI_CHRONICLE_ENTRIES follow (one that serves: as long as it does); NULL when out of memory.
struct peri_chronicle_entry *peri_chronicle_add(struct peri_chronicle *chronicle, uint64_t before,
                                                const struct peri_snapshot *from, const struct peri_snapshot *to);

/// Says what became of an entry; NULL is fine. `errors` (app/errors.h; NULL for none) is the reason. One that serves supersedes
/// the one that did.
void peri_chronicle_set(struct peri_chronicle *chronicle, struct peri_chronicle_entry *entry,
                        enum peri_chronicle_state state, const char *errors);

/// The entry of generation `number`, NULL when it is forgotten.
struct peri_chronicle_entry *peri_chronicle_find(const struct peri_chronicle *chronicle, uint64_t number);

/// Name of a state: "tried", "canary", "serving", "superseded", "refused", "failed", "rolled back".
const char *peri_chronicle_state_name(enum peri_chronicle_state state);

#endif
