// SPDX-License-Identifier: MIT
// What a worker says of its limits and of what it does when it comes near one. Only the worker writes its page; a reader adds up.
#ifndef PERI_SHARED_OVERLOAD_H
#define PERI_SHARED_OVERLOAD_H

#include <stdint.h>

struct peri_shm;
struct peri_text;

/// What there may be too little of.
enum peri_resource {
    PERI_RESOURCE_MEMORY,      ///< bytes
    PERI_RESOURCE_CONNECTIONS, ///< of clients
    PERI_RESOURCE_FDS,         ///< descriptors
    PERI_RESOURCES,
};

/// What a worker does about it.
enum peri_overload_state {
    PERI_OVERLOAD_CALM,
    PERI_OVERLOAD_SHEDDING, ///< requests are answered 503
    PERI_OVERLOAD_STOPPED,  ///< and no connection is accepted
    PERI_OVERLOAD_STATES,
};

/// One resource of a worker.
struct peri_overload_gauge {
    uint64_t used;
    uint64_t limit;                       ///< 0: none
    uint64_t state;                       ///< enum peri_overload_state
    uint64_t begun[PERI_OVERLOAD_STATES]; ///< how often each state began
};

struct peri_overload_page {
    struct peri_overload_gauge gauges[PERI_RESOURCES];
    uint64_t requests; ///< answered 503
    uint64_t rests;    ///< accepting rested because the system gave no descriptor
};

/// Name of a resource: "memory", "connections", "fds".
const char *peri_resource_name(enum peri_resource resource);

/// Name of a state: "calm", "shedding", "stopped".
const char *peri_overload_state_name(enum peri_overload_state state);

/// One resource of worker `worker`; zeroes when it never ran.
void peri_overload_read(const struct peri_shm *shm, uint32_t worker, enum peri_resource resource,
                        struct peri_overload_gauge *out);

/// Appends what all workers say to a Prometheus exposition.
void peri_overload_write(const struct peri_shm *shm, struct peri_text *out);

#endif
