// SPDX-License-Identifier: MIT
// Sessions and streams. A stream lives in nghttp2 from its first HEADERS to its close; ours lives as long, with the owner's pointer
// in `data` until the owner is finished with it.
//
//   begin -> head -> body … -> in done ─┐
//   send_head -> send_body … -> out done ┴-> closed by nghttp2 -> freed
//   reset by either side: on_reset (unless the owner did it) -> freed
#include "codec/h2.h"

#include <stdlib.h>

#include "base/assert.h"
#include "codec/h2_internal.h"
#include "event/stream.h"

#define STREAM_WINDOW (64 * 1024)    // bytes that a peer may send on a stream without our consent (security.md 7.2)
#define SESSION_WINDOW (1024 * 1024) // and on all streams together
#define CLIENT_STREAM_WINDOW (256 * 1024)
#define CLIENT_SESSION_WINDOW (4 * 1024 * 1024)
#define FRAME_HEAD 9
#define UPLOAD_REST (64 * 1024) // bytes of an unwanted request that are read and dropped
#define GATHER_SIZE (64 * 1024)
#define ACKS_MAX 1000 // answers to PING and SETTINGS that may wait

static struct peri_h2 *session_of(void *data)
{
    return data;
}

static void end_because(struct peri_h2 *h2, peri_err_t err)
{
    if (h2->err == PERI_OK)
        h2->err = err;
}

// ---- streams ----

struct peri_h2_stream *peri_h2_stream_new(struct peri_h2 *h2, int32_t id)
{
    struct peri_h2_stream *stream = calloc(1, sizeof(*stream));
    if (!stream)
        return NULL;
    stream->h2 = h2;
    stream->id = id;
    stream->begun_ms = h2->now_ms;
    peri_list_init(&stream->wake);
    peri_buf_init(&stream->out.body);
    peri_buf_init(&stream->in);
    peri_list_append(&h2->streams, &stream->link);
    h2->count++;
    return stream;
}

void peri_h2_stream_free(struct peri_h2_stream *stream)
{
    peri_list_remove(&stream->link);
    peri_list_remove(&stream->wake);
    peri_buf_close(&stream->out.body);
    peri_buf_close(&stream->in);
    free(stream->out.trailers);
    stream->h2->count--;
    free(stream);
}

// The owner is finished, or told that it is: the stream goes with nghttp2's.
static void stream_let_go(struct peri_h2_stream *stream)
{
    stream->data = NULL;
    stream->req = NULL;
    stream->res = NULL;
    stream->block.headers = NULL;
    peri_list_remove(&stream->wake);
    peri_buf_close(&stream->in);
    if (stream->is_closed)
        peri_h2_stream_free(stream);
}

static void tell_reset(struct peri_h2_stream *stream, peri_err_t err)
{
    if (!stream->data)
        return;
    stream->h2->events->on_reset(stream, err);
    stream->data = NULL;
}

void peri_h2_wake(struct peri_h2_stream *stream)
{
    if (peri_list_is_empty(&stream->wake))
        peri_list_append(&stream->h2->waking, &stream->wake);
    stream->h2->events->on_output(stream->h2);
}

static struct peri_h2_stream *find_stream(struct peri_h2 *h2, int32_t id)
{
    return nghttp2_session_get_stream_user_data(h2->session, id);
}

void peri_h2_rst(struct peri_h2_stream *stream, uint32_t code)
{
    nghttp2_submit_rst_stream(stream->h2->session, NGHTTP2_FLAG_NONE, stream->id, code);
    stream->h2->events->on_output(stream->h2);
}

void peri_h2_want_output(struct peri_h2 *h2)
{
    h2->events->on_output(h2);
}

// ---- reading ----

