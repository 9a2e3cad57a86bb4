// SPDX-License-Identifier: MIT
// The reload transaction over workers that exist only here; time is virtual.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "app/reload.h"
#include "event/loop.h"

static struct {
    struct peri_loop *loop;
    struct peri_reload reload;
    uint32_t workers;
    bool can_check, wants_canary;
    enum peri_canary_verdict verdict;
    int checks, builds, canaries, questions, commits, discards, kills, ends;
    bool was_rollback;
    uint32_t killed;
    enum peri_reload_result result;
    char errors[512];
} fake;

static bool on_check(void *data, bool is_rollback)
{
    (void)data;
    fake.checks++;
    fake.was_rollback = is_rollback;
    return fake.can_check;
}

static void on_build(void *data, bool members[PERI_SHM_WORKERS_MAX])
{
    (void)data;
    fake.builds++;
    for (uint32_t i = 0; i < fake.workers; i++)
        members[i] = true;
}

static bool on_canary(void *data)
{
    (void)data;
    fake.canaries += fake.wants_canary;
    return fake.wants_canary;
}

static enum peri_canary_verdict on_judge(void *data, char **errors)
{
    (void)data;
    fake.questions++;
    *errors = fake.verdict == PERI_CANARY_GIVE_UP ? strdup("[{\"message\":\"worse\"}]") : NULL;
    return fake.verdict;
}

static void on_commit(void *data)
{
    (void)data;
    fake.commits++;
}

static void on_discard(void *data)
{
    (void)data;
    fake.discards++;
}

static void on_kill(void *data, uint32_t worker)
{
    (void)data;
    fake.kills++;
    fake.killed = worker;
}

static void on_done(void *data, enum peri_reload_result result, const char *errors)
{
    (void)data;
    fake.ends++;
    fake.result = result;
    snprintf(fake.errors, sizeof(fake.errors), "%s", errors ? errors : "");
}

static const struct peri_reload_ops ops = {
    .check = on_check,
    .build = on_build,
    .canary = on_canary,
    .judge = on_judge,
    .commit = on_commit,
    .discard = on_discard,
    .kill = on_kill,
    .done = on_done,
};

static int open_fake(void **state)
{
    (void)state;
    memset(&fake, 0, sizeof(fake));
    fake.loop = peri_loop_new(true);
    fake.workers = 3;
    fake.can_check = true;
    peri_reload_init(&fake.reload, fake.loop, &ops, &fake);
    return fake.loop ? 0 : -1;
}

static int close_fake(void **state)
{
    (void)state;
    peri_reload_close(&fake.reload);
    peri_loop_free(fake.loop);
    return 0;
}

static void start_building(void)
{
    assert_true(peri_reload_start(&fake.reload, false));
    peri_reload_checked(&fake.reload, NULL);
    assert_int_equal(fake.reload.state, PERI_RELOADING_BUILDING);
}

static void start_switching(void)
{
    start_building();
    for (uint32_t i = 0; i < fake.workers; i++)
        peri_reload_built(&fake.reload, i, NULL);
    assert_int_equal(fake.reload.state, PERI_RELOADING_SWITCHING);
}

static void switches_when_every_worker_is_ready_and_ends_when_every_worker_switched(void **state)
{
    (void)state;
    start_building();
    peri_reload_built(&fake.reload, 0, NULL);
    peri_reload_built(&fake.reload, 2, NULL);
    assert_int_equal(fake.commits, 0);
    peri_reload_built(&fake.reload, 1, NULL);
    assert_int_equal(fake.commits, 1);
    peri_reload_switched(&fake.reload, 0);
    peri_reload_switched(&fake.reload, 1);
    assert_int_equal(fake.ends, 0);
    peri_reload_switched(&fake.reload, 2);
    assert_int_equal(fake.ends, 1);
    assert_int_equal(fake.result, PERI_RELOAD_OK);
    assert_int_equal(fake.discards, 0);
    assert_false(peri_reload_is_busy(&fake.reload));
}

