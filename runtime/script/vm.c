// SPDX-License-Identifier: MIT
// The VM: its start from the embedded SDK, its memory and its garbage.
#include "script/vm.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/log.h"
#include "script/ffi_shared.h"
#include "script/fiber.h"
#include "script/memory.h"
#include "script/native.h"
#include "script/script_types.h"
#include "script/task.h"
#include "script/vm_internal.h"
#include "script/watchdog.h"
#include "shared/metrics.h"

#define PERI_LUA_MEMORY (256u * 1024 * 1024) // bytes, by default
#define PERI_LUA_PAUSE 200                   // % of the live heap at which a collection begins
#define PERI_LUA_PAUSE_FULL 120              // the same when more than half of the memory is used
#define PERI_LUA_SWEEP_MIN (256u * 1024)     // bytes of garbage worth an idle collection

static struct peri_vm *the_vm;

static int on_panic(lua_State *L)
{
    peri_error("script: unprotected error: %s", lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "(no text)");
    return 0;
}

// Moves field `name` of the table on top of L to the anchor's stack.
static void anchor_field(lua_State *L, struct peri_vm *vm, const char *name)
{
    lua_getfield(L, -1, name);
    lua_xmove(L, vm->anchor, 1);
}

// Takes one step of collection, or with an argument a complete one. Returns whether the collection is complete.
static int collect(lua_State *L)
{
    bool is_full = lua_toboolean(L, 1);
    lua_pushboolean(L, lua_gc(L, is_full ? LUA_GCCOLLECT : LUA_GCSTEP, 0) != 0 || is_full);
    return 1;
}

static lua_State *new_thread(lua_State *L)
{
    lua_State *thread = lua_newthread(L);
    luaL_ref(L, LUA_REGISTRYINDEX); // for ever
    return thread;
}

// Loads the SDK; the order of what goes to the anchor is that of PERI_ANCHOR_*.
static int start(lua_State *L)
{
    const struct peri_vm_options *options = lua_touserdata(L, 1);
    struct peri_vm *vm = the_vm;
    luaL_openlibs(L);
    vm->anchor = new_thread(L);
    vm->work = new_thread(L);
    lua_pushboolean(L, 1);
    luaL_unref(L, LUA_REGISTRYINDEX,
               luaL_ref(L, LUA_REGISTRYINDEX)); // makes its list, so that unref never needs memory
    peri_native_open(L, options->role);
    lua_getglobal(L, "require");
    lua_pushliteral(L, "perigee._core.boot");
    lua_call(L, 1, 1);
    anchor_field(L, vm, "states");
    anchor_field(L, vm, "jobs");
    lua_newtable(L);
    lua_xmove(L, vm->anchor, 1);
    anchor_field(L, vm, "run_task");
    lua_pushcfunction(L, collect);
    lua_xmove(L, vm->anchor, 1);
    anchor_field(L, vm, "generation");
    peri_assert(lua_gettop(vm->anchor) == PERI_ANCHOR_COUNT);
    return 0;
}

static bool vm_start(struct peri_vm *vm, const struct peri_vm_options *options)
{
    vm->L = luaL_newstate();
    if (!vm->L)
        return false;
    lua_atpanic(vm->L, on_panic);
    peri_lua_memory_init(&vm->memory, vm->L, options->memory_limit ? options->memory_limit : PERI_LUA_MEMORY);
    lua_gc(vm->L, LUA_GCSETPAUSE, PERI_LUA_PAUSE);
    // cpcall takes a plain pointer; start() only reads it.
    if (peri_watchdog_start(vm->L) && lua_cpcall(vm->L, start, (void *)(uintptr_t)options) == 0)
        return true;
    peri_error("script: the SDK does not load: %s", lua_tostring(vm->L, -1));
    return false;
}

// The heap is swept: when next?
static void note_swept(struct peri_vm *vm)
{
    uint64_t used = vm->memory.used;
    vm->sweep_at = used + (used / 2 > PERI_LUA_SWEEP_MIN ? used / 2 : PERI_LUA_SWEEP_MIN);
}

struct peri_vm *peri_vm_new(const struct peri_vm_options *options)
{
    peri_assert(!the_vm);
    struct peri_vm *vm = calloc(1, sizeof(*vm));
    if (!vm)
        return NULL;
    the_vm = vm;
    vm->loop = options->loop;
    vm->shm = options->shm;
    vm->host = options->host;
    vm->worker = options->worker;
    peri_list_init(&vm->idle);
    peri_list_init(&vm->free_tasks);
    peri_ffi_shared_bind(options->shm, options->worker);
    if (vm_start(vm, options)) {
        note_swept(vm);
        if (peri_ffi_shared_binding()->page)
            peri_ffi_shared_binding()->page->heap.limit = vm->memory.limit;
        return vm;
    }
    peri_vm_free(vm);
    return NULL;
}

void peri_vm_free(struct peri_vm *vm)
{
    peri_assert(vm == the_vm && !peri_fiber_current());
    peri_task_pool_close(vm);
    peri_fiber_pool_close(vm);
    if (vm->L) {
        // LuaJIT gives the whole heap back at once only to its own allocator.
        peri_watchdog_stop(vm->L);
        lua_setallocf(vm->L, vm->memory.alloc, vm->memory.data);
        lua_close(vm->L);
    }
    the_vm = NULL;
    free(vm);
}

struct peri_vm *peri_vm_current(void)
{
    peri_assert(the_vm);
    return the_vm;
}

void peri_vm_push(struct peri_vm *vm, struct lua_State *L, int index)
{
    lua_pushvalue(vm->anchor, index);
    lua_xmove(vm->anchor, L, 1);
}

uint64_t peri_vm_bytes(const struct peri_vm *vm)
{
    return vm->memory.used;
}

// Collects a step, or all; protected, since even a collection may need memory.
static bool vm_collect(struct peri_vm *vm, bool is_full)
{
    struct peri_metrics_page *page = peri_ffi_shared_binding()->page;
    uint64_t begun = peri_metrics_ticks();
    peri_vm_push(vm, vm->work, PERI_ANCHOR_COLLECT);
    lua_pushboolean(vm->work, is_full);
    bool is_complete = lua_pcall(vm->work, 1, 1, 0) != 0 || lua_toboolean(vm->work, -1);
    lua_pop(vm->work, 1);
    if (page)
        peri_metrics_gc(page, peri_metrics_ticks() - begun, is_full);
    return is_complete;
}

void peri_vm_idle(struct peri_vm *vm)
{
    bool is_short = vm->memory.is_short;
    if ((!is_short && vm->memory.used < vm->sweep_at) || peri_fiber_current())
        return;
    vm->memory.is_short = false;
    vm->sweep_at = 0; // until the collection is complete
    if (!vm_collect(vm, is_short))
        return;
    note_swept(vm);
    bool is_full = vm->memory.used > vm->memory.limit / 2;
    lua_gc(vm->work, LUA_GCSETPAUSE, is_full ? PERI_LUA_PAUSE_FULL : PERI_LUA_PAUSE);
}

PERI_EXPORT int32_t peri_ffi_abi(void)
{
    return PERI_ABI;
}
