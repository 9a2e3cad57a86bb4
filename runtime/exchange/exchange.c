// SPDX-License-Identifier: MIT
// Life of an exchange: taken from and given back to the worker's pool, with every change of state checked.
#include "exchange/exchange.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/log.h"

#ifdef PERI_SANITIZE
#define PERI_EXCHANGE_POOL 0 ///< none: a use after the end is to be seen
#else
#define PERI_EXCHANGE_POOL 256 ///< exchanges kept for reuse
#endif
#define PERI_EXCHANGE_MEMORY (4u * 1024 * 1024) ///< bytes of arena one exchange may use

static struct peri_list pool = {&pool, &pool};
static unsigned pool_count;
static uint32_t live_count;
static uint64_t next_id;

static const char *const state_names[PERI_X_STATE_COUNT] = {
#define X(state, name) [state] = name,
    PERI_EXCHANGE_STATES(X)
#undef X
};

#define TO(state) (1u << (state))
static const unsigned legal[PERI_X_STATE_COUNT] = {
    [PERI_X_IDLE] = TO(PERI_X_REQUEST) | TO(PERI_X_DONE),
    [PERI_X_REQUEST] = TO(PERI_X_FORWARD) | TO(PERI_X_RESPONSE) | TO(PERI_X_LOG),
    [PERI_X_FORWARD] = TO(PERI_X_RESPONSE) | TO(PERI_X_LOG),
    [PERI_X_RESPONSE] = TO(PERI_X_SENDING) | TO(PERI_X_TUNNEL) | TO(PERI_X_FORWARD) | TO(PERI_X_LOG),
    [PERI_X_SENDING] = TO(PERI_X_LOG),
    [PERI_X_TUNNEL] = TO(PERI_X_LOG),
    [PERI_X_LOG] = TO(PERI_X_DONE),
    [PERI_X_DONE] = 0,
};

static void exchange_init_messages(struct peri_exchange *x)
{
    x->req = (struct peri_request){.content_length = PERI_LENGTH_NONE};
    x->res = (struct peri_response){.content_length = PERI_LENGTH_NONE};
    peri_headers_init(&x->req.headers, &x->arena);
    peri_headers_init(&x->req.trailers, &x->arena);
    peri_headers_init(&x->res.headers, &x->arena);
    peri_headers_init(&x->res.trailers, &x->arena);
    peri_body_init(&x->req_body);
    peri_body_init(&x->res_body);
}

static struct peri_exchange *pool_take(void)
{
    struct peri_exchange *x = PERI_LIST_ITEM(pool.next, struct peri_exchange, link);
    peri_list_remove(&x->link);
    pool_count--;
    struct peri_arena arena = x->arena;
    *x = (struct peri_exchange){.arena = arena};
    return x;
}

struct peri_exchange *peri_exchange_new(void)
{
    struct peri_exchange *x;
    if (!peri_list_is_empty(&pool)) {
        x = pool_take();
    } else {
        x = calloc(1, sizeof(*x));
        if (!x)
            return NULL;
        peri_arena_init(&x->arena, PERI_EXCHANGE_MEMORY);
    }
    x->id = ++next_id;
    live_count++;
    peri_list_init(&x->link);
    exchange_init_messages(x);
    return x;
}

void peri_exchange_free(struct peri_exchange *x)
{
    peri_debug_assert(live_count > 0);
    peri_assert(x->state == PERI_X_DONE || x->state == PERI_X_IDLE);
    peri_assert(!x->slot);
    peri_body_close(&x->req_body);
    peri_body_close(&x->res_body);
    peri_list_remove(&x->link);
    peri_arena_reset(&x->arena);
    live_count--;
    if (pool_count + 1 > PERI_EXCHANGE_POOL) {
        peri_arena_close(&x->arena);
        free(x);
        return;
    }
    peri_list_prepend(&pool, &x->link);
    pool_count++;
}

uint32_t peri_exchange_count(void)
{
    return live_count;
}

void peri_exchange_set_state(struct peri_exchange *x, enum peri_exchange_state state)
{
    if (!(legal[x->state] & TO(state)))
        peri_error("exchange %llu must not go from %s to %s", (unsigned long long)x->id, state_names[x->state],
                   state_names[state]);
    peri_assert(legal[x->state] & TO(state));
    peri_debug("exchange %llu: %s -> %s", (unsigned long long)x->id, state_names[x->state], state_names[state]);
    x->state = state;
}

const char *peri_exchange_state_name(enum peri_exchange_state state)
{
    peri_assert((unsigned)state < PERI_X_STATE_COUNT);
    return state_names[state];
}

void peri_exchange_pool_close(void)
{
    while (!peri_list_is_empty(&pool)) {
        struct peri_exchange *x = PERI_LIST_ITEM(pool.next, struct peri_exchange, link);
        peri_list_remove(&x->link);
        peri_arena_close(&x->arena);
        free(x);
    }
    pool_count = 0;
}
