// SPDX-License-Identifier: MIT
// One libuv fs event (inotify) per path.
#include "event/watch.h"

#include <stdlib.h>
#include <uv.h>

#include "event/loop.h"

struct peri_watch {
    uv_fs_event_t handle;
    void (*on_change)(void *data);
    void *data;
};

static void on_close(uv_handle_t *handle)
{
    free(handle->data);
}

static void on_event(uv_fs_event_t *handle, const char *name, int events, int status)
{
    (void)name;
    (void)events;
    (void)status;
    struct peri_watch *watch = handle->data;
    watch->on_change(watch->data);
}

struct peri_watch *peri_watch_open(struct peri_loop *loop, const char *path, void (*on_change)(void *data), void *data)
{
    struct peri_watch *watch = calloc(1, sizeof(*watch));
    if (!watch)
        return NULL;
    watch->on_change = on_change;
    watch->data = data;
    if (uv_fs_event_init(peri_loop_uv(loop), &watch->handle) != 0) {
        free(watch);
        return NULL;
    }
    watch->handle.data = watch;
    uv_unref((uv_handle_t *)&watch->handle);
    if (uv_fs_event_start(&watch->handle, on_event, path, 0) != 0) {
        peri_watch_close(watch);
        return NULL;
    }
    return watch;
}

void peri_watch_close(struct peri_watch *watch)
{
    if (watch && !uv_is_closing((uv_handle_t *)&watch->handle))
        uv_close((uv_handle_t *)&watch->handle, on_close);
}
