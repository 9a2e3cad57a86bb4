// SPDX-License-Identifier: MIT
// JSON as the runtime reads and writes it: the wrapper of jansson. A document is a tree of values; readers never fail but give
// a fallback for what is missing or of another type, so that a caller checks what it needs and nothing else. Texts deeper
// than 128 levels are refused before jansson sees them (it recurses up to 2048 and frees recursively).
#ifndef PERI_CODEC_JSON_H
#define PERI_CODEC_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

#define PERI_JSON_DEPTH 128               ///< most arrays and objects inside each other
#define PERI_JSON_SIZE (64 * 1024 * 1024) ///< most bytes of text that are parsed

enum peri_json_type {
    PERI_JSON_NONE, ///< no value: what NULL is
    PERI_JSON_NULL,
    PERI_JSON_FALSE,
    PERI_JSON_TRUE,
    PERI_JSON_INTEGER,
    PERI_JSON_REAL,
    PERI_JSON_STRING,
    PERI_JSON_ARRAY,
    PERI_JSON_OBJECT,
};

struct peri_json; ///< a value; never defined: the tree is jansson's

/// Parses one JSON text (RFC 8259): valid UTF-8, no name twice in an object, nothing behind the value.
/// @param integers_as_reals every number becomes a real, as in Lua; otherwise an integer beyond 64 bits is refused
/// @param message where a refusal is explained ("line 3: …"), NUL-terminated, cut at `size` bytes; may be NULL when size is 0
/// @return owned by the caller (peri_json_free), or NULL when refused
struct peri_json *peri_json_parse(struct peri_slice text, bool integers_as_reals, char *message, size_t size);

/// Frees a tree whose root is not part of another; NULL is fine.
void peri_json_free(struct peri_json *json);

/// Type of the value; PERI_JSON_NONE for NULL.
enum peri_json_type peri_json_type(const struct peri_json *json);

/// Member of an object, borrowed; NULL when `json` is no object or has no such member.
const struct peri_json *peri_json_get(const struct peri_json *json, const char *name);

/// Elements of an array or members of an object; 0 for anything else.
size_t peri_json_count(const struct peri_json *json);

/// Element of an array, borrowed; NULL when out of range or no array.
const struct peri_json *peri_json_at(const struct peri_json *json, size_t index);

/// Walks the members of an object in the order of insertion: set *cursor to NULL, call until false. `name` and `value` are
/// borrowed from the tree, which must not change meanwhile.
bool peri_json_next(const struct peri_json *object, void **cursor, struct peri_slice *name,
                    const struct peri_json **value);

/// Bytes of a string, borrowed and NUL-terminated behind its length; ptr is NULL when `json` is no string.
struct peri_slice peri_json_string(const struct peri_json *json);

/// An integer, or a real without fraction in the range of int64_t; otherwise `fallback`.
int64_t peri_json_integer(const struct peri_json *json, int64_t fallback);

/// A number of either kind, otherwise `fallback`.
double peri_json_number(const struct peri_json *json, double fallback);

/// true or false, otherwise `fallback`.
bool peri_json_bool(const struct peri_json *json, bool fallback);

/// peri_json_string(peri_json_get(json, name)).
struct peri_slice peri_json_get_string(const struct peri_json *json, const char *name);

/// peri_json_integer(peri_json_get(json, name), fallback).
int64_t peri_json_get_integer(const struct peri_json *json, const char *name, int64_t fallback);

/// peri_json_bool(peri_json_get(json, name), fallback).
bool peri_json_get_bool(const struct peri_json *json, const char *name, bool fallback);

/// New empty object, owned by the caller until it is put into another value; NULL when out of memory.
struct peri_json *peri_json_new_object(void);

/// New empty array; as peri_json_new_object.
struct peri_json *peri_json_new_array(void);

/// New null; as peri_json_new_object.
struct peri_json *peri_json_new_null(void);

/// New boolean; as peri_json_new_object.
struct peri_json *peri_json_new_bool(bool value);

/// New integer; as peri_json_new_object.
struct peri_json *peri_json_new_integer(int64_t value);

/// New real; NULL also for NaN and infinity, which JSON cannot say.
struct peri_json *peri_json_new_real(double value);

/// New string, a copy of `text`. When that is not UTF-8, each of its bytes above 0x7f becomes U+FFFD.
struct peri_json *peri_json_new_string(struct peri_slice text);

/// Makes `value` (taken, also on failure) the member `name` of `object`, replacing an earlier one. A NULL value makes it
/// fail, so that constructors nest without a check. False when out of memory.
bool peri_json_set(struct peri_json *object, const char *name, struct peri_json *value);

/// Appends `value` (taken, also on failure) to `array`; NULL as in peri_json_set.
bool peri_json_append(struct peri_json *array, struct peri_json *value);

/// Deep copy, owned by the caller; null for NULL. NULL when out of memory.
struct peri_json *peri_json_copy(const struct peri_json *json);

/// Text of the value, malloc'ed, NUL-terminated, members in the order of insertion; `is_pretty` indents by two spaces.
/// NULL when out of memory.
char *peri_json_format(const struct peri_json *json, bool is_pretty);

/// The same without white space and with escapes for all that is not ASCII, so that it may be the value of a header.
char *peri_json_format_ascii(const struct peri_json *json);

/// Version of jansson as linked.
const char *peri_json_version(void);

#endif
