// SPDX-License-Identifier: MIT
// The life of the supervisor, and what the workers and signals tell it. Reloads are in supervisor_reload.c.
#include "app/supervisor.h"

#include <libgen.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/admin.h"
#include "app/check.h"
#include "app/child.h"
#include "app/config.h"
#include "app/errors.h"
#include "app/link.h"
#include "app/listen_plan.h"
#include "app/listening.h"
#include "app/snapshot.h"
#include "app/supervisor_internal.h"
#include "app/watcher.h"
#include "app/workers.h"
#include "base/assert.h"
#include "base/log.h"
#include "event/loop.h"
#include "event/signal.h"

#define ADMIN_MODE 0600 ///< of an admin unix socket: whoever reaches it controls the proxy

#define TO(state) (1u << (state))
static const unsigned legal[PERI_SUPERVISOR_COUNT] = {
    [PERI_SUPERVISOR_LOADING] = TO(PERI_SUPERVISOR_STARTING) | TO(PERI_SUPERVISOR_STOPPED),
    [PERI_SUPERVISOR_STARTING] =
        TO(PERI_SUPERVISOR_SERVING) | TO(PERI_SUPERVISOR_DRAINING) | TO(PERI_SUPERVISOR_STOPPED),
    [PERI_SUPERVISOR_SERVING] = TO(PERI_SUPERVISOR_DRAINING),
    [PERI_SUPERVISOR_DRAINING] = TO(PERI_SUPERVISOR_STOPPED),
    [PERI_SUPERVISOR_STOPPED] = 0,
};

static const char *const names[PERI_SUPERVISOR_COUNT] = {"loading", "starting", "serving", "draining", "stopped"};

static void set_state(struct peri_supervisor *supervisor, enum peri_supervisor_state state)
{
    peri_assert(legal[supervisor->state] & TO(state));
    peri_debug("supervisor: %s -> %s", names[supervisor->state], names[state]);
    supervisor->state = state;
}

static void stop(struct peri_supervisor *supervisor, int status)
{
    set_state(supervisor, PERI_SUPERVISOR_STOPPED);
    supervisor->status = status;
    peri_loop_stop(supervisor->loop);
}

// ---- starting ----

static void refuse(struct peri_supervisor *supervisor, const char *errors)
{
    char *copy = strdup(supervisor->options->file);
    char prefix[4096] = "";
    const char *directory = copy ? dirname(copy) : ".";
    if (strcmp(directory, ".") != 0)
        snprintf(prefix, sizeof(prefix), "%s/", directory);
    peri_errors_print(stderr, prefix, errors);
    fprintf(stderr, "perigee: not started: %s\n", supervisor->options->file);
    free(copy);
}

// Gives up before anything serves; `errors` is taken.
static void fail(struct peri_supervisor *supervisor, char *errors)
{
    refuse(supervisor, errors);
    free(errors);
    stop(supervisor, 1);
}

static char *open_admin(struct peri_supervisor *supervisor, const struct peri_config *config)
{
    char message[512];
    if (config->admin.len == 0)
        return NULL;
    if (peri_listening_open(config->admin, 1, ADMIN_MODE, &supervisor->admin_socket, message, sizeof(message)) != PERI_OK)
        return peri_errors_new("admin", "%s", message);
    supervisor->admin = peri_admin_open(supervisor->loop, supervisor->admin_socket, supervisor);
    return supervisor->admin ? NULL : peri_errors_new("admin", "out of memory");
}

static const struct peri_workers_ops workers_ops;

static char *make_workers(struct peri_supervisor *supervisor, const struct peri_config *config)
{
    supervisor->shm = peri_shm_create(
        &(struct peri_shm_options){.workers = config->workers, .dict_bytes = config->shared_memory});
    if (!supervisor->shm)
        return peri_errors_new("shared_memory", "the system does not give the shared memory");
    supervisor->workers = peri_workers_new(&(struct peri_workers_options){
        .loop = supervisor->loop,
        .shm = supervisor->shm,
        .children = supervisor->children,
        .count = config->workers,
        .is_local = config->is_single,
        .lua_memory = config->lua_memory,
        .watchdog_ms = config->watchdog_ms,
        .role = supervisor->options->role,
        .ops = &workers_ops,
        .data = supervisor,
    });
    return supervisor->workers ? NULL : peri_errors_new(NULL, "out of memory");
}

