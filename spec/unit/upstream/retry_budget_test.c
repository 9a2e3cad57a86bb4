// SPDX-License-Identifier: MIT
// Retry budgets: tower's own tests of its TpsBudget, and Envoy's share of what is under way.
#include "upstream/retry_budget.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "shared/endpoints.h"

static uint64_t slots[PERI_BUDGET_SLOTS];
static struct peri_retry_rate budget;
static uint64_t now_ms;

static int open_budget(void **state)
{
    (void)state;
    memset(slots, 0, sizeof(slots));
    now_ms = 123456;
    return 0;
}

static void set(uint64_t ttl_ms, uint32_t min_per_second, double ratio)
{
    budget = (struct peri_retry_rate){ttl_ms, min_per_second, ratio, slots};
}

static bool withdraw(void)
{
    return peri_retry_rate_withdraw(&budget, now_ms);
}

static void deposit(unsigned times)
{
    for (unsigned i = 0; i < times; i++)
        peri_retry_rate_deposit(&budget, now_ms);
}

// ---- the rate

static void an_empty_budget_pays_nothing(void **state)
{
    (void)state;
    set(1000, 0, 1.0);
    assert_false(withdraw());
}

static void deposits_are_worth_nothing_after_their_time(void **state)
{
    (void)state;
    set(1000, 0, 1.0);
    deposit(1);
    now_ms += 3000;
    assert_false(withdraw());
}

static void deposits_of_all_slots_count_together(void **state)
{
    (void)state;
    for (unsigned phase = 0; phase < 100; phase++) {
        open_budget(NULL);
        now_ms += phase;
        set(1000, 0, 0.5);
        deposit(2);
        now_ms += 901;
        assert_true(withdraw());
        assert_false(withdraw());
        now_ms += 2001;
        deposit(1);
        now_ms += 901;
        assert_false(withdraw()); // one is half of what a retry costs
        deposit(1);
        assert_true(withdraw());
        assert_false(withdraw());
    }
}

static void the_reserve_pays_without_deposits(void **state)
{
    (void)state;
    set(1000, 5, 1.0);
    for (unsigned i = 0; i < 5; i++)
        assert_true(withdraw());
    assert_false(withdraw());
}

static void the_reserve_comes_back(void **state)
{
    (void)state;
    set(1000, 5, 1.0);
    for (unsigned i = 0; i < 5; i++)
        assert_true(withdraw());
    now_ms += 1101;
    for (unsigned i = 0; i < 5; i++)
        assert_true(withdraw());
    assert_false(withdraw());
}

static void a_ratio_of_a_fifth_pays_one_retry_for_five_requests(void **state)
{
    (void)state;
    set(10000, 0, 0.2);
    deposit(100);
    unsigned paid = 0;
    while (withdraw())
        paid++;
    assert_int_equal(paid, 20);
}

static void a_ratio_above_one_pays_several_retries_for_a_request(void **state)
{
    (void)state;
    set(10000, 0, 4.0);
    deposit(1);
    for (unsigned i = 0; i < 4; i++)
        assert_true(withdraw());
    assert_false(withdraw());
}

static void a_ratio_of_zero_pays_only_from_the_reserve(void **state)
{
    (void)state;
    set(1000, 2, 0);
    deposit(1000);
    assert_true(withdraw());
    assert_true(withdraw());
    assert_false(withdraw());
}

// ---- concurrency

static void the_least_number_of_retries_is_always_allowed(void **state)
{
    (void)state;
    const struct peri_retry_concurrency envoy = {20, 3};
    for (uint64_t retries = 0; retries < 3; retries++)
        assert_true(peri_retry_concurrency_allows(&envoy, 0, retries));
    assert_false(peri_retry_concurrency_allows(&envoy, 0, 3));
    assert_false(peri_retry_concurrency_allows(&envoy, 15, 3));
}

static void beyond_it_a_share_of_what_is_under_way(void **state)
{
    (void)state;
    const struct peri_retry_concurrency envoy = {20, 3};
    assert_true(peri_retry_concurrency_allows(&envoy, 100, 19));
    assert_false(peri_retry_concurrency_allows(&envoy, 100, 20));
}

#define CASE(name) cmocka_unit_test_setup(name, open_budget)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(an_empty_budget_pays_nothing),
        CASE(deposits_are_worth_nothing_after_their_time),
        CASE(deposits_of_all_slots_count_together),
        CASE(the_reserve_pays_without_deposits),
        CASE(the_reserve_comes_back),
        CASE(a_ratio_of_a_fifth_pays_one_retry_for_five_requests),
        CASE(a_ratio_above_one_pays_several_retries_for_a_request),
        CASE(a_ratio_of_zero_pays_only_from_the_reserve),
        CASE(the_least_number_of_retries_is_always_allowed),
        CASE(beyond_it_a_share_of_what_is_under_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
