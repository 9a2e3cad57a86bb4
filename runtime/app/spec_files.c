// SPDX-License-Identifier: MIT
// Walks the two folders.
#include "app/spec_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/slice.h"

static peri_err_t walk(struct peri_spec_files *files, int parent, const char *name, const char *path, int depth);

static bool is_spec(const char *name)
{
    struct peri_slice end = PERI_SLICE("_spec.lua");
    size_t len = strlen(name);
    return len > end.len && memcmp(name + len - end.len, end.ptr, end.len) == 0;
}

// Takes `path`.
static peri_err_t add(struct peri_spec_files *files, char *path)
{
    if (files->count == PERI_SPEC_FILES) {
        free(path);
        return PERI_ERR_LIMIT;
    }
    files->paths[files->count++] = path;
    return PERI_OK;
}

static peri_err_t visit(struct peri_spec_files *files, int directory, const char *name, const char *parent, int depth)
{
    struct stat info, target;
    char *path;
    if (name[0] == '.' || fstatat(directory, name, &info, AT_SYMLINK_NOFOLLOW) != 0)
        return PERI_OK; // gone already
    if (asprintf(&path, "%s/%s", parent, name) < 0)
        return PERI_ERR_NOMEM;
    bool is_file = fstatat(directory, name, &target, 0) == 0 && S_ISREG(target.st_mode);
    if (is_file && is_spec(name))
        return add(files, path);
    peri_err_t err = S_ISDIR(info.st_mode) ? walk(files, directory, name, path, depth + 1) : PERI_OK;
    free(path);
    return err;
}

static peri_err_t walk(struct peri_spec_files *files, int parent, const char *name, const char *path, int depth)
{
    if (depth > PERI_SPEC_DEPTH)
        return PERI_ERR_LIMIT;
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = fd >= 0 ? fdopendir(fd) : NULL;
    if (!directory) {
        bool is_absent = errno == ENOENT || errno == ENOTDIR;
        if (fd >= 0)
            close(fd);
        return is_absent ? PERI_OK : PERI_ERR_SYSTEM;
    }
    peri_err_t err = PERI_OK;
    struct dirent *entry;
    while (err == PERI_OK && (entry = readdir(directory)) != NULL)
        err = visit(files, dirfd(directory), entry->d_name, path, depth);
    closedir(directory);
    return err;
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

peri_err_t peri_spec_files_find(const char *directory, struct peri_spec_files *files)
{
    *files = (struct peri_spec_files){.paths = calloc(PERI_SPEC_FILES, sizeof(char *))};
    if (!files->paths)
        return PERI_ERR_NOMEM;
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return PERI_ERR_SYSTEM;
    peri_err_t err = walk(files, fd, "policies", "policies", 0);
    if (err == PERI_OK)
        err = walk(files, fd, "spec", "spec", 0);
    close(fd);
    qsort(files->paths, files->count, sizeof(char *), compare);
    return err;
}

void peri_spec_files_close(struct peri_spec_files *files)
{
    for (uint32_t i = 0; i < files->count; i++)
        free(files->paths[i]);
    free(files->paths);
    *files = (struct peri_spec_files){0};
}
