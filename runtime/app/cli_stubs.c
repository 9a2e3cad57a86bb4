// SPDX-License-Identifier: MIT
// `perigee stubs [DIR]`: writes what lua-language-server needs to know the SDK, the configuration and the test kit: declarations
// from the binary (tools/templates/stubs/) into DIR/.perigee/stubs/, which is ours, and DIR/.luarc.json, which is the user's
// once it is there.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/cli.h"
#include "app/files.h"
#include "base/assert.h"
#include "base/embed.h"

#define SOURCE "tools/templates/stubs/"
#define SETTINGS "luarc.json"

// Writes one file of the binary. `flags` as of open(2).
static bool write_file(const struct peri_embed *file, char *path, int flags)
{
    int fd = peri_files_make_parents(path) ? open(path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0666) : -1;
    FILE *out = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (!out)
        return false;
    bool is_written = fwrite(file->data, 1, file->len, out) == file->len;
    return fclose(out) == 0 && is_written;
}

static bool refuse(const char *path)
{
    peri_cli_error("%s cannot be written: %s", path, strerror(errno));
    return false;
}

static bool write_stubs(const char *folder)
{
    char path[PATH_MAX];
    unsigned count = 0;
    for (size_t i = 0; i < peri_embed_count; i++) {
        const struct peri_embed *file = &peri_embed_files[i];
        if (strncmp(file->path, SOURCE, strlen(SOURCE)) != 0 || strcmp(file->path, SOURCE SETTINGS) == 0)
            continue;
        snprintf(path, sizeof(path), "%s/.perigee/stubs/%s", folder, file->path + strlen(SOURCE));
        if (!write_file(file, path, O_TRUNC | O_NOFOLLOW))
            return refuse(path);
        count++;
    }
    printf("%swritten%s %s/.perigee/stubs (%u files; run this again after an update)\n", peri_cli_color(stdout, "32"),
           peri_cli_color(stdout, "0"), folder, count);
    return true;
}

static bool write_settings(const char *folder)
{
    char path[PATH_MAX];
    const struct peri_embed *file = peri_embed_find(SOURCE SETTINGS);
    peri_assert(file != NULL);
    snprintf(path, sizeof(path), "%s/.luarc.json", folder);
    if (write_file(file, path, O_EXCL)) {
        printf("%screated%s %s\n", peri_cli_color(stdout, "32"), peri_cli_color(stdout, "0"), path);
        return true;
    }
    if (errno != EEXIST)
        return refuse(path);
    printf("%s is there already and stays as it is. It needs:\n"
           "  \"runtime.version\": \"LuaJIT\", \"workspace.library\": [\".perigee/stubs\"]\n",
           path);
    return true;
}

int peri_cli_stubs(int argc, char **argv)
{
    const char *folder = argc > 1 ? argv[1] : ".";
    if (folder[0] == '-')
        return peri_cli_usage(argv[0], "there is no option '%s'", folder);
    if (argc > 2)
        return peri_cli_usage(argv[0], "'%s' is one argument too many", argv[2]);
    if (folder[0] == '\0' || strlen(folder) > PATH_MAX / 2)
        return peri_cli_usage(argv[0], "where to? Name a folder, or nothing for this one");
    return write_stubs(folder) && write_settings(folder) ? PERI_EXIT_OK : PERI_EXIT_FAILED;
}
