// SPDX-License-Identifier: MIT
// What dry runs and traces need of an exchange: copies of all that hooks can change, which change places with the original, and the
// way of a decision into the trace. A copy keeps its memory in the exchange's arena for the next one, so that an exchange with many
// chunks does not grow.
#include <perigee/ffi.h>

#include "base/assert.h"
#include "base/attr.h"
#include "exchange/exchange.h"
#include "script/ffi_shared.h"
#include "script/script_types.h"
#include "shared/metrics.h"

#define TEXTS 8
#define LISTS 4

_Static_assert((int)PERI_FFI_WOULD_ANSWER == (int)PERI_WOULD_ANSWER &&
                   (int)PERI_FFI_WOULD_FAIL == (int)PERI_WOULD_FAIL &&
                   (int)PERI_FFI_WOULD_CHANGE == (int)PERI_WOULD_CHANGE,
               "the numbers of ffi.h are those of shared/metrics.h");

// What scripts can change, and nothing else: lengths and the like are the runtime's, which may change them while a script waits.
struct head {
    enum peri_method method;
    struct peri_slice texts[TEXTS];
    struct peri_headers lists[LISTS];
    int status;
    bool is_used;
};

struct peri_heads {
    struct head *places[PERI_FFI_HEADS_MAX]; ///< NULL: never used
};

static struct peri_slot *slot_of(struct peri_ffi_slot *slot)
{
    peri_assert(((struct peri_slot *)(void *)slot)->x);
    return (struct peri_slot *)(void *)slot;
}

// Copies a list into the memory that *to has, or into more.
static bool copy_fields(struct peri_headers *to, const struct peri_headers *from)
{
    struct peri_header *items = to->items;
    uint16_t capacity = to->capacity;
    if (capacity < from->count) {
        items = peri_arena_alloc(from->arena, from->capacity * sizeof(*items));
        capacity = from->capacity;
    }
    if (from->count > 0 && !items)
        return false;
    if (from->count > 0)
        memcpy(items, from->items, from->count * sizeof(*items));
    *to = *from;
    to->items = items;
    to->capacity = capacity;
    return true;
}

static void find_texts(struct peri_exchange *x, struct peri_slice *texts[TEXTS])
{
    struct peri_request *req = &x->req;
    struct peri_slice *all[TEXTS] = {&req->method_name, &req->scheme, &req->authority, &req->host,
                                     &req->path,        &req->query,  &x->consumer,    &x->request_id};
    memcpy(texts, all, sizeof(all));
}

static void find_lists(struct peri_exchange *x, struct peri_headers *lists[LISTS])
{
    struct peri_headers *all[LISTS] = {&x->req.headers, &x->req.trailers, &x->res.headers, &x->res.trailers};
    memcpy(lists, all, sizeof(all));
}

// False leaves a copy that nobody may read.
static bool copy_head(struct head *head, struct peri_exchange *x)
{
    struct peri_slice *texts[TEXTS];
    struct peri_headers *lists[LISTS];
    find_texts(x, texts);
    find_lists(x, lists);
    for (unsigned i = 0; i < LISTS; i++)
        if (!copy_fields(&head->lists[i], lists[i]))
            return false;
    for (unsigned i = 0; i < TEXTS; i++)
        head->texts[i] = *texts[i];
    head->method = x->req.method;
    head->status = x->res.status;
    return true;
}

static void swap_head(struct head *head, struct peri_exchange *x)
{
    struct head present = *head;
    struct peri_slice *texts[TEXTS];
    struct peri_headers *lists[LISTS];
    find_texts(x, texts);
    find_lists(x, lists);
    for (unsigned i = 0; i < TEXTS; i++) {
        head->texts[i] = *texts[i];
        *texts[i] = present.texts[i];
    }
    for (unsigned i = 0; i < LISTS; i++) {
        head->lists[i] = *lists[i];
        *lists[i] = present.lists[i];
    }
    head->method = x->req.method;
    x->req.method = present.method;
    head->status = x->res.status;
    x->res.status = present.status;
}

static struct head *find_place(struct peri_slot *slot, int32_t *place)
{
    struct peri_arena *arena = &slot->x->arena;
    if (!slot->heads)
        slot->heads = peri_arena_zalloc(arena, sizeof(*slot->heads));
    for (int32_t i = 0; slot->heads && i < PERI_FFI_HEADS_MAX; i++) {
        struct head **head = &slot->heads->places[i];
        *place = i;
        if (!*head)
            return *head = peri_arena_zalloc(arena, sizeof(**head));
        if (!(*head)->is_used)
            return *head;
    }
    return NULL;
}

PERI_EXPORT int32_t peri_ffi_head_keep(struct peri_ffi_slot *ffi)
{
    struct peri_slot *slot = slot_of(ffi);
    int32_t place;
    if (slot->x->state > PERI_X_RESPONSE)
        return -1;
    struct head *head = find_place(slot, &place);
    if (!head || !copy_head(head, slot->x))
        return -2;
    head->is_used = true;
    return place;
}

static struct head *head_at(struct peri_slot *slot, int32_t place)
{
    struct head *head = slot->heads && place >= 0 && place < PERI_FFI_HEADS_MAX ? slot->heads->places[place] : NULL;
    return head && head->is_used ? head : NULL;
}

PERI_EXPORT void peri_ffi_head_swap(struct peri_ffi_slot *ffi, int32_t place)
{
    struct peri_slot *slot = slot_of(ffi);
    struct head *head = head_at(slot, place);
    if (head)
        swap_head(head, slot->x);
}

PERI_EXPORT void peri_ffi_head_drop(struct peri_ffi_slot *ffi, int32_t place)
{
    struct head *head = head_at(slot_of(ffi), place);
    if (head)
        head->is_used = false;
}

PERI_EXPORT void peri_ffi_policy_would(int32_t id, int32_t would)
{
    struct peri_metrics_page *page = peri_ffi_shared_binding()->page;
    if (page && would >= PERI_FFI_WOULD_ANSWER && would <= PERI_FFI_WOULD_CHANGE)
        peri_metrics_policy_would(page, id, (enum peri_metrics_would)would);
}

PERI_EXPORT void peri_ffi_trace(struct peri_ffi_slot *ffi, const char *json, size_t len)
{
    struct peri_slot *slot = slot_of(ffi);
    slot->script->vm->host->trace(slot->x, peri_slice(json, len));
}

PERI_EXPORT int32_t peri_ffi_is_secret(const char *name, size_t len)
{
    return peri_header_is_secret(peri_slice(name, len));
}

PERI_EXPORT double peri_ffi_clock(void)
{
    return (double)peri_metrics_clock_ns() / 1000;
}
