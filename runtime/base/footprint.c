// SPDX-License-Identifier: MIT
// Reads numbers from /proc and from the cgroup's folder.
#include "base/footprint.h"

#include <dirent.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <sys/resource.h>

#ifdef PERI_SANITIZE
void __sanitizer_purge_allocator(void); // of a header that not every compiler brings
#endif

#define CGROUP_ROOT "/sys/fs/cgroup"
#define TEXT_MAX 8192

// What is in the file now; its end is a zero.
static struct peri_slice read_again(int fd, char *text, size_t size)
{
    ssize_t n = fd >= 0 ? pread(fd, text, size - 1, 0) : -1;
    text[n > 0 ? n : 0] = '\0';
    return peri_slice(text, n > 0 ? (size_t)n : 0);
}

static uint64_t read_number(int fd)
{
    char text[32];
    read_again(fd, text, sizeof(text));
    return strtoull(text, NULL, 10); // "max" is none: 0
}

static int open_in(struct peri_slice folder, const char *name)
{
    char path[512];
    int len = snprintf(path, sizeof(path), CGROUP_ROOT "%.*s/%s", (int)folder.len, folder.ptr, name);
    return len < (int)sizeof(path) ? open(path, O_RDONLY | O_CLOEXEC) : -1;
}

static uint64_t read_limit(struct peri_slice folder)
{
    int fd = open_in(folder, "memory.max");
    uint64_t limit = read_number(fd);
    if (fd >= 0)
        close(fd);
    return limit;
}

struct peri_slice peri_footprint_cgroup_path(struct peri_slice text)
{
    const struct peri_slice prefix = PERI_SLICE("0::");
    const char *at = text.ptr, *end = text.ptr + text.len;
    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        struct peri_slice line = peri_slice(at, (size_t)((newline ? newline : end) - at));
        if (peri_slice_starts(line, prefix))
            return peri_slice(line.ptr + prefix.len, line.len - prefix.len);
        at = line.ptr + line.len + 1;
    }
    return peri_slice("", 0);
}

static void open_cgroup(struct peri_footprint *footprint)
{
    char text[TEXT_MAX];
    int fd = open("/proc/self/cgroup", O_RDONLY | O_CLOEXEC);
    struct peri_slice folder = peri_footprint_cgroup_path(read_again(fd, text, sizeof(text)));
    if (fd >= 0)
        close(fd);
    footprint->cgroup_limit = folder.len > 0 ? read_limit(folder) : 0;
    if (footprint->cgroup_limit == 0)
        return;
    footprint->cgroup_current = open_in(folder, "memory.current");
    footprint->cgroup_stat = open_in(folder, "memory.stat");
}

void peri_footprint_open(struct peri_footprint *footprint)
{
    *footprint = (struct peri_footprint){.cgroup_current = -1, .cgroup_stat = -1};
    footprint->statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    open_cgroup(footprint);
}

static void close_file(int fd)
{
    if (fd >= 0)
        close(fd);
}

void peri_footprint_close(const struct peri_footprint *footprint)
{
    close_file(footprint->statm);
    close_file(footprint->cgroup_current);
    close_file(footprint->cgroup_stat);
}

uint64_t peri_footprint_memory(const struct peri_footprint *footprint)
{
    char text[128];
    unsigned long long size, resident, shared;
    read_again(footprint->statm, text, sizeof(text));
    if (sscanf(text, "%llu %llu %llu", &size, &resident, &shared) != 3 || resident < shared)
        return 0;
    return (resident - shared) * (uint64_t)sysconf(_SC_PAGESIZE);
}

uint64_t peri_footprint_stat(struct peri_slice text, struct peri_slice name)
{
    const char *at = text.ptr, *end = text.ptr + text.len;
    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        struct peri_slice line = peri_slice(at, (size_t)((newline ? newline : end) - at));
        if (peri_slice_starts(line, name) && line.len > name.len && line.ptr[name.len] == ' ')
            return strtoull(line.ptr + name.len, NULL, 10);
        at = line.ptr + line.len + 1;
    }
    return 0;
}

uint64_t peri_footprint_cgroup(const struct peri_footprint *footprint)
{
    char text[TEXT_MAX];
    uint64_t current = read_number(footprint->cgroup_current);
    struct peri_slice stat = read_again(footprint->cgroup_stat, text, sizeof(text));
    uint64_t files = peri_footprint_stat(stat, PERI_SLICE("inactive_file"));
    return current > files ? current - files : 0;
}

void peri_footprint_trim(void)
{
#ifdef PERI_SANITIZE
    __sanitizer_purge_allocator();
#else
    malloc_trim(0);
#endif
}

uint32_t peri_footprint_descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    uint32_t count = 0;
    if (!folder)
        return 0;
    for (const struct dirent *entry; (entry = readdir(folder));)
        count += entry->d_name[0] != '.';
    closedir(folder);
    return count - 1; // the folder's own
}

uint32_t peri_footprint_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur > UINT32_MAX)
        return UINT32_MAX;
    return (uint32_t)limit.rlim_cur;
}

void peri_footprint_raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit); // what does not work leaves it as it was
}
