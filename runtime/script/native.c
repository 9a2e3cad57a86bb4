// SPDX-License-Identifier: MIT
// perigee._core.native and the searcher of embedded modules.
#include "script/native.h"

#include <lauxlib.h>
#include <lua.h>
#include <string.h>

#include "base/embed.h"
#include "script/lua_json.h"
#include "script/lua_search.h"

static int embedded(lua_State *L)
{
    const struct peri_embed *file = peri_embed_find(luaL_checkstring(L, 1));
    if (file)
        lua_pushlstring(L, (const char *)file->data, file->len);
    else
        lua_pushnil(L);
    return 1;
}

static int list(lua_State *L)
{
    size_t len;
    int count = 0;
    const char *prefix = luaL_checklstring(L, 1, &len);
    lua_newtable(L);
    for (size_t i = 0; i < peri_embed_count; i++) {
        if (strncmp(peri_embed_files[i].path, prefix, len) != 0)
            continue;
        lua_pushstring(L, peri_embed_files[i].path);
        lua_rawseti(L, -2, ++count);
    }
    return 1;
}

// Pushes the chunk of the module whose file is `format` with `path` filled in; false when there is no such file.
static int load_embedded(lua_State *L, const char *format, const char *path)
{
    const char *name = lua_pushfstring(L, format, path);
    const struct peri_embed *file = peri_embed_find(name);
    if (!file)
        return 0;
    const char *chunk_name = lua_pushfstring(L, "@%s", name);
    if (luaL_loadbuffer(L, (const char *)file->data, file->len, chunk_name) != 0)
        lua_error(L);
    return 1;
}

// A searcher of package.loaders. What is called perigee comes from the binary or not at all.
static int search(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    if (strcmp(name, "perigee") != 0 && strncmp(name, "perigee.", 8) != 0)
        return 0;
    const char *path = luaL_gsub(L, name, ".", "/");
    if (load_embedded(L, "lua/%s.lua", path) || load_embedded(L, "lua/%s/init.lua", path))
        return 1;
    return luaL_error(L, "the binary holds no module '%s'", name);
}

static void add_searcher(lua_State *L)
{
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "loaders");
    for (int i = (int)lua_objlen(L, -1); i >= 2; i--) {
        lua_rawgeti(L, -1, i);
        lua_rawseti(L, -2, i + 1);
    }
    lua_pushcfunction(L, search);
    lua_rawseti(L, -2, 2); // behind package.preload
    lua_pop(L, 2);
}

void peri_native_open(struct lua_State *L, const char *role)
{
    lua_createtable(L, 0, 3);
    lua_pushcfunction(L, embedded);
    lua_setfield(L, -2, "embedded");
    lua_pushcfunction(L, list);
    lua_setfield(L, -2, "list");
    lua_pushstring(L, role);
    lua_setfield(L, -2, "role");
    luaL_findtable(L, LUA_REGISTRYINDEX, "_LOADED", 8);
    lua_pushvalue(L, -2);
    lua_setfield(L, -2, "perigee._core.native");
    lua_pop(L, 2);
    peri_lua_json_open(L);
    peri_lua_search_open(L);
    lua_pop(L, 2);
    add_searcher(L);
}
