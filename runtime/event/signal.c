// SPDX-License-Identifier: MIT
// One libuv signal handle per object.
#include "event/signal.h"

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

void peri_signal_close(struct peri_signal *signal)
{
    if (signal && !uv_is_closing((uv_handle_t *)&signal->handle))
        uv_close((uv_handle_t *)&signal->handle, on_close);
}
