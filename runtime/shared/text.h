// SPDX-License-Identifier: MIT
// Text that grows: one malloc'ed block, appended to. Out of memory is remembered and told once, at the end.
#ifndef PERI_SHARED_TEXT_H
#define PERI_SHARED_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"
#include "base/slice.h"

struct peri_text {
    char *data;  ///< owned; len bytes, then a zero; NULL when empty
    size_t len;  ///< bytes
    size_t size; ///< bytes allocated
    bool failed; ///< out of memory: what was appended since is missing
};

/// Makes an empty text; allocates nothing.
void peri_text_init(struct peri_text *text);

/// Frees it; the text is empty again.
void peri_text_close(struct peri_text *text);

/// Appends bytes.
void peri_text_add(struct peri_text *text, struct peri_slice bytes);

/// Appends as printf does.
void peri_text_printf(struct peri_text *text, const char *format, ...) PERI_PRINTF(2, 3);

#endif
