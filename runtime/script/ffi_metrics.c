// SPDX-License-Identifier: MIT
// Metrics and log for scripts: shared/metrics, shared/series and base/log with the signatures of ffi.h. Numbers of rows and
// series are checked below, so a wrong one costs a wrong count at most.
#include <perigee/ffi.h>

#include "base/attr.h"
#include "base/log.h"
#include "script/ffi_shared.h"
#include "shared/metrics.h"
#include "shared/series.h"
#include "shared/shm.h"

#define LOG_TEXT_MAX 4096 // the log cuts a line there

_Static_assert((int)PERI_FFI_HISTOGRAM == (int)PERI_SERIES_HISTOGRAM && (int)PERI_FFI_GAUGE == (int)PERI_SERIES_GAUGE,
               "the kinds of ffi.h are those of shared/series.h");
_Static_assert((int)PERI_FFI_METRIC_FULL == (int)PERI_SERIES_FULL &&
                   (int)PERI_FFI_METRIC_CONFLICT == (int)PERI_SERIES_CONFLICT,
               "and so are the refusals");

// ---- policies

PERI_EXPORT int32_t peri_ffi_policy_id(const char *policy, size_t policy_len, const char *route, size_t route_len)
{
    struct peri_shm *shm = peri_ffi_shared_binding()->shm;
    return shm ? peri_metrics_policy(shm, peri_slice(policy, policy_len), peri_slice(route, route_len)) : 0;
}

PERI_EXPORT void peri_ffi_policy_count(int32_t id, uint64_t ticks, int32_t is_error)
{
    struct peri_metrics_page *page = peri_ffi_shared_binding()->page;
    if (page)
        peri_metrics_policy_call(page, id, ticks, 0, is_error != 0);
}

PERI_EXPORT void peri_ffi_policy_trip(int32_t id)
{
    struct peri_metrics_page *page = peri_ffi_shared_binding()->page;
    if (page)
        peri_metrics_policy_trip(page, id);
}

PERI_EXPORT void peri_ffi_policy_quarantine(int32_t id, double generation)
{
    struct peri_metrics_page *page = peri_ffi_shared_binding()->page;
    if (page)
        peri_metrics_policy_quarantine(page, id, (uint64_t)generation);
}

PERI_EXPORT uint64_t peri_ffi_ticks(void)
{
    return peri_metrics_ticks();
}

// ---- what scripts define

PERI_EXPORT int32_t peri_ffi_metric_open(int32_t kind, const char *name, size_t name_len, const char *help,
                                         size_t help_len, const char *labels, size_t labels_len, const double *bounds,
                                         uint32_t bound_count)
{
    struct peri_shm *shm = peri_ffi_shared_binding()->shm;
    struct peri_series_spec spec = {
        .type = (enum peri_series_type)kind,
        .name = peri_slice(name, name_len),
        .help = peri_slice(help, help_len),
        .labels = peri_slice(labels, labels_len),
        .bounds = bounds,
        .bound_count = bounds ? bound_count : 0,
    };
    if (!shm || kind < PERI_FFI_COUNTER || kind > PERI_FFI_HISTOGRAM)
        return PERI_FFI_METRIC_FULL;
    return peri_series_family(shm, &spec);
}

PERI_EXPORT int32_t peri_ffi_metric_series(int32_t metric, const char *values, size_t len)
{
    struct peri_shm *shm = peri_ffi_shared_binding()->shm;
    return shm ? peri_series_open(shm, metric, peri_slice(values, len)) : -1;
}

PERI_EXPORT void peri_ffi_metric_add(int32_t series, double by)
{
    const struct peri_ffi_binding *to = peri_ffi_shared_binding();
    if (to->shm)
        peri_series_add(to->shm, to->worker, series, by);
}

PERI_EXPORT void peri_ffi_metric_set(int32_t series, double value)
{
    const struct peri_ffi_binding *to = peri_ffi_shared_binding();
    if (to->shm)
        peri_series_set(to->shm, series, value);
}

PERI_EXPORT void peri_ffi_metric_observe(int32_t series, double value)
{
    const struct peri_ffi_binding *to = peri_ffi_shared_binding();
    if (to->shm)
        peri_series_observe(to->shm, to->worker, series, value);
}

// ---- log

PERI_EXPORT int32_t peri_ffi_log_is_on(int32_t level)
{
    return level >= PERI_LOG_DEBUG && level <= PERI_LOG_ERROR && peri_log_is_on((enum peri_log_level)level);
}

// The log takes C strings: a zero byte must not hide what follows it.
PERI_EXPORT void peri_ffi_log(int32_t level, const char *text, size_t len)
{
    char line[LOG_TEXT_MAX];
    size_t n = len < sizeof(line) - 1 ? len : sizeof(line) - 1;
    if (!text || !peri_ffi_log_is_on(level))
        return;
    for (size_t i = 0; i < n; i++)
        line[i] = text[i] ? text[i] : ' ';
    line[n] = 0;
    peri_log((enum peri_log_level)level, "%s", line);
}
