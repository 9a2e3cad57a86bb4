// SPDX-License-Identifier: MIT
// Token buckets with injected time, alone and among several processes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <math.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shared/bucket.h"
#include "shared/dict.h"
#include "shared/shm.h"

#define NOW 5000000

static struct peri_shm *shm;
static int32_t dict;
static char buf[PERI_DICT_VALUE_MAX];

static int open_memory(void **state)
{
    (void)state;
    shm = peri_shm_create(&(struct peri_shm_options){1, PERI_SHM_DICT_BYTES_MIN});
    assert_non_null(shm);
    dict = peri_dict_open(shm, PERI_SLICE("limits"));
    return 0;
}

static int close_memory(void **state)
{
    (void)state;
    peri_shm_close(shm);
    return 0;
}

static struct peri_bucket_result take(const char *key, struct peri_bucket_rate rate, uint64_t now_ms)
{
    struct peri_dict_at at = {shm, dict, peri_slice_from(key), now_ms};
    struct peri_bucket_result result;
    assert_int_equal(peri_bucket_take(&at, &rate, &result), PERI_OK);
    return result;
}

static void admits_the_burst_and_then_what_flows_in(void **state)
{
    (void)state;
    struct peri_bucket_rate rate = {10, 3, 1}; // a token each 100 ms
    for (int i = 0; i < 3; i++) {
        struct peri_bucket_result result = take("k", rate, NOW);
        assert_true(result.is_admitted);
        assert_true(result.remaining == 2 - i);
        assert_int_equal(result.retry_after_ms, 0);
        assert_int_equal(result.reset_ms, 100 * (i + 1));
    }
    struct peri_bucket_result refused = take("k", rate, NOW);
    assert_false(refused.is_admitted);
    assert_int_equal(refused.retry_after_ms, 100);
    assert_false(take("k", rate, NOW + 99).is_admitted);
    assert_int_equal(take("k", rate, NOW + 99).retry_after_ms, 1);
    assert_true(take("k", rate, NOW + 100).is_admitted);
    assert_false(take("k", rate, NOW + 199).is_admitted);
    assert_true(take("k", rate, NOW + 200).is_admitted);
}

static void never_holds_more_than_the_burst(void **state)
{
    (void)state;
    struct peri_bucket_rate rate = {1000, 5, 1};
    take("k", rate, NOW);
    int admitted = 0;
    while (take("k", rate, NOW + 3600000).is_admitted)
        admitted++;
    assert_int_equal(admitted, 5);
}

static void keeps_fractions_of_tokens(void **state)
{
    (void)state;
    struct peri_bucket_rate rate = {1.0 / 3, 1, 1}; // a token each 3 s, asked for every 7 ms
    int admitted = 0;
    for (uint64_t ms = 0; ms < 60000; ms += 7)
        admitted += take("k", rate, NOW + ms).is_admitted;
    assert_int_equal(admitted, 20);
}

static void ten_takes_of_a_tenth_are_one(void **state)
{
    (void)state;
    struct peri_bucket_rate rate = {0.001, 1, 0.1};
    for (int i = 0; i < 10; i++)
        assert_true(take("k", rate, NOW).is_admitted);
    assert_false(take("k", rate, NOW).is_admitted);
}

static void a_refused_take_costs_nothing(void **state)
{
    (void)state;
    struct peri_bucket_rate small = {1, 10, 1}, large = {1, 10, 9};
    take("k", small, NOW);
    take("k", small, NOW);
    struct peri_bucket_result refused = take("k", large, NOW);
    assert_false(refused.is_admitted);
    assert_true(refused.remaining == 8);
    assert_int_equal(refused.retry_after_ms, 1000);
}

static void a_cost_above_the_burst_is_never_admitted(void **state)
{
    (void)state;
    struct peri_bucket_result result = take("k", (struct peri_bucket_rate){1, 10, 11}, NOW);
    assert_false(result.is_admitted);
    assert_true(result.retry_after_ms == UINT64_MAX);
    assert_true(result.remaining == 10);
}

static void a_cost_of_zero_only_looks(void **state)
{
    (void)state;
    take("k", (struct peri_bucket_rate){1, 2, 1}, NOW);
    struct peri_bucket_result result = take("k", (struct peri_bucket_rate){1, 2, 0}, NOW);
    assert_true(result.is_admitted);
    assert_true(result.remaining == 1);
}

static void time_that_runs_backwards_adds_nothing(void **state)
{
    (void)state;
    struct peri_bucket_rate rate = {1000, 1, 1};
    assert_true(take("k", rate, NOW).is_admitted);
    assert_false(take("k", rate, NOW - 50).is_admitted);
    assert_false(take("k", rate, NOW).is_admitted);
    assert_true(take("k", rate, NOW + 1).is_admitted);
}

