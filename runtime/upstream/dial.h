// SPDX-License-Identifier: MIT
// A connection to one address that is not a request's: its stream is given to whoever asked for it, and it is never kept for
// another use. Connects as attempts do (names, unix sockets, the test kit's memory) and counts among the upstream's connections.
#ifndef PERI_UPSTREAM_DIAL_H
#define PERI_UPSTREAM_DIAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct peri_dial;
struct peri_pool;
struct peri_stream;

/// Connects to the address of `pool` (borrowed until the end) within `connect_ms` (0: no limit). on_done(data, PERI_OK, stream) from
/// the loop: the stream, which does not read, is the caller's until its on_close, in which it calls peri_dial_end. With an error
/// (PERI_ERR_CONNECT, PERI_ERR_CONNECT_TIMEOUT, PERI_ERR_RESOLVE; PERI_ERR_OVERLOADED when the lack is ours) the dial is gone. NULL when out of memory.
struct peri_dial *peri_dial_start(struct peri_pool *pool, uint64_t connect_ms,
                                  void (*on_done)(void *data, peri_err_t err, struct peri_stream *stream), void *data);

/// Was on_done called?
bool peri_dial_is_done(const struct peri_dial *dial);

/// Ends a dial before on_done, which is not called.
void peri_dial_cancel(struct peri_dial *dial);

/// From the on_close of the stream: the connection is over.
void peri_dial_end(struct peri_dial *dial);

#endif
