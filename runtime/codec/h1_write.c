// SPDX-License-Identifier: MIT
// The writing half of HTTP/1.x: heads, chunks and trailers as bytes. Callers give enough room; the size functions tell how
// much that is.
#include "codec/h1.h"

#include "base/assert.h"

#define PERI_H1_FRAMING_ROOM 128 ///< framing and connection fields

static char *put(char *out, const char *data, size_t len)
{
    memcpy(out, data, len);
    return out + len;
}

#define PUT(out, literal) put(out, literal, sizeof(literal) - 1)

static char *put_slice(char *out, struct peri_slice s)
{
    if (s.len > 0)
        memcpy(out, s.ptr, s.len);
    return out + s.len;
}

static char *put_decimal(char *out, uint64_t value)
{
    char digits[20];
    unsigned n = 0;
    do
        digits[n++] = (char)('0' + value % 10);
    while (value /= 10);
    while (n > 0)
        *out++ = digits[--n];
    return out;
}

static size_t fields_size(const struct peri_headers *headers)
{
    size_t size = 0;
    for (unsigned i = 0; i < headers->count; i++)
        size += headers->items[i].name_len + headers->items[i].value_len + 4;
    return size;
}

static char *put_field(char *out, const struct peri_header *header)
{
    out = put(out, header->name, header->name_len);
    *out++ = ':';
    *out++ = ' ';
    out = put(out, header->value, header->value_len);
    *out++ = '\r';
    *out++ = '\n';
    return out;
}

static const char *end_of_line(const struct peri_header *header)
{
    return header->value + header->value_len + 2;
}

// Fields that stand behind each other as lines, as a message that was read has them, go out in one copy. What is not the
// caller's to say, should it be there, is left out, and so are those of `except` (bits of ids).
static char *put_fields(char *out, const struct peri_headers *headers, uint32_t except)
{
    const struct peri_header *end = headers->items + headers->count;
    except |= headers->seen & PERI_HEADERS_HOP_BY_HOP;
    for (const struct peri_header *h = headers->items; h < end; h++) {
        if (except & PERI_HEADERS_BIT(h->id))
            continue;
        if (!h->is_line) {
            out = put_field(out, h);
            continue;
        }
        const char *begin = h->name;
        while (h + 1 < end && h[1].is_line && h[1].name == end_of_line(h) && !(except & PERI_HEADERS_BIT(h[1].id)))
            h++;
        out = put(out, begin, (size_t)(end_of_line(h) - begin));
    }
    return out;
}

static char *put_framing(char *out, const struct peri_h1_head *head)
{
    if (head->framing == PERI_H1_CHUNKED) {
        out = PUT(out, "transfer-encoding: chunked\r\n");
    } else if (head->length >= 0 && (head->framing == PERI_H1_LENGTH || head->framing == PERI_H1_NO_BODY)) {
        out = PUT(out, "content-length: ");
        out = put_decimal(out, (uint64_t)head->length);
        out = PUT(out, "\r\n");
    }
    if (head->close)
        out = PUT(out, "connection: close\r\n");
    else if (head->say_keep_alive)
        out = PUT(out, "connection: keep-alive\r\n");
    return PUT(out, "\r\n");
}

size_t peri_h1_request_size(const struct peri_request *req)
{
    return req->method_name.len + req->path.len + req->query.len + req->authority.len + req->upgrade.len +
           fields_size(&req->headers) + PERI_H1_FRAMING_ROOM;
}

char *peri_h1_write_request(char *out, const struct peri_request *req, const struct peri_h1_head *head)
{
    out = put_slice(out, req->method_name);
    *out++ = ' ';
    out = put_slice(out, req->path);
    if (req->query.len > 0) {
        *out++ = '?';
        out = put_slice(out, req->query);
    }
    out = PUT(out, " HTTP/1.1\r\nhost: ");
    out = put_slice(out, req->authority);
    out = PUT(out, "\r\n");
    out = put_fields(out, &req->headers, PERI_HEADERS_BIT(PERI_H_HOST));
    if (req->upgrade.len > 0) {
        out = PUT(out, "connection: upgrade\r\nupgrade: ");
        out = put_slice(out, req->upgrade);
        out = PUT(out, "\r\n");
    } else if (PERI_UNLIKELY(req->wants_trailers)) {
        out = PUT(out, "te: trailers\r\nconnection: te\r\n");
    }
    return put_framing(out, head);
}

size_t peri_h1_response_size(const struct peri_response *res)
{
    return fields_size(&res->headers) + res->upgrade.len + 48 + PERI_H1_FRAMING_ROOM;
}

static char *put_status_line(char *out, int status)
{
    const char *text = peri_status_text(status);
    out = PUT(out, "HTTP/1.1 ");
    out = put_decimal(out, (uint64_t)status);
    *out++ = ' ';
    out = put(out, text, strlen(text));
    return PUT(out, "\r\n");
}

char *peri_h1_write_response(char *out, const struct peri_response *res, const struct peri_h1_head *head)
{
    if (res->status == 200)
        out = PUT(out, "HTTP/1.1 200 OK\r\n");
    else
        out = put_status_line(out, res->status);
    out = put_fields(out, &res->headers, 0);
    if (head->framing == PERI_H1_TUNNEL) {
        out = PUT(out, "connection: upgrade\r\nupgrade: ");
        out = put_slice(out, res->upgrade);
        return PUT(out, "\r\n\r\n");
    }
    return put_framing(out, head);
}

size_t peri_h1_interim_size(const struct peri_headers *headers)
{
    return 64 + (headers ? fields_size(headers) : 0);
}

char *peri_h1_write_interim(char *out, int status, const struct peri_headers *headers)
{
    out = put_status_line(out, status);
    if (headers)
        out = put_fields(out, headers, 0);
    return PUT(out, "\r\n");
}

char *peri_h1_write_chunk(char *out, size_t len)
{
    static const char hex[] = "0123456789abcdef";
    char digits[16];
    unsigned n = 0;
    peri_assert(len > 0); // a chunk of no bytes would end the body
    for (; len > 0; len >>= 4)
        digits[n++] = hex[len & 15];
    while (n > 0)
        *out++ = digits[--n];
    return PUT(out, "\r\n");
}

size_t peri_h1_last_size(const struct peri_headers *trailers)
{
    return 8 + fields_size(trailers);
}

char *peri_h1_write_last(char *out, const struct peri_headers *trailers)
{
    out = PUT(out, "0\r\n");
    out = put_fields(out, trailers, 0);
    return PUT(out, "\r\n");
}
