// SPDX-License-Identifier: MIT
// The hash of shared dictionaries: keyed, because the keys come from clients (a header, an address) who must not be able to
// aim at one bucket.
#ifndef PERI_SHARED_HASH_H
#define PERI_SHARED_HASH_H

#include <stdint.h>

#include "base/slice.h"

/// SipHash-1-3 of `bytes` under a 128-bit secret (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012, with one
/// compression and three finalisation rounds).
uint64_t peri_hash(const uint64_t secret[2], struct peri_slice bytes);

#endif
