// SPDX-License-Identifier: MIT
// The Lua side has validated the numbers and filled in every default; what is missing here keeps Envoy's.
#include "proxy/guard_config.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "codec/json.h"
#include "proxy/health_config.h"
#include "upstream/guard.h"
#include "upstream/health.h"
#include "upstream/upstream.h"

// A number among the settings, and where it goes.
struct number {
    const char *name;
    size_t offset;
};

#define NUMBER(name)                                                                                                   \
    {                                                                                                                  \
#name, offsetof(struct peri_outlier_settings, name)                                                            \
    }
#define ENFORCING(name, reason)                                                                                        \
    {                                                                                                                  \
        "enforcing_" name, offsetof(struct peri_outlier_settings, enforcing[reason])                                   \
    }

static const struct number outlier_numbers[] = {
    NUMBER(consecutive_5xx),
    NUMBER(consecutive_gateway_failure),
    NUMBER(consecutive_local_origin_failure),
    NUMBER(max_ejection_percent),
    NUMBER(success_rate_minimum_hosts),
    NUMBER(success_rate_request_volume),
    NUMBER(success_rate_stdev_factor),
    NUMBER(failure_percentage_threshold),
    NUMBER(failure_percentage_minimum_hosts),
    NUMBER(failure_percentage_request_volume),
    ENFORCING("consecutive_5xx", PERI_OUTLIER_5XX),
    ENFORCING("consecutive_gateway_failure", PERI_OUTLIER_GATEWAY),
    ENFORCING("consecutive_local_origin_failure", PERI_OUTLIER_LOCAL),
    ENFORCING("success_rate", PERI_OUTLIER_SUCCESS_RATE),
    ENFORCING("failure_percentage", PERI_OUTLIER_FAILURE_PERCENTAGE),
};

static const struct number outlier_times[] = {
    {"interval_ms", offsetof(struct peri_outlier_settings, interval_ms)},
    {"base_ejection_time_ms", offsetof(struct peri_outlier_settings, base_ejection_ms)},
    {"max_ejection_time_ms", offsetof(struct peri_outlier_settings, max_ejection_ms)},
    {"max_ejection_time_jitter_ms", offsetof(struct peri_outlier_settings, max_ejection_jitter_ms)},
};

static const struct number outlier_switches[] = {
    NUMBER(always_eject_one_host),
    NUMBER(split_external_local_origin_errors),
    NUMBER(successful_active_health_check_uneject_host),
};

static void read_outlier(const struct peri_json *json, struct peri_outlier_settings *settings)
{
    char *base = (char *)settings;
    peri_outlier_defaults(settings);
    for (size_t i = 0; i < PERI_COUNT(outlier_numbers); i++) {
        uint32_t *to = (uint32_t *)(void *)(base + outlier_numbers[i].offset);
        *to = (uint32_t)peri_json_get_integer(json, outlier_numbers[i].name, *to);
    }
    for (size_t i = 0; i < PERI_COUNT(outlier_times); i++) {
        uint64_t *to = (uint64_t *)(void *)(base + outlier_times[i].offset);
        *to = (uint64_t)peri_json_get_integer(json, outlier_times[i].name, (int64_t)*to);
    }
    for (size_t i = 0; i < PERI_COUNT(outlier_switches); i++) {
        bool *to = (bool *)(void *)(base + outlier_switches[i].offset);
        *to = peri_json_get_bool(json, outlier_switches[i].name, *to);
    }
}

static double get_number(const struct peri_json *json, const char *name, double fallback)
{
    return peri_json_number(peri_json_get(json, name), fallback);
}

// A request that is to show whether an endpoint is well is forgotten after the time that it may take.
static void read_accrual(const struct peri_json *json, const struct peri_upstream *upstream,
                         struct peri_accrual_settings *settings)
{
    const struct peri_json *backoff = peri_json_get(json, "backoff");
    peri_accrual_defaults(settings);
    settings->is_unified = peri_slice_eq(peri_json_get_string(json, "kind"), PERI_SLICE("unified"));
    settings->failures = (uint32_t)peri_json_get_integer(json, "failures", settings->failures);
    settings->min_ms = (uint64_t)peri_json_get_integer(backoff, "min_ms", (int64_t)settings->min_ms);
    settings->max_ms = (uint64_t)peri_json_get_integer(backoff, "max_ms", (int64_t)settings->max_ms);
    settings->jitter = get_number(backoff, "jitter", settings->jitter);
    settings->success_rate = get_number(json, "success_rate", settings->success_rate);
    settings->window_ms = (uint64_t)peri_json_get_integer(json, "window_ms", (int64_t)settings->window_ms);
    settings->min_requests = (uint32_t)peri_json_get_integer(json, "min_requests", settings->min_requests);
    if (upstream->connect_ms > 0 && upstream->request_ms > 0)
        settings->probe_ms = upstream->connect_ms + upstream->request_ms;
}

