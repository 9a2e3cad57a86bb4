// SPDX-License-Identifier: MIT
// A borrowed run of bytes: pointer and length, never NUL-terminated, never owned.
#ifndef PERI_BASE_SLICE_H
#define PERI_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct peri_slice {
    const char *ptr; ///< may be NULL only when len is 0
    size_t len;
};

#define PERI_SLICE(literal) ((struct peri_slice){("" literal), sizeof(literal) - 1})

/// Slice over `len` bytes at `ptr`, borrowed as long as those bytes live.
static inline struct peri_slice peri_slice(const char *ptr, size_t len)
{
    return (struct peri_slice){ptr, len};
}

/// Slice over a NUL-terminated string; empty for NULL.
static inline struct peri_slice peri_slice_from(const char *text)
{
    return (struct peri_slice){text, text ? strlen(text) : 0};
}

/// Same bytes?
static inline bool peri_slice_eq(struct peri_slice a, struct peri_slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/// Lower-case form of an ASCII byte; other bytes unchanged.
static inline char peri_ascii_lower(char c)
{
    return (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
}

/// Same bytes, ASCII letters compared without case?
static inline bool peri_slice_ieq(struct peri_slice a, struct peri_slice b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (peri_ascii_lower(a.ptr[i]) != peri_ascii_lower(b.ptr[i]))
            return false;
    return true;
}

/// Does `s` begin with `prefix`?
static inline bool peri_slice_starts(struct peri_slice s, struct peri_slice prefix)
{
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.ptr, prefix.ptr, prefix.len) == 0);
}

/// `s` without leading and trailing spaces and tabs (RFC 9110 5.6.3 OWS).
static inline struct peri_slice peri_slice_trim(struct peri_slice s)
{
    while (s.len > 0 && (s.ptr[0] == ' ' || s.ptr[0] == '\t'))
        s.ptr++, s.len--;
    while (s.len > 0 && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t'))
        s.len--;
    return s;
}

/// Next member of a comma-separated list, trimmed; empty members are skipped (RFC 9110 5.6.1).
/// `rest` is advanced. False at the end.
static inline bool peri_slice_next(struct peri_slice *rest, struct peri_slice *member)
{
    while (rest->len > 0) {
        const char *comma = memchr(rest->ptr, ',', rest->len);
        size_t len = comma ? (size_t)(comma - rest->ptr) : rest->len;
        *member = peri_slice_trim(peri_slice(rest->ptr, len));
        size_t used = comma ? len + 1 : len;
        rest->ptr += used;
        rest->len -= used;
        if (member->len > 0)
            return true;
    }
    return false;
}

#endif
