// SPDX-License-Identifier: MIT
// Main function of a worker process: carries out what the supervisor says on the control socket. When the supervisor is
// gone it finishes what it has and ends; it never outlives its work.
#include "app/worker_main.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "app/control.h"
#include "app/listen_plan.h"
#include "app/snapshot.h"
#include "app/worker.h"
#include "base/log.h"
#include "event/loop.h"
#include "event/poll.h"
#include "event/signal.h"
#include "shared/shm.h"

#define ORPHAN_DRAIN_MS 30000 ///< time to finish without a supervisor, or after a SIGTERM of its own

struct process {
    struct peri_loop *loop;
    struct peri_shm *shm;
    struct peri_worker *worker;
    struct peri_poll *poll;
    struct peri_signal *terminate;
    bool is_draining;
    int status;
};

static void end(struct process *process, int status)
{
    process->status = status;
    peri_loop_stop(process->loop);
}

static void on_drained(void *data)
{
    end(data, 0);
}

static void drain(struct process *process, uint64_t ms)
{
    if (process->is_draining)
        return;
    process->is_draining = true;
    if (process->worker)
        peri_worker_drain(process->worker, ms, on_drained, process);
    else
        end(process, 0);
}

static void answer(struct process *process, enum peri_control_type type, uint64_t number, const char *text)
{
    struct peri_control_message message = {.type = type, .number = number, .text = peri_slice_from(text)};
    peri_err_t err = peri_control_send(PERI_CONTROL_CHILD_FD, &message);
    if (err == PERI_OK || err == PERI_ERR_CLOSED)
        return; // the end of the supervisor is seen when reading
    peri_error("cannot answer the supervisor");
    end(process, 1);
}

static void on_ready(void *data, uint64_t number)
{
    answer(data, PERI_CONTROL_READY, number, NULL);
}

static void on_switched(void *data, uint64_t number)
{
    answer(data, PERI_CONTROL_SWITCHED, number, NULL);
}

static const struct peri_worker_events events = {.on_ready = on_ready, .on_switched = on_switched};

static struct peri_worker *make_worker(struct process *process, uint64_t index,
                                       const struct peri_worker_settings *settings)
{
    return peri_worker_new(&(struct peri_worker_options){
        .loop = process->loop,
        .shm = process->shm,
        .index = (uint32_t)index,
        .settings = settings,
        .events = &events,
        .data = process,
    });
}

static void on_start(struct process *process, struct peri_control_message *message)
{
    struct peri_worker_settings settings;
    int fd = peri_control_take_fd(message);
    if (process->worker || fd < 0 || message->text.len != sizeof(settings)) {
        if (fd >= 0)
            close(fd);
        end(process, 1);
        return;
    }
    memcpy(&settings, message->text.ptr, sizeof(settings));
    settings.role[sizeof(settings.role) - 1] = '\0';
    process->shm = peri_shm_attach(fd);
    if (process->shm && message->number < peri_shm_workers(process->shm))
        process->worker = make_worker(process, message->number, &settings);
    if (!process->worker)
        end(process, 1);
}

static void on_build(struct process *process, struct peri_control_message *message)
{
    char *errors = NULL;
    struct peri_snapshot *snapshot = NULL;
    int fd = peri_control_take_fd(message);
    peri_err_t err = fd >= 0 ? peri_snapshot_open(fd, &snapshot) : PERI_ERR_INVALID;
    if (err == PERI_OK)
        err = peri_worker_build(process->worker, message->number, snapshot, &errors);
    peri_snapshot_unref(snapshot);
    if (err != PERI_OK)
        answer(process, PERI_CONTROL_FAILED, message->number, errors ? errors : "[]");
    free(errors);
}

static void on_switch(struct process *process, struct peri_control_message *message)
{
    struct peri_listen_plan plan;
    if (peri_listen_plan_parse(message->text, &plan) != PERI_OK || plan.add_count != message->fd_count) {
        end(process, 1);
        return;
    }
    peri_worker_switch(process->worker, message->number, &plan, message->fds);
    message->fd_count = 0; // taken
}

