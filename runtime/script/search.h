// SPDX-License-Identifier: MIT
// Lua's patterns with a bound on the work: what string.find and its kin do for scripts. The language is that of Lua 5.1 as LuaJIT
// reads it; only the number of steps is new. Knows nothing of the Lua VM.
#ifndef PERI_SCRIPT_SEARCH_H
#define PERI_SCRIPT_SEARCH_H

#include <stddef.h>
#include <stdint.h>

/// Steps that one search may take; a step is one look at one byte of the subject or of a set.
#define PERI_SEARCH_STEPS 3000000
/// Captures that one pattern may have.
#define PERI_SEARCH_CAPTURES 32
/// Length of a capture that holds a position, and of one that is not closed yet.
#define PERI_SEARCH_POSITION (-1)
#define PERI_SEARCH_OPEN (-2)

/// One search: set `subject`, `end` and `steps`, zero the rest.
struct peri_search {
    const char *subject; ///< borrowed
    const char *end;     ///< behind the last byte; a NUL stands there, as in every Lua string
    const char *problem; ///< static text: why the search ended without an answer; NULL while all is well
    uint32_t steps;      ///< left
    int depth;           ///< of the recursion
    int count;           ///< of captures
    struct {
        const char *at;
        ptrdiff_t len; ///< bytes, or PERI_SEARCH_POSITION or PERI_SEARCH_OPEN
    } captures[PERI_SEARCH_CAPTURES];
};

/// Matches `text` (a pattern, ended by NUL, without an anchor) at `at`, nowhere else. The end of the match; NULL when it does not
/// match, or with search->problem set when the pattern is malformed or too costly. Captures are those of the match.
const char *peri_search_match(struct peri_search *search, const char *at, const char *text);

#endif
