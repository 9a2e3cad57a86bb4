// SPDX-License-Identifier: MIT
// The life of the supervisor: its states, its signals and its end. How it starts is in supervisor_start.c, what its workers
// tell it in supervisor_workers.c, and reloads are in supervisor_reload.c.
#include "app/supervisor.h"

#include <signal.h>
#include <stdio.h>

#include "app/admin.h"
#include "app/check.h"
#include "app/child.h"
#include "app/config.h"
#include "app/dev.h"
#include "app/listening.h"
#include "app/supervisor_internal.h"
#include "app/watcher.h"
#include "app/workers.h"
#include "base/assert.h"
#include "base/log.h"
#include "event/signal.h"

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

void peri_supervisor_set_state(struct peri_supervisor *supervisor, enum peri_supervisor_state state)
{
    peri_assert(legal[supervisor->state] & TO(state));
    peri_debug("supervisor: %s -> %s", names[supervisor->state], names[state]);
    supervisor->state = state;
}

void peri_supervisor_stop(struct peri_supervisor *supervisor, int status)
{
    peri_supervisor_set_state(supervisor, PERI_SUPERVISOR_STOPPED);
    supervisor->status = status;
    peri_loop_stop(supervisor->loop);
}

// ---- ending ----

static void begin_drain(struct peri_supervisor *supervisor)
{
    uint64_t ms = peri_history_current(&supervisor->history)->config->drain_ms;
    peri_supervisor_set_state(supervisor, PERI_SUPERVISOR_DRAINING);
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
    case PERI_SUPERVISOR_LOADING: peri_supervisor_stop(supervisor, 0); break;
    case PERI_SUPERVISOR_STARTING:
    case PERI_SUPERVISOR_SERVING: begin_drain(supervisor); break;
    default: break;
    }
}

static void on_signal(void *data, int number)
{
    struct peri_supervisor *supervisor = data;
    if (number != SIGHUP && supervisor->status == PERI_SUPERVISOR_AGAIN)
        supervisor->status = 0; // to end is newer than to start again
    if (number == SIGHUP)
        peri_supervisor_reload_soon(supervisor);
    else if (supervisor->state == PERI_SUPERVISOR_DRAINING)
        peri_workers_kill(supervisor->workers);
    else
        peri_supervisor_drain(supervisor);
}

// ---- the whole ----

static bool open_dev(struct peri_supervisor *supervisor)
{
    supervisor->dev = peri_dev_new(supervisor->loop, supervisor->children, supervisor->options->file);
    return supervisor->dev != NULL;
}

static bool open(struct peri_supervisor *supervisor)
{
    static const int numbers[PERI_SUPERVISOR_SIGNALS] = {SIGTERM, SIGINT, SIGHUP};
    supervisor->loop = peri_loop_new(false);
    if (!supervisor->loop)
        return false;
    supervisor->started_ms = peri_loop_now_ms(supervisor->loop);
    peri_tls_ticket_rotation_init(&supervisor->tickets);
    peri_supervisor_init_reload(supervisor);
    peri_list_init(&supervisor->admin.explanations.waiters);
    for (int i = 0; i < PERI_SUPERVISOR_SIGNALS; i++) {
        supervisor->signals[i] = peri_signal_open(supervisor->loop, numbers[i], on_signal, supervisor);
        if (!supervisor->signals[i])
            return false;
    }
    supervisor->children = peri_children_new(supervisor->loop);
    return supervisor->children && (!supervisor->options->is_dev || open_dev(supervisor));
}

static void close_all(struct peri_supervisor *supervisor)
{
    if (supervisor->check)
        peri_check_cancel(supervisor->check);
    peri_watcher_free(supervisor->watcher);
    peri_tls_ticket_rotation_stop(&supervisor->tickets);
    peri_dev_stop(supervisor->dev);
    peri_admin_close(supervisor->admin.interface);
    peri_listeners_keep(&supervisor->listeners, NULL);
    peri_children_free(supervisor->children);
    for (int i = 0; i < PERI_SUPERVISOR_SIGNALS; i++)
        peri_signal_close(supervisor->signals[i]);
    peri_workers_free(supervisor->workers);
    if (supervisor->loop)
        peri_loop_free(supervisor->loop);
    peri_listening_close(supervisor->admin.socket);
    peri_edition_free(supervisor->candidate);
    peri_history_close(&supervisor->history);
    peri_chronicle_close(&supervisor->chronicle);
    peri_shm_close(supervisor->shm);
    peri_dev_free(supervisor->dev);
}

int peri_supervisor_run(const struct peri_supervisor_options *options)
{
    struct peri_supervisor supervisor = {.options = options, .status = 1};
    peri_history_init(&supervisor.history);
    peri_chronicle_init(&supervisor.chronicle);
    if (open(&supervisor) && peri_supervisor_load(&supervisor)) {
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

const struct peri_chronicle *peri_supervisor_chronicle(const struct peri_supervisor *supervisor)
{
    return &supervisor->chronicle;
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
