// SPDX-License-Identifier: MIT
// What goes out on a stream: heads, bodies from a bounded queue as the peer's windows allow, trailers.
#include <stdlib.h>

#include "base/assert.h"
#include "codec/h2_internal.h"

#define OUT_HIGH (64 * 1024) // bytes of a stream's body to send at which its owner should stop
#define OUT_LOW (16 * 1024)

// ---- bodies ----

static size_t take_out(struct peri_h2_stream *stream, uint8_t *out, size_t room)
{
    size_t len = 0;
    while (len < room && stream->out.body.len > 0) {
        struct peri_slice run = peri_buf_peek(&stream->out.body);
        size_t part = run.len < room - len ? run.len : room - len;
        memcpy(out + len, run.ptr, part);
        peri_buf_take(&stream->out.body, part);
        len += part;
    }
    return len;
}

static uint32_t end_flags(struct peri_h2_stream *stream)
{
    uint32_t flags = NGHTTP2_DATA_FLAG_EOF;
    if (stream->out.trailer_count > 0 &&
        nghttp2_submit_trailer(stream->h2->session, stream->id, stream->out.trailers, stream->out.trailer_count) == 0)
        flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    stream->out.trailer_count = 0;
    return flags;
}

static ssize_t read_body(nghttp2_session *session, int32_t id, uint8_t *out, size_t room, uint32_t *flags,
                         nghttp2_data_source *source, void *data)
{
    struct peri_h2_stream *stream = source->ptr;
    PERI_UNUSED(session);
    PERI_UNUSED(id);
    PERI_UNUSED(data);
    size_t len = take_out(stream, out, room);
    if (stream->out.is_full && stream->out.body.len <= OUT_LOW) {
        stream->out.is_full = false;
        stream->out.is_drained = true;
        peri_h2_wake(stream);
    }
    if (stream->out.body.len == 0 && stream->out.is_done)
        *flags |= end_flags(stream);
    else if (len == 0) {
        stream->out.is_deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    return (ssize_t)len;
}

static void resume_body(struct peri_h2_stream *stream)
{
    if (stream->out.is_deferred && !stream->is_closed) {
        stream->out.is_deferred = false;
        nghttp2_session_resume_data(stream->h2->session, stream->id);
    }
    peri_h2_want_output(stream->h2);
}

// ---- what the owner gives ----

struct peri_h2_stream *peri_h2_open(struct peri_h2 *h2, void *data, const struct peri_request *req,
                                    struct peri_response *res, bool ends)
{
    char length[24];
    size_t count;
    struct peri_h2_stream *stream = peri_h2_stream_new(h2, 0);
    nghttp2_nv *nv = stream ? peri_h2_request_fields(req, length, &count) : NULL;
    if (!nv) {
        if (stream)
            peri_h2_stream_free(stream);
        return NULL;
    }
    bool is_tunnel = req->upgrade.len > 0;
    nghttp2_data_provider body = {.source.ptr = stream, .read_callback = read_body};
    int32_t id = nghttp2_submit_request(h2->session, NULL, nv, count, ends && !is_tunnel ? NULL : &body, stream);
    free(nv);
    if (id < 0) {
        peri_h2_stream_free(stream);
        return NULL;
    }
    stream->id = id;
    stream->data = data;
    stream->res = res;
    stream->is_tunnel = is_tunnel;
    stream->is_head_request = req->method == PERI_METHOD_HEAD;
    stream->out.is_done = ends && !is_tunnel;
    peri_h2_want_output(h2);
    return stream;
}

void peri_h2_stream_move(struct peri_h2_stream *stream, void *data, struct peri_response *res)
{
    if (stream->block.headers == &stream->res->headers)
        stream->block.headers = &res->headers;
    else if (stream->block.headers)
        stream->block.headers = &res->trailers;
    stream->data = data;
    stream->res = res;
}

// A head that could not be sent ends the stream; its close tells the owner.
static void check_sent(struct peri_h2_stream *stream, int err)
{
    if (err != 0 && !stream->is_closed)
        peri_h2_rst(stream, NGHTTP2_INTERNAL_ERROR);
    peri_h2_want_output(stream->h2);
}

void peri_h2_send_interim(struct peri_h2_stream *stream, int status, const struct peri_headers *headers)
{
    char text[4];
    size_t count;
    int err = NGHTTP2_ERR_NOMEM;
    if (stream->is_closed)
        return;
    nghttp2_nv *nv = peri_h2_interim_fields(headers, status, text, &count);
    if (nv)
        err = nghttp2_submit_headers(stream->h2->session, NGHTTP2_FLAG_NONE, stream->id, NULL, nv, count, NULL);
    free(nv);
    check_sent(stream, err);
}

void peri_h2_send_head(struct peri_h2_stream *stream, const struct peri_response *res, bool ends)
{
    char status[4], length[24];
    size_t count;
    int err = NGHTTP2_ERR_NOMEM;
    nghttp2_data_provider body = {.source.ptr = stream, .read_callback = read_body};
    stream->out.is_done = ends;
    if (stream->is_closed)
        return;
    nghttp2_nv *nv = peri_h2_response_fields(res, stream->is_tunnel, status, length, &count);
    if (nv)
        err = nghttp2_submit_response(stream->h2->session, stream->id, nv, count, ends ? NULL : &body);
    free(nv);
    check_sent(stream, err);
}

bool peri_h2_send_body(struct peri_h2_stream *stream, struct peri_slice data)
{
    if (stream->is_closed || stream->out.is_done)
        return true;
    if (peri_buf_put(&stream->out.body, data) != PERI_OK) {
        peri_h2_rst(stream, NGHTTP2_INTERNAL_ERROR); // its close tells the owner
        return true;
    }
    stream->out.is_full = stream->out.is_full || stream->out.body.len >= OUT_HIGH;
    resume_body(stream);
    return !stream->out.is_full;
}

void peri_h2_send_end(struct peri_h2_stream *stream, const struct peri_headers *trailers)
{
    if (trailers && trailers->count > 0 && !stream->is_closed)
        stream->out.trailers = peri_h2_trailer_fields(trailers, &stream->out.trailer_count);
    stream->out.is_done = true;
    resume_body(stream);
}
