// SPDX-License-Identifier: MIT
// One watch for each folder, and one timer.
#include "app/test_folders.h"

#include <stdlib.h>

#include "app/test_scan.h"
#include "event/loop.h"
#include "event/timer.h"
#include "event/watch.h"

struct peri_test_folders {
    struct peri_test_folders_options options;
    struct peri_timer quiet;
    struct peri_watch *watches[PERI_TEST_SCAN_DIRECTORIES];
    unsigned count;
};

static void on_timer(struct peri_timer *timer)
{
    struct peri_test_folders *folders = PERI_CONTAINER(timer, struct peri_test_folders, quiet);
    folders->options.on_quiet(folders->options.data);
}

struct peri_test_folders *peri_test_folders_new(const struct peri_test_folders_options *options)
{
    struct peri_test_folders *folders = calloc(1, sizeof(*folders));
    if (!folders)
        return NULL;
    folders->options = *options;
    peri_timer_init(&folders->quiet, on_timer);
    return folders;
}

static void on_event(void *data)
{
    peri_test_folders_look_soon(data);
}

static void on_directory(void *data, const char *path)
{
    struct peri_test_folders *folders = data;
    struct peri_watch *watch = peri_watch_open(folders->options.loop, path, on_event, folders);
    if (watch)
        folders->watches[folders->count++] = watch;
}

static void unwatch(struct peri_test_folders *folders)
{
    while (folders->count > 0)
        peri_watch_close(folders->watches[--folders->count]);
}

void peri_test_folders_look(struct peri_test_folders *folders, struct peri_test_scan *scan)
{
    unwatch(folders);
    peri_test_scan(folders->options.roots, folders->options.count, scan, on_directory, folders);
}

void peri_test_folders_look_soon(struct peri_test_folders *folders)
{
    peri_timer_start(folders->options.loop, &folders->quiet, folders->options.quiet_ms);
}

void peri_test_folders_free(struct peri_test_folders *folders)
{
    if (!folders)
        return;
    peri_timer_stop(&folders->quiet);
    unwatch(folders);
    free(folders);
}
