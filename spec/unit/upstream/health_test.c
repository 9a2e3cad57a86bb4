// SPDX-License-Identifier: MIT
// What answers make of an endpoint: the first one decides, then it takes several in a row; and when the next check is due.
#include "upstream/health.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct peri_health_settings *settings;
static struct peri_endpoint_row row;
static uint64_t now_ms, seed;

static int open_row(void **state)
{
    (void)state;
    settings = peri_health_new();
    assert_non_null(settings);
    settings->interval_ms = 1000;
    settings->healthy = 2;
    settings->unhealthy = 3;
    memset(&row, 0, sizeof(row));
    now_ms = 100000;
    seed = 42;
    return 0;
}

static int close_row(void **state)
{
    (void)state;
    peri_health_unref(settings);
    return 0;
}

static enum peri_health_change find(enum peri_health_result result, int status)
{
    struct peri_health_finding finding = {.result = result, .status = status};
    now_ms += 1000;
    return peri_health_count(settings, &row, &finding, now_ms, &seed);
}

static enum peri_health_change succeed(void)
{
    return find(PERI_HEALTH_SUCCESS, 200);
}

static enum peri_health_change miss(void)
{
    return find(PERI_HEALTH_CONNECT, 0);
}

static bool is_healthy(void)
{
    return row.flags == 0;
}

static void an_endpoint_is_used_until_something_is_known(void **state)
{
    (void)state;
    peri_health_begin(settings, &row);
    assert_true(is_healthy());
}

static void an_endpoint_may_have_to_wait_for_its_first_success(void **state)
{
    (void)state;
    settings->begins_unhealthy = true;
    peri_health_begin(settings, &row);
    assert_false(is_healthy());
    assert_int_equal(succeed(), PERI_HEALTH_UP); // one is enough
    peri_health_begin(settings, &row);           // as every reload does
    assert_true(is_healthy());
}

static void the_first_failure_decides(void **state)
{
    (void)state;
    assert_int_equal(miss(), PERI_HEALTH_DOWN);
    assert_false(is_healthy());
    assert_int_equal(row.health.changed_ms, now_ms);
    assert_int_equal(succeed(), PERI_HEALTH_SAME); // from now on it takes several
    assert_int_equal(succeed(), PERI_HEALTH_UP);
    assert_true(is_healthy());
}

static void failures_in_a_row_make_unhealthy(void **state)
{
    (void)state;
    assert_int_equal(succeed(), PERI_HEALTH_SAME);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(miss(), PERI_HEALTH_SAME);
    assert_int_equal(succeed(), PERI_HEALTH_SAME); // breaks the run
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(miss(), PERI_HEALTH_SAME);
    assert_true(is_healthy());
    assert_int_equal(miss(), PERI_HEALTH_DOWN);
    assert_int_equal(miss(), PERI_HEALTH_SAME); // is told once
    assert_false(is_healthy());
}

static void successes_in_a_row_make_healthy(void **state)
{
    (void)state;
    assert_int_equal(miss(), PERI_HEALTH_DOWN);
    assert_int_equal(succeed(), PERI_HEALTH_SAME);
    assert_int_equal(miss(), PERI_HEALTH_SAME);
    assert_int_equal(succeed(), PERI_HEALTH_SAME);
    assert_int_equal(succeed(), PERI_HEALTH_UP);
}

static void an_ejection_is_another_matter(void **state)
{
    (void)state;
    row.flags = PERI_ENDPOINT_EJECTED;
    assert_int_equal(miss(), PERI_HEALTH_DOWN);
    assert_int_equal(row.flags, PERI_ENDPOINT_EJECTED | PERI_ENDPOINT_UNHEALTHY);
    succeed();
    assert_int_equal(succeed(), PERI_HEALTH_UP);
    assert_int_equal(row.flags, PERI_ENDPOINT_EJECTED);
}

