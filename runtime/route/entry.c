// SPDX-License-Identifier: MIT
// The search through the entries of one host and path.
#include "route/entry.h"

#include "exchange/exchange.h"

const struct peri_entry peri_entry_untestable = {.route = NULL};

/// Does the mask of methods alone decide, and let the request pass? Then the rest need not be called.
static bool passes_quickly(const struct peri_predicate *predicate, const struct peri_request *req)
{
    return predicate->is_always || (predicate->is_mask && predicate->methods >> req->method & 1);
}

const struct peri_entry *peri_entry_list_find(const struct peri_entry_list *list, struct peri_exchange *x)
{
    const char *reason;
    for (const struct peri_entry *entry = list->first; entry; entry = entry->next) {
        if (passes_quickly(&entry->predicate, &x->req))
            return entry;
        peri_err_t err = peri_predicate_test(&entry->predicate, x, &reason);
        if (err != PERI_ERR_NOT_FOUND)
            return err == PERI_OK ? entry : &peri_entry_untestable;
    }
    return NULL;
}
