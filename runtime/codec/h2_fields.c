// SPDX-License-Identifier: MIT
// Fields of HTTP/2 messages: from HPACK's pairs to heads, checked so that the same message in HTTP/1.1 means the same (RFC 9113
// 8.2, 8.3, 10.3), and back. nghttp2 has already refused what no HTTP/2 message may have: upper case, connection-specific
// fields, pseudo fields that are unknown, repeated or late.
#include <stdio.h>
#include <stdlib.h>

#include "codec/h2_internal.h"

#define FIELD_OVERHEAD 32 // RFC 9113 6.5.2

static void spoil(struct peri_h2_stream *stream, peri_err_t err)
{
    if (stream->block.err == PERI_OK)
        stream->block.err = err;
}

// ---- reading ----

// Room for a cookie of `len` bytes: twice what is asked for, so that many crumbs are not copied as often.
static char *cookie_reserve(struct peri_h2_block *block, size_t len)
{
    char *old = (char *)(uintptr_t)block->cookie.ptr;
    if (old && len <= block->cookie_room)
        return old;
    char *room = peri_arena_alloc(block->headers->arena, 2 * len + 1);
    if (!room)
        return NULL;
    if (old)
        memcpy(room, old, block->cookie.len);
    block->cookie_room = 2 * len + 1;
    return room;
}

// Crumbs become one field at the end of the block (RFC 9113 8.2.3).
static peri_err_t add_crumb(struct peri_h2_stream *stream, struct peri_slice value)
{
    struct peri_h2_block *block = &stream->block;
    size_t at = block->cookie.len;
    size_t glue = block->cookie.ptr ? 2 : 0;
    char *joined = cookie_reserve(block, at + glue + value.len);
    if (!joined)
        return PERI_ERR_NOMEM;
    memcpy(joined + at, "; ", glue);
    memcpy(joined + at + glue, value.ptr, value.len);
    block->cookie = peri_slice(joined, at + glue + value.len);
    return PERI_OK;
}

static bool has_underscore(struct peri_slice name)
{
    return memchr(name.ptr, '_', name.len) != NULL;
}

static peri_err_t add_field(struct peri_h2_stream *stream, struct peri_slice name, struct peri_slice value)
{
    if (!stream->h2->limits.allow_underscores && has_underscore(name))
        spoil(stream, PERI_ERR_BAD_REQUEST);
    if (peri_slice_eq(name, PERI_SLICE("cookie")))
        return add_crumb(stream, value);
    peri_err_t err = peri_headers_add(stream->block.headers, name, value);
    if (err == PERI_ERR_INVALID) {
        spoil(stream, PERI_ERR_BAD_REQUEST);
        return PERI_OK;
    }
    return err;
}

static peri_err_t keep(struct peri_h2_stream *stream, struct peri_slice value, struct peri_slice *place)
{
    *place = peri_arena_copy(stream->block.headers->arena, value);
    return place->ptr ? PERI_OK : PERI_ERR_NOMEM;
}

static bool is_http(struct peri_slice scheme)
{
    return peri_slice_eq(scheme, PERI_SLICE("http")) || peri_slice_eq(scheme, PERI_SLICE("https"));
}

static peri_err_t take_pseudo(struct peri_h2_stream *stream, struct peri_slice name, struct peri_slice value)
{
    struct peri_request *req = stream->req;
    if (!peri_header_is_value(value))
        spoil(stream, PERI_ERR_BAD_REQUEST);
    if (peri_slice_eq(name, PERI_SLICE(":status"))) {
        stream->block.status = 0;
        for (size_t i = 0; i < value.len && i < 3; i++)
            stream->block.status = stream->block.status * 10 + (value.ptr[i] - '0');
        return PERI_OK;
    }
    if (!req || stream->has_head)
        return PERI_OK;
    if (peri_slice_eq(name, PERI_SLICE(":method")))
        return keep(stream, value, &req->method_name);
    if (peri_slice_eq(name, PERI_SLICE(":path")))
        return keep(stream, value, &req->target);
    if (peri_slice_eq(name, PERI_SLICE(":authority")))
        return keep(stream, value, &req->authority);
    if (peri_slice_eq(name, PERI_SLICE(":scheme")) && !is_http(value))
        spoil(stream, PERI_ERR_BAD_REQUEST); // nghttp2 looks at the paths of these two only
    if (peri_slice_eq(name, PERI_SLICE(":protocol")))
        return keep(stream, value, &stream->block.protocol);
    return PERI_OK;
}