static char *open_all(struct peri_supervisor *supervisor, const struct peri_config *config)
{
    supervisor->listeners.workers = config->workers;
    char *errors = peri_listeners_open(&supervisor->listeners, config);
    if (!errors)
        errors = open_admin(supervisor, config);
    return errors ? errors : make_workers(supervisor, config);
}

static void on_loaded(void *data, struct peri_check_result *result)
{
    struct peri_supervisor *supervisor = data;
    char *errors = result->errors;
    struct peri_edition *edition = NULL;
    supervisor->check = NULL;
    result->errors = NULL;
    if (!errors) {
        edition = peri_edition_new(&supervisor->history, result->snapshot, result->config, &errors);
        result->snapshot = NULL;
        result->config = NULL;
    }
    if (!errors) {
        peri_history_add(&supervisor->history, edition, edition->config->keep_generations);
        errors = open_all(supervisor, edition->config);
    }
    if (errors) {
        fail(supervisor, errors);
        return;
    }
    set_state(supervisor, PERI_SUPERVISOR_STARTING);
    peri_workers_start(supervisor->workers);
}

// ---- what the workers tell ----

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

static void on_lost(void *data, uint32_t worker)
{
    struct peri_supervisor *supervisor = data;
    peri_reload_lost(&supervisor->reload, worker);
}

static void print_ready(const struct peri_supervisor *supervisor)
{
    char line[PERI_CONFIG_LISTENERS * 130 + 64];
    uint64_t number = peri_history_current(&supervisor->history)->number;
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
    set_state(supervisor, PERI_SUPERVISOR_SERVING);
    peri_metrics_set_generation(supervisor->shm, edition->number);
    print_ready(supervisor);
    peri_supervisor_watch(supervisor, edition->snapshot);
    if (supervisor->wants_reload)
        peri_supervisor_reload_soon(supervisor);
}

static void on_hopeless(void *data, const char *errors)
{
    struct peri_supervisor *supervisor = data;
    supervisor->status = 1;
    refuse(supervisor, errors);
    peri_workers_kill(supervisor->workers);
}

static void on_empty(void *data)
{
    struct peri_supervisor *supervisor = data;
    if (supervisor->state != PERI_SUPERVISOR_STOPPED)
        stop(supervisor, supervisor->status);
}

static const struct peri_workers_ops workers_ops = {
    .brief = on_brief,
    .on_built = on_built,
    .on_switched = on_switched,
    .on_lost = on_lost,
    .on_serving = on_serving,
    .on_hopeless = on_hopeless,
    .on_empty = on_empty,
};

// ---- ending ----

static void begin_drain(struct peri_supervisor *supervisor)
{
    uint64_t ms = peri_history_current(&supervisor->history)->config->drain_ms;
    set_state(supervisor, PERI_SUPERVISOR_DRAINING);
    peri_info("draining: what is open has %llu ms to finish", (unsigned long long)ms);
    peri_supervisor_abandon_reload(supervisor);
    peri_watcher_free(supervisor->watcher);
    supervisor->watcher = NULL;
    peri_listeners_keep(&supervisor->listeners, NULL);
    peri_workers_drain(supervisor->workers, ms);
}

void peri_supervisor_drain(struct peri_supervisor *supervisor)
{
    switch (supervisor->state) {
    case PERI_SUPERVISOR_LOADING:
        stop(supervisor, 0);
        break;
    case PERI_SUPERVISOR_STARTING:
    case PERI_SUPERVISOR_SERVING:
        begin_drain(supervisor);
        break;
    default:
        break;
    }
}

