// SPDX-License-Identifier: MIT
// Tells when a descriptor that the loop does not own has something to read, or its peer is gone.
#ifndef PERI_EVENT_POLL_H
#define PERI_EVENT_POLL_H

struct peri_loop;
struct peri_poll;

/// Calls on_readable(data) from the loop while `fd` (borrowed; a socket or a pipe) can be read without blocking, which
/// includes the end of the stream and errors. Keeps the loop running. NULL when out of memory or the descriptor cannot be
/// polled. Owned by the caller (peri_poll_close).
struct peri_poll *peri_poll_open(struct peri_loop *loop, int fd, void (*on_readable)(void *data), void *data);

/// Ends the calls, so that `fd` may be closed, and frees the object on the loop's next turn; NULL is fine.
void peri_poll_close(struct peri_poll *poll);

#endif
