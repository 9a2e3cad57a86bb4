// SPDX-License-Identifier: MIT
// Reads the rows that all workers share, next to the settings that the endpoints have.
#include "app/admin_endpoints.h"

#include "codec/json.h"
#include "shared/endpoints.h"
#include "shared/looks.h"
#include "shared/metrics.h"
#include "upstream/health.h"

static struct peri_json *new_text(const char *text)
{
    return peri_json_new_string(peri_slice_from(text));
}

static struct peri_json *new_seconds(uint64_t ms)
{
    return peri_json_new_real((double)ms / 1e3);
}

// How long ago `ms` was; nothing for never.
static void set_ago(struct peri_json *view, const char *name, uint64_t ms)
{
    uint64_t now_ms = peri_metrics_clock_ns() / 1000000;
    if (ms > 0)
        peri_json_set(view, name, new_seconds(now_ms > ms ? now_ms - ms : 0));
}

static void set_ejection(struct peri_json *view, const struct peri_endpoint_row *row, bool is_ejected)
{
    uint64_t now_ms = peri_metrics_clock_ns() / 1000000;
    if (is_ejected) {
        peri_json_set(view, "reason", new_text(peri_endpoints_reason_name(row->outlier.reason)));
        peri_json_set(view, "back_in_s",
                      new_seconds(row->outlier.until_ms > now_ms ? row->outlier.until_ms - now_ms : 0));
    }
    peri_json_set(view, "ejections", peri_json_new_integer(row->outlier.ejections));
}

// What the settings say otherwise of this endpoint stays there.
static struct peri_json *copy_settings(const struct peri_json *view)
{
    const struct peri_json *settings = peri_json_get(view, "health");
    return settings ? peri_json_copy(settings) : peri_json_new_object();
}

static void set_health(struct peri_json *view, const struct peri_endpoint_row *row, bool is_unhealthy)
{
    struct peri_json *health = copy_settings(view);
    const struct peri_endpoint_health *h = &row->health;
    uint64_t now_ms = peri_metrics_clock_ns() / 1000000;
    char text[PERI_HEALTH_TEXT];
    peri_health_describe(h, text);
    if (is_unhealthy)
        peri_json_set(view, "reason", new_text(h->checks > 0 ? text : "not checked yet"));
    peri_json_set(health, "checks", peri_json_new_integer(h->checks));
    peri_json_set(health, "failed", peri_json_new_integer(h->failed));
    if (h->checks > 0) {
        peri_json_set(health, "last", new_text(text));
        set_ago(health, "checked_s_ago", h->checked_ms);
        peri_json_set(health, "next_in_s", new_seconds(h->next_ms > now_ms ? h->next_ms - now_ms : 0));
    }
    peri_json_set(view, "health", health);
}

static void set_accrual(struct peri_json *view, const struct peri_endpoint_row *row, bool is_shut)
{
    const struct peri_endpoint_accrual *accrual = &row->accrual;
    uint64_t now_ms = peri_metrics_clock_ns() / 1000000;
    bool is_waiting = accrual->state == PERI_ACCRUAL_SHUT;
    if (!is_waiting && accrual->state != PERI_ACCRUAL_OPEN)
        peri_json_set(view, "state", new_text("probation"));
    if (is_shut)
        peri_json_set(view, "reason", new_text(peri_endpoints_accrual_name(accrual->reason)));
    if (is_waiting)
        peri_json_set(view, "back_in_s", new_seconds(accrual->until_ms > now_ms ? accrual->until_ms - now_ms : 0));
    peri_json_set(view, "shuts", peri_json_new_integer((int64_t)accrual->shuts));
}

// What is said depends on what `upstream`, its settings, asks for.
static void set_state(struct peri_json *view, struct peri_shm *shm, int32_t row_number,
                      const struct peri_json *upstream)
{
    const struct peri_endpoint_row *row = peri_endpoints_row(shm, row_number);
    uint32_t flags = __atomic_load_n(&row->flags, __ATOMIC_ACQUIRE);
    peri_json_set(view, "state", new_text(peri_endpoints_state_name(peri_endpoints_state(flags))));
    set_ejection(view, row, flags & PERI_ENDPOINT_EJECTED);
    if (peri_json_get(upstream, "accrual"))
        set_accrual(view, row, flags & PERI_ENDPOINT_SHUT);
    if (peri_json_get(upstream, "health"))
        set_health(view, row, flags & PERI_ENDPOINT_UNHEALTHY);
}

static struct peri_json *view_endpoints(struct peri_shm *shm, const struct peri_json *upstream, int32_t row)
{
    const struct peri_json *endpoints = peri_json_get(upstream, "endpoints");
    struct peri_json *list = peri_json_new_array();
    for (size_t i = 0; i < peri_json_count(endpoints); i++) {
        struct peri_json *view = peri_json_copy(peri_json_at(endpoints, i));
        int32_t endpoint = row >= 0 ? peri_endpoints_find(shm, row, peri_json_get_string(view, "address")) : -1;
        if (endpoint >= 0)
            set_state(view, shm, endpoint, upstream);
        peri_json_append(list, view);
    }
    return list;
}

