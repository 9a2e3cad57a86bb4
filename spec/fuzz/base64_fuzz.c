// SPDX-License-Identifier: MIT
// Fuzzes base64 and hex: what decodes is exactly what encoding its bytes gives, and any bytes survive the way there and back.
#include "codec/base64.h"

#include <stdint.h>
#include <stdlib.h>

#include "base/assert.h"

/// The target. Reads exactly `size` bytes at `data`; always returns 0.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_base64(struct peri_slice input, bool is_url)
{
    size_t len = 0;
    char *plain = malloc(input.len + 1), *text = malloc(PERI_BASE64_ROOM(input.len) + 1);
    peri_assert(plain && text);
    if (peri_base64_decode(input, is_url, plain, &len)) {
        peri_assert(len <= input.len);
        size_t text_len = peri_base64_encode(peri_slice(plain, len), is_url, text);
        peri_assert(peri_slice_eq(peri_slice(text, text_len), input));
    }
    size_t text_len = peri_base64_encode(input, is_url, text);
    char *back = malloc(text_len + 1);
    peri_assert(back && peri_base64_decode(peri_slice(text, text_len), is_url, back, &len));
    peri_assert(peri_slice_eq(peri_slice(back, len), input));
    free(back);
    free(text);
    free(plain);
}

static void check_hex(struct peri_slice input)
{
    char *text = malloc(2 * input.len + 1), *back = malloc(input.len + 1);
    peri_assert(text && back);
    peri_hex_encode(input, text);
    peri_assert(peri_hex_decode(peri_slice(text, 2 * input.len), back));
    peri_assert(peri_slice_eq(peri_slice(back, input.len), input));
    peri_hex_decode(input, back);
    free(back);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct peri_slice input = peri_slice((const char *)data, size);
    check_base64(input, false);
    check_base64(input, true);
    check_hex(input);
    return 0;
}
