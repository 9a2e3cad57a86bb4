// SPDX-License-Identifier: MIT
// The C half of a generation's Lua: references to the entry functions of its chains, and what of it runs outside exchanges.
#include <lauxlib.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/log.h"
#include "script/fiber.h"
#include "script/script_types.h"
#include "script/task.h"
#include "script/vm.h"
#include "script/vm_internal.h"
#include "script/watchdog.h"

/// What one protected build works on.
struct peri_build_call {
    struct peri_script_generation *script;
    const struct peri_source *source;
    struct peri_slice entry;
    char *config;
    char *errors;
};

static char *copy_text(lua_State *L, int index)
{
    size_t len;
    const char *text = lua_tolstring(L, index, &len);
    char *copy = malloc(len + 1);
    if (copy)
        memcpy(copy, text, len + 1);
    return copy;
}

// One error as a JSON array; the message is ours and has nothing to escape.
static char *plain_error(const char *message)
{
    char *text = NULL;
    if (asprintf(&text, "[{\"path\":\"\",\"message\":\"%s\"}]", message) < 0)
        return NULL;
    return text;
}

// read(path, is_secret) of the build; its upvalue is a box with the source, empty once the build is over.
static int read_file(lua_State *L)
{
    const struct peri_source **box = lua_touserdata(L, lua_upvalueindex(1));
    struct peri_slice path, bytes;
    path.ptr = luaL_checklstring(L, 1, &path.len);
    if (!*box)
        return luaL_error(L,
                          "files can be read only while the configuration is loaded: require at the top of the file");
    peri_err_t err = (*box)->read((*box)->data, path, &bytes);
    if (err == PERI_ERR_NOT_FOUND) {
        lua_pushnil(L);
        return 1;
    }
    if (err != PERI_OK)
        return luaL_error(L, "%s: %s", path.ptr, peri_err_info(err)->text);
    if (lua_toboolean(L, 2) && (*box)->mark_secret)
        (*box)->mark_secret((*box)->data, path);
    lua_pushlstring(L, bytes.ptr, bytes.len);
    return 1;
}

// A reference to the function at `index` of the table on top of the stack; LUA_NOREF when there is none.
static int keep_entry(lua_State *L, int index)
{
    lua_rawgeti(L, -1, index);
    return lua_isnil(L, -1) ? (lua_pop(L, 1), LUA_NOREF) : luaL_ref(L, LUA_REGISTRYINDEX);
}

// list(path) of the build, with the same upvalue: the names of folders as text, or nil.
static int list_folders(lua_State *L)
{
    const struct peri_source **box = lua_touserdata(L, lua_upvalueindex(1));
    struct peri_slice path;
    path.ptr = luaL_checklstring(L, 1, &path.len);
    char *names = *box && (*box)->list ? (*box)->list((*box)->data, path) : NULL;
    lua_pushstring(L, names);
    free(names);
    return 1;
}

