// SPDX-License-Identifier: MIT
// Fuzzes the HTTP/1 codec, as server and as client: the outcome is the same however the bytes are cut, no message is accepted whose
// length two readers may see differently, and what was read can be written and is read as the same again.
//
// The first byte chooses the role and the limits, the second where the bytes are cut.
#include "../support/h1_trace.h"

/// The target. Reads exactly `size` bytes at `data`; always returns 0.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum flag { AS_CLIENT = 1, ANSWERS_HEAD = 2, UNDERSCORES = 4, SMALL = 8 };

static void open_trace(struct h1_trace *t, uint8_t flags)
{
    h1_trace_open(t, flags & AS_CLIENT ? PERI_H1_CLIENT : PERI_H1_SERVER);
    t->is_head_request = flags & ANSWERS_HEAD;
    t->limits.allow_underscores = flags & UNDERSCORES;
    if (flags & SMALL)
        t->limits = (struct peri_h1_limits){
            .header_bytes = 200, .headers = 4, .uri_bytes = 40, .allow_underscores = flags & UNDERSCORES};
}

/// What happened, without the name of the last error: a bad line behind a limit may be seen before or behind it.
static char *outcome(struct peri_slice input, uint8_t flags, uint8_t cut)
{
    struct h1_trace t;
    uint32_t random = cut;
    open_trace(&t, flags);
    for (size_t at = 0; at < input.len;) {
        random = random * 1664525u + 1013904223u;
        size_t len = cut == 0 ? input.len : cut == 1 ? 1 : 1 + (random >> 16) % (cut * 2u);
        len = len < input.len - at ? len : input.len - at;
        h1_trace_feed(&t, peri_slice(input.ptr + at, len));
        at += len;
    }
    h1_trace_finish(&t);
    char *text = h1_trace_text(&t);
    if (t.err != PERI_OK)
        strcpy(strstr(text + t.text.len - strlen(peri_err_info(t.err)->name) - strlen("error \n"), "error ") + 5, "\n");
    h1_trace_close(&t);
    return text;
}

// ---- an independent look at the first head ----

static bool is_field(struct peri_slice line, struct peri_slice name)
{
    return line.len > name.len && line.ptr[name.len] == ':' && peri_slice_ieq(peri_slice(line.ptr, name.len), name);
}

/// Lines of the first head that say how long the message is.
static unsigned count_framing(struct peri_slice input)
{
    unsigned count = 0;
    size_t at = 0;
    bool is_first = true;
    for (; at + 1 < input.len && input.ptr[at] == '\r' && input.ptr[at + 1] == '\n'; at += 2)
        ;
    while (at < input.len) {
        const char *end = memmem(input.ptr + at, input.len - at, "\r\n", 2);
        struct peri_slice line = peri_slice(input.ptr + at, end ? (size_t)(end - input.ptr) - at : input.len - at);
        if (!end || line.len == 0)
            break;
        count += !is_first &&
                 (is_field(line, PERI_SLICE("content-length")) || is_field(line, PERI_SLICE("transfer-encoding")));
        is_first = false;
        at += line.len + 2;
    }
    return count;
}

// ---- what is accepted ----

static void check_fields(const struct peri_headers *headers)
{
    static const uint16_t removed[] = {PERI_H_CONNECTION, PERI_H_CONTENT_LENGTH, PERI_H_TRANSFER_ENCODING, PERI_H_TE,
                                       PERI_H_TRAILER,    PERI_H_UPGRADE,        PERI_H_KEEP_ALIVE};
    for (unsigned i = 0; i < headers->count; i++) {
        const struct peri_header *h = &headers->items[i];
        peri_assert(peri_header_is_name(peri_slice(h->name, h->name_len)));
        peri_assert(peri_header_is_value(peri_slice(h->value, h->value_len)));
        peri_assert(h->value_len == 0 || !strchr(" \t", h->value[h->value_len - 1]));
        for (uint32_t k = 0; k < h->name_len; k++)
            peri_assert(peri_ascii_lower(h->name[k]) == h->name[k]);
    }
    for (unsigned i = 0; i < PERI_COUNT(removed); i++) {
        peri_assert(!peri_headers_find(headers, removed[i]));
        peri_assert(!peri_headers_find_name(headers, peri_header_name(removed[i]), 0, NULL));
    }
}

