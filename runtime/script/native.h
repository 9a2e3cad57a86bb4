// SPDX-License-Identifier: MIT
// The few things that the SDK needs before it can use the FFI: the files that are part of the binary.
#ifndef PERI_SCRIPT_NATIVE_H
#define PERI_SCRIPT_NATIVE_H

struct lua_State;

/// Makes the embedded SDK what `require "perigee…"` finds, and fills the module perigee._core.native with:
///   embedded(path) -> text or nil     a file of the binary
///   list(prefix) -> { path, … }       paths of the binary's files that begin so
///   role                              `role`, or nil when that is NULL
/// Raises Lua errors.
void peri_native_open(struct lua_State *L, const char *role);

#endif
