// SPDX-License-Identifier: MIT
// Turns the tree of codec/json into Lua tables. The tree is on the C heap and Lua may raise "not enough memory" at any
// push, so the tables are built under lua_pcall and the tree is freed behind it.

#include "script/lua_json.h"

#include <lauxlib.h>
#include <lua.h>

#include "base/attr.h"
#include "codec/json.h"

#define PRESIZE_MAX 65536 // elements that a table is made for in advance

static int decode(lua_State *L);
static int build(lua_State *L);
static void push_value(lua_State *L, const struct peri_json *json);
static void push_array(lua_State *L, const struct peri_json *json);
static void push_object(lua_State *L, const struct peri_json *json);

PERI_EXPORT int peri_lua_json_open(struct lua_State *L)
{
    lua_createtable(L, 0, 3);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "json.array");
    lua_setfield(L, -2, "__metatable");
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, "array");
    lua_pushcclosure(L, decode, 1); // the metatable is its upvalue
    lua_setfield(L, -2, "decode");
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
    luaL_findtable(L, LUA_REGISTRYINDEX, "_LOADED", 8);
    lua_pushvalue(L, -2);
    lua_setfield(L, -2, "perigee._core.json_native");
    lua_pop(L, 1);
    return 1;
}

static int decode(lua_State *L)
{
    char message[256] = "";
    struct peri_slice text;
    text.ptr = luaL_checklstring(L, 1, &text.len);
    if (text.len > (size_t)luaL_checkinteger(L, 2)) {
        lua_pushnil(L);
        lua_pushfstring(L, "the text is longer than %d bytes", (int)lua_tointeger(L, 2));
        return 2;
    }
    lua_pushcfunction(L, build);
    struct peri_json *json = peri_json_parse(text, true, message, sizeof message);
    if (!json) {
        lua_pushnil(L);
        lua_pushstring(L, message);
        return 2;
    }
    lua_pushlightuserdata(L, json);
    lua_pushvalue(L, lua_upvalueindex(1));
    int status = lua_pcall(L, 2, 1, 0);
    peri_json_free(json);
    return status == 0 ? 1 : lua_error(L);
}

/// (tree, metatable of arrays) -> value
static int build(lua_State *L)
{
    push_value(L, lua_touserdata(L, 1));
    return 1;
}

/// Recurses at most PERI_JSON_DEPTH deep: the parser has checked.
static void push_value(lua_State *L, const struct peri_json *json)
{
    struct peri_slice text;
    switch (peri_json_type(json)) {
    case PERI_JSON_STRING:
        text = peri_json_string(json);
        lua_pushlstring(L, text.ptr, text.len);
        break;
    case PERI_JSON_ARRAY: push_array(L, json); break;
    case PERI_JSON_OBJECT: push_object(L, json); break;
    case PERI_JSON_FALSE:
    case PERI_JSON_TRUE: lua_pushboolean(L, peri_json_bool(json, false)); break;
    case PERI_JSON_NONE:
    case PERI_JSON_NULL: lua_pushlightuserdata(L, NULL); break;
    case PERI_JSON_INTEGER:
    case PERI_JSON_REAL: lua_pushnumber(L, peri_json_number(json, 0)); break;
    }
}

static int presize(const struct peri_json *json)
{
    size_t count = peri_json_count(json);
    return (int)(count < PRESIZE_MAX ? count : PRESIZE_MAX);
}

static void push_array(lua_State *L, const struct peri_json *json)
{
    size_t count = peri_json_count(json);
    luaL_checkstack(L, 3, "JSON is nested too deep");
    lua_createtable(L, presize(json), 0);
    lua_pushvalue(L, 2);
    lua_setmetatable(L, -2);
    for (size_t i = 0; i < count; i++) {
        push_value(L, peri_json_at(json, i));
        lua_rawseti(L, -2, (int)i + 1);
    }
}

static void push_object(lua_State *L, const struct peri_json *json)
{
    const struct peri_json *value;
    struct peri_slice name;
    luaL_checkstack(L, 4, "JSON is nested too deep");
    lua_createtable(L, 0, presize(json));
    for (void *cursor = NULL; peri_json_next(json, &cursor, &name, &value);) {
        lua_pushlstring(L, name.ptr, name.len);
        push_value(L, value);
        lua_rawset(L, -3);
    }
}
