// SPDX-License-Identifier: MIT
// Which endpoints answer worse than they should: Envoy's outlier detection, on numbers that all workers share. Knows rows and
// the clock it is given; nothing of connections, and nothing of who calls it.
#ifndef PERI_UPSTREAM_OUTLIER_H
#define PERI_UPSTREAM_OUTLIER_H

#include <stdbool.h>
#include <stdint.h>

#include "shared/endpoints.h"

/// The settings, with Envoy's names; percents are 0 to 100.
struct peri_outlier_settings {
    uint32_t consecutive_5xx;
    uint32_t consecutive_gateway_failure;
    uint32_t consecutive_local_origin_failure;
    uint64_t interval_ms;
    uint64_t base_ejection_ms;
    uint64_t max_ejection_ms;
    uint64_t max_ejection_jitter_ms;
    uint32_t max_ejection_percent;
    uint32_t success_rate_minimum_hosts;
    uint32_t success_rate_request_volume;
    uint32_t success_rate_stdev_factor; ///< thousandths
    uint32_t failure_percentage_threshold;
    uint32_t failure_percentage_minimum_hosts;
    uint32_t failure_percentage_request_volume;
    uint32_t enforcing[PERI_OUTLIER_REASONS]; ///< percent of the detections that eject, by reason
    bool always_eject_one_host;
    bool split_external_local_origin_errors;
    bool successful_active_health_check_uneject_host;
};

/// How an attempt ended.
struct peri_outlier_result {
    int status; ///< of the answer; of a failure: what it counts as (504 for a timeout, 503 for no connection, 500 for others)
    bool is_local; ///< there was no answer
};

/// One endpoint of a sweep.
struct peri_outlier_host {
    struct peri_endpoint_row *row;
    uint64_t total;   ///< results so far, of all workers
    uint64_t success; ///< of those: no failure
    bool was_ejected; ///< for the caller
};

/// What decides about the endpoints of one upstream. Whoever ejects or sweeps keeps others from it meanwhile.
struct peri_outlier {
    const struct peri_outlier_settings *settings;
    struct peri_upstream_row *upstream; ///< counts detections
    struct peri_outlier_host *hosts;
    uint32_t count;
    uint64_t now_ms;  ///< monotonic
    uint64_t *random; ///< upstream/random.h
};

/// Envoy's defaults.
void peri_outlier_defaults(struct peri_outlier_settings *settings);

/// Is the result a failure?
bool peri_outlier_is_failure(const struct peri_outlier_result *result);

/// Counts a result in the row. The reason when it is the last one in a row that is too long: exactly one process is told.
enum peri_outlier_reason peri_outlier_count(const struct peri_outlier_settings *settings, struct peri_endpoint_row *row,
                                            const struct peri_outlier_result *result);

/// Ejects host `index` for `reason`, if it may be ejected; counts the detection.
void peri_outlier_eject(struct peri_outlier *outlier, uint32_t index, enum peri_outlier_reason reason);

/// Ends the ejection of a row.
void peri_outlier_return(struct peri_endpoint_row *row, uint64_t now_ms);

/// What is done once in every interval: ends ejections whose time is over, and ejects by the results since the last sweep.
void peri_outlier_sweep(struct peri_outlier *outlier);

/// The success rate (0 to 100) below which an endpoint is an outlier: the mean less `factor` thousandths of the standard deviation.
double peri_outlier_threshold(const double *rates, uint32_t count, uint32_t factor);

#endif
