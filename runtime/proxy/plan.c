// SPDX-License-Identifier: MIT
// What plans do by themselves.
#include "proxy/plan.h"

#include "codec/header.h"

void peri_plan_edit(struct peri_headers *headers, const struct peri_edit *edits, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct peri_edit *edit = &edits[i];
        if (edit->op == PERI_EDIT_SET)
            peri_headers_set(headers, edit->name, edit->value);
        else if (edit->op == PERI_EDIT_ADD)
            peri_headers_add(headers, edit->name, edit->value);
        else
            peri_headers_remove(headers, edit->name);
    }
}
