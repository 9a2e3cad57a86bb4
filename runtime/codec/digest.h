// SPDX-License-Identifier: MIT
// SHA-256, SHA-1, HMAC and random bytes: the wrapper of OpenSSL's digests for the runtime itself (scripts have perigee.crypto).
#ifndef PERI_CODEC_DIGEST_H
#define PERI_CODEC_DIGEST_H

#include "base/err.h"
#include "base/slice.h"

#define PERI_DIGEST_SIZE 32                     ///< bytes of a SHA-256 digest
#define PERI_DIGEST_SHA1 20                     ///< bytes of a SHA-1 digest
#define PERI_DIGEST_TEXT (2 * PERI_DIGEST_SIZE) ///< characters of its lower-case hex form

/// Stores the SHA-256 digest (FIPS 180-4) of `data` in `out`. PERI_ERR_SYSTEM when the library refuses.
peri_err_t peri_digest_sha256(struct peri_slice data, unsigned char out[PERI_DIGEST_SIZE]);

/// Stores the SHA-1 digest of `data` in `out`: for protocols that ask for it, never to protect anything. PERI_ERR_SYSTEM when the library
/// refuses.
peri_err_t peri_digest_sha1(struct peri_slice data, unsigned char out[PERI_DIGEST_SHA1]);

/// Stores the HMAC-SHA-256 (RFC 2104) of `data` under `key` in `out`. PERI_ERR_SYSTEM when the library refuses.
peri_err_t peri_digest_hmac(struct peri_slice key, struct peri_slice data, unsigned char out[PERI_DIGEST_SIZE]);

/// Stores `len` random bytes in `out` that nobody can foretell. PERI_ERR_SYSTEM when the library refuses.
peri_err_t peri_digest_random(unsigned char *out, size_t len);

/// Version of OpenSSL as linked.
const char *peri_digest_version(void);

/// Writes `digest` as lower-case hex, NUL-terminated.
void peri_digest_format(const unsigned char digest[PERI_DIGEST_SIZE], char text[PERI_DIGEST_TEXT + 1]);

#endif