static void a_refused_check_never_reaches_a_worker(void **state)
{
    (void)state;
    assert_true(peri_reload_start(&fake.reload, false));
    peri_reload_checked(&fake.reload, strdup("[{\"message\":\"bad\"}]"));
    assert_int_equal(fake.builds, 0);
    assert_int_equal(fake.discards, 1);
    assert_int_equal(fake.result, PERI_RELOAD_REFUSED);
    assert_string_equal(fake.errors, "[{\"message\":\"bad\"}]");
    assert_false(peri_reload_is_busy(&fake.reload));
}

static void one_worker_that_cannot_build_keeps_all_on_the_old_generation(void **state)
{
    (void)state;
    start_building();
    peri_reload_built(&fake.reload, 0, NULL);
    peri_reload_built(&fake.reload, 1, "[{\"message\":\"init failed\"}]");
    assert_int_equal(fake.commits, 0);
    assert_int_equal(fake.discards, 1);
    assert_int_equal(fake.result, PERI_RELOAD_REFUSED);
    peri_reload_built(&fake.reload, 2, NULL);
    assert_int_equal(fake.commits, 0);
    assert_int_equal(fake.ends, 1);
}

static void a_worker_that_dies_while_building_makes_the_reload_fail(void **state)
{
    (void)state;
    start_building();
    peri_reload_built(&fake.reload, 0, NULL);
    peri_reload_lost(&fake.reload, 0);
    assert_int_equal(fake.result, PERI_RELOAD_FAILED);
    assert_int_equal(fake.discards, 1);
    assert_non_null(strstr(fake.errors, "worker 0 ended"));
}

static void a_worker_that_builds_too_long_makes_the_reload_fail(void **state)
{
    (void)state;
    start_building();
    peri_reload_built(&fake.reload, 0, NULL);
    peri_loop_advance(fake.loop, PERI_RELOAD_STAGE_MS - 100);
    assert_int_equal(fake.ends, 0);
    peri_loop_advance(fake.loop, 200);
    assert_int_equal(fake.result, PERI_RELOAD_FAILED);
    assert_int_equal(fake.ends, 1);
    assert_int_equal(fake.commits, 0);
    assert_non_null(strstr(fake.errors, "5000 ms"));
}

static void a_worker_that_dies_while_switching_is_not_waited_for(void **state)
{
    (void)state;
    start_switching();
    peri_reload_switched(&fake.reload, 0);
    peri_reload_lost(&fake.reload, 1);
    assert_int_equal(fake.ends, 0);
    peri_reload_switched(&fake.reload, 2);
    assert_int_equal(fake.result, PERI_RELOAD_OK);
    assert_int_equal(fake.discards, 0);
}

static void a_worker_that_does_not_switch_is_killed_before_the_reload_ends(void **state)
{
    (void)state;
    start_switching();
    peri_reload_switched(&fake.reload, 0);
    peri_reload_switched(&fake.reload, 1);
    peri_loop_advance(fake.loop, PERI_RELOAD_STAGE_MS + 100);
    assert_int_equal(fake.kills, 1);
    assert_int_equal(fake.killed, 2);
    assert_int_equal(fake.ends, 0);
    peri_reload_lost(&fake.reload, 2);
    assert_int_equal(fake.result, PERI_RELOAD_OK);
}

static void with_nobody_alive_the_new_generation_is_taken_over_at_once(void **state)
{
    (void)state;
    fake.workers = 0;
    assert_true(peri_reload_start(&fake.reload, false));
    peri_reload_checked(&fake.reload, NULL);
    assert_int_equal(fake.commits, 1);
    assert_int_equal(fake.result, PERI_RELOAD_OK);
}

static void a_second_reload_is_not_started_while_one_is_under_way(void **state)
{
    (void)state;
    assert_true(peri_reload_start(&fake.reload, false));
    assert_false(peri_reload_start(&fake.reload, false));
    assert_false(peri_reload_start(&fake.reload, true));
    assert_int_equal(fake.checks, 1);
}

