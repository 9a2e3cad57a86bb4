// SPDX-License-Identifier: MIT
// Asks the admin interface of a running Perigee, for the commands of the command line. Blocking and one request long.
#ifndef PERI_APP_ADMIN_CLIENT_H
#define PERI_APP_ADMIN_CLIENT_H

#include <stddef.h>

#include "base/err.h"

struct peri_admin_reply {
    int status;
    char *body; ///< malloc'ed, NUL-terminated
};

/// peri_admin_request with a body of JSON.
peri_err_t peri_admin_post(const char *address, const char *target, const char *body, struct peri_admin_reply *reply,
                           char *message, size_t size);

/// Sends `method` `target` to the admin interface at `address` (app/address.h) and waits for the answer, at most 180 s.
/// PERI_OK, or an error with one sentence in `message` (cut at `size` bytes) that says what to do.
peri_err_t peri_admin_request(const char *address, const char *method, const char *target,
                              struct peri_admin_reply *reply, char *message, size_t size);

/// Sends the request and reads the head of its answer. Returns the socket, from which the body is read up to its end (the caller
/// closes it), and the answer's status; -1 with a sentence in `message`. Reading waits at most 60 s at a time.
int peri_admin_stream(const char *address, const char *method, const char *target, int *status, char *message,
                      size_t size);

#endif
