// SPDX-License-Identifier: MIT
// Makes JSON of what the supervisor, the configuration and the counters say.
#include "app/admin_views.h"

#include "app/admin_endpoints.h"
#include "app/canary_judge.h"
#include "app/chronicle.h"
#include "app/config.h"
#include "app/history.h"
#include "app/snapshot.h"
#include "app/supervisor.h"
#include "codec/json.h"
#include "shared/metrics.h"
#include "shared/shm.h"
#include "version.h"

static struct peri_json *new_text(const char *text)
{
    return peri_json_new_string(peri_slice_from(text));
}

static struct peri_json *new_count(uint64_t count)
{
    return peri_json_new_integer((int64_t)count);
}

static const struct peri_edition *current(const struct peri_supervisor *supervisor)
{
    return peri_history_current(peri_supervisor_history(supervisor));
}

// ---- status ----

static struct peri_json *view_gauge(const struct peri_overload_gauge *gauge)
{
    struct peri_json *view = peri_json_new_object();
    peri_json_set(view, "state", new_text(peri_overload_state_name((enum peri_overload_state)gauge->state)));
    peri_json_set(view, "used", new_count(gauge->used));
    peri_json_set(view, "limit", new_count(gauge->limit));
    return view;
}

// By resource; those without a limit are left out.
static struct peri_json *view_overload(const struct peri_shm *shm, uint32_t index)
{
    struct peri_json *view = peri_json_new_object();
    for (unsigned i = 0; i < PERI_RESOURCES; i++) {
        struct peri_overload_gauge gauge;
        peri_overload_read(shm, index, (enum peri_resource)i, &gauge);
        if (gauge.limit > 0)
            peri_json_set(view, peri_resource_name((enum peri_resource)i), view_gauge(&gauge));
    }
    return view;
}

static struct peri_json *view_worker(const struct peri_shm *shm, uint32_t index)
{
    struct peri_worker_info info;
    struct peri_json *worker = peri_json_new_object();
    peri_shm_worker_get(shm, index, &info);
    peri_json_set(worker, "index", new_count(index));
    peri_json_set(worker, "pid", new_count((uint64_t)info.pid));
    peri_json_set(worker, "state", new_text(peri_worker_state_name(info.state)));
    peri_json_set(worker, "generation", new_count(info.generation));
    peri_json_set(worker, "connections", new_count(info.connections));
    peri_json_set(worker, "restarts", new_count(info.restarts));
    peri_json_set(worker, "overload", view_overload(shm, index));
    return worker;
}

static struct peri_json *view_listeners(const struct peri_supervisor *supervisor)
{
    struct peri_json *listeners = peri_json_new_array();
    for (uint32_t i = 0; i < peri_supervisor_listener_count(supervisor); i++)
        peri_json_append(listeners, new_text(peri_supervisor_listener(supervisor, i)));
    return listeners;
}

static struct peri_json *view_side(const struct peri_canary_counts *counts, uint64_t number)
{
    struct peri_json *view = peri_json_new_object();
    peri_json_set(view, "generation", new_count(number));
    peri_json_set(view, "begun", new_count(counts->begun));
    peri_json_set(view, "ended", new_count(counts->ended));
    peri_json_set(view, "errors", new_count(counts->errors));
    peri_json_set(view, "p99_s", peri_json_new_real((double)peri_canary_p99_ns(counts) / 1e9));
    return view;
}

// The canary that is on, NULL when none is.
static struct peri_json *view_canary(const struct peri_supervisor *supervisor)
{
    struct peri_canary_case c;
    if (!peri_supervisor_canary_case(supervisor, &c))
        return NULL;
    const struct peri_config_reload *wanted = &peri_supervisor_candidate(supervisor)->config->reload;
    struct peri_json *view = view_side(&c.counts.sides[PERI_CANARY_NEW], c.counts.generation);
    peri_json_set(view, "share", peri_json_new_real(wanted->canary / 1e6));
    peri_json_set(view, "window_s", peri_json_new_real((double)wanted->window_ms / 1e3));
    peri_json_set(view, "elapsed_s", peri_json_new_real((double)peri_supervisor_canary_ms(supervisor) / 1e3));
    peri_json_set(view, "serving", view_side(&c.counts.sides[PERI_CANARY_OLD], c.serving));
    return view;
}

