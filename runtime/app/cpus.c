// SPDX-License-Identifier: MIT
// The affinity mask and the quotas of the cgroups this process is in.
#include "app/cpus.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CGROUP_ROOT "/sys/fs/cgroup"

static struct peri_slice read_small(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, size - 1) : -1;
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = '\0';
    return peri_slice(text, n > 0 ? (size_t)n : 0);
}

static uint32_t round_up(long long quota, long long period)
{
    if (quota <= 0 || period <= 0 || quota / period > 1000000)
        return 0;
    return (uint32_t)((quota + period - 1) / period);
}

uint32_t peri_cpus_quota(struct peri_slice text)
{
    char copy[64];
    long long quota, period;
    if (text.len >= sizeof(copy))
        return 0;
    memcpy(copy, text.ptr ? text.ptr : "", text.len);
    copy[text.len] = '\0';
    return sscanf(copy, "%lld %lld", &quota, &period) == 2 ? round_up(quota, period) : 0;
}

static uint32_t smaller(uint32_t count, uint32_t quota)
{
    return quota > 0 && quota < count ? quota : count;
}

// This process's place in the v2 hierarchy: the line "0::/path" of /proc/self/cgroup.
static void find_cgroup(char *path, size_t size)
{
    char text[4096];
    path[0] = '\0';
    read_small("/proc/self/cgroup", text, sizeof(text));
    const char *line = strncmp(text, "0::", 3) == 0 ? text : strstr(text, "\n0::");
    if (!line)
        return;
    line = strchr(line, '/');
    if (line)
        snprintf(path, size, "%.*s", (int)strcspn(line, "\n"), line);
}

static uint32_t limit_by_cgroup2(uint32_t count)
{
    char cgroup[2048], path[4096], text[64];
    find_cgroup(cgroup, sizeof(cgroup));
    for (;;) {
        snprintf(path, sizeof(path), CGROUP_ROOT "%s/cpu.max", cgroup);
        count = smaller(count, peri_cpus_quota(read_small(path, text, sizeof(text))));
        char *slash = strrchr(cgroup, '/');
        if (!slash)
            return count;
        *slash = '\0';
    }
}

static uint32_t limit_by_cgroup1(uint32_t count)
{
    char quota[64], period[64];
    read_small(CGROUP_ROOT "/cpu/cpu.cfs_quota_us", quota, sizeof(quota));
    read_small(CGROUP_ROOT "/cpu/cpu.cfs_period_us", period, sizeof(period));
    return smaller(count, round_up(atoll(quota), atoll(period)));
}

uint32_t peri_cpus_count(void)
{
    cpu_set_t set;
    uint32_t count = 1;
    if (sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 0)
        count = (uint32_t)CPU_COUNT(&set);
    return limit_by_cgroup1(limit_by_cgroup2(count));
}
