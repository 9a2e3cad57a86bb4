// SPDX-License-Identifier: MIT
// Failure accrual: what counts, what shuts, how long, and that one request decides about the end of it. The numbers are Linkerd's.
#include "upstream/accrual.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/attr.h"

#define NO_GRPC UINT64_MAX

static struct peri_accrual_settings settings;
static struct peri_endpoint_row row;
static uint64_t now_ms, seed;

static int open_row(void **state)
{
    (void)state;
    peri_accrual_defaults(&settings);
    memset(&row, 0, sizeof(row));
    now_ms = 1000000;
    seed = 42;
    return 0;
}

static uint64_t now_ns(void)
{
    return now_ms * 1000000;
}

// As a guard does it.
static enum peri_accrual_reason count(enum peri_accrual_verdict verdict)
{
    enum peri_accrual_reason reason = peri_accrual_count(&settings, &row.accrual, verdict, now_ms);
    if (reason != PERI_ACCRUAL_BY_NONE)
        peri_accrual_shut(&settings, &row, reason, now_ms, &seed);
    return reason;
}

static enum peri_accrual_reason answer(int status)
{
    return count(peri_accrual_judge(&settings, status, NO_GRPC));
}

static enum peri_accrual_state resolve(enum peri_accrual_verdict verdict, uint64_t begun_ns)
{
    return peri_accrual_resolve(&settings, &row, verdict, begun_ns, now_ms, &seed);
}

static void shut_now(void)
{
    for (unsigned i = 0; i < settings.failures; i++)
        answer(500);
    assert_int_equal(row.accrual.state, PERI_ACCRUAL_SHUT);
}

static void begin_probation(void)
{
    now_ms = row.accrual.until_ms;
    assert_true(peri_accrual_tick(&row, now_ms));
    assert_int_equal(row.accrual.state, PERI_ACCRUAL_PROBATION);
}

// ---- what counts

static void failures_are_5xx_and_some_statuses_of_grpc(void **state)
{
    (void)state;
    static const struct {
        int status;
        uint64_t grpc;
        enum peri_accrual_verdict consecutive, unified;
    } cases[] = {
        {200, NO_GRPC, PERI_ACCRUAL_SUCCESS, PERI_ACCRUAL_SUCCESS},
        {404, NO_GRPC, PERI_ACCRUAL_SUCCESS, PERI_ACCRUAL_SUCCESS},
        {429, NO_GRPC, PERI_ACCRUAL_SUCCESS, PERI_ACCRUAL_LIMITED},
        {500, NO_GRPC, PERI_ACCRUAL_FAILURE, PERI_ACCRUAL_FAILURE},
        {503, NO_GRPC, PERI_ACCRUAL_FAILURE, PERI_ACCRUAL_FAILURE},
        {200, 0, PERI_ACCRUAL_SUCCESS, PERI_ACCRUAL_SUCCESS},
        {200, 2, PERI_ACCRUAL_SUCCESS, PERI_ACCRUAL_SUCCESS},  // UNKNOWN
        {200, 4, PERI_ACCRUAL_FAILURE, PERI_ACCRUAL_FAILURE},  // DEADLINE_EXCEEDED
        {200, 5, PERI_ACCRUAL_SUCCESS, PERI_ACCRUAL_SUCCESS},  // NOT_FOUND
        {200, 7, PERI_ACCRUAL_FAILURE, PERI_ACCRUAL_FAILURE},  // PERMISSION_DENIED
        {200, 8, PERI_ACCRUAL_SUCCESS, PERI_ACCRUAL_LIMITED},  // RESOURCE_EXHAUSTED
        {200, 13, PERI_ACCRUAL_FAILURE, PERI_ACCRUAL_FAILURE}, // INTERNAL
        {200, 14, PERI_ACCRUAL_FAILURE, PERI_ACCRUAL_FAILURE}, // UNAVAILABLE
        {200, 15, PERI_ACCRUAL_FAILURE, PERI_ACCRUAL_FAILURE}, // DATA_LOSS
    };
    for (unsigned i = 0; i < PERI_COUNT(cases); i++) {
        settings.is_unified = false;
        if (peri_accrual_judge(&settings, cases[i].status, cases[i].grpc) != cases[i].consecutive)
            fail_msg("case %u with consecutive", i);
        settings.is_unified = true;
        if (peri_accrual_judge(&settings, cases[i].status, cases[i].grpc) != cases[i].unified)
            fail_msg("case %u with unified", i);
    }
}

