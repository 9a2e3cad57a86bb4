// SPDX-License-Identifier: MIT
// The ticks, the hook that raises, and the proof that both work.
//
//   enter -> tick: the clock begins -> tick: budget spent, hook set -> tick: compiled code asked to leave -> the hook raises, until
//   the SDK has dealt with it (peri_ffi_budget_end) or control is back in C -> leave
//
// LuaJIT is touched from the signal handler only once a budget is spent: its dispatch table is not made for a change in the middle of
// a change, so every touch may be lost. Each tick repeats the one before, and what is left is cleared in peri_watchdog_clear.
#include "script/watchdog.h"

#include <errno.h>
#include <lauxlib.h>
#include <luajit.h>
#include <lualib.h>
#include <signal.h>
#include <time.h>

#include "base/assert.h"
#include "base/attr.h"
#include "base/log.h"

#define TICK 0.005 // seconds of CPU time between two ticks; the "i5" of PROFILE_MODE
#define PROFILE_MODE "li5"
#define PATIENCE 4 // ticks with the hook set before it raises in what a script called of the SDK, too
#define EVENTS (LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT)
#define PROOF_BUDGET 0.001
#define PROOF "local n = 0 while n < 3e8 do n = n + 1 end" // compiled at once, and over by itself at last

volatile struct peri_ffi_watch peri_watchdog = {.budget = PERI_FFI_BUDGET_MS / 1000.0};
volatile struct peri_watchdog_entry peri_watchdog_entry;

static volatile bool is_entry_over; // what was spent is the limit of the entry: no later hook of it runs either
static struct {
    lua_Hook call;
    int mask, count;
} former;                              // the hook that was there before, as a test run with coverage sets one
static lua_State *answerer;            // has one function on its stack, which does nothing and is not compiled
static struct sigaction luajit_action; // of LuaJIT's profiler: makes compiled code leave its loop

static double cpu_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

// ---- the hook

// Is this function one of the SDK? Scripts cannot make such a function: theirs have another environment, whatever they call their
// chunks.
static bool is_sdk(lua_State *L, lua_Debug *at)
{
    lua_getinfo(L, "f", at);
    lua_getfenv(L, -1);
    bool is_global = lua_rawequal(L, -1, LUA_GLOBALSINDEX) != 0;
    lua_pop(L, 2);
    return is_global;
}

// Has a script called what runs? If not, it is the SDK that deals with the failure.
static bool is_called(lua_State *L)
{
    lua_Debug caller;
    if (L != peri_watchdog_entry.running)
        return true;
    for (int level = 1; lua_getstack(L, level, &caller); level++)
        if (!is_sdk(L, &caller))
            return true;
    return false;
}

// Runs before every instruction while it is set. A function of the SDK may be half-way through a change of its state, so it gets
// some time to return.
static void on_spent(lua_State *L, lua_Debug *at)
{
    if (is_sdk(L, at) && (peri_watchdog.is_armed < PATIENCE || !is_called(L)))
        return;
    peri_watchdog.is_spent = 1;
    double spent = is_entry_over ? PERI_BUDGET_ENTRY : peri_watchdog.budget;
    luaL_where(L, 0);
    lua_pushfstring(L, "the CPU budget of %d ms%s is spent", (int)(spent * 1000 + 0.5),
                    is_entry_over ? " from one wait to the next" : "");
    lua_concat(L, 2);
    lua_error(L);
}

// ---- the ticks

// The clocks begin at the first tick after an entry, so that entering costs no system call; half a tick of tolerance, so that they do
// not end a whole tick late.
static bool is_over(void)
{
    double now = cpu_now();
    if (peri_watchdog_entry.since == 0)
        peri_watchdog_entry.since = now;
    if (peri_watchdog.since == 0)
        peri_watchdog.since = now;
    is_entry_over =
        peri_watchdog.budget < PERI_BUDGET_ENTRY && now - peri_watchdog_entry.since >= PERI_BUDGET_ENTRY - TICK / 2;
    return is_entry_over || now - peri_watchdog.since >= peri_watchdog.budget - TICK / 2;
}

static void keep_hook(lua_State *L)
{
    former.call = lua_gethook(L);
    former.mask = lua_gethookmask(L);
    former.count = lua_gethookcount(L);
}

// Interpreted code meets the hook at its next instruction. Off and on again, so that LuaJIT makes its table anew even where
// it believes that nothing changes.
static void set_hook(lua_State *L)
{
    lua_sethook(L, NULL, 0, 0);
    lua_sethook(L, on_spent, EVENTS, 1);
}

// Compiled code leaves for the interpreter at its next line. After the hook, and not in the same tick: what the profiler's own callback
// sets would be undone after it, and interpreted code needs none of this.
static void ask(int number, siginfo_t *info, void *context)
{
    peri_watchdog.is_asked = 1;
    if (luajit_action.sa_flags & SA_SIGINFO)
        luajit_action.sa_sigaction(number, info, context);
    else if (luajit_action.sa_handler != SIG_DFL && luajit_action.sa_handler != SIG_IGN)
        luajit_action.sa_handler(number);
}

