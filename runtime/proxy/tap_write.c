// SPDX-License-Identifier: MIT
// The line of a record. A text from a peer may be any bytes, and a JSON string holds characters: each byte that is not ASCII is
// written as the character of its number (\u0080 to \u00ff), so that a reader gets the same bytes back. Bodies that are UTF-8
// stay readable; other bodies are base64.
#include <stdlib.h>
#include <time.h>

#include "codec/base64.h"
#include "proxy/flags.h"
#include "proxy/forward.h"
#include "proxy/plan.h"
#include "proxy/tap_record.h"
#include "shared/text.h"
#include "shared/utf8.h"

struct writer {
    const struct peri_mask *mask;
    struct peri_text *out;
    struct peri_text scratch; ///< what a mask made of a text
};

// ---- JSON ----

static void put(struct writer *w, const char *text)
{
    peri_text_add(w->out, peri_slice_from(text));
}

static void put_escaped(struct writer *w, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    char text[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
    bool is_short = c == '"' || c == '\\';
    if (is_short)
        text[1] = (char)c;
    peri_text_add(w->out, peri_slice(text, is_short ? 2 : sizeof(text)));
}

// A string; with `is_utf8` what is not ASCII stays as it is.
static void put_string(struct writer *w, struct peri_slice text, bool is_utf8)
{
    size_t run = 0;
    put(w, "\"");
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c >= 0x20 && c != 0x7f && c != '"' && c != '\\' && (c < 0x80 || is_utf8))
            continue;
        peri_text_add(w->out, peri_slice(text.ptr + run, i - run));
        put_escaped(w, c);
        run = i + 1;
    }
    peri_text_add(w->out, peri_slice(text.ptr + run, text.len - run));
    put(w, "\"");
}

static void put_scratch(struct writer *w, bool is_utf8)
{
    put_string(w, peri_slice(w->scratch.data, w->scratch.len), is_utf8);
    w->out->failed = w->out->failed || w->scratch.failed;
    w->scratch.len = 0;
}

// A member; left out when empty.
static void put_member(struct writer *w, const char *name, struct peri_slice text)
{
    if (text.len == 0)
        return;
    peri_text_printf(w->out, ",\"%s\":", name);
    peri_mask_text(w->mask, text, false, &w->scratch);
    put_scratch(w, false);
}

static void put_headers(struct writer *w, const struct peri_headers *headers)
{
    put(w, ",\"headers\":[");
    for (unsigned i = 0; i < headers->count; i++) {
        const struct peri_header *h = &headers->items[i];
        struct peri_slice name = peri_slice(h->name, h->name_len);
        put(w, i == 0 ? "[" : ",[");
        put_string(w, name, false);
        put(w, ",");
        peri_mask_header(w->mask, name, peri_slice(h->value, h->value_len), &w->scratch);
        put_scratch(w, false);
        put(w, "]");
    }
    put(w, "]");
}

// ---- bodies ----

// Is all of it UTF-8, but for a character that was cut off at the end?
static bool is_text(struct peri_slice bytes, bool is_cut)
{
    while (bytes.len > 0) {
        size_t len = peri_utf8_len(bytes);
        if (len == 0)
            return is_cut && bytes.len < 4 && (unsigned char)bytes.ptr[0] >= 0xc0;
        bytes = peri_slice(bytes.ptr + len, bytes.len - len);
    }
    return true;
}

static void put_base64(struct writer *w, struct peri_slice bytes)
{
    char *text = malloc(PERI_BASE64_ROOM(bytes.len) + 1);
    if (!text) {
        w->out->failed = true;
        return;
    }
    put(w, ",\"body_base64\":\"");
    peri_text_add(w->out, peri_slice(text, peri_base64_encode(bytes, false, text)));
    put(w, "\"");
    free(text);
}

// The bytes up to the last whole character.
static struct peri_slice whole(struct peri_slice text)
{
    size_t cut = 0;
    while (cut < text.len && cut < 3 && ((unsigned char)text.ptr[text.len - 1 - cut] & 0xc0) == 0x80)
        cut++;
    struct peri_slice last = peri_slice(text.ptr + text.len - cut - (cut < text.len), cut + (cut < text.len));
    return last.len > 0 && peri_utf8_len(last) == 0 ? peri_slice(text.ptr, text.len - last.len) : text;
}

static void put_bytes(struct writer *w, struct peri_slice bytes, bool is_cut)
{
    peri_mask_text(w->mask, bytes, is_cut, &w->scratch);
    struct peri_slice masked = peri_slice(w->scratch.data, w->scratch.len);
    if (is_text(masked, is_cut)) {
        put(w, ",\"body\":");
        put_string(w, whole(masked), true);
    } else {
        put_base64(w, masked);
    }
    w->out->failed = w->out->failed || w->scratch.failed;
    w->scratch.len = 0;
}

