// SPDX-License-Identifier: MIT
// Outlier detection: runs of failures, rates, how many may be ejected and for how long. The numbers are Envoy's.
#include "upstream/outlier.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/attr.h"
#include "shared/endpoints.h"

#define HOSTS 10

static struct peri_outlier_settings settings;
static struct peri_endpoint_row rows[HOSTS];
static struct peri_upstream_row upstream;
static struct peri_outlier_host hosts[HOSTS];
static struct peri_outlier outlier;
static uint64_t seed;

static int open_hosts(void **state)
{
    (void)state;
    peri_outlier_defaults(&settings);
    memset(rows, 0, sizeof(rows));
    memset(&upstream, 0, sizeof(upstream));
    for (unsigned i = 0; i < HOSTS; i++)
        hosts[i] = (struct peri_outlier_host){.row = &rows[i]};
    seed = 42;
    outlier = (struct peri_outlier){&settings, &upstream, hosts, HOSTS, 1000, &seed};
    return 0;
}

// A result of host `index`, with what follows from it.
static enum peri_outlier_reason report(unsigned index, int status, bool is_local)
{
    struct peri_outlier_result result = {status, is_local};
    enum peri_outlier_reason reason = peri_outlier_count(&settings, &rows[index], &result);
    if (reason != PERI_OUTLIER_NONE)
        peri_outlier_eject(&outlier, index, reason);
    return reason;
}

static enum peri_outlier_reason answer(unsigned index, int status)
{
    return report(index, status, false);
}

static void fail_in_a_row(unsigned index)
{
    for (unsigned i = 0; i < 5; i++)
        answer(index, 500);
}

static bool is_ejected(unsigned index)
{
    return rows[index].flags & PERI_ENDPOINT_EJECTED;
}

// Host `index` had `total` more results, `success` of them good.
static void had(unsigned index, uint64_t total, uint64_t success)
{
    hosts[index].total += total;
    hosts[index].success += success;
}

static void sweep_after(uint64_t ms)
{
    outlier.now_ms += ms;
    peri_outlier_sweep(&outlier);
}

// ---- runs

static void five_5xx_in_a_row_eject(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(answer(0, 500), PERI_OUTLIER_NONE);
    assert_false(is_ejected(0));
    assert_int_equal(answer(0, 500), PERI_OUTLIER_5XX);
    assert_true(is_ejected(0));
    assert_int_equal(rows[0].outlier.reason, PERI_OUTLIER_5XX);
    assert_int_equal(upstream.detected[PERI_OUTLIER_5XX], 1);
    assert_int_equal(upstream.enforced[PERI_OUTLIER_5XX], 1);
}

static void a_success_ends_the_run(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 4; i++)
            answer(0, 503);
        answer(0, 200);
    }
    assert_false(is_ejected(0));
}

static void answers_below_500_are_successes(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 20; i++)
        answer(0, 499);
    assert_false(is_ejected(0));
    assert_false(peri_outlier_is_failure(&(struct peri_outlier_result){404, false}));
    assert_true(peri_outlier_is_failure(&(struct peri_outlier_result){500, false}));
    assert_true(peri_outlier_is_failure(&(struct peri_outlier_result){503, true}));
}

static void gateway_failures_are_detected_but_not_enforced_by_default(void **state)
{
    (void)state;
    settings.consecutive_5xx = 6;
    for (unsigned i = 0; i < 5; i++)
        answer(0, 502);
    assert_int_equal(upstream.detected[PERI_OUTLIER_GATEWAY], 1);
    assert_int_equal(upstream.enforced[PERI_OUTLIER_GATEWAY], 0);
    assert_false(is_ejected(0));
}

