// SPDX-License-Identifier: MIT
// What the supervisor tells its workers when they start, and what it does with what they tell.
#include <stdio.h>

#include "app/config.h"
#include "app/dev.h"
#include "app/link.h"
#include "app/listen_plan.h"
#include "app/listening.h"
#include "app/recording.h"
#include "app/supervisor_internal.h"
#include "app/workers.h"

static void on_brief(void *data, struct peri_link *link)
{
    struct peri_supervisor *supervisor = data;
    struct peri_edition *edition = peri_history_current(&supervisor->history);
    struct peri_listen_plan plan;
    int fds[PERI_CONFIG_LISTENERS];
    peri_listen_plan_make(&plan, NULL, edition->config);
    peri_listeners_fds(&supervisor->listeners, link->index, plan.add, plan.add_count, fds);
    link->ops->build(link, edition->number, edition->snapshot);
    link->ops->switch_to(link, edition->number, &plan, fds);
    peri_supervisor_join_canary(supervisor, link);
    if (supervisor->recording)
        peri_recording_brief(supervisor->recording, link);
}

static void on_built(void *data, uint32_t worker, uint64_t number, const char *errors)
{
    struct peri_supervisor *supervisor = data;
    if (supervisor->candidate && supervisor->candidate->number == number)
        peri_reload_built(&supervisor->reload, worker, errors);
}

static void on_switched(void *data, uint32_t worker, uint64_t number)
{
    struct peri_supervisor *supervisor = data;
    if (peri_history_current(&supervisor->history)->number == number)
        peri_reload_switched(&supervisor->reload, worker);
}

static void on_explained(void *data, uint64_t id, struct peri_slice answer)
{
    peri_supervisor_explained(data, id, answer);
}

static void on_lost(void *data, uint32_t worker)
{
    struct peri_supervisor *supervisor = data;
    supervisor->canary.deaths++;
    peri_supervisor_unexplained(supervisor, worker);
    peri_reload_lost(&supervisor->reload, worker);
}

static void print_ready(const struct peri_supervisor *supervisor)
{
    char line[PERI_CONFIG_LISTENERS * 130 + 64];
    uint64_t number = peri_history_current(&supervisor->history)->number;
    if (supervisor->admin.socket)
        fprintf(stderr, "perigee: admin interface on %s\n", peri_listening_real(supervisor->admin.socket));
    int len = snprintf(line, sizeof(line), "perigee: ready, generation %llu", (unsigned long long)number);
    for (uint32_t i = 0; i < supervisor->listeners.count; i++)
        len += snprintf(line + len, sizeof(line) - (size_t)len, "%s%s", i == 0 ? ", listening on " : ", ",
                        peri_supervisor_listener(supervisor, i));
    fprintf(stderr, "%s\n", line);
}

static void on_serving(void *data)
{
    struct peri_supervisor *supervisor = data;
    struct peri_edition *edition = peri_history_current(&supervisor->history);
    if (supervisor->state != PERI_SUPERVISOR_STARTING)
        return;
    peri_supervisor_set_state(supervisor, PERI_SUPERVISOR_SERVING);
    peri_metrics_set_generation(supervisor->shm, edition->number);
    peri_chronicle_set(&supervisor->chronicle, supervisor->entry, PERI_CHRONICLE_SERVES, NULL);
    supervisor->entry = NULL;
    print_ready(supervisor);
    struct peri_snapshot *newest = supervisor->dev ? peri_dev_snapshot(supervisor->dev) : NULL;
    peri_supervisor_watch(supervisor, newest ? newest : edition->snapshot);
    if (supervisor->wants_reload)
        peri_supervisor_reload_soon(supervisor);
}

static void on_hopeless(void *data, const char *errors)
{
    struct peri_supervisor *supervisor = data;
    supervisor->status = 1;
    peri_supervisor_refuse(supervisor, errors);
    peri_workers_kill(supervisor->workers);
}

static void on_empty(void *data)
{
    struct peri_supervisor *supervisor = data;
    if (supervisor->state != PERI_SUPERVISOR_STOPPED)
        peri_supervisor_stop(supervisor, supervisor->status);
}

const struct peri_workers_ops peri_supervisor_workers_ops = {
    .brief = on_brief,
    .on_built = on_built,
    .on_switched = on_switched,
    .on_explained = on_explained,
    .on_lost = on_lost,
    .on_serving = on_serving,
    .on_hopeless = on_hopeless,
    .on_empty = on_empty,
};