static void put_body(struct writer *w, const struct peri_tap_body *body)
{
    bool is_cut = body->total > body->kept.len;
    if (body->total == 0)
        return;
    peri_text_printf(w->out, ",\"body_bytes\":%llu%s", (unsigned long long)body->total,
                     is_cut ? ",\"body_is_cut\":true" : "");
    if (body->kept.len == 0)
        return;
    char *bytes = malloc(body->kept.len);
    if (bytes) {
        peri_buf_copy(&body->kept, bytes);
        put_bytes(w, peri_slice(bytes, body->kept.len), is_cut);
    } else {
        w->out->failed = true;
    }
    free(bytes);
}

// ---- the parts ----

static void put_time(struct writer *w, uint64_t wall_ms)
{
    time_t at = (time_t)(wall_ms / 1000);
    struct tm utc;
    char text[32];
    gmtime_r(&at, &utc);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &utc);
    peri_text_printf(w->out, "{\"time\":\"%s.%03uZ\"", text, (unsigned)(wall_ms % 1000));
}

static void put_target(struct writer *w, struct peri_slice target)
{
    put(w, ",\"target\":");
    peri_mask_target(w->mask, target, &w->scratch);
    put_scratch(w, false);
}

static void put_request(struct writer *w, const struct peri_tap_record *record)
{
    const struct peri_request *req = &record->x->req;
    put(w, ",\"request\":{\"method\":");
    put_string(w, record->method, false);
    put_member(w, "scheme", req->scheme);
    put_member(w, "host", record->authority);
    put_target(w, req->target);
    peri_text_printf(w->out, ",\"version\":\"%u.%u\"", req->version / 10u, req->version % 10u);
    put_headers(w, &record->headers);
    put_body(w, &record->body);
    put(w, "}");
}

static void put_sent(struct writer *w, const struct peri_tap_attempt *attempt)
{
    struct peri_text target;
    peri_text_init(&target);
    peri_text_add(&target, attempt->path);
    if (attempt->query.len > 0) {
        peri_text_add(&target, PERI_SLICE("?"));
        peri_text_add(&target, attempt->query);
    }
    put(w, ",\"request\":{\"method\":");
    put_string(w, attempt->method, false);
    put_member(w, "host", attempt->authority);
    put_target(w, peri_slice(target.data, target.len));
    w->out->failed = w->out->failed || target.failed;
    put_headers(w, &attempt->sent);
    put(w, "}");
    peri_text_close(&target);
}

static void put_attempt(struct writer *w, const struct peri_tap_attempt *attempt)
{
    put(w, "{\"upstream\":");
    put_string(w, attempt->upstream, false);
    put_member(w, "endpoint", attempt->endpoint);
    put_sent(w, attempt);
    if (attempt->status > 0) {
        peri_text_printf(w->out, ",\"response\":{\"status\":%d", attempt->status);
        put_headers(w, &attempt->received);
        put_body(w, &attempt->body);
        put(w, "}");
    }
    if (attempt->err != PERI_OK)
        put_member(w, "error", peri_slice_from(peri_err_info(attempt->err)->name));
    put(w, "}");
}

static void put_attempts(struct writer *w, const struct peri_tap_record *record)
{
    if (record->attempt_count == 0)
        return;
    put(w, ",\"attempts\":[");
    for (uint32_t i = 0; i < record->attempt_count; i++) {
        if (i > 0)
            put(w, ",");
        put_attempt(w, &record->attempts[i]);
    }
    put(w, "]");
}

static void put_response(struct writer *w, const struct peri_tap_record *record)
{
    if (record->status > 0) {
        peri_text_printf(w->out, ",\"response\":{\"status\":%d", record->status);
        put_headers(w, &record->response);
        put(w, "}");
    }
    char room[PERI_FLAGS_ROOM];
    put_member(w, "flags", peri_flags_format(record->x, record->status, room));
    if (record->x->facts.err != PERI_OK)
        put_member(w, "error", peri_slice_from(peri_err_info(record->x->facts.err)->name));
}

static void learn(const struct peri_tap_record *record, struct peri_mask *mask)
{
    peri_mask_learn_headers(mask, &record->headers);
    peri_mask_learn_query(mask, record->x->req.query);
    for (uint32_t i = 0; i < record->attempt_count; i++) {
        peri_mask_learn_headers(mask, &record->attempts[i].sent);
        peri_mask_learn_query(mask, record->attempts[i].query);
        peri_mask_learn_headers(mask, &record->attempts[i].received);
    }
    peri_mask_learn_headers(mask, &record->response);
}

void peri_tap_write(const struct peri_tap_record *record, struct peri_mask *mask, uint64_t ns, struct peri_text *out)
{
    const struct peri_exchange *x = record->x;
    struct writer w = {.mask = mask, .out = out};
    learn(record, mask);
    peri_text_init(&w.scratch);
    put_time(&w, record->wall_ms);
    peri_text_printf(out, ",\"duration_us\":%llu", (unsigned long long)(ns / 1000));
    put_member(&w, "client", x->client_ip);
    put_member(&w, "peer", peri_slice(x->peer.ip, x->peer.ip_len));
    put_request(&w, record);
    put_member(&w, "route", x->route ? x->route->name : peri_slice(NULL, 0));
    put_member(&w, "consumer", x->consumer);
    put_attempts(&w, record);
    put_response(&w, record);
    put(&w, "}");
    peri_text_close(&w.scratch);
}
