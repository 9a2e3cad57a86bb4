// SPDX-License-Identifier: MIT
// Tables and grammars of gRPC's headers.
#include "codec/grpc.h"

#include "base/assert.h"
#include "base/attr.h"

#define TIMEOUT_DIGITS 8
#define TIMEOUT_LIMIT 100000000u ///< the first number with too many digits

struct unit {
    char letter;
    uint64_t ns;
};

// From fine to coarse.
static const struct unit units[] = {
    {'n', 1}, {'u', 1000}, {'m', 1000000}, {'S', 1000000000ull}, {'M', 60 * 1000000000ull}, {'H', 3600 * 1000000000ull},
};

// Does a suffix ("+proto"), a parameter or nothing follow?
static bool ends_name(struct peri_slice text, size_t at)
{
    return text.len == at || text.ptr[at] == '+' || text.ptr[at] == ';' || text.ptr[at] == ' ';
}

static bool has_name(struct peri_slice text, struct peri_slice name)
{
    return text.len >= name.len && peri_slice_ieq(peri_slice(text.ptr, name.len), name) && ends_name(text, name.len);
}

enum peri_grpc_kind peri_grpc_kind(struct peri_slice content_type)
{
    if (content_type.len < 16 || peri_ascii_lower(content_type.ptr[12]) != 'g')
        return PERI_GRPC_NONE; // what most types end with
    if (has_name(content_type, PERI_SLICE("application/grpc")))
        return PERI_GRPC_NATIVE;
    if (has_name(content_type, PERI_SLICE("application/grpc-web")))
        return PERI_GRPC_WEB;
    return has_name(content_type, PERI_SLICE("application/grpc-web-text")) ? PERI_GRPC_WEB_TEXT : PERI_GRPC_NONE;
}

struct peri_slice peri_grpc_type(enum peri_grpc_kind kind)
{
    peri_assert(kind != PERI_GRPC_NONE);
    if (kind == PERI_GRPC_NATIVE)
        return PERI_SLICE("application/grpc");
    return kind == PERI_GRPC_WEB ? PERI_SLICE("application/grpc-web+proto")
                                 : PERI_SLICE("application/grpc-web-text+proto");
}

enum peri_grpc_status peri_grpc_status_from(int http)
{
    switch (http) {
    case 400:
    case 500: return PERI_GRPC_INTERNAL;
    case 401: return PERI_GRPC_UNAUTHENTICATED;
    case 403: return PERI_GRPC_PERMISSION_DENIED;
    case 404:
    case 501: return PERI_GRPC_UNIMPLEMENTED;
    case 408:
    case 504: return PERI_GRPC_DEADLINE_EXCEEDED;
    case 413:
    case 429:
    case 431: return PERI_GRPC_RESOURCE_EXHAUSTED;
    case 502:
    case 503: return PERI_GRPC_UNAVAILABLE;
    default: return PERI_GRPC_UNKNOWN;
    }
}

// Number of 1 to `max` digits; false for anything else.
static bool read_digits(struct peri_slice text, size_t max, uint64_t *value)
{
    *value = 0;
    if (text.len == 0 || text.len > max)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return false;
        *value = *value * 10 + (uint64_t)(text.ptr[i] - '0');
    }
    return true;
}

int peri_grpc_status_parse(struct peri_slice text)
{
    uint64_t value;
    return read_digits(text, 2, &value) && value < PERI_GRPC_STATUS_COUNT ? (int)value : -1;
}

peri_err_t peri_grpc_timeout_parse(struct peri_slice text, uint64_t *ns)
{
    uint64_t value;
    if (text.len < 2 || !read_digits(peri_slice(text.ptr, text.len - 1), TIMEOUT_DIGITS, &value))
        return PERI_ERR_INVALID;
    for (unsigned i = 0; i < PERI_COUNT(units); i++) {
        if (units[i].letter != text.ptr[text.len - 1])
            continue;
        bool is_longer = value > PERI_GRPC_TIMEOUT_MAX_NS / units[i].ns;
        *ns = is_longer ? PERI_GRPC_TIMEOUT_MAX_NS : value * units[i].ns;
        return PERI_OK;
    }
    return PERI_ERR_INVALID;
}

size_t peri_grpc_timeout_format(uint64_t ns, char *out)
{
    char digits[TIMEOUT_DIGITS];
    unsigned unit = 0;
    size_t count = 0, len = 0;
    peri_assert(ns <= PERI_GRPC_TIMEOUT_MAX_NS);
    while (ns / units[unit].ns >= TIMEOUT_LIMIT)
        unit++;
    uint64_t value = ns / units[unit].ns;
    do
        digits[count++] = (char)('0' + value % 10);
    while (value /= 10);
    while (count > 0)
        out[len++] = digits[--count];
    out[len++] = units[unit].letter;
    return len;
}

size_t peri_grpc_message_encode(struct peri_slice text, char *out)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t len = 0;
    for (size_t i = 0; i < text.len && i < PERI_GRPC_MESSAGE_MAX; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c >= 0x20 && c <= 0x7e && c != '%') {
            out[len++] = (char)c;
            continue;
        }
        out[len++] = '%';
        out[len++] = hex[c >> 4];
        out[len++] = hex[c & 15];
    }
    return len;
}