static void seven_failures_in_a_row_shut(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(answer(500), PERI_ACCRUAL_BY_NONE);
    assert_int_equal(answer(200), PERI_ACCRUAL_BY_NONE); // breaks the run
    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(answer(503), PERI_ACCRUAL_BY_NONE);
    assert_int_equal(row.flags, 0);
    assert_int_equal(answer(500), PERI_ACCRUAL_BY_RUN);
    assert_int_equal(row.flags, PERI_ENDPOINT_SHUT);
    assert_int_equal(row.accrual.shuts, 1);
}

static void what_says_nothing_neither_counts_nor_breaks_a_run(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 6; i++)
        answer(500);
    assert_int_equal(count(PERI_ACCRUAL_NOTHING), PERI_ACCRUAL_BY_NONE);
    assert_int_equal(answer(500), PERI_ACCRUAL_BY_RUN);
}

// ---- the rate

static void a_low_rate_of_successes_shuts(void **state)
{
    (void)state;
    settings.is_unified = true;
    for (unsigned i = 0; i < 3; i++)
        answer(200);
    assert_int_equal(answer(500), PERI_ACCRUAL_BY_NONE); // three of four, but four are too few
    assert_int_equal(answer(200), PERI_ACCRUAL_BY_NONE); // four of five is 0.8
    assert_int_equal(answer(500), PERI_ACCRUAL_BY_RATE); // four of six
    assert_int_equal(row.accrual.reason, PERI_ACCRUAL_BY_RATE);
}

static void the_rate_is_that_of_the_window(void **state)
{
    (void)state;
    settings.is_unified = true;
    for (unsigned i = 0; i < 3; i++)
        answer(500);
    now_ms += 5000;
    for (unsigned i = 0; i < 12; i++)
        answer(200);
    now_ms += 4999;
    assert_int_equal(answer(429), PERI_ACCRUAL_BY_RATE); // 12 of 16
    assert_true(peri_accrual_tick(&row, row.accrual.until_ms));
    peri_accrual_forget(&row);
    for (unsigned i = 0; i < 3; i++)
        answer(500);
    now_ms += 5000;
    for (unsigned i = 0; i < 12; i++)
        answer(200);
    now_ms += 5001;
    assert_int_equal(answer(429), PERI_ACCRUAL_BY_NONE); // 12 of 13: the failures are too old
}

static void a_rate_does_not_matter_to_consecutive(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(answer(i % 7 == 6 ? 200 : 500), PERI_ACCRUAL_BY_NONE);
}

static void an_endpoint_that_asks_for_less_fails_the_rate_but_no_run(void **state)
{
    (void)state;
    settings.is_unified = true;
    settings.success_rate = 0;
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(answer(429), PERI_ACCRUAL_BY_NONE);
    settings.success_rate = 0.8;
    assert_int_equal(answer(429), PERI_ACCRUAL_BY_RATE);
}

static void windows_hold_more_requests_than_a_word_counts(void **state)
{
    (void)state;
    settings.is_unified = true;
    for (unsigned i = 0; i < (1u << 20) + 10; i++)
        assert_int_equal(answer(200), PERI_ACCRUAL_BY_NONE);
    assert_int_equal(answer(500), PERI_ACCRUAL_BY_NONE);
    now_ms += 1000;
    assert_int_equal(answer(500), PERI_ACCRUAL_BY_NONE);
}

// ---- how long

static void waits_double_up_to_the_longest(void **state)
{
    (void)state;
    static const uint64_t waits[] = {1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000};
    settings.jitter = 0;
    shut_now();
    for (unsigned i = 0; i < PERI_COUNT(waits); i++) {
        assert_int_equal(row.accrual.until_ms - now_ms, waits[i]);
        assert_false(peri_accrual_tick(&row, row.accrual.until_ms - 1));
        begin_probation();
        assert_true(peri_accrual_claim(&settings, &row, now_ns()));
        assert_int_equal(resolve(PERI_ACCRUAL_FAILURE, now_ns()), PERI_ACCRUAL_SHUT);
        assert_int_equal(row.accrual.reason, PERI_ACCRUAL_BY_PROBATION);
    }
    begin_probation();
    assert_true(peri_accrual_claim(&settings, &row, now_ns()));
    assert_int_equal(resolve(PERI_ACCRUAL_SUCCESS, now_ns()), PERI_ACCRUAL_OPEN);
    shut_now();
    assert_int_equal(row.accrual.until_ms - now_ms, 1000); // begins anew
}

static void jitter_adds_up_to_half_of_a_wait(void **state)
{
    (void)state;
    uint64_t least = UINT64_MAX, most = 0;
    for (unsigned i = 0; i < 20000; i++) {
        memset(&row, 0, sizeof(row));
        shut_now();
        uint64_t wait = row.accrual.until_ms - now_ms;
        least = wait < least ? wait : least;
        most = wait > most ? wait : most;
    }
    assert_int_equal(least, 1000);
    assert_int_equal(most, 1500);
}

