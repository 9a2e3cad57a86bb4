// SPDX-License-Identifier: MIT
// Notices when the files of a snapshot are no longer what they were. Looks at directories, so that editors that replace a
// file are noticed too, waits until they are quiet, and then compares bytes, so that a change back is no change.
#ifndef PERI_APP_WATCHER_H
#define PERI_APP_WATCHER_H

struct peri_loop;
struct peri_snapshot;
struct peri_watcher;

#define PERI_WATCHER_QUIET_MS 200 ///< how long nothing must have happened

/// Watches nothing yet. Calls on_change(data) from the loop. `directory` is the configuration's (copied). NULL when out of
/// memory.
struct peri_watcher *peri_watcher_new(struct peri_loop *loop, const char *directory, void (*on_change)(void *data),
                                      void *data);

/// Watches the files of `snapshot` (referenced) from now on, instead of others.
void peri_watcher_set(struct peri_watcher *watcher, struct peri_snapshot *snapshot);

/// Ends watching. NULL is fine.
void peri_watcher_free(struct peri_watcher *watcher);

#endif
