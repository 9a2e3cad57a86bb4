// SPDX-License-Identifier: MIT
// Tasks: started by a deferred call or a timer, run on a fiber, freed at the end (or armed again).
//
//   start -> ARMED -> fire -> RUNNING -> end -> ARMED (interval) | freed
//            stop at any time: freed in the next turn of the loop
#include "script/task.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/attr.h"
#include "script/fiber.h"
#include "script/script_types.h"

#define PERI_TASKS_MAX 65535           // in the VM
#define PERI_TASKS_PER_EXCHANGE 256    // owned by one exchange
#define PERI_TASKS_PER_GENERATION 1024 // owned by one generation
#define PERI_TASK_DELAY_MAX 1e9        // seconds
#define PERI_TASK_FULL (-2)            // see ffi.h

static void task_rest(struct peri_task *task, enum peri_fiber_end end);

static void on_task_end(struct peri_fiber *fiber, enum peri_fiber_end end)
{
    peri_debug_assert(fiber->task && fiber->task->fiber == fiber);
    task_rest(fiber->task, end);
}

static void task_arm(struct peri_task *task, uint64_t delay_ms)
{
    peri_debug_assert(task->is_live && !task->fiber);
    if (delay_ms > 0)
        peri_timer_start(task->vm->loop, &task->timer, delay_ms);
    else
        peri_defer_schedule(task->vm->loop, &task->defer);
}

// The run came to rest.
static void task_rest(struct peri_task *task, enum peri_fiber_end end)
{
    if (end == PERI_FIBER_WAITS)
        return;
    if (end == PERI_FIBER_DONE)
        peri_fiber_release(task->fiber);
    else
        peri_fiber_drop(task->fiber);
    task->fiber = NULL;
    if (task->interval_ms > 0 && !task->is_stopped)
        task_arm(task, task->interval_ms);
    else
        peri_task_free(task);
}

static void task_fire(struct peri_task *task)
{
    lua_State *anchor = task->vm->anchor;
    peri_debug_assert(task->is_live && !task->fiber && !task->is_stopped);
    struct peri_fiber *fiber = peri_fiber_acquire(task->script, task->slot, on_task_end);
    if (!fiber) {
        peri_task_free(task);
        return;
    }
    task->fiber = fiber;
    fiber->task = task;
    lua_pushvalue(anchor, PERI_ANCHOR_RUN_TASK);
    lua_xmove(anchor, fiber->co, 1);
    lua_pushinteger(fiber->co, task->id);
    task_rest(task, peri_fiber_resume(fiber, 1));
}

static void on_timer(struct peri_timer *timer)
{
    task_fire(PERI_CONTAINER(timer, struct peri_task, timer));
}

static void on_defer(struct peri_defer *defer)
{
    struct peri_task *task = PERI_CONTAINER(defer, struct peri_task, defer);
    if (task->is_stopped)
        peri_task_free(task);
    else
        task_fire(task);
}

static bool pool_reserve(struct peri_vm *vm)
{
    if (vm->task_count < vm->task_capacity)
        return true;
    uint32_t capacity = vm->task_capacity ? vm->task_capacity * 2 : 64;
    if (vm->task_capacity >= PERI_TASKS_MAX)
        return false;
    struct peri_task **tasks = realloc(vm->tasks, capacity * sizeof(struct peri_task *));
    if (!tasks)
        return false;
    vm->tasks = tasks;
    vm->task_capacity = capacity;
    return true;
}

static struct peri_task *pool_take(struct peri_vm *vm)
{
    if (!peri_list_is_empty(&vm->free_tasks)) {
        struct peri_task *task = PERI_LIST_ITEM(vm->free_tasks.next, struct peri_task, link);
        peri_list_remove(&task->link);
        return task;
    }
    struct peri_task *task = pool_reserve(vm) ? calloc(1, sizeof(*task)) : NULL;
    if (!task)
        return NULL;
    vm->tasks[vm->task_count++] = task;
    task->vm = vm;
    task->id = (int)vm->task_count;
    peri_timer_init(&task->timer, on_timer);
    peri_defer_init(&task->defer, on_defer);
    peri_list_init(&task->waiters);
    peri_list_init(&task->link);
    return task;
}

