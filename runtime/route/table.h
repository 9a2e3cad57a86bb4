// SPDX-License-Identifier: MIT
// Finds the route of a request. A table is built once per generation and then only read: host by hash (exact, then the
// longest "*.suffix", then routes without a host), path by hash (exact), by segment tree (captures, then the longest
// prefix), then regular expressions, then routes without a path; then method, most headers, most query, order in the file.
// The plan of a route (what is done with the request) is opaque here.
#ifndef PERI_ROUTE_TABLE_H
#define PERI_ROUTE_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"
#include "route/match.h"

struct peri_exchange;
struct peri_route_table;

/// The reason that explain gives for a route whose condition cannot be tested: a regular expression costs too much, or
/// memory is short.
#define PERI_ROUTE_UNTESTABLE "could not be tested"

/// An empty table; NULL when out of memory.
struct peri_route_table *peri_route_table_new(void);

/// Frees the table and its copies of the matches; routes are not owned.
void peri_route_table_free(struct peri_route_table *table);

/// Adds a match that leads to `route` (borrowed; outlives the table). Everything in `match` is copied. PERI_ERR_INVALID with a
/// sentence in `message` (size `message_size`) when the match is malformed (path without '/', bad capture, bad regex, wildcard
/// elsewhere than at the end / as first host label); PERI_ERR_NOMEM.
peri_err_t peri_route_table_add(struct peri_route_table *table, const struct peri_match *match, const void *route,
                                char *message, size_t message_size);

/// Makes the table ready to be searched: sorts candidates by precedence. Called once after the last add.
peri_err_t peri_route_table_seal(struct peri_route_table *table);

/// Route of the request in x->req, or NULL. Captured segments are stored in x->captures in order of appearance in the
/// pattern (borrowed from x->req.path; for a regex: its groups, with ptr NULL for one that took no part). NULL also when a
/// condition cannot be tested: no laxer route takes its place. Allocates nothing, but decodes a query value with escapes
/// into x->arena when a route asks for it.
const void *peri_route_table_find(const struct peri_route_table *table, struct peri_exchange *x);

/// Why a route did or did not match, for `explain`: calls `on_candidate(data, route, reason)` for every route of the table in order
/// of precedence; reason is NULL for the one chosen, else a static text: "host", "path", "method", "header", "query" (the
/// first condition that fails), PERI_ROUTE_UNTESTABLE, "a route before it matched", "a route before it could not be tested".
void peri_route_table_explain(const struct peri_route_table *table, struct peri_exchange *x,
                              void (*on_candidate)(void *data, const void *route, const char *reason), void *data);

#endif
