// SPDX-License-Identifier: MIT
// The ticks, the hook that raises, and the proof that both work.
//
//   enter -> tick: the clock begins -> tick: budget spent, hook armed -> hook raises, until a frame of the chain -> leave
#include "script/watchdog.h"

#include <errno.h>
#include <lauxlib.h>
#include <luajit.h>
#include <lualib.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "base/attr.h"
#include "base/log.h"

#define TICK 0.010 // seconds of CPU time between two ticks; the "i10" of PROFILE_MODE
#define PROFILE_MODE "li10"
#define PROOF_BUDGET 0.001
#define PROOF "local n = 0 while n < 3e8 do n = n + 1 end" // compiled at once, and over by itself at last

volatile struct peri_ffi_watch peri_watchdog = {.budget = PERI_FFI_BUDGET_MS / 1000.0};
lua_State *volatile peri_watchdog_running;

static lua_State *ticking;               // main state of the VM that has the ticks
static volatile sig_atomic_t is_sampled; // the profiler has run since the last tick
static struct sigaction luajit_action;   // of LuaJIT's profiler: makes compiled code leave its loop

static double cpu_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

// Is what runs part of the SDK that calls scripts and deals with their errors? Scripts cannot make such a function: theirs
// have another environment, whatever they call their chunks.
static bool is_caller(lua_State *L, lua_Debug *at)
{
    static const char *const callers[] = {
        "=chain",
        "@lua/perigee/_core/chain.lua",
        "@lua/perigee/_core/outcome.lua",
        "@lua/perigee/_core/onion.lua",
        "@lua/perigee/_core/task.lua",
        "@lua/perigee/_core/place.lua",
    };
    lua_getinfo(L, "Sf", at);
    lua_getfenv(L, -1);
    bool is_sdk = lua_rawequal(L, -1, LUA_GLOBALSINDEX) != 0;
    lua_pop(L, 2);
    for (size_t i = 0; is_sdk && i < sizeof(callers) / sizeof(*callers); i++)
        if (strcmp(at->source, callers[i]) == 0)
            return true;
    return false;
}

// Runs before every instruction while the hook is armed.
static void on_spent(lua_State *L, lua_Debug *at)
{
    if (is_caller(L, at)) {
        peri_watchdog.is_armed = 0;
        lua_sethook(L, NULL, 0, 0);
        return;
    }
    peri_watchdog.is_spent = 1;
    luaL_where(L, 0);
    lua_pushfstring(L, "the CPU budget of %d ms is spent", (int)(peri_watchdog.budget * 1000 + 0.5));
    lua_concat(L, 2);
    lua_error(L);
}

// The clock of an entry begins at its first tick, so that entering costs no system call; half a tick of tolerance, so that it does
// not end a whole tick late.
static void check_budget(lua_State *L)
{
    double now = cpu_now();
    if (peri_watchdog.since == 0) {
        peri_watchdog.since = now;
    } else if (now - peri_watchdog.since >= peri_watchdog.budget - TICK / 2) {
        peri_watchdog.is_armed = 1;
        lua_sethook(L, on_spent, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1);
    }
}

// A tick that falls into LuaJIT's own change of its dispatch table leaves the request for a sample set and nobody to answer it:
// compiled code then leaves every loop at once, for ever. Setting the hook there is makes the table anew.
static void repair(lua_State *L)
{
    if (!is_sampled)
        lua_sethook(L, lua_gethook(L), lua_gethookmask(L), lua_gethookcount(L));
    is_sampled = 0;
}

// In front of LuaJIT's handler. The hook must be set here: what its profiler's callback sets is undone after it.
static void on_tick(int number, siginfo_t *info, void *context)
{
    int saved = errno;
    repair(ticking);
    if (peri_watchdog_running)
        check_budget(peri_watchdog_running);
    if (luajit_action.sa_flags & SA_SIGINFO)
        luajit_action.sa_sigaction(number, info, context);
    else if (luajit_action.sa_handler != SIG_DFL && luajit_action.sa_handler != SIG_IGN)
        luajit_action.sa_handler(number);
    errno = saved;
}

static void on_sample(void *data, lua_State *L, int samples, int state)
{
    PERI_UNUSED(data);
    PERI_UNUSED(L);
    PERI_UNUSED(samples);
    PERI_UNUSED(state);
    is_sampled = 1;
}

// Runs a compiled loop until its budget is spent. Returns whether it was stopped.
static bool prove(lua_State *L)
{
    int top = lua_gettop(L);
    bool is_loaded = luaL_loadstring(L, PROOF) == 0;
    peri_watchdog_enter(L, PROOF_BUDGET);
    bool is_stopped = is_loaded && lua_pcall(L, 0, 0, 0) != 0 && peri_watchdog.is_spent;
    peri_watchdog_leave(L);
    lua_settop(L, top);
    return is_stopped;
}

void peri_watchdog_start(lua_State *L)
{
    static bool is_proven;
    sigset_t ticks;
    ticking = L;
    luaJIT_profile_start(L, PROFILE_MODE, on_sample, NULL);
    struct sigaction action = {.sa_sigaction = on_tick, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGPROF, &action, &luajit_action);
    sigemptyset(&ticks);
    sigaddset(&ticks, SIGPROF);
    sigprocmask(SIG_UNBLOCK, &ticks, NULL);
    if (is_proven || peri_watchdog.is_interpreted)
        return;
    is_proven = prove(L);
    peri_watchdog.is_interpreted = !is_proven;
    if (!is_proven)
        peri_warn("script: compiled code cannot be stopped here: policies run without the compiler");
}

void peri_watchdog_stop(lua_State *L)
{
    luaJIT_profile_stop(L);
}

void peri_watchdog_disarm(lua_State *L)
{
    lua_sethook(L, NULL, 0, 0);
    peri_watchdog.is_armed = 0;
    peri_watchdog.is_spent = 0;
}

PERI_EXPORT struct peri_ffi_watch *peri_ffi_watch(void)
{
    return (struct peri_ffi_watch *)(uintptr_t)&peri_watchdog;
}