// What discovery found is in no configuration: the rows tell.
static struct peri_json *view_listed(struct peri_shm *shm, const struct peri_json *upstream, int32_t row)
{
    struct peri_json *list = peri_json_new_array();
    uint32_t weight = 0;
    int32_t endpoint = row >= 0 ? peri_endpoints_find_listed(shm, row, 0, &weight) : -1;
    for (; endpoint >= 0; endpoint = peri_endpoints_find_listed(shm, row, endpoint + 1, &weight)) {
        struct peri_json *view = peri_json_new_object();
        peri_json_set(view, "address", peri_json_new_string(peri_endpoints_address(shm, endpoint)));
        peri_json_set(view, "weight", peri_json_new_integer(weight));
        set_state(view, shm, endpoint, upstream);
        peri_json_append(list, view);
    }
    return list;
}

// A gauge under the name that it has among those of its priority. Connections serve both, and stand elsewhere.
static void set_gauge(struct peri_json *view, struct peri_json *overflows, const struct peri_shm *shm, int32_t row,
                      unsigned gauge)
{
    unsigned own = gauge < PERI_BREAKER_QUEUE ? gauge % PERI_BREAKER_HIGH : gauge;
    const char *name = peri_endpoints_gauge_name((enum peri_breaker_gauge)own);
    uint64_t refused = peri_endpoints_overflows(shm, row, (enum peri_breaker_gauge)gauge);
    if (own != PERI_BREAKER_CONNECTIONS)
        peri_json_set(view, name,
                      peri_json_new_integer(peri_endpoints_gauge(shm, row, (enum peri_breaker_gauge)gauge)));
    peri_json_set(overflows, name, peri_json_new_integer((int64_t)refused));
}

// The four gauges from `first` on, and, for the default priority, the queue.
static struct peri_json *view_limits(const struct peri_shm *shm, int32_t row, unsigned first)
{
    struct peri_json *view = peri_json_new_object();
    struct peri_json *overflows = peri_json_new_object();
    for (unsigned i = 0; i < PERI_BREAKER_HIGH; i++)
        set_gauge(view, overflows, shm, row, first + i);
    if (first == 0)
        set_gauge(view, overflows, shm, row, PERI_BREAKER_QUEUE);
    peri_json_set(view, "overflows", overflows);
    return view;
}

static struct peri_json *view_breaker(const struct peri_shm *shm, int32_t row)
{
    struct peri_json *view = view_limits(shm, row, 0);
    peri_json_set(view, "high", view_limits(shm, row, PERI_BREAKER_HIGH));
    return view;
}

// What became of looks for endpoints, in all workers.
static void set_looks(struct peri_json *view, const struct peri_shm *shm, struct peri_slice upstream)
{
    struct peri_look_sum sum;
    int32_t row = peri_metrics_find_upstream(shm, upstream);
    if (row < 0)
        return;
    peri_look_sum(shm, (uint32_t)row, &sum);
    const uint64_t *ended = sum.ended_ms;
    uint64_t good_ms = ended[ended[PERI_LOOK_EMPTY] > ended[PERI_LOOK_SUCCESS] ? PERI_LOOK_EMPTY : PERI_LOOK_SUCCESS];
    uint64_t failed_ms = ended[PERI_LOOK_FAILURE];
    peri_json_set(view, "looks", peri_json_new_integer((int64_t)(sum.counts[0] + sum.counts[1] + sum.counts[2])));
    peri_json_set(view, "failed", peri_json_new_integer((int64_t)sum.counts[PERI_LOOK_FAILURE]));
    set_ago(view, "looked_s_ago", failed_ms > good_ms ? failed_ms : good_ms);
    set_ago(view, "succeeded_s_ago", good_ms);
    set_ago(view, "failed_s_ago", failed_ms);
    if (failed_ms > 0)
        peri_json_set(view, "problem", new_text(sum.problem));
}

// What is told of a source: not how it is asked, which may need credentials.
static struct peri_json *view_source(const struct peri_json *discovery)
{
    struct peri_json *view = peri_json_new_object();
    const struct peri_json *value;
    struct peri_slice name;
    for (void *cursor = NULL; peri_json_next(discovery, &cursor, &name, &value);)
        if (peri_json_type(value) != PERI_JSON_OBJECT)
            peri_json_set(view, name.ptr, peri_json_copy(value));
    return view;
}

void peri_admin_set_endpoints(struct peri_json *view, struct peri_shm *shm, const struct peri_json *upstream)
{
    int32_t row = peri_endpoints_find_upstream(shm, peri_json_get_string(upstream, "name"));
    const struct peri_json *discovery = peri_json_get(upstream, "discovery");
    struct peri_json *listed = discovery && row >= 0 ? view_listed(shm, upstream, row) : NULL;
    if (discovery) {
        struct peri_json *source = view_source(discovery);
        set_looks(source, shm, peri_json_get_string(upstream, "name"));
        peri_json_set(view, "discovery", source);
    }
    peri_json_set(view, "endpoints", listed ? listed : view_endpoints(shm, upstream, row));
    if (row >= 0 && peri_json_get(upstream, "breaker"))
        peri_json_set(view, "breaker", view_breaker(shm, row));
}
