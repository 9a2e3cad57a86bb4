// SPDX-License-Identifier: MIT
// Compiler attributes under one name each.
#ifndef PERI_BASE_ATTR_H
#define PERI_BASE_ATTR_H

/// Symbol that LuaJIT's FFI or a Lua C module finds in the executable.
#define PERI_EXPORT __attribute__((visibility("default"), used))
#define PERI_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define PERI_NODISCARD __attribute__((warn_unused_result))
#define PERI_COLD __attribute__((cold, noinline)) // rarely called: its code stays out of the caller
#define PERI_NOINLINE __attribute__((noinline))   // called, but not always: its code stays out of the caller
#define PERI_LIKELY(x) __builtin_expect(!!(x), 1)
#define PERI_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define PERI_UNUSED(x) ((void)(x))

/// Size of a true array in elements.
#define PERI_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/// The struct that holds `member` at address `ptr`.
#define PERI_CONTAINER(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#endif
