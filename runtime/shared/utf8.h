// SPDX-License-Identifier: MIT
// Where one character of UTF-8 ends; strict (RFC 3629).
#ifndef PERI_SHARED_UTF8_H
#define PERI_SHARED_UTF8_H

#include "base/slice.h"

/// Bytes of the character that `text` (not empty) begins with; 0 when it begins with none: a stray or missing continuation, an
/// overlong form, a surrogate, or a number above U+10FFFF.
size_t peri_utf8_len(struct peri_slice text);

#endif