static void another_5xx_ends_the_run_of_gateway_failures(void **state)
{
    (void)state;
    settings.consecutive_5xx = 100;
    settings.enforcing[PERI_OUTLIER_GATEWAY] = 100;
    for (unsigned i = 0; i < 4; i++)
        answer(0, 502);
    answer(0, 500);
    answer(0, 504);
    assert_false(is_ejected(0));
    for (unsigned i = 0; i < 4; i++)
        answer(0, 503);
    assert_true(is_ejected(0));
    assert_int_equal(rows[0].outlier.reason, PERI_OUTLIER_GATEWAY);
}

static void attempts_without_an_answer_count_as_5xx(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 5; i++)
        report(0, 503, true);
    assert_true(is_ejected(0));
    assert_int_equal(rows[0].outlier.reason, PERI_OUTLIER_5XX);
}

static void split_mode_counts_them_apart(void **state)
{
    (void)state;
    settings.split_external_local_origin_errors = true;
    for (unsigned i = 0; i < 4; i++) {
        answer(0, 500);
        report(0, 503, true); // no answer: the run of 5xx goes on
    }
    assert_int_equal(rows[0].outlier.consecutive_local, 1);
    answer(0, 500);
    assert_int_equal(rows[0].outlier.reason, PERI_OUTLIER_5XX);
    for (unsigned i = 0; i < 5; i++)
        report(1, 503, true);
    assert_int_equal(upstream.detected[PERI_OUTLIER_LOCAL], 1);
}

static void a_limit_of_zero_never_ejects(void **state)
{
    (void)state;
    settings.consecutive_5xx = settings.consecutive_gateway_failure = 0;
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(answer(0, 503), PERI_OUTLIER_NONE);
}

// ---- how many

static void ten_percent_of_ten_is_one(void **state)
{
    (void)state;
    fail_in_a_row(0);
    fail_in_a_row(1);
    assert_true(is_ejected(0));
    assert_false(is_ejected(1));
    assert_int_equal(upstream.overflows, 1);
}

static void ten_percent_of_nine_is_nobody_unless_one_is_always_ejected(void **state)
{
    (void)state;
    outlier.count = 9;
    fail_in_a_row(0);
    assert_false(is_ejected(0));
    settings.always_eject_one_host = true;
    fail_in_a_row(0);
    assert_true(is_ejected(0));
    fail_in_a_row(1);
    assert_false(is_ejected(1));
}

static void a_hundred_percent_may_eject_all(void **state)
{
    (void)state;
    settings.max_ejection_percent = 100;
    for (unsigned i = 0; i < HOSTS; i++)
        fail_in_a_row(i);
    for (unsigned i = 0; i < HOSTS; i++)
        assert_true(is_ejected(i));
}

static void enforcing_is_a_share_of_the_detections(void **state)
{
    (void)state;
    unsigned ejected = 0;
    settings.enforcing[PERI_OUTLIER_5XX] = 30;
    for (unsigned i = 0; i < 1000; i++) {
        fail_in_a_row(0);
        ejected += is_ejected(0);
        peri_outlier_return(&rows[0], outlier.now_ms);
    }
    assert_in_range(ejected, 250, 350);
    assert_int_equal(upstream.detected[PERI_OUTLIER_5XX], 1000);
}

// ---- how long

static void the_first_sweep_after_the_base_time_ends_an_ejection(void **state)
{
    (void)state;
    fail_in_a_row(0);
    assert_int_equal(rows[0].outlier.until_ms, 31000);
    sweep_after(29999);
    assert_true(is_ejected(0));
    sweep_after(1);
    assert_false(is_ejected(0));
    assert_int_equal(rows[0].outlier.returned_ms, 31000);
    assert_int_equal(rows[0].outlier.consecutive_5xx, 0);
}

static void each_ejection_lasts_longer_up_to_the_maximum(void **state)
{
    (void)state;
    static const uint64_t seconds[] = {30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300, 300};
    for (unsigned i = 0; i < PERI_COUNT(seconds); i++) {
        fail_in_a_row(0);
        assert_int_equal(rows[0].outlier.until_ms - rows[0].outlier.ejected_ms, seconds[i] * 1000);
        sweep_after(seconds[i] * 1000);
        assert_false(is_ejected(0));
    }
    assert_int_equal(rows[0].outlier.ejections, PERI_COUNT(seconds));
}

