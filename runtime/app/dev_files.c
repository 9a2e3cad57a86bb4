// SPDX-License-Identifier: MIT
// One watch for each folder, and a hash over names, sizes and times.
#include "app/dev_files.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/attr.h"
#include "event/watch.h"

#define DIRECTORIES 256 ///< most directories watched
#define DEPTH 8         ///< of directories below spec/ and policies/
#define PATH_SIZE 4096

struct peri_dev_files {
    struct peri_loop *loop;
    const char *directory;
    void (*on_event)(void *data);
    void *data;
    struct peri_watch *watches[DIRECTORIES];
    unsigned count;
};

struct peri_dev_files *peri_dev_files_new(struct peri_loop *loop, const char *directory, void (*on_event)(void *data),
                                          void *data)
{
    struct peri_dev_files *files = calloc(1, sizeof(*files));
    if (!files)
        return NULL;
    files->loop = loop;
    files->directory = directory;
    files->on_event = on_event;
    files->data = data;
    return files;
}

static uint64_t mix(uint64_t hash, const void *data, size_t len)
{
    const unsigned char *bytes = data;
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ bytes[i]) * 0x100000001b3ull; // FNV-1a
    return hash;
}

static void watch(struct peri_dev_files *files, const char *path)
{
    struct peri_watch *opened =
        files->count < DIRECTORIES ? peri_watch_open(files->loop, path, files->on_event, files->data) : NULL;
    if (opened)
        files->watches[files->count++] = opened;
}

static void unwatch(struct peri_dev_files *files)
{
    while (files->count > 0)
        peri_watch_close(files->watches[--files->count]);
}

// Watches `path` and what lies below it. Returns `hash` with every Lua file mixed in.
static uint64_t visit(struct peri_dev_files *files, const char *path, unsigned depth, uint64_t hash)
{
    struct dirent **entries = NULL;
    int count = depth < DEPTH ? scandir(path, &entries, NULL, alphasort) : 0;
    if (count > 0)
        watch(files, path);
    for (int i = 0; i < count; i++) {
        char child[PATH_SIZE];
        struct stat info;
        const char *dot = strrchr(entries[i]->d_name, '.');
        snprintf(child, sizeof(child), "%s/%s", path, entries[i]->d_name);
        bool is_there = entries[i]->d_name[0] != '.' && stat(child, &info) == 0;
        if (is_there && S_ISDIR(info.st_mode)) {
            hash = visit(files, child, depth + 1, hash);
        } else if (is_there && dot && strcmp(dot, ".lua") == 0) {
            hash = mix(hash, child, strlen(child));
            hash = mix(hash, &info.st_mtim, sizeof(info.st_mtim));
            hash = mix(hash, &info.st_size, sizeof(info.st_size));
        }
        free(entries[i]);
    }
    free(entries);
    return hash;
}

uint64_t peri_dev_files_scan(struct peri_dev_files *files)
{
    static const char *const names[] = {"spec", "policies"};
    uint64_t hash = 0xcbf29ce484222325ull;
    char path[PATH_SIZE];
    unwatch(files);
    watch(files, files->directory); // where those two may appear
    for (size_t i = 0; i < PERI_COUNT(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", files->directory, names[i]);
        hash = visit(files, path, 0, hash);
    }
    return hash;
}

void peri_dev_files_free(struct peri_dev_files *files)
{
    if (files)
        unwatch(files);
    free(files);
}
