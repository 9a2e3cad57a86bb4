// SPDX-License-Identifier: MIT
// What a reload means for the supervisor: the calls of the transaction in reload.c, and who asks for one.
#include <libgen.h>
#include <stdlib.h>
#include <string.h>

#include "app/check.h"
#include "app/config.h"
#include "app/dev.h"
#include "app/errors.h"
#include "app/link.h"
#include "app/listen_plan.h"
#include "app/snapshot.h"
#include "app/supervisor_internal.h"
#include "app/watcher.h"
#include "app/workers.h"
#include "base/log.h"

// ---- the candidate ----

// Opens what the candidate needs; a malloc'ed list of errors when it cannot have it.
static char *prepare(struct peri_supervisor *supervisor)
{
    const struct peri_config *config = supervisor->candidate->config;
    const char *fixed = peri_config_fixed_change(peri_history_current(&supervisor->history)->config, config);
    if (fixed)
        return peri_errors_new(fixed, "a change of this setting needs a restart");
    return peri_listeners_open(&supervisor->listeners, config);
}

// Notes what is tried, against what serves. `snapshot` may be NULL.
static void note_attempt(struct peri_supervisor *supervisor, const struct peri_snapshot *snapshot)
{
    const struct peri_edition *current = peri_history_current(&supervisor->history);
    supervisor->entry = peri_chronicle_add(&supervisor->chronicle, current->number, current->snapshot, snapshot);
}

// The candidate is what was noted.
static void note_candidate(struct peri_supervisor *supervisor)
{
    if (!supervisor->entry || !supervisor->candidate)
        return;
    supervisor->entry->number = supervisor->candidate->number;
    supervisor->entry->origin = supervisor->candidate->origin;
}

static void note_result(struct peri_supervisor *supervisor, enum peri_reload_result result, const char *errors)
{
    static const enum peri_chronicle_state states[PERI_RELOAD_COUNT] = {
        [PERI_RELOAD_OK] = PERI_CHRONICLE_SERVES,
        [PERI_RELOAD_REFUSED] = PERI_CHRONICLE_REFUSED,
        [PERI_RELOAD_FAILED] = PERI_CHRONICLE_FAILED,
        [PERI_RELOAD_ROLLBACK] = PERI_CHRONICLE_SERVES,
        [PERI_RELOAD_CANARY_ROLLED_BACK] = PERI_CHRONICLE_ROLLED_BACK,
    };
    peri_chronicle_set(&supervisor->chronicle, supervisor->entry, states[result], errors);
    supervisor->entry = NULL;
}

struct peri_edition *peri_supervisor_make_edition(struct peri_supervisor *supervisor, struct peri_check_result *result,
                                                  char **errors)
{
    struct peri_edition *edition = peri_edition_new(&supervisor->history, result->snapshot, result->config, errors);
    result->snapshot = NULL;
    result->config = NULL;
    if (edition && supervisor->dev)
        peri_dev_adapt(edition->config);
    return edition;
}

// `perigee dev` starts again by itself when the candidate cannot be taken over otherwise.
static bool starts_again(struct peri_supervisor *supervisor)
{
    const char *fixed =
        peri_config_fixed_change(peri_history_current(&supervisor->history)->config, supervisor->candidate->config);
    if (!supervisor->dev || !fixed)
        return false;
    peri_info("the setting '%s' has changed: starting again", fixed);
    supervisor->status = PERI_SUPERVISOR_AGAIN;
    peri_supervisor_drain(supervisor);
    return true;
}

static void on_checked(void *data, struct peri_check_result *result)
{
    struct peri_supervisor *supervisor = data;
    char *errors = result->errors;
    supervisor->check = NULL;
    result->errors = NULL;
    if (result->snapshot)
        peri_supervisor_watch(supervisor, result->snapshot);
    note_attempt(supervisor, result->snapshot);
    if (supervisor->dev)
        peri_dev_set_snapshot(supervisor->dev, result->snapshot);
    if (!errors)
        supervisor->candidate = peri_supervisor_make_edition(supervisor, result, &errors);
    note_candidate(supervisor);
    if (!errors && starts_again(supervisor))
        return;
    if (!errors)
        errors = prepare(supervisor);
    peri_reload_checked(&supervisor->reload, errors);
}

static void drop_candidate(struct peri_supervisor *supervisor)
{
    peri_edition_free(supervisor->candidate);
    supervisor->candidate = NULL;
    peri_listeners_keep(&supervisor->listeners, peri_history_current(&supervisor->history)->config);
}

// ---- the calls of the transaction ----

static void on_revived(struct peri_defer *defer)
{
    struct peri_supervisor *supervisor = PERI_CONTAINER(defer, struct peri_supervisor, revive);
    peri_reload_checked(&supervisor->reload, prepare(supervisor));
}

static bool check(void *data, bool is_rollback)
{
    struct peri_supervisor *supervisor = data;
    if (is_rollback) {
        peri_defer_schedule(supervisor->loop, &supervisor->revive);
        return true;
    }
    struct peri_check_options options = {
        .file = supervisor->options->file, .role = supervisor->options->role, .is_dev = supervisor->options->is_dev};
    supervisor->check = peri_check_start(supervisor->loop, supervisor->children, &options, on_checked, supervisor);
    return supervisor->check != NULL;
}

