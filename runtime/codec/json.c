// SPDX-License-Identifier: MIT
// jansson behind peri_json. struct peri_json is json_t under another name, so that nobody else needs the library's header;
// the casts live in the two functions below.

#include "codec/json.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"

static bool is_too_deep(struct peri_slice text);
static json_t *new_repaired_string(struct peri_slice text);

static json_t *unwrap(const struct peri_json *json)
{
    return (json_t *)(uintptr_t)json;
}

static struct peri_json *wrap(json_t *json)
{
    return (struct peri_json *)json;
}

// ---------------------------------------------------------------- reading

struct peri_json *peri_json_parse(struct peri_slice text, bool integers_as_reals, char *message, size_t size)
{
    size_t flags = JSON_DECODE_ANY | JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL;
    json_error_t error;
    if (text.len > PERI_JSON_SIZE) {
        snprintf(message, size, "the text is longer than %d bytes", PERI_JSON_SIZE);
        return NULL;
    }
    if (is_too_deep(text)) {
        snprintf(message, size, "the text is nested deeper than %d levels", PERI_JSON_DEPTH);
        return NULL;
    }
    if (text.len > 0 && memchr(text.ptr, '\0', text.len)) { // jansson 2.14 overlooks one behind a number
        snprintf(message, size, "the text has a zero byte");
        return NULL;
    }
    flags |= integers_as_reals ? JSON_DECODE_INT_AS_REAL : 0;
    json_t *json = json_loadb(text.ptr ? text.ptr : "", text.len, flags, &error);
    if (!json)
        snprintf(message, size, "line %d: %s", error.line > 0 ? error.line : 1, error.text);
    return wrap(json);
}

/// Counts brackets outside strings. For a text that is not JSON the count means nothing, and the parser refuses it anyway.
static bool is_too_deep(struct peri_slice text)
{
    int depth = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '"') {
            for (i++; i < text.len && text.ptr[i] != '"'; i++)
                i += text.ptr[i] == '\\';
        } else if (c == '[' || c == '{') {
            if (++depth > PERI_JSON_DEPTH)
                return true;
        } else if (c == ']' || c == '}') {
            depth--;
        }
    }
    return false;
}

void peri_json_free(struct peri_json *json)
{
    json_decref(unwrap(json));
}

enum peri_json_type peri_json_type(const struct peri_json *json)
{
    if (!json)
        return PERI_JSON_NONE;
    switch (json_typeof(unwrap(json))) {
    case JSON_OBJECT: return PERI_JSON_OBJECT;
    case JSON_ARRAY: return PERI_JSON_ARRAY;
    case JSON_STRING: return PERI_JSON_STRING;
    case JSON_INTEGER: return PERI_JSON_INTEGER;
    case JSON_REAL: return PERI_JSON_REAL;
    case JSON_TRUE: return PERI_JSON_TRUE;
    case JSON_FALSE: return PERI_JSON_FALSE;
    case JSON_NULL: break;
    }
    return PERI_JSON_NULL;
}

const struct peri_json *peri_json_get(const struct peri_json *json, const char *name)
{
    return wrap(json_object_get(unwrap(json), name));
}

size_t peri_json_count(const struct peri_json *json)
{
    return json_is_object(unwrap(json)) ? json_object_size(unwrap(json)) : json_array_size(unwrap(json));
}

const struct peri_json *peri_json_at(const struct peri_json *json, size_t index)
{
    return wrap(json_array_get(unwrap(json), index));
}

bool peri_json_next(const struct peri_json *object, void **cursor, struct peri_slice *name,
                    const struct peri_json **value)
{
    json_t *json = unwrap(object);
    *cursor = *cursor ? json_object_iter_next(json, *cursor) : json_object_iter(json);
    if (!*cursor)
        return false;
    *name = peri_slice_from(json_object_iter_key(*cursor)); // no NUL in it: the parser refuses those
    *value = wrap(json_object_iter_value(*cursor));
    return true;
}

