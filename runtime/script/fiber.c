// SPDX-License-Identifier: MIT
// The pool, the resumption and the wake-up of coroutines.
#include "script/fiber.h"

#include <lauxlib.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/log.h"
#include "event/loop.h"
#include "event/redis.h"
#include "script/script_types.h"
#include "script/watchdog.h"

#define PERI_FIBERS_MAX 65535 // coroutines, running or waiting
#define PERI_FIBERS_IDLE 1024 // coroutines kept for reuse
#define LONG_TICKS (1u << 18) // ticks, about 0.1 ms, beyond which a run of a script is seen in the time of the turn

static struct peri_fiber *current; // one thread, one VM: at most one fiber runs

static void on_timer(struct peri_timer *timer)
{
    struct peri_fiber *fiber = PERI_CONTAINER(timer, struct peri_fiber, timer);
    peri_fiber_continue(fiber, fiber->wait == PERI_WAIT_SLEEP ? PERI_OK : PERI_ERR_IDLE_TIMEOUT);
}

static void on_defer(struct peri_defer *defer)
{
    struct peri_fiber *fiber = PERI_CONTAINER(defer, struct peri_fiber, defer);
    peri_fiber_continue(fiber, fiber->woken);
}

// Only L may raise: the anchor is touched by calls that cannot.
static int make_coroutine(lua_State *L)
{
    struct peri_fiber *fiber = lua_touserdata(L, 1);
    lua_pushvalue(fiber->vm->anchor, PERI_ANCHOR_FIBERS);
    lua_xmove(fiber->vm->anchor, L, 1);
    lua_State *co = lua_newthread(L);
    lua_rawseti(L, -2, fiber->id);
    fiber->co = co;
    return 0;
}

// Gives a fiber without a coroutine a fresh one.
static bool fiber_open(struct peri_fiber *fiber)
{
    int status = lua_cpcall(fiber->vm->work, make_coroutine, fiber);
    if (status != 0)
        lua_pop(fiber->vm->work, 1);
    return status == 0;
}

static bool pool_reserve(struct peri_vm *vm)
{
    if (vm->fiber_count < vm->fiber_capacity)
        return true;
    uint32_t capacity = vm->fiber_capacity ? vm->fiber_capacity * 2 : 64;
    if (vm->fiber_capacity >= PERI_FIBERS_MAX)
        return false;
    struct peri_fiber **fibers = realloc(vm->fibers, capacity * sizeof(*fibers));
    if (!fibers)
        return false;
    vm->fibers = fibers;
    vm->fiber_capacity = capacity;
    return true;
}

static struct peri_fiber *pool_grow(struct peri_vm *vm)
{
    struct peri_fiber *fiber = pool_reserve(vm) ? calloc(1, sizeof(*fiber)) : NULL;
    if (!fiber)
        return NULL;
    fiber->vm = vm;
    vm->fibers[vm->fiber_count++] = fiber;
    fiber->id = (int)vm->fiber_count;
    peri_timer_init(&fiber->timer, on_timer);
    peri_defer_init(&fiber->defer, on_defer);
    peri_list_init(&fiber->waiters);
    peri_list_init(&fiber->link);
    return fiber;
}

struct peri_fiber *peri_fiber_acquire(struct peri_script_generation *script, struct peri_slot *slot,
                                      void (*on_end)(struct peri_fiber *fiber, enum peri_fiber_end end))
{
    struct peri_vm *vm = script->vm;
    struct peri_fiber *fiber;
    if (!peri_list_is_empty(&vm->idle)) {
        fiber = PERI_LIST_ITEM(vm->idle.next, struct peri_fiber, link);
        peri_list_remove(&fiber->link);
        vm->idle_count--;
    } else {
        fiber = pool_grow(vm);
    }
    if (!fiber)
        return NULL;
    if (!fiber->co && !fiber_open(fiber)) {
        peri_list_append(&vm->idle, &fiber->link);
        vm->idle_count++;
        return NULL;
    }
    fiber->script = script;
    fiber->slot = slot;
    fiber->on_end = on_end;
    fiber->mark = fiber->suspended = fiber->waited = 0; // the resumption makes the mark now
    fiber->budget = PERI_FFI_BUDGET_MS / 1000.0;
    peri_list_append(slot ? &slot->fibers : &script->fibers, &fiber->link);
    return fiber;
}

static int log_failure(lua_State *L)
{
    struct peri_fiber *fiber = lua_touserdata(L, 1);
    bool is_text = lua_type(fiber->co, -1) == LUA_TSTRING;
    luaL_traceback(L, fiber->co, is_text ? lua_tostring(fiber->co, -1) : "a coroutine yielded or raised no text", 0);
    peri_error("script: %s", lua_tostring(L, -1));
    return 0;
}

static enum peri_fiber_end fiber_failed(struct peri_fiber *fiber)
{
    if (lua_cpcall(fiber->vm->work, log_failure, fiber) != 0) {
        peri_error("script: not enough memory");
        lua_pop(fiber->vm->work, 1);
    }
    return PERI_FIBER_FAILED;
}

