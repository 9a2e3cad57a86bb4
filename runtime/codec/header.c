// SPDX-License-Identifier: MIT
// Header lists and the lookup of known names: a switch on the length narrows the candidates to a few, memcmp decides.
#include "codec/header.h"

#include "base/assert.h"

#define PERI_HEADERS_FIRST 24

static const struct peri_slice header_names[PERI_H_COUNT] = {
#define X(id, name) [id] = {name, sizeof(name) - 1},
    PERI_HEADER_TABLE(X)
#undef X
};

// Known names by a hash that no two of them share (a unit test looks each one up): one place to look, one comparison. A new
// name may need other factors.
#define HASH(len, first, last) (((unsigned)(len)*2u + (unsigned char)(first)*18u + (unsigned char)(last)*29u) & 63u)

static const uint8_t by_hash[64] = {
    [HASH(2, 't', 'e')] = PERI_H_TE,
    [HASH(3, 'a', 'e')] = PERI_H_AGE,
    [HASH(3, 'v', 'a')] = PERI_H_VIA,
    [HASH(4, 'h', 't')] = PERI_H_HOST,
    [HASH(4, 'd', 'e')] = PERI_H_DATE,
    [HASH(6, 'a', 't')] = PERI_H_ACCEPT,
    [HASH(6, 'c', 'e')] = PERI_H_COOKIE,
    [HASH(6, 'e', 't')] = PERI_H_EXPECT,
    [HASH(6, 'o', 'n')] = PERI_H_ORIGIN,
    [HASH(6, 's', 'r')] = PERI_H_SERVER,
    [HASH(7, 't', 'r')] = PERI_H_TRAILER,
    [HASH(7, 'u', 'e')] = PERI_H_UPGRADE,
    [HASH(8, 'l', 'n')] = PERI_H_LOCATION,
    [HASH(10, 'c', 'n')] = PERI_H_CONNECTION,
    [HASH(10, 'k', 'e')] = PERI_H_KEEP_ALIVE,
    [HASH(10, 's', 'e')] = PERI_H_SET_COOKIE,
    [HASH(10, 'u', 't')] = PERI_H_USER_AGENT,
    [HASH(11, 'r', 'r')] = PERI_H_RETRY_AFTER,
    [HASH(12, 'c', 'e')] = PERI_H_CONTENT_TYPE,
    [HASH(12, 'x', 'd')] = PERI_H_X_REQUEST_ID,
    [HASH(13, 'a', 'n')] = PERI_H_AUTHORIZATION,
    [HASH(14, 'c', 'h')] = PERI_H_CONTENT_LENGTH,
    [HASH(15, 'x', 'r')] = PERI_H_X_FORWARDED_FOR,
    [HASH(16, 'x', 't')] = PERI_H_X_FORWARDED_HOST,
    [HASH(16, 'p', 'n')] = PERI_H_PROXY_CONNECTION,
    [HASH(17, 'x', 'o')] = PERI_H_X_FORWARDED_PROTO,
    [HASH(17, 't', 'g')] = PERI_H_TRANSFER_ENCODING,
};

// tchar of RFC 9110 5.6.2.
static const bool is_tchar[256] = {
    ['!'] = true, ['#'] = true, ['$'] = true, ['%'] = true,         ['&'] = true,         ['\''] = true,
    ['*'] = true, ['+'] = true, ['-'] = true, ['.'] = true,         ['^'] = true,         ['_'] = true,
    ['`'] = true, ['|'] = true, ['~'] = true, ['0' ... '9'] = true, ['A' ... 'Z'] = true, ['a' ... 'z'] = true,
};

uint16_t peri_header_id(const char *name, size_t len)
{
    if (len == 0)
        return PERI_H_OTHER;
    uint16_t id = by_hash[HASH(len, name[0], name[len - 1])];
    return header_names[id].len == len && memcmp(name, header_names[id].ptr, len) == 0 ? id : PERI_H_OTHER;
}

struct peri_slice peri_header_name(uint16_t id)
{
    peri_assert(id > PERI_H_OTHER && id < PERI_H_COUNT);
    return header_names[id];
}

bool peri_header_is_name(struct peri_slice name)
{
    for (size_t i = 0; i < name.len; i++)
        if (!is_tchar[(unsigned char)name.ptr[i]])
            return false;
    return name.len > 0;
}

