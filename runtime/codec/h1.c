// SPDX-License-Identifier: MIT
// The reading half of HTTP/1.x. llhttp finds the parts; this file keeps them, bounds them and refuses what is ambiguous.
//
//   begin -> target/status -> (name, value)* -> head checked -> body* -> (name, value)* trailers -> end, paused
#include "codec/h1.h"

#include <llhttp.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "base/assert.h"

#define PERI_H1_LINE_ROOM 64    ///< bytes of a request line besides its target
#define PERI_H1_SLACK 16        ///< bytes behind the text that lower_name may touch
#define PERI_H1_EXTENSIONS 4096 ///< bytes of chunk extensions in one message

_Static_assert(sizeof(llhttp_t) <= sizeof(((struct peri_h1 *)0)->parser), "llhttp_t fits");

static llhttp_t *parser_of(struct peri_h1 *h1)
{
    return (llhttp_t *)(void *)h1->parser;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

static int fail(struct peri_h1 *h1, peri_err_t err)
{
    h1->err = err;
    return HPE_USER;
}

// Lines follow: those of a message's head, or trailers.
static void begin_lines(struct peri_h1 *h1, bool is_message)
{
    h1->lines = (struct peri_h1_lines){.is_on = true, .may_be_empty = is_message, .is_first = is_message};
    h1->text = NULL;
    h1->text_len = h1->text_size = 0;
}

static int on_url(llhttp_t *parser, const char *at, size_t len)
{
    struct peri_h1 *h1 = parser->data;
    if (len > h1->limits->uri_bytes)
        return fail(h1, PERI_ERR_URI_TOO_LONG);
    h1->req->target = peri_slice(at, len);
    return 0;
}

typedef int8_t byte_vector __attribute__((vector_size(16)));

#define CASE_BIT 0x20 // between an ASCII letter and its capital

// Sixteen bytes from place 16 - n on: the case bit in the first n.
static const char case_bits[32] = {[0 ... 15] = CASE_BIT};

// Lower-cases a token (ASCII: llhttp has seen to that) in place, sixteen bytes at a time; true when there is a '_'. Reads and writes
// back up to fifteen bytes behind the end, which the text's slack allows.
static bool lower_name(char *name, size_t len)
{
    byte_vector underscores = {0};
    for (size_t i = 0; i < len; i += 16) {
        byte_vector v;
        byte_vector in_name;
        memcpy(&v, name + i, 16);
        memcpy(&in_name, case_bits + 16 - (len - i < 16 ? len - i : 16), 16);
        underscores |= (byte_vector)(v == '_') & in_name;
        v |= (byte_vector)(v >= 'A') & (byte_vector)(v <= 'Z') & in_name;
        memcpy(name + i, &v, 16);
    }
    uint64_t found[2];
    memcpy(found, &underscores, 16);
    return (found[0] | found[1]) != 0;
}

static int on_header_field(llhttp_t *parser, const char *at, size_t len)
{
    struct peri_h1 *h1 = parser->data;
    if (len == 0 || h1->headers->count >= h1->limits->headers)
        return fail(h1, len == 0 ? PERI_ERR_BAD_REQUEST : PERI_ERR_HEADERS_TOO_LARGE);
    if (lower_name(h1->text + (at - h1->text), len) && !h1->limits->allow_underscores)
        return fail(h1, PERI_ERR_BAD_REQUEST);
    h1->name = peri_slice(at, len);
    h1->value = peri_slice(NULL, 0);
    return 0;
}

static int on_header_value(llhttp_t *parser, const char *at, size_t len)
{
    struct peri_h1 *h1 = parser->data;
    if (h1->value.len > 0)
        return fail(h1, PERI_ERR_BAD_REQUEST); // a value in two parts has been folded
    h1->value = peri_slice(at, len);
    return 0;
}

static int on_header_value_complete(llhttp_t *parser)
{
    struct peri_h1 *h1 = parser->data;
    struct peri_headers *headers = h1->headers;
    struct peri_slice name = h1->name;
    struct peri_slice value = h1->value;
    if (name.len == 0)
        return fail(h1, PERI_ERR_BAD_REQUEST);
    bool is_line = value.len > 0 && value.ptr == name.ptr + name.len + 2 && value.ptr[-1] == ' ';
    for (; value.len > 0 && PERI_UNLIKELY(is_space(value.ptr[value.len - 1])); is_line = false)
        value.len--; // llhttp drops leading space only
    uint16_t id = peri_header_id(name.ptr, name.len);
    h1->repeated |= headers->seen & PERI_HEADERS_BIT(id);
    struct peri_header *header = peri_headers_push(headers, id);
    if (!header)
        return fail(h1, PERI_ERR_NOMEM);
    header->name = name.ptr;
    header->value = value.ptr;
    header->name_len = (uint32_t)name.len;
    header->value_len = (uint32_t)value.len;
    header->is_line = is_line;
    h1->name.len = 0;
    return 0;
}

// Makes every field that a Connection field lists a hop-by-hop one too; but Host, which routing rests on, is not the client's to
// remove.
static void mark_listed(struct peri_headers *headers, struct peri_slice list)
{
    struct peri_slice name;
    while (peri_slice_next(&list, &name)) {
        unsigned at = 0;
        for (struct peri_header *header; (header = peri_headers_find_name(headers, name, at, &at)); at++)
            if (header->id != PERI_H_HOST && header->id != PERI_H_CONNECTION)
                header->id = PERI_H_KEEP_ALIVE;
    }
}

// Removes framing and hop-by-hop fields and those that Connection lists (RFC 9110 7.6.1).
static void strip_hop_by_hop(struct peri_headers *headers)
{
    unsigned kept = 0;
    if (!(headers->seen & PERI_HEADERS_HOP_BY_HOP))
        return;
    for (unsigned i = 0; i < headers->count && headers->seen & PERI_HEADERS_BIT(PERI_H_CONNECTION); i++) {
        struct peri_slice value = peri_slice(headers->items[i].value, headers->items[i].value_len);
        if (headers->items[i].id == PERI_H_CONNECTION)
            mark_listed(headers, value);
    }
    for (unsigned i = 0; i < headers->count; i++) {
        if (PERI_HEADERS_HOP_BY_HOP & PERI_HEADERS_BIT(headers->items[i].id))
            continue;
        if (kept != i)
            headers->items[kept] = headers->items[i];
        kept++;
    }
    headers->count = (uint16_t)kept;
    headers->seen &= ~PERI_HEADERS_HOP_BY_HOP;
}

// "Content-Length:  5": some readers take the second space for part of the value. One space or none is all we accept.
static peri_err_t read_length(const struct peri_h1 *h1, int64_t *length)
{
    const llhttp_t *parser = (const llhttp_t *)(const void *)h1->parser;
    const struct peri_header *header = peri_headers_find_seen(h1->headers, PERI_H_CONTENT_LENGTH);
    if (header->value_len == 0 || header->value - header->name > (ptrdiff_t)header->name_len + 2 ||
        parser->content_length > INT64_MAX)
        return PERI_ERR_SMUGGLING;
    *length = (int64_t)parser->content_length;
    return PERI_OK;
}

// The length of the message by its fields (RFC 9112 6.3), refusing every combination that two readers may take differently.
static peri_err_t read_framing(struct peri_h1 *h1, int64_t *length, bool *has_framing)
{
    static const uint32_t has_length = PERI_HEADERS_BIT(PERI_H_CONTENT_LENGTH);
    static const uint32_t has_coding = PERI_HEADERS_BIT(PERI_H_TRANSFER_ENCODING);
    uint32_t framing = h1->headers->seen & (has_length | has_coding);
    *has_framing = framing != 0;
    if (h1->repeated & framing || framing == (has_length | has_coding))
        return PERI_ERR_SMUGGLING;
    if (framing == has_length)
        return read_length(h1, length);
    *length = framing ? PERI_LENGTH_UNKNOWN : PERI_LENGTH_NONE;
    struct peri_slice coding = peri_headers_get(h1->headers, PERI_H_TRANSFER_ENCODING);
    bool is_chunked = peri_slice_ieq(coding, PERI_SLICE("chunked")) && parser_of(h1)->http_minor > 0;
    return framing && !is_chunked ? PERI_ERR_SMUGGLING : PERI_OK;
}

// Protocol asked for by Connection: upgrade; empty when none. "h2c" is not offered over upgrade (RFC 9113 3.1).
static struct peri_slice read_upgrade(const struct peri_headers *headers)
{
    struct peri_slice none = {NULL, 0};
    struct peri_slice protocol = peri_headers_get(headers, PERI_H_UPGRADE);
    if (protocol.len == 0 || peri_slice_ieq(protocol, PERI_SLICE("h2c")))
        return none;
    for (unsigned i = 0; i < headers->count; i++) {
        struct peri_slice list = peri_slice(headers->items[i].value, headers->items[i].value_len);
        struct peri_slice member;
        while (headers->items[i].id == PERI_H_CONNECTION && peri_slice_next(&list, &member))
            if (peri_slice_ieq(member, PERI_SLICE("upgrade")))
                return protocol;
    }
    return none;
}

// Does a field of this id have `wanted` in its list?
static bool lists(const struct peri_headers *headers, uint16_t id, struct peri_slice wanted)
{
    for (unsigned i = 0; i < headers->count; i++) {
        struct peri_slice list = peri_slice(headers->items[i].value, headers->items[i].value_len);
        struct peri_slice member;
        while (headers->items[i].id == id && peri_slice_next(&list, &member))
            if (peri_slice_ieq(member, wanted))
                return true;
    }
    return false;
}

// TE: trailers, which counts when Connection says that it is meant for us (RFC 9110 10.1.4).
static bool reads_trailers(const struct peri_headers *headers)
{
    return lists(headers, PERI_H_TE, PERI_SLICE("trailers")) && lists(headers, PERI_H_CONNECTION, PERI_SLICE("te"));
}

static peri_err_t complete_request(struct peri_h1 *h1)
{
    llhttp_t *parser = parser_of(h1);
    struct peri_request *req = h1->req;
    bool has_framing;
    if (parser->http_major != 1 || parser->http_minor > 1)
        return PERI_ERR_VERSION;
    peri_err_t err = read_framing(h1, &req->content_length, &has_framing);
    if (err != PERI_OK)
        return err;
    bool has_host = req->headers.seen & PERI_HEADERS_BIT(PERI_H_HOST);
    if (h1->repeated & PERI_HEADERS_BIT(PERI_H_HOST) || (!has_host && parser->http_minor == 1))
        return PERI_ERR_BAD_HOST;
    const char *method = llhttp_method_name((llhttp_method_t)parser->method);
    req->method_name = peri_slice_from(method);
    req->method = peri_method_parse(req->method_name);
    if (req->method == PERI_METHOD_CONNECT || peri_slice_eq(req->method_name, PERI_SLICE("PRI")))
        return PERI_ERR_METHOD;
    req->version = (uint8_t)(10 + parser->http_minor);
    req->wants_trailers =
        PERI_UNLIKELY(peri_headers_find(&req->headers, PERI_H_TE) != NULL) && reads_trailers(&req->headers);
    req->authority = peri_headers_get(&req->headers, PERI_H_HOST);
    struct peri_slice expect = peri_headers_get(&req->headers, PERI_H_EXPECT);
    if (expect.len > 0 && parser->http_minor == 1) {
        if (!peri_slice_ieq(expect, PERI_SLICE("100-continue")))
            return PERI_ERR_EXPECTATION;
        req->expects_continue = req->content_length != PERI_LENGTH_NONE && req->content_length != 0;
    }
    req->upgrade = parser->upgrade ? read_upgrade(&req->headers) : peri_slice(NULL, 0);
    if (req->upgrade.len > 0 && has_framing && req->content_length != 0)
        return PERI_ERR_BAD_REQUEST;
    return PERI_OK;
}

static peri_err_t complete_response(struct peri_h1 *h1)
{
    llhttp_t *parser = parser_of(h1);
    struct peri_response *res = h1->res;
    bool has_framing;
    peri_err_t err = read_framing(h1, &res->content_length, &has_framing);
    if (err != PERI_OK)
        return PERI_ERR_UPSTREAM_PROTOCOL;
    res->status = parser->status_code;
    if (parser->http_major != 1 || res->status < 100 || res->status > 999)
        return PERI_ERR_UPSTREAM_PROTOCOL;
    res->upgrade = peri_slice(NULL, 0);
    res->is_upgrade = res->status == 101;
    if (res->is_upgrade)
        res->upgrade = peri_headers_get(&res->headers, PERI_H_UPGRADE);
    bool has_no_body = res->status < 200 || res->status == 204;
    if (has_no_body)
        res->content_length = PERI_LENGTH_NONE;
    else if (!has_framing && !h1->is_head_request && res->status != 304)
        res->content_length = PERI_LENGTH_UNKNOWN;
    return PERI_OK;
}

// llhttp's answers: 0 read the body, 1 there is none, 2 there is none and no more HTTP either.
static int on_headers_complete(llhttp_t *parser)
{
    struct peri_h1 *h1 = parser->data;
    bool is_server = h1->role == PERI_H1_SERVER;
    peri_err_t err = is_server ? complete_request(h1) : complete_response(h1);
    if (err != PERI_OK)
        return fail(h1, err);
    h1->keep_alive = llhttp_should_keep_alive(parser) || (is_server && parser->upgrade && parser->http_minor == 1);
    if (!is_server && h1->is_head_request)
        h1->keep_alive = h1->keep_alive || !(parser->flags & F_CONNECTION_CLOSE);
    strip_hop_by_hop(h1->headers);
    h1->has_head = true;
    err = h1->events->on_head(h1);
    if (err != PERI_OK)
        return fail(h1, err);
    h1->headers = is_server ? &h1->req->trailers : &h1->res->trailers;
    if (is_server) {
        parser->upgrade = 0; // whether a tunnel follows is the response's matter
        return 0;
    }
    if (h1->res->is_upgrade) {
        h1->is_tunnel = true;
        return 2;
    }
    return h1->is_head_request || h1->res->status < 200 || h1->res->status == 204 || h1->res->status == 304 ? 1 : 0;
}

static int on_body(llhttp_t *parser, const char *at, size_t len)
{
    struct peri_h1 *h1 = parser->data;
    peri_err_t err = h1->events->on_body(h1, peri_slice(at, len));
    return err == PERI_OK ? 0 : fail(h1, err);
}

static int on_chunk_extension(llhttp_t *parser, const char *at, size_t len)
{
    struct peri_h1 *h1 = parser->data;
    PERI_UNUSED(at);
    h1->extension_bytes += (uint32_t)(len < PERI_H1_EXTENSIONS ? len : PERI_H1_EXTENSIONS);
    return h1->extension_bytes > PERI_H1_EXTENSIONS ? fail(h1, PERI_ERR_BAD_REQUEST) : 0;
}

// Behind the last chunk come trailers: lines again, to be looked at before llhttp reads them.
static int on_chunk_header(llhttp_t *parser)
{
    struct peri_h1 *h1 = parser->data;
    if (parser->content_length > 0)
        return 0;
    begin_lines(h1, false);
    return HPE_PAUSED;
}

static int on_message_complete(llhttp_t *parser)
{
    struct peri_h1 *h1 = parser->data;
    strip_hop_by_hop(h1->headers);
    begin_lines(h1, true);
    h1->is_complete = true;
    h1->events->on_end(h1);
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_chunk_extension_name = on_chunk_extension,
    .on_chunk_extension_value = on_chunk_extension,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
    .on_chunk_header = on_chunk_header,
    .on_header_value_complete = on_header_value_complete,
};

void peri_h1_init(struct peri_h1 *h1, enum peri_h1_role role, const struct peri_h1_limits *limits,
                  const struct peri_h1_events *events, void *data)
{
    *h1 = (struct peri_h1){.events = events, .data = data, .limits = limits, .role = role, .is_complete = true};
    begin_lines(h1, true);
    llhttp_init(parser_of(h1), role == PERI_H1_SERVER ? HTTP_REQUEST : HTTP_RESPONSE, &settings);
    parser_of(h1)->data = h1;
}

void peri_h1_set_request(struct peri_h1 *h1, struct peri_request *req)
{
    h1->req = req;
    h1->headers = &req->headers;
}

void peri_h1_set_response(struct peri_h1 *h1, struct peri_response *res, bool is_head_request)
{
    h1->res = res;
    h1->is_head_request = is_head_request;
    h1->headers = &res->headers;
}

void peri_h1_move_response(struct peri_h1 *h1, struct peri_response *res)
{
    h1->headers = h1->headers == &h1->res->headers ? &res->headers : &res->trailers;
    h1->res = res;
}

static peri_err_t error_of(struct peri_h1 *h1, llhttp_errno_t code)
{
    if (h1->err != PERI_OK)
        return h1->err;
    bool is_server = h1->role == PERI_H1_SERVER;
    switch (code) {
    case HPE_INVALID_METHOD: return is_server ? PERI_ERR_METHOD : PERI_ERR_UPSTREAM_PROTOCOL;
    case HPE_INVALID_VERSION: return is_server ? PERI_ERR_VERSION : PERI_ERR_UPSTREAM_PROTOCOL;
    case HPE_UNEXPECTED_CONTENT_LENGTH:
    case HPE_INVALID_CONTENT_LENGTH:
    case HPE_INVALID_TRANSFER_ENCODING: return is_server ? PERI_ERR_SMUGGLING : PERI_ERR_UPSTREAM_PROTOCOL;
    default: return is_server ? PERI_ERR_BAD_REQUEST : PERI_ERR_UPSTREAM_PROTOCOL;
    }
}

// The line that bytes of an earlier feed belong to, or one that may be empty. Returns what is behind it; NULL for a bad line.
static const char *check_open_line(struct peri_h1_lines *lines, const char *p, const char *end)
{
    const char *lf = memchr(p, '\n', (size_t)(end - p));
    if (lines->len == 0 && is_space(*p))
        return NULL;
    if (!lf) {
        lines->len += (uint32_t)(end - p);
        lines->has_cr = end[-1] == '\r';
        return end;
    }
    if (!(lf > p ? lf[-1] == '\r' : lines->has_cr))
        return NULL;
    bool is_empty = lines->len + (size_t)(lf - p) == 1;
    lines->is_on = !is_empty || lines->may_be_empty;
    lines->may_be_empty = lines->is_first = lines->may_be_empty && is_empty;
    lines->len = 0;
    lines->has_cr = false;
    return lf + 1;
}

// The line feeds of some bytes, found sixteen bytes at a time.
struct line_feeds {
    const char *at; // what is before it was looked at
    const char *end;
    unsigned found; // a bit for each in the sixteen bytes before `at` that was not given yet
};

static inline unsigned find_line_feeds(const char *bytes)
{
#ifdef __SSE2__
    __m128i v = _mm_loadu_si128((const __m128i *)(const void *)bytes);
    return (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8('\n')));
#else
    unsigned found = 0;
    for (unsigned i = 0; i < 16; i++)
        found |= (unsigned)(bytes[i] == '\n') << i;
    return found;
#endif
}

