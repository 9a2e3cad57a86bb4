// SPDX-License-Identifier: MIT
// How many CPUs this process may use: what `workers = "auto"` becomes.
#ifndef PERI_APP_CPUS_H
#define PERI_APP_CPUS_H

#include <stdint.h>

#include "base/slice.h"

/// CPUs of the affinity mask, or fewer when a cgroup's quota (v2 cpu.max at any level, v1 cpu.cfs_quota_us) gives less time
/// than they have; a part of a CPU counts as one. At least 1.
uint32_t peri_cpus_count(void);

/// CPUs that a cgroup v2 cpu.max file with this text allows, rounded up; 0 when it sets no limit or cannot be read
/// (Documentation/admin-guide/cgroup-v2.rst, "$MAX $PERIOD").
uint32_t peri_cpus_quota(struct peri_slice text);

#endif
