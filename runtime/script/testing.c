// SPDX-License-Identifier: MIT
// The module perigee._core.testing and the run of the specs.
#include "script/testing.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/log.h"
#include "event/loop.h"
#include "exchange/exchange.h"
#include "script/fiber.h"
#include "script/script_types.h"
#include "script/task.h"
#include "script/testing_types.h"
#include "script/vm.h"
#include "shared/prometheus.h"
#include "shared/shm.h"
#include "shared/text.h"

#define PERI_TEST_LOG (1024 * 1024) ///< bytes of log lines kept for one test

struct log_record {
    uint32_t level;
    uint32_t len;
};

static struct peri_testing kit;

struct peri_testing *peri_testing_current(void)
{
    return &kit;
}

void peri_testing_check(struct lua_State *L)
{
    if (peri_fiber_current())
        luaL_error(L, "a policy, handler or fake upstream runs: only the test itself drives the gateway");
}

// ---- the clock ----

// turn(): does what is ready; true while there is more.
static int turn(lua_State *L)
{
    peri_testing_check(L);
    lua_pushboolean(L, peri_loop_turn(kit.vm->loop));
    return 1;
}

// advance(ms): moves time, running what falls due.
static int advance(lua_State *L)
{
    peri_testing_check(L);
    lua_Integer ms = luaL_checkinteger(L, 1);
    luaL_argcheck(L, ms >= 0, 1, "time goes forward");
    peri_loop_advance(kit.vm->loop, (uint64_t)ms);
    return 0;
}

// next_ms(): milliseconds until a timer may be due; nil when there is none.
static int next_ms(lua_State *L)
{
    uint64_t next = peri_loop_next_ms(kit.vm->loop);
    uint64_t now = peri_loop_now_ms(kit.vm->loop);
    if (next == UINT64_MAX)
        lua_pushnil(L);
    else
        lua_pushinteger(L, next > now ? (lua_Integer)(next - now) : 0);
    return 1;
}

// now_ms(): monotonic.
static int now_ms(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)peri_loop_now_ms(kit.vm->loop));
    return 1;
}

// wall_ms(): since 1970.
static int wall_ms(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)peri_loop_wall_ms(kit.vm->loop));
    return 1;
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
    struct peri_fiber *fiber = peri_fiber_acquire(kit.script, NULL, fiber_rest);
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
    for (struct peri_list *link = kit.script->fibers.next; link != &kit.script->fibers; link = link->next) {
        struct peri_fiber *fiber = PERI_LIST_ITEM(link, struct peri_fiber, link);
        if (fiber->id == id) {
            peri_fiber_drop(fiber);
            break;
        }
    }
    return 0;
}

static void drop_fibers(void)
{
    while (!peri_list_is_empty(&kit.script->tasks))
        peri_task_free(PERI_LIST_ITEM(kit.script->tasks.next, struct peri_task, link));
    while (!peri_list_is_empty(&kit.script->fibers))
        peri_fiber_drop(PERI_LIST_ITEM(kit.script->fibers.next, struct peri_fiber, link));
}

// ---- what can be seen from outside ----

static void put_count(lua_State *L, const char *name, uint32_t count)
{
    lua_pushinteger(L, (lua_Integer)count);
    lua_setfield(L, -2, name);
}

static uint32_t live_tasks(void)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < kit.vm->task_count; i++)
        count += kit.vm->tasks[i]->is_live;
    return count;
}

// counts(): what is open now, by kind.
static int counts(lua_State *L)
{
    lua_createtable(L, 0, 5);
    put_count(L, "exchanges", peri_exchange_count());
    put_count(L, "streams", peri_loop_streams(kit.vm->loop));
    put_count(L, "timers", peri_loop_timers(kit.vm->loop));
    put_count(L, "tasks", live_tasks());
    put_count(L, "coroutines", kit.vm->fiber_count - kit.vm->idle_count);
    return 1;
}

// metrics(): everything that is counted, in Prometheus' form.
static int metrics(lua_State *L)
{
    struct peri_text text;
    peri_text_init(&text);
    bool is_written = peri_metrics_write(kit.vm->shm, &text) == PERI_OK;
    if (is_written)
        lua_pushlstring(L, text.data ? text.data : "", text.len);
    peri_text_close(&text);
    return is_written ? 1 : luaL_error(L, "out of memory");
}