// NULL behind the last one.
static inline const char *next_line_feed(struct line_feeds *feeds)
{
    while (feeds->found == 0 && feeds->end - feeds->at >= 16) {
        feeds->found = find_line_feeds(feeds->at);
        feeds->at += 16;
    }
    if (feeds->found != 0) {
        const char *lf = feeds->at - 16 + __builtin_ctz(feeds->found);
        feeds->found &= feeds->found - 1;
        return lf;
    }
    const char *lf = memchr(feeds->at, '\n', (size_t)(feeds->end - feeds->at));
    feeds->at = lf ? lf + 1 : feeds->end;
    return lf;
}

// Whole lines; what is left of the last one opens a line. Returns what is behind the empty line, or the end; NULL for a bad line.
static const char *check_whole_lines(struct peri_h1_lines *lines, const char *p, const char *end)
{
    struct line_feeds feeds = {.at = p, .end = end};
    while (p < end) {
        const char *lf = next_line_feed(&feeds);
        if (!lf)
            return check_open_line(lines, p, end);
        if (lf == p || lf[-1] != '\r' || is_space(*p))
            return NULL;
        bool is_empty = lf - p == 1;
        p = lf + 1;
        if (is_empty) {
            lines->is_on = false;
            return p;
        }
    }
    return p;
}