static int begin_request(struct peri_h2 *h2, int32_t id)
{
    struct peri_h2_stream *stream = peri_h2_stream_new(h2, id);
    if (!stream) {
        end_because(h2, PERI_ERR_NOMEM);
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    h2->last_id = id;
    h2->guard.opened++;
    nghttp2_session_set_stream_user_data(h2->session, id, stream);
    if (!h2->is_draining && h2->events->on_begin(stream))
        return 0;
    stream->data = NULL;
    stream_let_go(stream);
    peri_h2_rst(stream, NGHTTP2_REFUSED_STREAM);
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

// Where the fields of a later block go: trailers, or (client) another interim or the final head.
static void begin_block(struct peri_h2_stream *stream)
{
    stream->block.bytes = stream->block.count = 0;
    stream->block.excess = 0;
    stream->block.cookie = peri_slice(NULL, 0);
    stream->block.status = 0;
    if (!stream->data)
        stream->block.headers = NULL;
    else if (stream->req)
        stream->block.headers = &stream->req->trailers;
    else if (stream->has_head)
        stream->block.headers = &stream->res->trailers;
    else
        stream->block.headers = &stream->res->headers;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *data)
{
    struct peri_h2 *h2 = session_of(data);
    PERI_UNUSED(session);
    if (frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        return begin_request(h2, frame->hd.stream_id);
    struct peri_h2_stream *stream = find_stream(h2, frame->hd.stream_id);
    if (stream)
        begin_block(stream);
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, nghttp2_rcbuf *name, nghttp2_rcbuf *value,
                     uint8_t flags, void *data)
{
    struct peri_h2 *h2 = session_of(data);
    struct peri_h2_stream *stream = find_stream(h2, frame->hd.stream_id);
    nghttp2_vec n = nghttp2_rcbuf_get_buf(name);
    nghttp2_vec v = nghttp2_rcbuf_get_buf(value);
    PERI_UNUSED(session);
    PERI_UNUSED(flags);
    if (!stream)
        return 0;
    peri_err_t err = peri_h2_take_field(stream, peri_slice((char *)n.base, n.len), peri_slice((char *)v.base, v.len));
    if (err == PERI_OK)
        return 0;
    end_because(h2, err);
    return NGHTTP2_ERR_CALLBACK_FAILURE;
}

static void stream_spoil(struct peri_h2_stream *stream, peri_err_t err)
{
    tell_reset(stream, err);
    stream_let_go(stream);
    peri_h2_rst(stream, err == PERI_ERR_HEADERS_TOO_LARGE ? NGHTTP2_ENHANCE_YOUR_CALM : NGHTTP2_PROTOCOL_ERROR);
}

static void tell_end(struct peri_h2_stream *stream)
{
    bool is_held =
        stream->in.len > 0 || (stream->is_tunnel && stream->is_paused); // the end of a tunnel that is not open yet
    if (!stream->data || stream->is_in_told || !stream->is_in_done || is_held)
        return;
    stream->is_in_told = true;
    stream->h2->events->on_end(stream);
}

static void tell_request(struct peri_h2_stream *stream, bool ends)
{
    stream->is_head_held = false;
    stream->is_in_told = ends;
    stream->h2->events->on_head(stream, ends);
}

static void on_request_head(struct peri_h2_stream *stream, bool ends)
{
    stream->has_head = true;
    peri_err_t err = peri_h2_complete_request(stream, ends);
    if (err == PERI_ERR_HEADERS_TOO_LARGE || err == PERI_ERR_NOMEM || err == PERI_ERR_BAD_REQUEST) {
        stream_spoil(stream, err);
        return;
    }
    stream->block.err = err; // to be answered by the owner
    stream->rest = stream->req->content_length;
    // Passed on at once it would be complete for the upstream before a byte of body can belie it.
    stream->is_head_held = stream->rest == 0 && !ends;
    if (!stream->is_head_held)
        tell_request(stream, ends);
}

static void on_interim_head(struct peri_h2_stream *stream)
{
    struct peri_headers *headers = &stream->res->headers;
    stream->h2->events->on_interim(stream, stream->block.status, headers);
    peri_headers_init(headers, headers->arena);
}

static void on_response_head(struct peri_h2_stream *stream, bool ends)
{
    if (stream->block.err == PERI_OK && stream->block.status >= 100 && stream->block.status < 200 && !ends) {
        on_interim_head(stream);
        return;
    }
    stream->has_head = true;
    peri_err_t err = peri_h2_complete_response(stream, ends);
    if (err == PERI_OK && stream->is_tunnel && stream->block.status >= 200 && stream->block.status < 300) {
        stream->res->status = 101;
        stream->res->is_upgrade = true;
        stream->res->upgrade = PERI_SLICE("websocket");
    }
    if (err != PERI_OK) {
        stream_spoil(stream, err);
        return;
    }
    stream->is_in_told = ends;
    stream->h2->events->on_head(stream, ends);
}

static void on_block(struct peri_h2_stream *stream, bool ends)
{
    if (!stream->data)
        return;
    if (stream->has_head) {
        if (stream->block.err != PERI_OK) // of trailers: the message is not what was sent
            stream_spoil(stream, stream->block.err);
    } else if (stream->req) {
        on_request_head(stream, ends);
    } else {
        on_response_head(stream, ends);
    }
}

// A field whose name or value HTTP does not allow: nghttp2 would go on without it, and then we and others read two messages.
static int on_invalid_header(nghttp2_session *session, const nghttp2_frame *frame, nghttp2_rcbuf *name,
                             nghttp2_rcbuf *value, uint8_t flags, void *data)
{
    PERI_UNUSED(session);
    PERI_UNUSED(frame);
    PERI_UNUSED(name);
    PERI_UNUSED(value);
    PERI_UNUSED(flags);
    PERI_UNUSED(data);
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; // resets the stream
}

// HEADERS that nghttp2 itself turns away, above the limit of streams, open no stream here; they count as one that was reset.
static int on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int code, void *data)
{
    struct peri_h2 *h2 = session_of(data);
    PERI_UNUSED(session);
    if (frame->hd.type != NGHTTP2_HEADERS || code != NGHTTP2_ERR_REFUSED_STREAM)
        return 0;
    end_because(h2, peri_h2_guard_refused(h2));
    return h2->err == PERI_OK ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static void on_goaway(struct peri_h2 *h2, int32_t last_id)
{
    h2->is_going = true;
    h2->goaway_last = last_id;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *data)
{
    struct peri_h2 *h2 = session_of(data);
    PERI_UNUSED(session);
    if (frame->hd.type == NGHTTP2_GOAWAY)
        on_goaway(h2, frame->goaway.last_stream_id);
    if (frame->hd.type == NGHTTP2_SETTINGS && !(frame->hd.flags & NGHTTP2_FLAG_ACK) && h2->events->on_settings)
        h2->events->on_settings(h2);
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
        return 0;
    struct peri_h2_stream *stream = find_stream(h2, frame->hd.stream_id);
    bool ends = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    if (!stream)
        return 0;
    stream->is_in_done = stream->is_in_done || ends;
    if (frame->hd.type == NGHTTP2_HEADERS)
        on_block(stream, ends);
    if (stream->is_head_held && stream->data && ends)
        tell_request(stream, true);
    tell_end(stream);
    return 0;
}

static void credit(struct peri_h2_stream *stream, size_t len)
{
    nghttp2_session_consume_stream(stream->h2->session, stream->id, len);
    peri_h2_want_output(stream->h2);
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *bytes, size_t len, void *data)
{
    struct peri_h2 *h2 = session_of(data);
    struct peri_h2_stream *stream = find_stream(h2, id);
    PERI_UNUSED(flags);
    nghttp2_session_consume_connection(session, len);
    peri_h2_want_output(h2);
    if (!stream)
        return 0;
    stream->rest -= stream->rest > 0 ? (int64_t)len : 0;
    if (!stream->data) {
        credit(stream, len); // nobody wants it; the response is still being sent
    } else if (stream->is_paused || stream->in.len > 0) {
        if (peri_buf_put(&stream->in, peri_slice((const char *)bytes, len)) != PERI_OK)
            stream_spoil(stream, PERI_ERR_NOMEM);
    } else {
        h2->events->on_body(stream, peri_slice((const char *)bytes, len));
        credit(stream, len);
    }
    return 0;
}

static peri_err_t reset_reason(struct peri_h2 *h2, const struct peri_h2_stream *stream, uint32_t code)
{
    if (code == NGHTTP2_REFUSED_STREAM || (h2->is_going && stream->id > h2->goaway_last && h2->role == PERI_H2_CLIENT))
        return PERI_ERR_AGAIN;
    return PERI_ERR_CLOSED;
}

// The response is sent, and nobody wants the rest of the request: the client need not go on (RFC 9113 8.1), unless it is about
// to end anyway.
static void stop_upload(struct peri_h2_stream *stream)
{
    bool ends_soon = stream->rest >= 0 && stream->rest <= UPLOAD_REST;
    if (stream->h2->role == PERI_H2_SERVER && !stream->is_closed && !stream->is_in_done && !ends_soon)
        peri_h2_rst(stream, NGHTTP2_NO_ERROR);
}

// What the owner has not taken yet outlives the stream in nghttp2.
static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *data)
{
    struct peri_h2 *h2 = session_of(data);
    struct peri_h2_stream *stream = nghttp2_session_get_stream_user_data(session, id);
    if (!stream)
        return 0;
    bool is_complete = stream->is_in_done && (stream->out.is_sent || h2->role == PERI_H2_CLIENT);
    peri_err_t err = is_complete ? PERI_OK : peri_h2_guard_reset(h2, stream);
    if (err != PERI_OK)
        end_because(h2, err);
    peri_h2_guard_closed(h2, id, false);
    nghttp2_session_set_stream_user_data(session, id, NULL);
    stream->is_closed = true;
    if (!is_complete)
        tell_reset(stream, reset_reason(h2, stream, code));
    if (!stream->data)
        stream_let_go(stream);
    return 0;
}

static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *data)
{
    struct peri_h2 *h2 = session_of(data);
    struct peri_h2_stream *stream = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (frame->hd.type == NGHTTP2_RST_STREAM)
        peri_h2_guard_closed(h2, frame->hd.stream_id, true);
    if (frame->hd.type == NGHTTP2_DATA)
        h2->guard.data_sent++;
    bool can_end = frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS;
    if (!stream || !can_end || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        return 0;
    stream->out.is_sent = true;
    if (!stream->data)
        stop_upload(stream);
    return 0;
}

// ---- sessions ----

static nghttp2_session_callbacks *callbacks_new(void)
{
    nghttp2_session_callbacks *callbacks;
    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        return NULL;
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback2(callbacks, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback2(callbacks, on_invalid_header);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid_frame);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_send);
    return callbacks;
}

static nghttp2_option *option_new(void)
{
    nghttp2_option *option;
    if (nghttp2_option_new(&option) != 0)
        return NULL;
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_no_closed_streams(option, 1);
    nghttp2_option_set_max_outbound_ack(option, ACKS_MAX);
    return option;
}

static bool session_open(struct peri_h2 *h2)
{
    nghttp2_session_callbacks *callbacks = callbacks_new();
    nghttp2_option *option = option_new();
    int err = NGHTTP2_ERR_NOMEM;
    if (callbacks && option)
        err = h2->role == PERI_H2_SERVER ? nghttp2_session_server_new2(&h2->session, callbacks, h2, option)
                                         : nghttp2_session_client_new2(&h2->session, callbacks, h2, option);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_option_del(option);
    return err == 0;
}

static bool session_greet(struct peri_h2 *h2)
{
    bool is_server = h2->role == PERI_H2_SERVER;
    nghttp2_settings_entry server[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, h2->limits.streams},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, h2->limits.header_bytes},
        {NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1},
    };
    nghttp2_settings_entry client[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, CLIENT_STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, h2->limits.header_bytes},
    };
    return nghttp2_submit_settings(h2->session, NGHTTP2_FLAG_NONE, is_server ? server : client,
                                   is_server ? PERI_COUNT(server) : PERI_COUNT(client)) == 0 &&
           nghttp2_session_set_local_window_size(h2->session, NGHTTP2_FLAG_NONE, 0,
                                                 is_server ? SESSION_WINDOW : CLIENT_SESSION_WINDOW) == 0;
}

