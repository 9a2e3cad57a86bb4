// SPDX-License-Identifier: MIT
// The header block of one message: an ordered list of fields in the memory of an arena. Names are lower case (as in
// HTTP/2); values are kept as received. Names that the runtime itself looks for carry a known id, so that looking one
// up is an integer comparison. Knows no protocol and no I/O.
#ifndef PERI_CODEC_HEADER_H
#define PERI_CODEC_HEADER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/slice.h"

// Add names only when C code asks for them.
#define PERI_HEADER_TABLE(X)                                                                                           \
    X(PERI_H_TE, "te")                                                                                                 \
    X(PERI_H_AGE, "age")                                                                                               \
    X(PERI_H_VIA, "via")                                                                                               \
    X(PERI_H_HOST, "host")                                                                                             \
    X(PERI_H_DATE, "date")                                                                                             \
    X(PERI_H_ACCEPT, "accept")                                                                                         \
    X(PERI_H_COOKIE, "cookie")                                                                                         \
    X(PERI_H_EXPECT, "expect")                                                                                         \
    X(PERI_H_ORIGIN, "origin")                                                                                         \
    X(PERI_H_SERVER, "server")                                                                                         \
    X(PERI_H_TRAILER, "trailer")                                                                                       \
    X(PERI_H_UPGRADE, "upgrade")                                                                                       \
    X(PERI_H_LOCATION, "location")                                                                                     \
    X(PERI_H_CONNECTION, "connection")                                                                                 \
    X(PERI_H_KEEP_ALIVE, "keep-alive")                                                                                 \
    X(PERI_H_SET_COOKIE, "set-cookie")                                                                                 \
    X(PERI_H_USER_AGENT, "user-agent")                                                                                 \
    X(PERI_H_RETRY_AFTER, "retry-after")                                                                               \
    X(PERI_H_CONTENT_TYPE, "content-type")                                                                             \
    X(PERI_H_X_REQUEST_ID, "x-request-id")                                                                             \
    X(PERI_H_AUTHORIZATION, "authorization")                                                                           \
    X(PERI_H_CONTENT_LENGTH, "content-length")                                                                         \
    X(PERI_H_X_FORWARDED_FOR, "x-forwarded-for")                                                                       \
    X(PERI_H_X_FORWARDED_HOST, "x-forwarded-host")                                                                     \
    X(PERI_H_PROXY_CONNECTION, "proxy-connection")                                                                     \
    X(PERI_H_X_FORWARDED_PROTO, "x-forwarded-proto")                                                                   \
    X(PERI_H_TRANSFER_ENCODING, "transfer-encoding")

enum peri_header_id {
    PERI_H_OTHER = 0,
#define X(id, name) id,
    PERI_HEADER_TABLE(X)
#undef X
        PERI_H_COUNT
};

struct peri_header {
    const char *name;  ///< lower case; borrowed from the arena or static
    const char *value; ///< borrowed from the arena or static
    uint32_t name_len;
    uint32_t value_len;
    uint16_t id;  ///< enum peri_header_id
    bool is_line; ///< name and value stand as "name: value\r\n" in memory
};

struct peri_headers {
    struct peri_arena *arena;  ///< borrowed; holds `items` and every copy
    struct peri_header *items; ///< in order of arrival; removed fields are closed up
    uint32_t seen;             ///< bit per known id that was ever put in; a bit that is not set: no such field
    uint16_t count;
    uint16_t capacity;
};

#define PERI_HEADERS_BIT(id) (1u << (id)) ///< of `seen`

/// Fields that frame a message or belong to one connection only (RFC 9110 7.6.1): the codecs read and write them, nobody else.
#define PERI_HEADERS_HOP_BY_HOP                                                                                        \
    (PERI_HEADERS_BIT(PERI_H_CONNECTION) | PERI_HEADERS_BIT(PERI_H_KEEP_ALIVE) |                                       \
     PERI_HEADERS_BIT(PERI_H_PROXY_CONNECTION) | PERI_HEADERS_BIT(PERI_H_TE) | PERI_HEADERS_BIT(PERI_H_TRAILER) |      \
     PERI_HEADERS_BIT(PERI_H_TRANSFER_ENCODING) | PERI_HEADERS_BIT(PERI_H_UPGRADE) |                                   \
     PERI_HEADERS_BIT(PERI_H_CONTENT_LENGTH))

