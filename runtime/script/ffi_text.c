// SPDX-License-Identifier: MIT
// Regular expressions, address sets and URLs for scripts: codec/regex, codec/ip and codec/url with the signatures of ffi.h.
// A NULL object comes from a method called on the wrong table; it is an error, not a crash.

#include <perigee/ffi.h>

#include "base/arena.h"
#include "base/attr.h"
#include "codec/ip.h"
#include "codec/regex.h"
#include "codec/url.h"

#define SCRATCH_MAX (4 * 1024 * 1024) // bytes of one URL and its parts

_Static_assert((int)PERI_FFI_REGEX_UTF == (int)PERI_REGEX_UTF &&
                   (int)PERI_FFI_REGEX_EXTENDED == (int)PERI_REGEX_EXTENDED,
               "the flags of ffi.h are those of codec/regex.h");
_Static_assert(PERI_FFI_REGEX_SPANS == PERI_REGEX_SPANS, "as many spans");
_Static_assert(sizeof(struct peri_ffi_span) == sizeof(struct peri_regex_span), "the same spans");
_Static_assert(PERI_FFI_IP_TEXT == PERI_IP_TEXT, "the same room");

// Results of the URL functions, until the next one; keeps its first block for the life of the process.
static struct peri_arena scratch = {.limit = SCRATCH_MAX};

// ---------------------------------------------------------------- regular expressions

PERI_EXPORT struct peri_regex *peri_ffi_regex_new(const char *pattern, size_t len, uint32_t flags, char *message,
                                                  size_t size)
{
    return peri_regex_new(peri_slice(pattern, len), flags, message, size);
}

PERI_EXPORT void peri_ffi_regex_free(struct peri_regex *regex)
{
    peri_regex_free(regex);
}

PERI_EXPORT uint32_t peri_ffi_regex_groups(const struct peri_regex *regex)
{
    return regex ? peri_regex_groups(regex) : 0;
}

PERI_EXPORT void peri_ffi_regex_group_name(const struct peri_regex *regex, uint32_t group, struct peri_ffi_str *name)
{
    struct peri_slice found = regex ? peri_regex_group_name(regex, group) : PERI_SLICE("");
    *name = (struct peri_ffi_str){found.ptr, found.len};
}

PERI_EXPORT int32_t peri_ffi_regex_match(const struct peri_regex *regex, const char *subject, size_t len, size_t from,
                                         struct peri_ffi_span *spans)
{
    struct peri_regex_span *into = (struct peri_regex_span *)(void *)spans;
    if (!regex || !subject || !spans)
        return -1;
    peri_err_t err = peri_regex_match(regex, peri_slice(subject, len), from, into, PERI_REGEX_SPANS);
    return err == PERI_OK ? 1 : err == PERI_ERR_NOT_FOUND ? 0 : -1;
}

// ---------------------------------------------------------------- addresses

PERI_EXPORT struct peri_ip_set *peri_ffi_ip_set_new(void)
{
    return peri_ip_set_new();
}

PERI_EXPORT void peri_ffi_ip_set_free(struct peri_ip_set *set)
{
    peri_ip_set_free(set);
}

PERI_EXPORT int32_t peri_ffi_ip_set_add(struct peri_ip_set *set, const char *entry, size_t len, char *message,
                                        size_t size)
{
    return set && peri_ip_set_add(set, peri_slice(entry, len), message, size) == PERI_OK ? 0 : -1;
}

PERI_EXPORT int32_t peri_ffi_ip_set_contains(struct peri_ip_set *set, const char *address, size_t len)
{
    struct peri_ip ip;
    if (!set || !address || peri_ip_parse(peri_slice(address, len), &ip) != PERI_OK)
        return -1;
    return peri_ip_set_contains(set, &ip);
}

PERI_EXPORT int32_t peri_ffi_ip_parse(const char *text, size_t len, char *out)
{
    struct peri_ip ip;
    if (!text || peri_ip_parse(peri_slice(text, len), &ip) != PERI_OK)
        return 0;
    peri_ip_format(&ip, out);
    return ip.version;
}

// ---------------------------------------------------------------- URLs

static struct peri_ffi_str borrow(struct peri_slice s)
{
    return (struct peri_ffi_str){s.ptr, s.len};
}

/// Copies the argument: the results may be parts of it, and the Lua string may be collected before they are read.
static bool copy_text(const char *text, size_t len, struct peri_slice *copy)
{
    peri_arena_reset(&scratch);
    *copy = text ? peri_arena_copy(&scratch, peri_slice(text, len)) : peri_slice(NULL, 0);
    return copy->ptr != NULL;
}

PERI_EXPORT int32_t peri_ffi_uri_parse(const char *text, size_t len, struct peri_ffi_uri *uri)
{
    struct peri_slice copy;
    struct peri_url url;
    if (!copy_text(text, len, &copy) || peri_url_parse_target(&scratch, copy, &url) != PERI_OK)
        return -1;
    uri->scheme = borrow(url.scheme);
    uri->host = borrow(url.host);
    uri->path = borrow(url.path);
    uri->query = borrow(url.query);
    uri->port = url.port;
    return 0;
}

PERI_EXPORT int32_t peri_ffi_uri_normalize_path(const char *path, size_t len, struct peri_ffi_str *out)
{
    struct peri_slice copy, normal;
    if (!copy_text(path, len, &copy) || peri_url_normalize_path(&scratch, copy, &normal) != PERI_OK)
        return -1;
    *out = borrow(normal);
    return 0;
}

PERI_EXPORT int32_t peri_ffi_uri_decode(const char *text, size_t len, int32_t plus_is_space, struct peri_ffi_str *out)
{
    struct peri_slice copy, plain;
    if (!copy_text(text, len, &copy) || peri_url_decode(&scratch, copy, plus_is_space != 0, &plain) != PERI_OK)
        return -1;
    *out = borrow(plain);
    return 0;
}
