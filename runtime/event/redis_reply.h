// SPDX-License-Identifier: MIT
// The Redis protocol (RESP 2) over hiredis: commands as bytes, bytes as replies. A reply is a flat list of values: an array comes
// first and is followed by what it holds. Everything that the server sends is bounded. Knows no connection.
#ifndef PERI_EVENT_REDIS_REPLY_H
#define PERI_EVENT_REDIS_REPLY_H

#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

#define PERI_REDIS_ARGS 1024                 ///< most arguments of a command, its name included
#define PERI_REDIS_REPLY_BYTES (1024 * 1024) ///< most bytes of one reply
#define PERI_REDIS_REPLY_VALUES 16384        ///< most values of one reply, arrays included

struct peri_redis_reader;

enum peri_redis_type {
    PERI_REDIS_NIL,
    PERI_REDIS_STRING, ///< bulk or status
    PERI_REDIS_INTEGER,
    PERI_REDIS_ERROR,
    PERI_REDIS_ARRAY,
};

struct peri_redis_value {
    enum peri_redis_type type;
    uint32_t count;  ///< array: values directly in it, which follow
    int64_t integer; ///< integer
    uint32_t at;     ///< string, error: place of its bytes in the reply's text
    uint32_t len;
};

struct peri_redis_reply {
    const struct peri_redis_value *values;
    uint32_t count;   ///< at least 1
    const char *text; ///< bytes of all strings; NULL when there are none
};

/// A reader at the beginning of a connection. NULL when out of memory.
struct peri_redis_reader *peri_redis_reader_new(void);

/// Frees the reader (NULL: no-op).
void peri_redis_reader_free(struct peri_redis_reader *reader);

/// Gives the reader bytes (copied). PERI_ERR_NOMEM; PERI_ERR_RESPONSE_TOO_LARGE when more than a reply may have is waiting.
peri_err_t peri_redis_reader_feed(struct peri_redis_reader *reader, struct peri_slice data);

/// The next complete reply, borrowed until the next call on the reader. PERI_ERR_AGAIN: more bytes are needed;
/// PERI_ERR_UPSTREAM_PROTOCOL, PERI_ERR_RESPONSE_TOO_LARGE, PERI_ERR_NOMEM: the connection cannot go on.
peri_err_t peri_redis_reader_next(struct peri_redis_reader *reader, const struct peri_redis_reply **reply);

/// The bytes of a string or an error.
struct peri_slice peri_redis_text(const struct peri_redis_reply *reply, const struct peri_redis_value *value);

/// A command (name and arguments; 1 to PERI_REDIS_ARGS) as it is sent, malloc'ed, in `*bytes`. PERI_ERR_NOMEM.
peri_err_t peri_redis_format(const struct peri_slice *args, uint32_t count, struct peri_slice *bytes);

/// Version of hiredis as compiled.
const char *peri_redis_version(void);

#endif