static void on_log(void *data, enum peri_log_level level, const char *line, size_t len)
{
    PERI_UNUSED(data);
    struct log_record record = {(uint32_t)level, (uint32_t)len};
    if (kit.log.len + sizeof(record) + len > PERI_TEST_LOG ||
        peri_buf_put(&kit.log, peri_slice((const char *)&record, sizeof(record))) != PERI_OK ||
        peri_buf_put(&kit.log, peri_slice(line, len)) != PERI_OK)
        kit.is_log_cut = true;
}

// log(): lines since the last reset: levels and texts in turn.
static int log_lines(lua_State *L)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    char *text = lua_newuserdata(L, kit.log.len + 1);
    int count = 0;
    peri_buf_copy(&kit.log, text);
    lua_newtable(L);
    for (size_t at = 0; !kit.is_log_cut && at < kit.log.len;) {
        struct log_record record;
        memcpy(&record, text + at, sizeof(record));
        at += sizeof(record);
        peri_assert(record.level < PERI_COUNT(names));
        lua_pushstring(L, names[record.level]);
        lua_rawseti(L, -2, ++count);
        lua_pushlstring(L, text + at, record.len);
        lua_rawseti(L, -2, ++count);
        at += record.len;
    }
    return kit.is_log_cut ? luaL_error(L, "more than 1 MiB was logged") : 1;
}

// reset(): forgets what a test left behind: shared memory, log, coroutines of fakes; the wall clock begins anew.
static int reset(lua_State *L)
{
    peri_testing_check(L);
    drop_fibers();
    peri_shm_reset(kit.vm->shm);
    peri_buf_close(&kit.log);
    kit.is_log_cut = false;
    peri_loop_reset_wall(kit.vm->loop);
    return 0;
}

// ---- the run ----

static const luaL_Reg functions[] = {
    {"turn", turn},       {"advance", advance}, {"next_ms", next_ms}, {"now_ms", now_ms},
    {"wall_ms", wall_ms}, {"spawn", spawn},     {"cancel", cancel},   {"counts", counts},
    {"metrics", metrics}, {"log", log_lines},   {"reset", reset},     {"server", peri_test_server_new},
    {NULL, NULL},
};

static void open_module(lua_State *L)
{
    peri_test_conn_open(L);
    peri_test_server_open(L);
    luaL_findtable(L, LUA_REGISTRYINDEX, "_LOADED", 8);
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    lua_setfield(L, -2, "perigee._core.testing");
    lua_pop(L, 1);
}

static peri_err_t read_nothing(void *data, struct peri_slice path, struct peri_slice *bytes)
{
    PERI_UNUSED(data);
    *bytes = PERI_SLICE("return { routes = {} }");
    return peri_slice_eq(path, PERI_SLICE("test.lua")) ? PERI_OK : PERI_ERR_NOT_FOUND;
}

// The generation to which the coroutines of fake upstreams belong.
static bool open_script(void)
{
    static const struct peri_source source = {.read = read_nothing};
    struct peri_build built;
    bool is_built = peri_script_build(kit.vm, &source, PERI_SLICE("test.lua"), 0, &built) == PERI_OK;
    kit.script = built.script;
    free(built.config);
    free(built.errors);
    return is_built;
}

// Arguments: number of words, words. Returns the status.
static int run(lua_State *L)
{
    int count = (int)lua_tointeger(L, 1);
    char **arguments = lua_touserdata(L, 2);
    open_module(L);
    lua_getglobal(L, "require");
    lua_pushliteral(L, "perigee.test.runner");
    lua_call(L, 1, 1);
    lua_createtable(L, count, 0);
    for (int i = 0; i < count; i++) {
        lua_pushstring(L, arguments[i]);
        lua_rawseti(L, -2, i + 1);
    }
    lua_call(L, 1, 1);
    return 1;
}

static int testing_call(lua_State *L, int count, char **arguments)
{
    lua_pushcfunction(L, run);
    lua_pushinteger(L, count);
    lua_pushlightuserdata(L, arguments);
    int status = 2;
    if (lua_pcall(L, 2, 1, 0) == 0)
        status = (int)lua_tointeger(L, -1);
    else
        fprintf(stderr, "perigee: the test kit failed: %s\n", lua_tostring(L, -1));
    lua_pop(L, 1);
    return status;
}

int peri_testing_run(struct peri_vm *vm, const struct peri_testing_host *host, int count, char **arguments)
{
    kit = (struct peri_testing){.vm = vm, .host = host};
    peri_buf_init(&kit.log);
    if (!open_script())
        return 2;
    peri_log_set_sink(on_log, NULL);
    int status = testing_call(vm->L, count, arguments);
    peri_log_set_sink(NULL, NULL);
    drop_fibers();
    peri_script_release(kit.script);
    peri_buf_close(&kit.log);
    return status;
}
