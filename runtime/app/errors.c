// SPDX-License-Identifier: MIT
// Makes and prints lists of errors.
#include "app/errors.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "codec/json.h"

#define LINE 8192 ///< most bytes of one error

char *peri_errors_new(const char *path, const char *format, ...)
{
    char message[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    struct peri_json *error = peri_json_new_object();
    if (path)
        peri_json_set(error, "path", peri_json_new_string(peri_slice_from(path)));
    peri_json_set(error, "message", peri_json_new_string(peri_slice_from(message)));
    struct peri_json *errors = peri_json_new_array();
    peri_json_append(errors, error);
    char *text = peri_json_format(errors, false);
    peri_json_free(errors);
    return text;
}

char *peri_errors_locate(char *errors, struct peri_slice file)
{
    struct peri_json *json = errors ? peri_json_parse(peri_slice_from(errors), false, NULL, 0) : NULL;
    for (size_t i = 0; i < peri_json_count(json); i++) {
        struct peri_json *error = (struct peri_json *)(uintptr_t)peri_json_at(json, i); // part of a tree that is ours
        if (peri_json_get(error, "path") && !peri_json_get(error, "file"))
            peri_json_set(error, "file", peri_json_new_string(file));
    }
    char *located = json ? peri_json_format(json, false) : NULL;
    peri_json_free(json);
    if (!located)
        return errors;
    free(errors);
    return located;
}

// What stands before a relative name: the path of the configuration up to its last slash.
static int prefix_length(const char *config, struct peri_slice file)
{
    const char *slash = strrchr(config, '/');
    return slash && file.ptr[0] != '/' ? (int)(slash + 1 - config) : 0;
}

static int format_place(const struct peri_json *error, const char *config, char *text, size_t size)
{
    struct peri_slice file = peri_json_get_string(error, "file");
    int64_t line = peri_json_get_integer(error, "line", 0);
    if (file.len == 0)
        return 0;
    int prefix = prefix_length(config, file);
    if (line > 0)
        return snprintf(text, size, "%.*s%.*s:%lld: ", prefix, config, (int)file.len, file.ptr, (long long)line);
    return snprintf(text, size, "%.*s%.*s: ", prefix, config, (int)file.len, file.ptr);
}

// One error as file:line: path: message, cut at `size`.
static void format_error(const struct peri_json *error, const char *config, char *text, size_t size)
{
    struct peri_slice path = peri_json_get_string(error, "path");
    struct peri_slice message = peri_json_get_string(error, "message");
    int len = format_place(error, config, text, size);
    if (len < 0 || (size_t)len >= size)
        return;
    snprintf(text + len, size - (size_t)len, "%.*s%s%.*s", (int)path.len, path.len ? path.ptr : "",
             path.len ? ": " : "", (int)message.len, message.len ? message.ptr : "");
}

// Line breaks stay, for tracebacks; other control bytes could play with the terminal.
static void print_line(void *out, const char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f)
            fprintf(out, "\\x%02x", c);
        else
            fputc(c, out);
    }
    fputc('\n', out);
}

static void log_line(void *out, const char *text)
{
    PERI_UNUSED(out);
    peri_error("%s", text);
}

static void each_line(const char *errors, const char *config, void (*line)(void *out, const char *text), void *out)
{
    char text[LINE];
    struct peri_json *json = errors ? peri_json_parse(peri_slice_from(errors), false, NULL, 0) : NULL;
    size_t count = peri_json_count(json);
    for (size_t i = 0; i < count; i++) {
        text[0] = '\0';
        format_error(peri_json_at(json, i), config, text, sizeof(text));
        line(out, text);
    }
    if (count == 0)
        line(out, "the reason is not known (out of memory?)");
    peri_json_free(json);
}

char *peri_errors_summary(const char *errors)
{
    char text[LINE], *summary = NULL;
    struct peri_json *json = peri_json_parse(peri_slice_from(errors), false, NULL, 0);
    size_t count = peri_json_count(json);
    text[0] = '\0';
    format_error(peri_json_at(json, 0), "", text, sizeof(text));
    int len = count > 1 ? asprintf(&summary, "%s (and %zu more)", text, count - 1) : asprintf(&summary, "%s", text);
    peri_json_free(json);
    return len < 0 ? NULL : summary;
}

void peri_errors_log(const char *errors)
{
    each_line(errors, "", log_line, NULL);
}

void peri_errors_print(FILE *out, const char *config, const char *errors)
{
    each_line(errors, config, print_line, out);
}
