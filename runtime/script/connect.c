// SPDX-License-Identifier: MIT
// A fiber without an exchange, like those of tasks.
#include "script/connect.h"

#include <lauxlib.h>

#include "base/assert.h"
#include "script/fiber.h"
#include "script/script_types.h"

struct push_call {
    struct peri_connect *connect;
    int entry;
};

// Puts the function and its arguments onto the fiber's stack; protected, since texts take memory.
static int push_question(lua_State *L)
{
    const struct push_call *call = lua_touserdata(L, 1);
    const struct peri_connect *connect = call->connect;
    lua_rawgeti(L, LUA_REGISTRYINDEX, call->entry);
    lua_pushlstring(L, connect->client.ptr, connect->client.len);
    lua_pushinteger(L, connect->port);
    lua_pushlstring(L, connect->server_name.ptr ? connect->server_name.ptr : "", connect->server_name.len);
    lua_pushlstring(L, connect->alpn.ptr ? connect->alpn.ptr : "", connect->alpn.len);
    lua_xmove(L, connect->fiber->co, 5);
    return 0;
}

// The entry function returned its verdict and the name of an upstream, or nil.
static enum peri_verdict read_verdict(struct peri_connect *connect)
{
    lua_State *co = connect->fiber->co;
    int verdict = (int)lua_tointeger(co, 1);
    size_t len = 0;
    const char *name = lua_type(co, 2) == LUA_TSTRING ? lua_tolstring(co, 2, &len) : "";
    peri_assert(verdict == PERI_VERDICT_CONTINUE || verdict == PERI_VERDICT_REPLY || verdict == PERI_VERDICT_FAIL);
    if (len >= sizeof(connect->upstream))
        return PERI_VERDICT_FAIL;
    memcpy(connect->upstream, name, len);
    connect->upstream[len] = '\0';
    return (enum peri_verdict)verdict;
}

static enum peri_verdict connect_rest(struct peri_connect *connect, enum peri_fiber_end end)
{
    struct peri_fiber *fiber = connect->fiber;
    if (end == PERI_FIBER_WAITS)
        return PERI_VERDICT_PENDING;
    enum peri_verdict verdict = end == PERI_FIBER_DONE ? read_verdict(connect) : PERI_VERDICT_FAIL;
    connect->fiber = NULL;
    if (end == PERI_FIBER_DONE)
        peri_fiber_release(fiber);
    else
        peri_fiber_drop(fiber);
    return verdict;
}

static void on_connect_end(struct peri_fiber *fiber, enum peri_fiber_end end)
{
    struct peri_connect *connect = fiber->connect;
    peri_debug_assert(connect && connect->fiber == fiber);
    enum peri_verdict verdict = connect_rest(connect, end);
    if (verdict != PERI_VERDICT_PENDING)
        connect->on_verdict(connect, verdict);
}

enum peri_verdict peri_connect_run(struct peri_script_generation *script, uint32_t index, struct peri_connect *connect)
{
    struct push_call call = {connect, LUA_NOREF};
    peri_assert(index < script->connect_count && !connect->fiber);
    call.entry = script->connects[index];
    connect->upstream[0] = '\0';
    connect->fiber = peri_fiber_acquire(script, NULL, on_connect_end);
    if (!connect->fiber)
        return PERI_VERDICT_FAIL;
    connect->fiber->connect = connect;
    if (lua_cpcall(script->vm->work, push_question, &call) != 0) {
        lua_pop(script->vm->work, 1);
        peri_connect_cancel(connect);
        return PERI_VERDICT_FAIL;
    }
    return connect_rest(connect, peri_fiber_resume(connect->fiber, 4));
}

void peri_connect_cancel(struct peri_connect *connect)
{
    if (connect->fiber)
        peri_fiber_drop(connect->fiber);
    connect->fiber = NULL;
}
