// SPDX-License-Identifier: MIT
// Drives a server and tells shared memory about it. A candidate is ready when its upstreams were looked for; what is ordered before is done
// then. A worker that starts is told everything at once, so it serves nobody before it knows where to send requests.
//
//   build -> looks under way -> ready -> switch | canary
#include "app/worker.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/explainer.h"
#include "app/listen_plan.h"
#include "app/recording_feed.h"
#include "app/snapshot.h"
#include "base/log.h"
#include "event/loop.h"
#include "event/timer.h"
#include "proxy/server.h"
#include "shared/metrics.h"
#include "shared/shm.h"

#define WARM_MS                                                                                                        \
    3000 // from the beginning of a build until its upstreams need not be known any more; less than PERI_RELOAD_STAGE_MS

struct candidate {
    uint64_t number; ///< 0: none
    bool is_ready;
    uint32_t share;                 ///< to be sent there when it is ready
    struct peri_slice plan;         ///< of the switch when it is ready, as text, owned; ptr is NULL for none
    int fds[PERI_CONFIG_LISTENERS]; ///< of that switch
};

struct peri_worker {
    struct peri_loop *loop;
    struct peri_shm *shm;
    struct peri_server *server;
    uint32_t index;
    struct peri_worker_settings settings;
    const struct peri_worker_events *events;
    void *data;
    struct candidate candidate;
    struct peri_timer beat;
    struct peri_recording_feed *feed; ///< NULL when nothing is recorded
    struct peri_explainer explainer;
};

static void on_beat(struct peri_timer *timer)
{
    struct peri_worker *worker = PERI_CONTAINER(timer, struct peri_worker, beat);
    peri_shm_worker_beat(worker->shm, worker->index, peri_loop_now_ms(worker->loop));
    peri_shm_worker_set_lua_bytes(worker->shm, worker->index, peri_server_lua_bytes(worker->server));
    peri_timer_start(worker->loop, timer, worker->settings.beat_ms);
}

static void start_beat(struct peri_worker *worker)
{
    peri_shm_worker_begin(worker->shm, worker->index, (int32_t)getpid(), peri_loop_now_ms(worker->loop));
    on_beat(&worker->beat);
}

struct peri_worker *peri_worker_new(const struct peri_worker_options *options)
{
    struct peri_worker *worker = calloc(1, sizeof(*worker));
    if (!worker)
        return NULL;
    worker->loop = options->loop;
    worker->shm = options->shm;
    worker->index = options->index;
    worker->settings = *options->settings;
    worker->events = options->events;
    worker->data = options->data;
    peri_timer_init(&worker->beat, on_beat);
    peri_explainer_init(&worker->explainer);
    worker->server = peri_server_new(&(struct peri_server_options){
        .loop = options->loop,
        .shm = options->shm,
        .worker = (int)options->index,
        .lua_memory = options->settings->lua_memory,
        .role = worker->settings.role,
        .dev = options->dev,
    });
    if (!worker->server) {
        free(worker);
        return NULL;
    }
    start_beat(worker);
    return worker;
}

// ---- candidates ----

static void close_all(const int *fds, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        close(fds[i]);
}

static void listen_all(struct peri_worker *worker, const struct peri_listen_plan *plan, const int *fds)
{
    for (uint32_t i = 0; i < plan->add_count; i++)
        if (peri_server_listen(worker->server, fds[i], plan->add[i]) != PERI_OK)
            peri_error("worker %u does not serve %.*s: the system refuses", worker->index, (int)plan->add[i].len,
                       plan->add[i].ptr);
    for (uint32_t i = 0; i < plan->remove_count; i++)
        peri_server_unlisten(worker->server, plan->remove[i]);
}

static void switch_now(struct peri_worker *worker, const struct peri_listen_plan *plan, const int *fds)
{
    uint64_t number = worker->candidate.number;
    worker->candidate.number = 0;
    peri_server_switch(worker->server);
    listen_all(worker, plan, fds);
    peri_shm_worker_set_generation(worker->shm, worker->index, number);
    peri_shm_worker_set_state(worker->shm, worker->index, PERI_WORKER_READY);
    worker->events->on_switched(worker->data, number);
}

