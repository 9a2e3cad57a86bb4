// SPDX-License-Identifier: MIT
// Verdicts about canaries, from figures alone.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "app/canary_judge.h"

#define MS UINT64_C(1000000)

static struct peri_canary_case figures;
static char reason[512];

static int open_case(void **state)
{
    (void)state;
    figures = (struct peri_canary_case){.serving = 3, .max_errors = 0.02, .max_slowdown = 2};
    figures.counts.generation = 4;
    return 0;
}

// `count` exchanges that ended after `ns`, `errors` of them with a 5xx.
static void add(enum peri_canary_side side, uint64_t count, uint64_t errors, uint64_t ns)
{
    struct peri_canary_counts *counts = &figures.counts.sides[side];
    counts->begun += count;
    counts->ended += count;
    counts->errors += errors;
    counts->buckets[peri_canary_bucket(ns)] += count;
}

static void before(uint64_t count, uint64_t errors, uint64_t ns)
{
    add(PERI_CANARY_OLD, count, errors, ns);
}

static void after(uint64_t count, uint64_t errors, uint64_t ns)
{
    add(PERI_CANARY_NEW, count, errors, ns);
}

static enum peri_canary_verdict judge(bool is_over)
{
    figures.is_over = is_over;
    return peri_canary_judge(&figures, reason, sizeof(reason));
}

static void expect_fine(void)
{
    assert_int_equal(judge(false), PERI_CANARY_GO_ON);
    assert_int_equal(judge(true), PERI_CANARY_PROMOTE);
    assert_string_equal(reason, "");
}

static void without_traffic_it_is_promoted_when_its_time_is_over(void **state)
{
    (void)state;
    expect_fine();
}

static void the_same_figures_on_both_sides_are_fine(void **state)
{
    (void)state;
    before(19000, 190, 20 * MS);
    after(1000, 10, 20 * MS);
    expect_fine();
}

static void one_error_alone_never_decides(void **state)
{
    (void)state;
    after(1, 1, MS);
    expect_fine();
    before(19, 0, MS);
    expect_fine();
}

static void two_errors_of_two_are_enough_at_once(void **state)
{
    (void)state;
    before(38, 0, MS);
    after(2, 2, MS);
    assert_int_equal(judge(false), PERI_CANARY_GIVE_UP);
    assert_non_null(strstr(reason, "2 of 2 exchanges of generation 4 failed (100.0 %)"));
    assert_non_null(strstr(reason, "0 of 38 of generation 3 (0.0 %)"));
}

static void errors_that_both_have_are_not_the_canarys(void **state)
{
    (void)state;
    before(380, 190, MS);
    after(20, 11, MS);
    expect_fine();
}

static void when_everything_fails_the_canary_is_not_worse(void **state)
{
    (void)state;
    before(380, 380, MS);
    after(20, 20, MS);
    expect_fine();
}

static void a_share_of_errors_within_the_bound_is_fine(void **state)
{
    (void)state;
    before(19000, 0, MS);
    after(1000, 20, MS);
    expect_fine();
}

static void a_share_beyond_the_bound_waits_for_the_end_while_it_may_be_chance(void **state)
{
    (void)state;
    before(1900, 0, MS);
    after(100, 5, MS);
    assert_int_equal(judge(false), PERI_CANARY_GO_ON);
    assert_int_equal(judge(true), PERI_CANARY_GIVE_UP);
}

static void a_large_share_of_errors_does_not_wait_for_the_end(void **state)
{
    (void)state;
    before(1900, 0, MS);
    after(100, 10, MS);
    assert_int_equal(judge(false), PERI_CANARY_GIVE_UP);
}

static void a_bound_of_100_percent_allows_every_error(void **state)
{
    (void)state;
    figures.max_errors = 1;
    before(1900, 0, MS);
    after(100, 100, MS);
    expect_fine();
}

static void a_bound_of_0_percent_still_forgives_one(void **state)
{
    (void)state;
    figures.max_errors = 0;
    before(1900, 0, MS);
    after(100, 1, MS);
    expect_fine();
    after(0, 1, MS);
    assert_int_equal(judge(true), PERI_CANARY_GIVE_UP);
}

static void a_slow_canary_is_given_up_at_once(void **state)
{
    (void)state;
    before(380, 0, 20 * MS);
    after(20, 0, 100 * MS);
    assert_int_equal(judge(false), PERI_CANARY_GIVE_UP);
    assert_non_null(strstr(reason, "20 of 20 exchanges of generation 4 took longer than"));
    assert_non_null(strstr(reason, "allowed are 2 times as much"));
}

static void a_slow_tail_is_found_too(void **state)
{
    (void)state;
    before(19000, 0, 20 * MS);
    after(950, 0, 20 * MS);
    after(50, 0, 500 * MS);
    assert_int_equal(judge(false), PERI_CANARY_GIVE_UP);
}

