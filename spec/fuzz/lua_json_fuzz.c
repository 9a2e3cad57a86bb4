// SPDX-License-Identifier: MIT
// Fuzzes the parser that makes Lua values, with jansson as the judge: both accept the same texts and see the same values in
// them. Only names with a zero byte are left to Lua, which can hold them.

#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "codec/json.h"
#include "script/lua_json.h"

/// The target. Reads exactly `size` bytes at `data`; always returns 0.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_same(lua_State *L, const struct peri_json *json);

static void check_array(lua_State *L, const struct peri_json *json)
{
    peri_assert(lua_istable(L, -1) && lua_getmetatable(L, -1));
    lua_pop(L, 1);
    peri_assert(lua_objlen(L, -1) == peri_json_count(json));
    for (size_t i = 0; i < peri_json_count(json); i++) {
        lua_rawgeti(L, -1, (int)i + 1);
        check_same(L, peri_json_at(json, i));
    }
}

static void check_object(lua_State *L, const struct peri_json *json)
{
    const struct peri_json *value;
    struct peri_slice name;
    peri_assert(lua_istable(L, -1) && !lua_getmetatable(L, -1));
    for (void *cursor = NULL; peri_json_next(json, &cursor, &name, &value);) {
        lua_pushlstring(L, name.ptr, name.len);
        lua_rawget(L, -2);
        check_same(L, value);
    }
    size_t count = 0;
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1))
        count++;
    peri_assert(count == peri_json_count(json));
}

/// Pops the value on top and compares it with `json`.
static void check_same(lua_State *L, const struct peri_json *json)
{
    size_t len;
    double real;
    peri_assert(lua_checkstack(L, 8));
    switch (peri_json_type(json)) {
    case PERI_JSON_STRING:
        peri_assert(lua_type(L, -1) == LUA_TSTRING);
        const char *text = lua_tolstring(L, -1, &len);
        peri_assert(peri_slice_eq(peri_slice(text, len), peri_json_string(json)));
        break;
    case PERI_JSON_REAL:
        real = lua_tonumber(L, -1);
        peri_assert(lua_type(L, -1) == LUA_TNUMBER && real == peri_json_number(json, 0));
        break;
    case PERI_JSON_TRUE:
    case PERI_JSON_FALSE:
        peri_assert(lua_isboolean(L, -1) && lua_toboolean(L, -1) == peri_json_bool(json, false));
        break;
    case PERI_JSON_NULL: peri_assert(lua_islightuserdata(L, -1) && lua_touserdata(L, -1) == NULL); break;
    case PERI_JSON_ARRAY: check_array(L, json); break;
    case PERI_JSON_OBJECT: check_object(L, json); break;
    case PERI_JSON_INTEGER:
    case PERI_JSON_NONE: peri_assert(!"read as reals");
    }
    lua_pop(L, 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static lua_State *L;
    char message[256] = "";
    if (!L) {
        L = luaL_newstate();
        peri_assert(L && peri_lua_json_open(L) == 1);
    }
    struct peri_json *json = peri_json_parse(peri_slice((const char *)data, size), true, message, sizeof message);
    lua_getfield(L, 1, "decode");
    lua_pushlstring(L, (const char *)data, size);
    lua_pushinteger(L, 1 << 30);
    lua_call(L, 2, 2);
    if (json) {
        peri_assert(!lua_isnil(L, -2));
        lua_pop(L, 1);
        check_same(L, json);
    } else {
        peri_assert(lua_isnil(L, -2) ? lua_isstring(L, -1) : strstr(message, "NUL") != NULL);
    }
    lua_settop(L, 1);
    peri_json_free(json);
    return 0;
}
