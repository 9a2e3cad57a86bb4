// SPDX-License-Identifier: MIT
// A place that comes free in this worker wakes the first at once. Of one that comes free in another worker nobody tells: while somebody
// waits, the first looks every POLL_MS.
#include "upstream/queue.h"

#include <stdlib.h>

#include "base/assert.h"
#include "event/loop.h"
#include "upstream/guard.h"

#define POLL_MS 5

struct peri_queue {
    struct peri_list link;          ///< in `queues`
    uint32_t references;            ///< of guards
    struct peri_breaker_cell *cell; ///< of the worker and the upstream
    struct peri_loop *loop;
    struct peri_list places;
    struct peri_timer poll;
    struct peri_defer turn;
    struct peri_queue_place *called; ///< whose turn it is; NULL: nobody's
};

static struct peri_list queues = {&queues, &queues}; // of the process, which has one thread

static struct peri_queue_place *first_of(const struct peri_queue *queue)
{
    return peri_list_is_empty(&queue->places) ? NULL
                                              : PERI_LIST_ITEM(queue->places.next, struct peri_queue_place, link);
}

// Tells the other workers since when somebody waits here.
static void publish(struct peri_queue *queue)
{
    const struct peri_queue_place *first = first_of(queue);
    __atomic_store_n(&queue->cell->waiting_since_ms, first ? first->since_ms : 0, __ATOMIC_RELAXED);
    if (first && !peri_timer_is_active(&queue->poll))
        peri_timer_start(queue->loop, &queue->poll, POLL_MS);
    else if (!first)
        peri_timer_stop(&queue->poll);
}

// ---- turns ----

// The limits of a place are those of the generation that it came with.
static const struct peri_breaker *breaker_of(const struct peri_queue_place *place)
{
    return &place->ticket->guard->breaker;
}

static bool has_room(const struct peri_breaker *breaker)
{
    int64_t active = peri_endpoints_gauge(breaker->shm, breaker->upstream, PERI_BREAKER_REQUESTS);
    return active < breaker->limits[PERI_BREAKER_REQUESTS];
}

// Has another worker somebody who has waited for longer?
static bool is_others_turn(const struct peri_queue_place *first)
{
    const struct peri_breaker *breaker = breaker_of(first);
    uint64_t since = peri_endpoints_waiting_since(breaker->shm, breaker->upstream, breaker->cell);
    return since < first->since_ms && first->since_ms - since > PERI_QUEUE_GRACE_MS;
}

static void serve(struct peri_queue *queue)
{
    struct peri_queue_place *place = first_of(queue);
    while (place && has_room(breaker_of(place)) && !is_others_turn(place)) {
        queue->called = place;
        place->on_turn(place);
        queue->called = NULL;
        struct peri_queue_place *next = first_of(queue);
        place = next != place ? next : NULL; // another worker was faster
    }
    publish(queue);
}

static void on_turn(struct peri_defer *defer)
{
    serve(PERI_CONTAINER(defer, struct peri_queue, turn));
}

static void on_poll(struct peri_timer *timer)
{
    serve(PERI_CONTAINER(timer, struct peri_queue, poll));
}

void peri_queue_wake(struct peri_queue *queue)
{
    if (!peri_list_is_empty(&queue->places))
        peri_defer_schedule(queue->loop, &queue->turn);
}

// ---- life ----

static struct peri_queue *find(const struct peri_breaker_cell *cell)
{
    for (struct peri_list *link = queues.next; link != &queues; link = link->next) {
        struct peri_queue *queue = PERI_LIST_ITEM(link, struct peri_queue, link);
        if (queue->cell == cell)
            return queue;
    }
    return NULL;
}

static struct peri_queue *queue_new(struct peri_breaker_cell *cell, struct peri_loop *loop)
{
    struct peri_queue *queue = calloc(1, sizeof(*queue));
    if (!queue)
        return NULL;
    queue->cell = cell;
    queue->loop = loop;
    peri_list_init(&queue->places);
    peri_timer_init(&queue->poll, on_poll);
    peri_defer_init(&queue->turn, on_turn);
    peri_list_append(&queues, &queue->link);
    return queue;
}

struct peri_queue *peri_queue_acquire(const struct peri_breaker *breaker, struct peri_loop *loop)
{
    struct peri_queue *queue = find(breaker->cell);
    if (!queue)
        queue = queue_new(breaker->cell, loop);
    if (queue)
        queue->references++;
    return queue;
}

void peri_queue_release(struct peri_queue *queue)
{
    if (!queue || --queue->references > 0)
        return;
    peri_assert(peri_list_is_empty(&queue->places));
    peri_list_remove(&queue->link);
    peri_timer_stop(&queue->poll);
    peri_defer_cancel(&queue->turn);
    free(queue);
}

// ---- those who wait ----

static void remove_place(struct peri_ticket *ticket, enum peri_queue_result result)
{
    struct peri_queue_place *place = ticket->place;
    struct peri_queue *queue = place->queue;
    peri_list_remove(&place->link);
    peri_timer_stop(&place->patience);
    ticket->place = NULL;
    ticket->gauges &= ~(1u << PERI_BREAKER_QUEUE);
    peri_breaker_leave(&ticket->guard->breaker, PERI_BREAKER_QUEUE);
    queue->cell->queued[result]++;
    publish(queue);
}

bool peri_queue_enter(struct peri_guard *guard, struct peri_ticket *ticket)
{
    const struct peri_queue *queue = guard->queue;
    bool is_called = ticket->place && ticket->place == queue->called;
    if (!is_called && !peri_list_is_empty(&queue->places))
        return false;
    if (!peri_breaker_try(&guard->breaker, PERI_BREAKER_REQUESTS))
        return false;
    if (is_called)
        remove_place(ticket, PERI_QUEUE_SERVED);
    ticket->guard = guard;
    ticket->gauges |= 1u << PERI_BREAKER_REQUESTS;
    return true;
}

static void on_impatient(struct peri_timer *timer)
{
    struct peri_queue_place *place = PERI_CONTAINER(timer, struct peri_queue_place, patience);
    remove_place(place->ticket, PERI_QUEUE_TIMEOUT);
    place->on_timeout(place);
}

peri_err_t peri_queue_join(struct peri_guard *guard, struct peri_ticket *ticket, struct peri_queue_place *place)
{
    struct peri_queue *queue = guard->queue;
    peri_debug_assert(!ticket->place && place->on_turn && place->on_timeout);
    if (!peri_breaker_enter(&guard->breaker, PERI_BREAKER_QUEUE))
        return PERI_ERR_UPSTREAM_OVERFLOW;
    place->queue = queue;
    place->ticket = ticket;
    place->since_ms = peri_loop_now_ms(queue->loop);
    peri_timer_init(&place->patience, on_impatient);
    peri_timer_start(queue->loop, &place->patience, guard->queue_ms);
    ticket->guard = guard;
    ticket->gauges |= 1u << PERI_BREAKER_QUEUE;
    ticket->place = place;
    peri_list_append(&queue->places, &place->link);
    publish(queue);
    return PERI_OK;
}

void peri_queue_leave(struct peri_ticket *ticket)
{
    if (ticket->place)
        remove_place(ticket, PERI_QUEUE_GONE);
}
