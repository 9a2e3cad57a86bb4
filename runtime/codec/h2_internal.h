// SPDX-License-Identifier: MIT
// What the files of HTTP/2 share. Nobody outside codec/ includes this.
#ifndef PERI_CODEC_H2_INTERNAL_H
#define PERI_CODEC_H2_INTERNAL_H

#include <nghttp2/nghttp2.h>

#include "codec/h2.h"

#define PERI_H2_HEAD 13    ///< bytes of a frame that are looked at before nghttp2 sees it
#define PERI_H2_RECENT 256 ///< ids of streams that are remembered after their end

/// Accounting of what a peer may do too often (security.md 7.2): a violation ends the connection.
struct peri_h2_guard {
    uint64_t opened;         ///< streams the peer opened
    uint64_t premature;      ///< of these: reset by either side before they were a second old
    uint64_t priorities;     ///< PRIORITY frames
    uint64_t windows;        ///< WINDOW_UPDATE frames
    uint64_t data_sent;      ///< DATA frames that we sent
    uint64_t refilled_ms;    ///< when `tokens` was last filled up
    uint32_t tokens;         ///< control frames that are still fine
    uint32_t empty_in_a_row; ///< frames with neither payload nor END_STREAM
};

struct peri_h2 {
    nghttp2_session *session;
    const struct peri_h2_events *events;
    void *data;
    enum peri_h2_role role;
    struct peri_h2_limits limits;
    struct peri_list streams;
    struct peri_list waking; ///< streams that have something to deliver
    uint32_t count;
    uint64_t now_ms;
    struct peri_h2_guard guard;
    int32_t last_id;                    ///< highest stream that the peer opened
    int32_t closed_ids[PERI_H2_RECENT]; ///< ring: streams that ended in order or by the peer
    int32_t reset_ids[PERI_H2_RECENT];  ///< ring: streams that we reset; frames may still be on their way
    uint32_t closed_next, reset_next;
    int32_t goaway_last;        ///< client: last stream that the peer will look at
    bool is_going;              ///< GOAWAY was received
    bool is_draining;           ///< GOAWAY was sent
    peri_err_t err;             ///< why the connection must end; nghttp2 is not asked any more then
    uint32_t error_code;        ///< what the peer is told about that (RFC 9113 7)
    uint8_t head[PERI_H2_HEAD]; ///< of the frame being read
    uint8_t head_len;           ///< bytes of it that came
    uint32_t payload_left;      ///< bytes of the frame that are still to come
    bool has_said_why;          ///< the last GOAWAY was pulled
    uint8_t goaway[17];
};

/// May the frame with this head (RFC 9113 4.1; for WINDOW_UPDATE with its increment) and payload come? PERI_OK, or why the connection ends; the error code for the peer is
/// then in h2->error_code.
peri_err_t peri_h2_guard_frame(struct peri_h2 *h2, const uint8_t head[PERI_H2_HEAD], uint32_t length);

/// A stream was reset; does the peer do that too often?
peri_err_t peri_h2_guard_reset(struct peri_h2 *h2, const struct peri_h2_stream *stream);

/// The peer opened a stream above the limit; does it do that too often?
peri_err_t peri_h2_guard_refused(struct peri_h2 *h2);

/// A field of `cost` bytes came above the limits of its block, which is decoded to its end all the same, as the table must stay right:
/// is it worth more of that?
peri_err_t peri_h2_guard_excess(struct peri_h2_stream *stream, size_t cost);

/// Remembers how a stream ended.
void peri_h2_guard_closed(struct peri_h2 *h2, int32_t id, bool by_us);

/// A stream of the session, in its list; id 0 before it has one. NULL when out of memory.
struct peri_h2_stream *peri_h2_stream_new(struct peri_h2 *h2, int32_t id);

/// Takes the stream out of its session and frees it.
void peri_h2_stream_free(struct peri_h2_stream *stream);

/// Something is to be delivered to the stream's owner by peri_h2_deliver.
void peri_h2_wake(struct peri_h2_stream *stream);

/// Resets the stream with an error code (RFC 9113 7); its close tells the owner.
void peri_h2_rst(struct peri_h2_stream *stream, uint32_t code);

/// Tells the owner of the session that there are bytes to pull.
void peri_h2_want_output(struct peri_h2 *h2);

/// Takes one field of the block being read. PERI_OK also for fields that make the message bad: stream->block.err says so.
peri_err_t peri_h2_take_field(struct peri_h2_stream *stream, struct peri_slice name, struct peri_slice value);

/// The block is complete: checks the request head. PERI_ERR_* for a head that must not be passed on.
peri_err_t peri_h2_complete_request(struct peri_h2_stream *stream, bool ends);

/// The same for a final response.
peri_err_t peri_h2_complete_response(struct peri_h2_stream *stream, bool ends);

/// Fields of a message as nghttp2 wants them; malloc'ed, NULL when out of memory. Names and values are borrowed.
nghttp2_nv *peri_h2_request_fields(const struct peri_request *req, char length[24], size_t *count);
nghttp2_nv *peri_h2_response_fields(const struct peri_response *res, bool is_tunnel, char status[4], char length[24],
                                    size_t *count);
nghttp2_nv *peri_h2_interim_fields(const struct peri_headers *headers, int status, char text[4], size_t *count);

/// The same for trailers, with copies of names and values in the same block.
nghttp2_nv *peri_h2_trailer_fields(const struct peri_headers *headers, size_t *count);

#endif
