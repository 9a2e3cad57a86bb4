// SPDX-License-Identifier: MIT
// Entries into the VM for the phases of an exchange.
//
//   peri_chain_run --resume--> DONE: verdict now
//                              WAITS: PENDING (or FORWARD), later on_phase_end -> host->on_verdict
//                              FAILED: FAIL
#include "script/chain.h"

#include <lauxlib.h>

#include "base/assert.h"
#include "exchange/exchange.h"
#include "script/fiber.h"
#include "script/script_types.h"
#include "script/slot.h"
#include "script/task.h"

_Static_assert((int)PERI_FFI_CONTINUE == (int)PERI_VERDICT_CONTINUE, "ffi.h");
_Static_assert((int)PERI_FFI_REPLY == (int)PERI_VERDICT_REPLY, "ffi.h");
_Static_assert((int)PERI_FFI_FORWARD == (int)PERI_VERDICT_FORWARD, "ffi.h");
_Static_assert((int)PERI_FFI_FAIL == (int)PERI_VERDICT_FAIL, "ffi.h");

// The entry function returned: its verdict, and for body phases the bytes to pass on.
static enum peri_verdict phase_done(struct peri_fiber *fiber)
{
    int verdict = (int)lua_tointeger(fiber->co, -1);
    peri_assert(verdict >= PERI_VERDICT_CONTINUE && verdict <= PERI_VERDICT_FAIL);
    if (fiber->chunk)
        fiber->chunk->out = peri_slice(fiber->slot->ffi.ptr, fiber->slot->ffi.len);
    fiber->slot->runs[fiber->phase] = NULL;
    peri_fiber_release(fiber);
    return (enum peri_verdict)verdict;
}

static enum peri_verdict phase_failed(struct peri_fiber *fiber)
{
    peri_debug_assert(fiber->slot->runs[fiber->phase] == fiber);
    fiber->slot->x->facts.err = PERI_ERR_POLICY;
    fiber->slot->runs[fiber->phase] = NULL;
    peri_fiber_drop(fiber);
    return PERI_VERDICT_FAIL;
}

static enum peri_verdict phase_rest(struct peri_fiber *fiber, enum peri_fiber_end end)
{
    switch (end) {
    case PERI_FIBER_DONE: return phase_done(fiber);
    case PERI_FIBER_FAILED: return phase_failed(fiber);
    case PERI_FIBER_WAITS: break;
    }
    return fiber->wait == PERI_WAIT_FORWARD ? PERI_VERDICT_FORWARD : PERI_VERDICT_PENDING;
}

static void on_phase_end(struct peri_fiber *fiber, enum peri_fiber_end end)
{
    peri_debug_assert(!fiber->task && fiber->slot->runs[fiber->phase] == fiber);
    struct peri_exchange *x = fiber->slot->x;
    enum peri_phase phase = fiber->phase;
    const struct peri_script_host *host = fiber->vm->host;
    enum peri_verdict verdict = phase_rest(fiber, end);
    if (verdict != PERI_VERDICT_PENDING)
        host->on_verdict(x, phase, verdict);
}

static enum peri_verdict out_of_memory(struct peri_exchange *x)
{
    x->facts.err = PERI_ERR_NOMEM;
    return PERI_VERDICT_FAIL;
}

// Pushes the function for exchanges with a trace and its arguments but the last chunk; returns their number.
static int push_traced(struct peri_fiber *fiber, const struct peri_script_chain *chain)
{
    lua_rawgeti(fiber->co, LUA_REGISTRYINDEX, chain->traced);
    lua_pushinteger(fiber->co, fiber->slot->ffi.id);
    lua_pushinteger(fiber->co, (lua_Integer)fiber->phase + 1);
    return 2;
}

enum peri_verdict peri_chain_run(struct peri_script_generation *script, struct peri_exchange *x, uint32_t chain,
                                 enum peri_phase phase, struct peri_chain_chunk *chunk)
{
    peri_assert(chain < script->chain_count && phase < PERI_PHASE_COUNT);
    int entry = script->chains[chain].entries[phase], count = 1;
    if (chunk)
        chunk->out = chunk->in;
    if (entry == LUA_NOREF)
        return PERI_VERDICT_CONTINUE;
    struct peri_slot *slot = x->slot ? x->slot : peri_slot_acquire(x, script);
    struct peri_fiber *fiber = slot ? peri_fiber_acquire(script, slot, on_phase_end) : NULL;
    if (!fiber)
        return out_of_memory(x);
    peri_assert(!slot->runs[phase]);
    slot->runs[phase] = fiber;
    fiber->phase = phase;
    fiber->chunk = chunk;
    if (PERI_LIKELY(!x->trace)) {
        lua_rawgeti(fiber->co, LUA_REGISTRYINDEX, entry);
        lua_pushinteger(fiber->co, slot->ffi.id);
    } else {
        count = push_traced(fiber, &script->chains[chain]);
    }
    if (chunk) {
        slot->ffi.ptr = chunk->in.ptr;
        slot->ffi.len = chunk->in.len;
        lua_pushboolean(fiber->co, chunk->is_last);
        count++;
    }
    return phase_rest(fiber, peri_fiber_resume(fiber, count));
}

enum peri_verdict peri_chain_resume_response(struct peri_exchange *x, peri_err_t err)
{
    struct peri_fiber *fiber = x->slot ? x->slot->runs[PERI_PHASE_REQUEST] : NULL;
    peri_assert(fiber && fiber->wait == PERI_WAIT_FORWARD);
    fiber->wait = PERI_WAIT_NONE;
    fiber->woken = err;
    return phase_rest(fiber, peri_fiber_resume(fiber, 0));
}

void peri_chain_body_ready(struct peri_exchange *x, enum peri_side side, peri_err_t err)
{
    enum peri_wait wait = side == PERI_SIDE_REQUEST ? PERI_WAIT_REQUEST_BODY : PERI_WAIT_RESPONSE_BODY;
    if (!x->slot)
        return;
    for (struct peri_list *at = x->slot->fibers.next; at != &x->slot->fibers; at = at->next) {
        struct peri_fiber *fiber = PERI_LIST_ITEM(at, struct peri_fiber, link);
        if (fiber->wait == wait)
            peri_fiber_wake(fiber, err);
    }
}

void peri_chain_end(struct peri_exchange *x)
{
    struct peri_slot *slot = x->slot;
    if (!slot)
        return;
    peri_assert(!peri_fiber_current());
    lua_State *anchor = slot->script->vm->anchor;
    while (!peri_list_is_empty(&slot->tasks))
        peri_task_free(PERI_LIST_ITEM(slot->tasks.next, struct peri_task, link));
    while (!peri_list_is_empty(&slot->fibers))
        peri_fiber_drop(PERI_LIST_ITEM(slot->fibers.next, struct peri_fiber, link));
    memset(slot->runs, 0, sizeof(slot->runs));
    if (slot->is_known) {
        lua_pushboolean(anchor, 0);
        lua_rawseti(anchor, PERI_ANCHOR_STATES, slot->ffi.id);
    }
    peri_slot_release(slot);
}
