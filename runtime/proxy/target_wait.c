// SPDX-License-Identifier: MIT
// Holds an exchange between the choice of its endpoint and its attempt. Whatever ends the exchange meanwhile lets its ticket go, and
// with it the place in the queue.
#include "proxy/target.h"

#include "base/assert.h"
#include "event/loop.h"
#include "exchange/exchange.h"
#include "proxy/forward.h"
#include "proxy/pipeline.h"
#include "proxy/server_internal.h"
#include "proxy/trace.h"
#include "upstream/queue.h"
#include "upstream/upstream.h"

struct wait {
    struct peri_queue_place place;
    struct peri_exchange *x;
};

static struct peri_exchange *of(struct peri_queue_place *place)
{
    return PERI_CONTAINER(place, struct wait, place)->x;
}

static void note_wait(struct peri_exchange *x, uint64_t since_ms)
{
    struct peri_slice choice = x->trace->choice;
    uint64_t ms = peri_loop_now_ms(x->forward->server->loop) - since_ms;
    x->trace->choice = peri_arena_printf(&x->arena, "%.*s; waited %llu ms for a place", (int)choice.len,
                                         choice.ptr ? choice.ptr : "", (unsigned long long)ms);
}

// The endpoint that was chosen may not be available any more.
static void on_turn(struct peri_queue_place *place)
{
    struct peri_exchange *x = of(place);
    struct peri_forward *f = x->forward;
    peri_debug_assert(x->state == PERI_X_FORWARD && f->endpoint);
    if (!peri_endpoint_is_available(f->endpoint)) {
        struct peri_endpoint *other = peri_target_pick_other(x, f->upstream, f->endpoint);
        peri_target_hold(f, other ? other : f->endpoint);
        x->facts.endpoint = peri_pool_address(f->endpoint->pool);
    }
    peri_pipeline_begin_attempt(x);
}

static void on_timeout(struct peri_queue_place *place)
{
    peri_pipeline_fail(of(place), PERI_ERR_UPSTREAM_OVERFLOW);
}

static peri_err_t join(struct peri_exchange *x, struct peri_guard *guard)
{
    struct wait *wait = peri_arena_zalloc(&x->arena, sizeof(*wait));
    if (!wait)
        return PERI_ERR_NOMEM;
    wait->x = x;
    wait->place.on_turn = on_turn;
    wait->place.on_timeout = on_timeout;
    return peri_queue_join(guard, &x->forward->tries.ticket, &wait->place);
}

bool peri_target_wait(struct peri_exchange *x)
{
    struct peri_ticket *ticket = &x->forward->tries.ticket;
    struct peri_guard *guard = x->forward->upstream->guard;
    const struct peri_queue_place *place = ticket->place;
    if (peri_trace_is_virtual(x->trace))
        return false;
    if (peri_queue_enter(guard, ticket)) {
        if (place && x->trace)
            note_wait(x, place->since_ms);
        return false;
    }
    peri_err_t err = place ? PERI_OK : join(x, guard);
    if (err != PERI_OK)
        peri_pipeline_fail(x, err);
    return true;
}
