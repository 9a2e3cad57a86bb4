// SPDX-License-Identifier: MIT
//
// Looks up files that the build put into the binary. Knows nothing about Lua or about what the files mean.

#include "base/embed.h"

#include <stdlib.h>
#include <string.h>

static int compare_path(const void *key, const void *entry)
{
    return strcmp(key, ((const struct peri_embed *)entry)->path);
}

const struct peri_embed *peri_embed_find(const char *path)
{
    return bsearch(path, peri_embed_files, peri_embed_count, sizeof peri_embed_files[0], compare_path);
}
