// SPDX-License-Identifier: MIT
// A file of endpoints (upstream/endpoint_list). Its folder is watched, so that a file that is renamed into place is seen, as are the
// links by which Kubernetes replaces a mounted ConfigMap; what is written in steps is read when it has been quiet for a moment.
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/attr.h"
#include "base/log.h"
#include "codec/json.h"
#include "event/loop.h"
#include "event/watch.h"
#include "proxy/discovery_internal.h"
#include "proxy/server_internal.h"
#include "upstream/endpoint_list.h"

#define QUIET_MS 50
#define AGAIN_MS 1000 // when there was nothing to read it with
#define POLL_MS 5000  // of a folder that cannot be watched

static bool is_unchanged(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
           a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

// The whole file, malloc'ed; NULL with errno when it cannot be read or is larger than PERI_ENDPOINT_LIST_BYTES.
static char *read_all(int fd, size_t *len)
{
    char *bytes = malloc(PERI_ENDPOINT_LIST_BYTES + 1);
    ssize_t got = 1;
    for (*len = 0; bytes && got > 0 && *len <= PERI_ENDPOINT_LIST_BYTES; *len += (size_t)(got > 0 ? got : 0))
        got = read(fd, bytes + *len, PERI_ENDPOINT_LIST_BYTES + 1 - *len);
    if (bytes && got == 0)
        return bytes;
    errno = bytes && got > 0 ? EFBIG : errno;
    free(bytes);
    return NULL;
}

static void take(struct peri_discovery *d, struct peri_slice text)
{
    char problem[256];
    struct peri_json *list = peri_endpoint_list_read(text, problem, sizeof(problem));
    peri_err_t err = list ? peri_discovery_put(d, list) : PERI_ERR_INVALID;
    if (list && err != PERI_OK)
        snprintf(problem, sizeof(problem), "%s", peri_err_info(err)->text);
    d->is_failing = false; // the file has changed: what is wrong with it now is news
    peri_discovery_note(d, err == PERI_OK ? NULL : problem);
}

static void look(struct peri_discovery *d)
{
    struct stat now = {0};
    size_t len = 0;
    int fd = open(d->file.path.ptr, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    bool is_open = fd >= 0 && fstat(fd, &now) == 0;
    if (is_open && is_unchanged(&now, &d->file.seen)) {
        close(fd);
        return;
    }
    char *bytes = is_open ? read_all(fd, &len) : NULL;
    bool is_short = !bytes && peri_err_is_shortage(errno);
    if (bytes)
        take(d, peri_slice(bytes, len));
    else
        peri_discovery_note(d, strerror(errno));
    d->file.seen = is_short ? (struct stat){0} : now;
    if (is_short) // the change is not told again
        peri_discovery_look_in(d, AGAIN_MS);
    free(bytes);
    if (fd >= 0)
        close(fd);
}

static void on_look(struct peri_timer *timer)
{
    struct peri_discovery *d = PERI_CONTAINER(timer, struct peri_discovery, look);
    look(d);
    if (!d->file.watch)
        peri_discovery_look_in(d, POLL_MS);
}

static void on_change(void *data)
{
    struct peri_discovery *d = data;
    if (!peri_timer_is_active(&d->look))
        peri_timer_start(d->generation->server->loop, &d->look, QUIET_MS);
}

static void start(struct peri_discovery *d)
{
    char *path = strdup(d->file.path.ptr);
    if (path)
        d->file.watch = peri_watch_open(d->generation->server->loop, dirname(path), on_change, d);
    if (!d->file.watch) {
        peri_warn("%s: its folder cannot be watched; it is looked at every 5 s", d->file.path.ptr);
        peri_discovery_look_in(d, POLL_MS);
    }
    free(path);
    look(d);
}

static void stop(struct peri_discovery *d)
{
    peri_watch_close(d->file.watch);
}

const struct peri_discovery_source peri_discovery_file = {.start = start, .on_look = on_look, .stop = stop};
