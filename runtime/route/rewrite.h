// SPDX-License-Identifier: MIT
// The path that goes upstream when a route rewrites it. Compiled once beside the route's match, then only read; the result
// is normalised again, so a rewrite cannot bring in what a request may not.
#ifndef PERI_ROUTE_REWRITE_H
#define PERI_ROUTE_REWRITE_H

#include <stddef.h>

#include "base/err.h"
#include "base/slice.h"

struct peri_exchange;
struct peri_match;
struct peri_rewrite;

enum peri_rewrite_kind {
    PERI_REWRITE_PREFIX, ///< the literal segments that the match's path begins with become `text`
    PERI_REWRITE_PATH,   ///< the path becomes `text`, with {name} for a capture of the match's path
    PERI_REWRITE_REGEX, ///< what `text` (PCRE2) matches first becomes `to`, with $0 to $9 for its groups and $$ for '$'
};

/// A rewrite as written in the configuration; plain data.
struct peri_rewrite_rule {
    enum peri_rewrite_kind kind;
    struct peri_slice text;
    struct peri_slice to; ///< REGEX only
};

/// Compiles `rule` for the route of `match`; everything is copied. PERI_ERR_INVALID with a sentence in `message` (size
/// `size`) when the rule is malformed (no '/' in front, a query, unknown capture or group, bad regex, prefix without a
/// match.path); PERI_ERR_NOMEM. *rewrite is owned by the caller, NULL on an error.
peri_err_t peri_rewrite_new(const struct peri_rewrite_rule *rule, const struct peri_match *match,
                            struct peri_rewrite **rewrite, char *message, size_t size);

/// Frees the rewrite; NULL is fine.
void peri_rewrite_free(struct peri_rewrite *rewrite);

/// Path for upstream, from x->req.path and x->captures; in x->arena, or x->req.path itself when nothing changes (the
/// expression does not match; the path no longer begins as the match does because a policy changed it; the path is "*").
/// `path` may be &x->req.path. PERI_ERR_BAD_PATH when the result cannot be normalised, PERI_ERR_NOMEM, or an error of
/// peri_regex_match; *path is then x->req.path.
peri_err_t peri_rewrite_apply(const struct peri_rewrite *rewrite, struct peri_exchange *x, struct peri_slice *path);

#endif