/// Writes the request that was read and reads it again.
static void check_round(struct h1_trace *first)
{
    struct h1_trace again;
    struct peri_request *req = &first->req;
    struct peri_h1_head head = {.framing = PERI_H1_NO_BODY, .length = -1};
    if (req->authority.len == 0 || peri_headers_find(&req->headers, PERI_H_EXPECT))
        return;
    if (req->content_length >= 0)
        head = (struct peri_h1_head){.framing = PERI_H1_LENGTH, .length = req->content_length};
    if (req->content_length == PERI_LENGTH_UNKNOWN)
        head.framing = PERI_H1_CHUNKED;
    req->path = req->target;
    char *text = malloc(peri_h1_request_size(req));
    peri_assert(text != NULL);
    char *end = peri_h1_write_request(text, req, &head);
    peri_assert((size_t)(end - text) <= peri_h1_request_size(req));
    open_trace(&again, UNDERSCORES);
    again.limits.headers = 200;
    h1_trace_feed(&again, peri_slice(text, (size_t)(end - text)));
    peri_assert(again.err == PERI_OK && again.has_head);
    peri_assert(again.req.content_length == req->content_length);
    peri_assert(peri_slice_eq(again.req.target, req->target) && peri_slice_eq(again.req.authority, req->authority));
    peri_assert(peri_slice_eq(again.req.upgrade, req->upgrade));
    unsigned k = 1; // Host is written first
    for (unsigned i = 0; i < req->headers.count; i++) {
        const struct peri_header *a = &req->headers.items[i];
        const struct peri_header *b = &again.req.headers.items[k];
        if (a->id == PERI_H_HOST)
            continue;
        peri_assert(k++ < again.req.headers.count);
        peri_assert(peri_slice_eq(peri_slice(a->name, a->name_len), peri_slice(b->name, b->name_len)));
        peri_assert(peri_slice_eq(peri_slice(a->value, a->value_len), peri_slice(b->value, b->value_len)));
    }
    peri_assert(k == again.req.headers.count);
    h1_trace_close(&again);
    free(text);
}

/// Reads the first message only and looks at it closely.
static void check_first(struct peri_slice input, uint8_t flags)
{
    struct h1_trace t;
    size_t consumed;
    open_trace(&t, flags);
    char *copy = malloc(input.len ? input.len : 1);
    peri_assert(copy != NULL);
    memcpy(copy, input.ptr, input.len);
    peri_err_t err = peri_h1_feed(&t.h1, peri_slice(copy, input.len), &consumed);
    if (t.has_head && !(flags & AS_CLIENT)) {
        peri_assert(count_framing(input) <= 1);
        peri_assert(t.req.content_length >= PERI_LENGTH_UNKNOWN && t.req.target.len > 0);
        peri_assert(t.req.version == 10 || t.req.authority.ptr);
        check_fields(&t.req.headers);
        check_round(&t);
    } else if (t.has_head) {
        peri_assert(count_framing(input) <= 1);
        peri_assert(t.res.status >= 100 && t.res.status <= 999);
        check_fields(&t.res.headers);
    }
    if (err == PERI_OK && t.messages == 1)
        check_fields(flags & AS_CLIENT ? &t.res.trailers : &t.req.trailers);
    free(copy);
    h1_trace_close(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct peri_slice input = peri_slice((const char *)data + 2, size - 2);
    char *whole = outcome(input, data[0], 0);
    char *bytes = outcome(input, data[0], 1);
    char *parts = outcome(input, data[0], (uint8_t)(data[1] | 2));
    if (strcmp(whole, bytes) != 0 || strcmp(whole, parts) != 0) {
        fprintf(stderr, "in one piece:\n%s\nbyte by byte:\n%s\nin parts:\n%s\n", whole, bytes, parts);
        abort();
    }
    check_first(input, data[0]);
    free(whole);
    free(bytes);
    free(parts);
    return 0;
}