static void a_tail_that_both_have_is_fine(void **state)
{
    (void)state;
    before(18000, 0, 20 * MS);
    before(1000, 0, 500 * MS);
    after(947, 0, 20 * MS);
    after(53, 0, 500 * MS);
    expect_fine();
}

static void slower_within_the_bound_is_fine(void **state)
{
    (void)state;
    before(1900, 0, 50 * MS);
    after(100, 0, 90 * MS);
    expect_fine();
}

static void a_few_milliseconds_are_not_slow(void **state)
{
    (void)state;
    before(1900, 0, MS / 4);
    after(100, 0, 8 * MS);
    expect_fine();
}

static void with_too_few_to_compare_nothing_is_slow(void **state)
{
    (void)state;
    before(PERI_CANARY_SAMPLES, 0, MS);
    after(5, 0, 5000 * MS);
    expect_fine();
}

static void exchanges_that_never_end_are_seen_at_the_end(void **state)
{
    (void)state;
    before(570, 0, 20 * MS);
    figures.counts.sides[PERI_CANARY_NEW].begun = 30;
    assert_int_equal(judge(false), PERI_CANARY_GO_ON);
    assert_int_equal(judge(true), PERI_CANARY_GIVE_UP);
    assert_non_null(strstr(reason, "30 of 30 exchanges of generation 4 have not ended"));
}

static void exchanges_that_are_open_on_both_sides_are_fine(void **state)
{
    (void)state;
    figures.counts.sides[PERI_CANARY_OLD].begun = 570;
    figures.counts.sides[PERI_CANARY_NEW].begun = 30;
    expect_fine();
}

static void workers_that_end_again_and_again_speak_against_it(void **state)
{
    (void)state;
    figures.deaths = PERI_CANARY_DEATHS - 1;
    expect_fine();
    figures.deaths++;
    assert_int_equal(judge(false), PERI_CANARY_GIVE_UP);
    assert_string_equal(reason, "3 workers ended while generation 4 was tried");
}

static void buckets_follow_each_other_without_a_gap(void **state)
{
    (void)state;
    assert_int_equal(peri_canary_bucket(0), 0);
    assert_int_equal(peri_canary_bucket(UINT64_MAX), PERI_CANARY_BUCKETS - 1);
    for (unsigned i = 0; i + 1 < PERI_CANARY_BUCKETS; i++) {
        uint64_t bound = peri_canary_bound_ns(i);
        assert_int_equal(peri_canary_bucket(bound - 1), i);
        assert_int_equal(peri_canary_bucket(bound), i + 1);
    }
}

static void the_99th_percentile_is_the_bound_of_its_bucket(void **state)
{
    (void)state;
    const struct peri_canary_counts *counts = &figures.counts.sides[PERI_CANARY_OLD];
    assert_int_equal(peri_canary_p99_ns(counts), 0);
    before(99, 0, 10 * MS);
    before(1, 0, 900 * MS);
    assert_int_equal(peri_canary_p99_ns(counts), peri_canary_bound_ns(peri_canary_bucket(10 * MS)));
    before(1, 0, 900 * MS);
    assert_int_equal(peri_canary_p99_ns(counts), peri_canary_bound_ns(peri_canary_bucket(900 * MS)));
}

#define TEST(name) cmocka_unit_test_setup(name, open_case)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(without_traffic_it_is_promoted_when_its_time_is_over),
        TEST(the_same_figures_on_both_sides_are_fine),
        TEST(one_error_alone_never_decides),
        TEST(two_errors_of_two_are_enough_at_once),
        TEST(errors_that_both_have_are_not_the_canarys),
        TEST(when_everything_fails_the_canary_is_not_worse),
        TEST(a_share_of_errors_within_the_bound_is_fine),
        TEST(a_share_beyond_the_bound_waits_for_the_end_while_it_may_be_chance),
        TEST(a_large_share_of_errors_does_not_wait_for_the_end),
        TEST(a_bound_of_100_percent_allows_every_error),
        TEST(a_bound_of_0_percent_still_forgives_one),
        TEST(a_slow_canary_is_given_up_at_once),
        TEST(a_slow_tail_is_found_too),
        TEST(a_tail_that_both_have_is_fine),
        TEST(slower_within_the_bound_is_fine),
        TEST(a_few_milliseconds_are_not_slow),
        TEST(with_too_few_to_compare_nothing_is_slow),
        TEST(exchanges_that_never_end_are_seen_at_the_end),
        TEST(exchanges_that_are_open_on_both_sides_are_fine),
        TEST(workers_that_end_again_and_again_speak_against_it),
        TEST(buckets_follow_each_other_without_a_gap),
        TEST(the_99th_percentile_is_the_bound_of_its_bucket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
