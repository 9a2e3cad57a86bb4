// SPDX-License-Identifier: MIT
// The response flags of an exchange as text, for all who tell of it: access log, explanation, recording.
#ifndef PERI_PROXY_FLAGS_H
#define PERI_PROXY_FLAGS_H

#include "base/slice.h"

#define PERI_FLAGS_ROOM 48 ///< bytes that hold all flags of one exchange

struct peri_exchange;

/// All flags of an exchange that ends, or would, with `status`: why the proxy answered itself or broke off, and what policies and
/// retries noted, each once, joined by commas in `room`. Empty for none; borrowed from `room`.
struct peri_slice peri_flags_format(const struct peri_exchange *x, int status, char room[PERI_FLAGS_ROOM]);

#endif