struct peri_slice peri_json_string(const struct peri_json *json)
{
    return peri_slice(json_string_value(unwrap(json)), json_string_length(unwrap(json)));
}

int64_t peri_json_integer(const struct peri_json *json, int64_t fallback)
{
    json_t *number = unwrap(json);
    if (json_is_integer(number))
        return json_integer_value(number);
    double real = json_is_real(number) ? json_real_value(number) : 0.5;
    bool is_exact = real >= -0x1p63 && real < 0x1p63 && real == floor(real);
    return is_exact ? (int64_t)real : fallback;
}

double peri_json_number(const struct peri_json *json, double fallback)
{
    return json_is_number(unwrap(json)) ? json_number_value(unwrap(json)) : fallback;
}

bool peri_json_bool(const struct peri_json *json, bool fallback)
{
    return json_is_boolean(unwrap(json)) ? json_is_true(unwrap(json)) : fallback;
}

struct peri_slice peri_json_get_string(const struct peri_json *json, const char *name)
{
    return peri_json_string(peri_json_get(json, name));
}

int64_t peri_json_get_integer(const struct peri_json *json, const char *name, int64_t fallback)
{
    return peri_json_integer(peri_json_get(json, name), fallback);
}

bool peri_json_get_bool(const struct peri_json *json, const char *name, bool fallback)
{
    return peri_json_bool(peri_json_get(json, name), fallback);
}

// ---------------------------------------------------------------- writing

struct peri_json *peri_json_new_object(void)
{
    return wrap(json_object());
}

struct peri_json *peri_json_new_array(void)
{
    return wrap(json_array());
}

struct peri_json *peri_json_new_null(void)
{
    return wrap(json_null());
}

struct peri_json *peri_json_new_bool(bool value)
{
    return wrap(json_boolean(value));
}

struct peri_json *peri_json_new_integer(int64_t value)
{
    return wrap(json_integer(value));
}

struct peri_json *peri_json_new_real(double value)
{
    return wrap(json_real(value));
}

struct peri_json *peri_json_new_string(struct peri_slice text)
{
    json_t *json = json_stringn(text.ptr ? text.ptr : "", text.len);
    return wrap(json ? json : new_repaired_string(text));
}

static json_t *new_repaired_string(struct peri_slice text)
{
    char *repaired = text.len < SIZE_MAX / 3 ? malloc(text.len * 3 + 1) : NULL;
    size_t len = 0;
    if (!repaired)
        return NULL;
    for (size_t i = 0; i < text.len; i++) {
        if ((unsigned char)text.ptr[i] < 0x80) {
            repaired[len++] = text.ptr[i];
        } else {
            memcpy(repaired + len, "\xef\xbf\xbd", 3);
            len += 3;
        }
    }
    json_t *json = json_stringn(repaired, len);
    free(repaired);
    return json;
}

bool peri_json_set(struct peri_json *object, const char *name, struct peri_json *value)
{
    peri_assert(!object || json_is_object(unwrap(object)));
    return json_object_set_new(unwrap(object), name, unwrap(value)) == 0;
}

bool peri_json_append(struct peri_json *array, struct peri_json *value)
{
    peri_assert(!array || json_is_array(unwrap(array)));
    return json_array_append_new(unwrap(array), unwrap(value)) == 0;
}

struct peri_json *peri_json_copy(const struct peri_json *json)
{
    return json ? wrap(json_deep_copy(unwrap(json))) : peri_json_new_null();
}

char *peri_json_format(const struct peri_json *json, bool is_pretty)
{
    return json_dumps(unwrap(json), JSON_ENCODE_ANY | (is_pretty ? JSON_INDENT(2) : JSON_COMPACT));
}

char *peri_json_format_ascii(const struct peri_json *json)
{
    return json_dumps(unwrap(json), JSON_ENCODE_ANY | JSON_COMPACT | JSON_ENSURE_ASCII);
}

const char *peri_json_version(void)
{
    return jansson_version_str();
}
