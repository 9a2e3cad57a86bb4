// SPDX-License-Identifier: MIT
// Tells when a file or an entry of a directory changes.
#ifndef PERI_EVENT_WATCH_H
#define PERI_EVENT_WATCH_H

struct peri_loop;
struct peri_watch;

/// Calls on_change(data) from the loop when `path` (a file, or a directory: then its direct entries) is written, renamed,
/// created or removed. Does not keep the loop running. NULL when the path cannot be watched. Owned by the caller
/// (peri_watch_close).
struct peri_watch *peri_watch_open(struct peri_loop *loop, const char *path, void (*on_change)(void *data), void *data);

/// Ends the calls and frees the object on the loop's next turn; NULL is fine.
void peri_watch_close(struct peri_watch *watch);

#endif
