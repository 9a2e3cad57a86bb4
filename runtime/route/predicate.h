// SPDX-License-Identifier: MIT
// What a route asks of a request beside host and path: method, headers, query. Compiled once from the match; header names
// become ids and methods a bit mask, so that most tests are an integer comparison.
#ifndef PERI_ROUTE_PREDICATE_H
#define PERI_ROUTE_PREDICATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

struct peri_arena;
struct peri_exchange;
struct peri_match;
struct peri_regex;

struct peri_condition {
    struct peri_slice name;   ///< header in lower case, or query parameter decoded
    struct peri_slice value;  ///< exact value; unused with regex or is_presence
    struct peri_regex *regex; ///< owned; NULL for none
    uint16_t id;              ///< enum peri_header_id; headers only
    bool is_presence;
};

struct peri_predicate {
    bool is_always;                  ///< nothing is asked
    bool is_mask;                    ///< `methods` is all that is asked
    uint32_t methods;                ///< bit (1 << enum peri_method); 0 with no names: any
    struct peri_slice *method_names; ///< methods without an id
    uint32_t method_name_count;
    struct peri_condition *headers;
    uint32_t header_count;
    struct peri_condition *query;
    uint32_t query_count;
};

/// Compiles methods, headers and query of `match`; text is copied into `arena`. PERI_ERR_INVALID with a sentence in `message`
/// (size `size`); PERI_ERR_NOMEM. peri_predicate_close is due in any case.
peri_err_t peri_predicate_compile(struct peri_predicate *predicate, struct peri_arena *arena,
                                  const struct peri_match *match, char *message, size_t size);

/// Frees what lies outside the arena.
void peri_predicate_close(struct peri_predicate *predicate);

/// Below 0 when `a` goes before `b`: with methods before without, then most headers, then most query conditions.
int peri_predicate_compare(const struct peri_predicate *a, const struct peri_predicate *b);

/// Does x->req fulfil every condition? A header line or query parameter that occurs more than once fulfils its condition when
/// one occurrence does. PERI_OK; PERI_ERR_NOT_FOUND with "method", "header" or "query" in *reason; PERI_ERR_NOMEM or an error
/// of peri_regex_match, which means that the question cannot be answered. Takes memory (of x->arena) only to decode a
/// query value with escapes.
peri_err_t peri_predicate_test(const struct peri_predicate *predicate, struct peri_exchange *x, const char **reason);

#endif
