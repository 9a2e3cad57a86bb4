// SPDX-License-Identifier: MIT
// As Envoy does it (source/common/upstream/outlier_detection_impl.cc):
//
//   result -> runs of failures in the row -> long enough: eject
//   every interval: time over -> return;  rates since the last sweep -> eject
//
// A run is found by "is now", not "is at least": each counter starts anew when it is found, so of all workers one sees it.
#include "upstream/outlier.h"

#include <math.h>
#include <stddef.h>

#include "base/assert.h"
#include "shared/endpoints.h"
#include "upstream/random.h"

void peri_outlier_defaults(struct peri_outlier_settings *settings)
{
    *settings = (struct peri_outlier_settings){
        .consecutive_5xx = 5,
        .consecutive_gateway_failure = 5,
        .consecutive_local_origin_failure = 5,
        .interval_ms = 10000,
        .base_ejection_ms = 30000,
        .max_ejection_ms = 300000,
        .max_ejection_percent = 10,
        .success_rate_minimum_hosts = 5,
        .success_rate_request_volume = 100,
        .success_rate_stdev_factor = 1900,
        .failure_percentage_threshold = 85,
        .failure_percentage_minimum_hosts = 5,
        .failure_percentage_request_volume = 50,
        .enforcing = {[PERI_OUTLIER_5XX] = 100, [PERI_OUTLIER_LOCAL] = 100, [PERI_OUTLIER_SUCCESS_RATE] = 100},
        .successful_active_health_check_uneject_host = true,
    };
}

// ---- results

bool peri_outlier_is_failure(const struct peri_outlier_result *result)
{
    return result->is_local || (result->status >= 500 && result->status < 600);
}

static bool is_gateway(int status)
{
    return status >= 502 && status <= 504;
}

static void clear(uint32_t *counter)
{
    if (__atomic_load_n(counter, __ATOMIC_RELAXED) != 0) // the line stays shared while all is well
        __atomic_store_n(counter, 0, __ATOMIC_RELAXED);
}

// One more in a row: is that `limit`? 0 is no limit.
static bool is_long_run(uint32_t *counter, uint32_t limit)
{
    return __atomic_add_fetch(counter, 1, __ATOMIC_RELAXED) == limit;
}

static enum peri_outlier_reason count_local(const struct peri_outlier_settings *settings,
                                            struct peri_endpoint_outlier *o)
{
    return is_long_run(&o->consecutive_local, settings->consecutive_local_origin_failure) ? PERI_OUTLIER_LOCAL
                                                                                          : PERI_OUTLIER_NONE;
}

static enum peri_outlier_reason count_answer(const struct peri_outlier_settings *settings,
                                             struct peri_endpoint_outlier *o, int status)
{
    bool is_gateway_run = false;
    if (is_gateway(status))
        is_gateway_run = is_long_run(&o->consecutive_gateway, settings->consecutive_gateway_failure);
    else
        clear(&o->consecutive_gateway);
    if (is_long_run(&o->consecutive_5xx, settings->consecutive_5xx))
        return PERI_OUTLIER_5XX;
    return is_gateway_run ? PERI_OUTLIER_GATEWAY : PERI_OUTLIER_NONE;
}

enum peri_outlier_reason peri_outlier_count(const struct peri_outlier_settings *settings, struct peri_endpoint_row *row,
                                            const struct peri_outlier_result *result)
{
    struct peri_endpoint_outlier *o = &row->outlier;
    bool is_split = settings->split_external_local_origin_errors;
    if (is_split && result->is_local)
        return count_local(settings, o);
    if (is_split)
        clear(&o->consecutive_local);
    if (peri_outlier_is_failure(result))
        return count_answer(settings, o, result->status);
    clear(&o->consecutive_5xx);
    clear(&o->consecutive_gateway);
    return PERI_OUTLIER_NONE;
}

// ---- ejection

