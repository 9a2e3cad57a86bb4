// SPDX-License-Identifier: MIT
// The worker's one LuaJIT VM: created once, holds every generation beside the others. Generations are built from a
// snapshot: a source of files that gives the same bytes to every worker.
#ifndef PERI_SCRIPT_VM_H
#define PERI_SCRIPT_VM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

struct peri_loop;
struct peri_shm;
struct peri_script_host;
struct peri_script_generation;
struct peri_vm;

/// Where the files of a generation come from. Paths are relative to the directory of the configuration file, with '/', and never
/// leave it except for those that `file "…"` names absolutely.
struct peri_source {
    /// Bytes of `path`, borrowed until the source is closed. PERI_ERR_NOT_FOUND when there is no such file (recorded too: a file
    /// that was absent when the snapshot was made stays absent).
    peri_err_t (*read)(void *data, struct peri_slice path, struct peri_slice *bytes);
    /// Names of what is in the folder `path`, each with a line break behind it, in byte order and without those that begin with "."; borrowed
    /// and recorded as the bytes of a file are. NULL: not at all.
    peri_err_t (*names)(void *data, struct peri_slice path, struct peri_slice *names);
    /// The bytes of `path`, which has just been read, are a secret: nobody is shown them. NULL: not of interest.
    void (*mark_secret)(void *data, struct peri_slice path);
    /// Names of the folders in `path`, each with a line break behind it, malloc'ed; NULL when there are none. For suggestions in
    /// messages only, so not recorded. NULL when the source cannot tell.
    char *(*list)(void *data, struct peri_slice path);
    void *data;
};

struct peri_vm_options {
    struct peri_loop *loop;              ///< borrowed; outlives the VM
    struct peri_shm *shm;                ///< borrowed; outlives the VM
    const struct peri_script_host *host; ///< borrowed; NULL only for `check` (nothing is ever run)
    uint64_t memory_limit;               ///< bytes of Lua heap; 0 for 256 MiB
    int worker;                          ///< index of this worker, for perigee.worker
    const char *role;                    ///< default of the setting "role"; borrowed; NULL for "gateway"
};

/// What building a generation gave.
struct peri_build {
    struct peri_script_generation
        *script;  ///< owned by the caller (release with peri_script_release); NULL when refused
    char *config; ///< normalised configuration as JSON (docs/internals/config-json.md), malloc'ed
    char *errors; ///< JSON array of {file, line, path, message}; malloc'ed; NULL when accepted
};

/// Creates the VM, loads the embedded SDK and freezes it. NULL when out of memory or when the embedded SDK is broken (logged).
struct peri_vm *peri_vm_new(const struct peri_vm_options *options);

/// Closes the VM: no exchange is alive any more.
void peri_vm_free(struct peri_vm *vm);

/// Evaluates the configuration `entry` (a .lua or .json file of the source) as generation `number` beside the others: compiles,
/// validates, instantiates policies, but does not run init(). Every error found is in build->errors.
/// PERI_OK, or PERI_ERR_INVALID with errors.
peri_err_t peri_script_build(struct peri_vm *vm, const struct peri_source *source, struct peri_slice entry,
                             uint64_t number, struct peri_build *build);

/// Puts file and line into those of `errors` (a JSON array, taken) that name a setting by its path only; for what C finds in the
/// normalised configuration of `entry`. Malloc'ed; the same list when that cannot be done.
char *peri_script_locate(struct peri_vm *vm, const struct peri_source *source, struct peri_slice entry, char *errors);

/// Runs init() of every policy instance, handing over the state that the instances of `previous` (may be NULL) saved.
/// On failure the errors are a malloc'ed JSON array in *errors and the generation must be released.
peri_err_t peri_script_start(struct peri_script_generation *script, struct peri_script_generation *previous,
                             char **errors);

/// Runs close() of every instance, stops its timers and lets the generation be collected. No exchange uses it any more.
void peri_script_release(struct peri_script_generation *script);

/// Ties the Lua half to its whole, so that fetches and metrics know where they belong.
void peri_script_set_generation(struct peri_script_generation *script, void *generation);

/// Version of LuaJIT.
const char *peri_vm_version(void);

/// Bytes of Lua heap in use.
uint64_t peri_vm_bytes(const struct peri_vm *vm);

/// One step of garbage collection, for the idle moment before the loop sleeps.
void peri_vm_idle(struct peri_vm *vm);

#endif
