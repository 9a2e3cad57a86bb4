// SPDX-License-Identifier: MIT
// HTTP/1.x on the wire: bytes to message heads and body runs, and heads to bytes (RFC 9112). Parsing is llhttp's in strict
// mode; what may be said in two ways is refused here (request smuggling, security.md row 8). Framing and hop-by-hop fields
// never leave this file: above it a message has a length and end-to-end fields. Fuzzed (spec/fuzz/h1_fuzz.c).
#ifndef PERI_CODEC_H1_H
#define PERI_CODEC_H1_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/message.h"

struct peri_h1;

enum peri_h1_role { PERI_H1_SERVER, PERI_H1_CLIENT };

struct peri_h1_limits {
    uint32_t header_bytes;  ///< a whole head (or trailers), bytes
    uint32_t headers;       ///< fields of one head
    uint32_t uri_bytes;     ///< request target, bytes
    bool allow_underscores; ///< accept '_' in field names
};

/// What the parser tells its owner, all from inside peri_h1_feed or peri_h1_finish.
struct peri_h1_events {
    /// A message begins: the owner gives its memory with peri_h1_set_request / peri_h1_set_response. False refuses (NOMEM).
    bool (*on_begin)(struct peri_h1 *h1);
    /// The head is complete and unambiguous. Framing is in content_length.
    peri_err_t (*on_head)(struct peri_h1 *h1);
    /// Body bytes, borrowed for the call.
    peri_err_t (*on_body)(struct peri_h1 *h1, struct peri_slice data);
    /// The message is complete with its trailers. Feeding stops here until it is called again.
    void (*on_end)(struct peri_h1 *h1);
};

/// Where the reader is in the lines of a head or of trailers.
struct peri_h1_lines {
    uint32_t total;    ///< bytes of all lines seen so far
    uint32_t len;      ///< bytes of the present line seen so far
    bool is_on;        ///< lines are being read
    bool has_cr;       ///< the last byte seen was CR
    bool may_be_empty; ///< nothing but empty lines so far
    bool is_first;     ///< the present line is the request or status line
};

/// Parser state, embedded in its connection. Only codec/h1.c looks inside.
struct peri_h1 {
    uint64_t parser[16]; ///< llhttp_t
    const struct peri_h1_events *events;
    void *data;                          ///< the owner's
    const struct peri_h1_limits *limits; ///< borrowed; outlives the parser
    enum peri_h1_role role;
    peri_err_t err;               ///< why the parser stopped
    struct peri_request *req;     ///< server: the message being read
    struct peri_response *res;    ///< client: the message being read
    struct peri_headers *headers; ///< where fields go: head, then trailers
    struct peri_h1_lines lines;
    char *text;               ///< the lines so far, in the arena; NULL before the first of them
    uint32_t text_len;        ///< bytes of it
    uint32_t text_size;       ///< room in it
    struct peri_slice name;   ///< of the field being read
    struct peri_slice value;  ///< of the field being read; ptr NULL before it came
    uint32_t extension_bytes; ///< bytes of chunk extensions seen
    uint32_t repeated;        ///< bit per known id of which the head, or the trailers, have two fields
    bool has_head;            ///< the head was read
    bool is_head_request;     ///< client: the response has no body whatever it says
    bool is_complete;         ///< a whole message was read; the next feed begins another
    bool is_tunnel;           ///< client: 101 was read, what follows is not HTTP
    bool keep_alive;          ///< after on_head: the connection may be used again (RFC 9112 9.3)
};

/// Prepares a parser.
void peri_h1_init(struct peri_h1 *h1, enum peri_h1_role role, const struct peri_h1_limits *limits,
                  const struct peri_h1_events *events, void *data);

/// From on_begin: where the request goes. Its header lists already have their arena.
void peri_h1_set_request(struct peri_h1 *h1, struct peri_request *req);

/// From on_begin: where the response goes, and whether it answers HEAD.
void peri_h1_set_response(struct peri_h1 *h1, struct peri_response *res, bool is_head_request);

/// The response that is being read, or was, is kept at `res` from now on, where what was read of it stands already.
void peri_h1_move_response(struct peri_h1 *h1, struct peri_response *res);

/// Reads `data`; *consumed says how far: less than all after a complete message, a tunnel's begin, or an error. Errors are final:
/// PERI_ERR_BAD_REQUEST, _SMUGGLING, _HEADERS_TOO_LARGE, _URI_TOO_LONG, _METHOD, _VERSION, _BAD_HOST, _NOMEM, or whatever an
/// event returned.
peri_err_t peri_h1_feed(struct peri_h1 *h1, struct peri_slice data, size_t *consumed);

/// The peer ended its direction: completes a message that ends with the connection (on_end is called). PERI_ERR_BAD_REQUEST
/// when a message is incomplete.
peri_err_t peri_h1_finish(struct peri_h1 *h1);

/// Is a message under way (begun, not complete)?
bool peri_h1_is_busy(const struct peri_h1 *h1);

/// Body bytes still to come by Content-Length; 0 when complete, -1 when unknown.
int64_t peri_h1_remaining(const struct peri_h1 *h1);

enum peri_h1_framing {
    PERI_H1_NO_BODY, ///< nothing follows the head
    PERI_H1_LENGTH,  ///< Content-Length
    PERI_H1_CHUNKED, ///< Transfer-Encoding: chunked
    PERI_H1_CLOSE,   ///< the end of the connection ends the body
    PERI_H1_TUNNEL,  ///< 101: raw bytes follow
};

/// How a head is to be framed and what it says about the connection.
struct peri_h1_head {
    enum peri_h1_framing framing;
    int64_t length;      ///< for PERI_H1_LENGTH, and shown for HEAD when >= 0
    bool close;          ///< say Connection: close
    bool say_keep_alive; ///< say Connection: keep-alive (to HTTP/1.0)
};

/// Bytes that peri_h1_write_request will fill at most.
size_t peri_h1_request_size(const struct peri_request *req);

/// Writes a request head at `out`; returns the end. A Host field is made from req->authority, first.
char *peri_h1_write_request(char *out, const struct peri_request *req, const struct peri_h1_head *head);

/// Bytes that peri_h1_write_response will fill at most.
size_t peri_h1_response_size(const struct peri_response *res);

/// Writes a response head at `out`; returns the end.
char *peri_h1_write_response(char *out, const struct peri_response *res, const struct peri_h1_head *head);

/// Bytes that an interim response takes at most, and the writing of it.
size_t peri_h1_interim_size(const struct peri_headers *headers);
char *peri_h1_write_interim(char *out, int status, const struct peri_headers *headers);

#define PERI_H1_CHUNK_HEAD 20 ///< bytes that a chunk's size line takes at most

/// Writes the size line of a chunk of `len` bytes (which are followed by CRLF); returns the end.
char *peri_h1_write_chunk(char *out, size_t len);

/// Bytes of the last chunk with trailers, and the writing of it.
size_t peri_h1_last_size(const struct peri_headers *trailers);
char *peri_h1_write_last(char *out, const struct peri_headers *trailers);

/// Version of llhttp as compiled in.
const char *peri_h1_version(void);

#endif