static bool is_ejected(const struct peri_endpoint_row *row)
{
    return __atomic_load_n(&row->flags, __ATOMIC_RELAXED) & PERI_ENDPOINT_EJECTED;
}

static uint32_t count_ejected(const struct peri_outlier *outlier)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < outlier->count; i++)
        count += is_ejected(outlier->hosts[i].row);
    return count;
}

static bool may_eject(const struct peri_outlier *outlier)
{
    const struct peri_outlier_settings *s = outlier->settings;
    uint32_t active = count_ejected(outlier);
    uint32_t limit = s->max_ejection_percent < 100 ? s->max_ejection_percent : 100;
    if (s->always_eject_one_host && active == 0)
        return true;
    return 100.0 * (active + 1) / outlier->count <= limit;
}

static void restart_run(struct peri_endpoint_outlier *o, enum peri_outlier_reason reason)
{
    if (reason == PERI_OUTLIER_5XX)
        clear(&o->consecutive_5xx);
    else if (reason == PERI_OUTLIER_GATEWAY)
        clear(&o->consecutive_gateway);
    else if (reason == PERI_OUTLIER_LOCAL)
        clear(&o->consecutive_local);
}

// base * backoff, at most max (or base, when that is larger), and the jitter.
static uint64_t ejection_ms(const struct peri_outlier *outlier, uint32_t backoff)
{
    const struct peri_outlier_settings *s = outlier->settings;
    uint64_t max = s->max_ejection_ms > s->base_ejection_ms ? s->max_ejection_ms : s->base_ejection_ms;
    uint64_t ms = s->base_ejection_ms * backoff;
    uint64_t jitter = peri_random_below(outlier->random, (uint32_t)s->max_ejection_jitter_ms + 1);
    return (ms < max ? ms : max) + jitter;
}

static void eject(struct peri_outlier *outlier, struct peri_endpoint_row *row, enum peri_outlier_reason reason)
{
    const struct peri_outlier_settings *s = outlier->settings;
    struct peri_endpoint_outlier *o = &row->outlier;
    if (o->backoff * s->base_ejection_ms < s->max_ejection_ms + s->base_ejection_ms)
        o->backoff++;
    o->reason = reason;
    o->ejected_ms = outlier->now_ms;
    o->until_ms = outlier->now_ms + ejection_ms(outlier, o->backoff);
    o->ejections++;
    __atomic_fetch_or(&row->flags, PERI_ENDPOINT_EJECTED, __ATOMIC_RELEASE); // last: the reasons are there
}

void peri_outlier_eject(struct peri_outlier *outlier, uint32_t index, enum peri_outlier_reason reason)
{
    peri_assert(index < outlier->count && reason > PERI_OUTLIER_NONE && reason < PERI_OUTLIER_REASONS);
    struct peri_endpoint_row *row = outlier->hosts[index].row;
    if (is_ejected(row))
        return;
    outlier->upstream->detected[reason]++;
    if (!may_eject(outlier)) {
        outlier->upstream->overflows++;
    } else if (peri_random_below(outlier->random, 100) < outlier->settings->enforcing[reason]) {
        outlier->upstream->enforced[reason]++;
        eject(outlier, row, reason);
    }
    restart_run(&row->outlier, reason);
}

void peri_outlier_return(struct peri_endpoint_row *row, uint64_t now_ms)
{
    clear(&row->outlier.consecutive_5xx);
    clear(&row->outlier.consecutive_gateway);
    clear(&row->outlier.consecutive_local);
    row->outlier.returned_ms = now_ms;
    __atomic_fetch_and(&row->flags, ~(uint32_t)PERI_ENDPOINT_EJECTED, __ATOMIC_RELEASE);
}

// ---- the sweep