_Static_assert(PERI_H_COUNT <= 32, "a bit of `seen` for each known name");

/// Id of a lower-case name; PERI_H_OTHER when the runtime does not know it.
uint16_t peri_header_id(const char *name, size_t len);

/// Lower-case name of a known id (not PERI_H_OTHER).
struct peri_slice peri_header_name(uint16_t id);

/// Is `name` a token (RFC 9110 5.6.2), not empty?
bool peri_header_is_name(struct peri_slice name);

/// Is `value` free of CR, LF, NUL and other control bytes but tab (RFC 9110 5.5)?
bool peri_header_is_value(struct peri_slice value);

/// Does the name of a field, a query parameter or a cookie say that its value is a secret (authorization, cookie, x-api-key …)? Rather
/// too often than too seldom: for what shows requests to people.
bool peri_header_is_secret(struct peri_slice name);

/// Makes an empty list whose memory comes from `arena`.
void peri_headers_init(struct peri_headers *headers, struct peri_arena *arena);

/// peri_headers_find for an id that was seen.
struct peri_header *peri_headers_find_seen(const struct peri_headers *headers, uint16_t id);

/// First field with this known id, or NULL.
static inline struct peri_header *peri_headers_find(const struct peri_headers *headers, uint16_t id)
{
    return headers->seen & 1u << id ? peri_headers_find_seen(headers, id) : NULL;
}

/// First field with this name in any case, or NULL. `from` is the index to start at; the index found is stored in *at when
/// `at` is not NULL (to go on with *at + 1).
struct peri_header *peri_headers_find_name(const struct peri_headers *headers, struct peri_slice name, unsigned from,
                                           unsigned *at);

/// Value of the first field with this id; ptr is NULL when there is none.
struct peri_slice peri_headers_get(const struct peri_headers *headers, uint16_t id);

/// Value of a request's cookie, without quotes around it, from the first Cookie field that has it (RFC 6265 4.2.1); ptr is NULL when
/// there is none.
struct peri_slice peri_headers_find_cookie(const struct peri_headers *headers, struct peri_slice name);

/// Makes room for more fields. PERI_ERR_NOMEM.
peri_err_t peri_headers_grow(struct peri_headers *headers);

/// One more field of the known `id` (or PERI_H_OTHER) at the end, whose other members the caller sets; NULL when out of memory.
static inline struct peri_header *peri_headers_push(struct peri_headers *headers, uint16_t id)
{
    if (PERI_UNLIKELY(headers->count == headers->capacity) && peri_headers_grow(headers) != PERI_OK)
        return NULL;
    struct peri_header *header = &headers->items[headers->count++];
    header->id = id;
    headers->seen |= PERI_HEADERS_BIT(id);
    return header;
}

/// Appends a field whose bytes the caller already keeps in the arena (or static); `name` is lower case. Copies nothing.
/// PERI_ERR_NOMEM.
peri_err_t peri_headers_append(struct peri_headers *headers, struct peri_slice name, struct peri_slice value);

/// peri_headers_append for a name that the runtime knows.
peri_err_t peri_headers_append_known(struct peri_headers *headers, uint16_t id, struct peri_slice value);

/// Appends a copy, lower-casing the name. PERI_ERR_INVALID for a bad name or value; PERI_ERR_NOMEM.
peri_err_t peri_headers_add(struct peri_headers *headers, struct peri_slice name, struct peri_slice value);

/// Makes `name` occur exactly once with a copy of `value`, at the place of its first occurrence. Errors as add.
peri_err_t peri_headers_set(struct peri_headers *headers, struct peri_slice name, struct peri_slice value);

/// Removes every field of this name in any case; returns how many.
unsigned peri_headers_remove(struct peri_headers *headers, struct peri_slice name);

/// Removes the field at `index`, keeping the order of the others.
void peri_headers_remove_at(struct peri_headers *headers, unsigned index);

#endif
