// SPDX-License-Identifier: MIT
// A short list of editions.
#include "app/history.h"

#include <stdlib.h>
#include <time.h>

#include "app/config.h"
#include "app/errors.h"
#include "app/snapshot.h"
#include "base/attr.h"

static struct peri_edition *edition_of(struct peri_list *node)
{
    return PERI_LIST_ITEM(node, struct peri_edition, link);
}

void peri_history_init(struct peri_history *history)
{
    peri_list_init(&history->editions);
    history->last_number = 0;
}

void peri_history_close(struct peri_history *history)
{
    while (!peri_list_is_empty(&history->editions))
        peri_edition_free(edition_of(history->editions.next));
}

static uint64_t wall_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

struct peri_edition *peri_edition_new(struct peri_history *history, struct peri_snapshot *snapshot, char *text,
                                      char **errors)
{
    struct peri_edition *edition = calloc(1, sizeof(*edition));
    *errors = NULL;
    if (!edition || !text) {
        free(edition);
        peri_snapshot_unref(snapshot);
        free(text);
        *errors = peri_errors_new(NULL, "out of memory");
        return NULL;
    }
    peri_list_init(&edition->link);
    edition->snapshot = snapshot;
    edition->text = text;
    edition->made_ms = wall_ms();
    edition->config = peri_config_parse(peri_slice_from(text), errors);
    if (!edition->config) {
        peri_edition_free(edition);
        return NULL;
    }
    edition->number = ++history->last_number;
    return edition;
}

void peri_edition_free(struct peri_edition *edition)
{
    if (!edition)
        return;
    peri_list_remove(&edition->link);
    peri_snapshot_unref(edition->snapshot);
    peri_config_free(edition->config);
    free(edition->text);
    free(edition);
}

void peri_history_add(struct peri_history *history, struct peri_edition *edition, uint32_t keep)
{
    struct peri_list *next;
    uint32_t count = 0;
    peri_list_prepend(&history->editions, &edition->link);
    for (struct peri_list *node = history->editions.next; node != &history->editions; node = next) {
        next = node->next;
        if (count++ > keep)
            peri_edition_free(edition_of(node));
    }
}

struct peri_edition *peri_history_current(const struct peri_history *history)
{
    return peri_list_is_empty(&history->editions) ? NULL : edition_of(history->editions.next);
}

static bool is_before(const struct peri_edition *edition, const struct peri_edition *current)
{
    uint64_t base = current->origin ? current->origin : current->number;
    struct peri_slice digest = peri_snapshot_digest(current->snapshot);
    return edition->number < base && !peri_slice_eq(peri_snapshot_digest(edition->snapshot), digest);
}

struct peri_edition *peri_history_find(const struct peri_history *history, uint64_t number)
{
    const struct peri_edition *current = peri_history_current(history);
    for (struct peri_list *node = history->editions.next; node != &history->editions; node = node->next) {
        struct peri_edition *edition = edition_of(node);
        if (number ? edition->number == number : is_before(edition, current))
            return edition;
    }
    return NULL;
}
