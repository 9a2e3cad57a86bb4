// SPDX-License-Identifier: MIT
// Requests that people write, as a command or as JSON, read by the parser that reads those of clients.
#include <stdio.h>
#include <stdlib.h>

#include "codec/h1.h"
#include "codec/ip.h"
#include "codec/json.h"
#include "downstream/connection.h"
#include "downstream/forwarded.h"
#include "downstream/listener.h"
#include "exchange/exchange.h"
#include "proxy/explain.h"

// ---- reading ----

static bool on_begin(struct peri_h1 *h1)
{
    struct peri_exchange *x = h1->data;
    peri_h1_set_request(h1, &x->req);
    return true;
}

static peri_err_t on_head(struct peri_h1 *h1)
{
    struct peri_exchange *x = h1->data;
    x->req.scheme = PERI_SLICE("http");
    return peri_connection_read_target(x);
}

static peri_err_t on_body(struct peri_h1 *h1, struct peri_slice data)
{
    PERI_UNUSED(h1);
    PERI_UNUSED(data);
    return PERI_OK;
}

static void on_end(struct peri_h1 *h1)
{
    PERI_UNUSED(h1);
}

static peri_err_t refuse(char *message, size_t size, const char *what, struct peri_slice text)
{
    snprintf(message, size, "'%.*s' %s", (int)text.len, text.ptr, what);
    return PERI_ERR_INVALID;
}

static bool split_header(struct peri_slice line, struct peri_slice *name, struct peri_slice *value)
{
    const char *colon = line.len ? memchr(line.ptr, ':', line.len) : NULL;
    if (!colon)
        return false;
    *name = peri_slice(line.ptr, (size_t)(colon - line.ptr));
    *value = peri_slice_trim(peri_slice(colon + 1, line.len - name->len - 1));
    return peri_header_is_name(*name) && peri_header_is_value(*value);
}

// Nothing of it can end its line or its part of the line: one request is one request.
static peri_err_t check(const struct peri_explain_request *request, bool *has_host, char *message, size_t size)
{
    struct peri_slice name, value, url = request->url;
    *has_host = false;
    if (!peri_header_is_name(request->method))
        return refuse(message, size, "is no method", request->method);
    for (size_t i = 0; i < url.len; i++)
        if ((unsigned char)url.ptr[i] <= ' ' || url.ptr[i] == 0x7f)
            return refuse(message, size, "is no URL: it has a space or a control byte in it", url);
    if (url.len == 0)
        return refuse(message, size, "is no URL", url);
    for (uint32_t i = 0; i < request->header_count; i++) {
        if (!split_header(request->headers[i], &name, &value))
            return refuse(message, size, "is no header: expected 'Name: value'", request->headers[i]);
        *has_host |= peri_slice_ieq(name, PERI_SLICE("host"));
    }
    return PERI_OK;
}

static char *put(char *out, struct peri_slice text, const char *tail)
{
    return stpcpy(mempcpy(out, text.ptr, text.len), tail);
}

// The head as a client sends it. The host of a URL replaces the Host field, whatever that says.
static struct peri_slice write_head(struct peri_arena *arena, const struct peri_explain_request *request, bool has_host)
{
    static const char tail[] = " HTTP/1.1\r\nHost: url\r\n\r\n";
    bool is_absolute = request->url.ptr[0] != '/' && request->url.ptr[0] != '*';
    size_t size = request->method.len + request->url.len + sizeof(tail) + 1;
    for (uint32_t i = 0; i < request->header_count; i++)
        size += request->headers[i].len + 2;
    char *base = peri_arena_alloc(arena, size), *out = base;
    if (!base)
        return peri_slice(NULL, 0);
    out = put(out, request->method, " ");
    out = put(out, request->url, has_host || is_absolute ? " HTTP/1.1\r\n" : " HTTP/1.0\r\n");
    if (is_absolute && !has_host)
        out = stpcpy(out, "Host: url\r\n");
    for (uint32_t i = 0; i < request->header_count; i++)
        out = put(out, request->headers[i], "\r\n");
    out = stpcpy(out, "\r\n");
    return peri_slice(base, (size_t)(out - base));
}

static peri_err_t read_head(struct peri_exchange *x, const struct peri_explain_request *request, char *message,
                            size_t size)
{
    static const struct peri_h1_events events = {on_begin, on_head, on_body, on_end};
    static const struct peri_h1_limits limits = {.header_bytes = 61440, .headers = 100, .uri_bytes = 16384};
    struct peri_h1 h1;
    size_t consumed;
    bool has_host;
    peri_err_t err = check(request, &has_host, message, size);
    if (err != PERI_OK)
        return err;
    struct peri_slice head = write_head(&x->arena, request, has_host);
    if (!head.ptr)
        return PERI_ERR_NOMEM;
    peri_h1_init(&h1, PERI_H1_SERVER, &limits, &events, x);
    err = peri_h1_feed(&h1, head, &consumed);
    if (err != PERI_OK)
        snprintf(message, size, "such a request reaches no route; the answer is %d %s: %s", peri_err_info(err)->status,
                 peri_err_info(err)->name, peri_err_info(err)->text);
    return err;
}

