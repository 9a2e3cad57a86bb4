// SPDX-License-Identifier: MIT
// Evaluates a configuration without running it. The supervisor and the single process do it in a child of the same binary,
// so that a configuration that loops, crashes or eats memory hurts nobody, and runs its specs there if it says so; `perigee
// check` does it in its own process, without specs.
//
//   peri_check_start --spawns--> peri_check_child --ACCEPTED | REFUSED, snapshot--> on_done
//                                crash, silence until the limit --------------------> on_done with errors
#ifndef PERI_APP_CHECK_H
#define PERI_APP_CHECK_H

#include <stdbool.h>
#include <stdint.h>

struct peri_check;
struct peri_children;
struct peri_loop;
struct peri_snapshot;

#define PERI_CHECK_MS 5000 ///< time a check may take

/// What is told when a check takes longer.
#define PERI_CHECK_LATE                                                                                                \
    "loading the configuration takes longer than 5 s; is there an endless loop at the top level of a file?"

/// What is checked.
struct peri_check_options {
    const char *file; ///< path of the configuration; borrowed as long as the check runs
    const char *role; ///< default of the setting "role": "gateway" or "sidecar"; borrowed likewise
    /// Where the specs that run are told (app/gate.h); NULL: they are not run, whatever the configuration says.
    void (*on_spec)(const char *spec, uint64_t limit_ms);
    bool is_dev;      ///< for `perigee dev` and what serves nobody: the certificate for development will do
    const char *text; ///< taken for the text of the file by peri_check_run; NULL: it is read
};

/// What a check found. The receiver owns the members and frees them with peri_check_result_close.
struct peri_check_result {
    struct peri_snapshot *snapshot; ///< the files that were asked for; may be NULL when refused
    char *config;                   ///< normalised configuration; NULL when refused
    char *errors;                   ///< list of errors (app/errors.h); NULL when accepted
    uint64_t test_ms;               ///< time that its specs have, when the configuration wants them run; 0: it does not
};

/// Starts a check that takes at most PERI_CHECK_MS, and the time of its specs more when the configuration wants them run. Calls on_done(data, result) exactly once from the loop, unless cancelled.
/// NULL when the child cannot be started (logged). The check frees itself.
struct peri_check *peri_check_start(struct peri_loop *loop, struct peri_children *children,
                                    const struct peri_check_options *options,
                                    void (*on_done)(void *data, struct peri_check_result *result), void *data);

/// Ends a check whose on_done has not been called; it is not called any more.
void peri_check_cancel(struct peri_check *check);

/// Evaluates in this process. The result's owner is the caller.
void peri_check_run(const struct peri_check_options *options, struct peri_check_result *result);

/// Main function of the child: evaluates and answers on the control socket. Returns the exit status.
int peri_check_child(const struct peri_check_options *options);

/// Frees the members of a result that were not taken (taken ones are set to NULL by the taker).
void peri_check_result_close(struct peri_check_result *result);

#endif