static void a_full_bucket_leaves_the_memory(void **state)
{
    (void)state;
    struct peri_dict_stats stats;
    struct peri_dict_value value;
    struct peri_dict_at at = {shm, dict, PERI_SLICE("k"), NOW + 300};
    take("k", (struct peri_bucket_rate){10, 3, 3}, NOW);
    peri_dict_get(&at, &value, buf);
    assert_int_equal(value.type, PERI_DICT_BUCKET);
    at.now_ms = NOW + 301;
    peri_dict_get(&at, &value, buf);
    assert_int_equal(value.type, PERI_DICT_NONE);
    peri_dict_stats(shm, &stats);
    assert_int_equal(stats.entries, 0);
}

static void refuses_rates_that_mean_nothing(void **state)
{
    (void)state;
    const struct peri_bucket_rate rates[] = {
        {0, 1, 1}, {-1, 1, 1}, {1, 0, 1}, {1, -1, 1}, {1, 1, -1}, {NAN, 1, 1}, {1, INFINITY, 1}, {1, 1, NAN},
    };
    struct peri_dict_at at = {shm, dict, PERI_SLICE("k"), NOW};
    struct peri_bucket_result result;
    for (size_t i = 0; i < PERI_COUNT(rates); i++)
        assert_int_equal(peri_bucket_take(&at, &rates[i], &result), PERI_ERR_INVALID);
}

static void refuses_an_entry_that_is_no_bucket(void **state)
{
    (void)state;
    struct peri_dict_at at = {shm, dict, PERI_SLICE("k"), NOW};
    struct peri_dict_value value = {.type = PERI_DICT_NUMBER, .number = 7};
    struct peri_bucket_rate rate = {1, 1, 1};
    struct peri_bucket_result result;
    bool is_stored;
    double sum;
    peri_dict_put(&at, &value, PERI_DICT_SET, 0, &is_stored);
    assert_int_equal(peri_bucket_take(&at, &rate, &result), PERI_ERR_INVALID);
    take("bucket", rate, NOW);
    at.key = PERI_SLICE("bucket");
    assert_int_equal(peri_dict_incr(&at, 1, 0, 0, &sum), PERI_ERR_INVALID);
}

// Each process tells by the pipe how many takes were admitted.
static void take_ten_thousand(int fd, struct peri_bucket_rate rate)
{
    uint32_t admitted = 0;
    for (uint64_t i = 0; i < 10000; i++)
        admitted += take("shared", rate, NOW).is_admitted;
    if (write(fd, &admitted, sizeof(admitted)) != sizeof(admitted))
        _exit(1);
    _exit(0);
}

static uint32_t admitted_by_four(struct peri_bucket_rate rate)
{
    int fds[2];
    uint32_t total = 0, admitted;
    assert_int_equal(pipe(fds), 0);
    for (int i = 0; i < 4; i++) {
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
            take_ten_thousand(fds[1], rate);
    }
    for (int i = 0; i < 4; i++) {
        int status;
        assert_int_equal(read(fds[0], &admitted, sizeof(admitted)), sizeof(admitted));
        total += admitted;
        assert_true(wait(&status) > 0 && status == 0);
    }
    close(fds[0]);
    close(fds[1]);
    return total;
}

static void four_processes_together_admit_exactly_the_limit(void **state)
{
    (void)state;
    assert_int_equal(admitted_by_four((struct peri_bucket_rate){1, 12345, 1}), 12345);
}

static void four_processes_share_fractional_costs_exactly(void **state)
{
    (void)state;
    assert_int_equal(admitted_by_four((struct peri_bucket_rate){0.001, 1000, 0.25}), 4000);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_memory, close_memory)
    const struct CMUnitTest tests[] = {
        TEST(admits_the_burst_and_then_what_flows_in),
        TEST(never_holds_more_than_the_burst),
        TEST(keeps_fractions_of_tokens),
        TEST(ten_takes_of_a_tenth_are_one),
        TEST(a_refused_take_costs_nothing),
        TEST(a_cost_above_the_burst_is_never_admitted),
        TEST(a_cost_of_zero_only_looks),
        TEST(time_that_runs_backwards_adds_nothing),
        TEST(a_full_bucket_leaves_the_memory),
        TEST(refuses_rates_that_mean_nothing),
        TEST(refuses_an_entry_that_is_no_bucket),
        TEST(four_processes_together_admit_exactly_the_limit),
        TEST(four_processes_share_fractional_costs_exactly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
