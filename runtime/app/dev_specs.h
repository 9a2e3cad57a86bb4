// SPDX-License-Identifier: MIT
// The specs of a project, those that reload.test runs, in a child (`perigee test`) whenever the configuration, a policy or a spec
// is saved. The result is a line; what failed follows it. One run at a time: a newer one ends the one under way.
//
//   save --quiet for a moment--> child with its output in memory --end, or too slow--> the result
#ifndef PERI_APP_DEV_SPECS_H
#define PERI_APP_DEV_SPECS_H

struct peri_children;
struct peri_dev_specs;
struct peri_loop;

/// Watches the folders below `directory` (copied), as `perigee test --watch` does, and runs the specs for the first time. Borrows loop and children.
/// NULL when out of memory.
struct peri_dev_specs *peri_dev_specs_new(struct peri_loop *loop, struct peri_children *children,
                                          const char *directory);

/// Something else that specs depend on has changed: they are run again soon.
void peri_dev_specs_run_soon(struct peri_dev_specs *specs);

/// Ends a run under way without a word. Its child is reaped by `children`, which ends later. NULL is fine.
void peri_dev_specs_free(struct peri_dev_specs *specs);

/// The child: runs the specs of `directory` with its output on the descriptor PERI_CONTROL_CHILD_FD. Returns the exit status.
int peri_dev_specs_child(const char *directory);

#endif
