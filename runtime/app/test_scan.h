// SPDX-License-Identifier: MIT
// What specs are made of, as it stands on disk: the Lua, JSON and key files below some folders, in one number that changes when
// one of them does.
#ifndef PERI_APP_TEST_SCAN_H
#define PERI_APP_TEST_SCAN_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#define PERI_TEST_SCAN_DIRECTORIES 1024 ///< most folders looked at

struct peri_test_scan {
    uint64_t digest;       ///< of names, sizes and times
    uint64_t newest_ns;    ///< time of the file that was written last
    char newest[PATH_MAX]; ///< its path; "" when there is none
    unsigned directories;
    bool is_cut; ///< there are more folders than are looked at
};

/// The folder to walk for a word of the command line: the current one for "."; for a path that is not below it, that folder, or
/// the folder of that file. NULL for other words, and when out of memory. The caller's (free).
char *peri_test_scan_root(const char *word);

/// Walks the folders `roots`, but hidden ones and links. Calls on_directory(data, path) for each folder, the roots too.
void peri_test_scan(char *const *roots, unsigned count, struct peri_test_scan *scan,
                    void (*on_directory)(void *data, const char *path), void *data);

#endif
