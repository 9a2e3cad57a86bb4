// SPDX-License-Identifier: MIT
// A queue of bytes in a chain of chunks: appended at the end, taken from the front, never moved. Bytes that were peeked
// stay where they are until they are taken, also while more is appended.
#ifndef PERI_BASE_BUF_H
#define PERI_BASE_BUF_H

#include "base/err.h"
#include "base/slice.h"

struct peri_buf_chunk;

struct peri_buf {
    struct peri_buf_chunk *first; ///< owned chain
    struct peri_buf_chunk *last;
    size_t len; ///< bytes in the chain
};

/// Makes an empty queue.
void peri_buf_init(struct peri_buf *buf);

/// Frees everything; the queue is empty again.
void peri_buf_close(struct peri_buf *buf);

/// Appends a copy of `data`. PERI_ERR_NOMEM.
peri_err_t peri_buf_put(struct peri_buf *buf, struct peri_slice data);

/// The first run of bytes, borrowed until it is taken; len 0 when empty.
struct peri_slice peri_buf_peek(const struct peri_buf *buf);

/// Fills `runs` with the first runs of bytes, at most `max`; returns how many. Borrowed until they are taken.
unsigned peri_buf_peek_many(const struct peri_buf *buf, struct peri_slice *runs, unsigned max);

/// The run of bytes that begins `at` bytes behind the first one, borrowed until it is taken; len 0 at the end.
struct peri_slice peri_buf_peek_at(const struct peri_buf *buf, size_t at);

/// Drops the first `len` bytes (len <= buf->len).
void peri_buf_take(struct peri_buf *buf, size_t len);

/// Copies all bytes to `out` (room for buf->len) without taking them.
void peri_buf_copy(const struct peri_buf *buf, char *out);

#endif
