// SPDX-License-Identifier: MIT
// The module perigee._core.testing and the run of what uses it.
#include "script/testing.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "script/fiber.h"
#include "script/script_types.h"
#include "script/testing_types.h"
#include "script/vm.h"

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

static void open_module(lua_State *L)
{
    peri_test_conn_open(L);
    peri_test_server_open(L);
    luaL_findtable(L, LUA_REGISTRYINDEX, "_LOADED", 8);
    lua_newtable(L);
    luaL_register(L, NULL, peri_testing_clock);
    luaL_register(L, NULL, peri_testing_view);
    if (kit.host->gate)
        luaL_register(L, NULL, peri_testing_gate_calls);
    luaL_register(L, NULL, peri_testing_coverage);
    lua_pushcfunction(L, peri_test_server_new);
    lua_setfield(L, -2, "server");
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

// Arguments: number of words, words, name of the module. Returns the status.
static int run(lua_State *L)
{
    int count = (int)lua_tointeger(L, 1);
    char **arguments = lua_touserdata(L, 2);
    open_module(L);
    lua_getglobal(L, "require");
    lua_pushvalue(L, 3);
    lua_call(L, 1, 1);
    lua_createtable(L, count, 0);
    for (int i = 0; i < count; i++) {
        lua_pushstring(L, arguments[i]);
        lua_rawseti(L, -2, i + 1);
    }
    lua_call(L, 1, 1);
    return 1;
}

static int testing_call(lua_State *L, const char *name, int count, char **arguments)
{
    lua_pushcfunction(L, run);
    lua_pushinteger(L, count);
    lua_pushlightuserdata(L, arguments);
    lua_pushstring(L, name);
    int status = 2;
    if (lua_pcall(L, 3, 1, 0) == 0)
        status = (int)lua_tointeger(L, -1);
    else
        fprintf(stderr, "perigee: %s failed: %s\n", name, lua_tostring(L, -1));
    lua_pop(L, 1);
    return status;
}

int peri_testing_run(struct peri_vm *vm, const struct peri_testing_host *host, const char *name, int count,
                     char **arguments)
{
    kit = (struct peri_testing){.vm = vm, .host = host};
    peri_buf_init(&kit.log);
    if (!open_script())
        return 2;
    peri_log_set_sink(peri_testing_log, &kit);
    int status = testing_call(vm->L, name, count, arguments);
    lua_sethook(vm->L, NULL, 0, 0);
    peri_log_set_sink(NULL, NULL);
    peri_testing_drop_coroutines();
    peri_script_release(kit.script);
    peri_buf_close(&kit.log);
    peri_testing_coverage_close();
    return status;
}
