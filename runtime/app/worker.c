// SPDX-License-Identifier: MIT
// Drives a server and tells shared memory about it.
#include "app/worker.h"

#include <stdlib.h>
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

struct peri_worker {
    struct peri_loop *loop;
    struct peri_shm *shm;
    struct peri_server *server;
    uint32_t index;
    struct peri_worker_settings settings;
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

struct peri_worker *peri_worker_new(struct peri_loop *loop, struct peri_shm *shm, uint32_t index,
                                    const struct peri_worker_settings *settings, const struct peri_server_dev *dev)
{
    struct peri_worker *worker = calloc(1, sizeof(*worker));
    if (!worker)
        return NULL;
    worker->loop = loop;
    worker->shm = shm;
    worker->index = index;
    worker->settings = *settings;
    peri_timer_init(&worker->beat, on_beat);
    peri_explainer_init(&worker->explainer);
    worker->server = peri_server_new(&(struct peri_server_options){
        .loop = loop,
        .shm = shm,
        .worker = (int)index,
        .lua_memory = settings->lua_memory,
        .role = worker->settings.role,
        .dev = dev,
    });
    if (!worker->server) {
        free(worker);
        return NULL;
    }
    start_beat(worker);
    return worker;
}

peri_err_t peri_worker_build(struct peri_worker *worker, uint64_t number, struct peri_snapshot *snapshot, char **errors)
{
    return peri_server_build(worker->server, peri_snapshot_source(snapshot), peri_snapshot_entry(snapshot), number,
                             peri_snapshot_digest(snapshot), errors);
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

void peri_worker_switch(struct peri_worker *worker, const struct peri_listen_plan *plan, const int *fds)
{
    peri_server_switch(worker->server);
    listen_all(worker, plan, fds);
    peri_shm_worker_set_generation(worker->shm, worker->index, peri_server_generation(worker->server));
    peri_shm_worker_set_state(worker->shm, worker->index, PERI_WORKER_READY);
}

void peri_worker_canary(struct peri_worker *worker, uint32_t share)
{
    peri_server_canary(worker->server, share);
}

void peri_worker_explain(struct peri_worker *worker, uint64_t id, struct peri_slice request,
                         void (*on_done)(void *data, uint64_t id, struct peri_slice answer), void *data)
{
    struct peri_explainer_job job = {.id = id, .request = request, .on_done = on_done, .data = data};
    peri_explainer_start(&worker->explainer, worker->server, worker->loop, &job);
}

void peri_worker_drop(struct peri_worker *worker)
{
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
    peri_shm_worker_set_state(worker->shm, worker->index, PERI_WORKER_DRAINING);
    peri_server_drain(worker->server, ms, on_drained, data);
}

void peri_worker_free(struct peri_worker *worker)
{
    if (!worker)
        return;
    peri_timer_stop(&worker->beat);
    peri_recording_feed_close(worker->feed);
    peri_explainer_close(&worker->explainer);
    peri_server_free(worker->server);
    free(worker);
}
