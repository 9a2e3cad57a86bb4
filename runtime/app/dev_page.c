// SPDX-License-Identifier: MIT
// Makes the documents: the errors come as the JSON array of app/errors.h, what a script failed with is made into one.
#include "app/dev_page.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/errors.h"
#include "app/snapshot.h"
#include "base/embed.h"
#include "codec/json.h"
#include "codec/message.h"
#include "exchange/exchange.h"
#include "proxy/reply.h"

#define ERRORS_MAX 20    ///< errors shown on a page
#define CONTEXT 4        ///< lines shown before and behind the wrong one
#define LINE_MAX_LEN 400 ///< bytes shown of a line

// What a page is made of.
struct page {
    const struct peri_snapshot *snapshot;
    const struct peri_json *errors;
    const char *type; ///< name of the problem
    const char *title;
    const char *lead;
    struct peri_slice detail; ///< of the problem document; empty: the errors
    int status;
};

// ---- sources ----

// Text of a file of the configuration, or of the binary; empty when there is none, and for secrets.
static struct peri_slice read_source(const struct peri_snapshot *snapshot, struct peri_slice path)
{
    char name[256];
    if (path.len == 0 || path.len >= sizeof(name))
        return peri_slice("", 0);
    for (uint32_t i = 0; snapshot && i < peri_snapshot_count(snapshot); i++) {
        struct peri_snapshot_file file = peri_snapshot_file(snapshot, i);
        if (peri_slice_eq(file.path, path) && file.err == PERI_OK)
            return file.is_secret ? peri_slice("", 0) : file.bytes;
    }
    snprintf(name, sizeof(name), "%.*s", (int)path.len, path.ptr);
    const struct peri_embed *file = peri_embed_find(name);
    return file ? peri_slice((const char *)file->data, file->len) : peri_slice("", 0);
}

static bool is_path_char(char c)
{
    return isalnum((unsigned char)c) || strchr("_-./", c) != NULL;
}

// Finds the first "path:line:" in `text` whose file is known. False when there is none.
static bool find_place(const struct peri_snapshot *snapshot, struct peri_slice text, struct peri_slice *path,
                       long *line)
{
    for (size_t i = 0; i + 1 < text.len; i++) {
        size_t begin = i;
        if (text.ptr[i] != ':' || !isdigit((unsigned char)text.ptr[i + 1]))
            continue;
        while (begin > 0 && text.ptr[begin - 1] && is_path_char(text.ptr[begin - 1]))
            begin--;
        *path = peri_slice(text.ptr + begin, i - begin);
        *line = strtol(text.ptr + i + 1, NULL, 10);
        if (!(path->len > 4 && memcmp(path->ptr, "lua/", 4) == 0) && read_source(snapshot, *path).len > 0)
            return true;
    }
    return false;
}

// ---- HTML ----

static void write_html(FILE *out, struct peri_slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c == '&' || c == '<' || c == '>' || c == '"' || c == '\'')
            fprintf(out, "&#%d;", c);
        else if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f)
            fputs("&#xfffd;", out);
        else
            fputc(c, out);
    }
}

// Cuts the first line, without its break, off *rest.
static struct peri_slice cut_line(struct peri_slice *rest)
{
    const char *end = rest->len > 0 ? memchr(rest->ptr, '\n', rest->len) : NULL;
    struct peri_slice line = peri_slice(rest->ptr, end ? (size_t)(end - rest->ptr) : rest->len);
    size_t used = line.len + (end ? 1 : 0);
    *rest = peri_slice(rest->ptr + used, rest->len - used);
    return line;
}

static void write_excerpt(FILE *out, struct peri_slice source, int64_t wrong)
{
    fputs("<pre>", out);
    for (int64_t number = 1; source.len > 0 && number <= wrong + CONTEXT; number++) {
        struct peri_slice line = cut_line(&source);
        if (number < wrong - CONTEXT)
            continue;
        fprintf(out, "<span class=\"%s\"><b>%lld</b>", number == wrong ? "line wrong" : "line", (long long)number);
        write_html(out, peri_slice(line.ptr, line.len < LINE_MAX_LEN ? line.len : LINE_MAX_LEN));
        fputs("</span>\n", out);
    }
    fputs("</pre>\n", out);
}

static void write_error(FILE *out, const struct page *page, const struct peri_json *error)
{
    struct peri_slice file = peri_json_get_string(error, "file"), path = peri_json_get_string(error, "path");
    struct peri_slice traceback = peri_json_get_string(error, "traceback");
    int64_t line = peri_json_get_integer(error, "line", 0);
    struct peri_slice source = line > 0 ? read_source(page->snapshot, file) : peri_slice("", 0);
    fputs("<section>\n<h2>", out);
    write_html(out, peri_json_get_string(error, "message"));
    fputs("</h2>\n<p class=\"place\">", out);
    write_html(out, file);
    if (line > 0)
        fprintf(out, ":%lld", (long long)line);
    fputs(" <i>", out);
    write_html(out, path);
    fputs("</i></p>\n", out);
    if (source.len > 0)
        write_excerpt(out, source, line);
    if (traceback.len > 0) {
        fputs("<details><summary>Traceback</summary><pre>", out);
        write_html(out, traceback);
        fputs("</pre></details>\n", out);
    }
    fputs("</section>\n", out);
}

