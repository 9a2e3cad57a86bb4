// SPDX-License-Identifier: MIT
// The structs that the files of script/ share. Nobody else includes this.
//
//   vm 1--* generation 1--* chain (functions by phase)
//   exchange 0..1--1 slot 1--* fiber (a pooled coroutine that runs, or waits for one thing)
//   generation or slot 1--* task (what timers and spawn start), each run on a fiber of its own
#ifndef PERI_SCRIPT_TYPES_H
#define PERI_SCRIPT_TYPES_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "event/loop.h"
#include "event/timer.h"
#include "perigee/ffi.h"
#include "script/chain.h"

struct peri_connect;
struct peri_exchange;
struct peri_fetch;
struct peri_fetch_result;
struct peri_heads;
struct peri_redis_call;
struct peri_redis_reply;
struct peri_shm;

/// Places on the stack of vm->anchor, a coroutine that never runs: its stack keeps these tables at fixed places, whatever the
/// other coroutines are doing.
enum {
    PERI_ANCHOR_STATES = 1, ///< what Lua keeps of an exchange, by slot id
    PERI_ANCHOR_JOBS,       ///< task object by task id
    PERI_ANCHOR_FIBERS,     ///< coroutine by fiber id
    PERI_ANCHOR_RUN_TASK,   ///< function (task id)
    PERI_ANCHOR_COLLECT,    ///< C function of script/vm
    PERI_ANCHOR_GENERATION, ///< module perigee._core.generation
    PERI_ANCHOR_COUNT = PERI_ANCHOR_GENERATION
};

/// The VM's memory: LuaJIT's own allocator with a counter in front.
struct peri_lua_memory {
    lua_Alloc alloc; ///< LuaJIT's
    void *data;
    size_t used;
    size_t limit;
    bool is_short; ///< a request was refused since the last full collection
};

struct peri_vm {
    lua_State *L;      ///< main state; runs nothing but the SDK's start
    lua_State *work;   ///< for protected calls from C
    lua_State *anchor; ///< see PERI_ANCHOR_*
    struct peri_lua_memory memory;
    struct peri_loop *loop;              ///< borrowed
    struct peri_shm *shm;                ///< borrowed
    const struct peri_script_host *host; ///< borrowed; NULL for check
    int worker;
    struct peri_fiber **fibers; ///< owned; by id, from 1
    uint32_t fiber_count;       ///< fibers made
    uint32_t fiber_capacity;
    struct peri_list idle; ///< fibers with a coroutine that nobody uses
    uint32_t idle_count;
    struct peri_task **tasks; ///< owned; by id, from 1
    uint32_t task_count;      ///< tasks made
    uint32_t task_capacity;
    struct peri_list free_tasks;
    uint32_t script_count; ///< generations that are not released
    uint64_t sweep_at; ///< bytes of the Lua heap from which on it is collected when idle; 0: a collection is under way
};

struct peri_script_chain {
    int entries[PERI_PHASE_COUNT]; ///< references in the Lua registry; LUA_NOREF for none
    int traced;                    ///< function of slot, phase and is_last, for exchanges with a trace; likewise
};

struct peri_script_generation {
    struct peri_vm *vm;
    uint64_t number;
    int self; ///< reference of the Lua half
    bool is_started;
    struct peri_script_chain *chains;
    uint32_t chain_count;
    int *connects; ///< references of the functions for connections of tcp listeners
    uint32_t connect_count;
    uint32_t task_count;     ///< in `tasks`
    struct peri_list tasks;  ///< those that no exchange owns
    struct peri_list fibers; ///< those that no exchange owns
    void *whole;             ///< the generation of proxy/
};

/// What Lua's handles on an exchange point to. Made once, reused, never freed.
struct peri_slot {
    struct peri_ffi_slot ffi; ///< what Lua sees; first
    struct peri_exchange *x;  ///< NULL when free
    bool is_known;            ///< Lua keeps a state, or false, for this id
    struct peri_script_generation *script;
    struct peri_fiber *runs[PERI_PHASE_COUNT]; ///< the fiber of each phase under way
    struct peri_list fibers;                   ///< all fibers of this exchange
    struct peri_list tasks;
    uint32_t task_count;
    struct peri_heads *heads; ///< copies for dry runs, in the exchange's arena; NULL before the first
    struct peri_list link;    ///< free list
};

/// How a resumption came to rest.
enum peri_fiber_end {
    PERI_FIBER_DONE,   ///< returned; the results are on its stack
    PERI_FIBER_WAITS,  ///< yielded; fiber->wait says for what
    PERI_FIBER_FAILED, ///< raised an error (logged) or yielded without waiting for anything
};

/// What a fiber waits for.
enum peri_wait {
    PERI_WAIT_NONE,
    PERI_WAIT_SLEEP,
    PERI_WAIT_FORWARD,
    PERI_WAIT_REQUEST_BODY,
    PERI_WAIT_RESPONSE_BODY,
    PERI_WAIT_TASK,
    PERI_WAIT_FETCH,
    PERI_WAIT_REDIS,
};

/// A coroutine with what it is for and what it waits for.
struct peri_fiber {
    struct peri_vm *vm;
    lua_State *co; ///< anchored in PERI_ANCHOR_FIBERS; NULL after it was dropped
    int id;
    struct peri_script_generation *script;
    struct peri_slot *slot;         ///< NULL outside exchanges
    struct peri_task *task;         ///< the task it runs; NULL for a phase
    struct peri_connect *connect;   ///< the question it answers; NULL for others
    enum peri_phase phase;          ///< of the exchange, when task is NULL
    struct peri_chain_chunk *chunk; ///< body phases; borrowed until the verdict
    enum peri_wait wait;
    bool is_blocking; ///< must not wait (init, close)
    double budget;    ///< seconds of CPU time until the next wait
    peri_err_t woken; ///< why it runs again
    void (*on_end)(struct peri_fiber *fiber, enum peri_fiber_end end);
    struct peri_timer timer;
    struct peri_defer defer;
    struct peri_fetch *fetch;
    const struct peri_fetch_result *result; ///< borrowed while the fiber runs after a fetch
    struct peri_redis_call *redis;
    const struct peri_redis_reply *reply; ///< borrowed while the fiber runs after a call to Redis
    struct peri_list waiters;             ///< its place in task->waiters
    struct peri_list link;                ///< idle list, slot->fibers or script->fibers
    uint64_t mark;                        ///< ticks at the start of the present step, suspensions taken out
    uint64_t suspended;                   ///< ticks at the last suspension; 0 before the first
    uint64_t waited;                      ///< ticks of the suspensions of the present step
};

/// What a script left to be run: perigee.spawn, timer.after, timer.every.
struct peri_task {
    struct peri_vm *vm;
    int id;
    bool is_live;
    bool is_stopped; ///< ends with the present run, or in the next turn
    struct peri_script_generation *script;
    struct peri_slot *slot; ///< owner when it belongs to an exchange; NULL otherwise
    uint64_t interval_ms;   ///< 0: once
    struct peri_timer timer;
    struct peri_defer defer;
    struct peri_fiber *fiber; ///< the run under way
    struct peri_list waiters; ///< fibers that wait for its end
    struct peri_list link;    ///< owner's list, or the free list
};

#endif
