// SPDX-License-Identifier: MIT
// string.find, match, gmatch and gsub on script/search. They are LuaJIT's in everything a script can see, save three bounds: the
// steps of one call, the bytes of a result, and the C stack, which a callback of gsub that calls gsub again would use up.

#include "script/lua_search.h"

#include <lauxlib.h>
#include <lua.h>
#include <perigee/ffi.h>
#include <stdbool.h>
#include <string.h>

#include "base/attr.h"
#include "script/search.h"

#define RESULT_MAX (16 * 1024 * 1024) // bytes
#define STACK_MAX (1024 * 1024)       // bytes of C stack; the system gives 8 MiB

static const char *stack_base; // where the VM was opened

// What gsub works on. The text in `out` is borrowed from the Lua stack.
struct substitution {
    struct peri_search search;
    luaL_Buffer out;
    size_t size; // of the result so far
};

static int check_stack(lua_State *L)
{
    if (stack_base - (const char *)__builtin_frame_address(0) > STACK_MAX)
        return luaL_error(L, "stack overflow (calls through C are nested too deeply)");
    return 0;
}

// ---------------------------------------------------------------- searches

static void search_init(struct peri_search *search, const char *subject, size_t len)
{
    search->subject = subject;
    search->end = subject + len;
    search->problem = NULL;
    search->steps = PERI_SEARCH_STEPS;
    search->count = 0;
}

// peri_search_match, with problems raised.
static const char *match_at(lua_State *L, struct peri_search *search, const char *at, const char *text)
{
    const char *end = peri_search_match(search, at, text);
    if (search->problem)
        luaL_error(L, "%s", search->problem);
    return end;
}

// Pushes capture `i`; the whole match when the pattern has none.
static void push_capture(lua_State *L, const struct peri_search *search, int i, const char *at, const char *end)
{
    if (i >= search->count) {
        if (i > 0)
            luaL_error(L, "invalid capture index");
        lua_pushlstring(L, at, (size_t)(end - at));
        return;
    }
    ptrdiff_t len = search->captures[i].len;
    if (len == PERI_SEARCH_OPEN)
        luaL_error(L, "unfinished capture");
    if (len == PERI_SEARCH_POSITION)
        lua_pushinteger(L, search->captures[i].at - search->subject + 1);
    else
        lua_pushlstring(L, search->captures[i].at, (size_t)len);
}

static int push_captures(lua_State *L, const struct peri_search *search, const char *at, const char *end, int least)
{
    int count = search->count > least ? search->count : least;
    luaL_checkstack(L, count, "too many captures");
    for (int i = 0; i < count; i++)
        push_capture(L, search, i, at, end);
    return count;
}

// ---------------------------------------------------------------- find and match

static bool has_specials(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (text[i] && strchr("^$*+?.([%-", text[i]))
            return true;
    return false;
}

// Offset at which a search begins; never beyond the end.
static size_t start_of(int32_t init, size_t len)
{
    ptrdiff_t start = init < 0 ? init + (ptrdiff_t)len : init - 1;
    if (start < 0)
        return 0;
    return (size_t)start < len ? (size_t)start : len;
}

// Searches from `*at` on: the end of the first match, which then begins at `*at`. NULL when there is none, or a problem.
static const char *find_first(struct peri_search *search, const char **at, const char *text)
{
    bool is_anchored = *text == '^';
    text += is_anchored;
    do {
        const char *end = peri_search_match(search, *at, text);
        if (end || search->problem)
            return end;
    } while ((*at)++ < search->end && !is_anchored);
    return NULL;
}

// The same for a text that is no pattern.
static const char *find_plain(const struct peri_search *search, const char **at, const char *text, size_t text_len)
{
    const char *found = memmem(*at, (size_t)(search->end - *at), text, text_len);
    if (!found)
        return NULL;
    *at = found;
    return found + text_len;
}

static int search_string(lua_State *L, bool is_find)
{
    struct peri_search search;
    size_t len, text_len;
    const char *at = luaL_checklstring(L, 1, &len), *text = luaL_checklstring(L, 2, &text_len), *end;
    search_init(&search, at, len);
    at += start_of((int32_t)luaL_optinteger(L, 3, 1), len);
    if (is_find && (lua_toboolean(L, 4) || !has_specials(text, text_len)))
        end = find_plain(&search, &at, text, text_len);
    else
        end = find_first(&search, &at, text);
    if (search.problem)
        return luaL_error(L, "%s", search.problem);
    if (!end) {
        lua_pushnil(L);
        return 1;
    }
    if (!is_find)
        return push_captures(L, &search, at, end, 1);
    lua_pushinteger(L, at - search.subject + 1);
    lua_pushinteger(L, end - search.subject);
    return push_captures(L, &search, at, end, 0) + 2;
}

PERI_EXPORT int32_t peri_ffi_find(const char *subject, size_t len, const char *text, size_t text_len, double init,
                                  int32_t is_plain, struct peri_ffi_found *found)
{
    struct peri_search search;
    *found = (struct peri_ffi_found){0};
    if (!subject || !text || !(init > INT32_MIN && init < INT32_MAX))
        return 0;
    search_init(&search, subject, len);
    const char *at = subject + start_of((int32_t)init, len);
    const char *end = is_plain || !has_specials(text, text_len) ? find_plain(&search, &at, text, text_len)
                                                                : find_first(&search, &at, text);
    found->problem = search.problem;
    found->captures = end ? search.count : 0;
    found->first = (double)(at - subject + 1);
    found->last = end ? (double)(end - subject) : 0;
    return end != NULL;
}

