// SPDX-License-Identifier: MIT
// A walk through folders. The digests of the files are added up, so that their order does not matter.
#include "app/test_scan.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/assert.h"

#define DEPTH_MAX 12

struct walk {
    struct peri_test_scan *scan;
    void (*on_directory)(void *data, const char *path);
    void *data;
};

static bool is_relevant(const char *name)
{
    static const char *const endings[] = {".lua", ".json", ".pem", ".key", ".crt"};
    size_t len = strlen(name);
    for (unsigned i = 0; i < PERI_COUNT(endings); i++) {
        size_t end = strlen(endings[i]);
        if (len > end && strcmp(name + len - end, endings[i]) == 0)
            return true;
    }
    return false;
}

// FNV-1a.
static uint64_t hash(uint64_t seed, const void *data, size_t len)
{
    const unsigned char *bytes = data;
    for (size_t i = 0; i < len; i++)
        seed = (seed ^ bytes[i]) * 0x100000001b3u;
    return seed;
}

static void add_file(struct peri_test_scan *scan, const char *path, const struct stat *info)
{
    uint64_t ns = (uint64_t)info->st_mtim.tv_sec * 1000000000u + (uint64_t)info->st_mtim.tv_nsec;
    uint64_t digest = hash(0xcbf29ce484222325u, path, strlen(path));
    digest = hash(digest, &ns, sizeof(ns));
    digest = hash(digest, &info->st_size, sizeof(info->st_size));
    digest = hash(digest, &info->st_ino, sizeof(info->st_ino));
    scan->digest += digest;
    if (ns >= scan->newest_ns) {
        scan->newest_ns = ns;
        snprintf(scan->newest, sizeof(scan->newest), "%s", strncmp(path, "./", 2) == 0 ? path + 2 : path);
    }
}

static void visit(struct walk *walk, const char *path, int depth);

static void visit_entry(struct walk *walk, const char *folder, const char *name, int depth)
{
    char path[PATH_MAX];
    struct stat info;
    int len = snprintf(path, sizeof(path), "%s/%s", folder, name);
    if (len < 0 || len >= (int)sizeof(path) || lstat(path, &info) != 0)
        return;
    if (S_ISDIR(info.st_mode))
        visit(walk, path, depth + 1);
    else if (S_ISREG(info.st_mode) && is_relevant(name))
        add_file(walk->scan, path, &info);
}

static void visit(struct walk *walk, const char *path, int depth)
{
    if (depth > DEPTH_MAX || walk->scan->directories == PERI_TEST_SCAN_DIRECTORIES) {
        walk->scan->is_cut = true;
        return;
    }
    DIR *folder = opendir(path);
    if (!folder)
        return;
    walk->scan->directories++;
    walk->on_directory(walk->data, path);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;)
        if (entry->d_name[0] != '.')
            visit_entry(walk, path, entry->d_name, depth);
    closedir(folder);
}

static bool is_below_here(const char *path)
{
    return path[0] != '/' && path[0] != '.';
}

char *peri_test_scan_root(const char *word)
{
    struct stat info;
    if (is_below_here(word) || stat(word, &info) != 0)
        return NULL;
    char *root = strdup(word);
    char *slash = root && !S_ISDIR(info.st_mode) ? strrchr(root, '/') : NULL;
    if (slash)
        slash[slash == root] = '\0'; // the folder of a file
    return root;
}

void peri_test_scan(char *const *roots, unsigned count, struct peri_test_scan *scan,
                    void (*on_directory)(void *data, const char *path), void *data)
{
    struct walk walk = {scan, on_directory, data};
    *scan = (struct peri_test_scan){0};
    for (unsigned i = 0; i < count; i++)
        visit(&walk, roots[i], 0);
}
