// SPDX-License-Identifier: MIT
// Intrusive circular doubly linked list. A node that is not in a list points to itself, so remove is always safe.
#ifndef PERI_BASE_LIST_H
#define PERI_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"

struct peri_list {
    struct peri_list *next;
    struct peri_list *prev;
};

/// Makes `node` an empty list head, or a node outside any list.
static inline void peri_list_init(struct peri_list *node)
{
    node->next = node->prev = node;
}

/// True for an empty head, and for a node outside any list.
static inline bool peri_list_is_empty(const struct peri_list *node)
{
    return node->next == node;
}

/// Puts `node`, which is in no list, before `head`: the last place.
static inline void peri_list_append(struct peri_list *head, struct peri_list *node)
{
    node->next = head;
    node->prev = head->prev;
    head->prev->next = node;
    head->prev = node;
}

/// Puts `node`, which is in no list, behind `head`: the first place.
static inline void peri_list_prepend(struct peri_list *head, struct peri_list *node)
{
    peri_list_append(head->next, node);
}

/// Takes `node` out of its list, if any.
static inline void peri_list_remove(struct peri_list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    peri_list_init(node);
}

#define PERI_LIST_ITEM(node, type, member) PERI_CONTAINER(node, type, member)

#endif