static void read_limits(const struct peri_json *json, uint32_t *limits)
{
    char name[32] = "max_";
    for (unsigned i = 0; i < PERI_BREAKER_HIGH; i++) {
        strcpy(name + 4, peri_endpoints_gauge_name((enum peri_breaker_gauge)i));
        limits[i] = (uint32_t)peri_json_get_integer(json, name, limits[i]);
    }
}

static void read_breaker(const struct peri_json *json, struct peri_breaker *breaker)
{
    peri_breaker_defaults(breaker);
    read_limits(json, breaker->limits);
    read_limits(peri_json_get(json, "high"), breaker->limits + PERI_BREAKER_HIGH);
    breaker->limits[PERI_BREAKER_QUEUE] = (uint32_t)peri_json_get_integer(peri_json_get(json, "queue"), "max", 0);
}

static void read_budget(const struct peri_json *json, struct peri_retry_settings *retries)
{
    bool is_rate = peri_slice_eq(peri_json_get_string(json, "type"), PERI_SLICE("rate"));
    retries->model = is_rate ? PERI_RETRY_BY_RATE : PERI_RETRY_BY_CONCURRENCY;
    retries->concurrency = (struct peri_retry_concurrency){
        .percent = (double)peri_json_get_integer(json, "percent", 20),
        .min_concurrency = (uint32_t)peri_json_get_integer(json, "min_concurrency", 3),
    };
    retries->rate = (struct peri_retry_rate){
        .ttl_ms = (uint64_t)peri_json_get_integer(json, "ttl_ms", 10000),
        .min_per_second = (uint32_t)peri_json_get_integer(json, "min_per_second", 10),
        .ratio = get_number(json, "ratio", 0.2),
    };
}

// An upstream with `hedge` alone retries nothing, but has its budget.
static void read_retries(const struct peri_json *json, const struct peri_json *hedge,
                         struct peri_retry_settings *retries)
{
    const struct peri_json *on = peri_json_get(json, "on");
    const struct peri_json *backoff = peri_json_get(json, "backoff");
    *retries = (struct peri_retry_settings){
        .attempts = (uint32_t)peri_json_get_integer(json, "attempts", json ? 1 : 0),
        .has_non_idempotent = peri_json_get_bool(json, "non_idempotent", false),
        .per_try_ms = (uint64_t)peri_json_get_integer(json, "per_try_timeout_ms", 0),
        .base_ms = (uint64_t)peri_json_get_integer(backoff, "base_ms", 25),
        .max_ms = (uint64_t)peri_json_get_integer(backoff, "max_ms", 250),
        .body_bytes = (uint64_t)peri_json_get_integer(json, "body", 65536),
        .hedge =
            {
                .after_ms = (uint64_t)peri_json_get_integer(hedge, "after_ms", 0),
                .max = (uint32_t)peri_json_get_integer(hedge, "max", 1),
                .has_non_idempotent = peri_json_get_bool(hedge, "non_idempotent", false),
            },
    };
    for (size_t i = 0; i < peri_json_count(on); i++)
        peri_retry_add(retries, peri_json_string(peri_json_at(on, i)));
    read_budget(peri_json_get(json, "budget"), retries);
}

peri_err_t peri_guard_config_read(struct peri_upstream *upstream, const struct peri_json *json,
                                  const struct peri_pool_settings *pool, struct peri_shm *shm,
                                  struct peri_metrics_page *page)
{
    const struct peri_json *outlier_json = peri_json_get(json, "outlier");
    const struct peri_json *accrual_json = peri_json_get(json, "accrual");
    const struct peri_json *breaker_json = peri_json_get(json, "breaker");
    const struct peri_json *retries_json = peri_json_get(json, "retries");
    const struct peri_json *health_json = peri_json_get(json, "health");
    const struct peri_json *hedge_json = peri_json_get(json, "hedge");
    struct peri_outlier_settings outlier;
    struct peri_accrual_settings accrual;
    struct peri_breaker breaker;
    struct peri_retry_settings retries;
    struct peri_guard_settings settings = {0};
    if (outlier_json) {
        read_outlier(outlier_json, &outlier);
        settings.outlier = &outlier;
    }
    if (accrual_json) {
        read_accrual(accrual_json, upstream, &accrual);
        settings.accrual = &accrual;
    }
    if (breaker_json) {
        read_breaker(breaker_json, &breaker);
        settings.limits = breaker.limits;
        settings.queue_ms = (uint64_t)peri_json_get_integer(peri_json_get(breaker_json, "queue"), "timeout_ms", 0);
    }
    if (retries_json || hedge_json) {
        read_retries(retries_json, hedge_json, &retries);
        settings.retries = &retries;
    }
    if (health_json && !(settings.health = peri_health_config_read(upstream, json, pool)))
        return PERI_ERR_NOMEM;
    bool is_guarded = outlier_json || accrual_json || breaker_json || retries_json || hedge_json || health_json;
    peri_err_t err = is_guarded ? peri_guard_new(upstream, &settings, shm, page) : PERI_OK;
    peri_health_unref(settings.health); // the guard has its own
    return err;
}
