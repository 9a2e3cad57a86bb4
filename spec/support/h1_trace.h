// SPDX-License-Identifier: MIT
// Feeds bytes to the HTTP/1 parser and writes down all that it told, so that two runs over the same bytes can be compared and a
// test can say what it expects as a text.
#ifndef PERI_SPEC_H1_TRACE_H
#define PERI_SPEC_H1_TRACE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/buf.h"
#include "codec/h1.h"

struct h1_trace {
    struct peri_h1 h1;
    struct peri_h1_limits limits;
    struct peri_arena arena;
    struct peri_request req;
    struct peri_response res;
    struct peri_buf text; ///< what happened
    bool is_head_request; ///< client: the next response answers HEAD
    bool is_begun;        ///< on_begin came, on_end not yet
    bool has_head;
    bool in_body;      ///< the text ends with body bytes
    unsigned messages; ///< complete ones
    peri_err_t err;
    size_t consumed; ///< bytes taken in all
};

static void h1_trace_put(struct h1_trace *t, const char *data, size_t len)
{
    peri_assert(peri_buf_put(&t->text, peri_slice(data, len)) == PERI_OK);
}

__attribute__((format(printf, 2, 3))) static void h1_trace_say(struct h1_trace *t, const char *format, ...)
{
    char line[512];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    h1_trace_put(t, line, len < (int)sizeof(line) ? (size_t)len : sizeof(line) - 1);
}

static void h1_trace_slice(struct h1_trace *t, const char *what, struct peri_slice value)
{
    h1_trace_say(t, "%s", what);
    h1_trace_put(t, value.ptr ? value.ptr : "", value.len);
}

static void h1_trace_fields(struct h1_trace *t, const struct peri_headers *headers)
{
    for (unsigned i = 0; i < headers->count; i++) {
        const struct peri_header *h = &headers->items[i];
        peri_assert(h->id == peri_header_id(h->name, h->name_len));
        h1_trace_put(t, h->name, h->name_len);
        h1_trace_slice(t, ": ", peri_slice(h->value, h->value_len));
        h1_trace_say(t, "\n");
    }
}

static bool h1_trace_on_begin(struct peri_h1 *h1)
{
    struct h1_trace *t = h1->data;
    peri_assert(!t->is_begun);
    t->is_begun = true;
    t->has_head = t->in_body = false;
    peri_arena_reset(&t->arena);
    t->req = (struct peri_request){.content_length = PERI_LENGTH_NONE};
    t->res = (struct peri_response){.content_length = PERI_LENGTH_NONE};
    peri_headers_init(&t->req.headers, &t->arena);
    peri_headers_init(&t->req.trailers, &t->arena);
    peri_headers_init(&t->res.headers, &t->arena);
    peri_headers_init(&t->res.trailers, &t->arena);
    if (h1->role == PERI_H1_SERVER)
        peri_h1_set_request(h1, &t->req);
    else
        peri_h1_set_response(h1, &t->res, t->is_head_request);
    return true;
}

static peri_err_t h1_trace_on_head(struct peri_h1 *h1)
{
    struct h1_trace *t = h1->data;
    peri_assert(t->is_begun && !t->has_head);
    t->has_head = true;
    if (h1->role == PERI_H1_SERVER) {
        h1_trace_slice(t, "", t->req.method_name);
        h1_trace_slice(t, " ", t->req.target);
        h1_trace_say(t, " %u", t->req.version);
        h1_trace_slice(t, " authority=", t->req.authority);
        h1_trace_say(t, " length=%lld%s%s", (long long)t->req.content_length, t->req.expects_continue ? " expects" : "",
                     h1->keep_alive ? "" : " close");
        if (t->req.upgrade.len > 0)
            h1_trace_slice(t, " upgrade=", t->req.upgrade);
        h1_trace_say(t, "\n");
        h1_trace_fields(t, &t->req.headers);
    } else {
        h1_trace_say(t, "%d length=%lld%s", t->res.status, (long long)t->res.content_length,
                     h1->keep_alive ? "" : " close");
        if (t->res.is_upgrade)
            h1_trace_slice(t, " upgrade=", t->res.upgrade);
        h1_trace_say(t, "\n");
        h1_trace_fields(t, &t->res.headers);
    }
    return PERI_OK;
}

