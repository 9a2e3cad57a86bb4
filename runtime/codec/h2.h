// SPDX-License-Identifier: MIT
// HTTP/2 (RFC 9113) on nghttp2, for both sides: bytes to messages on streams, messages to bytes. Frames, HPACK, flow control and the
// accounting against floods stay in here; above it a message has a head, a body and trailers, as in HTTP/1. Bodies pass through
// bounded queues: what is sent waits in the stream's queue until the peer's windows allow it, and what arrives is credited to
// the peer only when its owner took it, stream by stream, so that one slow reader never stops the others. Bytes come
// by peri_h2_feed and go by peri_h2_pull.
//
//   feed -> on_begin, on_head, on_body …, on_end | on_reset        send_head, send_body …, send_end | reset -> on_output -> pull
#ifndef PERI_CODEC_H2_H
#define PERI_CODEC_H2_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "codec/message.h"

struct peri_h2;
struct peri_h2_stream;
struct peri_stream;

#define PERI_H2_PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" ///< first bytes of a client (RFC 9113 3.4)

enum peri_h2_role { PERI_H2_SERVER, PERI_H2_CLIENT };

struct peri_h2_limits {
    uint32_t header_bytes;  ///< of one head or trailers: names, values and 32 for each field (RFC 9113 6.5.2)
    uint32_t headers;       ///< fields of one head or trailers; crumbs of cookies count
    uint32_t streams;       ///< open at once, as the peer may open them
    bool allow_underscores; ///< accept '_' in field names
};

/// What the codec tells its owner, from inside peri_h2_feed, peri_h2_pull and peri_h2_deliver only, and never from inside another call.
struct peri_h2_events {
    /// Server: a request begins. The owner sets stream->data and gives memory with peri_h2_stream_set_request. False refuses the
    /// stream (it may be tried elsewhere).
    bool (*on_begin)(struct peri_h2_stream *stream);
    /// The head is complete: the request (server) or the final response (client). With `ends` nothing follows.
    void (*on_head)(struct peri_h2_stream *stream, bool ends);
    /// Client: an interim response; `headers` borrowed for the call.
    void (*on_interim)(struct peri_h2_stream *stream, int status, const struct peri_headers *headers);
    /// Body bytes, borrowed for the call. Not while the stream is paused.
    void (*on_body)(struct peri_h2_stream *stream, struct peri_slice data);
    /// The message is complete with its trailers.
    void (*on_end)(struct peri_h2_stream *stream);
    /// What was queued by peri_h2_send_body has drained.
    void (*on_drain)(struct peri_h2_stream *stream);
    /// The stream broke before both messages were complete; it is gone after this call. PERI_ERR_CLOSED: the peer reset it. PERI_ERR_AGAIN: the
    /// peer did not look at it (REFUSED_STREAM, or above the last stream of a GOAWAY). PERI_ERR_HEADERS_TOO_LARGE,
    /// PERI_ERR_BAD_REQUEST: what came cannot be read.
    void (*on_reset)(struct peri_h2_stream *stream, peri_err_t err);
    /// The peer said its settings. NULL: not of interest.
    void (*on_settings)(struct peri_h2 *h2);
    /// There are bytes to pull.
    void (*on_output)(struct peri_h2 *h2);
};

/// A block of fields that is being read.
struct peri_h2_block {
    struct peri_headers *headers; ///< where fields go; NULL: dropped
    struct peri_slice cookie;     ///< crumbs, joined (RFC 9113 8.2.3)
    size_t cookie_room;           ///< bytes that `cookie` may grow to in place
    struct peri_slice protocol;   ///< :protocol of an extended CONNECT (RFC 8441)
    uint32_t bytes;
    uint32_t count;
    uint64_t excess; ///< bytes above the limit
    int status;      ///< client
    peri_err_t err;  ///< why it is not acceptable
};

/// What a stream has to send.
struct peri_h2_outgoing {
    struct peri_buf body;
    void *trailers; ///< behind the body: nghttp2_nv with their texts, owned
    size_t trailer_count;
    bool is_deferred; ///< nghttp2 waits for more body
    bool is_full;     ///< on_drain is owed once the queue is low
    bool is_drained;  ///< on_drain is to be told
    bool is_done;     ///< the owner gave the last byte
    bool is_sent;     ///< END_STREAM was sent
};