static void cancel_wait(struct peri_fiber *fiber)
{
    peri_timer_stop(&fiber->timer);
    peri_defer_cancel(&fiber->defer);
    peri_list_remove(&fiber->waiters);
    if (fiber->fetch)
        fiber->vm->host->fetch_cancel(fiber->fetch);
    fiber->fetch = NULL;
    if (fiber->redis)
        peri_redis_cancel(fiber->redis);
    fiber->redis = NULL;
    fiber->wait = PERI_WAIT_NONE;
}

enum peri_fiber_end peri_fiber_resume(struct peri_fiber *fiber, int nargs)
{
    peri_assert(!current);
    uint64_t begun = peri_ffi_ticks(), pause = begun - fiber->suspended;
    fiber->mark += pause;
    if (fiber->suspended)
        fiber->waited += pause;
    current = fiber;
    peri_watchdog_enter(fiber->co, fiber->budget);
    int status = lua_resume(fiber->co, nargs);
    peri_watchdog_leave();
    current = NULL;
    fiber->result = NULL;
    fiber->reply = NULL;
    if (PERI_UNLIKELY(peri_ffi_ticks() - begun > LONG_TICKS))
        peri_loop_spend(fiber->vm->loop); // so that durations tell what scripts take
    if (status == 0) {
        if (PERI_UNLIKELY(fiber->wait != PERI_WAIT_NONE))
            cancel_wait(fiber);
        return PERI_FIBER_DONE;
    }
    if (status == LUA_YIELD && fiber->wait != PERI_WAIT_NONE) {
        lua_settop(fiber->co, 0);
        fiber->suspended = peri_ffi_ticks();
        fiber->budget = peri_watchdog.budget;
        return PERI_FIBER_WAITS;
    }
    return fiber_failed(fiber);
}

static void fiber_rest(struct peri_fiber *fiber)
{
    struct peri_vm *vm = fiber->vm;
    peri_debug_assert(fiber->wait == PERI_WAIT_NONE && !fiber->fetch);
    peri_list_remove(&fiber->link);
    fiber->script = NULL;
    fiber->slot = NULL;
    fiber->task = NULL;
    fiber->connect = NULL;
    fiber->chunk = NULL;
    fiber->is_blocking = false;
    if (fiber->co)
        peri_list_prepend(&vm->idle, &fiber->link);
    else
        peri_list_append(&vm->idle, &fiber->link);
    vm->idle_count++;
}

// Forgets the coroutine, so that it is collected.
static void fiber_close(struct peri_fiber *fiber)
{
    lua_pushnil(fiber->vm->anchor);
    lua_rawseti(fiber->vm->anchor, PERI_ANCHOR_FIBERS, fiber->id);
    fiber->co = NULL;
}

void peri_fiber_release(struct peri_fiber *fiber)
{
    peri_debug_assert(fiber != current && fiber->wait == PERI_WAIT_NONE && !fiber->fetch);
    lua_settop(fiber->co, 0);
    if (fiber->vm->idle_count >= PERI_FIBERS_IDLE)
        fiber_close(fiber);
    fiber_rest(fiber);
}

void peri_fiber_drop(struct peri_fiber *fiber)
{
    peri_assert(fiber != current);
    cancel_wait(fiber);
    fiber_close(fiber);
    fiber_rest(fiber);
}

struct peri_fiber *peri_fiber_current(void)
{
    return current;
}

struct peri_fiber *peri_fiber_wait(enum peri_wait wait)
{
    if (!current || current->is_blocking)
        return NULL;
    cancel_wait(current);
    current->wait = wait;
    return current;
}

void peri_fiber_wake(struct peri_fiber *fiber, peri_err_t err)
{
    peri_debug_assert(fiber->wait != PERI_WAIT_NONE && fiber != current);
    peri_timer_stop(&fiber->timer);
    peri_list_remove(&fiber->waiters);
    fiber->woken = err;
    peri_defer_schedule(fiber->vm->loop, &fiber->defer);
}

void peri_fiber_continue(struct peri_fiber *fiber, peri_err_t err)
{
    peri_debug_assert(fiber->wait != PERI_WAIT_NONE && fiber->co && !current);
    fiber->fetch = NULL;
    fiber->redis = NULL;
    cancel_wait(fiber);
    fiber->woken = err;
    enum peri_fiber_end end = peri_fiber_resume(fiber, 0);
    fiber->on_end(fiber, end);
}

void peri_fiber_pool_close(struct peri_vm *vm)
{
    peri_assert(vm->idle_count == vm->fiber_count);
    for (uint32_t i = 0; i < vm->fiber_count; i++)
        free(vm->fibers[i]);
    free(vm->fibers);
    vm->fibers = NULL;
    vm->fiber_count = vm->fiber_capacity = vm->idle_count = 0;
}
