// SPDX-License-Identifier: MIT
// A ClientHello is one handshake message in one or more records:
//
//   record     22 | 3, minor | length (2) | payload           the payloads joined are
//   message    1 | length (3) | body                          and the body is
//   body       version (2) | random (32) | <session id> | <cipher suites> | <compression> | <extensions>
//
// A first walk over the record headers says whether the message is whole; only then are the payloads joined (when they are more
// than one) and read. What the server behind us would read in another way is refused: repeated extensions, lengths that leave
// something over, names with bytes that no host name has.
#include "codec/client_hello.h"

#define RECORD_HEADER 5
#define RECORD_MAX (16 * 1024)
#define MESSAGE_HEADER 4

enum extension { EXTENSION_SERVER_NAME = 0, EXTENSION_ALPN = 16 };

// ---- reading with bounds: what is not there makes the cursor broken, and it stays so ----

struct cursor {
    struct peri_slice rest;
    bool is_broken;
};

static struct peri_slice take(struct cursor *c, size_t len)
{
    struct peri_slice taken = peri_slice(c->rest.ptr, len);
    if (c->is_broken || len > c->rest.len) {
        c->is_broken = true;
        return PERI_SLICE("");
    }
    c->rest = peri_slice(c->rest.ptr + len, c->rest.len - len);
    return taken;
}

// An unsigned integer of `size` bytes, at most three.
static size_t take_number(struct cursor *c, size_t size)
{
    struct peri_slice bytes = take(c, size);
    size_t value = 0;
    for (size_t i = 0; i < bytes.len; i++)
        value = value << 8 | (uint8_t)bytes.ptr[i];
    return value;
}

// A vector whose length is written in `size` bytes before it; broken when it is shorter than `min`.
static struct cursor take_vector(struct cursor *c, size_t size, size_t min)
{
    struct peri_slice bytes = take(c, take_number(c, size));
    if (bytes.len < min)
        c->is_broken = true;
    return (struct cursor){.rest = bytes, .is_broken = c->is_broken};
}

// ---- records ----

// How far the message has come.
struct walk {
    size_t have;      ///< bytes of it
    size_t need;      ///< its length, once its header is there; until then that of the header
    unsigned records; ///< looked at
    bool has_header;  ///< `need` is the length of the message
};

// Judges the first bytes of a record header, as many as there are.
static bool is_record_header(const uint8_t *at, size_t len)
{
    if (at[0] != 22 || (len > 1 && at[1] != 3) || (len > 2 && at[2] > 4))
        return false;
    if (len > 3 && at[3] > RECORD_MAX >> 8)
        return false;
    return len <= 4 || (at[3] << 8 | at[4]) <= RECORD_MAX;
}

// Takes the payload into account: the four bytes of the message header may come in as many records.
static peri_err_t walk_payload(struct walk *w, const uint8_t *payload, size_t len, uint8_t header[MESSAGE_HEADER])
{
    for (size_t i = 0; i < len && w->have + i < MESSAGE_HEADER; i++)
        header[w->have + i] = payload[i];
    w->have += len;
    if (w->have > 0 && header[0] != 1)
        return PERI_ERR_INVALID;
    if (w->has_header || w->have < MESSAGE_HEADER)
        return PERI_OK;
    w->has_header = true;
    w->need = MESSAGE_HEADER + ((size_t)header[1] << 16 | (size_t)header[2] << 8 | header[3]);
    return w->need > PERI_CLIENT_HELLO_MAX ? PERI_ERR_LIMIT : PERI_OK;
}

static peri_err_t walk_records(struct peri_slice data, struct walk *w)
{
    uint8_t header[MESSAGE_HEADER] = {0};
    while (w->have < w->need) {
        const uint8_t *at = (const uint8_t *)data.ptr;
        if (data.len == 0)
            return PERI_ERR_AGAIN;
        if (w->records++ == PERI_CLIENT_HELLO_RECORDS)
            return PERI_ERR_LIMIT;
        if (!is_record_header(at, data.len))
            return PERI_ERR_INVALID;
        if (data.len < RECORD_HEADER)
            return PERI_ERR_AGAIN;
        size_t len = (size_t)at[3] << 8 | at[4], rest = data.len - RECORD_HEADER;
        if (len == 0) // no handshake record is empty (RFC 8446 5.1)
            return PERI_ERR_INVALID;
        peri_err_t err = walk_payload(w, at + RECORD_HEADER, len < rest ? len : rest, header);
        if (err != PERI_OK)
            return err;
        if (rest < len)
            return w->has_header && w->have >= w->need ? PERI_OK : PERI_ERR_AGAIN;
        data = peri_slice(data.ptr + RECORD_HEADER + len, rest - len);
    }
    return PERI_OK;
}

