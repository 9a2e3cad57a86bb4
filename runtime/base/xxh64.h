// SPDX-License-Identifier: MIT
// XXH64: a fast hash whose values are the same in every process and on every machine, so that proxies agree on what it places.
// It is not keyed: nothing that must stay even when somebody chooses the bytes may rely on it.
#ifndef PERI_BASE_XXH64_H
#define PERI_BASE_XXH64_H

#include <stdint.h>

#include "base/slice.h"

/// The 64-bit hash of `bytes` (github.com/Cyan4973/xxHash, doc/xxhash_spec.md).
uint64_t peri_xxh64(struct peri_slice bytes, uint64_t seed);

#endif
