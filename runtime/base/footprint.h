// SPDX-License-Identifier: MIT
// What this process takes of memory and descriptors, and its cgroup of memory: read from the system's own files, which stay open, so
// that they can still be read when descriptors are out.
#ifndef PERI_BASE_FOOTPRINT_H
#define PERI_BASE_FOOTPRINT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

struct peri_footprint {
    int statm;             ///< /proc/self/statm; -1 when it cannot be read
    int cgroup_current;    ///< memory.current of this process's cgroup (v2); -1 for none
    int cgroup_stat;       ///< its memory.stat; -1 for none
    uint64_t cgroup_limit; ///< bytes; 0: none
};

/// Opens the files. What the system does not have is left out.
void peri_footprint_open(struct peri_footprint *footprint);

/// Closes them.
void peri_footprint_close(const struct peri_footprint *footprint);

/// Resident bytes that are this process's alone (not mapped from files or shared memory); 0 when that cannot be read.
uint64_t peri_footprint_memory(const struct peri_footprint *footprint);

/// Bytes that the cgroup needs: what it is charged for, without the pages of files that the system would drop first. 0 without a cgroup.
uint64_t peri_footprint_cgroup(const struct peri_footprint *footprint);

/// Gives memory that was freed back to the system; walks through all that is free.
void peri_footprint_trim(void);

/// Descriptors that are open now; walks through all of them. 0 when that cannot be read.
uint32_t peri_footprint_descriptors(void);

/// The most descriptors that this process may have.
uint32_t peri_footprint_descriptor_limit(void);

/// Lets this process, and those that it starts, have as many descriptors as the system allows it (the hard limit of RLIMIT_NOFILE).
void peri_footprint_raise_descriptor_limit(void);

/// The path of the cgroup (v2) in the text of /proc/self/cgroup, borrowed from it; empty when there is none.
struct peri_slice peri_footprint_cgroup_path(struct peri_slice text);

/// The number behind `name` in the text of a memory.stat; 0 when it is not there.
uint64_t peri_footprint_stat(struct peri_slice text, struct peri_slice name);

#endif
