// SPDX-License-Identifier: MIT
// JSON text to Lua values. A classic C function, not FFI: building tables is the VM's own work.
#ifndef PERI_SCRIPT_LUA_JSON_H
#define PERI_SCRIPT_LUA_JSON_H

struct lua_State;

/// Registers the module "perigee._core.json_native" in package.loaded and pushes it (a lua_CFunction; returns 1):
///   decode(text, max) -> value, or nil and a message; `max` is the most bytes of text
///   array             the metatable of every array, whose __metatable field is "json.array"
///   null              what null becomes: the light userdata NULL
int peri_lua_json_open(struct lua_State *L);

#endif