static void a_check_that_cannot_start_leaves_nothing_behind(void **state)
{
    (void)state;
    fake.can_check = false;
    assert_false(peri_reload_start(&fake.reload, false));
    assert_false(peri_reload_is_busy(&fake.reload));
    assert_int_equal(fake.ends, 0);
}

static void a_rollback_goes_the_same_way_under_its_own_name(void **state)
{
    (void)state;
    assert_true(peri_reload_start(&fake.reload, true));
    assert_true(fake.was_rollback);
    peri_reload_checked(&fake.reload, NULL);
    for (uint32_t i = 0; i < fake.workers; i++)
        peri_reload_built(&fake.reload, i, NULL);
    for (uint32_t i = 0; i < fake.workers; i++)
        peri_reload_switched(&fake.reload, i);
    assert_int_equal(fake.result, PERI_RELOAD_ROLLBACK);
}

static void late_answers_of_an_abandoned_reload_do_not_count_for_the_next(void **state)
{
    (void)state;
    start_building();
    peri_reload_lost(&fake.reload, 2);
    peri_reload_built(&fake.reload, 0, NULL);
    assert_true(peri_reload_start(&fake.reload, false));
    peri_reload_built(&fake.reload, 1, NULL);
    peri_reload_switched(&fake.reload, 1);
    assert_int_equal(fake.reload.state, PERI_RELOADING_CHECKING);
    assert_int_equal(fake.commits, 0);
}

static void start_canary(void)
{
    fake.wants_canary = true;
    start_building();
    for (uint32_t i = 0; i < fake.workers; i++)
        peri_reload_built(&fake.reload, i, NULL);
    assert_int_equal(fake.reload.state, PERI_RELOADING_CANARY);
    assert_int_equal(fake.canaries, 1);
    assert_int_equal(fake.commits, 0);
}

static void switch_all(void)
{
    for (uint32_t i = 0; i < fake.workers; i++)
        peri_reload_switched(&fake.reload, i);
}

static void a_canary_is_asked_about_again_and_again_and_then_promoted(void **state)
{
    (void)state;
    start_canary();
    for (int i = 1; i <= 7; i++) {
        peri_loop_advance(fake.loop, PERI_RELOAD_CANARY_MS);
        assert_int_equal(fake.questions, i);
        assert_int_equal(fake.reload.state, PERI_RELOADING_CANARY);
    }
    fake.verdict = PERI_CANARY_PROMOTE;
    peri_loop_advance(fake.loop, PERI_RELOAD_CANARY_MS);
    assert_int_equal(fake.reload.state, PERI_RELOADING_SWITCHING);
    assert_int_equal(fake.commits, 1);
    switch_all();
    assert_int_equal(fake.result, PERI_RELOAD_OK);
    assert_int_equal(fake.discards, 0);
}

static void a_canary_that_is_judged_worse_is_given_up_with_the_reason(void **state)
{
    (void)state;
    start_canary();
    fake.verdict = PERI_CANARY_GIVE_UP;
    peri_loop_advance(fake.loop, PERI_RELOAD_CANARY_MS);
    assert_int_equal(fake.result, PERI_RELOAD_CANARY_ROLLED_BACK);
    assert_string_equal(fake.errors, "[{\"message\":\"worse\"}]");
    assert_int_equal(fake.discards, 1);
    assert_int_equal(fake.commits, 0);
    assert_false(peri_reload_is_busy(&fake.reload));
}

static void a_canary_that_is_stopped_is_given_up_without_a_question(void **state)
{
    (void)state;
    start_canary();
    peri_reload_stop(&fake.reload);
    assert_int_equal(fake.ends, 0);
    peri_loop_advance(fake.loop, 1);
    assert_int_equal(fake.questions, 0);
    assert_int_equal(fake.result, PERI_RELOAD_CANARY_ROLLED_BACK);
    fake.wants_canary = false;
    start_switching();
    switch_all();
    assert_int_equal(fake.result, PERI_RELOAD_OK);
}