static peri_err_t h1_trace_on_body(struct peri_h1 *h1, struct peri_slice data)
{
    struct h1_trace *t = h1->data;
    peri_assert(t->has_head && data.len > 0);
    if (!t->in_body)
        h1_trace_say(t, "body: ");
    t->in_body = true;
    h1_trace_put(t, data.ptr, data.len);
    return PERI_OK;
}

static void h1_trace_on_end(struct peri_h1 *h1)
{
    struct h1_trace *t = h1->data;
    peri_assert(t->has_head);
    t->is_begun = false;
    t->messages++;
    const struct peri_headers *trailers = h1->role == PERI_H1_SERVER ? &t->req.trailers : &t->res.trailers;
    h1_trace_say(t, "%s%s", t->in_body ? "\n" : "", trailers->count > 0 ? "trailers\n" : "");
    h1_trace_fields(t, trailers);
    h1_trace_say(t, "end\n");
}

static const struct peri_h1_events h1_trace_events = {
    .on_begin = h1_trace_on_begin,
    .on_head = h1_trace_on_head,
    .on_body = h1_trace_on_body,
    .on_end = h1_trace_on_end,
};

/// A parser with the default limits, nothing fed.
static void h1_trace_open(struct h1_trace *t, enum peri_h1_role role)
{
    memset(t, 0, sizeof(*t));
    t->limits = (struct peri_h1_limits){.header_bytes = 60 * 1024, .headers = 100, .uri_bytes = 16 * 1024};
    peri_arena_init(&t->arena, 4 << 20);
    peri_buf_init(&t->text);
    peri_h1_init(&t->h1, role, &t->limits, &h1_trace_events, t);
}

static void h1_trace_close(struct h1_trace *t)
{
    peri_buf_close(&t->text);
    peri_arena_close(&t->arena);
}

/// Feeds everything, message after message, until an error or a tunnel. The bytes are given in a block of their exact size.
static void h1_trace_feed(struct h1_trace *t, struct peri_slice data)
{
    char *copy = malloc(data.len ? data.len : 1);
    size_t at = 0;
    peri_assert(copy != NULL);
    if (data.len > 0)
        memcpy(copy, data.ptr, data.len);
    while (at < data.len && t->err == PERI_OK && !t->h1.is_tunnel) {
        size_t consumed;
        unsigned messages = t->messages;
        t->err = peri_h1_feed(&t->h1, peri_slice(copy + at, data.len - at), &consumed);
        peri_assert(consumed <= data.len - at);
        peri_assert(t->err != PERI_OK || consumed == data.len - at || t->messages > messages);
        peri_assert(peri_h1_is_busy(&t->h1) == t->is_begun || t->err != PERI_OK);
        at += consumed;
        t->consumed += consumed;
        if (t->err != PERI_OK)
            h1_trace_say(t, "%serror %s\n", t->in_body && t->is_begun ? "\n" : "", peri_err_info(t->err)->name);
    }
    free(copy);
}

/// The connection ended.
__attribute__((unused)) static void h1_trace_finish(struct h1_trace *t)
{
    if (t->err != PERI_OK || t->h1.is_tunnel)
        return;
    bool was_begun = t->is_begun;
    t->err = peri_h1_finish(&t->h1);
    if (t->err != PERI_OK)
        h1_trace_say(t, "%serror %s\n", t->in_body && was_begun ? "\n" : "", peri_err_info(t->err)->name);
}

/// What happened, as a malloc'ed NUL-terminated text.
__attribute__((unused)) static char *h1_trace_text(const struct h1_trace *t)
{
    char *text = malloc(t->text.len + 1);
    peri_assert(text != NULL);
    peri_buf_copy(&t->text, text);
    text[t->text.len] = 0;
    return text;
}

#endif
