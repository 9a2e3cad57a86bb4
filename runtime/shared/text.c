// SPDX-License-Identifier: MIT
// The block doubles; one byte more than the text is always there for the final zero.
#include "shared/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define TEXT_FIRST 4096

void peri_text_init(struct peri_text *text)
{
    *text = (struct peri_text){0};
}

void peri_text_close(struct peri_text *text)
{
    free(text->data);
    peri_text_init(text);
}

static bool text_reserve(struct peri_text *text, size_t more)
{
    size_t need = text->len + more + 1;
    size_t size = text->size ? text->size : TEXT_FIRST;
    if (text->failed || need <= text->size)
        return !text->failed;
    while (size < need)
        size *= 2;
    char *data = realloc(text->data, size);
    text->failed = data == NULL;
    if (data) {
        text->data = data;
        text->size = size;
    }
    return !text->failed;
}

void peri_text_add(struct peri_text *text, struct peri_slice bytes)
{
    if (bytes.len == 0 || !text_reserve(text, bytes.len))
        return;
    memcpy(text->data + text->len, bytes.ptr, bytes.len);
    text->len += bytes.len;
    text->data[text->len] = 0;
}

void peri_text_printf(struct peri_text *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (len <= 0 || !text_reserve(text, (size_t)len))
        return;
    va_start(args, format);
    vsnprintf(text->data + text->len, (size_t)len + 1, format, args);
    va_end(args);
    text->len += (size_t)len;
}
