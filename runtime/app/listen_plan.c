// SPDX-License-Identifier: MIT
// The difference of two sets of addresses, and its text form.
#include "app/listen_plan.h"

#include <stdlib.h>

static uint32_t subtract(const struct peri_config *from, const struct peri_config *what, struct peri_slice *rest)
{
    uint32_t count = 0;
    for (uint32_t i = 0; from && i < from->listener_count; i++)
        if (!what || !peri_config_has_listener(what, from->listeners[i]))
            rest[count++] = from->listeners[i];
    return count;
}

void peri_listen_plan_make(struct peri_listen_plan *plan, const struct peri_config *from, const struct peri_config *to)
{
    plan->add_count = subtract(to, from, plan->add);
    plan->remove_count = subtract(from, to, plan->remove);
}

static char *put(char *at, char sign, const struct peri_slice *addresses, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        *at++ = sign;
        memcpy(at, addresses[i].ptr, addresses[i].len);
        at += addresses[i].len;
        *at++ = '\0';
    }
    return at;
}

struct peri_slice peri_listen_plan_format(const struct peri_listen_plan *plan)
{
    size_t size = 1;
    for (uint32_t i = 0; i < plan->add_count; i++)
        size += plan->add[i].len + 2;
    for (uint32_t i = 0; i < plan->remove_count; i++)
        size += plan->remove[i].len + 2;
    char *text = malloc(size);
    if (!text)
        return peri_slice(NULL, 0);
    char *end = put(text, '+', plan->add, plan->add_count);
    end = put(end, '-', plan->remove, plan->remove_count);
    return peri_slice(text, (size_t)(end - text));
}

peri_err_t peri_listen_plan_parse(struct peri_slice text, struct peri_listen_plan *plan)
{
    plan->add_count = plan->remove_count = 0;
    while (text.len > 0) {
        const char *end = memchr(text.ptr, '\0', text.len);
        bool is_add = text.ptr[0] == '+';
        uint32_t *count = is_add ? &plan->add_count : &plan->remove_count;
        if (!end || *count == PERI_CONFIG_LISTENERS || (!is_add && text.ptr[0] != '-'))
            return PERI_ERR_INVALID;
        struct peri_slice address = peri_slice(text.ptr + 1, (size_t)(end - text.ptr - 1));
        (is_add ? plan->add : plan->remove)[(*count)++] = address;
        text.len -= (size_t)(end + 1 - text.ptr);
        text.ptr = end + 1;
    }
    return PERI_OK;
}
