// SPDX-License-Identifier: MIT
// Folders.
#include "app/files.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

bool peri_files_make_parents(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        bool is_there = mkdir(path, 0777) == 0 || errno == EEXIST;
        *slash = '/';
        if (!is_there)
            return false;
    }
    return true;
}
