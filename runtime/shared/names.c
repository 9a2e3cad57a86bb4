// SPDX-License-Identifier: MIT
// Names are looked up when a generation is built, not per request: a walk over the rows will do.
#include "shared/names.h"

uint32_t peri_names_count(const struct peri_names *names)
{
    uint32_t count = __atomic_load_n(names->count, __ATOMIC_ACQUIRE);
    return count < names->size ? count : names->size;
}

int32_t peri_names_find(const struct peri_names *names, uint32_t owner, struct peri_slice text)
{
    uint32_t count = peri_names_count(names);
    for (uint32_t i = 0; i < count; i++) {
        if (names->rows[i].owner == owner && peri_slice_eq(peri_names_text(names, i), text))
            return (int32_t)i;
    }
    return -1;
}

int32_t peri_names_add(const struct peri_names *names, uint32_t owner, struct peri_slice text)
{
    int32_t found = peri_names_find(names, owner, text);
    uint32_t count = peri_names_count(names);
    if (found >= 0 || count == names->size || text.len == 0 || text.len > PERI_NAME_TEXT)
        return found;
    struct peri_name *row = &names->rows[count];
    row->owner = owner;
    row->len = (uint16_t)text.len;
    memcpy(row->text, text.ptr, text.len);
    __atomic_store_n(names->count, count + 1, __ATOMIC_RELEASE);
    return (int32_t)count;
}

struct peri_slice peri_names_text(const struct peri_names *names, uint32_t row)
{
    const struct peri_name *name = &names->rows[row];
    return peri_slice(name->text, name->len < PERI_NAME_TEXT ? name->len : PERI_NAME_TEXT);
}