// Joins the payloads: `need` bytes, which walk_records has seen.
static void join_records(const char *at, size_t need, char *out)
{
    while (need > 0) {
        size_t len = (size_t)(uint8_t)at[3] << 8 | (uint8_t)at[4];
        size_t part = len < need ? len : need;
        memcpy(out, at + RECORD_HEADER, part);
        at += RECORD_HEADER + len;
        out += part;
        need -= part;
    }
}

// ---- the message ----

static bool is_name_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
}

static bool read_host_name(struct peri_slice name, struct peri_client_hello *hello)
{
    if (name.len > 0 && name.ptr[name.len - 1] == '.')
        name.len--;
    if (name.len == 0 || name.len >= sizeof hello->server_name || hello->server_name[0] != '\0')
        return false;
    for (size_t i = 0; i < name.len; i++) {
        hello->server_name[i] = peri_ascii_lower(name.ptr[i]);
        if (!is_name_byte(hello->server_name[i]))
            return false;
    }
    hello->server_name[name.len] = '\0';
    return true;
}

// A list of names, of which only the type "host name" (0) exists, and only once.
static bool read_server_name(struct cursor extension, struct peri_client_hello *hello)
{
    struct cursor names = take_vector(&extension, 2, 1);
    size_t type = take_number(&names, 1);
    struct cursor name = take_vector(&names, 2, 1);
    if (extension.is_broken || extension.rest.len > 0 || names.is_broken || names.rest.len > 0 || type != 0)
        return false;
    return read_host_name(name.rest, hello);
}

static peri_err_t read_alpn(struct cursor extension, struct peri_client_hello *hello)
{
    struct cursor names = take_vector(&extension, 2, 2);
    struct peri_slice list = names.rest;
    while (!names.is_broken && names.rest.len > 0)
        take_vector(&names, 1, 1);
    if (extension.is_broken || extension.rest.len > 0 || names.is_broken || hello->alpn_len > 0)
        return PERI_ERR_INVALID;
    if (list.len > sizeof hello->alpn)
        return PERI_ERR_LIMIT;
    memcpy(hello->alpn, list.ptr, list.len);
    hello->alpn_len = (uint16_t)list.len;
    return PERI_OK;
}

static peri_err_t read_extensions(struct cursor extensions, struct peri_client_hello *hello)
{
    while (extensions.rest.len > 0) {
        size_t type = take_number(&extensions, 2);
        struct cursor extension = take_vector(&extensions, 2, 0);
        peri_err_t err = PERI_OK;
        if (extensions.is_broken)
            return PERI_ERR_INVALID;
        if (type == EXTENSION_SERVER_NAME && !read_server_name(extension, hello))
            err = PERI_ERR_INVALID;
        else if (type == EXTENSION_ALPN)
            err = read_alpn(extension, hello);
        if (err != PERI_OK)
            return err;
    }
    return PERI_OK;
}

static peri_err_t read_body(struct cursor body, struct peri_client_hello *hello)
{
    take(&body, 2 + 32); // version, random
    take_vector(&body, 1, 0);
    take_vector(&body, 2, 2);
    take_vector(&body, 1, 1);
    if (body.is_broken)
        return PERI_ERR_INVALID;
    if (body.rest.len == 0) // before RFC 3546 there were no extensions
        return PERI_OK;
    struct cursor extensions = take_vector(&body, 2, 0);
    if (body.is_broken || body.rest.len > 0)
        return PERI_ERR_INVALID;
    return read_extensions(extensions, hello);
}

peri_err_t peri_client_hello_parse(struct peri_slice data, struct peri_client_hello *hello)
{
    struct walk w = {.need = MESSAGE_HEADER};
    char joined[PERI_CLIENT_HELLO_MAX];
    hello->server_name[0] = '\0';
    hello->alpn_len = 0;
    peri_err_t err = walk_records(data, &w);
    if (err != PERI_OK)
        return err;
    struct peri_slice message = peri_slice(data.ptr + RECORD_HEADER, w.need);
    if (w.records > 1) {
        join_records(data.ptr, w.need, joined);
        message.ptr = joined;
    }
    struct cursor body = {.rest = peri_slice(message.ptr + MESSAGE_HEADER, message.len - MESSAGE_HEADER)};
    return read_body(body, hello);
}

bool peri_client_hello_next(const struct peri_client_hello *hello, size_t *at, struct peri_slice *protocol)
{
    if (*at >= hello->alpn_len)
        return false;
    *protocol = peri_slice((const char *)hello->alpn + *at + 1, hello->alpn[*at]);
    *at += 1 + protocol->len;
    return true;
}
