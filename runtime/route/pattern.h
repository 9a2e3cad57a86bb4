// SPDX-License-Identifier: MIT
// What a route asks of the path: parsed once from the match, compared for precedence, and matched against one path by
// itself. The table finds patterns faster than one by one (route/tree.h), but never differently.
#ifndef PERI_ROUTE_PATTERN_H
#define PERI_ROUTE_PATTERN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

struct peri_arena;
struct peri_match;
struct peri_regex;

#define PERI_PATTERN_SEGMENTS_MAX 64

/// In order of precedence.
enum peri_pattern_kind {
    PERI_PATTERN_EXACT,    ///< "/a/b"
    PERI_PATTERN_CAPTURES, ///< "/a/{name}"
    PERI_PATTERN_PREFIX,   ///< "/a/*", "/a/{name}/*"
    PERI_PATTERN_REGEX,    ///< path_regex
    PERI_PATTERN_ANY,      ///< no condition on the path
};

struct peri_pattern_segment {
    struct peri_slice text; ///< literal in normal form, or the name of the capture
    bool is_capture;
};

struct peri_pattern {
    enum peri_pattern_kind kind;
    struct peri_slice text;                ///< EXACT: the path in normal form; REGEX: what a match must begin with
    struct peri_pattern_segment *segments; ///< CAPTURES, PREFIX (without the "*"), EXACT
    uint32_t segment_count;
    uint32_t capture_count;
    struct peri_regex *regex; ///< owned; REGEX only
};

/// Parses the path or path_regex of `match`; text is copied into `arena`. PERI_ERR_INVALID with a sentence in `message` (size
/// `size`); PERI_ERR_NOMEM. On an error there is nothing to close.
peri_err_t peri_pattern_parse(struct peri_pattern *pattern, struct peri_arena *arena, const struct peri_match *match,
                              char *message, size_t size);

/// Frees what lies outside the arena.
void peri_pattern_close(struct peri_pattern *pattern);

/// Below 0 when `a` goes before `b`, 0 when only method, headers, query and order decide. Of two patterns that match the
/// same path, the more specific goes before.
int peri_pattern_compare(const struct peri_pattern *a, const struct peri_pattern *b);

/// Does the pattern match all of `path` (normalised, or "*")? Captured segments or groups go to `captures`
/// (PERI_CAPTURES_MAX places), borrowed from `path`. PERI_OK, PERI_ERR_NOT_FOUND, or an error of peri_regex_match.
peri_err_t peri_pattern_match(const struct peri_pattern *pattern, struct peri_slice path, struct peri_slice *captures);

/// The segment behind the '/' at `at`, up to the next '/' or `end`.
static inline struct peri_slice peri_pattern_segment(const char *at, const char *end)
{
    const char *start = at + 1;
    const char *slash = start < end ? (const char *)memchr(start, '/', (size_t)(end - start)) : NULL;
    return peri_slice(start, (size_t)((slash ? slash : end) - start));
}

/// Next segment of a normalised path: *rest begins with '/' and is moved to the next '/' or the end. False at the end.
static inline bool peri_pattern_next_segment(struct peri_slice *rest, struct peri_slice *segment)
{
    if (rest->len == 0)
        return false;
    *segment = peri_pattern_segment(rest->ptr, rest->ptr + rest->len);
    *rest = peri_slice(segment->ptr + segment->len, rest->len - segment->len - 1);
    return true;
}

#endif
