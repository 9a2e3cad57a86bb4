// SPDX-License-Identifier: MIT
// The memory that all processes of one Perigee share: a sealed memfd with a slot per worker (pid, heartbeat, generation), the
// metrics (one page set per worker), and the dictionaries. The supervisor or the single process creates it; workers attach by
// descriptor. Holds offsets, never pointers; pages that nobody touches cost nothing. Knows nothing of processes but their pid.
//
// A slot belongs to a worker *number*, not to a process: a replacement carries the counters of its predecessor on.
#ifndef PERI_SHARED_SHM_H
#define PERI_SHARED_SHM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

#define PERI_SHM_WORKERS_MAX 256
#define PERI_SHM_DICT_BYTES_MIN (1u << 20)
#define PERI_SHM_DICT_BYTES_DEFAULT (32u << 20)
#define PERI_SHM_DICT_BYTES_MAX (64ull << 30)

struct peri_metrics_page;
struct peri_tls_ticket_keys;

/// This process's view of the memory.
struct peri_shm;

struct peri_shm_options {
    uint32_t workers;    ///< slots, 1 to PERI_SHM_WORKERS_MAX; a single process has 1
    uint64_t dict_bytes; ///< room for all dictionaries together; 0 for the default, raised to the minimum
};

/// What a worker's slot says about the process in it.
enum peri_worker_state {
    PERI_WORKER_EMPTY,    ///< no process was ever here
    PERI_WORKER_STARTING, ///< begun, does not serve yet
    PERI_WORKER_READY,    ///< serves
    PERI_WORKER_DRAINING, ///< finishes what it has
    PERI_WORKER_DEAD,     ///< ended; a replacement may come
};

/// One worker as /status shows it.
struct peri_worker_info {
    enum peri_worker_state state;
    int32_t pid;           ///< of the last process; 0 when empty
    uint64_t heartbeat_ms; ///< monotonic time of the last beat
    uint64_t started_ms;   ///< monotonic time at which the process began
    uint64_t generation;   ///< that answers new requests; 0 before the first
    uint64_t lua_bytes;    ///< Lua heap in use
    uint32_t restarts;     ///< processes that were replaced in this slot
    uint32_t connections;  ///< open client connections
};

/// Creates the memory. Its descriptor is close-on-exec: whoever hands it to a child clears that on the child's copy.
/// NULL when the options are invalid or the system refuses (logged).
struct peri_shm *peri_shm_create(const struct peri_shm_options *options);

/// Maps the memory behind `fd` (taken, also on failure) after checking that it is whole and of this binary's layout.
/// NULL when it is not, or when the system refuses (logged).
struct peri_shm *peri_shm_attach(int fd);

/// Unmaps and closes; the memory itself lives until the last process does so. No-op for NULL.
void peri_shm_close(struct peri_shm *shm);

/// Its descriptor; borrowed until peri_shm_close.
int peri_shm_fd(const struct peri_shm *shm);

/// Bytes that all processes of this memory know and nobody else does: a key for what they must agree on. Borrowed until
/// peri_shm_close.
struct peri_slice peri_shm_secret(const struct peri_shm *shm);

/// Number of worker slots.
uint32_t peri_shm_workers(const struct peri_shm *shm);

/// Empties every dictionary and zeroes every counter, but keeps names and indexes: between two tests in one process. No other
/// process is attached.
void peri_shm_reset(struct peri_shm *shm);

/// The process `pid` takes slot `worker` (state STARTING): gauges start at zero, counters go on, `restarts` grows when the
/// slot had a process before. Called by the worker itself, before it serves.
void peri_shm_worker_begin(struct peri_shm *shm, uint32_t worker, int32_t pid, uint64_t now_ms);

/// Stores the heartbeat of the worker: monotonic milliseconds.
void peri_shm_worker_beat(struct peri_shm *shm, uint32_t worker, uint64_t now_ms);

/// Stores the state of the worker; called by the worker.
void peri_shm_worker_set_state(struct peri_shm *shm, uint32_t worker, enum peri_worker_state state);

/// Stores the number of the generation that the worker answers with.
void peri_shm_worker_set_generation(struct peri_shm *shm, uint32_t worker, uint64_t generation);

/// Stores the bytes of Lua heap in use.
void peri_shm_worker_set_lua_bytes(struct peri_shm *shm, uint32_t worker, uint64_t bytes);

/// The process in the slot has ended: state DEAD, gauges zero. Called by whoever reaped it.
void peri_shm_worker_end(struct peri_shm *shm, uint32_t worker);

/// Reads a slot; any process may.
void peri_shm_worker_get(const struct peri_shm *shm, uint32_t worker, struct peri_worker_info *out);

/// Name of a state, for /status: "empty", "starting", "ready", "draining", "dead".
const char *peri_worker_state_name(enum peri_worker_state state);

/// The keys under which all workers seal TLS session tickets: made with the memory, rotated by its creator. Borrowed until
/// peri_shm_close.
struct peri_tls_ticket_keys *peri_shm_ticket_keys(struct peri_shm *shm);

/// The metrics page set that worker `worker` alone writes (shared/metrics.h). Borrowed until peri_shm_close.
struct peri_metrics_page *peri_shm_metrics(struct peri_shm *shm, uint32_t worker);

#endif
