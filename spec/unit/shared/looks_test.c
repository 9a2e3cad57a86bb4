// SPDX-License-Identifier: MIT
// Looks for endpoints, summed over the workers, and the text of what went wrong.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "shared/looks.h"
#include "shared/metrics.h"
#include "shared/shm.h"

static struct peri_shm *shm;
static int32_t row;
static struct peri_look_sum sum;

static int open_memory(void **state)
{
    (void)state;
    shm = peri_shm_create(&(struct peri_shm_options){2, PERI_SHM_DICT_BYTES_MIN});
    assert_non_null(shm);
    peri_shm_metrics(shm, 0);
    peri_shm_metrics(shm, 1);
    row = peri_metrics_upstream(shm, PERI_SLICE("orders"));
    return 0;
}

static int close_memory(void **state)
{
    (void)state;
    peri_shm_close(shm);
    return 0;
}

static void count(uint32_t worker, enum peri_look_result result, const char *problem, uint64_t ms)
{
    peri_look_count(peri_shm_metrics(shm, worker), row, result, problem, ms);
}

static const char *problem_of(const char *text)
{
    count(0, PERI_LOOK_FAILURE, text, 1);
    peri_look_sum(shm, (uint32_t)row, &sum);
    return sum.problem;
}

static void looks_of_all_workers_are_one_sum(void **state)
{
    (void)state;
    count(0, PERI_LOOK_SUCCESS, NULL, 10);
    count(1, PERI_LOOK_SUCCESS, NULL, 30);
    count(0, PERI_LOOK_SUCCESS, NULL, 20);
    count(1, PERI_LOOK_EMPTY, NULL, 5);
    peri_look_sum(shm, (uint32_t)row, &sum);
    assert_int_equal(sum.counts[PERI_LOOK_SUCCESS], 3);
    assert_int_equal(sum.ended_ms[PERI_LOOK_SUCCESS], 30);
    assert_int_equal(sum.counts[PERI_LOOK_EMPTY], 1);
    assert_int_equal(sum.ended_ms[PERI_LOOK_EMPTY], 5);
    assert_int_equal(sum.counts[PERI_LOOK_FAILURE], 0);
    assert_int_equal(sum.ended_ms[PERI_LOOK_FAILURE], 0);
    assert_string_equal(sum.problem, "");
}

static void the_problem_is_that_of_the_last_failure_of_any_worker(void **state)
{
    (void)state;
    count(1, PERI_LOOK_FAILURE, "later", 20);
    count(0, PERI_LOOK_FAILURE, "earlier", 10);
    peri_look_sum(shm, (uint32_t)row, &sum);
    assert_string_equal(sum.problem, "later");
    count(0, PERI_LOOK_FAILURE, "latest", 30);
    count(1, PERI_LOOK_SUCCESS, NULL, 40);
    peri_look_sum(shm, (uint32_t)row, &sum);
    assert_string_equal(sum.problem, "latest");
    assert_int_equal(sum.counts[PERI_LOOK_FAILURE], 3);
}

static void a_problem_is_printable_text(void **state)
{
    (void)state;
    assert_string_equal(problem_of("near '\x1b[2J\n-\xff-\xc3'"), "near '?[2J?-?-?'");
    assert_string_equal(problem_of("na\xc3\xafve"), "na\xc3\xafve");
}

static void a_problem_is_cut_between_two_characters(void **state)
{
    (void)state;
    char text[400];
    for (size_t i = 0; i + 2 < sizeof(text); i += 2)
        memcpy(text + i, "\xc3\xa9", 3);
    const char *problem = problem_of(text);
    assert_in_range(strlen(problem), PERI_LOOK_TEXT - 6, PERI_LOOK_TEXT - 1);
    assert_int_equal(strlen(problem) % 2, 0);
}

static void a_text_that_its_worker_did_not_finish_is_not_told_until_the_next(void **state)
{
    (void)state;
    assert_string_equal(problem_of("whole"), "whole");
    peri_shm_metrics(shm, 0)->looks[row].version++;
    peri_look_sum(shm, (uint32_t)row, &sum);
    assert_string_equal(sum.problem, "");
    assert_int_equal(sum.counts[PERI_LOOK_FAILURE], 1);
    assert_string_equal(problem_of("whole again"), "whole again");
}

static void only_upstreams_that_exist_are_found(void **state)
{
    (void)state;
    assert_int_equal(peri_metrics_find_upstream(shm, PERI_SLICE("orders")), row);
    assert_int_equal(peri_metrics_find_upstream(shm, PERI_SLICE("order")), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(looks_of_all_workers_are_one_sum, open_memory, close_memory),
        cmocka_unit_test_setup_teardown(the_problem_is_that_of_the_last_failure_of_any_worker, open_memory,
                                        close_memory),
        cmocka_unit_test_setup_teardown(a_problem_is_printable_text, open_memory, close_memory),
        cmocka_unit_test_setup_teardown(a_problem_is_cut_between_two_characters, open_memory, close_memory),
        cmocka_unit_test_setup_teardown(a_text_that_its_worker_did_not_finish_is_not_told_until_the_next, open_memory,
                                        close_memory),
        cmocka_unit_test_setup_teardown(only_upstreams_that_exist_are_found, open_memory, close_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
