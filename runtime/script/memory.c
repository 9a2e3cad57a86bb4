// SPDX-License-Identifier: MIT
// Counts what LuaJIT's allocator gives out. Machine code of the JIT compiler is not part of it.
#include "script/memory.h"

#include <lua.h>

#include "base/attr.h"
#include "script/script_types.h"

// Calls in tail position: this stands before every allocation and every free of the VM. Should LuaJIT's allocator fail, its
// bytes stay counted, which does not matter any more then.
static void *counted_alloc(void *data, void *ptr, size_t old_size, size_t new_size)
{
    struct peri_lua_memory *memory = data;
    size_t used = memory->used + new_size - old_size;
    if (PERI_UNLIKELY(used > memory->limit && new_size > old_size)) {
        memory->is_short = true;
        return NULL;
    }
    memory->used = used;
    return memory->alloc(memory->data, ptr, old_size, new_size);
}

void peri_lua_memory_init(struct peri_lua_memory *memory, struct lua_State *L, size_t limit)
{
    memory->limit = limit;
    memory->is_short = false;
    memory->used = (size_t)lua_gc(L, LUA_GCCOUNT, 0) * 1024 + (size_t)lua_gc(L, LUA_GCCOUNTB, 0);
    memory->alloc = lua_getallocf(L, &memory->data);
    lua_setallocf(L, counted_alloc, memory);
}
