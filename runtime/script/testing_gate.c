// SPDX-License-Identifier: MIT
// The gate's functions of the module perigee._core.testing: files come from a source, and what happens goes to the host.
#include "base/err.h"
#include "script/testing.h"
#include "script/testing_types.h"
#include "script/vm.h"

static const struct peri_testing_gate *gate(void)
{
    return peri_testing_current()->host->gate;
}

static struct peri_slice check_text(lua_State *L, int index)
{
    struct peri_slice text;
    text.ptr = luaL_checklstring(L, index, &text.len);
    return text;
}

// gate_read(path): bytes, or nil when the file is not there.
static int gate_read(lua_State *L)
{
    const struct peri_source *source = gate()->source;
    struct peri_slice path = check_text(L, 1), bytes;
    peri_err_t err = source->read(source->data, path, &bytes);
    if (err == PERI_ERR_NOT_FOUND || err == PERI_ERR_INVALID) {
        lua_pushnil(L);
        return 1;
    }
    if (err != PERI_OK)
        return luaL_error(L, "%s: %s", path.ptr, peri_err_info(err)->text);
    lua_pushlstring(L, bytes.ptr, bytes.len);
    return 1;
}

// gate_running(file, line, name)
static int gate_running(lua_State *L)
{
    struct peri_slice file = check_text(L, 1);
    gate()->on_running(gate()->data, file, (int)luaL_checkinteger(L, 2), check_text(L, 3));
    return 0;
}

// gate_failed(file, line, message)
static int gate_failed(lua_State *L)
{
    struct peri_slice file = check_text(L, 1);
    gate()->on_failed(gate()->data, file, (int)luaL_checkinteger(L, 2), check_text(L, 3));
    return 0;
}

// gate_ended(count)
static int gate_ended(lua_State *L)
{
    gate()->on_ended(gate()->data, (unsigned)luaL_checkinteger(L, 1));
    return 0;
}

const luaL_Reg peri_testing_gate_calls[] = {
    {"gate_read", gate_read},
    {"gate_running", gate_running},
    {"gate_failed", gate_failed},
    {"gate_ended", gate_ended},
    {NULL, NULL},
};
