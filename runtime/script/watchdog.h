// SPDX-License-Identifier: MIT
// The CPU budget of scripts. A signal every few milliseconds of CPU time finds that the script which runs has spent its budget, and
// makes it raise an error that no pcall of the script outlives; docs/internals/lua-runtime.md says how it reaches compiled code.
#ifndef PERI_SCRIPT_WATCHDOG_H
#define PERI_SCRIPT_WATCHDOG_H

#include <perigee/ffi.h>
#include <stdbool.h>

struct lua_State;

/// Seconds of CPU from one wait to the next, however many hooks share them; to evaluate a configuration; for the save(), restore() and
/// init() of a generation, and for its close(). Well below the time after which the supervisor takes a worker for stuck.
#define PERI_BUDGET_ENTRY 1.0

/// The CPU budget of what runs, seen by the signal handler; see ffi.h.
extern volatile struct peri_ffi_watch peri_watchdog;

/// What the signal handler needs beside it.
struct peri_watchdog_entry {
    struct lua_State *running; ///< the state that runs scripts; NULL when none does
    double since;              ///< CPU clock when control went to it; 0: begins with the next tick
};

extern volatile struct peri_watchdog_entry peri_watchdog_entry;

/// Starts the ticks of the process's one VM, before it runs anything; `L` is its main state. The first VM of a process also proves that
/// compiled code can be stopped; when it cannot, a warning is logged and scripts are not compiled (peri_watchdog.is_interpreted).
/// False when out of memory.
bool peri_watchdog_start(struct lua_State *L);

/// Stops the ticks, before the VM is closed.
void peri_watchdog_stop(struct lua_State *L);

/// Lets a compiled loop spend a small budget. Returns whether it was stopped.
bool peri_watchdog_prove(struct lua_State *L);

/// Takes back what a spent budget left behind. Part of peri_watchdog_leave.
void peri_watchdog_clear(void);

/// Control goes to a script in `L`, which may use `budget` seconds of CPU time.
static inline void peri_watchdog_enter(struct lua_State *L, double budget)
{
    peri_watchdog.budget = budget;
    peri_watchdog.since = 0;
    peri_watchdog_entry.since = 0;
    peri_watchdog_entry.running = L;
}

/// Control is back in C.
static inline void peri_watchdog_leave(void)
{
    peri_watchdog_entry.running = 0;
    if (__builtin_expect(peri_watchdog.is_spent | peri_watchdog.is_armed | peri_watchdog.is_asked, 0))
        peri_watchdog_clear();
}

#endif
