// SPDX-License-Identifier: MIT
// Streams over TCP and unix sockets on libuv, used by the rules that keep it cheap: reading stays armed, uv_try_write first,
// uv_write only for what did not fit.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "base/assert.h"
#include "event/stream_internal.h"

struct uv_stream_backend {
    struct peri_stream base;
    union {
        uv_handle_t any;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } handle;
    union {
        uv_write_t write;
        uv_shutdown_t shutdown; ///< when nothing is written any more
    } req;
    size_t writing; ///< bytes given to uv_write
    bool is_filled; ///< the last read took a whole buffer
    bool is_pipe;
    bool has_socket; ///< counted in loop->sockets
};

static struct uv_stream_backend *backend(struct peri_stream *stream)
{
    return PERI_CONTAINER(stream, struct uv_stream_backend, base);
}

static unsigned fill_bufs(uv_buf_t *bufs, const struct peri_slice *runs, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        bufs[i] = uv_buf_init((char *)(uintptr_t)runs[i].ptr, (unsigned)runs[i].len);
    return count;
}

static ssize_t uv_backend_try_write(struct peri_stream *stream, const struct peri_slice *runs, unsigned count)
{
    uv_buf_t bufs[PERI_STREAM_RUNS];
    peri_assert(count <= PERI_STREAM_RUNS);
    int n = uv_try_write(&backend(stream)->handle.stream, bufs, fill_bufs(bufs, runs, count));
    if (n == UV_EAGAIN)
        return 0;
    return n < 0 ? -1 : n;
}

static void on_uv_write(uv_write_t *req, int status)
{
    struct uv_stream_backend *self = req->data;
    peri_stream_sent(&self->base, self->writing, status < 0);
}

static void uv_backend_send_queue(struct peri_stream *stream)
{
    struct uv_stream_backend *self = backend(stream);
    struct peri_slice runs[PERI_STREAM_RUNS];
    uv_buf_t bufs[PERI_STREAM_RUNS];
    unsigned count = peri_buf_peek_many(&stream->queue, runs, PERI_STREAM_RUNS);
    self->writing = 0;
    for (unsigned i = 0; i < count; i++)
        self->writing += runs[i].len;
    self->req.write.data = self;
    int err = uv_write(&self->req.write, &self->handle.stream, bufs, fill_bufs(bufs, runs, count), on_uv_write);
    if (err < 0)
        peri_stream_sent(stream, 0, true);
}

// libuv reads up to 32 buffers of one socket in a turn. One is enough: others wait for that work. Without a buffer it goes on to
// them, and what is still there is told in the next turn.
static void on_uv_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    PERI_UNUSED(suggested);
    struct uv_stream_backend *self = handle->data;
    *buf = uv_buf_init(self->base.loop->read_buffer, self->is_filled ? 0 : PERI_READ_BUFFER);
    self->is_filled = false;
}

static void count_intake(struct peri_intake *intake, ssize_t n)
{
    intake->left -= n > PERI_INTAKE_LEAST ? n : PERI_INTAKE_LEAST;
    if (PERI_LIKELY(intake->left > 0))
        return;
    intake->left = intake->step;
    if (intake->on_intake)
        intake->on_intake(intake->data);
}

static void on_uv_read(uv_stream_t *handle, ssize_t n, const uv_buf_t *buf)
{
    struct uv_stream_backend *self = handle->data;
    self->is_filled = n == PERI_READ_BUFFER;
    if (n > 0) {
        struct peri_intake *intake = &self->base.loop->intake;
        peri_stream_received(&self->base, peri_slice(buf->base, (size_t)n));
        count_intake(intake, n);
    } else if (n < 0 && n != UV_ENOBUFS) {
        peri_stream_ended(&self->base, n == UV_EOF ? PERI_OK : PERI_ERR_CLOSED);
    }
}

static void uv_backend_read_start(struct peri_stream *stream)
{
    backend(stream)->is_filled = false;
    uv_read_start(&backend(stream)->handle.stream, on_uv_alloc, on_uv_read);
}

static void uv_backend_read_stop(struct peri_stream *stream)
{
    uv_read_stop(&backend(stream)->handle.stream);
}

static void on_uv_shutdown(uv_shutdown_t *req, int status)
{
    struct uv_stream_backend *self = req->data;
    if (status < 0 && !self->base.is_closing)
        peri_stream_ended(&self->base, PERI_ERR_CLOSED);
}

static void uv_backend_shutdown(struct peri_stream *stream)
{
    struct uv_stream_backend *self = backend(stream);
    self->req.shutdown.data = self;
    if (uv_shutdown(&self->req.shutdown, &self->handle.stream, on_uv_shutdown) < 0)
        peri_defer_schedule(stream->loop, &stream->report);
}

static void on_uv_close(uv_handle_t *handle)
{
    struct uv_stream_backend *self = handle->data;
    self->base.loop->sockets.open -= self->has_socket;
    peri_stream_closed(&self->base);
}

static void uv_backend_close(struct peri_stream *stream, bool is_reset)
{
    struct uv_stream_backend *self = backend(stream);
    if (is_reset && !self->is_pipe && uv_tcp_close_reset(&self->handle.tcp, on_uv_close) == 0)
        return;
    uv_close(&self->handle.any, on_uv_close);
}

static void write_address(const struct sockaddr_storage *address, char ip[46], uint16_t *port)
{
    uv_ip_name((const struct sockaddr *)address, ip, 46);
    if (strncmp(ip, "::ffff:", 7) == 0 && strchr(ip, '.'))
        memmove(ip, ip + 7, strlen(ip + 7) + 1);
    *port = ntohs(address->ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)address)->sin6_port
                                                 : ((const struct sockaddr_in *)address)->sin_port);
}