// Looks at the lines of a head or of trailers before llhttp does, which in 8.1 lets some of them pass: each ends with CRLF, none
// begins with a space (obs-fold, RFC 9112 5.2), and all together are not too long. Stops behind the empty line; empty lines before
// a message are skipped (RFC 9112 2.2).
static peri_err_t check_lines(struct peri_h1_lines *lines, uint32_t limit, const char *begin, const char *end)
{
    const char *p = begin;
    while (p && p < end && lines->is_on && (lines->len > 0 || lines->may_be_empty))
        p = check_open_line(lines, p, end);
    if (p && lines->is_on)
        p = check_whole_lines(lines, p, end);
    if (!p)
        return PERI_ERR_BAD_REQUEST;
    if ((size_t)(p - begin) > limit - lines->total)
        return PERI_ERR_HEADERS_TOO_LARGE;
    lines->total += (uint32_t)(p - begin);
    return PERI_OK;
}

// ---- feeding ----

// The first byte of a message tells whether this can be HTTP at all; other protocols are not waited for.
static bool is_plausible(const struct peri_h1 *h1, char first)
{
    char letter = peri_ascii_lower(first);
    bool is_line_end = first == '\r' || first == '\n';
    return is_line_end || (h1->role == PERI_H1_CLIENT ? first == 'H' : letter >= 'a' && letter <= 'z');
}

