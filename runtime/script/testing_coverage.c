// SPDX-License-Identifier: MIT
// Counts how often lines of scripts run, for `perigee test --coverage`. A hook on lines covers every coroutine of the VM, as
// long as nothing is compiled: the Lua side (perigee/test/_core/coverage.lua) turns the JIT off. A chunk is known by its name, whose
// text Lua keeps in one place, so that comparing pointers is enough.
#include <stdlib.h>

#include "base/assert.h"
#include "script/testing_types.h"

#define COVERED_FILES 1024 ///< files that may be counted
#define COVERED_NAMES 4096 ///< slots for names of chunks; a power of two, never more than half full

struct covered_file {
    uint32_t *counts; ///< by line, from 1
    uint32_t lines;
};

struct covered_name {
    const char *source;        ///< the name, anchored in Lua; NULL: a free slot
    struct covered_file *file; ///< NULL: not counted at present
};

static struct covered_file files[COVERED_FILES];
static uint32_t file_count;
static struct covered_name names[COVERED_NAMES];
static uint32_t name_count;

static struct covered_name *find_name(const char *source)
{
    size_t at = ((uintptr_t)source >> 4) % COVERED_NAMES;
    while (names[at].source && names[at].source != source)
        at = (at + 1) % COVERED_NAMES;
    return &names[at];
}

static void on_line(lua_State *L, lua_Debug *ar)
{
    lua_getinfo(L, "S", ar);
    const struct covered_file *file = find_name(ar->source)->file;
    uint32_t line = (uint32_t)ar->currentline;
    if (file && line <= file->lines && file->counts[line] < UINT32_MAX)
        file->counts[line]++;
}

// cover_start(): counts from now on. May be called again: whoever else sets a hook has taken this one away.
static int cover_start(lua_State *L)
{
    lua_sethook(L, on_line, LUA_MASKLINE, 0);
    return 0;
}

// cover_stop()
static int cover_stop(lua_State *L)
{
    lua_sethook(L, NULL, 0, 0);
    return 0;
}

// cover_file(lines): makes counters for a file of so many lines. Returns its number; nil when there are too many.
static int cover_file(lua_State *L)
{
    lua_Integer lines = luaL_checkinteger(L, 1);
    luaL_argcheck(L, lines >= 0 && lines < INT32_MAX, 1, "no number of lines");
    uint32_t *counts = file_count < COVERED_FILES ? calloc((size_t)lines + 1, sizeof(*counts)) : NULL;
    if (!counts) {
        lua_pushnil(L);
        return 1;
    }
    files[file_count++] = (struct covered_file){counts, (uint32_t)lines};
    lua_pushinteger(L, (lua_Integer)file_count);
    return 1;
}

static struct covered_file *check_file(lua_State *L, int index)
{
    lua_Integer number = luaL_checkinteger(L, index);
    luaL_argcheck(L, number >= 1 && number <= (lua_Integer)file_count, index, "no file that is counted");
    return &files[number - 1];
}

// cover_name(source, number): chunks of this name are that file from now on; nil: none that is counted.
static int cover_name(lua_State *L)
{
    struct covered_file *file = lua_isnoneornil(L, 2) ? NULL : check_file(L, 2);
    struct covered_name *name = find_name(luaL_checkstring(L, 1));
    if (!name->source) {
        if (!file || name_count == COVERED_NAMES / 2)
            return 0;
        lua_pushvalue(L, 1);
        luaL_ref(L, LUA_REGISTRYINDEX); // for ever: the pointer stands for the text
        name->source = lua_tostring(L, 1);
        name_count++;
    }
    name->file = file;
    return 0;
}

// cover_counts(number): how often each line ran, from line 1.
static int cover_counts(lua_State *L)
{
    const struct covered_file *file = check_file(L, 1);
    lua_createtable(L, (int)file->lines, 0);
    for (uint32_t line = 1; line <= file->lines; line++) {
        lua_pushnumber(L, (lua_Number)file->counts[line]);
        lua_rawseti(L, -2, (int)line);
    }
    return 1;
}

void peri_testing_coverage_close(void)
{
    while (file_count > 0)
        free(files[--file_count].counts);
}

const luaL_Reg peri_testing_coverage[] = {
    {"cover_start", cover_start}, {"cover_stop", cover_stop},     {"cover_file", cover_file},
    {"cover_name", cover_name},   {"cover_counts", cover_counts}, {NULL, NULL},
};
