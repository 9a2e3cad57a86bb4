// SPDX-License-Identifier: MIT
// What scripts leave to be run by the loop: spawned functions and timers. A task belongs to an exchange or to a generation and
// ends with it. The function itself and its results are in Lua (perigee/_core/task.lua), under the same id.
#ifndef PERI_SCRIPT_TASK_H
#define PERI_SCRIPT_TASK_H

#include <stdint.h>

struct peri_task;
struct peri_vm;

/// Drops the run under way, wakes those who wait for the task, and gives it back. Only from the event loop.
void peri_task_free(struct peri_task *task);

/// The live task with this id; NULL when there is none.
struct peri_task *peri_task_find(struct peri_vm *vm, int32_t id);

/// Frees the pool of a VM that is about to be closed; no task is live.
void peri_task_pool_close(struct peri_vm *vm);

#endif