static peri_err_t begin_message(struct peri_h1 *h1, char first)
{
    h1->extension_bytes = h1->repeated = 0;
    h1->name = h1->value = peri_slice(NULL, 0);
    if (!is_plausible(h1, first))
        return PERI_ERR_BAD_REQUEST;
    h1->is_complete = h1->has_head = false;
    return h1->events->on_begin(h1) ? PERI_OK : PERI_ERR_NOMEM;
}

// Keeps lines in the arena: all at once when they come so, which is the rule.
static peri_err_t keep_lines(struct peri_h1 *h1, struct peri_slice data)
{
    size_t end = h1->text_len + data.len;
    if (end > h1->text_size) {
        size_t size = h1->lines.is_on ? end * 2 : end;
        char *text = peri_arena_alloc(h1->headers->arena, size + PERI_H1_SLACK);
        if (!text)
            return PERI_ERR_NOMEM;
        if (h1->text_len > 0)
            memcpy(text, h1->text, h1->text_len);
        h1->text = text;
        h1->text_size = (uint32_t)size;
    }
    memcpy(h1->text + h1->text_len, data.ptr, data.len);
    h1->text_len = (uint32_t)end;
    return PERI_OK;
}

static bool is_target_too_long(const struct peri_h1 *h1)
{
    return h1->role == PERI_H1_SERVER && h1->lines.is_first &&
           h1->lines.len > h1->limits->uri_bytes + PERI_H1_LINE_ROOM;
}