// ---- probation

static void one_attempt_decides(void **state)
{
    (void)state;
    shut_now();
    assert_false(peri_accrual_claim(&settings, &row, now_ns()));
    begin_probation();
    assert_int_equal(row.flags, 0); // it may be chosen
    assert_true(peri_accrual_claim(&settings, &row, now_ns()));
    assert_int_equal(row.flags, PERI_ENDPOINT_SHUT); // but not again
    assert_false(peri_accrual_claim(&settings, &row, now_ns()));
    now_ms += 500;
    assert_int_equal(resolve(PERI_ACCRUAL_SUCCESS, now_ns() - 500000000), PERI_ACCRUAL_OPEN);
    assert_int_equal(row.flags, 0);
    assert_int_equal(row.accrual.failures, 0);
}

static void results_of_attempts_from_before_are_ignored(void **state)
{
    (void)state;
    uint64_t early_ns = now_ns();
    shut_now();
    assert_int_equal(resolve(PERI_ACCRUAL_SUCCESS, early_ns), PERI_ACCRUAL_SHUT);
    begin_probation();
    assert_int_equal(resolve(PERI_ACCRUAL_FAILURE, early_ns), PERI_ACCRUAL_PROBATION);
    now_ms += 10;
    peri_accrual_claim(&settings, &row, now_ns());
    assert_int_equal(resolve(PERI_ACCRUAL_SUCCESS, now_ns() - 1), PERI_ACCRUAL_PROBING);
    assert_int_equal(resolve(PERI_ACCRUAL_SUCCESS, now_ns()), PERI_ACCRUAL_OPEN);
}

static void an_attempt_that_nobody_claimed_decides_too(void **state)
{
    (void)state;
    shut_now();
    begin_probation();
    assert_int_equal(resolve(PERI_ACCRUAL_FAILURE, now_ns()), PERI_ACCRUAL_SHUT); // in a panic everybody is used
}

static void a_probation_whose_attempt_says_nothing_goes_on(void **state)
{
    (void)state;
    shut_now();
    begin_probation();
    peri_accrual_claim(&settings, &row, now_ns());
    assert_int_equal(resolve(PERI_ACCRUAL_NOTHING, now_ns()), PERI_ACCRUAL_PROBATION);
    assert_int_equal(row.flags, 0);
    assert_true(peri_accrual_claim(&settings, &row, now_ns()));
}

static void an_attempt_that_is_never_heard_of_is_forgotten(void **state)
{
    (void)state;
    shut_now();
    begin_probation();
    uint64_t lost_ns = now_ns();
    peri_accrual_claim(&settings, &row, lost_ns);
    assert_false(peri_accrual_tick(&row, now_ms + settings.probe_ms - 1));
    now_ms += settings.probe_ms;
    assert_true(peri_accrual_tick(&row, now_ms));
    assert_int_equal(resolve(PERI_ACCRUAL_FAILURE, lost_ns), PERI_ACCRUAL_PROBATION); // too late
    assert_true(peri_accrual_claim(&settings, &row, now_ns()));
}

static void claim_and_hear(void)
{
    peri_accrual_claim(&settings, &row, now_ns());
    peri_accrual_hear(&row, now_ns());
    assert_int_equal(row.accrual.state, PERI_ACCRUAL_ANSWERING);
    assert_int_equal(row.flags, PERI_ENDPOINT_SHUT); // nobody else meanwhile
    assert_false(peri_accrual_claim(&settings, &row, now_ns()));
}

static void the_end_of_a_response_that_has_begun_decides(void **state)
{
    (void)state;
    shut_now();
    begin_probation();
    claim_and_hear();
    assert_int_equal(resolve(PERI_ACCRUAL_FAILURE, now_ns()), PERI_ACCRUAL_SHUT);
    begin_probation();
    claim_and_hear();
    assert_int_equal(resolve(PERI_ACCRUAL_NOTHING, now_ns()), PERI_ACCRUAL_PROBATION);
    claim_and_hear();
    assert_int_equal(resolve(PERI_ACCRUAL_SUCCESS, now_ns() - 1), PERI_ACCRUAL_ANSWERING); // one from before
    assert_int_equal(resolve(PERI_ACCRUAL_SUCCESS, now_ns()), PERI_ACCRUAL_OPEN);
    assert_int_equal(row.flags, 0);
}

