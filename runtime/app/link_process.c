// SPDX-License-Identifier: MIT
// A worker in a process of its own: orders are control messages, and so are the answers. A worker that does not take its
// messages is killed; its end is told once the process is reaped.
#include "app/link.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/child.h"
#include "app/control.h"
#include "app/listen_plan.h"
#include "app/snapshot.h"
#include "app/worker.h"
#include "base/log.h"
#include "event/poll.h"
#include "shared/shm.h"

struct process_link {
    struct peri_link base;
    struct peri_child child;
    struct peri_poll *poll;
    int fd;
};

static struct process_link *self_of(struct peri_link *link)
{
    return PERI_CONTAINER(link, struct process_link, base);
}

static void on_kill(struct peri_link *link)
{
    peri_child_kill(&self_of(link)->child, SIGKILL);
}

static void send_order(struct peri_link *link, const struct peri_control_message *message)
{
    peri_err_t err = peri_control_send(self_of(link)->fd, message);
    if (err == PERI_OK || err == PERI_ERR_CLOSED)
        return; // the end of the process tells
    peri_error("worker %u does not take its orders: killed", link->index);
    on_kill(link);
}

static void on_build(struct peri_link *link, uint64_t number, struct peri_snapshot *snapshot)
{
    struct peri_control_message message = {.type = PERI_CONTROL_BUILD, .number = number, .fd_count = 1};
    message.fds[0] = peri_snapshot_fd(snapshot);
    send_order(link, &message);
}

static void on_switch_to(struct peri_link *link, uint64_t number, const struct peri_listen_plan *plan, const int *fds)
{
    struct peri_control_message message = {.type = PERI_CONTROL_SWITCH, .number = number};
    message.text = peri_listen_plan_format(plan);
    message.fd_count = plan->add_count;
    memcpy(message.fds, fds, plan->add_count * sizeof(int));
    if (message.text.ptr)
        send_order(link, &message);
    else
        on_kill(link);
    free((void *)message.text.ptr);
}

static void on_canary(struct peri_link *link, uint64_t number, uint32_t share)
{
    send_order(link, &(struct peri_control_message){
                         .type = PERI_CONTROL_CANARY,
                         .number = number,
                         .text = peri_slice((const char *)&share, sizeof(share)),
                     });
}

static void on_drop(struct peri_link *link, uint64_t number)
{
    send_order(link, &(struct peri_control_message){.type = PERI_CONTROL_DROP, .number = number});
}

static void on_explain(struct peri_link *link, uint64_t id, struct peri_slice request)
{
    send_order(link, &(struct peri_control_message){.type = PERI_CONTROL_EXPLAIN, .number = id, .text = request});
}

static void on_drain(struct peri_link *link, uint64_t ms)
{
    send_order(link, &(struct peri_control_message){.type = PERI_CONTROL_DRAIN, .number = ms});
}

static void on_record(struct peri_link *link, const struct peri_recording_settings *settings, int fd)
{
    struct peri_control_message message = {.type = PERI_CONTROL_RECORD, .fd_count = settings ? 1 : 0};
    message.text = peri_slice((const char *)settings, settings ? sizeof(*settings) : 0);
    message.fds[0] = fd;
    send_order(link, &message);
}

static const struct peri_link_ops ops = {
    .build = on_build,
    .switch_to = on_switch_to,
    .canary = on_canary,
    .drop = on_drop,
    .explain = on_explain,
    .drain = on_drain,
    .record = on_record,
    .kill = on_kill,
};

static void tell(struct process_link *self, const struct peri_control_message *message)
{
    struct peri_link *link = &self->base;
    switch (message->type) {
    case PERI_CONTROL_READY: link->events->on_ready(link, message->number); break;
    case PERI_CONTROL_FAILED: link->events->on_failed(link, message->number, message->text.ptr); break;
    case PERI_CONTROL_SWITCHED: link->events->on_switched(link, message->number); break;
    case PERI_CONTROL_EXPLAINED: link->events->on_explained(link, message->number, message->text); break;
    default: peri_error("worker %u sent an answer that is none: killed", link->index); on_kill(link);
    }
}

static void receive_all(struct process_link *self)
{
    struct peri_control_message message;
    peri_err_t err;
    while ((err = peri_control_receive(self->fd, &message)) == PERI_OK) {
        tell(self, &message);
        peri_control_release(&message);
    }
    if (err == PERI_ERR_AGAIN)
        return;
    peri_poll_close(self->poll); // the process ends, or has closed its end and will be of no use
    self->poll = NULL;
    on_kill(&self->base);
}

static void on_readable(void *data)
{
    receive_all(data);
}

static void on_child_exit(struct peri_child *child, int status)
{
    struct process_link *self = PERI_CONTAINER(child, struct process_link, child);
    char how[64];
    receive_all(self); // what it said before it ended
    peri_poll_close(self->poll);
    self->poll = NULL;
    close(self->fd);
    peri_child_format_status(status, how, sizeof(how));
    self->base.events->on_end(&self->base, how);
    free(self);
}

static peri_err_t spawn(struct process_link *self, struct peri_children *children)
{
    int ends[2];
    char index[16];
    const char *args[] = {"perigee", "_worker", index, NULL};
    if (peri_control_pair(ends) != PERI_OK)
        return PERI_ERR_SYSTEM;
    snprintf(index, sizeof(index), "%u", self->base.index);
    self->child.on_exit = on_child_exit;
    peri_err_t err = peri_child_start(children, &self->child, args, ends[1]);
    int saved = errno;
    close(ends[1]);
    self->fd = ends[0];
    if (err != PERI_OK)
        close(self->fd);
    errno = saved;
    return err;
}

static void send_start(struct process_link *self, const struct peri_link_options *options)
{
    struct peri_control_message message = {
        .type = PERI_CONTROL_START,
        .number = options->index,
        .text = peri_slice((const char *)options->settings, sizeof(*options->settings)),
        .fd_count = 1,
    };
    message.fds[0] = peri_shm_fd(options->shm);
    send_order(&self->base, &message);
}

struct peri_link *peri_link_open_process(const struct peri_link_options *options)
{
    struct process_link *self = calloc(1, sizeof(*self));
    if (!self)
        return NULL;
    self->base =
        (struct peri_link){.ops = &ops, .events = options->events, .data = options->data, .index = options->index};
    if (spawn(self, options->children) != PERI_OK) {
        peri_error("cannot start worker %u: %s", options->index, strerror(errno));
        free(self);
        return NULL;
    }
    self->poll = peri_poll_open(options->loop, self->fd, on_readable, self);
    if (!self->poll)
        on_kill(&self->base);
    send_start(self, options);
    return &self->base;
}
