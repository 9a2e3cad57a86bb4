// SPDX-License-Identifier: MIT
// The lines that differ between two texts: Myers' algorithm (An O(ND) Difference Algorithm and Its Variations, 1986) on what is
// left when common lines at both ends are gone. Bounded: texts that differ in more than PERI_DIFF_EDITS lines are told as
// wholly replaced in between.
#ifndef PERI_APP_DIFF_H
#define PERI_APP_DIFF_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

#define PERI_DIFF_BYTES (1024u * 1024) ///< longer texts are not compared
#define PERI_DIFF_EDITS 256            ///< lines added and removed that are looked for
#define PERI_DIFF_CONTEXT 3            ///< lines shown round a change

struct peri_text;

struct peri_diff {
    uint32_t added;   ///< lines
    uint32_t removed; ///< lines
};

/// Compares two texts and appends the hunks of a unified diff to `out` (NULL: only counts). False when one of them is too long or
/// no text (has a NUL byte), or memory is out; nothing was appended then.
bool peri_diff_make(struct peri_slice from, struct peri_slice to, struct peri_text *out, struct peri_diff *diff);

#endif
