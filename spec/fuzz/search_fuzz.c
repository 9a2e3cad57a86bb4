// SPDX-License-Identifier: MIT
// Fuzzes searches by pattern: the pattern up to a newline, then the subject. Nothing may crash, no search takes more steps than it
// has, and matches and captures lie in the subject.
#include "script/search.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

#define STEPS 20000

/// The target. Reads exactly `size` bytes at `data`; always returns 0.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_match(const struct peri_search *search, const char *at, const char *end)
{
    peri_assert(end >= at && end <= search->end && !search->problem && search->steps < STEPS);
    peri_assert(search->count >= 0 && search->count <= PERI_SEARCH_CAPTURES);
    for (int i = 0; i < search->count; i++) {
        peri_assert(search->captures[i].at >= at && search->captures[i].at <= end);
        peri_assert(search->captures[i].len >= PERI_SEARCH_OPEN);
        peri_assert(search->captures[i].len <= end - search->captures[i].at);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *newline = size > 0 ? memchr(data, '\n', size) : NULL;
    if (!newline)
        return 0;
    // Copies that end with a NUL, as Lua strings do, and not one byte later.
    size_t len = (size_t)(newline - (const char *)data), rest = size - len - 1;
    char *text = calloc(1, len + 1), *subject = calloc(1, rest + 1);
    peri_assert(text && subject);
    memcpy(text, data, len);
    memcpy(subject, newline + 1, rest);
    struct peri_search search = {.subject = subject, .end = subject + rest, .steps = STEPS};
    for (const char *at = subject; at <= search.end && !search.problem; at++) {
        const char *end = peri_search_match(&search, at, text);
        if (end)
            check_match(&search, at, end);
    }
    free(text);
    free(subject);
    return 0;
}
