// SPDX-License-Identifier: MIT
// Lines leave as they come. What could not leave is told with the next line, or by a timer when there is none.
#include "app/recording_feed.h"

#include <stdlib.h>
#include <unistd.h>

#include "app/control.h"
#include "app/worker.h"
#include "base/log.h"
#include "event/timer.h"
#include "proxy/server.h"
#include "proxy/tap.h"

#define TELL_MS 200

struct peri_recording_feed {
    struct peri_loop *loop;
    struct peri_server *server;
    struct peri_timer timer;
    uint64_t dropped; ///< not told yet
    int fd;
};

static void feed_send(struct peri_recording_feed *feed, struct peri_slice line)
{
    struct peri_control_message message = {.type = PERI_CONTROL_RECORDED, .number = feed->dropped, .text = line};
    if (peri_control_send(feed->fd, &message) == PERI_OK) {
        feed->dropped = 0;
        return;
    }
    feed->dropped += line.len > 0;
    if (!peri_timer_is_active(&feed->timer))
        peri_timer_start(feed->loop, &feed->timer, TELL_MS);
}

static void on_timer(struct peri_timer *timer)
{
    struct peri_recording_feed *feed = PERI_CONTAINER(timer, struct peri_recording_feed, timer);
    if (feed->dropped > 0)
        feed_send(feed, peri_slice(NULL, 0));
}

static void on_line(void *data, struct peri_slice line)
{
    struct peri_recording_feed *feed = data;
    feed->dropped += line.len == 0;
    feed_send(feed, line);
}

struct peri_recording_feed *peri_recording_feed_open(struct peri_loop *loop, struct peri_server *server, uint32_t index,
                                                     const struct peri_recording_settings *settings, int fd)
{
    struct peri_recording_feed *feed = calloc(1, sizeof(*feed));
    struct peri_tap_options options = {
        .sample = settings->sample,
        .body_limit = settings->body_limit,
        .keeps_credentials = settings->keeps_credentials,
        .names = peri_slice(settings->names, strnlen(settings->names, sizeof(settings->names))),
        .emit = on_line,
        .data = feed,
    };
    memcpy(options.key, settings->key, sizeof(options.key));
    memcpy(&options.seed, settings->key, sizeof(options.seed));
    options.seed += index;
    if (!feed || !peri_server_tap(server, &options)) {
        peri_error("worker %u cannot record: out of memory", index);
        close(fd);
        free(feed);
        return NULL;
    }
    feed->loop = loop;
    feed->server = server;
    feed->fd = fd;
    peri_timer_init(&feed->timer, on_timer);
    return feed;
}

void peri_recording_feed_close(struct peri_recording_feed *feed)
{
    if (!feed)
        return;
    peri_server_tap(feed->server, NULL);
    peri_timer_stop(&feed->timer);
    close(feed->fd);
    free(feed);
}
