// SPDX-License-Identifier: MIT
// The Lua files in spec/ and policies/ of a project: watched, and told apart from what they were, so that what an editor or a
// spec leaves beside them is no change.
#ifndef PERI_APP_DEV_FILES_H
#define PERI_APP_DEV_FILES_H

#include <stdint.h>

struct peri_dev_files;
struct peri_loop;

/// Watches nothing yet. Calls on_event(data) from the loop when something in the folders may have changed. `directory` (the
/// project's) is borrowed. NULL when out of memory.
struct peri_dev_files *peri_dev_files_new(struct peri_loop *loop, const char *directory, void (*on_event)(void *data),
                                          void *data);

/// Looks at all files, and watches the folders that are there now. A number that differs when a file was added, written or
/// removed.
uint64_t peri_dev_files_scan(struct peri_dev_files *files);

/// Ends watching; NULL is fine.
void peri_dev_files_free(struct peri_dev_files *files);

#endif
