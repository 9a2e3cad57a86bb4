// SPDX-License-Identifier: MIT
// Processes made of this same binary. A child gets standard input, output and error and one end of a control socket, no
// other descriptor, and default signals; its end is told exactly once, and no zombie stays.
#ifndef PERI_APP_CHILD_H
#define PERI_APP_CHILD_H

#include <sys/types.h>

#include "base/err.h"
#include "base/list.h"

struct peri_children;
struct peri_loop;

/// A child; embedded in its owner, which lives at least until on_exit. Zero it before the start.
struct peri_child {
    struct peri_list link;
    pid_t pid;
    /// The process has ended with `status` as waitpid gives it. Called once, from the loop or from peri_children_free.
    void (*on_exit)(struct peri_child *child, int status);
};

/// Begins to listen to SIGCHLD. NULL when out of memory.
struct peri_children *peri_children_new(struct peri_loop *loop);

/// Kills and reaps the children that are left (their on_exit runs) and frees the set; NULL is fine.
void peri_children_free(struct peri_children *children);

/// Starts this binary with the arguments `args` (NULL-terminated, the name first) and `fd` (borrowed) as descriptor
/// PERI_CONTROL_CHILD_FD. PERI_ERR_SYSTEM with errno.
peri_err_t peri_child_start(struct peri_children *children, struct peri_child *child, const char *const *args, int fd);

/// Sends `signal` to a child that has not ended yet; no-op otherwise.
void peri_child_kill(const struct peri_child *child, int signal);

/// Writes how a process ended ("exit status 1", "signal 9 (Killed)") to `text`.
void peri_child_format_status(int status, char *text, size_t size);

#endif
