// SPDX-License-Identifier: MIT
// The virtual clock, and the coroutines that fake upstreams run in.
#include "event/loop.h"
#include "script/fiber.h"
#include "script/script_types.h"
#include "script/task.h"
#include "script/testing_types.h"

static struct peri_loop *loop(void)
{
    return peri_testing_current()->vm->loop;
}

// turn(): does what is ready; true while there is more.
static int turn(lua_State *L)
{
    peri_testing_check(L);
    lua_pushboolean(L, peri_loop_turn(loop()));
    return 1;
}

// advance(ms): moves time, running what falls due.
static int advance(lua_State *L)
{
    peri_testing_check(L);
    lua_Integer ms = luaL_checkinteger(L, 1);
    luaL_argcheck(L, ms >= 0, 1, "time goes forward");
    peri_loop_advance(loop(), (uint64_t)ms);
    return 0;
}

// next_ms(): milliseconds until a timer may be due; nil when there is none.
static int next_ms(lua_State *L)
{
    uint64_t next = peri_loop_next_ms(loop());
    uint64_t now = peri_loop_now_ms(loop());
    if (next == UINT64_MAX)
        lua_pushnil(L);
    else
        lua_pushinteger(L, next > now ? (lua_Integer)(next - now) : 0);
    return 1;
}

// now_ms(): monotonic.
static int now_ms(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)peri_loop_now_ms(loop()));
    return 1;
}

// wall_ms(): since 1970.
static int wall_ms(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)peri_loop_wall_ms(loop()));
    return 1;
}

// set_wall_ms(ms): somebody sets the wall clock; timers do not notice.
static int set_wall_ms(lua_State *L)
{
    peri_testing_check(L);
    lua_Number ms = luaL_checknumber(L, 1);
    luaL_argcheck(L, ms >= 0 && ms < 1e15, 1, "no time of a clock");
    peri_loop_set_wall(loop(), (uint64_t)ms);
    return 0;
}

// ---- coroutines of fake upstreams ----

static void fiber_rest(struct peri_fiber *fiber, enum peri_fiber_end end)
{
    if (end == PERI_FIBER_DONE)
        peri_fiber_release(fiber);
    else if (end == PERI_FIBER_FAILED)
        peri_fiber_drop(fiber);
}

// spawn(function): runs it in a coroutine that may wait. Returns the number of the coroutine when it waits, or nil.
static int spawn(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    peri_testing_check(L);
    struct peri_fiber *fiber = peri_fiber_acquire(peri_testing_current()->script, NULL, fiber_rest);
    if (!fiber)
        return luaL_error(L, "out of memory");
    int id = fiber->id;
    lua_pushvalue(L, 1);
    lua_xmove(L, fiber->co, 1);
    enum peri_fiber_end end = peri_fiber_resume(fiber, 0);
    fiber_rest(fiber, end);
    if (end == PERI_FIBER_WAITS)
        lua_pushinteger(L, id);
    else
        lua_pushnil(L);
    return 1;
}

// cancel(number): drops a coroutine that waits.
static int cancel(lua_State *L)
{
    lua_Integer id = luaL_checkinteger(L, 1);
    peri_testing_check(L);
    const struct peri_list *fibers = &peri_testing_current()->script->fibers;
    for (struct peri_list *link = fibers->next; link != fibers; link = link->next) {
        struct peri_fiber *fiber = PERI_LIST_ITEM(link, struct peri_fiber, link);
        if (fiber->id == id) {
            peri_fiber_drop(fiber);
            break;
        }
    }
    return 0;
}

void peri_testing_drop_coroutines(void)
{
    struct peri_script_generation *script = peri_testing_current()->script;
    while (!peri_list_is_empty(&script->tasks))
        peri_task_free(PERI_LIST_ITEM(script->tasks.next, struct peri_task, link));
    while (!peri_list_is_empty(&script->fibers))
        peri_fiber_drop(PERI_LIST_ITEM(script->fibers.next, struct peri_fiber, link));
}

const luaL_Reg peri_testing_clock[] = {
    {"turn", turn},     {"advance", advance}, {"next_ms", next_ms},
    {"now_ms", now_ms}, {"wall_ms", wall_ms}, {"set_wall_ms", set_wall_ms},
    {"spawn", spawn},   {"cancel", cancel},   {NULL, NULL},
};