static struct peri_task *task_start(const struct peri_fiber *fiber, bool is_exchange)
{
    struct peri_slot *slot = is_exchange ? fiber->slot : NULL;
    uint32_t *count = slot ? &slot->task_count : &fiber->script->task_count;
    bool is_full = *count >= (slot ? PERI_TASKS_PER_EXCHANGE : PERI_TASKS_PER_GENERATION);
    struct peri_task *task = is_full ? NULL : pool_take(fiber->vm);
    if (!task)
        return NULL;
    task->script = fiber->script;
    task->slot = slot;
    task->is_live = true;
    task->is_stopped = false;
    peri_list_append(slot ? &slot->tasks : &fiber->script->tasks, &task->link);
    ++*count;
    return task;
}

PERI_EXPORT int32_t peri_ffi_task_start(double delay, double interval, int32_t is_exchange)
{
    const struct peri_fiber *fiber = peri_fiber_current();
    if (!fiber || !(delay >= 0 && delay <= PERI_TASK_DELAY_MAX && interval >= 0 && interval <= PERI_TASK_DELAY_MAX))
        return 0;
    struct peri_task *task = task_start(fiber, is_exchange);
    if (!task)
        return PERI_TASK_FULL;
    task->interval_ms = interval > 0 && interval < 0.001 ? 1 : (uint64_t)(interval * 1000);
    task_arm(task, (uint64_t)(delay * 1000));
    return task->id;
}

PERI_EXPORT void peri_ffi_task_stop(int32_t id)
{
    const struct peri_fiber *fiber = peri_fiber_current();
    struct peri_task *task = fiber ? peri_task_find(fiber->vm, id) : NULL;
    if (!task)
        return;
    task->is_stopped = true;
    peri_timer_stop(&task->timer);
    if (task->fiber != fiber)
        peri_defer_schedule(task->vm->loop, &task->defer);
}

PERI_EXPORT int32_t peri_ffi_task_wait(int32_t id, double seconds)
{
    struct peri_fiber *fiber = peri_fiber_current();
    struct peri_task *task = fiber ? peri_task_find(fiber->vm, id) : NULL;
    if (!task || task == fiber->task || seconds > PERI_TASK_DELAY_MAX)
        return PERI_ERR_INVALID;
    if (!peri_fiber_wait(PERI_WAIT_TASK))
        return PERI_ERR_INVALID;
    peri_list_append(&task->waiters, &fiber->waiters);
    if (seconds >= 0)
        peri_timer_start(fiber->vm->loop, &fiber->timer, (uint64_t)(seconds * 1000));
    return PERI_OK;
}

struct peri_task *peri_task_find(struct peri_vm *vm, int32_t id)
{
    struct peri_task *task = id > 0 && (uint32_t)id <= vm->task_count ? vm->tasks[id - 1] : NULL;
    return task && task->is_live ? task : NULL;
}

// Lets go of the task's object in Lua. Storing nil where something is takes no memory, so it cannot raise.
static void forget_job(struct peri_task *task)
{
    lua_State *anchor = task->vm->anchor;
    lua_rawgeti(anchor, PERI_ANCHOR_JOBS, task->id);
    bool is_there = !lua_isnil(anchor, -1);
    lua_pop(anchor, 1);
    if (!is_there)
        return;
    lua_pushnil(anchor);
    lua_rawseti(anchor, PERI_ANCHOR_JOBS, task->id);
}

void peri_task_free(struct peri_task *task)
{
    peri_assert(task->is_live);
    peri_timer_stop(&task->timer);
    peri_defer_cancel(&task->defer);
    if (task->fiber)
        peri_fiber_drop(task->fiber);
    task->fiber = NULL;
    while (!peri_list_is_empty(&task->waiters))
        peri_fiber_wake(PERI_LIST_ITEM(task->waiters.next, struct peri_fiber, waiters), PERI_OK);
    forget_job(task);
    --*(task->slot ? &task->slot->task_count : &task->script->task_count);
    peri_list_remove(&task->link);
    task->is_live = false;
    peri_list_prepend(&task->vm->free_tasks, &task->link);
}

void peri_task_pool_close(struct peri_vm *vm)
{
    for (uint32_t i = 0; i < vm->task_count; i++) {
        peri_assert(!vm->tasks[i]->is_live);
        free(vm->tasks[i]);
    }
    free(vm->tasks);
    vm->tasks = NULL;
    vm->task_count = vm->task_capacity = 0;
    peri_list_init(&vm->free_tasks);
}
