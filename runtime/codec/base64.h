// SPDX-License-Identifier: MIT
// Base64 and hex (RFC 4648), strict: what decodes is exactly what encoding gives, so two texts never mean the same bytes.
#ifndef PERI_CODEC_BASE64_H
#define PERI_CODEC_BASE64_H

#include <stdbool.h>

#include "base/slice.h"

/// Room that `len` bytes need in base64.
#define PERI_BASE64_ROOM(len) (((len) + 2) / 3 * 4)

/// Writes `data` as base64 to `out` (PERI_BASE64_ROOM bytes) and returns the length. `is_url` takes the URL alphabet without
/// padding (RFC 4648 5, as RFC 7515 uses it), otherwise the standard alphabet with padding.
size_t peri_base64_encode(struct peri_slice data, bool is_url, char *out);

/// Writes the bytes that `text` means to `out` (text.len bytes) and their number to *len. False for another character, white
/// space, missing or needless padding, an impossible length, or unused bits that are not zero.
bool peri_base64_decode(struct peri_slice text, bool is_url, char *out, size_t *len);

/// Writes `data` as lower-case hex to `out` (2 * data.len bytes).
void peri_hex_encode(struct peri_slice data, char *out);

/// Writes the bytes that hex `text` means to `out` (text.len / 2 bytes). False for an odd length or another character.
bool peri_hex_decode(struct peri_slice text, char *out);

#endif
