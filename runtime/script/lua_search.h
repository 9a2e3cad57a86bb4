// SPDX-License-Identifier: MIT
// The searching functions of `string` for scripts, bounded (script/search). Classic C functions, not FFI: they make strings and
// call back.
#ifndef PERI_SCRIPT_LUA_SEARCH_H
#define PERI_SCRIPT_LUA_SEARCH_H

struct lua_State;

/// Registers the module "perigee._core.search_native" in package.loaded and pushes it (a lua_CFunction; returns 1):
///   find, match, gmatch, gsub   as in `string`, with errors for a search that is too costly and a result above 16 MiB
///   check_stack()               raises an error when calls through C are nested so deeply that the C stack might end.
/// The depth is measured from the stack of the first caller.
int peri_lua_search_open(struct lua_State *L);

#endif