// Takes lines from `data`; *used says how far.
static peri_err_t take_lines(struct peri_h1 *h1, struct peri_slice data, size_t *used)
{
    peri_err_t err = h1->is_complete ? begin_message(h1, data.ptr[0]) : PERI_OK;
    if (err != PERI_OK)
        return err;
    uint32_t before = h1->lines.total;
    err = check_lines(&h1->lines, h1->limits->header_bytes, data.ptr, data.ptr + data.len);
    if (err != PERI_ERR_BAD_REQUEST && is_target_too_long(h1))
        return PERI_ERR_URI_TOO_LONG;
    if (err != PERI_OK)
        return err;
    *used = h1->lines.total - before;
    return keep_lines(h1, peri_slice(data.ptr, *used));
}

// Lines are kept until they are complete; then llhttp reads them all.
static llhttp_errno_t feed_lines(struct peri_h1 *h1, struct peri_slice data, size_t *used)
{
    llhttp_t *parser = parser_of(h1);
    peri_err_t err = take_lines(h1, data, used);
    if (err != PERI_OK)
        return fail(h1, h1->role == PERI_H1_CLIENT && err == PERI_ERR_BAD_REQUEST ? PERI_ERR_UPSTREAM_PROTOCOL : err);
    if (h1->lines.is_on)
        return HPE_OK;
    bool is_trailers = h1->has_head;
    const char *end = h1->text + h1->text_len;
    llhttp_errno_t code = llhttp_execute(parser, h1->text, h1->text_len);
    bool is_whole = code == HPE_OK || llhttp_get_error_pos(parser) == end;
    bool is_read = is_trailers ? h1->is_complete : h1->has_head;
    bool is_error = code != HPE_OK && code != HPE_PAUSED && code != HPE_PAUSED_UPGRADE;
    return is_error || (is_whole && is_read) ? code : HPE_STRICT; // the two readers do not agree where the lines end
}

