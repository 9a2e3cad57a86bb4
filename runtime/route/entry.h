// SPDX-License-Identifier: MIT
// One added match, compiled: where it stands in the table and what it leads to.
#ifndef PERI_ROUTE_ENTRY_H
#define PERI_ROUTE_ENTRY_H

#include <stdint.h>

#include "base/err.h"
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

/// First entry whose predicate the request fulfils, or NULL. A predicate that cannot be tested ends the search with its
/// error in *err: a later, laxer entry must not take its place.
static inline const struct peri_entry *peri_entry_list_find(const struct peri_entry_list *list, struct peri_exchange *x,
                                                            peri_err_t *err)
{
    const char *reason;
    for (const struct peri_entry *entry = list->first; entry; entry = entry->next) {
        if (entry->predicate.is_always)
            return entry;
        peri_err_t tested = peri_predicate_test(&entry->predicate, x, &reason);
        if (tested == PERI_OK)
            return entry;
        if (tested != PERI_ERR_NOT_FOUND) {
            *err = tested;
            return NULL;
        }
    }
    return NULL;
}

#endif
