// SPDX-License-Identifier: MIT
// One libuv signal handle per object.
#include "event/signal.h"

#include <signal.h>
#include <stdlib.h>
#include <uv.h>

#include "event/loop.h"

struct peri_signal {
    uv_signal_t handle;
    void (*on_signal)(void *data, int number);
    void *data;
};

static void on_close(uv_handle_t *handle)
{
    free(handle->data);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct peri_signal *signal = handle->data;
    signal->on_signal(signal->data, number);
}

struct peri_signal *peri_signal_open(struct peri_loop *loop, int number, void (*callback)(void *data, int number),
                                     void *data)
{
    struct peri_signal *signal = calloc(1, sizeof(*signal));
    if (!signal)
        return NULL;
    signal->on_signal = callback;
    signal->data = data;
    if (uv_signal_init(peri_loop_uv(loop), &signal->handle) != 0) {
        free(signal);
        return NULL;
    }
    signal->handle.data = signal;
    if (uv_signal_start(&signal->handle, on_signal, number) != 0) {
        peri_signal_close(signal);
        return NULL;
    }
    return signal;
}

// Nobody listens any more: one that comes late does nothing, rather than to kill a process that is ending well. SIGCHLD
// kills nobody, and to ignore it would take the status of ended children from those who wait for them.
static void ignore_if_default(int number)
{
    struct sigaction action;
    if (number != SIGCHLD && sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_DFL) {
        action.sa_handler = SIG_IGN;
        sigaction(number, &action, NULL);
    }
}

void peri_signal_close(struct peri_signal *signal)
{
    if (!signal || uv_is_closing((uv_handle_t *)&signal->handle))
        return;
    sigset_t late;
    sigset_t before;
    int number = signal->handle.signum;
    sigemptyset(&late);
    sigaddset(&late, number);
    sigprocmask(SIG_BLOCK, &late, &before);
    uv_close((uv_handle_t *)&signal->handle, on_close);
    ignore_if_default(number);
    sigprocmask(SIG_SETMASK, &before, NULL);
}
