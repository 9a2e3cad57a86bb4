// SPDX-License-Identifier: MIT
// What the files of ffi_crypto share.
#ifndef PERI_SCRIPT_FFI_CRYPTO_H
#define PERI_SCRIPT_FFI_CRYPTO_H

#include <stdint.h>

struct evp_md_st;

/// OpenSSL's algorithm for PERI_FFI_SHA…, process lifetime; NULL for an unknown number or when it cannot be had.
const struct evp_md_st *peri_crypto_digest(int32_t digest);

#endif