static void on_signal(void *data, int number)
{
    struct peri_supervisor *supervisor = data;
    if (number == SIGHUP)
        peri_supervisor_reload_soon(supervisor);
    else if (supervisor->state == PERI_SUPERVISOR_DRAINING)
        peri_workers_kill(supervisor->workers);
    else
        peri_supervisor_drain(supervisor);
}

// ---- the whole ----

static bool open(struct peri_supervisor *supervisor)
{
    static const int numbers[PERI_SUPERVISOR_SIGNALS] = {SIGTERM, SIGINT, SIGHUP};
    supervisor->loop = peri_loop_new(false);
    if (!supervisor->loop)
        return false;
    supervisor->started_ms = peri_loop_now_ms(supervisor->loop);
    peri_supervisor_init_reload(supervisor);
    for (int i = 0; i < PERI_SUPERVISOR_SIGNALS; i++) {
        supervisor->signals[i] = peri_signal_open(supervisor->loop, numbers[i], on_signal, supervisor);
        if (!supervisor->signals[i])
            return false;
    }
    supervisor->children = peri_children_new(supervisor->loop);
    return supervisor->children != NULL;
}

static void close_all(struct peri_supervisor *supervisor)
{
    if (supervisor->check)
        peri_check_cancel(supervisor->check);
    peri_watcher_free(supervisor->watcher);
    peri_admin_close(supervisor->admin);
    peri_listeners_keep(&supervisor->listeners, NULL);
    peri_children_free(supervisor->children);
    for (int i = 0; i < PERI_SUPERVISOR_SIGNALS; i++)
        peri_signal_close(supervisor->signals[i]);
    peri_workers_free(supervisor->workers);
    if (supervisor->loop)
        peri_loop_free(supervisor->loop);
    peri_listening_close(supervisor->admin_socket);
    peri_edition_free(supervisor->candidate);
    peri_history_close(&supervisor->history);
    peri_shm_close(supervisor->shm);
}

int peri_supervisor_run(const struct peri_supervisor_options *options)
{
    struct peri_supervisor supervisor = {.options = options, .status = 1};
    struct peri_check_options check = {.file = options->file, .role = options->role};
    peri_history_init(&supervisor.history);
    if (open(&supervisor))
        supervisor.check =
            peri_check_start(supervisor.loop, supervisor.children, &check, PERI_CHECK_MS, on_loaded, &supervisor);
    if (supervisor.check) {
        supervisor.status = 0;
        peri_loop_run(supervisor.loop);
    } else {
        fprintf(stderr, "perigee: cannot start: the system gives no process, memory or descriptors\n");
    }
    close_all(&supervisor);
    return supervisor.status;
}

// ---- what others ask ----

enum peri_supervisor_state peri_supervisor_state(const struct peri_supervisor *supervisor)
{
    return supervisor->state;
}

const char *peri_supervisor_state_name(enum peri_supervisor_state state)
{
    peri_assert((unsigned)state < PERI_SUPERVISOR_COUNT);
    return names[state];
}

const char *peri_supervisor_reload_state(const struct peri_supervisor *supervisor)
{
    return peri_reload_state_name(supervisor->reload.state);
}

const struct peri_history *peri_supervisor_history(const struct peri_supervisor *supervisor)
{
    return &supervisor->history;
}

struct peri_shm *peri_supervisor_shm(const struct peri_supervisor *supervisor)
{
    return supervisor->shm;
}

uint64_t peri_supervisor_uptime_ms(const struct peri_supervisor *supervisor)
{
    return peri_loop_now_ms(supervisor->loop) - supervisor->started_ms;
}

uint32_t peri_supervisor_listener_count(const struct peri_supervisor *supervisor)
{
    return supervisor->listeners.count;
}

const char *peri_supervisor_listener(const struct peri_supervisor *supervisor, uint32_t index)
{
    peri_assert(index < supervisor->listeners.count);
    return peri_listening_real(supervisor->listeners.items[index]);
}