static void a_response_that_goes_on_for_long_is_a_success(void **state)
{
    (void)state;
    shut_now();
    begin_probation();
    claim_and_hear();
    uint64_t begun_ns = now_ns();
    assert_false(peri_accrual_tick(&row, now_ms + settings.probe_ms - 1));
    now_ms += settings.probe_ms;
    assert_true(peri_accrual_is_due(&row, now_ms));
    assert_true(peri_accrual_tick(&row, now_ms));
    assert_int_equal(row.accrual.state, PERI_ACCRUAL_OPEN);
    assert_int_equal(row.flags, 0);
    assert_int_equal(resolve(PERI_ACCRUAL_FAILURE, begun_ns), PERI_ACCRUAL_OPEN); // its end is one of many
}

static void only_the_attempt_of_a_probation_is_waited_for(void **state)
{
    (void)state;
    peri_accrual_hear(&row, now_ns());
    assert_int_equal(row.accrual.state, PERI_ACCRUAL_OPEN);
    shut_now();
    peri_accrual_hear(&row, now_ns());
    assert_int_equal(row.accrual.state, PERI_ACCRUAL_SHUT);
    begin_probation();
    peri_accrual_hear(&row, now_ns());
    assert_int_equal(row.accrual.state, PERI_ACCRUAL_PROBATION); // in a panic everybody is used
    peri_accrual_claim(&settings, &row, now_ns());
    peri_accrual_hear(&row, now_ns() - 1);
    assert_int_equal(row.accrual.state, PERI_ACCRUAL_PROBING);
}

static void an_endpoint_that_asks_for_less_stays_shut(void **state)
{
    (void)state;
    settings.is_unified = true;
    shut_now();
    begin_probation();
    peri_accrual_claim(&settings, &row, now_ns());
    assert_int_equal(resolve(peri_accrual_judge(&settings, 429, NO_GRPC), now_ns()), PERI_ACCRUAL_SHUT);
}

static void the_window_begins_anew_when_it_opens(void **state)
{
    (void)state;
    settings.is_unified = true;
    settings.min_ms = 1; // the failures are still in the window
    settings.jitter = 0;
    for (unsigned i = 0; i < 5; i++)
        answer(500);
    assert_int_equal(row.accrual.reason, PERI_ACCRUAL_BY_RATE);
    begin_probation();
    peri_accrual_claim(&settings, &row, now_ns());
    assert_int_equal(resolve(PERI_ACCRUAL_SUCCESS, now_ns()), PERI_ACCRUAL_OPEN);
    for (unsigned i = 0; i < 4; i++)
        answer(200);
    assert_int_equal(answer(500), PERI_ACCRUAL_BY_NONE); // four of five
}

static void two_that_shut_at_once_shut_once(void **state)
{
    (void)state;
    shut_now();
    uint64_t until_ms = row.accrual.until_ms;
    assert_false(peri_accrual_shut(&settings, &row, PERI_ACCRUAL_BY_RATE, now_ms, &seed));
    assert_int_equal(row.accrual.until_ms, until_ms);
}

static void other_reasons_stay_when_it_opens(void **state)
{
    (void)state;
    shut_now();
    row.flags |= PERI_ENDPOINT_UNHEALTHY;
    peri_accrual_forget(&row);
    assert_int_equal(row.flags, PERI_ENDPOINT_UNHEALTHY);
    assert_int_equal(row.accrual.state, PERI_ACCRUAL_OPEN);
}

#define CASE(name) cmocka_unit_test_setup(name, open_row)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(failures_are_5xx_and_some_statuses_of_grpc),
        CASE(seven_failures_in_a_row_shut),
        CASE(what_says_nothing_neither_counts_nor_breaks_a_run),
        CASE(a_low_rate_of_successes_shuts),
        CASE(the_rate_is_that_of_the_window),
        CASE(a_rate_does_not_matter_to_consecutive),
        CASE(an_endpoint_that_asks_for_less_fails_the_rate_but_no_run),
        CASE(windows_hold_more_requests_than_a_word_counts),
        CASE(waits_double_up_to_the_longest),
        CASE(jitter_adds_up_to_half_of_a_wait),
        CASE(one_attempt_decides),
        CASE(results_of_attempts_from_before_are_ignored),
        CASE(an_attempt_that_nobody_claimed_decides_too),
        CASE(a_probation_whose_attempt_says_nothing_goes_on),
        CASE(an_attempt_that_is_never_heard_of_is_forgotten),
        CASE(the_end_of_a_response_that_has_begun_decides),
        CASE(a_response_that_goes_on_for_long_is_a_success),
        CASE(only_the_attempt_of_a_probation_is_waited_for),
        CASE(an_endpoint_that_asks_for_less_stays_shut),
        CASE(the_window_begins_anew_when_it_opens),
        CASE(two_that_shut_at_once_shut_once),
        CASE(other_reasons_stay_when_it_opens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
