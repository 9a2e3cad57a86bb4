// SPDX-License-Identifier: MIT
// Fuzzes JSON: no text may crash the parser, what it accepts is no deeper than it promises, and its written form reads back as
// the same text.
#include "codec/json.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

/// The target. Reads exactly `size` bytes at `data`; always returns 0.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int depth_of(const struct peri_json *json)
{
    const struct peri_json *value;
    struct peri_slice name;
    int deepest = 0;
    enum peri_json_type type = peri_json_type(json);
    for (size_t i = 0; type == PERI_JSON_ARRAY && i < peri_json_count(json); i++) {
        int depth = depth_of(peri_json_at(json, i));
        deepest = depth > deepest ? depth : deepest;
    }
    for (void *cursor = NULL; peri_json_next(json, &cursor, &name, &value);) {
        int depth = depth_of(value);
        deepest = depth > deepest ? depth : deepest;
    }
    return deepest + (type == PERI_JSON_ARRAY || type == PERI_JSON_OBJECT);
}

static void check_written(const struct peri_json *json, bool reals)
{
    char *text = peri_json_format(json, false);
    peri_assert(text != NULL);
    struct peri_json *again = peri_json_parse(peri_slice_from(text), reals, NULL, 0);
    peri_assert(again != NULL);
    char *text_again = peri_json_format(again, false);
    peri_assert(text_again != NULL && strcmp(text, text_again) == 0);
    peri_json_free(again);
    free(text_again);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct peri_slice text = peri_slice((const char *)data, size);
    char message[64];
    for (int reals = 0; reals < 2; reals++) {
        struct peri_json *json = peri_json_parse(text, reals, message, sizeof message);
        if (!json) {
            peri_assert(memchr(message, '\0', sizeof message) != NULL);
            continue;
        }
        peri_assert(depth_of(json) <= PERI_JSON_DEPTH);
        check_written(json, reals);
        peri_json_free(json);
    }
    struct peri_json *string = peri_json_new_string(text);
    check_written(string, false);
    peri_json_free(string);
    return 0;
}