struct build_order {
    const struct peri_edition *edition;
    bool *members;
};

static void build_one(void *data, struct peri_link *link)
{
    const struct build_order *order = data;
    order->members[link->index] = true;
    link->ops->build(link, order->edition->number, order->edition->snapshot);
}

static void build(void *data, bool members[PERI_SHM_WORKERS_MAX])
{
    struct peri_supervisor *supervisor = data;
    struct build_order order = {supervisor->candidate, members};
    peri_workers_hold(supervisor->workers, true);
    peri_workers_excuse(supervisor->workers, PERI_RELOAD_STAGE_MS);
    peri_workers_each(supervisor->workers, build_one, &order);
}

struct switch_order {
    const struct peri_supervisor *supervisor;
    struct peri_listen_plan plan;
};

static void switch_one(void *data, struct peri_link *link)
{
    const struct switch_order *order = data;
    const struct peri_supervisor *supervisor = order->supervisor;
    int fds[PERI_CONFIG_LISTENERS];
    peri_listeners_fds(&supervisor->listeners, link->index, order->plan.add, order->plan.add_count, fds);
    link->ops->switch_to(link, supervisor->candidate->number, &order->plan, fds);
}

static void commit(void *data)
{
    struct peri_supervisor *supervisor = data;
    struct peri_edition *edition = supervisor->candidate;
    struct switch_order order = {.supervisor = supervisor};
    peri_workers_hold(supervisor->workers, true); // a canary let them start
    peri_listen_plan_make(&order.plan, peri_history_current(&supervisor->history)->config, edition->config);
    peri_workers_each(supervisor->workers, switch_one, &order);
    supervisor->candidate = NULL;
    peri_history_add(&supervisor->history, edition, edition->config->keep_generations);
    peri_listeners_keep(&supervisor->listeners, edition->config);
    peri_metrics_set_generation(supervisor->shm, edition->number);
    peri_supervisor_watch(supervisor, edition->snapshot);
    if (supervisor->dev)
        peri_dev_set_snapshot(supervisor->dev, edition->snapshot);
}

static void drop_one(void *data, struct peri_link *link)
{
    link->ops->drop(link, *(const uint64_t *)data);
}

static void discard(void *data)
{
    struct peri_supervisor *supervisor = data;
    if (!supervisor->candidate)
        return;
    if (supervisor->reload.state != PERI_RELOADING_CHECKING)
        peri_workers_each(supervisor->workers, drop_one, &supervisor->candidate->number);
    drop_candidate(supervisor);
}

static void kill_worker(void *data, uint32_t worker)
{
    struct peri_supervisor *supervisor = data;
    struct peri_link *link = peri_workers_link(supervisor->workers, worker);
    peri_error("worker %u does not switch to the new generation: killed", worker);
    if (link)
        link->ops->kill(link);
}

static void log_outcome(const struct peri_supervisor *supervisor, const struct peri_reload_outcome *outcome)
{
    unsigned long long number = outcome->generation;
    if (outcome->errors && supervisor->dev) {
        peri_error("reload %s: requests get the errors until they are fixed", peri_reload_result_name(outcome->result));
        peri_errors_log(outcome->errors);
    } else if (outcome->errors) {
        peri_error("reload %s: generation %llu goes on", peri_reload_result_name(outcome->result), number);
        peri_errors_log(outcome->errors);
    } else {
        peri_info("%s: generation %llu serves", outcome->result == PERI_RELOAD_ROLLBACK ? "rollback" : "reload",
                  number);
    }
}

static void tell_waiter(struct peri_supervisor *supervisor, const struct peri_reload_outcome *outcome)
{
    struct peri_reload_waiter *waiter = supervisor->waiter;
    supervisor->waiter = NULL;
    if (waiter)
        waiter->on_done(waiter, outcome);
}

void peri_supervisor_tell_canary(struct peri_supervisor *supervisor)
{
    struct peri_reload_outcome outcome = {
        .result = PERI_RELOAD_OK,
        .generation = peri_history_current(&supervisor->history)->number,
        .canary = supervisor->candidate->number,
    };
    tell_waiter(supervisor, &outcome);
}

static void done(void *data, enum peri_reload_result result, const char *errors)
{
    struct peri_supervisor *supervisor = data;
    const struct peri_edition *current = peri_history_current(&supervisor->history);
    char *located = errors ? peri_errors_locate(strdup(errors), peri_snapshot_entry(current->snapshot)) : NULL;
    struct peri_reload_outcome outcome = {
        .result = result,
        .generation = current->number,
        .errors = located ? located : errors,
    };
    peri_metrics_reload(supervisor->shm, result);
    note_result(supervisor, result, outcome.errors);
    log_outcome(supervisor, &outcome);
    if (supervisor->dev)
        peri_dev_set_errors(supervisor->dev, outcome.errors);
    peri_workers_hold(supervisor->workers, false);
    if (supervisor->reload.is_stopped)
        outcome.errors = NULL; // who waits is who wanted it
    tell_waiter(supervisor, &outcome);
    free(located);
    if (supervisor->wants_reload)
        peri_supervisor_reload_soon(supervisor);
}