peri_err_t peri_h2_take_field(struct peri_h2_stream *stream, struct peri_slice name, struct peri_slice value)
{
    const struct peri_h2_limits *limits = &stream->h2->limits;
    size_t cost = name.len + value.len + FIELD_OVERHEAD;
    stream->block.count++;
    if (cost > limits->header_bytes - stream->block.bytes || stream->block.count > limits->headers) {
        stream->block.bytes = limits->header_bytes;
        spoil(stream, PERI_ERR_HEADERS_TOO_LARGE);
        return peri_h2_guard_excess(stream, cost);
    }
    stream->block.bytes += (uint32_t)cost;
    if (!stream->block.headers || stream->block.err != PERI_OK)
        return PERI_OK;
    return name.len > 0 && name.ptr[0] == ':' ? take_pseudo(stream, name, value) : add_field(stream, name, value);
}

// The length, if it was said; nghttp2 compares it with what comes.
static int64_t read_length(const struct peri_headers *headers, bool ends)
{
    struct peri_slice text = peri_headers_get(headers, PERI_H_CONTENT_LENGTH);
    int64_t length = 0;
    if (ends)
        return PERI_LENGTH_NONE;
    if (!text.ptr || text.len == 0 || text.len > 18)
        return PERI_LENGTH_UNKNOWN;
    for (size_t i = 0; i < text.len; i++)
        length = length * 10 + (text.ptr[i] - '0');
    return length;
}

static peri_err_t finish_fields(struct peri_h2_stream *stream)
{
    struct peri_headers *headers = stream->block.headers;
    static const uint16_t framing[] = {PERI_H_TE, PERI_H_CONTENT_LENGTH, PERI_H_TRAILER};
    for (size_t i = 0; i < sizeof(framing) / sizeof(*framing); i++)
        if (peri_headers_find(headers, framing[i]))
            peri_headers_remove(headers, peri_header_name(framing[i]));
    if (!stream->block.cookie.ptr)
        return PERI_OK;
    struct peri_slice cookie = stream->block.cookie;
    stream->block.cookie = peri_slice(NULL, 0);
    return peri_headers_append_known(headers, PERI_H_COOKIE, cookie);
}

// :authority wins over Host, and they must not differ (RFC 9113 8.3.1); everybody behind us sees one Host.
static peri_err_t settle_host(struct peri_request *req)
{
    unsigned at = 0;
    unsigned hosts = 0;
    struct peri_header *host;
    for (; (host = peri_headers_find_name(&req->headers, PERI_SLICE("host"), at, &at)); at++) {
        struct peri_slice value = peri_slice(host->value, host->value_len);
        if (hosts++ > 0 || (req->authority.len > 0 && !peri_slice_ieq(value, req->authority)))
            return PERI_ERR_BAD_HOST;
        if (req->authority.len == 0)
            req->authority = value;
    }
    if (req->authority.len == 0)
        return PERI_ERR_BAD_HOST;
    return hosts > 0 ? PERI_OK : peri_headers_set(&req->headers, PERI_SLICE("host"), req->authority);
}

// An extended CONNECT is to everybody else what Connection: upgrade is (RFC 8441 5).
static peri_err_t settle_method(struct peri_h2_stream *stream, bool ends)
{
    struct peri_request *req = stream->req;
    req->method = peri_method_parse(req->method_name);
    if (req->method != PERI_METHOD_CONNECT)
        return PERI_OK;
    if (!stream->block.protocol.ptr)
        return PERI_ERR_METHOD;
    if (!peri_slice_eq(stream->block.protocol, PERI_SLICE("websocket")))
        return PERI_ERR_METHOD;
    if (ends)
        return PERI_ERR_BAD_REQUEST; // a tunnel with one direction only
    stream->is_tunnel = true;
    req->upgrade = stream->block.protocol;
    req->method = PERI_METHOD_GET;
    req->method_name = PERI_SLICE("GET");
    return PERI_OK;
}