bool peri_header_is_value(struct peri_slice value)
{
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.ptr[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

// Is `part`, in lower case, anywhere in `name`?
static bool has_part(struct peri_slice name, struct peri_slice part)
{
    for (size_t i = 0; i + part.len <= name.len; i++)
        if (peri_slice_ieq(peri_slice(name.ptr + i, part.len), part))
            return true;
    return false;
}

bool peri_header_is_secret(struct peri_slice name)
{
    static const char *const parts[] = {"authoriz", "x-auth", "cookie",  "key",        "token",
                                        "secret",   "passw",  "session", "credential", "signature"};
    for (size_t i = 0; i < PERI_COUNT(parts); i++)
        if (has_part(name, peri_slice_from(parts[i])))
            return true;
    return false;
}

void peri_headers_init(struct peri_headers *headers, struct peri_arena *arena)
{
    *headers = (struct peri_headers){.arena = arena};
}

PERI_NOINLINE peri_err_t peri_headers_grow(struct peri_headers *headers)
{
    unsigned capacity = headers->capacity ? headers->capacity * 2u : PERI_HEADERS_FIRST;
    if (capacity > UINT16_MAX)
        return PERI_ERR_NOMEM;
    struct peri_header *items = peri_arena_alloc(headers->arena, capacity * sizeof(*items));
    if (!items)
        return PERI_ERR_NOMEM;
    if (headers->count > 0)
        memcpy(items, headers->items, headers->count * sizeof(*items));
    headers->items = items;
    headers->capacity = (uint16_t)capacity;
    return PERI_OK;
}

struct peri_header *peri_headers_find_seen(const struct peri_headers *headers, uint16_t id)
{
    for (unsigned i = 0; i < headers->count; i++)
        if (headers->items[i].id == id)
            return &headers->items[i];
    return NULL;
}

struct peri_header *peri_headers_find_name(const struct peri_headers *headers, struct peri_slice name, unsigned from,
                                           unsigned *at)
{
    for (unsigned i = from; i < headers->count; i++) {
        struct peri_header *header = &headers->items[i];
        if (header->name_len == name.len && peri_slice_ieq(peri_slice(header->name, header->name_len), name)) {
            if (at)
                *at = i;
            return header;
        }
    }
    return NULL;
}

struct peri_slice peri_headers_get(const struct peri_headers *headers, uint16_t id)
{
    const struct peri_header *header = peri_headers_find(headers, id);
    return header ? peri_slice(header->value, header->value_len) : peri_slice(NULL, 0);
}

static peri_err_t append(struct peri_headers *headers, struct peri_slice name, struct peri_slice value, uint16_t id)
{
    struct peri_header *header = peri_headers_push(headers, id);
    if (!header)
        return PERI_ERR_NOMEM;
    header->name = name.ptr;
    header->value = value.ptr;
    header->name_len = (uint32_t)name.len;
    header->value_len = (uint32_t)value.len;
    header->is_line = false;
    return PERI_OK;
}

peri_err_t peri_headers_append(struct peri_headers *headers, struct peri_slice name, struct peri_slice value)
{
    return append(headers, name, value, peri_header_id(name.ptr, name.len));
}

peri_err_t peri_headers_append_known(struct peri_headers *headers, uint16_t id, struct peri_slice value)
{
    return append(headers, peri_header_name(id), value, id);
}

// Copies the name in lower case; ptr is NULL when out of memory.
static struct peri_slice copy_name(struct peri_arena *arena, struct peri_slice name)
{
    char *copy = peri_arena_alloc(arena, name.len);
    for (size_t i = 0; copy && i < name.len; i++)
        copy[i] = peri_ascii_lower(name.ptr[i]);
    return peri_slice(copy, name.len);
}

peri_err_t peri_headers_add(struct peri_headers *headers, struct peri_slice name, struct peri_slice value)
{
    if (!peri_header_is_name(name) || !peri_header_is_value(value))
        return PERI_ERR_INVALID;
    struct peri_slice own_name = copy_name(headers->arena, name);
    struct peri_slice own_value = peri_arena_copy(headers->arena, value);
    if (!own_name.ptr || !own_value.ptr)
        return PERI_ERR_NOMEM;
    return peri_headers_append(headers, own_name, own_value);
}

peri_err_t peri_headers_set(struct peri_headers *headers, struct peri_slice name, struct peri_slice value)
{
    unsigned at;
    struct peri_header *header = peri_headers_find_name(headers, name, 0, &at);
    if (!header)
        return peri_headers_add(headers, name, value);
    if (!peri_header_is_value(value))
        return PERI_ERR_INVALID;
    struct peri_slice own = peri_arena_copy(headers->arena, value);
    if (!own.ptr)
        return PERI_ERR_NOMEM;
    header->value = own.ptr;
    header->value_len = (uint32_t)own.len;
    header->is_line = false;
    unsigned i = at + 1;
    while (peri_headers_find_name(headers, name, i, &i))
        peri_headers_remove_at(headers, i);
    return PERI_OK;
}

unsigned peri_headers_remove(struct peri_headers *headers, struct peri_slice name)
{
    unsigned removed = 0;
    unsigned i = 0;
    while (peri_headers_find_name(headers, name, i, &i)) {
        peri_headers_remove_at(headers, i);
        removed++;
    }
    return removed;
}

void peri_headers_remove_at(struct peri_headers *headers, unsigned index)
{
    peri_assert(index < headers->count);
    headers->count--;
    memmove(&headers->items[index], &headers->items[index + 1], (headers->count - index) * sizeof(headers->items[0]));
}

// The value of `name` in one Cookie header (RFC 6265 4.2.1); ptr is NULL when it is not there.
static struct peri_slice read_cookie(struct peri_slice rest, struct peri_slice name)
{
    while (rest.len > 0) {
        const char *end = memchr(rest.ptr, ';', rest.len);
        size_t len = end ? (size_t)(end - rest.ptr) : rest.len;
        struct peri_slice pair = peri_slice_trim(peri_slice(rest.ptr, len));
        if (pair.len > name.len && pair.ptr[name.len] == '=' && memcmp(pair.ptr, name.ptr, name.len) == 0) {
            struct peri_slice value = peri_slice(pair.ptr + name.len + 1, pair.len - name.len - 1);
            bool is_quoted = value.len >= 2 && value.ptr[0] == '"' && value.ptr[value.len - 1] == '"';
            return is_quoted ? peri_slice(value.ptr + 1, value.len - 2) : value;
        }
        rest.ptr += end ? len + 1 : len;
        rest.len -= end ? len + 1 : len;
    }
    return peri_slice(NULL, 0);
}

struct peri_slice peri_headers_find_cookie(const struct peri_headers *headers, struct peri_slice name)
{
    struct peri_slice value = {NULL, 0};
    bool has_any = name.len > 0 && headers->seen & PERI_HEADERS_BIT(PERI_H_COOKIE);
    for (unsigned i = 0; has_any && !value.ptr && i < headers->count; i++) {
        const struct peri_header *header = &headers->items[i];
        if (header->id == PERI_H_COOKIE)
            value = read_cookie(peri_slice(header->value, header->value_len), name);
    }
    return value;
}
