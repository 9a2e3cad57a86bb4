// SPDX-License-Identifier: MIT
// What the commands that write files share.
#ifndef PERI_APP_FILES_H
#define PERI_APP_FILES_H

#include <stdbool.h>

/// Makes the folders that lead to the file `path`, whose text is changed meanwhile and the same afterwards. False with errno.
bool peri_files_make_parents(char *path);

#endif