struct peri_json *peri_admin_status(const struct peri_supervisor *supervisor)
{
    const struct peri_edition *edition = current(supervisor);
    const struct peri_shm *shm = peri_supervisor_shm(supervisor);
    struct peri_json *status = peri_json_new_object();
    struct peri_json *canary = view_canary(supervisor);
    struct peri_json *workers = peri_json_new_array();
    for (uint32_t i = 0; i < peri_shm_workers(shm); i++)
        peri_json_append(workers, view_worker(shm, i));
    peri_json_set(status, "version", new_text(PERI_VERSION));
    peri_json_set(status, "state", new_text(peri_supervisor_state_name(peri_supervisor_state(supervisor))));
    peri_json_set(status, "generation", new_count(edition->number));
    peri_json_set(status, "digest", peri_json_new_string(peri_snapshot_digest(edition->snapshot)));
    peri_json_set(status, "uptime_s", new_count(peri_supervisor_uptime_ms(supervisor) / 1000));
    peri_json_set(status, "reload", new_text(peri_supervisor_reload_state(supervisor)));
    if (canary)
        peri_json_set(status, "canary", canary);
    peri_json_set(status, "listeners", view_listeners(supervisor));
    peri_json_set(status, "workers", workers);
    return status;
}

// ---- generations ----

static void set_reason(struct peri_json *view, const struct peri_chronicle_entry *entry)
{
    if (entry->before)
        peri_json_set(view, "before", new_count(entry->before));
    if (entry->origin)
        peri_json_set(view, "rollback_to", new_count(entry->origin));
    if (entry->reason)
        peri_json_set(view, "reason", new_text(entry->reason));
    if (entry->changes.files)
        peri_json_set(view, "changes", peri_json_copy(entry->changes.files));
}

static struct peri_json *view_entry(const struct peri_supervisor *supervisor, const struct peri_chronicle_entry *entry)
{
    const struct peri_edition *kept =
        entry->number ? peri_history_find(peri_supervisor_history(supervisor), entry->number) : NULL;
    struct peri_json *view = peri_json_new_object();
    peri_json_set(view, "generation", entry->number ? new_count(entry->number) : peri_json_new_null());
    peri_json_set(view, "state", new_text(peri_chronicle_state_name(entry->state)));
    peri_json_set(view, "is_current", peri_json_new_bool(kept && kept == current(supervisor)));
    peri_json_set(view, "is_kept", peri_json_new_bool(kept != NULL));
    peri_json_set(view, "made_ms", new_count(entry->made_ms));
    peri_json_set(view, "digest", new_text(entry->digest));
    peri_json_set(view, "files", new_count(entry->files));
    set_reason(view, entry);
    return view;
}

struct peri_json *peri_admin_generations(const struct peri_supervisor *supervisor)
{
    const struct peri_list *head = &peri_supervisor_chronicle(supervisor)->entries;
    struct peri_json *list = peri_json_new_array();
    for (struct peri_list *node = head->next; node != head; node = node->next)
        peri_json_append(list, view_entry(supervisor, PERI_LIST_ITEM(node, struct peri_chronicle_entry, link)));
    return list;
}

// ---- routes and upstreams ----

static void set_sum(struct peri_json *view, const struct peri_metrics_sum *sum)
{
    static const char *const names[] = {"other", "1xx", "2xx", "3xx", "4xx", "5xx"};
    struct peri_json *classes = peri_json_new_object();
    for (unsigned i = 0; i < PERI_COUNT(names); i++)
        if (sum->by_class[i] > 0)
            peri_json_set(classes, names[i], new_count(sum->by_class[i]));
    peri_json_set(view, "requests", new_count(sum->requests));
    peri_json_set(view, "responses", classes);
    peri_json_set(view, "seconds", peri_json_new_real((double)sum->sum_ns / 1e9));
}

static struct peri_json *view_route(struct peri_shm *shm, const struct peri_json *route)
{
    static const char *const members[] = {"match", "policies", "target"};
    struct peri_metrics_sum sum;
    struct peri_slice name = peri_json_get_string(route, "name");
    struct peri_json *view = peri_json_new_object();
    peri_json_set(view, "name", peri_json_new_string(name));
    for (unsigned i = 0; i < PERI_COUNT(members); i++)
        if (peri_json_get(route, members[i]))
            peri_json_set(view, members[i], peri_json_copy(peri_json_get(route, members[i])));
    peri_metrics_sum_route(shm, (uint32_t)peri_metrics_route(shm, name), &sum, NULL);
    set_sum(view, &sum);
    return view;
}