struct peri_h2 *peri_h2_new(enum peri_h2_role role, const struct peri_h2_limits *limits,
                            const struct peri_h2_events *events, void *data)
{
    struct peri_h2 *h2 = calloc(1, sizeof(*h2));
    if (!h2)
        return NULL;
    *h2 = (struct peri_h2){.events = events, .data = data, .role = role, .limits = *limits};
    peri_list_init(&h2->streams);
    peri_list_init(&h2->waking);
    h2->payload_left = role == PERI_H2_SERVER ? sizeof(PERI_H2_PREFACE) - 1 : 0;
    if (!session_open(h2)) {
        free(h2);
        return NULL;
    }
    if (!session_greet(h2)) {
        nghttp2_session_del(h2->session);
        free(h2);
        return NULL;
    }
    return h2;
}

void peri_h2_free(struct peri_h2 *h2)
{
    if (!h2)
        return;
    while (!peri_list_is_empty(&h2->streams)) {
        struct peri_h2_stream *stream = PERI_LIST_ITEM(h2->streams.next, struct peri_h2_stream, link);
        tell_reset(stream, PERI_ERR_CLOSED);
        peri_h2_stream_free(stream);
    }
    nghttp2_session_del(h2->session); // calls nothing back
    free(h2);
}

void *peri_h2_data(const struct peri_h2 *h2)
{
    return h2->data;
}

