// SPDX-License-Identifier: MIT
// Request targets and authorities in one scan where they are already normal, which nearly all are; the rest is rewritten
// into the arena. A byte of a path has exactly one spelling in the normal form: unreserved bytes raw, bytes that RFC 3986
// does not allow in a segment percent-encoded, delimiters as they came (RFC 3986 2.2 gives both spellings a meaning).
// What two readers may understand differently is refused, never repaired.
#include "codec/url.h"

#include <arpa/inet.h>

#define HOST_MAX 255

// What a byte may be; RFC 3986 2.2, 2.3, 3.3.
enum {
    IS_UNRESERVED = 1, ///< means the same raw and percent-encoded
    IS_SEGMENT = 2,    ///< stands raw in a segment of a normal path (pchar)
    IS_ENCODED = 4,    ///< is percent-encoded in a normal path
    IS_QUERY = 8,      ///< may stand in a query
    IS_UPPER = 16,     ///< an upper-case letter
};

#define UNRESERVED (IS_UNRESERVED | IS_SEGMENT | IS_QUERY)
#define DELIMITER (IS_SEGMENT | IS_QUERY)
#define FOREIGN (IS_ENCODED | IS_QUERY)

// Control bytes, space and '#' are nothing.
static const uint8_t byte_classes[256] = {
    ['a' ... 'z'] = UNRESERVED,
    ['A' ... 'Z'] = UNRESERVED | IS_UPPER,
    ['0' ... '9'] = UNRESERVED,
    ['-'] = UNRESERVED,
    ['.'] = UNRESERVED,
    ['_'] = UNRESERVED,
    ['~'] = UNRESERVED,
    ['!'] = DELIMITER,
    ['$'] = DELIMITER,
    ['&'] = DELIMITER,
    ['\''] = DELIMITER,
    ['('] = DELIMITER,
    [')'] = DELIMITER,
    ['*'] = DELIMITER,
    ['+'] = DELIMITER,
    [','] = DELIMITER,
    [';'] = DELIMITER,
    ['='] = DELIMITER,
    [':'] = DELIMITER,
    ['@'] = DELIMITER,
    ['/'] = IS_QUERY,
    ['?'] = IS_QUERY,
    ['%'] = IS_QUERY,
    ['\\'] = IS_QUERY,
    ['"'] = FOREIGN,
    ['<'] = FOREIGN,
    ['>'] = FOREIGN,
    ['['] = FOREIGN,
    [']'] = FOREIGN,
    ['^'] = FOREIGN,
    ['`'] = FOREIGN,
    ['{'] = FOREIGN,
    ['|'] = FOREIGN,
    ['}'] = FOREIGN,
    [0x80 ... 0xff] = FOREIGN,
};

