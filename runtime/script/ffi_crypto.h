// SPDX-License-Identifier: MIT
// What the files of ffi_crypto share.
#ifndef PERI_SCRIPT_FFI_CRYPTO_H
#define PERI_SCRIPT_FFI_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct evp_md_st;
struct evp_pkey_ctx_st;
struct evp_pkey_st;

struct peri_ffi_key {
    struct evp_pkey_st *pkey; ///< owned
    int32_t kind;             ///< PERI_FFI_KEY_…
    bool is_private;
    // The last operation set up, kept because the next one is nearly always the same.
    struct evp_pkey_ctx_st *ctx; ///< owned; NULL before the first
    int32_t scheme, digest;
    bool is_signing;
};

/// A curve, its name in OpenSSL and the digest that JOSE ties to it (RFC 7518 3.4).
struct peri_crypto_curve {
    const char *name;
    size_t coordinate; ///< bytes
    int32_t kind, digest;
};

/// OpenSSL's algorithm for PERI_FFI_SHA…, process lifetime; NULL for an unknown number or when it cannot be had.
const struct evp_md_st *peri_crypto_digest(int32_t digest);

/// The curve of a kind of key, static; NULL when it has none.
const struct peri_crypto_curve *peri_crypto_curve(int32_t kind);

#endif