static void a_base_above_the_maximum_is_the_maximum(void **state)
{
    (void)state;
    settings.base_ejection_ms = 400000;
    fail_in_a_row(0);
    assert_int_equal(rows[0].outlier.until_ms - rows[0].outlier.ejected_ms, 400000);
    sweep_after(400000);
    fail_in_a_row(0);
    assert_int_equal(rows[0].outlier.until_ms - rows[0].outlier.ejected_ms, 400000);
}

static void good_intervals_shorten_the_next_ejection(void **state)
{
    (void)state;
    fail_in_a_row(0);
    sweep_after(30000);
    fail_in_a_row(0);
    sweep_after(60000);
    assert_int_equal(rows[0].outlier.backoff, 2);
    sweep_after(9999);
    assert_int_equal(rows[0].outlier.backoff, 2);
    sweep_after(1);
    assert_int_equal(rows[0].outlier.backoff, 1);
    sweep_after(10000);
    assert_int_equal(rows[0].outlier.backoff, 0);
    sweep_after(10000);
    assert_int_equal(rows[0].outlier.backoff, 0);
}

static void jitter_is_added_to_the_time(void **state)
{
    (void)state;
    uint64_t least = UINT64_MAX, most = 0;
    settings.max_ejection_jitter_ms = 1000;
    for (unsigned i = 0; i < 200; i++) {
        rows[0].outlier.backoff = 0;
        fail_in_a_row(0);
        uint64_t ms = rows[0].outlier.until_ms - rows[0].outlier.ejected_ms - 30000;
        least = ms < least ? ms : least;
        most = ms > most ? ms : most;
        peri_outlier_return(&rows[0], outlier.now_ms);
    }
    assert_true(most <= 1000 && most > 900 && least < 100);
}

// ---- rates

static void the_threshold_of_50_and_four_times_100_is_52(void **state)
{
    (void)state;
    static const double rates[] = {50, 100, 100, 100, 100}; // mean 90, variance 400, deviation 20
    double threshold = peri_outlier_threshold(rates, 5, 1900);
    assert_true(threshold > 51.999999 && threshold < 52.000001);
}

static void ejects_by_success_rate(void **state)
{
    (void)state;
    had(0, 100, 50);
    for (unsigned i = 1; i < 5; i++)
        had(i, 100, 100);
    sweep_after(10000);
    assert_true(is_ejected(0));
    assert_int_equal(rows[0].outlier.reason, PERI_OUTLIER_SUCCESS_RATE);
    for (unsigned i = 1; i < HOSTS; i++)
        assert_false(is_ejected(i));
}

static void success_rates_need_enough_hosts_with_enough_requests(void **state)
{
    (void)state;
    had(0, 100, 10);
    for (unsigned i = 1; i < 4; i++)
        had(i, 100, 100);
    had(4, 99, 99);
    sweep_after(10000);
    assert_false(is_ejected(0));
    outlier.count = 4;
    settings.success_rate_minimum_hosts = 4;
    had(0, 100, 0);
    for (unsigned i = 1; i < 4; i++)
        had(i, 100, 100);
    settings.max_ejection_percent = 50;
    settings.success_rate_stdev_factor = 1000;
    sweep_after(10000);
    assert_true(is_ejected(0));
}

static void only_results_since_the_last_sweep_count(void **state)
{
    (void)state;
    settings.enforcing[PERI_OUTLIER_SUCCESS_RATE] = 0;
    for (unsigned i = 0; i < 5; i++)
        had(i, 100, i == 0 ? 0 : 100);
    sweep_after(10000);
    settings.enforcing[PERI_OUTLIER_SUCCESS_RATE] = 100;
    for (unsigned i = 0; i < 5; i++)
        had(i, 100, 100);
    sweep_after(10000);
    assert_false(is_ejected(0));
}