static unsigned byte_class(char c)
{
    return byte_classes[(unsigned char)c];
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = peri_ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/// The byte that the escape at text[at] stands for, or -1 when it is incomplete.
static int escape_value(struct peri_slice text, size_t at)
{
    if (text.len - at < 3)
        return -1;
    int high = hex_value(text.ptr[at + 1]), low = hex_value(text.ptr[at + 2]);
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

static char *put_escape(char *out, unsigned char byte)
{
    static const char digits[] = "0123456789ABCDEF";
    *out++ = '%';
    *out++ = digits[byte >> 4];
    *out++ = digits[byte & 15];
    return out;
}

// ---------------------------------------------------------------- paths

/// Is the text up to a '/' or the end a dot segment, or one with a parameter ("..;x"), which some servers read as one?
static bool is_dot_segment(const char *ptr, const char *end)
{
    for (int dots = 0; dots < 2 && ptr < end && *ptr == '.'; dots++)
        ptr++;
    return ptr == end || *ptr == '/' || *ptr == ';';
}

/// Is the '%' at path.ptr[at] an escape that normalising keeps as it is?
static bool is_normal_escape(struct peri_slice path, size_t at)
{
    int byte = escape_value(path, at);
    return byte > 0 && byte != '/' && byte != '\\' && !(byte_class((char)byte) & IS_UNRESERVED) &&
           path.ptr[at + 1] < 'a' && path.ptr[at + 2] < 'a';
}

/// One scan: does the path hold nothing that normalising would change or refuse?
static bool is_normal(struct peri_slice path)
{
    const char *end = path.ptr + path.len;
    if (path.len == 0 || path.ptr[0] != '/')
        return false;
    for (const char *ptr = path.ptr; ptr < end; ptr++) {
        if (PERI_LIKELY(byte_class(*ptr) & IS_SEGMENT))
            continue;
        if (*ptr == '/') {
            if (ptr + 1 < end && (ptr[1] == '/' || (ptr[1] == '.' && is_dot_segment(ptr + 1, end))))
                return false;
        } else if (*ptr != '%' || !is_normal_escape(path, (size_t)(ptr - path.ptr))) {
            return false;
        }
    }
    return true;
}

/// Writes the normal form of the segment at text[*at] to `out` and moves *at to its end. NULL when it must be refused.
static char *put_segment(struct peri_slice text, size_t *at, char *out)
{
    for (; *at < text.len && text.ptr[*at] != '/'; ++*at) {
        char c = text.ptr[*at];
        if (c == '%') {
            int byte = escape_value(text, *at);
            if (byte <= 0 || byte == '/' || byte == '\\')
                return NULL;
            *at += 2;
            if (byte_class((char)byte) & IS_UNRESERVED)
                *out++ = (char)byte;
            else
                out = put_escape(out, (unsigned char)byte);
        } else if (byte_class(c) & IS_SEGMENT) {
            *out++ = c;
        } else if (byte_class(c) & IS_ENCODED) {
            out = put_escape(out, (unsigned char)c);
        } else {
            return NULL;
        }
    }
    return out;
}

/// Normalises into `base`, which has room. Returns the end of what was written, NULL when the path must be refused.
static char *put_path(struct peri_slice path, char *base)
{
    char *out = base;
    *out++ = '/';
    for (size_t at = 1; at < path.len;) {
        if (path.ptr[at] == '/') {
            at++;
            continue;
        }
        char *segment = out;
        out = put_segment(path, &at, out);
        if (!out)
            return NULL;
        if (*segment == '.' && is_dot_segment(segment, out)) {
            size_t len = (size_t)(out - segment);
            bool is_plain = len == 1 || (len == 2 && segment[1] == '.');
            if (!is_plain || (len == 2 && segment == base + 1))
                return NULL;
            out = segment - (len == 2);
            while (out[-1] != '/')
                out--;
        } else if (at < path.len) {
            *out++ = '/';
        }
    }
    return out;
}

/// Bytes that the normal form of `path` may take.
static size_t normal_room(struct peri_slice path)
{
    size_t room = path.len;
    for (size_t i = 0; i < path.len; i++)
        room += byte_class(path.ptr[i]) & IS_ENCODED ? 2 : 0;
    return room;
}

peri_err_t peri_url_normalize_path(struct peri_arena *arena, struct peri_slice path, struct peri_slice *normal)
{
    if (PERI_LIKELY(is_normal(path))) {
        *normal = path;
        return PERI_OK;
    }
    if (path.len == 0 || path.ptr[0] != '/')
        return PERI_ERR_BAD_PATH;
    char *base = peri_arena_alloc(arena, normal_room(path));
    if (!base)
        return PERI_ERR_NOMEM;
    char *end = put_path(path, base);
    if (!end)
        return PERI_ERR_BAD_PATH;
    *normal = peri_slice(base, (size_t)(end - base));
    return PERI_OK;
}

// ---------------------------------------------------------------- targets

static bool is_query(struct peri_slice query)
{
    for (size_t i = 0; i < query.len; i++)
        if (!(byte_class(query.ptr[i]) & IS_QUERY))
            return false;
    return true;
}

/// Path and query of `target`; an empty path is "/" (RFC 9110 4.2.3).
static peri_err_t parse_path(struct peri_arena *arena, struct peri_slice target, struct peri_url *url)
{
    const char *mark = target.len ? memchr(target.ptr, '?', target.len) : NULL;
    struct peri_slice path = peri_slice(target.ptr, mark ? (size_t)(mark - target.ptr) : target.len);
    if (mark)
        url->query = peri_slice(mark + 1, target.len - path.len - 1);
    if (!is_query(url->query))
        return PERI_ERR_BAD_PATH;
    if (path.len == 0)
        path = PERI_SLICE("/");
    return peri_url_normalize_path(arena, path, &url->path);
}

/// Takes "http://" or "https://" off the front of `target`; no other scheme is asked of a proxy like this one.
static bool take_scheme(struct peri_slice *target, struct peri_slice *scheme)
{
    static const struct peri_slice schemes[] = {{"http", 4}, {"https", 5}};
    for (size_t i = 0; i < PERI_COUNT(schemes); i++) {
        size_t len = schemes[i].len;
        if (target->len < len + 3 || memcmp(target->ptr + len, "://", 3) != 0 ||
            !peri_slice_ieq(peri_slice(target->ptr, len), schemes[i]))
            continue;
        *scheme = schemes[i];
        *target = peri_slice(target->ptr + len + 3, target->len - len - 3);
        return true;
    }
    return false;
}

peri_err_t peri_url_parse_target(struct peri_arena *arena, struct peri_slice target, struct peri_url *url)
{
    *url = (struct peri_url){0};
    if (target.len > 0 && target.ptr[0] == '/')
        return parse_path(arena, target, url);
    if (peri_slice_eq(target, PERI_SLICE("*"))) {
        url->path = target;
        return PERI_OK;
    }
    if (!take_scheme(&target, &url->scheme))
        return PERI_ERR_BAD_PATH;
    size_t len = 0;
    while (len < target.len && target.ptr[len] != '/' && target.ptr[len] != '?' && target.ptr[len] != '#')
        len++;
    url->authority = peri_slice(target.ptr, len);
    peri_err_t err = peri_url_parse_authority(arena, url->authority, &url->host, &url->port);
    return err ? err : parse_path(arena, peri_slice(target.ptr + len, target.len - len), url);
}

// ---------------------------------------------------------------- authorities

/// Takes ":port" off the end. The port is 1 to 65535 in at most five digits.
static bool take_port(struct peri_slice *authority, uint16_t *port)
{
    size_t digits = 0;
    uint32_t value = 0;
    while (digits < authority->len && authority->ptr[authority->len - 1 - digits] != ':')
        digits++;
    if (digits == 0 || digits > 5 || digits >= authority->len)
        return false;
    for (size_t i = authority->len - digits; i < authority->len; i++) {
        if (authority->ptr[i] < '0' || authority->ptr[i] > '9')
            return false;
        value = value * 10 + (uint32_t)(authority->ptr[i] - '0');
    }
    authority->len -= digits + 1;
    *port = (uint16_t)value;
    return value > 0 && value <= UINT16_MAX;
}

/// A registered name or an IPv4 address: labels of unreserved bytes, none empty. Collects the classes
/// of its bytes in *seen.
static bool is_name(struct peri_slice host, unsigned *seen)
{
    for (size_t i = 0; i < host.len; i++) {
        unsigned class = byte_class(host.ptr[i]);
        *seen |= class;
        if (!(class & IS_UNRESERVED))
            return false;
        if (host.ptr[i] == '.' && (i == 0 || i + 1 == host.len || host.ptr[i + 1] == '.'))
            return false;
    }
    return host.len > 0 && host.len <= HOST_MAX;
}

static bool is_ipv6(struct peri_slice host, unsigned *seen)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr addr;
    if (host.len < 4 || host.len - 2 >= sizeof text || host.ptr[host.len - 1] != ']')
        return false;
    for (size_t i = 1; i < host.len - 1; i++) {
        *seen |= byte_class(host.ptr[i]);
        text[i - 1] = host.ptr[i];
    }
    text[host.len - 2] = '\0';
    return strlen(text) == host.len - 2 && inet_pton(AF_INET6, text, &addr) == 1;
}

static peri_err_t lower_host(struct peri_arena *arena, struct peri_slice *host)
{
    char *lower = peri_arena_alloc(arena, host->len);
    if (!lower)
        return PERI_ERR_NOMEM;
    for (size_t i = 0; i < host->len; i++)
        lower[i] = peri_ascii_lower(host->ptr[i]);
    host->ptr = lower;
    return PERI_OK;
}

peri_err_t peri_url_parse_authority(struct peri_arena *arena, struct peri_slice authority, struct peri_slice *host,
                                    uint16_t *port)
{
    unsigned seen = 0;
    *port = 0;
    *host = authority;
    if (authority.len == 0)
        return PERI_ERR_BAD_HOST;
    if (authority.ptr[0] == '[') {
        if (authority.ptr[authority.len - 1] != ']' && !take_port(host, port))
            return PERI_ERR_BAD_HOST;
        if (!is_ipv6(*host, &seen))
            return PERI_ERR_BAD_HOST;
    } else {
        if (memchr(authority.ptr, ':', authority.len) && !take_port(host, port))
            return PERI_ERR_BAD_HOST;
        if (host->len > 1 && host->ptr[host->len - 1] == '.')
            host->len--;
        if (!is_name(*host, &seen))
            return PERI_ERR_BAD_HOST;
    }
    return seen & IS_UPPER ? lower_host(arena, host) : PERI_OK;
}

// ---------------------------------------------------------------- escapes and queries

peri_err_t peri_url_decode(struct peri_arena *arena, struct peri_slice text, bool plus_is_space, struct peri_slice *out)
{
    char *base = peri_arena_alloc(arena, text.len + 1);
    if (!base)
        return PERI_ERR_NOMEM;
    char *end = base;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '%') {
            int byte = escape_value(text, i);
            if (byte < 0)
                return PERI_ERR_INVALID;
            c = (char)byte;
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        *end++ = c;
    }
    *end = '\0';
    *out = peri_slice(base, (size_t)(end - base));
    return PERI_OK;
}

