// SPDX-License-Identifier: MIT
// Signals as calls from the loop. A signal that several objects opened reaches all of them.
#ifndef PERI_EVENT_SIGNAL_H
#define PERI_EVENT_SIGNAL_H

struct peri_loop;
struct peri_signal;

/// Calls on_signal(data, number) from the loop each time the process receives signal `number`. Keeps the loop running.
/// NULL when out of memory or when the signal cannot be caught. Owned by the caller (peri_signal_close).
struct peri_signal *peri_signal_open(struct peri_loop *loop, int number, void (*on_signal)(void *data, int number),
                                     void *data);

/// Ends the calls and frees the object on the loop's next turn; NULL is fine. When it was the signal's last object, the
/// process ignores the signal from then on (but for SIGCHLD): its default action would end one that ends by itself.
void peri_signal_close(struct peri_signal *signal);

#endif
