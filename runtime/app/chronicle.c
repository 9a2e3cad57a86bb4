// SPDX-License-Identifier: MIT
// A short list of attempts.
#include "app/chronicle.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "app/errors.h"
#include "app/snapshot.h"
#include "base/assert.h"
#include "base/attr.h"

static const char *const names[PERI_CHRONICLE_STATES] = {"tried",   "canary", "serving",    "superseded",
                                                         "refused", "failed", "rolled back"};

static struct peri_chronicle_entry *entry_of(struct peri_list *node)
{
    return PERI_LIST_ITEM(node, struct peri_chronicle_entry, link);
}

static void free_entry(struct peri_chronicle_entry *entry)
{
    peri_list_remove(&entry->link);
    peri_changes_close(&entry->changes);
    free(entry->reason);
    free(entry);
}

void peri_chronicle_init(struct peri_chronicle *chronicle)
{
    peri_list_init(&chronicle->entries);
}

void peri_chronicle_close(struct peri_chronicle *chronicle)
{
    while (!peri_list_is_empty(&chronicle->entries))
        free_entry(entry_of(chronicle->entries.next));
}

static void forget_old(struct peri_chronicle *chronicle)
{
    struct peri_list *next;
    uint32_t count = 0;
    for (struct peri_list *node = chronicle->entries.next; node != &chronicle->entries; node = next) {
        next = node->next;
        if (count++ >= PERI_CHRONICLE_ENTRIES && entry_of(node)->state != PERI_CHRONICLE_SERVES)
            free_entry(entry_of(node));
    }
}

static uint64_t wall_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

struct peri_chronicle_entry *peri_chronicle_add(struct peri_chronicle *chronicle, uint64_t before,
                                                const struct peri_snapshot *from, const struct peri_snapshot *to)
{
    struct peri_chronicle_entry *entry = calloc(1, sizeof(*entry));
    if (!entry)
        return NULL;
    entry->before = before;
    entry->made_ms = wall_ms();
    if (to) {
        struct peri_slice digest = peri_snapshot_digest(to);
        peri_assert(digest.len < sizeof(entry->digest));
        memcpy(entry->digest, digest.ptr, digest.len);
        entry->files = peri_snapshot_count(to);
    }
    if (from && to)
        peri_changes_make(from, to, &entry->changes);
    peri_list_prepend(&chronicle->entries, &entry->link);
    forget_old(chronicle);
    return entry;
}

void peri_chronicle_set(struct peri_chronicle *chronicle, struct peri_chronicle_entry *entry,
                        enum peri_chronicle_state state, const char *errors)
{
    if (!entry)
        return;
    for (struct peri_list *node = chronicle->entries.next;
         state == PERI_CHRONICLE_SERVES && node != &chronicle->entries; node = node->next)
        if (entry_of(node)->state == PERI_CHRONICLE_SERVES)
            entry_of(node)->state = PERI_CHRONICLE_SUPERSEDED;
    entry->state = state;
    if (errors && !entry->reason)
        entry->reason = peri_errors_summary(errors);
}

struct peri_chronicle_entry *peri_chronicle_find(const struct peri_chronicle *chronicle, uint64_t number)
{
    for (struct peri_list *node = chronicle->entries.next; node != &chronicle->entries; node = node->next)
        if (entry_of(node)->number == number)
            return entry_of(node);
    return NULL;
}

const char *peri_chronicle_state_name(enum peri_chronicle_state state)
{
    peri_assert((unsigned)state < PERI_CHRONICLE_STATES);
    return names[state];
}
