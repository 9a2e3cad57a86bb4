// SPDX-License-Identifier: MIT
// A worker inside this process: orders are carried out at once, and the answers given from the loop. The single process has
// one; it ends with the process, so nothing is ever restarted here.
#include "app/link.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "app/listen_plan.h"
#include "app/worker.h"
#include "base/log.h"
#include "event/loop.h"

struct local_link {
    struct peri_link base;
    struct peri_loop *loop;
    struct peri_worker *worker;
    struct peri_defer answer;
    uint64_t built;    ///< number to be answered as ready or failed; 0 for none
    char *errors;      ///< owned; set when that build failed
    uint64_t switched; ///< number to be answered as switched; 0 for none
    bool has_ended;
    bool is_ending; ///< the loop turns until what was open is closed: later orders have nobody to go to
};

static struct local_link *self_of(struct peri_link *link)
{
    return PERI_CONTAINER(link, struct local_link, base);
}

// The build has ended, well or not.
static void on_ready(void *data, uint64_t number)
{
    struct local_link *self = data;
    self->built = number;
    peri_defer_schedule(self->loop, &self->answer);
}

static void on_switched(void *data, uint64_t number)
{
    struct local_link *self = data;
    self->switched = number;
    peri_defer_schedule(self->loop, &self->answer);
}

static const struct peri_worker_events events = {.on_ready = on_ready, .on_switched = on_switched};

static void on_build(struct peri_link *link, uint64_t number, struct peri_snapshot *snapshot)
{
    struct local_link *self = self_of(link);
    free(self->errors);
    peri_err_t err = peri_worker_build(self->worker, number, snapshot, &self->errors);
    if (err == PERI_OK)
        return;
    if (!self->errors)
        self->errors = strdup("[]");
    on_ready(self, number);
}

static void on_switch_to(struct peri_link *link, uint64_t number, const struct peri_listen_plan *plan, const int *fds)
{
    struct local_link *self = self_of(link);
    int copies[PERI_CONFIG_LISTENERS];
    for (uint32_t i = 0; i < plan->add_count; i++)
        copies[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 3);
    peri_worker_switch(self->worker, number, plan, copies);
}

static void on_canary(struct peri_link *link, uint64_t number, uint32_t share)
{
    peri_worker_canary(self_of(link)->worker, number, share);
}

static void on_drop(struct peri_link *link, uint64_t number)
{
    peri_worker_drop(self_of(link)->worker, number);
}

static void on_explained(void *data, uint64_t id, struct peri_slice answer)
{
    struct local_link *self = data;
    self->base.events->on_explained(&self->base, id, answer);
}

static void on_explain(struct peri_link *link, uint64_t id, struct peri_slice request)
{
    struct local_link *self = self_of(link);
    if (!self->is_ending)
        peri_worker_explain(self->worker, id, request, on_explained, self);
}

static void on_kill(struct peri_link *link)
{
    struct local_link *self = self_of(link);
    self->has_ended = true;
    if (!self->is_ending)
        peri_defer_schedule(self->loop, &self->answer);
}

static void on_drained(void *data)
{
    on_kill(data);
}

static void on_drain(struct peri_link *link, uint64_t ms)
{
    struct local_link *self = self_of(link);
    if (!self->is_ending)
        peri_worker_drain(self->worker, ms, on_drained, link);
}

static void on_record(struct peri_link *link, const struct peri_recording_settings *settings, int fd)
{
    struct local_link *self = self_of(link);
    if (!self->is_ending)
        peri_worker_record(self->worker, settings, settings ? fcntl(fd, F_DUPFD_CLOEXEC, 3) : -1);
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

static void end(struct local_link *self)
{
    self->is_ending = true;
    peri_defer_cancel(&self->answer);
    peri_worker_free(self->worker);
    self->base.events->on_end(&self->base, "the end of its work");
    free(self->errors);
    free(self);
}

static void tell_built(struct local_link *self)
{
    uint64_t number = self->built;
    char *errors = self->errors;
    self->built = 0;
    self->errors = NULL;
    if (errors)
        self->base.events->on_failed(&self->base, number, errors);
    else
        self->base.events->on_ready(&self->base, number);
    free(errors);
}

static void on_answer(struct peri_defer *defer)
{
    struct local_link *self = PERI_CONTAINER(defer, struct local_link, answer);
    if (self->built)
        tell_built(self);
    uint64_t switched = self->switched;
    self->switched = 0;
    if (switched)
        self->base.events->on_switched(&self->base, switched);
    if (self->has_ended)
        end(self);
}

struct peri_link *peri_link_open_local(const struct peri_link_options *options)
{
    struct local_link *self = calloc(1, sizeof(*self));
    if (!self)
        return NULL;
    self->base =
        (struct peri_link){.ops = &ops, .events = options->events, .data = options->data, .index = options->index};
    self->loop = options->loop;
    peri_defer_init(&self->answer, on_answer);
    self->worker = peri_worker_new(&(struct peri_worker_options){
        .loop = options->loop,
        .shm = options->shm,
        .index = options->index,
        .settings = options->settings,
        .dev = options->dev,
        .events = &events,
        .data = self,
    });
    if (!self->worker) {
        free(self);
        return NULL;
    }
    return &self->base;
}
