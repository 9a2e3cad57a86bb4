// SPDX-License-Identifier: MIT
// One libuv poll handle per descriptor.
#include "event/poll.h"

#include <stdlib.h>
#include <uv.h>

#include "event/loop.h"

struct peri_poll {
    uv_poll_t handle;
    void (*on_readable)(void *data);
    void *data;
};

static void on_close(uv_handle_t *handle)
{
    free(handle->data);
}

static void on_poll(uv_poll_t *handle, int status, int events)
{
    (void)status; // an error shows itself when the owner reads
    (void)events;
    struct peri_poll *poll = handle->data;
    poll->on_readable(poll->data);
}

struct peri_poll *peri_poll_open(struct peri_loop *loop, int fd, void (*on_readable)(void *data), void *data)
{
    struct peri_poll *poll = calloc(1, sizeof(*poll));
    if (!poll)
        return NULL;
    poll->on_readable = on_readable;
    poll->data = data;
    if (uv_poll_init(peri_loop_uv(loop), &poll->handle, fd) != 0) {
        free(poll);
        return NULL;
    }
    poll->handle.data = poll;
    if (uv_poll_start(&poll->handle, UV_READABLE | UV_DISCONNECT, on_poll) != 0) {
        peri_poll_close(poll);
        return NULL;
    }
    return poll;
}

void peri_poll_close(struct peri_poll *poll)
{
    if (poll && !uv_is_closing((uv_handle_t *)&poll->handle))
        uv_close((uv_handle_t *)&poll->handle, on_close);
}