static const struct peri_reload_ops reload_ops = {
    .check = check,
    .build = build,
    .canary = peri_supervisor_canary,
    .judge = peri_supervisor_judge_canary,
    .commit = commit,
    .discard = discard,
    .kill = kill_worker,
    .done = done,
};

void peri_supervisor_init_reload(struct peri_supervisor *supervisor)
{
    peri_reload_init(&supervisor->reload, supervisor->loop, &reload_ops, supervisor);
    peri_defer_init(&supervisor->revive, on_revived);
}

// ---- who asks ----

static peri_err_t may_start(const struct peri_supervisor *supervisor)
{
    if (supervisor->state != PERI_SUPERVISOR_SERVING)
        return PERI_ERR_DRAINING;
    return peri_reload_is_busy(&supervisor->reload) ? PERI_ERR_AGAIN : PERI_OK;
}

peri_err_t peri_supervisor_reload(struct peri_supervisor *supervisor, struct peri_reload_waiter *waiter)
{
    peri_err_t err = may_start(supervisor);
    if (err == PERI_OK && !peri_reload_start(&supervisor->reload, false))
        err = PERI_ERR_SYSTEM;
    if (err == PERI_OK)
        supervisor->waiter = waiter;
    return err;
}

peri_err_t peri_supervisor_rollback(struct peri_supervisor *supervisor, uint64_t number,
                                    struct peri_reload_waiter *waiter)
{
    char *errors;
    peri_err_t err = may_start(supervisor);
    if (err == PERI_ERR_AGAIN && number == 0 && supervisor->reload.state == PERI_RELOADING_CANARY &&
        !supervisor->reload.is_stopped) {
        supervisor->waiter = waiter;
        peri_reload_stop(&supervisor->reload);
        return PERI_OK;
    }
    if (err != PERI_OK)
        return err;
    const struct peri_edition *edition = peri_history_find(&supervisor->history, number);
    if (!edition)
        return PERI_ERR_NOT_FOUND;
    struct peri_check_result again = {.snapshot = peri_snapshot_ref(edition->snapshot),
                                      .config = strdup(edition->text)};
    supervisor->candidate = peri_supervisor_make_edition(supervisor, &again, &errors);
    free(errors);
    if (!supervisor->candidate)
        return PERI_ERR_NOMEM;
    supervisor->candidate->origin = edition->origin ? edition->origin : edition->number;
    note_attempt(supervisor, supervisor->candidate->snapshot);
    note_candidate(supervisor);
    supervisor->waiter = waiter;
    peri_reload_start(&supervisor->reload, true);
    return PERI_OK;
}

void peri_supervisor_forget(struct peri_supervisor *supervisor, struct peri_reload_waiter *waiter)
{
    if (supervisor->waiter == waiter)
        supervisor->waiter = NULL;
}

void peri_supervisor_reload_soon(struct peri_supervisor *supervisor)
{
    peri_err_t err = peri_supervisor_reload(supervisor, NULL);
    bool is_early = err == PERI_ERR_DRAINING && supervisor->state < PERI_SUPERVISOR_SERVING;
    supervisor->wants_reload = err == PERI_ERR_AGAIN || is_early;
}

void peri_supervisor_abandon_reload(struct peri_supervisor *supervisor)
{
    struct peri_reload_outcome outcome = {
        .result = PERI_RELOAD_FAILED,
        .generation = peri_history_current(&supervisor->history)->number,
        .errors = "[{\"message\":\"the proxy is shutting down\"}]",
    };
    if (supervisor->check)
        peri_check_cancel(supervisor->check);
    supervisor->check = NULL;
    peri_defer_cancel(&supervisor->revive);
    peri_reload_close(&supervisor->reload);
    drop_candidate(supervisor);
    tell_waiter(supervisor, &outcome);
}

// ---- watching the files ----

static void on_change(void *data)
{
    struct peri_supervisor *supervisor = data;
    peri_info("a file of the configuration has changed");
    peri_supervisor_reload_soon(supervisor);
    if (supervisor->dev)
        peri_dev_run_specs(supervisor->dev);
}

static struct peri_watcher *make_watcher(struct peri_supervisor *supervisor)
{
    char *copy = strdup(supervisor->options->file);
    struct peri_watcher *watcher =
        copy ? peri_watcher_new(supervisor->loop, dirname(copy), on_change, supervisor) : NULL;
    free(copy);
    return watcher;
}

void peri_supervisor_watch(struct peri_supervisor *supervisor, struct peri_snapshot *snapshot)
{
    if (!peri_history_current(&supervisor->history)->config->is_watched) {
        peri_watcher_free(supervisor->watcher);
        supervisor->watcher = NULL;
        return;
    }
    if (!supervisor->watcher)
        supervisor->watcher = make_watcher(supervisor);
    if (supervisor->watcher)
        peri_watcher_set(supervisor->watcher, snapshot);
}
