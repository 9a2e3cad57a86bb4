// SPDX-License-Identifier: MIT
// The folders that specs are made of, watched. An event only says that it is time to look, once there have been no others for a
// moment; what decides is test_scan.h, so that what an editor or a spec leaves beside the files is no change.
#ifndef PERI_APP_TEST_FOLDERS_H
#define PERI_APP_TEST_FOLDERS_H

#include <stdint.h>

struct peri_loop;
struct peri_test_folders;
struct peri_test_scan;

struct peri_test_folders_options {
    struct peri_loop *loop; ///< borrowed
    char *const *roots;     ///< borrowed; what lies below them is watched
    unsigned count;
    unsigned quiet_ms;            ///< how long nothing must have happened
    void (*on_quiet)(void *data); ///< it is time to look; from the loop
    void *data;
};

/// Watches nothing before the first look. `options` is copied. NULL when out of memory.
struct peri_test_folders *peri_test_folders_new(const struct peri_test_folders_options *options);

/// Watches the folders that there are now, then reads what is in them.
void peri_test_folders_look(struct peri_test_folders *folders, struct peri_test_scan *scan);

/// on_quiet is called, as after an event.
void peri_test_folders_look_soon(struct peri_test_folders *folders);

/// Ends watching; NULL is fine.
void peri_test_folders_free(struct peri_test_folders *folders);

#endif
