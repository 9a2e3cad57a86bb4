// SPDX-License-Identifier: MIT
// Makes and prints lists of errors.
#include "app/errors.h"

#include <stdarg.h>
#include <stdlib.h>

#include "codec/json.h"

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

// Line breaks stay, for tracebacks; other control bytes could play with the terminal.
static void print_text(FILE *out, struct peri_slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f)
            fprintf(out, "\\x%02x", c);
        else
            fputc(c, out);
    }
}

static void print_error(FILE *out, const char *prefix, const struct peri_json *error)
{
    struct peri_slice file = peri_json_get_string(error, "file");
    struct peri_slice path = peri_json_get_string(error, "path");
    int64_t line = peri_json_get_integer(error, "line", 0);
    if (file.len > 0) {
        fputs(file.ptr[0] == '/' ? "" : prefix, out);
        print_text(out, file);
        if (line > 0)
            fprintf(out, ":%lld", (long long)line);
        fputs(": ", out);
    }
    if (path.len > 0) {
        print_text(out, path);
        fputs(": ", out);
    }
    print_text(out, peri_json_get_string(error, "message"));
    fputc('\n', out);
}

void peri_errors_print(FILE *out, const char *prefix, const char *errors)
{
    struct peri_json *json = errors ? peri_json_parse(peri_slice_from(errors), false, NULL, 0) : NULL;
    size_t count = peri_json_count(json);
    for (size_t i = 0; i < count; i++)
        print_error(out, prefix, peri_json_at(json, i));
    if (count == 0)
        fputs("the reason is not known (out of memory?)\n", out);
    peri_json_free(json);
}