static void write_page(FILE *out, const struct page *page)
{
    size_t count = peri_json_count(page->errors);
    fprintf(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>%s</title>\n<style>\n"
        "body{font:16px/1.5 system-ui,sans-serif;margin:0;background:#fafafa;color:#222}\n"
        "main{max-width:60rem;margin:2rem auto;padding:0 "
        "1rem}h1{color:#b00020}h2{font-size:1.1rem;white-space:pre-wrap}\n"
        ".place{font-family:monospace}.place i{color:#666}\n"
        "pre{background:#fff;border:1px solid #ddd;border-radius:4px;padding:.5rem 0;overflow:auto;font-size:14px}\n"
        "details pre{padding:.5rem}.line{display:block;padding:0 .5rem}.line "
        "b{display:inline-block;width:3rem;color:#999;"
        "font-weight:normal}\n.wrong{background:#fde7e9}\n</style></head>\n<body><main>\n<h1>%s</h1>\n<p>%s</p>\n",
        page->title, page->title, page->lead);
    for (size_t i = 0; i < count && i < ERRORS_MAX; i++)
        write_error(out, page, peri_json_at(page->errors, i));
    if (count > ERRORS_MAX)
        fprintf(out, "<p>And %zu more.</p>\n", count - ERRORS_MAX);
    fputs("</main></body></html>\n", out);
}

// ---- JSON ----

// The errors as `perigee check` prints them.
static struct peri_json *detail_of(const struct peri_json *errors)
{
    char *list = peri_json_format(errors, false), *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    if (out) {
        peri_errors_print(out, "", list);
        fclose(out);
    }
    struct peri_json *detail = peri_json_new_string(peri_slice(text ? text : "", len > 0 ? len - 1 : 0));
    free(text);
    free(list);
    return detail;
}

static char *format_problem(const struct page *page, struct peri_slice request_id)
{
    char type[64];
    struct peri_json *problem = peri_json_new_object();
    snprintf(type, sizeof(type), "urn:perigee:%s", page->type);
    peri_json_set(problem, "type", peri_json_new_string(peri_slice_from(type)));
    peri_json_set(problem, "title", peri_json_new_string(peri_slice_from(peri_status_text(page->status))));
    peri_json_set(problem, "status", peri_json_new_integer(page->status));
    peri_json_set(problem, "detail",
                  page->detail.len > 0 ? peri_json_new_string(page->detail) : detail_of(page->errors));
    peri_json_set(problem, "errors", peri_json_copy(page->errors));
    if (request_id.len > 0)
        peri_json_set(problem, "request_id", peri_json_new_string(request_id));
    char *text = peri_json_format(problem, false), *line = NULL;
    peri_json_free(problem);
    if (text && asprintf(&line, "%s\n", text) < 0)
        line = NULL;
    free(text);
    return line;
}

// ---- answers ----

static bool wants_html(const struct peri_exchange *x)
{
    struct peri_slice accept = peri_headers_get(&x->req.headers, PERI_H_ACCEPT);
    for (size_t i = 0; i + 9 <= accept.len; i++)
        if (strncasecmp(accept.ptr + i, "text/html", 9) == 0)
            return true;
    return false;
}

static void answer(struct peri_exchange *x, const struct page *page)
{
    bool is_html = wants_html(x);
    char *text = NULL;
    size_t len = 0;
    FILE *out = is_html ? open_memstream(&text, &len) : NULL;
    if (out) {
        write_page(out, page);
        fclose(out);
    } else if (!is_html) {
        text = format_problem(page, x->request_id);
        len = text ? strlen(text) : 0;
    }
    struct peri_slice type = is_html ? PERI_SLICE("text/html; charset=utf-8") : PERI_SLICE("application/problem+json");
    if (text && peri_reply_document(x, page->status, type, peri_slice(text, len)) == PERI_OK) {
        peri_headers_add(&x->res.headers, PERI_SLICE("cache-control"), PERI_SLICE("no-store"));
        if (is_html)
            peri_headers_add(&x->res.headers, PERI_SLICE("content-security-policy"),
                             PERI_SLICE("default-src 'none'; style-src 'unsafe-inline'"));
    }
    free(text);
}

void peri_dev_page_refused(struct peri_exchange *x, const struct peri_snapshot *snapshot, const char *errors)
{
    struct peri_json *list = peri_json_parse(peri_slice_from(errors), false, NULL, 0);
    struct page page = {
        .snapshot = snapshot,
        .errors = list,
        .type = "configuration_refused",
        .title = "The configuration is refused",
        .lead = "Nothing is served until the files are fixed and saved; then load this page again.",
        .status = peri_err_info(PERI_ERR_INVALID)->status,
    };
    answer(x, &page);
    peri_json_free(list);
}

// A list of one error: what failed, the place that a file can be shown of, and the traceback.
static struct peri_json *failure_errors(const struct peri_snapshot *snapshot, struct peri_slice failure)
{
    struct peri_slice rest = failure, path;
    struct peri_slice message = cut_line(&rest);
    long line;
    struct peri_json *error = peri_json_new_object();
    if (find_place(snapshot, failure, &path, &line)) {
        peri_json_set(error, "file", peri_json_new_string(path));
        peri_json_set(error, "line", peri_json_new_integer(line));
    }
    peri_json_set(error, "message", peri_json_new_string(message));
    if (rest.len > 0)
        peri_json_set(error, "traceback", peri_json_new_string(rest));
    struct peri_json *errors = peri_json_new_array();
    peri_json_append(errors, error);
    return errors;
}

void peri_dev_page_failed(struct peri_exchange *x, const struct peri_snapshot *snapshot, peri_err_t err)
{
    const struct peri_err_info *info = peri_err_info(err);
    struct peri_json *errors = failure_errors(snapshot, x->facts.failure);
    struct page page = {
        .snapshot = snapshot,
        .errors = errors,
        .type = info->name,
        .title = err == PERI_ERR_HANDLER ? "A handler failed" : "A policy failed",
        .lead = info->text,
        .detail = peri_json_get_string(peri_json_at(errors, 0), "message"),
        .status = info->status,
    };
    answer(x, &page);
    peri_json_free(errors);
}
