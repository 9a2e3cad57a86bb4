// SPDX-License-Identifier: MIT
// Waits before retries: the ranges of Envoy's router documentation.
#include "upstream/backoff.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/attr.h"

static void waits_lie_in_ranges_that_double(void **state)
{
    (void)state;
    static const uint64_t ranges[] = {25, 75, 175, 250, 250, 250};
    uint64_t random = 7;
    for (uint32_t retry = 1; retry <= PERI_COUNT(ranges); retry++) {
        uint64_t least = UINT64_MAX, most = 0;
        for (unsigned i = 0; i < 5000; i++) {
            uint64_t ms = peri_backoff_ms(25, 250, retry, &random);
            least = ms < least ? ms : least;
            most = ms > most ? ms : most;
        }
        assert_int_equal(least, 0);
        assert_int_equal(most, ranges[retry - 1] - 1);
    }
}

static void waits_are_spread_evenly(void **state)
{
    (void)state;
    unsigned counts[5] = {0};
    uint64_t random = 99;
    for (unsigned i = 0; i < 10000; i++)
        counts[peri_backoff_ms(25, 250, 1, &random) / 5]++;
    for (unsigned i = 0; i < 5; i++)
        assert_in_range(counts[i], 1850, 2150);
}

static void many_retries_do_not_overflow(void **state)
{
    (void)state;
    uint64_t random = 1;
    for (uint32_t retry = 1; retry < 200; retry++)
        assert_true(peri_backoff_ms(1000, 60000, retry, &random) < 60000);
    assert_true(peri_backoff_ms(UINT64_MAX / 2, UINT64_MAX, 3, &random) <= UINT32_MAX);
}

static void no_base_is_no_wait(void **state)
{
    (void)state;
    uint64_t random = 1;
    assert_int_equal(peri_backoff_ms(0, 250, 3, &random), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(waits_lie_in_ranges_that_double),
        cmocka_unit_test(waits_are_spread_evenly),
        cmocka_unit_test(many_retries_do_not_overflow),
        cmocka_unit_test(no_base_is_no_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