static void on_canary(struct process *process, const struct peri_control_message *message)
{
    uint32_t share;
    if (message->text.len != sizeof(share)) {
        end(process, 1);
        return;
    }
    memcpy(&share, message->text.ptr, sizeof(share));
    peri_worker_canary(process->worker, message->number, share);
}

static void on_record(struct process *process, struct peri_control_message *message)
{
    struct peri_recording_settings settings;
    int fd = peri_control_take_fd(message);
    if (fd < 0) {
        peri_worker_record(process->worker, NULL, -1);
    } else if (message->text.len == sizeof(settings)) {
        memcpy(&settings, message->text.ptr, sizeof(settings));
        peri_worker_record(process->worker, &settings, fd);
    } else {
        close(fd);
        end(process, 1);
    }
}

static void on_explained(void *data, uint64_t id, struct peri_slice text)
{
    struct process *process = data;
    struct peri_control_message message = {.type = PERI_CONTROL_EXPLAINED, .number = id, .text = text};
    peri_err_t err = peri_control_send(PERI_CONTROL_CHILD_FD, &message);
    if (err == PERI_OK || err == PERI_ERR_CLOSED)
        return;
    peri_error("cannot answer the supervisor");
    end(process, 1);
}

static void carry_out(struct process *process, struct peri_control_message *message)
{
    if (message->type == PERI_CONTROL_START) {
        on_start(process, message);
        return;
    }
    if (!process->worker || process->is_draining)
        return;
    switch (message->type) {
    case PERI_CONTROL_BUILD: on_build(process, message); break;
    case PERI_CONTROL_SWITCH: on_switch(process, message); break;
    case PERI_CONTROL_CANARY: on_canary(process, message); break;
    case PERI_CONTROL_DROP: peri_worker_drop(process->worker, message->number); break;
    case PERI_CONTROL_EXPLAIN:
        peri_worker_explain(process->worker, message->number, message->text, on_explained, process);
        break;
    case PERI_CONTROL_DRAIN: drain(process, message->number); break;
    case PERI_CONTROL_RECORD: on_record(process, message); break;
    default: end(process, 1);
    }
}

static void on_readable(void *data)
{
    struct process *process = data;
    struct peri_control_message message;
    peri_err_t err;
    while ((err = peri_control_receive(PERI_CONTROL_CHILD_FD, &message)) == PERI_OK) {
        carry_out(process, &message);
        peri_control_release(&message);
    }
    if (err == PERI_ERR_AGAIN)
        return;
    peri_poll_close(process->poll);
    process->poll = NULL;
    if (!process->is_draining)
        peri_warn("the supervisor is gone: finishing what is open");
    drain(process, ORPHAN_DRAIN_MS);
}

static void on_terminate(void *data, int number)
{
    PERI_UNUSED(number);
    drain(data, ORPHAN_DRAIN_MS);
}

// Signals of the terminal reach the whole foreground group; the supervisor decides what they mean.
static bool open(struct process *process)
{
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    process->loop = peri_loop_new(false);
    if (!process->loop)
        return false;
    process->terminate = peri_signal_open(process->loop, SIGTERM, on_terminate, process);
    process->poll = peri_poll_open(process->loop, PERI_CONTROL_CHILD_FD, on_readable, process);
    return process->terminate && process->poll;
}

static void close_all(struct process *process)
{
    peri_worker_free(process->worker);
    peri_poll_close(process->poll);
    peri_signal_close(process->terminate);
    if (process->loop)
        peri_loop_free(process->loop);
    peri_shm_close(process->shm);
}

int peri_worker_main(void)
{
    struct process process = {.status = 1};
    if (open(&process))
        peri_loop_run(process.loop);
    else
        peri_error("the worker cannot start");
    close_all(&process);
    return process.status;
}
