// SPDX-License-Identifier: MIT
// One added match, compiled: where it stands in the table and what it leads to.
#ifndef PERI_ROUTE_ENTRY_H
#define PERI_ROUTE_ENTRY_H

#include <stdint.h>

#include "base/slice.h"
#include "route/pattern.h"
#include "route/predicate.h"

struct peri_exchange;

/// In order of precedence.
enum peri_host_kind { PERI_HOST_EXACT, PERI_HOST_WILDCARD, PERI_HOST_ANY };

struct peri_entry {
    struct peri_entry *next; ///< the next in precedence with the same host and path
    const void *route;       ///< borrowed
    enum peri_host_kind host_kind;
    struct peri_slice host; ///< "api.example", or ".example" for a wildcard
    struct peri_pattern pattern;
    struct peri_predicate predicate;
    uint32_t order; ///< of adding
};

/// Entries in order of precedence.
struct peri_entry_list {
    struct peri_entry *first;
    struct peri_entry *last;
};

/// Appends an entry that no list holds.
static inline void peri_entry_list_append(struct peri_entry_list *list, struct peri_entry *entry)
{
    if (list->last)
        list->last->next = entry;
    else
        list->first = entry;
    list->last = entry;
}

/// Stands for "a condition cannot be tested" where an entry is returned: it ends the search and has no route, so that no
/// later, laxer entry takes the place of the one in question.
extern const struct peri_entry peri_entry_untestable;

/// First entry whose predicate the request fulfils, &peri_entry_untestable, or NULL.
const struct peri_entry *peri_entry_list_find(const struct peri_entry_list *list, struct peri_exchange *x);

#endif
