// SPDX-License-Identifier: MIT
// What the files of script/ ask of the VM.
#ifndef PERI_SCRIPT_VM_INTERNAL_H
#define PERI_SCRIPT_VM_INTERNAL_H

struct lua_State;
struct peri_vm;

/// The process's VM: there is one at a time. Asserts that there is one.
struct peri_vm *peri_vm_current(void);

/// Pushes onto `L` the value at place `index` (PERI_ANCHOR_*) of the anchor.
void peri_vm_push(struct peri_vm *vm, struct lua_State *L, int index);

#endif