/// Is `raw`, decoded as form data, equal to `name`? A broken escape stands for itself (WHATWG URL 5.1).
static bool is_decoded_eq(struct peri_slice raw, struct peri_slice name)
{
    size_t matched = 0;
    for (size_t i = 0; i < raw.len; i++, matched++) {
        char c = raw.ptr[i];
        int byte = c == '%' ? escape_value(raw, i) : -1;
        if (byte >= 0) {
            c = (char)byte;
            i += 2;
        } else if (c == '+') {
            c = ' ';
        }
        if (matched == name.len || name.ptr[matched] != c)
            return false;
    }
    return matched == name.len;
}

bool peri_url_next_query(struct peri_slice *rest, struct peri_slice *name, struct peri_slice *value)
{
    while (rest->len > 0) {
        const char *amp = memchr(rest->ptr, '&', rest->len);
        struct peri_slice pair = peri_slice(rest->ptr, amp ? (size_t)(amp - rest->ptr) : rest->len);
        size_t used = pair.len + (amp ? 1 : 0);
        *rest = peri_slice(rest->ptr + used, rest->len - used);
        if (pair.len == 0)
            continue;
        const char *mark = memchr(pair.ptr, '=', pair.len);
        *name = peri_slice(pair.ptr, mark ? (size_t)(mark - pair.ptr) : pair.len);
        *value = peri_slice(pair.ptr + pair.len, 0);
        if (mark)
            *value = peri_slice(mark + 1, pair.len - name->len - 1);
        return true;
    }
    return false;
}

bool peri_url_find_query(struct peri_slice query, struct peri_slice name, struct peri_slice *raw)
{
    struct peri_slice found, value;
    while (peri_url_next_query(&query, &found, &value)) {
        if (!is_decoded_eq(found, name))
            continue;
        *raw = value;
        return true;
    }
    return false;
}
