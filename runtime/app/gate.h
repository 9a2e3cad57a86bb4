// SPDX-License-Identifier: MIT
// The specs of a configuration as a condition of its serving (reload.test). Runs in the process that checks it, which may loop or
// crash in them: the supervisor is told which spec runs, and kills it when its time is over.
#ifndef PERI_APP_GATE_H
#define PERI_APP_GATE_H

#include <stdint.h>

#include "base/slice.h"

struct peri_json;
struct peri_source;

/// What is told of the spec that runs when they take too long.
#define PERI_GATE_LATE "did not end within the time that all specs have (reload.test_timeout)"

struct peri_gate_options {
    const char *directory;            ///< of the configuration; becomes the current one
    const struct peri_source *source; ///< every file is read from here
    /// A spec begins: `spec` is a JSON object {file, line, name}; "{}" before the first one. Borrowed for the call.
    void (*on_running)(const char *spec, uint64_t limit_ms);
    uint64_t limit_ms; ///< the time they have; whoever is told holds it
};

/// Runs every spec of the configuration. NULL when all passed; otherwise a list of errors (app/errors.h).
char *peri_gate_run(const struct peri_gate_options *options);

/// The list of one error for specs that were broken off while `spec` (as on_running got it) ran: `how` says why.
char *peri_gate_broken_off(const char *spec, const char *how);

#endif