static llhttp_errno_t feed_body(struct peri_h1 *h1, struct peri_slice data, size_t *used)
{
    llhttp_t *parser = parser_of(h1);
    llhttp_errno_t code = llhttp_execute(parser, data.ptr, data.len);
    *used = code == HPE_OK ? data.len : (size_t)(llhttp_get_error_pos(parser) - data.ptr);
    return code;
}

static void resume(llhttp_t *parser)
{
    if (parser->error == HPE_PAUSED)
        llhttp_resume(parser);
    else if (parser->error == HPE_PAUSED_UPGRADE)
        llhttp_resume_after_upgrade(parser);
}

peri_err_t peri_h1_feed(struct peri_h1 *h1, struct peri_slice data, size_t *consumed)
{
    *consumed = 0;
    bool is_stopped = h1->err != PERI_OK;
    while (!is_stopped && *consumed < data.len) {
        struct peri_slice rest = peri_slice(data.ptr + *consumed, data.len - *consumed);
        size_t used = 0;
        resume(parser_of(h1));
        llhttp_errno_t code = h1->lines.is_on ? feed_lines(h1, rest, &used) : feed_body(h1, rest, &used);
        *consumed += used;
        if (code != HPE_OK && code != HPE_PAUSED && code != HPE_PAUSED_UPGRADE)
            h1->err = error_of(h1, code);
        is_stopped = h1->err != PERI_OK || h1->is_complete || h1->is_tunnel;
    }
    return h1->err;
}

peri_err_t peri_h1_finish(struct peri_h1 *h1)
{
    if (h1->err != PERI_OK)
        return h1->err;
    llhttp_errno_t code = llhttp_finish(parser_of(h1));
    if (code == HPE_OK || code == HPE_PAUSED)
        return peri_h1_is_busy(h1) ? error_of(h1, HPE_INVALID_EOF_STATE) : PERI_OK;
    return h1->err = error_of(h1, code);
}

bool peri_h1_is_busy(const struct peri_h1 *h1)
{
    return !h1->is_complete;
}

int64_t peri_h1_remaining(const struct peri_h1 *h1)
{
    const llhttp_t *parser = (const llhttp_t *)(const void *)h1->parser;
    if (h1->is_complete)
        return 0;
    return parser->flags & F_CONTENT_LENGTH ? (int64_t)parser->content_length : -1;
}

#define TEXT_OF(number) #number
#define TEXT(number) TEXT_OF(number)

const char *peri_h1_version(void)
{
    return TEXT(LLHTTP_VERSION_MAJOR) "." TEXT(LLHTTP_VERSION_MINOR) "." TEXT(LLHTTP_VERSION_PATCH);
}
