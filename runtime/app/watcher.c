// SPDX-License-Identifier: MIT
// One watch per directory that holds a file of the snapshot.
#include "app/watcher.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/snapshot.h"
#include "base/log.h"
#include "event/loop.h"
#include "event/timer.h"
#include "event/watch.h"
#include "script/vm.h"

#define DIRECTORIES 256 ///< most directories watched; more are left out

struct peri_watcher {
    struct peri_loop *loop;
    char *directory; ///< owned
    void (*on_change)(void *data);
    void *data;
    struct peri_snapshot *snapshot;
    struct peri_timer quiet;
    struct peri_watch *watches[DIRECTORIES];
    char *paths[DIRECTORIES]; ///< owned
    unsigned count;
};

static bool is_same(const struct peri_source *disk, const struct peri_source *snapshot, struct peri_slice path)
{
    struct peri_slice now, then;
    bool is_folder = path.ptr[path.len - 1] == '/';
    peri_err_t now_err, then_err;
    path.len -= is_folder;
    now_err = (is_folder ? disk->names : disk->read)(disk->data, path, &now);
    then_err = (is_folder ? snapshot->names : snapshot->read)(snapshot->data, path, &then);
    return now_err == then_err && peri_slice_eq(now, then);
}

static bool has_changed(const struct peri_watcher *watcher)
{
    struct peri_recorder *recorder = peri_recorder_new(watcher->directory);
    bool is_changed = false;
    for (uint32_t i = 0; recorder && !is_changed && i < peri_snapshot_count(watcher->snapshot); i++)
        is_changed = !is_same(peri_recorder_source(recorder), peri_snapshot_source(watcher->snapshot),
                              peri_snapshot_path(watcher->snapshot, i));
    peri_recorder_free(recorder);
    return is_changed;
}

static void on_quiet(struct peri_timer *timer)
{
    struct peri_watcher *watcher = PERI_CONTAINER(timer, struct peri_watcher, quiet);
    if (watcher->snapshot && has_changed(watcher))
        watcher->on_change(watcher->data);
}

static void on_event(void *data)
{
    struct peri_watcher *watcher = data;
    peri_timer_start(watcher->loop, &watcher->quiet, PERI_WATCHER_QUIET_MS);
}

struct peri_watcher *peri_watcher_new(struct peri_loop *loop, const char *directory, void (*on_change)(void *data),
                                      void *data)
{
    struct peri_watcher *watcher = calloc(1, sizeof(*watcher));
    char *copy = strdup(directory);
    if (!watcher || !copy) {
        free(watcher);
        free(copy);
        return NULL;
    }
    watcher->loop = loop;
    watcher->directory = copy;
    watcher->on_change = on_change;
    watcher->data = data;
    peri_timer_init(&watcher->quiet, on_quiet);
    return watcher;
}

static void unwatch(struct peri_watcher *watcher)
{
    while (watcher->count > 0) {
        watcher->count--;
        peri_watch_close(watcher->watches[watcher->count]);
        free(watcher->paths[watcher->count]);
    }
    peri_snapshot_unref(watcher->snapshot);
    watcher->snapshot = NULL;
}

static bool is_watched(const struct peri_watcher *watcher, const char *path)
{
    for (unsigned i = 0; i < watcher->count; i++)
        if (strcmp(watcher->paths[i], path) == 0)
            return true;
    return false;
}

// A directory that is not there (policies/ of a configuration without any) is left out: its parent holds other files.
static void watch(struct peri_watcher *watcher, const char *path)
{
    if (watcher->count == DIRECTORIES || is_watched(watcher, path))
        return;
    struct peri_watch *opened = peri_watch_open(watcher->loop, path, on_event, watcher);
    char *copy = opened ? strdup(path) : NULL;
    if (!copy) {
        peri_watch_close(opened);
        return;
    }
    watcher->watches[watcher->count] = opened;
    watcher->paths[watcher->count++] = copy;
}

// Watches the directory of a path, relative ones below the configuration's.
static void watch_parent(struct peri_watcher *watcher, struct peri_slice path)
{
    char text[8192];
    const char *slash = memrchr(path.ptr, '/', path.len);
    int len = slash ? (int)(slash - path.ptr) : 0;
    if (path.ptr[0] == '/')
        snprintf(text, sizeof(text), "%.*s", len > 0 ? len : 1, path.ptr);
    else
        snprintf(text, sizeof(text), "%s%s%.*s", watcher->directory, len > 0 ? "/" : "", len, path.ptr);
    watch(watcher, text);
}

void peri_watcher_set(struct peri_watcher *watcher, struct peri_snapshot *snapshot)
{
    peri_snapshot_ref(snapshot);
    unwatch(watcher);
    watcher->snapshot = snapshot;
    for (uint32_t i = 0; i < peri_snapshot_count(snapshot); i++)
        watch_parent(watcher, peri_snapshot_path(snapshot, i));
    on_event(watcher); // what changed while the files were read is seen too
}

void peri_watcher_free(struct peri_watcher *watcher)
{
    if (!watcher)
        return;
    peri_timer_stop(&watcher->quiet);
    unwatch(watcher);
    free(watcher->directory);
    free(watcher);
}
