// SPDX-License-Identifier: MIT
// Accepts without libuv, whose own way when descriptors are out is to accept and close whatever waits, and to do so without an end
// when it has lost its spare one.
//
//   listening --out of descriptors or memory--> resting --PERI_ACCEPT_REST_MS--> listening
//       ^ pause(true) / pause(false) v: paused
#include "event/acceptor.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include <sys/socket.h>

#include "base/assert.h"
#include "event/stream_internal.h"

#define PERI_ACCEPT_REST_MS 100 ///< how long accepting rests when there is nothing to accept with
#define PERI_ACCEPT_BATCH 64    ///< connections that are taken before others have their turn
#define PERI_ACCEPT_BACKLOG 4096

struct peri_acceptor {
    uv_poll_t poll;
    struct peri_loop *loop;
    void (*on_accept)(void *data, struct peri_stream *stream);
    void *data;
    struct peri_timer rest;
    int fd;   ///< -1 when it is closed
    int held; ///< accepted, but there was no memory for its stream; -1 for none
    bool is_pipe;
    bool is_paused;
};

static void on_poll(uv_poll_t *poll, int status, int events);

static bool is_listening(const struct peri_acceptor *acceptor)
{
    return acceptor->fd >= 0 && !acceptor->is_paused && !peri_timer_is_active(&acceptor->rest);
}

static void acceptor_listen(struct peri_acceptor *acceptor)
{
    if (is_listening(acceptor))
        uv_poll_start(&acceptor->poll, UV_READABLE, on_poll);
    else
        uv_poll_stop(&acceptor->poll);
}

static void acceptor_rest(struct peri_acceptor *acceptor)
{
    acceptor->loop->sockets.refused++;
    peri_timer_start(acceptor->loop, &acceptor->rest, PERI_ACCEPT_REST_MS);
    acceptor_listen(acceptor);
}

// Did the connection fail, and not the accepting of it (accept(2))?
static bool is_lost(int err)
{
    return err == ECONNABORTED || err == EPROTO || err == EPERM || err == EINTR || err == ENETDOWN ||
           err == EHOSTDOWN || err == EHOSTUNREACH || err == ENETUNREACH || err == ENOPROTOOPT || err == ENONET ||
           err == EOPNOTSUPP;
}

// The next connection, or -1 when there is none, or nothing to take it with.
static int acceptor_next(struct peri_acceptor *acceptor)
{
    int fd = acceptor->held;
    acceptor->held = -1;
    if (fd >= 0)
        return fd;
    fd = accept4(acceptor->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0 && errno != EAGAIN && !is_lost(errno))
        acceptor_rest(acceptor);
    return fd;
}

static void acceptor_take(struct peri_acceptor *acceptor)
{
    for (unsigned i = 0; i < PERI_ACCEPT_BATCH && is_listening(acceptor); i++) {
        int fd = acceptor_next(acceptor);
        if (fd < 0)
            return;
        struct peri_stream *stream = peri_stream_open_fd(acceptor->loop, fd, acceptor->is_pipe);
        if (!stream) {
            acceptor->held = fd;
            acceptor_rest(acceptor);
            return;
        }
        acceptor->on_accept(acceptor->data, stream);
    }
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    PERI_UNUSED(status); // what is wrong with the socket, accept4 says
    PERI_UNUSED(events);
    acceptor_take(poll->data);
}

static void on_rested(struct peri_timer *timer)
{
    struct peri_acceptor *acceptor = PERI_CONTAINER(timer, struct peri_acceptor, rest);
    acceptor_listen(acceptor);
    if (is_listening(acceptor))
        acceptor_take(acceptor);
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

struct peri_acceptor *peri_acceptor_open(struct peri_loop *loop, int fd,
                                         void (*on_accept)(void *data, struct peri_stream *stream), void *data)
{
    struct peri_acceptor *acceptor = calloc(1, sizeof(*acceptor));
    struct sockaddr_storage address;
    socklen_t len = sizeof(address);
    if (!acceptor || getsockname(fd, (struct sockaddr *)&address, &len) < 0 || listen(fd, PERI_ACCEPT_BACKLOG) < 0 ||
        uv_poll_init(&loop->uv, &acceptor->poll, fd) < 0) { // makes it non-blocking
        free(acceptor);
        close(fd);
        return NULL;
    }
    acceptor->poll.data = acceptor;
    acceptor->loop = loop;
    acceptor->on_accept = on_accept;
    acceptor->data = data;
    acceptor->fd = fd;
    acceptor->held = -1;
    acceptor->is_pipe = address.ss_family == AF_UNIX;
    peri_timer_init(&acceptor->rest, on_rested);
    acceptor_listen(acceptor);
    return acceptor;
}

void peri_acceptor_pause(struct peri_acceptor *acceptor, bool paused)
{
    peri_assert(acceptor->fd >= 0);
    acceptor->is_paused = paused;
    acceptor_listen(acceptor);
}

void peri_acceptor_close(struct peri_acceptor *acceptor)
{
    peri_assert(acceptor->fd >= 0);
    peri_timer_stop(&acceptor->rest);
    uv_close((uv_handle_t *)&acceptor->poll, on_closed); // first: what is polled must not be closed
    close(acceptor->fd);
    if (acceptor->held >= 0)
        close(acceptor->held);
    acceptor->fd = -1;
}