peri_err_t peri_h2_complete_request(struct peri_h2_stream *stream, bool ends)
{
    struct peri_request *req = stream->req;
    if (stream->block.err != PERI_OK)
        return stream->block.err;
    req->version = 20;
    struct peri_slice te = peri_headers_get(&req->headers, PERI_H_TE);
    req->wants_trailers = te.len > 0;
    req->content_length = read_length(&req->headers, ends);
    peri_err_t err = settle_method(stream, ends);
    if (err == PERI_OK)
        err = settle_host(req);
    if (err != PERI_OK)
        return err;
    struct peri_slice expect = peri_headers_get(&req->headers, PERI_H_EXPECT);
    if (expect.len > 0 && !peri_slice_ieq(expect, PERI_SLICE("100-continue")))
        return PERI_ERR_EXPECTATION;
    req->expects_continue = expect.len > 0 && !ends;
    if (stream->is_tunnel)
        req->content_length = PERI_LENGTH_NONE;
    return finish_fields(stream);
}

peri_err_t peri_h2_complete_response(struct peri_h2_stream *stream, bool ends)
{
    struct peri_response *res = stream->res;
    if (stream->block.err != PERI_OK)
        return stream->block.err;
    res->status = stream->block.status;
    bool has_no_body = ends && !stream->is_head_request && res->status != 304;
    res->content_length = read_length(&res->headers, has_no_body);
    if (res->content_length == PERI_LENGTH_UNKNOWN && ends)
        res->content_length = PERI_LENGTH_NONE;
    return finish_fields(stream);
}

// ---- writing ----

static nghttp2_nv field(struct peri_slice name, struct peri_slice value)
{
    return (nghttp2_nv){.name = (uint8_t *)(uintptr_t)name.ptr,
                        .value = (uint8_t *)(uintptr_t)value.ptr,
                        .namelen = name.len,
                        .valuelen = value.len};
}

// Values that change with every message, or are secret, are kept out of the peer's table (RFC 7541 7.1).
static bool is_indexed(const struct peri_header *h)
{
    switch (h->id) {
    case PERI_H_AUTHORIZATION:
    case PERI_H_COOKIE:
    case PERI_H_SET_COOKIE:
    case PERI_H_X_REQUEST_ID:
    case PERI_H_AGE: return false;
    default: return !(h->name_len == 11 && memcmp(h->name, "traceparent", 11) == 0);
    }
}

// The handshake of WebSocket in HTTP/1.1, which HTTP/2 does without (RFC 8441 5).
static size_t drop_handshake(nghttp2_nv *out, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        struct peri_slice name = peri_slice((const char *)out[i].name, out[i].namelen);
        bool is_theirs = peri_slice_eq(name, PERI_SLICE("sec-websocket-key")) ||
                         peri_slice_eq(name, PERI_SLICE("sec-websocket-accept"));
        if (!is_theirs)
            out[kept++] = out[i];
    }
    return kept;
}

static size_t put_headers(nghttp2_nv *out, const struct peri_headers *headers, bool skips_host)
{
    size_t count = 0;
    for (unsigned i = 0; i < headers->count; i++) {
        const struct peri_header *h = &headers->items[i];
        if ((skips_host && h->id == PERI_H_HOST) || (h->id != PERI_H_OTHER && (PERI_HEADERS_HOP_BY_HOP >> h->id & 1)))
            continue;
        out[count] = field(peri_slice(h->name, h->name_len), peri_slice(h->value, h->value_len));
        out[count++].flags = is_indexed(h) ? NGHTTP2_NV_FLAG_NONE : NGHTTP2_NV_FLAG_NO_INDEX;
    }
    return count;
}

static size_t put_length(nghttp2_nv *out, int64_t length, char text[24])
{
    if (length < 0)
        return 0;
    int len = snprintf(text, 24, "%lld", (long long)length);
    *out = field(PERI_SLICE("content-length"), peri_slice(text, (size_t)len));
    return 1;
}