static peri_err_t read_client(struct peri_exchange *x, struct peri_slice text, char *message, size_t size)
{
    struct peri_ip ip;
    if (text.len == 0)
        text = PERI_SLICE("127.0.0.1");
    if (peri_ip_parse(text, &ip) != PERI_OK)
        return refuse(message, size, "is no IP address of a client", text);
    peri_ip_format(&ip, x->peer.ip);
    x->peer.ip_len = (uint8_t)strlen(x->peer.ip);
    return peri_forwarded_apply(x, &(struct peri_listener_settings){.trusted_hops = 0});
}

peri_err_t peri_explain_read(struct peri_exchange *x, const struct peri_explain_request *request, char *message,
                             size_t size)
{
    snprintf(message, size, "the proxy is out of memory");
    peri_err_t err = read_head(x, request, message, size);
    if (err == PERI_OK)
        err = read_client(x, request->client, message, size);
    if (err != PERI_OK)
        return err;
    x->req.content_length = request->body.len > 0 ? (int64_t)request->body.len : PERI_LENGTH_NONE;
    x->req.expects_continue = false;
    x->facts.bytes_in = request->body.len;
    return peri_body_set(&x->req_body, request->body);
}

// ---- JSON ----

// Where the lines of the headers go; measured first, with `text` NULL.
struct lines {
    struct peri_slice *items;
    uint32_t count;
    char *text;
    size_t len;
};

static bool add_line(struct lines *lines, struct peri_slice name, const struct peri_json *json)
{
    struct peri_slice value = peri_json_string(json);
    size_t len = name.len + 2 + value.len;
    if (!value.ptr || lines->count == PERI_EXPLAIN_HEADERS)
        return false;
    if (lines->text) {
        char *at = lines->text + lines->len;
        memcpy(put(at, name, ": "), value.ptr, value.len);
        lines->items[lines->count] = peri_slice(at, len);
    }
    lines->count++;
    lines->len += len + 1; // put() ends with a NUL
    return true;
}

static bool add_lines(struct lines *lines, const struct peri_json *headers)
{
    void *cursor = NULL;
    struct peri_slice name;
    const struct peri_json *value;
    bool is_good = true;
    while (is_good && peri_json_next(headers, &cursor, &name, &value)) {
        bool is_list = peri_json_type(value) == PERI_JSON_ARRAY;
        for (size_t i = 0; is_good && is_list && i < peri_json_count(value); i++)
            is_good = add_line(lines, name, peri_json_at(value, i));
        if (!is_list)
            is_good = add_line(lines, name, value);
    }
    return is_good;
}

// The slices stand in front of the text, in one block.
static bool read_lines(const struct peri_json *headers, struct peri_explain_request *request, char **block)
{
    struct lines measured = {0};
    if (!add_lines(&measured, headers))
        return false;
    size_t slices = measured.count * sizeof(struct peri_slice);
    *block = malloc(slices + measured.len + 1);
    struct lines lines = {.items = (struct peri_slice *)(void *)*block, .text = *block ? *block + slices : NULL};
    if (!*block || !add_lines(&lines, headers))
        return false;
    request->headers = lines.items;
    request->header_count = lines.count;
    return true;
}

// Is each member one that there is, and of its type?
static bool check_members(const struct peri_json *json, char *message, size_t size)
{
    static const char *const names[] = {"method", "url", "body", "client", "headers"};
    void *cursor = NULL;
    struct peri_slice name;
    const struct peri_json *value;
    if (peri_json_type(json) != PERI_JSON_OBJECT) {
        snprintf(message, size, "expected a JSON object with method, url, headers, body and client");
        return false;
    }
    while (peri_json_next(json, &cursor, &name, &value)) {
        size_t i = 0;
        while (i < PERI_COUNT(names) && !peri_slice_eq(name, peri_slice_from(names[i])))
            i++;
        enum peri_json_type type = i == PERI_COUNT(names) - 1 ? PERI_JSON_OBJECT : PERI_JSON_STRING;
        if (i < PERI_COUNT(names) && peri_json_type(value) == type)
            continue;
        const char *what = i < PERI_COUNT(names) ? "is of another type than expected" : "is no member of a request";
        snprintf(message, size, "'%.*s' %s; there are method, url, body, client (strings) and headers (an object)",
                 (int)(name.len < 64 ? name.len : 64), name.ptr, what);
        return false;
    }
    return true;
}

bool peri_explain_parse(const struct peri_json *json, struct peri_explain_request *request, char **lines, char *message,
                        size_t size)
{
    struct peri_slice method = peri_json_get_string(json, "method");
    *lines = NULL;
    if (!check_members(json, message, size))
        return false;
    *request = (struct peri_explain_request){
        .method = method.ptr ? method : PERI_SLICE("GET"),
        .url = peri_json_get_string(json, "url"),
        .body = peri_json_get_string(json, "body"),
        .client = peri_json_get_string(json, "client"),
    };
    if (!request->url.ptr) {
        snprintf(message, size, "there is no 'url'");
        return false;
    }
    if (read_lines(peri_json_get(json, "headers"), request, lines))
        return true;
    snprintf(message, size, "'headers' has values that are no strings, or more than %d", PERI_EXPLAIN_HEADERS);
    return false;
}
