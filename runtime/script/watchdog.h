// SPDX-License-Identifier: MIT
// The CPU budget of scripts. LuaJIT's profiler makes compiled code look up every 10 ms of CPU time (docs/internals/lua-runtime.md);
// the handler of that signal finds that the script which runs has spent its budget, and makes it raise an error that no pcall
// of the script outlives.
#ifndef PERI_SCRIPT_WATCHDOG_H
#define PERI_SCRIPT_WATCHDOG_H

#include <perigee/ffi.h>
#include <stdbool.h>

struct lua_State;

#define PERI_BUDGET_LOAD 5.0 // seconds of CPU to evaluate a configuration, and for init() or close() of one policy

/// The CPU budget of what runs, seen by the signal handler; see ffi.h.
extern volatile struct peri_ffi_watch peri_watchdog;

/// The state that runs scripts; NULL when none does.
extern struct lua_State *volatile peri_watchdog_running;

/// Starts the ticks of the process's one VM, before it runs anything; `L` is its main state. The first VM of a process also proves that
/// compiled code can be stopped; when it cannot, a warning is logged and scripts are not compiled (peri_watchdog.is_interpreted).
void peri_watchdog_start(struct lua_State *L);

/// Stops the ticks, before the VM is closed.
void peri_watchdog_stop(struct lua_State *L);

/// Takes back what a spent budget left behind. Part of peri_watchdog_leave.
void peri_watchdog_disarm(struct lua_State *L);

/// Control goes to a script in `L`, which may use `budget` seconds of CPU time.
static inline void peri_watchdog_enter(struct lua_State *L, double budget)
{
    peri_watchdog.budget = budget;
    peri_watchdog.since = 0;
    peri_watchdog_running = L;
}

/// Control is back in C.
static inline void peri_watchdog_leave(struct lua_State *L)
{
    peri_watchdog_running = NULL;
    if (__builtin_expect(peri_watchdog.is_spent | peri_watchdog.is_armed, 0))
        peri_watchdog_disarm(L);
}

#endif