static int find(lua_State *L)
{
    return search_string(L, true);
}

static int match(lua_State *L)
{
    return search_string(L, false);
}

// ---------------------------------------------------------------- gmatch

// Upvalues: subject, pattern, offset of the next search.
static int gmatch_next(lua_State *L)
{
    size_t len;
    const char *subject = lua_tolstring(L, lua_upvalueindex(1), &len);
    const char *text = lua_tostring(L, lua_upvalueindex(2));
    struct peri_search search;
    search_init(&search, subject, len);
    for (const char *at = subject + lua_tointeger(L, lua_upvalueindex(3)); at <= search.end; at++) {
        const char *end = match_at(L, &search, at, text);
        if (!end)
            continue;
        lua_pushinteger(L, end - subject + (end == at));
        lua_replace(L, lua_upvalueindex(3));
        return push_captures(L, &search, at, end, 1);
    }
    return 0;
}

static int gmatch(lua_State *L)
{
    luaL_checkstring(L, 1);
    luaL_checkstring(L, 2);
    lua_settop(L, 2);
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, gmatch_next, 3);
    return 1;
}

// ---------------------------------------------------------------- gsub

static void grow(lua_State *L, struct substitution *s, size_t len)
{
    s->size += len;
    if (s->size > RESULT_MAX)
        luaL_error(L, "the result of gsub has more than %d MiB", RESULT_MAX / 1024 / 1024);
}

static void add_bytes(lua_State *L, struct substitution *s, const char *bytes, size_t len)
{
    grow(L, s, len);
    luaL_addlstring(&s->out, bytes, len);
}

// Adds the string on top of the stack, and takes it off.
static void add_top(lua_State *L, struct substitution *s)
{
    grow(L, s, lua_objlen(L, -1));
    luaL_addvalue(&s->out);
}

// Adds the replacement string with its %0 to %9 filled in.
static void add_template(lua_State *L, struct substitution *s, const char *at, const char *end)
{
    size_t len;
    const char *text = lua_tolstring(L, 3, &len);
    for (size_t i = 0; i < len; i++) {
        const char *escape = memchr(text + i, '%', len - i);
        size_t plain = escape ? (size_t)(escape - text) - i : len - i;
        add_bytes(L, s, text + i, plain);
        i += plain;
        if (!escape)
            break;
        char digit = text[++i]; // the NUL behind the text when it ends with '%'
        if (digit < '0' || digit > '9') {
            add_bytes(L, s, &digit, 1);
        } else if (digit == '0') {
            add_bytes(L, s, at, (size_t)(end - at));
        } else {
            push_capture(L, &s->search, digit - '1', at, end);
            add_top(L, s);
        }
    }
}

// Adds what the table or the function says, or the match itself when that is nothing.
static void add_value(lua_State *L, struct substitution *s, const char *at, const char *end)
{
    if (lua_isfunction(L, 3)) {
        lua_pushvalue(L, 3);
        lua_call(L, push_captures(L, &s->search, at, end, 1), 1);
    } else {
        push_capture(L, &s->search, 0, at, end);
        lua_gettable(L, 3);
    }
    if (!lua_toboolean(L, -1)) {
        lua_pop(L, 1);
        add_bytes(L, s, at, (size_t)(end - at));
        return;
    }
    if (!lua_isstring(L, -1))
        luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
    lua_tostring(L, -1); // a number becomes its text, which has a length
    add_top(L, s);
}

static int gsub(lua_State *L)
{
    struct substitution s;
    size_t len;
    const char *at = luaL_checklstring(L, 1, &len), *text = luaL_checkstring(L, 2);
    bool is_anchored = *text == '^', is_template = lua_isstring(L, 3);
    text += is_anchored;
    int most = (int32_t)luaL_optinteger(L, 4, (lua_Integer)len + 1), count = 0;
    luaL_argcheck(L, is_template || lua_istable(L, 3) || lua_isfunction(L, 3), 3, "string/function/table expected");
    if (!is_template)
        check_stack(L);
    search_init(&s.search, at, len);
    s.size = 0;
    luaL_buffinit(L, &s.out);
    while (count < most) {
        const char *end = match_at(L, &s.search, at, text);
        if (end) {
            count++;
            (is_template ? add_template : add_value)(L, &s, at, end);
        }
        if (end && end > at)
            at = end;
        else if (at < s.search.end)
            add_bytes(L, &s, at++, 1);
        else
            break;
        if (is_anchored)
            break;
    }
    add_bytes(L, &s, at, (size_t)(s.search.end - at));
    luaL_pushresult(&s.out);
    lua_pushinteger(L, count);
    return 2;
}

int peri_lua_search_open(struct lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"find", find}, {"match", match}, {"gmatch", gmatch}, {"gsub", gsub}, {"check_stack", check_stack},
        {NULL, NULL},
    };
    if (!stack_base)
        stack_base = __builtin_frame_address(0);
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    luaL_findtable(L, LUA_REGISTRYINDEX, "_LOADED", 8);
    lua_pushvalue(L, -2);
    lua_setfield(L, -2, "perigee._core.search_native");
    lua_pop(L, 1);
    return 1;
}