static nghttp2_nv *fields_new(const struct peri_headers *headers)
{
    return malloc(((headers ? headers->count : 0) + 8u) * sizeof(nghttp2_nv));
}

// ":path": what routes and policies have made of the target.
static struct peri_slice join_path(char *at, const struct peri_request *req)
{
    memcpy(at, req->path.ptr, req->path.len);
    if (req->query.len == 0)
        return peri_slice(at, req->path.len);
    at[req->path.len] = '?';
    memcpy(at + req->path.len + 1, req->query.ptr, req->query.len);
    return peri_slice(at, req->path.len + 1 + req->query.len);
}

nghttp2_nv *peri_h2_request_fields(const struct peri_request *req, char length[24], size_t *count)
{
    size_t fields = req->headers.count + 8u;
    nghttp2_nv *nv = malloc(fields * sizeof(*nv) + req->path.len + req->query.len + 1);
    bool is_connect = req->upgrade.len > 0;
    size_t n = 0;
    if (!nv)
        return NULL;
    nv[n++] = field(PERI_SLICE(":method"), is_connect ? PERI_SLICE("CONNECT") : req->method_name);
    if (is_connect)
        nv[n++] = field(PERI_SLICE(":protocol"), req->upgrade);
    nv[n++] = field(PERI_SLICE(":scheme"), req->scheme);
    nv[n++] = field(PERI_SLICE(":path"), join_path((char *)(nv + fields), req));
    nv[n++] = field(PERI_SLICE(":authority"), req->authority);
    n += put_headers(nv + n, &req->headers, true);
    n = is_connect ? drop_handshake(nv, n) : n;
    if (req->wants_trailers)
        nv[n++] = field(PERI_SLICE("te"), PERI_SLICE("trailers"));
    n += put_length(nv + n, is_connect ? -1 : req->content_length, length);
    *count = n;
    return nv;
}

static void put_status(nghttp2_nv *out, int status, char text[4])
{
    for (int i = 2; i >= 0; i--, status /= 10)
        text[i] = (char)('0' + status % 10);
    *out = field(PERI_SLICE(":status"), peri_slice(text, 3));
}

nghttp2_nv *peri_h2_response_fields(const struct peri_response *res, bool is_tunnel, char status[4], char length[24],
                                    size_t *count)
{
    nghttp2_nv *nv = fields_new(&res->headers);
    if (!nv)
        return NULL;
    bool opens = is_tunnel && res->status == 101;
    put_status(&nv[0], opens ? 200 : res->status, status);
    size_t n = 1 + put_headers(nv + 1, &res->headers, false);
    n = opens ? drop_handshake(nv, n) : n;
    *count = n + put_length(nv + n, opens ? -1 : res->content_length, length);
    return nv;
}

nghttp2_nv *peri_h2_interim_fields(const struct peri_headers *headers, int status, char text[4], size_t *count)
{
    nghttp2_nv *nv = fields_new(headers);
    if (!nv)
        return NULL;
    put_status(&nv[0], status, text);
    *count = 1 + (headers ? put_headers(nv + 1, headers, false) : 0);
    return nv;
}

nghttp2_nv *peri_h2_trailer_fields(const struct peri_headers *headers, size_t *count)
{
    size_t size = headers->count * sizeof(nghttp2_nv);
    for (unsigned i = 0; i < headers->count; i++)
        size += headers->items[i].name_len + headers->items[i].value_len;
    nghttp2_nv *nv = malloc(size ? size : 1);
    if (!nv)
        return NULL;
    *count = put_headers(nv, headers, false);
    uint8_t *at = (uint8_t *)(nv + headers->count);
    for (size_t i = 0; i < *count; i++) {
        nv[i].name = memcpy(at, nv[i].name, nv[i].namelen);
        at += nv[i].namelen;
        nv[i].value = nv[i].valuelen ? memcpy(at, nv[i].value, nv[i].valuelen) : at;
        at += nv[i].valuelen;
    }
    return nv;
}