// In front of LuaJIT's handler.
static void on_tick(int number, siginfo_t *info, void *context)
{
    lua_State *L = peri_watchdog_entry.running;
    int saved = errno;
    if (L && peri_watchdog.is_armed) {
        peri_watchdog.is_armed++;
        set_hook(L);
        ask(number, info, context);
    } else if (L && is_over()) {
        peri_watchdog.is_armed = 1;
        keep_hook(L);
        set_hook(L);
    }
    errno = saved;
}

// LuaJIT's profiler took its sample: compiled code goes on undisturbed.
static void on_sample(void *data, lua_State *L, int samples, int state)
{
    PERI_UNUSED(data);
    PERI_UNUSED(L);
    PERI_UNUSED(samples);
    PERI_UNUSED(state);
    peri_watchdog.is_asked = 0;
}

static void mask_ticks(int how)
{
    sigset_t ticks;
    sigemptyset(&ticks);
    sigaddset(&ticks, SIGPROF);
    sigprocmask(how, &ticks, NULL);
}

// Without a handler a tick would end the process, so none may come before there is one.
static void start_ticks(lua_State *L)
{
    struct sigaction action = {.sa_sigaction = on_tick, .sa_flags = SA_SIGINFO | SA_RESTART};
    mask_ticks(SIG_BLOCK);
    luaJIT_profile_start(L, PROFILE_MODE, on_sample, NULL);
    sigemptyset(&action.sa_mask);
    sigaction(SIGPROF, &action, &luajit_action);
    mask_ticks(SIG_UNBLOCK);
}

// ---- the end of a budget

// No tick may come in between: it would take what is half cleared for an entry whose budget is spent.
static void disarm(lua_State *L)
{
    lua_State *running = peri_watchdog_entry.running;
    peri_watchdog_entry.running = NULL;
    lua_sethook(L, NULL, 0, 0);
    if (peri_watchdog.is_armed)
        lua_sethook(L, former.call, former.mask, former.count);
    peri_watchdog.is_armed = 0;
    peri_watchdog_entry.running = running;
}

// An interpreted function answers a question of `ask` that is still open. Where the question was lost in a change of LuaJIT's table,
// compiled code would leave every loop for ever: the profiler begins anew then, without the traces.
void peri_watchdog_clear(void)
{
    disarm(answerer);
    peri_watchdog.is_spent = 0;
    if (!peri_watchdog.is_asked)
        return;
    lua_pushvalue(answerer, 1);
    if (lua_pcall(answerer, 0, 0, 0) != 0)
        lua_pop(answerer, 1);
    if (!peri_watchdog.is_asked)
        return;
    mask_ticks(SIG_BLOCK);
    luaJIT_profile_stop(answerer);
    start_ticks(answerer);
    peri_watchdog.is_asked = 0;
}

PERI_EXPORT struct peri_ffi_watch *peri_ffi_watch(void)
{
    return (struct peri_ffi_watch *)(uintptr_t)&peri_watchdog;
}

PERI_EXPORT void peri_ffi_budget_end(void)
{
    peri_watchdog.since = 0;
    if (PERI_UNLIKELY(peri_watchdog.is_armed) && !is_entry_over)
        disarm(answerer);
}

// ---- start and stop

bool peri_watchdog_prove(lua_State *L)
{
    int top = lua_gettop(L);
    bool is_loaded = luaL_loadstring(L, PROOF) == 0;
    lua_newtable(L); // not of the SDK
    lua_setfenv(L, -2);
    peri_watchdog_enter(L, PROOF_BUDGET);
    bool is_stopped = is_loaded && lua_pcall(L, 0, 0, 0) != 0 && peri_watchdog.is_spent;
    peri_watchdog_leave();
    lua_settop(L, top);
    return is_stopped;
}

static int make_answerer(lua_State *L)
{
    answerer = lua_newthread(L);
    luaL_ref(L, LUA_REGISTRYINDEX);
    if (luaL_loadstring(answerer, "") != 0)
        return lua_error(L);
    luaJIT_setmode(answerer, 1, LUAJIT_MODE_FUNC | LUAJIT_MODE_OFF);
    return 0;
}

bool peri_watchdog_start(lua_State *L)
{
    static bool is_proven;
    if (lua_cpcall(L, make_answerer, NULL) != 0)
        return false;
    start_ticks(L);
    if (is_proven || peri_watchdog.is_interpreted)
        return true;
    is_proven = peri_watchdog_prove(L);
    peri_watchdog.is_interpreted = !is_proven;
    if (!is_proven)
        peri_warn("script: compiled code cannot be stopped here: policies run without the compiler");
    return true;
}

void peri_watchdog_stop(lua_State *L)
{
    luaJIT_profile_stop(L);
}