static void a_worker_that_dies_in_a_canary_is_replaced_and_takes_part_again(void **state)
{
    (void)state;
    start_canary();
    peri_reload_lost(&fake.reload, 1);
    assert_int_equal(fake.reload.state, PERI_RELOADING_CANARY);
    peri_reload_joined(&fake.reload, 1);
    peri_reload_built(&fake.reload, 1, NULL);
    fake.verdict = PERI_CANARY_PROMOTE;
    peri_loop_advance(fake.loop, PERI_RELOAD_CANARY_MS);
    peri_reload_switched(&fake.reload, 0);
    peri_reload_switched(&fake.reload, 2);
    assert_int_equal(fake.ends, 0);
    peri_reload_switched(&fake.reload, 1);
    assert_int_equal(fake.result, PERI_RELOAD_OK);
}

static void a_worker_that_is_dead_when_a_canary_is_promoted_is_not_waited_for(void **state)
{
    (void)state;
    start_canary();
    peri_reload_lost(&fake.reload, 1);
    fake.verdict = PERI_CANARY_PROMOTE;
    peri_loop_advance(fake.loop, PERI_RELOAD_CANARY_MS);
    peri_reload_switched(&fake.reload, 0);
    peri_reload_switched(&fake.reload, 2);
    assert_int_equal(fake.result, PERI_RELOAD_OK);
}

static void a_replacement_that_cannot_build_the_canary_refuses_it(void **state)
{
    (void)state;
    start_canary();
    peri_reload_lost(&fake.reload, 1);
    peri_reload_joined(&fake.reload, 1);
    peri_reload_built(&fake.reload, 1, "[{\"message\":\"init failed\"}]");
    assert_int_equal(fake.result, PERI_RELOAD_REFUSED);
    assert_int_equal(fake.discards, 1);
}

static void a_rollback_has_no_canary(void **state)
{
    (void)state;
    fake.wants_canary = true;
    assert_true(peri_reload_start(&fake.reload, true));
    peri_reload_checked(&fake.reload, NULL);
    for (uint32_t i = 0; i < fake.workers; i++)
        peri_reload_built(&fake.reload, i, NULL);
    assert_int_equal(fake.canaries, 0);
    switch_all();
    assert_int_equal(fake.result, PERI_RELOAD_ROLLBACK);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_fake, close_fake)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(switches_when_every_worker_is_ready_and_ends_when_every_worker_switched),
        TEST(a_refused_check_never_reaches_a_worker),
        TEST(one_worker_that_cannot_build_keeps_all_on_the_old_generation),
        TEST(a_worker_that_dies_while_building_makes_the_reload_fail),
        TEST(a_worker_that_builds_too_long_makes_the_reload_fail),
        TEST(a_worker_that_dies_while_switching_is_not_waited_for),
        TEST(a_worker_that_does_not_switch_is_killed_before_the_reload_ends),
        TEST(with_nobody_alive_the_new_generation_is_taken_over_at_once),
        TEST(a_second_reload_is_not_started_while_one_is_under_way),
        TEST(a_check_that_cannot_start_leaves_nothing_behind),
        TEST(a_rollback_goes_the_same_way_under_its_own_name),
        TEST(a_canary_is_asked_about_again_and_again_and_then_promoted),
        TEST(a_canary_that_is_judged_worse_is_given_up_with_the_reason),
        TEST(a_canary_that_is_stopped_is_given_up_without_a_question),
        TEST(a_worker_that_dies_in_a_canary_is_replaced_and_takes_part_again),
        TEST(a_worker_that_is_dead_when_a_canary_is_promoted_is_not_waited_for),
        TEST(a_replacement_that_cannot_build_the_canary_refuses_it),
        TEST(a_rollback_has_no_canary),
        TEST(late_answers_of_an_abandoned_reload_do_not_count_for_the_next),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