/// One stream; the codec's, its members are read by the owner, who may use it until peri_h2_release, peri_h2_reset or on_reset.
struct peri_h2_stream {
    struct peri_list link; ///< in h2->streams
    struct peri_list wake; ///< in h2->waking while something is to be delivered
    struct peri_h2 *h2;
    void *data; ///< the owner's; NULL: no event is told any more
    int32_t id;
    struct peri_request *req;  ///< server: being read
    struct peri_response *res; ///< client: being read
    struct peri_h2_block block;
    struct peri_h2_outgoing out;
    struct peri_buf in;   ///< body that came while the stream was paused
    uint64_t begun_ms;    ///< when it was opened
    int64_t rest;         ///< server: bytes of the body that are still to come; negative when unknown
    bool has_head;        ///< the (final) head was read
    bool is_head_held;    ///< server: it says that there is no body, and waits for the end of the stream to show it
    bool is_paused;       ///< the owner wants no body now
    bool is_in_done;      ///< END_STREAM was received
    bool is_in_told;      ///< on_end was called, or on_head with `ends`
    bool is_tunnel;       ///< CONNECT: bytes both ways
    bool is_head_request; ///< client: the response has no body whatever it says
    bool is_delivering;   ///< inside deliver: not to be freed
    bool is_closed;       ///< nghttp2 knows it no more
};

/// Opens a session. `h2` events carry `data` (peri_h2_data). NULL when out of memory. The settings and, for a client, the preface are
/// to be pulled at once.
struct peri_h2 *peri_h2_new(enum peri_h2_role role, const struct peri_h2_limits *limits,
                            const struct peri_h2_events *events, void *data);

/// Frees the session; every stream is told on_reset (PERI_ERR_CLOSED) first.
void peri_h2_free(struct peri_h2 *h2);

/// The owner's pointer.
void *peri_h2_data(const struct peri_h2 *h2);

/// Reads bytes that came at `now_ms` (monotonic, for rates). An error is final: a GOAWAY is to be pulled, then the connection
/// closed. PERI_ERR_BAD_REQUEST (protocol), PERI_ERR_LIMIT (a flood), PERI_ERR_NOMEM.
peri_err_t peri_h2_feed(struct peri_h2 *h2, struct peri_slice data, uint64_t now_ms);

/// The next bytes to send, borrowed until the next call on the session; len 0 when there are none now.
struct peri_slice peri_h2_pull(struct peri_h2 *h2);

/// Delivers what waited for peri_h2_pause(stream, false), and tells on_drain. To be called from the loop after on_output was told,
/// before peri_h2_pull.
void peri_h2_deliver(struct peri_h2 *h2);

/// Delivers, then moves what there is to pull to `stream` until that is full: to be called from the loop after on_output and after
/// the stream's on_drain.
void peri_h2_flush(struct peri_h2 *h2, struct peri_stream *stream);

/// Is the session over (both sides said so and no stream is left)?
bool peri_h2_is_over(const struct peri_h2 *h2);

/// Open streams.
uint32_t peri_h2_stream_count(const struct peri_h2 *h2);

/// Server: stops accepting streams: GOAWAY with the last one, after a first one that lets requests under way arrive (RFC 9113 6.8).
/// To be called twice, a round trip apart.
void peri_h2_drain(struct peri_h2 *h2, bool is_final);

/// From on_begin: where the request goes. Its header lists already have their arena.
void peri_h2_stream_set_request(struct peri_h2_stream *stream, void *data, struct peri_request *req);

/// Client: may another stream be opened now?
bool peri_h2_can_open(const struct peri_h2 *h2);

/// Client: has the peer said that it takes no more streams?
bool peri_h2_is_going(const struct peri_h2 *h2);

/// Client: may an extended CONNECT be sent (RFC 8441 3)?
bool peri_h2_has_connect_protocol(const struct peri_h2 *h2);

/// Client: opens a stream with the head of `req`; the response goes to `res`. With `ends` there is no body. NULL when out of memory
/// or streams.
struct peri_h2_stream *peri_h2_open(struct peri_h2 *h2, void *data, const struct peri_request *req,
                                    struct peri_response *res, bool ends);

/// Client: the stream is `data`'s from now on, and its response is kept at `res`, where what was read of it stands already.
void peri_h2_stream_move(struct peri_h2_stream *stream, void *data, struct peri_response *res);

/// Server: an interim response.
void peri_h2_send_interim(struct peri_h2_stream *stream, int status, const struct peri_headers *headers);

/// Server: the head of the response. With `ends` there is no body. Out of memory resets the stream, as everywhere: on_reset follows.
void peri_h2_send_head(struct peri_h2_stream *stream, const struct peri_response *res, bool ends);

/// Queues body bytes (copied). False when the queue is above its high mark: stop until on_drain.
bool peri_h2_send_body(struct peri_h2_stream *stream, struct peri_slice data);

/// Ends our message, with trailers (copied; may be NULL).
void peri_h2_send_end(struct peri_h2_stream *stream, const struct peri_headers *trailers);

/// Stops / resumes on_body.
void peri_h2_pause(struct peri_h2_stream *stream, bool paused);

/// Breaks the stream off because of `err` (PERI_OK: it is just not wanted any more); no event follows.
void peri_h2_reset(struct peri_h2_stream *stream, peri_err_t err);

/// The owner is finished with the stream: no event follows; what is queued is still sent. When the response is complete but the
/// request is not, the peer is told not to go on (RFC 9113 8.1).
void peri_h2_release(struct peri_h2_stream *stream);

/// Version of nghttp2 as linked.
const char *peri_h2_version(void);

#endif
