// SPDX-License-Identifier: MIT
// The cap on the Lua heap: LuaJIT's own allocator behind a counter that refuses to go beyond a limit. The script that asks
// for more gets Lua's "not enough memory".
#ifndef PERI_SCRIPT_MEMORY_H
#define PERI_SCRIPT_MEMORY_H

#include <stddef.h>

struct lua_State;
struct peri_lua_memory;

/// Puts the counter in front of the allocator of `L`, which was just made. `memory` is embedded in the VM and outlives L.
void peri_lua_memory_init(struct peri_lua_memory *memory, struct lua_State *L, size_t limit);

#endif
