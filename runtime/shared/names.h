// SPDX-License-Identifier: MIT
// A table of names in shared memory that only grows: a name's row never changes, so readers need no lock. Writers hold the
// registry's lock; a row counts once `count` says so, which makes a writer that dies half-way harmless.
#ifndef PERI_SHARED_NAMES_H
#define PERI_SHARED_NAMES_H

#include <stdint.h>

#include "base/slice.h"

#define PERI_NAME_TEXT 248

/// One name, with a number that is part of its identity (the route of a policy; 0 elsewhere).
struct peri_name {
    uint32_t owner;
    uint16_t len;
    char text[PERI_NAME_TEXT + 2];
};

/// A table as this process sees it.
struct peri_names {
    uint32_t *count;        ///< in shared memory
    struct peri_name *rows; ///< in shared memory
    uint32_t size;          ///< rows there is room for
};

/// Rows in use; never more than there is room for.
uint32_t peri_names_count(const struct peri_names *names);

/// Row of (`owner`, `text`), or -1.
int32_t peri_names_find(const struct peri_names *names, uint32_t owner, struct peri_slice text);

/// Row of (`owner`, `text`), made when it is new; -1 when the text is empty, longer than PERI_NAME_TEXT, or the table is
/// full. The caller holds the registry's lock.
int32_t peri_names_add(const struct peri_names *names, uint32_t owner, struct peri_slice text);

/// Text of a row below the count, borrowed from the memory.
struct peri_slice peri_names_text(const struct peri_names *names, uint32_t row);

#endif
