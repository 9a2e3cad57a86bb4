// SPDX-License-Identifier: MIT
// Fuzzes expressions: the first byte holds the flags, then the pattern up to a newline, then the subject. Nothing may crash, and
// every span lies in the subject.
#include "codec/regex.h"

#include <string.h>

#include "base/assert.h"

/// The target. Reads exactly `size` bytes at `data`; always returns 0.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_match(const struct peri_regex *regex, struct peri_slice subject, size_t from)
{
    struct peri_regex_span spans[PERI_REGEX_SPANS];
    peri_err_t err = peri_regex_match(regex, subject, from, spans, PERI_REGEX_SPANS);
    peri_assert(err == PERI_OK || err == PERI_ERR_NOT_FOUND || err == PERI_ERR_LIMIT || err == PERI_ERR_INVALID);
    for (uint32_t i = 0; err == PERI_OK && i <= peri_regex_groups(regex); i++) {
        peri_assert(spans[i].start >= -1 && spans[i].end <= (int32_t)subject.len);
        peri_assert(spans[i].start <= spans[i].end);
        peri_assert(i > 0 || spans[i].start >= 0);
        peri_assert(peri_regex_group_name(regex, i).len < 64);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char message[64];
    const char *newline = size > 1 ? memchr(data + 1, '\n', size - 1) : NULL;
    if (!newline)
        return 0;
    const char *start = (const char *)data + 1, *end = (const char *)data + size;
    struct peri_regex *regex =
        peri_regex_new(peri_slice(start, (size_t)(newline - start)), data[0], message, sizeof message);
    if (!regex)
        return 0;
    struct peri_slice subject = peri_slice(newline + 1, (size_t)(end - newline - 1));
    check_match(regex, subject, 0);
    check_match(regex, subject, subject.len / 2);
    check_match(regex, subject, subject.len + 1);
    peri_regex_free(regex);
    return 0;
}
