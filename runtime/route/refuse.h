// SPDX-License-Identifier: MIT
// How a malformed match is refused: one sentence for the person who wrote it.
#ifndef PERI_ROUTE_REFUSE_H
#define PERI_ROUTE_REFUSE_H

#include <stddef.h>

#include "base/attr.h"
#include "base/err.h"

/// Writes the sentence to `message` (cut at `size` bytes, NUL-terminated; untouched when size is 0). Always returns
/// PERI_ERR_INVALID.
peri_err_t peri_route_refuse(char *message, size_t size, const char *format, ...) PERI_PRINTF(3, 4);

#endif
