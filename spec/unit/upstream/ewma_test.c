// SPDX-License-Identifier: MIT
// Peak-EWMA: tower's cases, in nanoseconds of a clock that the test moves.
#include "upstream/ewma.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define MS 1000000ull
#define START (5000 * MS)

static int near(double value, double expected)
{
    return value > expected * 0.9999 && value < expected * 1.0001;
}

// tower load/peak_ewma.rs, default_decay: 10 ms, decay 1 s.
static void decays_from_the_default_while_nothing_is_measured(void **state)
{
    (void)state;
    struct peri_ewma ewma = {0};
    assert_true(peri_ewma_read(&ewma, 10 * MS, START, 1000 * MS) == 10.0 * MS);
    double after_100 = peri_ewma_read(&ewma, 10 * MS, START + 100 * MS, 1000 * MS);
    assert_true(after_100 > 9.0 * MS && after_100 < 10.0 * MS);
    double after_200 = peri_ewma_read(&ewma, 10 * MS, START + 200 * MS, 1000 * MS);
    assert_true(after_200 > 8.0 * MS && after_200 < 9.0 * MS);
}

static void decays_alike_in_one_step_and_in_many(void **state)
{
    (void)state;
    struct peri_ewma one = {.ns = 100.0 * MS, .at_ns = START}, many = one;
    for (uint64_t t = 1; t <= 1000; t++)
        peri_ewma_read(&many, 1, START + t * MS, 1000 * MS);
    double value = peri_ewma_read(&one, 1, START + 1000 * MS, 1000 * MS);
    assert_true(near(value, 36.7879 * MS)); // 100 / e
    assert_true(near(many.ns, value));
}

// The series and exp() meet at 1/16 of the decay.
static void decays_without_a_step(void **state)
{
    (void)state;
    struct peri_ewma below = {.ns = 1e9, .at_ns = START}, above = below;
    double last = peri_ewma_read(&below, 1, START + 62499999, 1000 * MS);
    double next = peri_ewma_read(&above, 1, START + 62500001, 1000 * MS);
    assert_true(last > next && last - next < 20);
    assert_true(next > 939413060 && next < 939413065); // 1e9 / e^0.0625 = 939413062.8
}

static void jumps_up_at_once_and_comes_down_slowly(void **state)
{
    (void)state;
    struct peri_ewma ewma = {.ns = 10.0 * MS, .at_ns = START};
    peri_ewma_update(&ewma, 500 * MS, START + MS, 10000 * MS);
    assert_true(ewma.ns == 500.0 * MS);
    peri_ewma_update(&ewma, 10 * MS, START + 1001 * MS, 10000 * MS);
    assert_true(near(ewma.ns, (500.0 * 0.904837 + 10.0 * 0.095163) * MS));
}

static void takes_the_first_measurement_as_it_is(void **state)
{
    (void)state;
    struct peri_ewma ewma = {0};
    peri_ewma_update(&ewma, 3 * MS, START, 10000 * MS);
    assert_true(ewma.ns == 3.0 * MS);
    assert_true(peri_ewma_read(&ewma, 30 * MS, START, 10000 * MS) == 3.0 * MS);
}

static void forgives_a_penalty_by_halves(void **state)
{
    (void)state;
    struct peri_ewma ewma = {.ns = 3.0 * MS, .at_ns = START};
    peri_ewma_penalise(&ewma, 5000 * MS, START, 10000 * MS);
    assert_true(ewma.ns == 5000.0 * MS);
    peri_ewma_update(&ewma, 3 * MS, START + 2 * MS, 10000 * MS); // was sent before the failure
    assert_true(ewma.ns > 4990.0 * MS);
    for (unsigned i = 1; i <= 11; i++)
        peri_ewma_update(&ewma, 3 * MS, START + i * 4 * MS, 10000 * MS);
    assert_true(ewma.ns < 3.1 * MS);
    assert_true(ewma.penalised_ns == 0);
    peri_ewma_update(&ewma, 1 * MS, START + 48 * MS, 10000 * MS);
    assert_true(ewma.ns > 2.9 * MS); // from here on as measured
}

static void takes_each_failure_as_a_new_penalty(void **state)
{
    (void)state;
    struct peri_ewma ewma = {0};
    for (unsigned i = 0; i < 10; i++) {
        peri_ewma_penalise(&ewma, 5000 * MS, START + i * 10 * MS, 10000 * MS);
        assert_true(ewma.ns == 5000.0 * MS);
        peri_ewma_update(&ewma, 3 * MS, START + i * 10 * MS + 5 * MS, 10000 * MS);
        assert_true(ewma.ns < 2501.0 * MS && ewma.ns > 2400.0 * MS);
    }
}

static void is_not_moved_by_a_clock_that_stands(void **state)
{
    (void)state;
    struct peri_ewma ewma = {.ns = 10.0 * MS, .at_ns = START};
    peri_ewma_update(&ewma, 1 * MS, START, 1000 * MS);
    assert_true(ewma.ns == 10.0 * MS);
    assert_true(peri_ewma_read(&ewma, 1, START - 5 * MS, 1000 * MS) == 10.0 * MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decays_from_the_default_while_nothing_is_measured),
        cmocka_unit_test(decays_alike_in_one_step_and_in_many),
        cmocka_unit_test(decays_without_a_step),
        cmocka_unit_test(jumps_up_at_once_and_comes_down_slowly),
        cmocka_unit_test(takes_the_first_measurement_as_it_is),
        cmocka_unit_test(forgives_a_penalty_by_halves),
        cmocka_unit_test(takes_each_failure_as_a_new_penalty),
        cmocka_unit_test(is_not_moved_by_a_clock_that_stands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