static void write_unix(char ip[46], uint16_t *port)
{
    memcpy(ip, "unix", sizeof("unix"));
    *port = 0;
}

static void uv_backend_peer(const struct peri_stream *stream, char ip[46], uint16_t *port)
{
    const struct uv_stream_backend *self = PERI_CONTAINER(stream, const struct uv_stream_backend, base);
    struct sockaddr_storage address;
    int len = sizeof(address);
    if (self->is_pipe || uv_tcp_getpeername(&self->handle.tcp, (struct sockaddr *)&address, &len) < 0)
        write_unix(ip, port);
    else
        write_address(&address, ip, port);
}

static void uv_backend_local(const struct peri_stream *stream, char ip[46], uint16_t *port)
{
    const struct uv_stream_backend *self = PERI_CONTAINER(stream, const struct uv_stream_backend, base);
    struct sockaddr_storage address;
    int len = sizeof(address);
    if (self->is_pipe || uv_tcp_getsockname(&self->handle.tcp, (struct sockaddr *)&address, &len) < 0)
        write_unix(ip, port);
    else
        write_address(&address, ip, port);
}

static const struct peri_stream_ops uv_backend_ops = {
    .try_write = uv_backend_try_write,
    .send_queue = uv_backend_send_queue,
    .read_start = uv_backend_read_start,
    .read_stop = uv_backend_read_stop,
    .shutdown = uv_backend_shutdown,
    .close = uv_backend_close,
    .peer = uv_backend_peer,
    .local = uv_backend_local,
};

static struct uv_stream_backend *backend_new(struct peri_loop *loop, bool is_pipe)
{
    struct uv_stream_backend *self = malloc(sizeof(*self));
    if (!self)
        return NULL;
    peri_stream_init(&self->base, loop, &uv_backend_ops);
    int err = is_pipe ? uv_pipe_init(&loop->uv, &self->handle.pipe, 0) : uv_tcp_init(&loop->uv, &self->handle.tcp);
    if (err < 0) {
        loop->stream_count--;
        free(self);
        return NULL;
    }
    self->handle.any.data = self;
    self->is_pipe = is_pipe;
    self->has_socket = false;
    return self;
}

static void backend_count(struct uv_stream_backend *self)
{
    self->has_socket = true;
    self->base.loop->sockets.open++;
}

// ---- connecting ----

static bool may_connect(struct peri_loop *loop)
{
    return loop->sockets.open < loop->sockets.limit;
}

static void on_uv_connect(uv_connect_t *req, int status)
{
    struct uv_stream_backend *self = req->data;
    free(req);
    if (self->base.is_closing)
        return;
    if (status == 0 && !self->is_pipe)
        uv_tcp_nodelay(&self->handle.tcp, 1);
    peri_err_t err = peri_err_is_shortage(-status) ? PERI_ERR_OVERLOADED : PERI_ERR_CONNECT;
    self->base.events->on_connect(&self->base, status == 0 ? PERI_OK : err);
}

// A stream that is about to connect; `*req` is freed by on_uv_connect. NULL when out of memory or descriptors.
static struct uv_stream_backend *connector_new(struct peri_loop *loop, bool is_pipe, uv_connect_t **req)
{
    *req = malloc(sizeof(**req));
    struct uv_stream_backend *self = *req && may_connect(loop) ? backend_new(loop, is_pipe) : NULL;
    if (self)
        (*req)->data = self;
    else
        free(*req);
    return self;
}

struct peri_stream *peri_stream_connect_tcp(struct peri_loop *loop, const struct sockaddr *address,
                                            const struct peri_stream_events *events, void *data, peri_err_t *err)
{
    uv_connect_t *req;
    struct uv_stream_backend *self = connector_new(loop, false, &req);
    *err = PERI_ERR_OVERLOADED;
    if (!self)
        return NULL;
    int status = uv_tcp_connect(req, &self->handle.tcp, address, on_uv_connect);
    if (status < 0) {
        free(req);
        *err = peri_err_is_shortage(-status) ? PERI_ERR_OVERLOADED : PERI_ERR_CONNECT;
        peri_stream_close(&self->base);
        return NULL;
    }
    backend_count(self);
    peri_stream_set_owner(&self->base, events, data);
    return &self->base;
}

struct peri_stream *peri_stream_connect_unix(struct peri_loop *loop, const char *path,
                                             const struct peri_stream_events *events, void *data, peri_err_t *err)
{
    uv_connect_t *req;
    struct uv_stream_backend *self = connector_new(loop, true, &req);
    *err = PERI_ERR_OVERLOADED;
    if (!self)
        return NULL;
    backend_count(self);
    peri_stream_set_owner(&self->base, events, data);
    uv_pipe_connect(req, &self->handle.pipe, path, on_uv_connect);
    return &self->base;
}

// ---- accepted ----

struct peri_stream *peri_stream_open_fd(struct peri_loop *loop, int fd, bool is_pipe)
{
    struct uv_stream_backend *self = backend_new(loop, is_pipe);
    if (!self)
        return NULL;
    int err = is_pipe ? uv_pipe_open(&self->handle.pipe, fd) : uv_tcp_open(&self->handle.tcp, fd);
    if (err < 0) {
        peri_stream_close(&self->base);
        return NULL;
    }
    backend_count(self);
    if (!is_pipe)
        uv_tcp_nodelay(&self->handle.tcp, 1);
    return &self->base;
}