static void what_is_not_checked_any_more_is_forgotten(void **state)
{
    (void)state;
    miss();
    row.flags |= PERI_ENDPOINT_EJECTED;
    peri_health_forget(&row);
    assert_int_equal(row.flags, PERI_ENDPOINT_EJECTED);
    assert_int_equal(row.health.checks, 0);
}

static void the_first_check_is_due_at_once_and_the_next_after_an_interval(void **state)
{
    (void)state;
    assert_int_equal(peri_health_wait_ms(settings, &row, now_ms), 0);
    succeed();
    assert_int_equal(peri_health_wait_ms(settings, &row, now_ms), 1000);
    assert_int_equal(peri_health_wait_ms(settings, &row, now_ms + 400), 600);
    assert_int_equal(peri_health_wait_ms(settings, &row, now_ms + 1000), 0);
    assert_int_equal(peri_health_wait_ms(settings, &row, now_ms + 5000), 0); // whoever takes over begins at once
}

static void jitter_lengthens_intervals_at_random(void **state)
{
    (void)state;
    uint64_t least = UINT64_MAX, most = 0;
    settings->jitter_ms = 100;
    for (unsigned i = 0; i < 2000; i++) {
        succeed();
        uint64_t wait = peri_health_wait_ms(settings, &row, now_ms);
        least = wait < least ? wait : least;
        most = wait > most ? wait : most;
    }
    assert_int_equal(least, 1000);
    assert_int_equal(most, 1100);
}

static void a_shorter_interval_counts_from_the_reload_on(void **state)
{
    (void)state;
    settings->interval_ms = 3600000;
    succeed();
    settings->interval_ms = 1000;
    assert_int_equal(peri_health_wait_ms(settings, &row, now_ms), 1000);
}

static void only_statuses_that_are_expected_are_a_success(void **state)
{
    (void)state;
    peri_health_expect(settings, 200, 200);
    peri_health_expect(settings, 300, 399);
    assert_true(peri_health_is_expected(settings, 200));
    assert_true(peri_health_is_expected(settings, 300) && peri_health_is_expected(settings, 399));
    assert_false(peri_health_is_expected(settings, 201));
    assert_false(peri_health_is_expected(settings, 299));
    assert_false(peri_health_is_expected(settings, 400));
    assert_false(peri_health_is_expected(settings, 0));
    assert_false(peri_health_is_expected(settings, -1));
    assert_false(peri_health_is_expected(settings, 999));
}

static void assert_described(const char *expected)
{
    char text[PERI_HEALTH_TEXT];
    peri_health_describe(&row.health, text);
    assert_string_equal(text, expected);
}

static void findings_have_words(void **state)
{
    (void)state;
    find(PERI_HEALTH_SUCCESS, 200);
    assert_described("ok");
    find(PERI_HEALTH_STATUS, 503);
    assert_described("http 503");
    find(PERI_HEALTH_GRPC, 14);
    assert_described("grpc 14");
    find(PERI_HEALTH_CONNECT, 0);
    assert_described("connect failed");
    row.health.result = 1000; // by a process that writes astray
    assert_described("broken answer");
}

static void settings_live_until_the_last_reference_is_gone(void **state)
{
    (void)state;
    struct peri_health_settings *again = peri_health_ref(settings);
    peri_health_unref(settings);
    assert_int_equal(again->references, 1);
    peri_health_unref(NULL);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_row, close_row)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(an_endpoint_is_used_until_something_is_known),
        CASE(an_endpoint_may_have_to_wait_for_its_first_success),
        CASE(the_first_failure_decides),
        CASE(failures_in_a_row_make_unhealthy),
        CASE(successes_in_a_row_make_healthy),
        CASE(an_ejection_is_another_matter),
        CASE(what_is_not_checked_any_more_is_forgotten),
        CASE(the_first_check_is_due_at_once_and_the_next_after_an_interval),
        CASE(jitter_lengthens_intervals_at_random),
        CASE(a_shorter_interval_counts_from_the_reload_on),
        CASE(only_statuses_that_are_expected_are_a_success),
        CASE(findings_have_words),
        CASE(settings_live_until_the_last_reference_is_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
