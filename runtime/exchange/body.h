// SPDX-License-Identifier: MIT
// One direction of an exchange's body: a bounded queue of bytes between a producer (a codec) and a consumer (the other
// side's codec, or a policy that reads the whole). The producer asks peri_body_is_full after each put and stops its source;
// the consumer takes bytes, and the owner resumes the source once peri_body_is_low. No I/O here.
#ifndef PERI_EXCHANGE_BODY_H
#define PERI_EXCHANGE_BODY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

#define PERI_BODY_HIGH (64 * 1024) ///< bytes queued at which the source is stopped
#define PERI_BODY_LOW (16 * 1024)  ///< bytes queued at which it is resumed

struct peri_body {
    struct peri_buf queue; ///< bytes not yet consumed
    uint64_t total;        ///< bytes ever put
    size_t high;           ///< PERI_BODY_HIGH, or the limit of a reader that wants the whole
    bool is_ended;         ///< the producer put the last byte; trailers are known
    bool is_paused;        ///< the source was told to stop
};

/// Makes an empty body.
void peri_body_init(struct peri_body *body);

/// Frees what is queued; the body is empty again.
void peri_body_close(struct peri_body *body);

/// Appends a copy of `data`. PERI_ERR_NOMEM. Never refuses for being full: the bound is the producer's stop, one read more
/// at the most.
peri_err_t peri_body_put(struct peri_body *body, struct peri_slice data);

/// The first queued run of bytes, borrowed until the next put/take/close; len 0 when empty.
struct peri_slice peri_body_peek(const struct peri_body *body);

/// Drops the first `len` queued bytes (at most what is queued).
void peri_body_take(struct peri_body *body, size_t len);

/// Copies all queued bytes to `out` (room for what is queued) without taking them.
void peri_body_copy(const struct peri_body *body, char *out);

/// Replaces everything queued by a copy of `data` and marks the end. PERI_ERR_NOMEM.
peri_err_t peri_body_set(struct peri_body *body, struct peri_slice data);

/// Should the source stop?
static inline bool peri_body_is_full(const struct peri_body *body)
{
    return body->queue.len >= body->high;
}

/// May a stopped source go on?
static inline bool peri_body_is_low(const struct peri_body *body)
{
    return body->queue.len <= PERI_BODY_LOW;
}

#endif