static void feed_nghttp2(struct peri_h2 *h2, struct peri_slice data)
{
    ssize_t n = nghttp2_session_mem_recv(h2->session, (const uint8_t *)data.ptr, data.len);
    if (n >= 0 || h2->err != PERI_OK)
        return;
    bool is_flood = n == NGHTTP2_ERR_FLOODED;
    h2->error_code = is_flood ? NGHTTP2_ENHANCE_YOUR_CALM : NGHTTP2_PROTOCOL_ERROR;
    end_because(h2, n == NGHTTP2_ERR_NOMEM ? PERI_ERR_NOMEM : is_flood ? PERI_ERR_LIMIT : PERI_ERR_BAD_REQUEST);
}

static uint32_t payload_length(const struct peri_h2 *h2)
{
    return (uint32_t)h2->head[0] << 16 | (uint32_t)h2->head[1] << 8 | h2->head[2];
}

// Bytes of a frame that the guard wants to see: the increment of a WINDOW_UPDATE too.
static uint8_t head_size(const struct peri_h2 *h2)
{
    bool is_update = h2->head_len >= FRAME_HEAD && h2->head[3] == NGHTTP2_WINDOW_UPDATE && payload_length(h2) == 4;
    return is_update ? PERI_H2_HEAD : FRAME_HEAD;
}