// Keeps the entry functions of the generation at `index`.
static void keep_entries(lua_State *L, int index, struct peri_script_generation *script)
{
    lua_getfield(L, index, "entries");
    uint32_t count = (uint32_t)lua_objlen(L, -1);
    script->chains = count ? malloc(count * sizeof(*script->chains)) : NULL;
    if (count && !script->chains)
        luaL_error(L, "out of memory");
    for (uint32_t i = 0; i < count; i++) {
        for (int phase = 0; phase < PERI_PHASE_COUNT; phase++)
            script->chains[i].entries[phase] = LUA_NOREF;
        script->chains[i].traced = LUA_NOREF;
    }
    script->chain_count = count;
    for (uint32_t i = 0; i < count; i++) {
        lua_rawgeti(L, -1, (int)i + 1);
        for (int phase = 0; phase < PERI_PHASE_COUNT; phase++)
            script->chains[i].entries[phase] = keep_entry(L, phase + 1);
        script->chains[i].traced = keep_entry(L, PERI_PHASE_COUNT + 1);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

// Keeps the functions for connections of tcp listeners; as keep_entries.
static void keep_connects(lua_State *L, int index, struct peri_script_generation *script)
{
    lua_getfield(L, index, "connects");
    uint32_t count = (uint32_t)lua_objlen(L, -1);
    script->connects = count ? malloc(count * sizeof(*script->connects)) : NULL;
    if (count && !script->connects)
        luaL_error(L, "out of memory");
    for (; script->connect_count < count; script->connect_count++)
        script->connects[script->connect_count] = keep_entry(L, (int)script->connect_count + 1);
    lua_pop(L, 1);
}

static int build(lua_State *L)
{
    struct peri_build_call *call = lua_touserdata(L, 1);
    const struct peri_source **box = lua_newuserdata(L, sizeof(*box));
    *box = call->source;
    peri_vm_push(call->script->vm, L, PERI_ANCHOR_GENERATION);
    lua_getfield(L, -1, "build");
    lua_pushinteger(L, (lua_Integer)call->script->number);
    lua_pushlstring(L, call->entry.ptr, call->entry.len);
    lua_pushvalue(L, 2);
    lua_pushcclosure(L, read_file, 1);
    lua_pushvalue(L, 2);
    lua_pushcclosure(L, list_folders, 1);
    int status = lua_pcall(L, 4, 2, 0);
    *box = NULL;
    if (status != 0)
        return lua_error(L);
    char *text = copy_text(L, -1);
    if (!text)
        return luaL_error(L, "out of memory");
    if (lua_isnil(L, -2)) {
        call->errors = text;
        return 0;
    }
    call->config = text;
    keep_entries(L, lua_gettop(L) - 1, call->script);
    keep_connects(L, lua_gettop(L) - 1, call->script);
    lua_pushvalue(L, -2);
    call->script->self = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

static void script_free(struct peri_script_generation *script)
{
    lua_State *L = script->vm->work;
    for (uint32_t i = 0; i < script->chain_count; i++) {
        for (int phase = 0; phase < PERI_PHASE_COUNT; phase++)
            luaL_unref(L, LUA_REGISTRYINDEX, script->chains[i].entries[phase]);
        luaL_unref(L, LUA_REGISTRYINDEX, script->chains[i].traced);
    }
    for (uint32_t i = 0; i < script->connect_count; i++)
        luaL_unref(L, LUA_REGISTRYINDEX, script->connects[i]);
    luaL_unref(L, LUA_REGISTRYINDEX, script->self);
    script->vm->script_count--;
    free(script->chains);
    free(script->connects);
    free(script);
}

static struct peri_script_generation *script_new(struct peri_vm *vm, uint64_t number)
{
    struct peri_script_generation *script = calloc(1, sizeof(*script));
    if (!script)
        return NULL;
    script->vm = vm;
    vm->script_count++;
    script->number = number;
    script->self = LUA_NOREF;
    peri_list_init(&script->tasks);
    peri_list_init(&script->fibers);
    return script;
}

peri_err_t peri_script_build(struct peri_vm *vm, const struct peri_source *source, struct peri_slice entry,
                             uint64_t number, struct peri_build *result)
{
    *result = (struct peri_build){0};
    struct peri_script_generation *script = script_new(vm, number);
    struct peri_build_call call = {.script = script, .source = source, .entry = entry};
    peri_watchdog_enter(vm->work, PERI_BUDGET_ENTRY);
    int status = script ? lua_cpcall(vm->work, build, &call) : 0;
    peri_watchdog_leave();
    if (status != 0) {
        peri_error("script: building generation %llu: %s", (unsigned long long)number, lua_tostring(vm->work, -1));
        lua_pop(vm->work, 1);
        free(call.config);
        call.config = NULL;
    }
    if (call.config) {
        result->script = script;
        result->config = call.config;
        return PERI_OK;
    }
    result->errors = call.errors ? call.errors : plain_error("the configuration could not be built; the log says why");
    if (script)
        script_free(script);
    return PERI_ERR_INVALID;
}

/// What finding lines works on.
struct locate_call {
    struct peri_vm *vm;
    struct peri_slice entry;
    struct peri_slice text;
    char *errors;
};

static int locate(lua_State *L)
{
    struct locate_call *call = lua_touserdata(L, 1);
    peri_vm_push(call->vm, L, PERI_ANCHOR_GENERATION);
    lua_getfield(L, -1, "locate");
    lua_pushstring(L, call->errors);
    lua_pushlstring(L, call->entry.ptr, call->entry.len);
    lua_pushlstring(L, call->text.ptr, call->text.len);
    lua_call(L, 3, 1);
    char *located = copy_text(L, -1);
    if (located) {
        free(call->errors);
        call->errors = located;
    }
    return 0;
}

char *peri_script_locate(struct peri_vm *vm, const struct peri_source *source, struct peri_slice entry, char *errors)
{
    struct locate_call call = {.vm = vm, .entry = entry, .errors = errors};
    if (!errors || source->read(source->data, entry, &call.text) != PERI_OK)
        return errors;
    if (lua_cpcall(vm->work, locate, &call) != 0)
        lua_pop(vm->work, 1); // without lines, then
    return call.errors;
}

static void on_blocking_end(struct peri_fiber *fiber, enum peri_fiber_end end)
{
    PERI_UNUSED(fiber);
    peri_assert(end != PERI_FIBER_WAITS); // a blocking fiber never waits, so nothing wakes it
}

// Calls function `name` of the generation module in a fiber that must not wait, with this generation and the value on top of
// the stack of `work` (popped). PERI_OK with its result, malloc'ed, when that is a string.
static peri_err_t call_blocking(struct peri_script_generation *script, const char *name, char **text)
{
    struct peri_vm *vm = script->vm;
    struct peri_fiber *fiber = peri_fiber_acquire(script, NULL, on_blocking_end);
    if (!fiber) {
        lua_pop(vm->work, 1);
        return PERI_ERR_NOMEM;
    }
    fiber->is_blocking = true;
    fiber->budget = PERI_BUDGET_ENTRY;
    peri_vm_push(vm, fiber->co, PERI_ANCHOR_GENERATION);
    lua_getfield(fiber->co, -1, name);
    lua_remove(fiber->co, -2);
    lua_rawgeti(fiber->co, LUA_REGISTRYINDEX, script->self);
    lua_xmove(vm->work, fiber->co, 1);
    enum peri_fiber_end end = peri_fiber_resume(fiber, 2);
    if (end != PERI_FIBER_DONE) {
        peri_fiber_drop(fiber);
        return PERI_ERR_INVALID;
    }
    if (lua_gettop(fiber->co) > 0 && lua_type(fiber->co, -1) == LUA_TSTRING)
        *text = copy_text(fiber->co, -1);
    peri_fiber_release(fiber);
    return PERI_OK;
}

peri_err_t peri_script_start(struct peri_script_generation *script, struct peri_script_generation *previous,
                             char **errors)
{
    lua_State *work = script->vm->work;
    *errors = NULL;
    if (previous)
        lua_rawgeti(work, LUA_REGISTRYINDEX, previous->self);
    else
        lua_pushnil(work);
    peri_err_t err = call_blocking(script, "start", errors);
    if (err != PERI_OK)
        *errors = plain_error("the policies could not be started; the log says why");
    script->is_started = true;
    return *errors || err != PERI_OK ? PERI_ERR_INVALID : PERI_OK;
}

static void free_owned(struct peri_script_generation *script)
{
    while (!peri_list_is_empty(&script->tasks))
        peri_task_free(PERI_LIST_ITEM(script->tasks.next, struct peri_task, link));
    while (!peri_list_is_empty(&script->fibers))
        peri_fiber_drop(PERI_LIST_ITEM(script->fibers.next, struct peri_fiber, link));
}

void peri_script_release(struct peri_script_generation *script)
{
    char *text = NULL;
    if (!script)
        return;
    peri_assert(!peri_fiber_current());
    free_owned(script);
    lua_pushboolean(script->vm->work, script->is_started);
    call_blocking(script, "close", &text);
    free(text);
    free_owned(script);
    script_free(script);
}

void peri_script_set_generation(struct peri_script_generation *script, void *generation)
{
    script->whole = generation;
}