const char *peri_admin_diff(const struct peri_supervisor *supervisor, uint64_t number)
{
    const struct peri_chronicle_entry *entry = peri_chronicle_find(peri_supervisor_chronicle(supervisor), number);
    return entry ? entry->changes.diff : NULL;
}

struct peri_json *peri_admin_routes(const struct peri_supervisor *supervisor)
{
    const struct peri_json *routes = peri_json_get(current(supervisor)->config->json, "routes");
    struct peri_json *list = peri_json_new_array();
    for (size_t i = 0; i < peri_json_count(routes); i++)
        peri_json_append(list, view_route(peri_supervisor_shm(supervisor), peri_json_at(routes, i)));
    return list;
}

// By what became of them, under the names of the metric.
static struct peri_json *view_hedges(const struct peri_metrics_upstream *sum)
{
    struct peri_json *view = peri_json_new_object();
    for (uint32_t i = 0; i < PERI_HEDGE_RESULTS; i++)
        peri_json_set(view, peri_hedge_result_name(i), new_count(sum->hedges[i]));
    return view;
}

static void set_connections(struct peri_json *view, const struct peri_metrics_upstream *sum)
{
    peri_json_set(view, "connections", peri_json_new_integer(sum->connections));
    peri_json_set(view, "connects", new_count(sum->connects));
    peri_json_set(view, "connect_failures", new_count(sum->connect_failures));
    peri_json_set(view, "reuses", new_count(sum->reuses));
    peri_json_set(view, "retries",
                  new_count(sum->retries[PERI_RETRY_STALE] + sum->retries[PERI_RETRY_SUCCESS] +
                            sum->retries[PERI_RETRY_FAILURE]));
    peri_json_set(view, "hedges", view_hedges(sum));
    peri_json_set(view, "timeouts", new_count(sum->timeouts));
    peri_json_set(view, "resets", new_count(sum->resets));
}

static struct peri_json *view_upstream(struct peri_shm *shm, const struct peri_json *upstream)
{
    struct peri_metrics_sum sum;
    struct peri_metrics_upstream connections;
    struct peri_slice name = peri_json_get_string(upstream, "name");
    struct peri_json *view = peri_json_new_object();
    uint32_t row = (uint32_t)peri_metrics_upstream(shm, name);
    peri_json_set(view, "name", peri_json_new_string(name));
    peri_json_set(view, "balance", peri_json_copy(peri_json_get(upstream, "balance")));
    peri_admin_set_endpoints(view, shm, upstream);
    peri_metrics_sum_upstream(shm, row, &sum, NULL);
    set_sum(view, &sum);
    peri_metrics_sum_connections(shm, row, &connections);
    set_connections(view, &connections);
    return view;
}

struct peri_json *peri_admin_upstreams(const struct peri_supervisor *supervisor)
{
    const struct peri_json *upstreams = peri_json_get(current(supervisor)->config->json, "upstreams");
    struct peri_json *list = peri_json_new_array();
    for (size_t i = 0; i < peri_json_count(upstreams); i++)
        peri_json_append(list, view_upstream(peri_supervisor_shm(supervisor), peri_json_at(upstreams, i)));
    return list;
}

// ---- policies ----

struct peri_json *peri_admin_policies(const struct peri_supervisor *supervisor)
{
    const struct peri_shm *shm = peri_supervisor_shm(supervisor);
    struct peri_json *list = peri_json_new_array();
    for (uint32_t row = 1; row < peri_metrics_policy_count(shm); row++) {
        struct peri_metrics_policy_sum sum;
        struct peri_json *view = peri_json_new_object();
        peri_metrics_sum_policy(shm, row, &sum);
        peri_json_set(view, "policy", peri_json_new_string(sum.policy));
        peri_json_set(view, "route", peri_json_new_string(sum.route));
        peri_json_set(view, "calls", new_count(sum.calls));
        peri_json_set(view, "errors", new_count(sum.errors));
        peri_json_set(view, "cpu_seconds", peri_json_new_real(sum.cpu_seconds));
        peri_json_set(view, "duration_seconds", peri_json_new_real(sum.duration_seconds));
        peri_json_set(view, "budget_trips", new_count(sum.trips));
        peri_json_set(view, "quarantined", peri_json_new_bool(sum.quarantined > 0));
        peri_json_append(list, view);
    }
    return list;
}
