// SPDX-License-Identifier: MIT
// Which shared memory the functions of ffi.h work on: one for the process, and this worker's place in it.
#ifndef PERI_SCRIPT_FFI_SHARED_H
#define PERI_SCRIPT_FFI_SHARED_H

#include <stdint.h>

struct peri_metrics_page;
struct peri_shm;

/// What scripts of this process work on.
struct peri_ffi_binding {
    struct peri_shm *shm; ///< NULL only when the system refused a private one
    struct peri_metrics_page *page;
    uint32_t worker;
};

/// Makes `shm` (borrowed; outlives every script) what scripts work on, as worker number `worker`. NULL: a private memory is made
/// when it is first needed, so that a configuration can be checked without a proxy.
void peri_ffi_shared_bind(struct peri_shm *shm, int worker);

/// The binding; never NULL itself.
const struct peri_ffi_binding *peri_ffi_shared_binding(void);

#endif