// Ends an ejection whose time is over; forgives one that lies an interval back.
static void revisit(const struct peri_outlier *outlier, struct peri_endpoint_row *row)
{
    struct peri_endpoint_outlier *o = &row->outlier;
    if (is_ejected(row)) {
        if (outlier->now_ms >= o->until_ms)
            peri_outlier_return(row, outlier->now_ms);
    } else if (o->backoff > 0 && o->returned_ms != 0 &&
               outlier->now_ms - o->returned_ms >= outlier->settings->interval_ms) {
        o->backoff--;
    }
}

double peri_outlier_threshold(const double *rates, uint32_t count, uint32_t factor)
{
    double mean = 0, variance = 0;
    for (uint32_t i = 0; i < count; i++)
        mean += rates[i] / count;
    for (uint32_t i = 0; i < count; i++)
        variance += (rates[i] - mean) * (rates[i] - mean) / count;
    return mean - sqrt(variance) * factor / 1000.0;
}

// Results of a host since the last sweep.
struct window {
    uint64_t total;
    double rate; // 0 to 100
};

static struct window read_window(const struct peri_outlier_host *host)
{
    const struct peri_endpoint_outlier *o = &host->row->outlier;
    uint64_t total = host->total - o->swept_total;
    uint64_t success = host->success - o->swept_success;
    if (host->total < o->swept_total || success > total || total == 0)
        return (struct window){0, 100.0};
    return (struct window){total, 100.0 * (double)success / (double)total};
}

#define SWEEP_HOSTS 1024 // more than that many rates are not compared

// The windows of the hosts that are not ejected and had enough results; how many they are.
static uint32_t collect(const struct peri_outlier *outlier, uint32_t volume, double *rates, uint32_t *indexes)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < outlier->count && count < SWEEP_HOSTS; i++) {
        struct window window = read_window(&outlier->hosts[i]);
        if (is_ejected(outlier->hosts[i].row) || window.total == 0 || window.total < volume)
            continue;
        rates[count] = window.rate;
        indexes[count++] = i;
    }
    return count;
}

static void eject_by_success_rate(struct peri_outlier *outlier)
{
    const struct peri_outlier_settings *s = outlier->settings;
    double rates[SWEEP_HOSTS];
    uint32_t indexes[SWEEP_HOSTS];
    uint32_t count = collect(outlier, s->success_rate_request_volume, rates, indexes);
    if (count == 0 || count < s->success_rate_minimum_hosts)
        return;
    double threshold = peri_outlier_threshold(rates, count, s->success_rate_stdev_factor);
    for (uint32_t i = 0; i < count; i++)
        if (rates[i] < threshold)
            peri_outlier_eject(outlier, indexes[i], PERI_OUTLIER_SUCCESS_RATE);
}

static void eject_by_failure_percentage(struct peri_outlier *outlier)
{
    const struct peri_outlier_settings *s = outlier->settings;
    double rates[SWEEP_HOSTS];
    uint32_t indexes[SWEEP_HOSTS];
    uint32_t count = collect(outlier, s->failure_percentage_request_volume, rates, indexes);
    if (count < s->failure_percentage_minimum_hosts)
        return;
    for (uint32_t i = 0; i < count; i++)
        if (100.0 - rates[i] >= s->failure_percentage_threshold)
            peri_outlier_eject(outlier, indexes[i], PERI_OUTLIER_FAILURE_PERCENTAGE);
}

void peri_outlier_sweep(struct peri_outlier *outlier)
{
    const struct peri_outlier_settings *s = outlier->settings;
    for (uint32_t i = 0; i < outlier->count; i++)
        revisit(outlier, outlier->hosts[i].row);
    if (outlier->count >= s->success_rate_minimum_hosts)
        eject_by_success_rate(outlier);
    if (outlier->count >= s->failure_percentage_minimum_hosts)
        eject_by_failure_percentage(outlier);
    for (uint32_t i = 0; i < outlier->count; i++) {
        outlier->hosts[i].row->outlier.swept_total = outlier->hosts[i].total;
        outlier->hosts[i].row->outlier.swept_success = outlier->hosts[i].success;
    }
}
