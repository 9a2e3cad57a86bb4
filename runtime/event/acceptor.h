// SPDX-License-Identifier: MIT
// A listening socket that hands out streams. When the system has no descriptor for another one it rests for a while instead of
// being told of the same connection for ever.
#ifndef PERI_EVENT_ACCEPTOR_H
#define PERI_EVENT_ACCEPTOR_H

#include <stdbool.h>

struct peri_acceptor;
struct peri_loop;
struct peri_stream;

/// Listens on the bound socket `fd` (taken). Each connection is given to on_accept, without an owner yet, which may pause or close
/// the acceptor. NULL on failure (fd closed).
struct peri_acceptor *peri_acceptor_open(struct peri_loop *loop, int fd,
                                         void (*on_accept)(void *data, struct peri_stream *stream), void *data);

/// Pauses / resumes accepting; connections wait in the kernel's queue.
void peri_acceptor_pause(struct peri_acceptor *acceptor, bool paused);

/// Closes the listening socket. The acceptor frees itself.
void peri_acceptor_close(struct peri_acceptor *acceptor);

#endif
