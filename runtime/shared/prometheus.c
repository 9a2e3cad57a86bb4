// SPDX-License-Identifier: MIT
// One function per family of metrics, called from one table in the order of the text. Rows come in the order in which they were
// made; rows that nothing was counted in are left out, so that an idle proxy answers a short text.
#include "shared/prometheus.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "shared/dict.h"
#include "shared/segment.h"
#include "shared/series.h"
#include "shared/shm.h"
#include "shared/text.h"
#include "shared/utf8.h"

#define NS_PER_SECOND 1000000000u

struct writer {
    const struct peri_shm *shm;
    struct peri_text *out;
    bool has_label; ///< the sample under way has one
};

// ---- the pieces of a sample

static void put_head(struct writer *w, const char *name, const char *type, const char *help)
{
    peri_text_printf(w->out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

// Escapes as the format asks; what is not UTF-8 would make the whole text unreadable and becomes U+FFFD.
static void put_escaped(struct peri_text *out, struct peri_slice text, bool is_label)
{
    size_t i = 0;
    while (i < text.len) {
        size_t len = peri_utf8_len(peri_slice(text.ptr + i, text.len - i));
        char c = text.ptr[i];
        if (len == 0)
            peri_text_add(out, PERI_SLICE("\xef\xbf\xbd"));
        else if (c == '\\' || (c == '"' && is_label))
            peri_text_printf(out, "\\%c", c);
        else if (c == '\n')
            peri_text_add(out, PERI_SLICE("\\n"));
        else
            peri_text_add(out, peri_slice(text.ptr + i, len));
        i += len ? len : 1;
    }
}

static void sample_begin(struct writer *w, struct peri_slice name, const char *suffix)
{
    peri_text_add(w->out, name);
    peri_text_add(w->out, peri_slice_from(suffix));
    w->has_label = false;
}

static void sample_label(struct writer *w, struct peri_slice name, struct peri_slice value)
{
    peri_text_add(w->out, w->has_label ? PERI_SLICE(",") : PERI_SLICE("{"));
    peri_text_add(w->out, name);
    peri_text_add(w->out, PERI_SLICE("=\""));
    put_escaped(w->out, value, true);
    peri_text_add(w->out, PERI_SLICE("\""));
    w->has_label = true;
}

static void sample_close_labels(struct writer *w)
{
    peri_text_add(w->out, w->has_label ? PERI_SLICE("} ") : PERI_SLICE(" "));
}

static void sample_count(struct writer *w, uint64_t value)
{
    sample_close_labels(w);
    peri_text_printf(w->out, "%llu\n", (unsigned long long)value);
}

static void sample_ns(struct writer *w, uint64_t ns)
{
    sample_close_labels(w);
    peri_text_printf(w->out, "%llu.%09llu\n", (unsigned long long)(ns / NS_PER_SECOND),
                     (unsigned long long)(ns % NS_PER_SECOND));
}

// The shortest text that reads back as the same number.
static void put_number(struct peri_text *out, double value)
{
    char text[32];
    snprintf(text, sizeof(text), "%.15g", value);
    if (strtod(text, NULL) != value)
        snprintf(text, sizeof(text), "%.17g", value);
    if (isnan(value))
        snprintf(text, sizeof(text), "NaN");
    else if (isinf(value))
        snprintf(text, sizeof(text), value > 0 ? "+Inf" : "-Inf");
    peri_text_add(out, peri_slice_from(text));
}

static void sample_number(struct writer *w, double value)
{
    sample_close_labels(w);
    put_number(w->out, value);
    peri_text_add(w->out, PERI_SLICE("\n"));
}

static void put_plain(struct writer *w, const char *name, uint64_t value)
{
    sample_begin(w, peri_slice_from(name), "");
    sample_count(w, value);
}

// ---- requests of routes and upstreams

typedef void sum_fn(const struct peri_shm *shm, uint32_t row, struct peri_metrics_sum *out, uint64_t *codes);

// What differs between routes and upstreams.
struct traffic {
    const char *label;
    const char *total;
    const char *duration;
    uint32_t (*count)(const struct peri_shm *shm);
    struct peri_slice (*name)(const struct peri_shm *shm, uint32_t row);
    sum_fn *sum;
};

static const struct traffic route_traffic = {
    "route",
    "perigee_requests_total",
    "perigee_request_duration_seconds",
    peri_metrics_route_count,
    peri_metrics_route_name,
    peri_metrics_sum_route,
};

static const struct traffic upstream_traffic = {
    "upstream",
    "perigee_upstream_requests_total",
    "perigee_upstream_request_duration_seconds",
    peri_metrics_upstream_count,
    peri_metrics_upstream_name,
    peri_metrics_sum_upstream,
};

static void write_codes(struct writer *w, const struct traffic *traffic)
{
    struct peri_metrics_sum sum;
    uint64_t codes[PERI_METRICS_CODES];
    for (uint32_t row = 0; row < traffic->count(w->shm); row++) {
        traffic->sum(w->shm, row, &sum, codes);
        for (unsigned code = 0; code < PERI_METRICS_CODES; code++) {
            char text[12];
            if (codes[code] == 0)
                continue;
            snprintf(text, sizeof(text), code < 500 ? "%u" : "other", code + 100);
            sample_begin(w, peri_slice_from(traffic->total), "");
            sample_label(w, peri_slice_from(traffic->label), traffic->name(w->shm, row));
            sample_label(w, PERI_SLICE("code"), peri_slice_from(text));
            sample_count(w, codes[code]);
        }
    }
}

static void write_duration(struct writer *w, const struct traffic *traffic, uint32_t row,
                           const struct peri_metrics_sum *sum)
{
    struct peri_slice family = peri_slice_from(traffic->duration);
    struct peri_slice label = peri_slice_from(traffic->label);
    struct peri_slice name = traffic->name(w->shm, row);
    uint64_t below = 0;
    for (unsigned i = 0; i <= PERI_METRICS_BOUNDS; i++) {
        char bound[16] = "+Inf";
        if (i < PERI_METRICS_BOUNDS)
            snprintf(bound, sizeof(bound), "%g", (double)peri_metrics_bounds_ns[i] / NS_PER_SECOND);
        below += sum->buckets[i];
        sample_begin(w, family, "_bucket");
        sample_label(w, label, name);
        sample_label(w, PERI_SLICE("le"), peri_slice_from(bound));
        sample_count(w, below);
    }
    sample_begin(w, family, "_sum");
    sample_label(w, label, name);
    sample_ns(w, sum->sum_ns);
    sample_begin(w, family, "_count");
    sample_label(w, label, name);
    sample_count(w, sum->requests);
}

static void write_durations(struct writer *w, const struct traffic *traffic)
{
    struct peri_metrics_sum sum;
    for (uint32_t row = 0; row < traffic->count(w->shm); row++) {
        traffic->sum(w->shm, row, &sum, NULL);
        if (sum.requests > 0)
            write_duration(w, traffic, row, &sum);
    }
}

static void write_calls(struct writer *w)
{
    static const char name[] = "perigee_grpc_requests_total";
    uint64_t calls[PERI_METRICS_CALLS];
    put_head(w, name, "counter", "gRPC calls, by route and status; \"none\": broken off before there was one.");
    for (uint32_t row = 0; row < peri_metrics_route_count(w->shm); row++) {
        peri_metrics_sum_calls(w->shm, row, calls);
        for (unsigned status = 0; status < PERI_METRICS_CALLS; status++) {
            char text[12];
            if (calls[status] == 0)
                continue;
            snprintf(text, sizeof(text), status < PERI_METRICS_CALLS - 1 ? "%u" : "none", status);
            sample_begin(w, peri_slice_from(name), "");
            sample_label(w, PERI_SLICE("route"), peri_metrics_route_name(w->shm, row));
            sample_label(w, PERI_SLICE("grpc_status"), peri_slice_from(text));
            sample_count(w, calls[status]);
        }
    }
}

static void write_routes(struct writer *w)
{
    put_head(w, route_traffic.total, "counter", "Requests answered, by route and status code.");
    write_codes(w, &route_traffic);
    put_head(w, route_traffic.duration, "histogram",
             "Time from the first byte of a request to the end of its response.");
    write_durations(w, &route_traffic);
    write_calls(w);
}

// ---- upstreams

// One counter of struct peri_metrics_upstream.
struct upstream_metric {
    const char *name;
    const char *type;
    const char *help;
    size_t offset;
};

static const struct upstream_metric upstream_metrics[] = {
    {"perigee_upstream_connections", "gauge", "Open connections to the upstream, idle ones included.",
     offsetof(struct peri_metrics_upstream, connections)},
    {"perigee_upstream_connects_total", "counter", "Connections established.",
     offsetof(struct peri_metrics_upstream, connects)},
    {"perigee_upstream_connect_failures_total", "counter", "Connections refused, timed out or not resolved.",
     offsetof(struct peri_metrics_upstream, connect_failures)},
    {"perigee_upstream_reuses_total", "counter", "Attempts sent on a pooled connection.",
     offsetof(struct peri_metrics_upstream, reuses)},
    {"perigee_upstream_timeouts_total", "counter", "Attempts that got no answer in time.",
     offsetof(struct peri_metrics_upstream, timeouts)},
    {"perigee_upstream_resets_total", "counter", "Attempts broken off by the upstream.",
     offsetof(struct peri_metrics_upstream, resets)},
};

static void write_upstream_metric(struct writer *w, const struct upstream_metric *metric)
{
    put_head(w, metric->name, metric->type, metric->help);
    for (uint32_t row = 1; row < peri_metrics_upstream_count(w->shm); row++) {
        struct peri_metrics_upstream sum;
        uint64_t value;
        peri_metrics_sum_connections(w->shm, row, &sum);
        memcpy(&value, (const char *)&sum + metric->offset, sizeof(value));
        sample_begin(w, peri_slice_from(metric->name), "");
        sample_label(w, PERI_SLICE("upstream"), peri_metrics_upstream_name(w->shm, row));
        sample_count(w, (int64_t)value < 0 ? 0 : value);
    }
}

// Counts by what became of something, of every upstream: `count` of them, from `offset` of a struct peri_metrics_upstream on.
static void write_results(struct writer *w, struct peri_slice name, size_t offset, uint32_t count,
                          const char *(*name_of)(uint32_t result))
{
    for (uint32_t row = 1; row < peri_metrics_upstream_count(w->shm); row++) {
        struct peri_metrics_upstream sum;
        peri_metrics_sum_connections(w->shm, row, &sum);
        for (uint32_t result = 0; result < count; result++) {
            uint64_t value;
            memcpy(&value, (const char *)&sum + offset + result * sizeof(value), sizeof(value));
            sample_begin(w, name, "");
            sample_label(w, PERI_SLICE("upstream"), peri_metrics_upstream_name(w->shm, row));
            sample_label(w, PERI_SLICE("result"), peri_slice_from(name_of(result)));
            sample_count(w, value);
        }
    }
}

static void write_looks(struct writer *w)
{
    static const char name[] = "perigee_upstream_discovery_looks_total";
    put_head(w, name, "counter", "Looks for the endpoints of upstreams that are discovered, by what became of them.");
    for (uint32_t row = 1; row < peri_metrics_upstream_count(w->shm); row++) {
        struct peri_look_sum sum;
        peri_look_sum(w->shm, row, &sum);
        if (sum.counts[PERI_LOOK_SUCCESS] + sum.counts[PERI_LOOK_EMPTY] + sum.counts[PERI_LOOK_FAILURE] == 0)
            continue; // its endpoints are in the configuration
        for (uint32_t result = 0; result < PERI_LOOK_RESULTS; result++) {
            sample_begin(w, peri_slice_from(name), "");
            sample_label(w, PERI_SLICE("upstream"), peri_metrics_upstream_name(w->shm, row));
            sample_label(w, PERI_SLICE("result"), peri_slice_from(peri_look_result_name(result)));
            sample_count(w, sum.counts[result]);
        }
    }
}

static void write_attempts_more(struct writer *w)
{
    static const char retries[] = "perigee_upstream_retries_total";
    static const char hedges[] = "perigee_upstream_hedges_total";
    put_head(w, retries, "counter", "Retries, by what became of them; limit and overflow: they were not made.");
    write_results(w, peri_slice_from(retries), offsetof(struct peri_metrics_upstream, retries), PERI_RETRY_RESULTS,
                  peri_retry_result_name);
    put_head(w, hedges, "counter", "Hedges, by what became of them; overflow: they were not made.");
    write_results(w, peri_slice_from(hedges), offsetof(struct peri_metrics_upstream, hedges), PERI_HEDGE_RESULTS,
                  peri_hedge_result_name);
}

static void write_upstreams(struct writer *w)
{
    put_head(w, upstream_traffic.total, "counter", "Attempts, by upstream and status code; other: no answer.");
    write_codes(w, &upstream_traffic);
    put_head(w, upstream_traffic.duration, "histogram",
             "Time from the start of an attempt to the end of its response.");
    write_durations(w, &upstream_traffic);
    for (size_t i = 0; i < PERI_COUNT(upstream_metrics); i++)
        write_upstream_metric(w, &upstream_metrics[i]);
    write_attempts_more(w);
    write_looks(w);
}

// ---- endpoints of upstreams that are watched

// One number of a watched upstream, by a label of its own.
struct watched_metric {
    const char *name;
    const char *type;
    const char *help;
    const char *label;
    uint32_t first; ///< values of the label, by number
    uint32_t count;
    const char *(*label_name)(uint32_t number);
    uint64_t (*read)(const struct peri_shm *shm, uint32_t upstream, uint32_t number);
};

static const char *gauge_name(uint32_t gauge)
{
    return peri_endpoints_gauge_name((enum peri_breaker_gauge)gauge);
}

static uint64_t read_state(const struct peri_shm *shm, uint32_t upstream, uint32_t state)
{
    uint32_t states[PERI_ENDPOINT_STATES];
    peri_endpoints_count(shm, upstream, states);
    return states[state];
}

static uint64_t read_ejections(const struct peri_shm *shm, uint32_t upstream, uint32_t reason)
{
    return __atomic_load_n(&peri_endpoints_upstream(shm, (int32_t)upstream)->enforced[reason], __ATOMIC_RELAXED);
}

static uint64_t read_detections(const struct peri_shm *shm, uint32_t upstream, uint32_t reason)
{
    return __atomic_load_n(&peri_endpoints_upstream(shm, (int32_t)upstream)->detected[reason], __ATOMIC_RELAXED);
}

static uint64_t read_checks(const struct peri_shm *shm, uint32_t upstream, uint32_t result)
{
    return __atomic_load_n(&peri_endpoints_upstream(shm, (int32_t)upstream)->checks[result], __ATOMIC_RELAXED);
}

static uint64_t read_shuts(const struct peri_shm *shm, uint32_t upstream, uint32_t reason)
{
    return __atomic_load_n(&peri_endpoints_upstream(shm, (int32_t)upstream)->shuts[reason], __ATOMIC_RELAXED);
}

static uint64_t read_overflows(const struct peri_shm *shm, uint32_t upstream, uint32_t gauge)
{
    return peri_endpoints_overflows(shm, (int32_t)upstream, (enum peri_breaker_gauge)gauge);
}

static uint64_t read_active(const struct peri_shm *shm, uint32_t upstream, uint32_t gauge)
{
    int64_t active = peri_endpoints_gauge(shm, (int32_t)upstream, (enum peri_breaker_gauge)gauge);
    return active > 0 ? (uint64_t)active : 0;
}

static const char *queue_name(uint32_t result)
{
    return peri_endpoints_queue_name((enum peri_queue_result)result);
}

static uint64_t read_queued(const struct peri_shm *shm, uint32_t upstream, uint32_t result)
{
    return peri_endpoints_queued(shm, (int32_t)upstream, (enum peri_queue_result)result);
}

static const struct watched_metric watched_metrics[] = {
    {"perigee_upstream_endpoints", "gauge", "Endpoints of upstreams that are watched, by state.", "state", 0,
     PERI_ENDPOINT_STATES, peri_endpoints_state_name, read_state},
    {"perigee_upstream_outliers_total", "counter", "Endpoints found to be outliers.", "reason", 1, PERI_OUTLIER_REASONS,
     peri_endpoints_reason_name, read_detections},
    {"perigee_upstream_ejections_total", "counter", "Endpoints ejected.", "reason", 1, PERI_OUTLIER_REASONS,
     peri_endpoints_reason_name, read_ejections},
    {"perigee_upstream_shuts_total", "counter", "Endpoints shut by failure accrual.", "reason", 1, PERI_ACCRUAL_REASONS,
     peri_endpoints_accrual_name, read_shuts},
    {"perigee_upstream_health_checks_total", "counter", "Active checks of endpoints.", "result", 0, PERI_HEALTH_RESULTS,
     peri_endpoints_result_name, read_checks},
    {"perigee_upstream_overflows_total", "counter", "Attempts refused by the breaker.", "limit", 0, PERI_BREAKER_GAUGES,
     gauge_name, read_overflows},
    {"perigee_upstream_active", "gauge", "What the breaker counts now.", "limit", PERI_BREAKER_PENDING,
     PERI_BREAKER_GAUGES, gauge_name, read_active},
    {"perigee_upstream_queued_total", "counter", "Requests that waited for a place.", "result", 0, PERI_QUEUE_RESULTS,
     queue_name, read_queued},
};

static void write_watched_metric(struct writer *w, const struct watched_metric *metric)
{
    put_head(w, metric->name, metric->type, metric->help);
    for (uint32_t row = 0; row < peri_endpoints_upstream_count(w->shm); row++) {
        struct peri_slice name = peri_endpoints_upstream_name(w->shm, row);
        for (uint32_t number = metric->first; name.len > 0 && number < metric->count; number++) {
            sample_begin(w, peri_slice_from(metric->name), "");
            sample_label(w, PERI_SLICE("upstream"), name);
            sample_label(w, peri_slice_from(metric->label), peri_slice_from(metric->label_name(number)));
            sample_count(w, metric->read(w->shm, row, number));
        }
    }
}

static void write_watched(struct writer *w)
{
    for (size_t i = 0; i < PERI_COUNT(watched_metrics); i++)
        write_watched_metric(w, &watched_metrics[i]);
}

// ---- listeners that pass TCP on

// One counter of struct peri_metrics_listener.
struct listener_metric {
    const char *name;
    const char *type;
    const char *help;
    size_t offset;
    const char *direction; ///< of bytes; NULL for others
};

static const struct listener_metric listener_metrics[] = {
    {"perigee_tcp_connections", "gauge", "Open connections of a tcp listener.",
     offsetof(struct peri_metrics_listener, connections), NULL},
    {"perigee_tcp_connections_total", "counter", "Connections that came to a tcp listener.",
     offsetof(struct peri_metrics_listener, total), NULL},
    {"perigee_tcp_connections_failed_total", "counter",
     "Connections that were not passed on: refused by a policy, or no server reached.",
     offsetof(struct peri_metrics_listener, failed), NULL},
    {"perigee_tcp_bytes_total", "counter", "Bytes from (in) and to (out) the clients of a tcp listener.",
     offsetof(struct peri_metrics_listener, bytes_in), "in"},
    {"perigee_tcp_bytes_total", NULL, NULL, offsetof(struct peri_metrics_listener, bytes_out), "out"},
};

static void write_listener_metric(struct writer *w, const struct listener_metric *metric)
{
    if (metric->type)
        put_head(w, metric->name, metric->type, metric->help);
    for (uint32_t row = 1; row < peri_metrics_listener_count(w->shm); row++) {
        struct peri_metrics_listener sum;
        uint64_t value;
        peri_metrics_sum_listener(w->shm, row, &sum);
        memcpy(&value, (const char *)&sum + metric->offset, sizeof(value));
        sample_begin(w, peri_slice_from(metric->name), "");
        sample_label(w, PERI_SLICE("listener"), peri_metrics_listener_name(w->shm, row));
        if (metric->direction)
            sample_label(w, PERI_SLICE("direction"), peri_slice_from(metric->direction));
        sample_count(w, (int64_t)value < 0 ? 0 : value);
    }
}

static void write_listeners(struct writer *w)
{
    for (size_t i = 0; i < PERI_COUNT(listener_metrics); i++)
        write_listener_metric(w, &listener_metrics[i]);
}

// ---- policies

static void policy_begin(struct writer *w, const char *name, const struct peri_metrics_policy_sum *sum)
{
    sample_begin(w, peri_slice_from(name), "");
    sample_label(w, PERI_SLICE("policy"), sum->policy);
    sample_label(w, PERI_SLICE("route"), sum->route);
}

// One number of struct peri_metrics_policy_sum.
enum policy_metric { POLICY_CALLS, POLICY_ERRORS, POLICY_CPU, POLICY_TRIPS, POLICY_QUARANTINED };

static void write_policy_metric(struct writer *w, enum policy_metric metric, const char *name)
{
    for (uint32_t row = 0; row < peri_metrics_policy_count(w->shm); row++) {
        struct peri_metrics_policy_sum sum;
        peri_metrics_sum_policy(w->shm, row, &sum);
        if (sum.calls == 0)
            continue;
        policy_begin(w, name, &sum);
        switch (metric) {
        case POLICY_CALLS: sample_count(w, sum.calls); break;
        case POLICY_ERRORS: sample_count(w, sum.errors); break;
        case POLICY_CPU: sample_number(w, sum.cpu_seconds); break;
        case POLICY_TRIPS: sample_count(w, sum.trips); break;
        default: sample_count(w, sum.quarantined);
        }
    }
}

static void write_policy_durations(struct writer *w)
{
    put_head(w, "perigee_policy_duration_seconds", "summary", "Time of a policy's hooks, with what they waited for.");
    for (uint32_t row = 0; row < peri_metrics_policy_count(w->shm); row++) {
        struct peri_metrics_policy_sum sum;
        peri_metrics_sum_policy(w->shm, row, &sum);
        if (sum.calls == 0)
            continue;
        policy_begin(w, "perigee_policy_duration_seconds_sum", &sum);
        sample_number(w, sum.duration_seconds);
        policy_begin(w, "perigee_policy_duration_seconds_count", &sum);
        sample_count(w, sum.calls);
    }
}

static void write_policies(struct writer *w)
{
    put_head(w, "perigee_policy_calls_total", "counter", "Calls of a policy's hooks, by policy and route.");
    write_policy_metric(w, POLICY_CALLS, "perigee_policy_calls_total");
    put_head(w, "perigee_policy_errors_total", "counter", "Calls that failed.");
    write_policy_metric(w, POLICY_ERRORS, "perigee_policy_errors_total");
    put_head(w, "perigee_policy_cpu_seconds_total", "counter", "CPU time spent in a policy's hooks.");
    write_policy_metric(w, POLICY_CPU, "perigee_policy_cpu_seconds_total");
    write_policy_durations(w);
    put_head(w, "perigee_policy_budget_trips_total", "counter", "Calls that spent their CPU budget.");
    write_policy_metric(w, POLICY_TRIPS, "perigee_policy_budget_trips_total");
    put_head(w, "perigee_policy_quarantined", "gauge", "Workers that keep the policy in quarantine.");
    write_policy_metric(w, POLICY_QUARANTINED, "perigee_policy_quarantined");
}

static void write_dry_runs(struct writer *w)
{
    static const char name[] = "perigee_policy_dry_run_total";
    static const char *const would[] = {"answer", "fail", "change"};
    put_head(w, name, "counter", "What policies in a dry run would have done.");
    for (uint32_t row = 0; row < peri_metrics_policy_count(w->shm); row++) {
        struct peri_metrics_policy_sum sum;
        peri_metrics_sum_policy(w->shm, row, &sum);
        for (unsigned i = 0; i < PERI_COUNT(would); i++) {
            if (sum.would[i] == 0)
                continue;
            policy_begin(w, name, &sum);
            sample_label(w, PERI_SLICE("would"), peri_slice_from(would[i]));
            sample_count(w, sum.would[i]);
        }
    }
}

// ---- processes

static void write_process(struct writer *w)
{
    struct peri_metrics_process_sum sum;
    peri_metrics_sum_process(w->shm, &sum);
    put_head(w, "perigee_connections", "gauge", "Open client connections.");
    put_plain(w, "perigee_connections", sum.connections > 0 ? (uint64_t)sum.connections : 0);
    put_head(w, "perigee_connections_total", "counter", "Client connections accepted.");
    put_plain(w, "perigee_connections_total", sum.accepted);
    put_head(w, "perigee_connections_refused_total", "counter",
             "Client connections closed at once because of a limit.");
    put_plain(w, "perigee_connections_refused_total", sum.refused);
    put_head(w, "perigee_tls_handshakes_failed_total", "counter", "TLS handshakes with clients that did not succeed.");
    put_plain(w, "perigee_tls_handshakes_failed_total", sum.handshakes_failed);
    put_head(w, "perigee_proxy_protocol_refused_total", "counter",
             "Connections of trusted proxies closed because they did not begin with a valid PROXY header.");
    put_plain(w, "perigee_proxy_protocol_refused_total", sum.preambles_refused);
    put_head(w, "perigee_access_log_dropped_total", "counter",
             "Access log lines dropped because the log could not keep up.");
    put_plain(w, "perigee_access_log_dropped_total", sum.log_drops);
    put_head(w, "perigee_generation", "gauge", "Number of the generation that answers.");
    put_plain(w, "perigee_generation", sum.generation);
    put_head(w, "perigee_reloads_total", "counter", "Reloads, by result.");
    for (unsigned i = 0; i < PERI_RELOAD_COUNT; i++) {
        sample_begin(w, PERI_SLICE("perigee_reloads_total"), "");
        sample_label(w, PERI_SLICE("result"), peri_slice_from(peri_reload_result_name((enum peri_reload_result)i)));
        sample_count(w, sum.reloads[i]);
    }
}

// Resident bytes of a process, from /proc; 0 when it is gone.
static uint64_t resident_bytes(int32_t pid)
{
    char path[32];
    unsigned long long total = 0, resident = 0;
    snprintf(path, sizeof(path), "/proc/%d/statm", pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    int fields = fscanf(file, "%llu %llu", &total, &resident);
    fclose(file);
    return fields == 2 ? resident * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

enum worker_metric { WORKER_RESTARTS, WORKER_CONNECTIONS, WORKER_GENERATION, WORKER_LUA, WORKER_RESIDENT };

static uint64_t worker_value(enum worker_metric metric, const struct peri_worker_info *info)
{
    switch (metric) {
    case WORKER_RESTARTS: return info->restarts;
    case WORKER_CONNECTIONS: return info->connections;
    case WORKER_GENERATION: return info->generation;
    case WORKER_LUA: return info->lua_bytes;
    default: return resident_bytes(info->pid);
    }
}

static void write_worker_metric(struct writer *w, enum worker_metric metric, const char *name)
{
    for (uint32_t i = 0; i < w->shm->workers; i++) {
        struct peri_worker_info info;
        char number[12];
        peri_shm_worker_get(w->shm, i, &info);
        bool is_live = info.state != PERI_WORKER_EMPTY && info.state != PERI_WORKER_DEAD;
        if (!is_live && (metric != WORKER_RESTARTS || info.state == PERI_WORKER_EMPTY))
            continue;
        snprintf(number, sizeof(number), "%u", i);
        sample_begin(w, peri_slice_from(name), "");
        sample_label(w, PERI_SLICE("worker"), peri_slice_from(number));
        sample_count(w, worker_value(metric, &info));
    }
}

// Begins a sample of worker `i` when that ever ran.
static bool lua_begin(struct writer *w, uint32_t i, const char *name, struct peri_metrics_lua *lua)
{
    char number[12];
    peri_metrics_lua(w->shm, i, lua);
    if (lua->limit == 0)
        return false;
    snprintf(number, sizeof(number), "%u", i);
    sample_begin(w, peri_slice_from(name), "");
    sample_label(w, PERI_SLICE("worker"), peri_slice_from(number));
    return true;
}

static void write_lua(struct writer *w)
{
    struct peri_metrics_lua lua;
    put_head(w, "perigee_worker_lua_limit_bytes", "gauge", "What the Lua heap may have, by worker.");
    for (uint32_t i = 0; i < w->shm->workers; i++)
        if (lua_begin(w, i, "perigee_worker_lua_limit_bytes", &lua))
            sample_count(w, lua.limit);
    put_head(w, "perigee_worker_lua_full_total", "counter", "Collections because a script met that limit, by worker.");
    for (uint32_t i = 0; i < w->shm->workers; i++)
        if (lua_begin(w, i, "perigee_worker_lua_full_total", &lua))
            sample_count(w, lua.full);
    put_head(w, "perigee_worker_gc_pause_seconds", "summary",
             "Steps of garbage collection between two turns of the loop, by worker.");
    for (uint32_t i = 0; i < w->shm->workers; i++) {
        if (lua_begin(w, i, "perigee_worker_gc_pause_seconds_sum", &lua))
            sample_number(w, lua.pause_seconds);
        if (lua_begin(w, i, "perigee_worker_gc_pause_seconds_count", &lua))
            sample_count(w, lua.pauses);
    }
    put_head(w, "perigee_worker_gc_pause_longest_seconds", "gauge", "The longest such step, by worker.");
    for (uint32_t i = 0; i < w->shm->workers; i++)
        if (lua_begin(w, i, "perigee_worker_gc_pause_longest_seconds", &lua))
            sample_number(w, lua.longest_seconds);
}

static void write_workers(struct writer *w)
{
    put_head(w, "perigee_worker_restarts_total", "counter", "Processes that were replaced, by worker.");
    write_worker_metric(w, WORKER_RESTARTS, "perigee_worker_restarts_total");
    put_head(w, "perigee_worker_connections", "gauge", "Open client connections, by worker.");
    write_worker_metric(w, WORKER_CONNECTIONS, "perigee_worker_connections");
    put_head(w, "perigee_worker_generation", "gauge", "Number of the generation that a worker answers with.");
    write_worker_metric(w, WORKER_GENERATION, "perigee_worker_generation");
    put_head(w, "perigee_worker_lua_bytes", "gauge", "Lua heap in use, by worker.");
    write_worker_metric(w, WORKER_LUA, "perigee_worker_lua_bytes");
    put_head(w, "perigee_worker_resident_bytes", "gauge", "Resident memory, by worker.");
    write_worker_metric(w, WORKER_RESIDENT, "perigee_worker_resident_bytes");
    write_lua(w);
}

static void write_overload(struct writer *w)
{
    peri_overload_write(w->shm, w->out);
}

static void write_shared(struct writer *w)
{
    struct peri_dict_stats stats;
    peri_dict_stats(w->shm, &stats);
    put_head(w, "perigee_shared_bytes", "gauge", "Memory that shared dictionaries may use.");
    put_plain(w, "perigee_shared_bytes", stats.bytes);
    put_head(w, "perigee_shared_used_bytes", "gauge", "Memory that shared dictionaries use.");
    put_plain(w, "perigee_shared_used_bytes", stats.used);
    put_head(w, "perigee_shared_entries", "gauge", "Entries of shared dictionaries.");
    put_plain(w, "perigee_shared_entries", stats.entries);
    put_head(w, "perigee_shared_evictions_total", "counter", "Live entries that gave way to others.");
    put_plain(w, "perigee_shared_evictions_total", stats.evictions);
    put_head(w, "perigee_shared_resets_total", "counter", "Shards emptied because a process died while writing.");
    put_plain(w, "perigee_shared_resets_total", stats.resets);
    put_head(w, "perigee_metrics_dropped_total", "counter", "Uses of scripts' metrics that did not fit.");
    put_plain(w, "perigee_metrics_dropped_total", peri_series_dropped(w->shm));
}

// ---- what scripts define

static void series_labels(struct writer *w, const struct peri_series_family_info *family, struct peri_slice values)
{
    struct peri_slice labels = family->labels;
    struct peri_slice label, value;
    while (peri_series_unpack(&labels, &label) && peri_series_unpack(&values, &value))
        sample_label(w, label, value);
}

static void write_histogram(struct writer *w, const struct peri_series_family_info *family, struct peri_slice values,
                            const double *cells)
{
    double below = 0;
    for (uint32_t i = 0; i <= family->bound_count; i++) {
        char bound[32] = "+Inf";
        if (i < family->bound_count)
            snprintf(bound, sizeof(bound), "%.15g", family->bounds[i]);
        below += cells[i];
        sample_begin(w, family->name, "_bucket");
        series_labels(w, family, values);
        sample_label(w, PERI_SLICE("le"), peri_slice_from(bound));
        sample_number(w, below);
    }
    sample_begin(w, family->name, "_sum");
    series_labels(w, family, values);
    sample_number(w, cells[family->bound_count + 1]);
    sample_begin(w, family->name, "_count");
    series_labels(w, family, values);
    sample_number(w, below);
}

static void write_series(struct writer *w, const struct peri_series_family_info *family, uint32_t series)
{
    struct peri_slice values;
    double cells[PERI_SERIES_BOUNDS + 2];
    peri_series_get(w->shm, series, &values);
    peri_series_sum(w->shm, series, cells);
    if (family->type == PERI_SERIES_HISTOGRAM) {
        write_histogram(w, family, values, cells);
        return;
    }
    sample_begin(w, family->name, "");
    series_labels(w, family, values);
    sample_number(w, cells[0]);
}

static void write_families(struct writer *w)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};
    uint32_t count = peri_series_count(w->shm);
    for (uint32_t i = 0; i < peri_series_family_count(w->shm); i++) {
        struct peri_series_family_info family;
        struct peri_slice values;
        peri_series_family_get(w->shm, i, &family);
        peri_text_printf(w->out, "# HELP %.*s ", (int)family.name.len, family.name.ptr);
        put_escaped(w->out, family.help, false);
        peri_text_printf(w->out, "\n# TYPE %.*s %s\n", (int)family.name.len, family.name.ptr, types[family.type]);
        for (uint32_t series = 0; series < count; series++) {
            if (peri_series_get(w->shm, series, &values) == i)
                write_series(w, &family, series);
        }
    }
}

peri_err_t peri_metrics_write(const struct peri_shm *shm, struct peri_text *out)
{
    static void (*const sections[])(struct writer *) = {
        write_routes,  write_upstreams, write_watched,  write_listeners, write_policies, write_dry_runs,
        write_process, write_workers,   write_overload, write_shared,    write_families,
    };
    struct writer w = {shm, out, false};
    for (size_t i = 0; i < PERI_COUNT(sections); i++)
        sections[i](&w);
    return out->failed ? PERI_ERR_NOMEM : PERI_OK;
}
