// SPDX-License-Identifier: MIT
// Priorities, panic, zones and slow start: the tables of Envoy's documentation.
#include "upstream/tiers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

// Available per cent of each tier, the load that it gets, and whether it panics.
struct row {
    uint32_t available[3];
    uint32_t load[3];
    bool is_panic[3];
};

static void check_row(const struct row *row, uint32_t count)
{
    struct peri_tier tiers[3];
    for (uint32_t i = 0; i < count; i++)
        tiers[i] = (struct peri_tier){.total = 100, .available = row->available[i]};
    peri_tiers_share(tiers, count, 50);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(tiers[i].load, row->load[i]);
        assert_int_equal(tiers[i].is_panic, row->is_panic[i]);
    }
}

// docs/root/intro/arch_overview/upstream/load_balancing/priority.rst
static void shares_between_two_priorities_as_envoy_does(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {{100, 100}, {100, 0}, {false}}, {{72, 100}, {100, 0}, {false}}, {{71, 100}, {99, 1}, {false}},
        {{50, 100}, {70, 30}, {false}},  {{25, 100}, {35, 65}, {false}}, {{0, 100}, {0, 100}, {false}},
    };
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        check_row(&rows[i], 2);
}

static void shares_among_three_priorities_as_envoy_does(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {{100, 100, 100}, {100, 0, 0}, {false}}, {{72, 72, 100}, {100, 0, 0}, {false}},
        {{71, 71, 100}, {99, 1, 0}, {false}},    {{50, 50, 100}, {70, 30, 0}, {false}},
        {{25, 100, 100}, {35, 65, 0}, {false}},  {{25, 25, 100}, {35, 35, 30}, {false}},
    };
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        check_row(&rows[i], 3);
}

// …/load_balancing/panic_threshold.rst, threshold 50 %.
static void panics_as_envoy_does(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {{72, 72}, {100, 0}, {false, false}},
        {{71, 71}, {99, 1}, {false, false}},
        {{50, 60}, {70, 30}, {false, false}},
        {{25, 100}, {35, 65}, {false, false}},
        {{25, 25}, {50, 50}, {true, true}},
        {{5, 65}, {8, 92}, {true, false}}, // of 98: 7.1 and 92.9; the rest of rounding goes to the first
    };
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        check_row(&rows[i], 2);
}

static void panics_below_the_threshold_only(void **state)
{
    (void)state;
    struct peri_tier tier = {.total = 10, .available = 5};
    peri_tiers_share(&tier, 1, 50);
    assert_false(tier.is_panic);
    tier.available = 4;
    peri_tiers_share(&tier, 1, 50);
    assert_true(tier.is_panic);
    assert_int_equal(tier.load, 100);
    peri_tiers_share(&tier, 1, 0);
    assert_false(tier.is_panic);
    assert_int_equal(tier.load, 100);
}

static void leaves_out_priorities_without_endpoints(void **state)
{
    (void)state;
    struct peri_tier tiers[3] = {{.total = 0}, {.total = 4, .available = 4}, {.total = 1, .available = 1}};
    peri_tiers_share(tiers, 3, 50);
    assert_int_equal(tiers[0].load, 0);
    assert_int_equal(tiers[1].load, 100);
    tiers[1].available = tiers[2].available = 0;
    peri_tiers_share(tiers, 3, 50);
    assert_int_equal(tiers[0].load, 0);
    assert_int_equal(tiers[1].load, 80);
    assert_int_equal(tiers[2].load, 20);
    peri_tiers_share(tiers, 3, 0); // nobody is there, and nobody is used all the same
    assert_int_equal(tiers[1].load, 100);
}

static void finds_the_tier_of_a_per_cent(void **state)
{
    (void)state;
    struct peri_tier tiers[3] = {{.load = 35}, {.load = 35}, {.load = 30}};
    unsigned counts[3] = {0};
    for (uint32_t percent = 0; percent < 100; percent++)
        counts[peri_tiers_choose(tiers, 3, percent)]++;
    assert_int_equal(counts[0], 35);
    assert_int_equal(counts[1], 35);
    assert_int_equal(counts[2], 30);
}

static void count_zones(const uint32_t *available, uint32_t own, unsigned counts[3])
{
    for (uint32_t i = 0; i < 3; i++)
        counts[i] = 0;
    for (uint64_t i = 0; i < 3000; i++)
        counts[peri_zones_choose(available, 3, own, (uint32_t)(i * 0x100000000u / 3000))]++;
}

static void stays_in_its_zone_where_that_has_its_part(void **state)
{
    (void)state;
    unsigned counts[3];
    count_zones((const uint32_t[]){3, 3, 3}, 1, counts);
    assert_int_equal(counts[1], 3000);
    count_zones((const uint32_t[]){1, 4, 1}, 1, counts);
    assert_int_equal(counts[1], 3000);
}

// The zone has 1 of 9 endpoints where 3 would be its part: a third stays; the rest goes where there are more than 3.
static void sends_the_rest_to_zones_that_have_more_than_their_part(void **state)
{
    (void)state;
    unsigned counts[3];
    count_zones((const uint32_t[]){1, 3, 5}, 0, counts);
    assert_in_range(counts[0], 999, 1001);
    assert_int_equal(counts[1], 0);
    assert_in_range(counts[2], 1999, 2001);
    count_zones((const uint32_t[]){0, 4, 5}, 0, counts);
    assert_int_equal(counts[0], 0);
    assert_in_range(counts[1], 900, 1100); // 1 and 2 above
    assert_in_range(counts[2], 1900, 2100);
}

static void starts_slowly_from_a_tenth(void **state)
{
    (void)state;
    assert_int_equal(peri_slow_start_share(0, 10000), 100);
    assert_int_equal(peri_slow_start_share(999, 10000), 100);
    assert_int_equal(peri_slow_start_share(2500, 10000), 250);
    assert_int_equal(peri_slow_start_share(9999, 10000), 999);
    assert_int_equal(peri_slow_start_share(10000, 10000), 1000);
    assert_int_equal(peri_slow_start_share(5, 0), 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shares_between_two_priorities_as_envoy_does),
        cmocka_unit_test(shares_among_three_priorities_as_envoy_does),
        cmocka_unit_test(panics_as_envoy_does),
        cmocka_unit_test(panics_below_the_threshold_only),
        cmocka_unit_test(leaves_out_priorities_without_endpoints),
        cmocka_unit_test(finds_the_tier_of_a_per_cent),
        cmocka_unit_test(stays_in_its_zone_where_that_has_its_part),
        cmocka_unit_test(sends_the_rest_to_zones_that_have_more_than_their_part),
        cmocka_unit_test(starts_slowly_from_a_tenth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