// Makes the switch that was ordered before the candidate was ready.
static void catch_up(struct peri_worker *worker)
{
    struct peri_listen_plan plan;
    struct peri_slice text = worker->candidate.plan;
    worker->candidate.plan = peri_slice(NULL, 0);
    if (text.ptr && peri_listen_plan_parse(text, &plan) == PERI_OK)
        switch_now(worker, &plan, worker->candidate.fds);
    free((void *)text.ptr);
}

static void forget_candidate(struct peri_worker *worker)
{
    struct peri_listen_plan plan;
    struct peri_slice text = worker->candidate.plan;
    if (text.ptr && peri_listen_plan_parse(text, &plan) == PERI_OK)
        close_all(worker->candidate.fds, plan.add_count);
    free((void *)text.ptr);
    worker->candidate = (struct candidate){0};
}

static void on_warm(void *data)
{
    struct peri_worker *worker = data;
    worker->candidate.is_ready = true;
    worker->events->on_ready(worker->data, worker->candidate.number);
    if (worker->candidate.share > 0)
        peri_server_canary(worker->server, worker->candidate.share);
    catch_up(worker);
}

peri_err_t peri_worker_build(struct peri_worker *worker, uint64_t number, struct peri_snapshot *snapshot, char **errors)
{
    uint64_t began_ns = peri_metrics_clock_ns();
    catch_up(worker); // this is the next one: it does not wait
    forget_candidate(worker);
    peri_err_t err = peri_server_build(worker->server, peri_snapshot_source(snapshot), peri_snapshot_entry(snapshot),
                                       number, peri_snapshot_digest(snapshot), errors);
    uint64_t spent_ms = (peri_metrics_clock_ns() - began_ns) / 1000000;
    if (err != PERI_OK)
        return err;
    worker->candidate.number = number;
    peri_server_warm(worker->server, spent_ms < WARM_MS ? WARM_MS - spent_ms : 0, on_warm, worker);
    return PERI_OK;
}

void peri_worker_switch(struct peri_worker *worker, uint64_t number, const struct peri_listen_plan *plan,
                        const int *fds)
{
    struct candidate *candidate = &worker->candidate;
    if (number != candidate->number) {
        close_all(fds, plan->add_count);
        return;
    }
    if (!candidate->is_ready)
        candidate->plan = peri_listen_plan_format(plan);
    if (candidate->plan.ptr)
        memcpy(candidate->fds, fds, plan->add_count * sizeof(*fds));
    else
        switch_now(worker, plan, fds);
}

void peri_worker_canary(struct peri_worker *worker, uint64_t number, uint32_t share)
{
    if (number != worker->candidate.number)
        return;
    worker->candidate.share = share;
    if (worker->candidate.is_ready)
        peri_server_canary(worker->server, share);
}

void peri_worker_explain(struct peri_worker *worker, uint64_t id, struct peri_slice request,
                         void (*on_done)(void *data, uint64_t id, struct peri_slice answer), void *data)
{
    struct peri_explainer_job job = {.id = id, .request = request, .on_done = on_done, .data = data};
    peri_explainer_start(&worker->explainer, worker->server, worker->loop, &job);
}

void peri_worker_drop(struct peri_worker *worker, uint64_t number)
{
    if (number != worker->candidate.number)
        return;
    forget_candidate(worker);
    peri_server_drop(worker->server);
}

void peri_worker_record(struct peri_worker *worker, const struct peri_recording_settings *settings, int fd)
{
    peri_recording_feed_close(worker->feed);
    worker->feed =
        settings ? peri_recording_feed_open(worker->loop, worker->server, worker->index, settings, fd) : NULL;
}

void peri_worker_drain(struct peri_worker *worker, uint64_t ms, void (*on_drained)(void *data), void *data)
{
    forget_candidate(worker);
    peri_server_drop(worker->server);
    peri_shm_worker_set_state(worker->shm, worker->index, PERI_WORKER_DRAINING);
    peri_server_drain(worker->server, ms, on_drained, data);
}

void peri_worker_free(struct peri_worker *worker)
{
    if (!worker)
        return;
    peri_timer_stop(&worker->beat);
    forget_candidate(worker);
    peri_recording_feed_close(worker->feed);
    peri_explainer_close(&worker->explainer);
    peri_server_free(worker->server);
    free(worker);
}
