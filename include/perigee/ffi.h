/* SPDX-License-Identifier: MIT
 *
 * The FFI ABI between the runtime and its Lua SDK: one header, read by the C compiler, by ffi.cdef and by the manual's generator.
 * Rules: flat functions; fixed-width integers; (pointer, length) for bytes; results in memory the caller owns; no macros,
 * no varargs, no callbacks, no structs by value. No function here ever calls back into Lua. Lines that begin with '#' are
 * skipped when the text is given to ffi.cdef; nothing else may be conditional.
 *
 * PERI_ABI changes with every change of this file; the SDK refuses to load when the numbers differ.
 */
#ifndef PERIGEE_FFI_H
#define PERIGEE_FFI_H
#include <stddef.h>
#include <stdint.h>

/* ---- core ------------------------------------------------------------------------------------------------ */

enum { PERI_ABI = 1 };

/** A borrowed run of bytes. Valid until the next call on the same exchange unless the function says otherwise. */
struct peri_ffi_str {
    const char *ptr;
    size_t len;
};

/** ABI number the runtime was compiled with. */
int32_t peri_ffi_abi(void);

/* ---- exchange: request, response, headers, bodies (script/ffi_exchange.c) --------------------------------- */

/* ---- shared memory: dictionaries and token buckets (script/ffi_shared.c) ----------------------------------- */

/* ---- metrics and log (script/ffi_metrics.c) ---------------------------------------------------------------- */

/* ---- crypto and encodings (script/ffi_crypto.c) ------------------------------------------------------------ */

/* ---- text: regex, ip, uri, json (script/ffi_text.c) -------------------------------------------------------- */

/* ---- time, timers, fetch (script/ffi_async.c) -------------------------------------------------------------- */

#endif
