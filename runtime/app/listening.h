// SPDX-License-Identifier: MIT
// Listening sockets, opened by the supervisor and inherited by the workers, so that no connection is lost while a worker is
// replaced: TCP addresses have one SO_REUSEPORT socket for each worker, a unix socket is one for all.
#ifndef PERI_APP_LISTENING_H
#define PERI_APP_LISTENING_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

struct peri_listening;

/// Binds `address` (app/address.h) for `workers` processes and listens; the sockets are non-blocking and close-on-exec. A
/// unix socket's file is replaced only when nobody answers on it; `mode` is its permissions (0 for what the umask gives).
/// PERI_ERR_SYSTEM with one sentence in `message` (cut at `size` bytes) that says what to do; PERI_ERR_NOMEM.
peri_err_t peri_listening_open(struct peri_slice address, uint32_t workers, unsigned mode,
                               struct peri_listening **listening, char *message, size_t size);

/// The socket of worker number `worker`, borrowed.
int peri_listening_fd(const struct peri_listening *listening, uint32_t worker);

/// The address as it was given; borrowed.
struct peri_slice peri_listening_address(const struct peri_listening *listening);

/// The address as it is: with the port that the system chose for port 0; borrowed.
const char *peri_listening_real(const struct peri_listening *listening);

/// Closes this process's sockets and removes the file of a unix socket if it is still its own. NULL is fine.
void peri_listening_close(struct peri_listening *listening);

#endif