// How many bytes may be read before the head of another frame must be looked at; the preface counts as payload.
static size_t next_part(struct peri_h2 *h2, struct peri_slice data)
{
    size_t part = 0;
    if (h2->payload_left == 0) {
        while (part < data.len && h2->head_len < head_size(h2))
            h2->head[h2->head_len++] = (uint8_t)data.ptr[part++];
        if (h2->head_len < head_size(h2))
            return part;
        h2->payload_left = payload_length(h2) - (h2->head_len - FRAME_HEAD);
        h2->head_len = 0;
        end_because(h2, peri_h2_guard_frame(h2, h2->head, payload_length(h2)));
    }
    size_t rest = data.len - part < h2->payload_left ? data.len - part : h2->payload_left;
    h2->payload_left -= (uint32_t)rest;
    return part + rest;
}

peri_err_t peri_h2_feed(struct peri_h2 *h2, struct peri_slice data, uint64_t now_ms)
{
    h2->now_ms = now_ms;
    while (data.len > 0 && h2->err == PERI_OK) {
        size_t part = next_part(h2, data);
        if (h2->err == PERI_OK)
            feed_nghttp2(h2, peri_slice(data.ptr, part));
        data = peri_slice(data.ptr + part, data.len - part);
    }
    peri_h2_want_output(h2);
    return h2->err;
}

static uint8_t *put_u32(uint8_t *at, uint32_t value)
{
    for (int shift = 24; shift >= 0; shift -= 8)
        *at++ = (uint8_t)(value >> shift);
    return at;
}

// The last frame of a session that nghttp2 cannot go on with (RFC 9113 6.8).
static struct peri_slice pull_why(struct peri_h2 *h2)
{
    static const uint8_t head[] = {0, 0, 8, NGHTTP2_GOAWAY, 0, 0, 0, 0, 0};
    if (h2->has_said_why)
        return peri_slice(NULL, 0);
    h2->has_said_why = true;
    memcpy(h2->goaway, head, sizeof(head));
    put_u32(put_u32(h2->goaway + sizeof(head), (uint32_t)h2->last_id), h2->error_code);
    return peri_slice((const char *)h2->goaway, sizeof(h2->goaway));
}

struct peri_slice peri_h2_pull(struct peri_h2 *h2)
{
    const uint8_t *bytes;
    if (h2->err != PERI_OK)
        return pull_why(h2);
    ssize_t n = nghttp2_session_mem_send(h2->session, &bytes);
    if (n >= 0 && h2->err == PERI_OK)
        return peri_slice((const char *)bytes, (size_t)n);
    h2->error_code = h2->error_code ? h2->error_code : NGHTTP2_INTERNAL_ERROR;
    end_because(h2, PERI_ERR_NOMEM);
    return pull_why(h2);
}

// Gives a stream what waited for it. The owner may pause it again at every call, or let it go, which takes effect behind the last.
static void deliver(struct peri_h2_stream *stream)
{
    const struct peri_h2_events *events = stream->h2->events;
    stream->is_delivering = true;
    if (stream->out.is_drained && stream->data) // what an owner left behind drains too
        events->on_drain(stream);
    stream->out.is_drained = false;
    while (stream->data && !stream->is_paused && stream->in.len > 0) {
        struct peri_slice run = peri_buf_peek(&stream->in);
        events->on_body(stream, run);
        if (!stream->is_closed)
            credit(stream, run.len);
        peri_buf_take(&stream->in, run.len);
    }
    tell_end(stream);
    stream->is_delivering = false;
    if (!stream->data)
        stream_let_go(stream);
}