static void ejected_hosts_are_not_compared(void **state)
{
    (void)state;
    fail_in_a_row(0);
    for (unsigned i = 0; i < 5; i++)
        had(i, 100, i == 1 ? 0 : 100);
    sweep_after(10000);
    assert_false(is_ejected(1)); // four are left to compare
}

static void failure_percentages_are_detected_but_not_enforced_by_default(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 5; i++)
            had(i, 50, i == 0 ? 7 : 50);
        sweep_after(10000);
        assert_int_equal(is_ejected(0), round == 1);
        settings.enforcing[PERI_OUTLIER_FAILURE_PERCENTAGE] = 100;
    }
    assert_int_equal(upstream.detected[PERI_OUTLIER_FAILURE_PERCENTAGE], 2);
    assert_int_equal(rows[0].outlier.reason, PERI_OUTLIER_FAILURE_PERCENTAGE);
}

static void fewer_failures_than_the_threshold_are_borne(void **state)
{
    (void)state;
    settings.enforcing[PERI_OUTLIER_FAILURE_PERCENTAGE] = 100;
    settings.success_rate_minimum_hosts = 100;
    for (unsigned i = 0; i < 5; i++)
        had(i, 100, 16); // 84 % fail
    sweep_after(10000);
    for (unsigned i = 0; i < 5; i++)
        assert_false(is_ejected(i));
}

static void counters_that_went_back_are_no_results(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 5; i++)
        had(i, 1000, 1000);
    sweep_after(10000);
    for (unsigned i = 0; i < 5; i++)
        hosts[i].total = hosts[i].success = 0;
    sweep_after(10000);
    for (unsigned i = 0; i < 5; i++)
        assert_false(is_ejected(i));
}

static void reasons_have_envoys_names(void **state)
{
    (void)state;
    assert_string_equal(peri_endpoints_reason_name(PERI_OUTLIER_5XX), "5xx");
    assert_string_equal(peri_endpoints_reason_name(PERI_OUTLIER_FAILURE_PERCENTAGE), "failure_percentage");
    assert_string_equal(peri_endpoints_reason_name(99), "none");
}

#define CASE(name) cmocka_unit_test_setup(name, open_hosts)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(five_5xx_in_a_row_eject),
        CASE(a_success_ends_the_run),
        CASE(answers_below_500_are_successes),
        CASE(gateway_failures_are_detected_but_not_enforced_by_default),
        CASE(another_5xx_ends_the_run_of_gateway_failures),
        CASE(attempts_without_an_answer_count_as_5xx),
        CASE(split_mode_counts_them_apart),
        CASE(a_limit_of_zero_never_ejects),
        CASE(ten_percent_of_ten_is_one),
        CASE(ten_percent_of_nine_is_nobody_unless_one_is_always_ejected),
        CASE(a_hundred_percent_may_eject_all),
        CASE(enforcing_is_a_share_of_the_detections),
        CASE(the_first_sweep_after_the_base_time_ends_an_ejection),
        CASE(each_ejection_lasts_longer_up_to_the_maximum),
        CASE(a_base_above_the_maximum_is_the_maximum),
        CASE(good_intervals_shorten_the_next_ejection),
        CASE(jitter_is_added_to_the_time),
        CASE(the_threshold_of_50_and_four_times_100_is_52),
        CASE(ejects_by_success_rate),
        CASE(success_rates_need_enough_hosts_with_enough_requests),
        CASE(only_results_since_the_last_sweep_count),
        CASE(ejected_hosts_are_not_compared),
        CASE(failure_percentages_are_detected_but_not_enforced_by_default),
        CASE(fewer_failures_than_the_threshold_are_borne),
        CASE(counters_that_went_back_are_no_results),
        CASE(reasons_have_envoys_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