void peri_h2_deliver(struct peri_h2 *h2)
{
    for (uint32_t left = h2->count; left > 0 && !peri_list_is_empty(&h2->waking); left--) {
        struct peri_h2_stream *stream = PERI_LIST_ITEM(h2->waking.next, struct peri_h2_stream, wake);
        peri_list_remove(&stream->wake);
        deliver(stream);
    }
}

// Frames of one turn leave in as few writes as fit.
void peri_h2_flush(struct peri_h2 *h2, struct peri_stream *stream)
{
    static char gathered[GATHER_SIZE]; // used within this call only
    size_t len = 0;
    peri_h2_deliver(h2);
    while (peri_stream_pending(stream) + len < PERI_STREAM_HIGH) {
        struct peri_slice frame = peri_h2_pull(h2);
        if (frame.len == 0)
            break;
        if (len + frame.len > GATHER_SIZE) {
            peri_stream_write(stream, peri_slice(gathered, len));
            len = 0;
        }
        memcpy(gathered + len, frame.ptr, frame.len);
        len += frame.len;
    }
    peri_stream_write(stream, peri_slice(gathered, len));
}

bool peri_h2_is_over(const struct peri_h2 *h2)
{
    if (h2->err != PERI_OK)
        return h2->has_said_why;
    return !nghttp2_session_want_read(h2->session) && !nghttp2_session_want_write(h2->session);
}

uint32_t peri_h2_stream_count(const struct peri_h2 *h2)
{
    return h2->count;
}

void peri_h2_drain(struct peri_h2 *h2, bool is_final)
{
    if (h2->err != PERI_OK)
        return;
    h2->is_draining = is_final;
    if (is_final)
        nghttp2_submit_goaway(h2->session, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(h2->session),
                              NGHTTP2_NO_ERROR, NULL, 0);
    else
        nghttp2_submit_shutdown_notice(h2->session);
    peri_h2_want_output(h2);
}

// ---- what the owner does with streams ----

void peri_h2_stream_set_request(struct peri_h2_stream *stream, void *data, struct peri_request *req)
{
    stream->data = data;
    stream->req = req;
    stream->block.headers = &req->headers;
}

bool peri_h2_is_going(const struct peri_h2 *h2)
{
    return h2->is_going || h2->err != PERI_OK || !nghttp2_session_check_request_allowed(h2->session);
}

bool peri_h2_can_open(const struct peri_h2 *h2)
{
    uint32_t max = nghttp2_session_get_remote_settings(h2->session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
    return !peri_h2_is_going(h2) && h2->count < h2->limits.streams && h2->count < max;
}

bool peri_h2_has_connect_protocol(const struct peri_h2 *h2)
{
    return nghttp2_session_get_remote_settings(h2->session, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL) == 1;
}

void peri_h2_pause(struct peri_h2_stream *stream, bool paused)
{
    stream->is_paused = paused;
    if (!paused && (stream->in.len > 0 || (stream->is_in_done && !stream->is_in_told)))
        peri_h2_wake(stream);
}

static uint32_t code_of(peri_err_t err)
{
    switch (err) {
    case PERI_OK:
    case PERI_ERR_DEADLINE:
    case PERI_ERR_CLIENT_GONE: return NGHTTP2_CANCEL;
    case PERI_ERR_BAD_REQUEST:
    case PERI_ERR_SMUGGLING: return NGHTTP2_PROTOCOL_ERROR;
    case PERI_ERR_DRAINING: return NGHTTP2_REFUSED_STREAM;
    default: return NGHTTP2_INTERNAL_ERROR;
    }
}

void peri_h2_reset(struct peri_h2_stream *stream, peri_err_t err)
{
    if (!stream->is_closed)
        peri_h2_rst(stream, code_of(err));
    peri_h2_release(stream);
}

void peri_h2_release(struct peri_h2_stream *stream)
{
    stream->data = NULL;
    if (stream->is_delivering)
        return;
    if (stream->out.is_sent)
        stop_upload(stream);
    size_t unread = stream->in.len;
    if (!stream->is_closed && unread > 0)
        credit(stream, unread);
    stream_let_go(stream);
}

const char *peri_h2_version(void)
{
    return nghttp2_version(0)->version_str;
}
