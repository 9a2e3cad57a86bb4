// SPDX-License-Identifier: MIT
// Timers in virtual time: to the millisecond, in order, moved lazily, stopped and started from anywhere.
#include "event/timer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "event/loop.h"

struct alarm {
    struct peri_timer timer;
    uint64_t fired_at[8]; ///< milliseconds after the test's start
    unsigned fired;
    char letter;
    void (*also)(struct alarm *alarm);
};

static struct peri_loop *loop;
static uint64_t start;
static char order[64];
static struct alarm a, b, c;

static uint64_t now(void)
{
    return peri_loop_now_ms(loop) - start;
}

static void on_fire(struct peri_timer *timer)
{
    struct alarm *alarm = PERI_CONTAINER(timer, struct alarm, timer);
    assert_true(alarm->fired < 8);
    alarm->fired_at[alarm->fired++] = now();
    strncat(order, &alarm->letter, 1);
    assert_false(peri_timer_is_active(timer));
    if (alarm->also)
        alarm->also(alarm);
}

static void prepare(struct alarm *alarm, char letter)
{
    memset(alarm, 0, sizeof(*alarm));
    alarm->letter = letter;
    peri_timer_init(&alarm->timer, on_fire);
}

static int open_loop(void **state)
{
    (void)state;
    loop = peri_loop_new(true);
    start = peri_loop_now_ms(loop);
    order[0] = 0;
    prepare(&a, 'a');
    prepare(&b, 'b');
    prepare(&c, 'c');
    return loop ? 0 : -1;
}

static int close_loop(void **state)
{
    (void)state;
    assert_int_equal(peri_loop_timers(loop), 0);
    peri_loop_free(loop);
    return 0;
}

static void fires_at_its_millisecond_not_before(void **state)
{
    (void)state;
    static const uint64_t delays[] = {1, 2, 3, 4, 5, 7, 999, 1000, 1023, 1024, 1025, 5000, 75000, 3600000};
    for (unsigned i = 0; i < PERI_COUNT(delays); i++) {
        prepare(&a, 'a');
        uint64_t due = now() + delays[i];
        peri_timer_start(loop, &a.timer, delays[i]);
        peri_loop_advance(loop, delays[i] - 1);
        assert_int_equal(a.fired, 0);
        assert_true(peri_timer_is_active(&a.timer));
        peri_loop_advance(loop, 1);
        assert_int_equal(a.fired, 1);
        assert_int_equal(a.fired_at[0], due);
        peri_loop_advance(loop, 10);
        assert_int_equal(a.fired, 1);
    }
}

static void sees_its_own_deadline_in_one_long_advance(void **state)
{
    (void)state;
    peri_timer_start(loop, &c.timer, 40000);
    peri_timer_start(loop, &a.timer, 3);
    peri_timer_start(loop, &b.timer, 2500);
    peri_loop_advance(loop, 100000);
    assert_string_equal(order, "abc");
    assert_int_equal(a.fired_at[0], 3);
    assert_int_equal(b.fired_at[0], 2500);
    assert_int_equal(c.fired_at[0], 40000);
    assert_int_equal(now(), 100000);
}

static void fires_those_of_one_millisecond_in_the_order_of_their_start(void **state)
{
    (void)state;
    peri_timer_start(loop, &b.timer, 50);
    peri_timer_start(loop, &a.timer, 50);
    peri_timer_start(loop, &c.timer, 50);
    peri_loop_advance(loop, 50);
    assert_string_equal(order, "bac");
}

static void moves_later_without_firing_at_the_old_deadline(void **state)
{
    (void)state;
    peri_timer_start(loop, &a.timer, 100);
    peri_loop_advance(loop, 60);
    peri_timer_start(loop, &a.timer, 100);
    peri_loop_advance(loop, 60);
    peri_timer_start(loop, &a.timer, 3000);
    peri_loop_advance(loop, 2999);
    assert_int_equal(a.fired, 0);
    peri_loop_advance(loop, 1);
    assert_int_equal(a.fired, 1);
}

static void moves_earlier(void **state)
{
    (void)state;
    peri_timer_start(loop, &a.timer, 50000);
    peri_timer_start(loop, &b.timer, 500);
    peri_timer_start(loop, &a.timer, 20);
    peri_timer_start(loop, &b.timer, 400);
    peri_timer_start(loop, &b.timer, 10);
    peri_loop_advance(loop, 19);
    assert_string_equal(order, "b");
    peri_loop_advance(loop, 1);
    assert_string_equal(order, "ba");
    peri_loop_advance(loop, 60000);
    assert_string_equal(order, "ba");
}

static void stops_and_does_not_mind_being_stopped_twice(void **state)
{
    (void)state;
    peri_timer_stop(&a.timer);
    peri_timer_start(loop, &a.timer, 10);
    peri_timer_stop(&a.timer);
    peri_timer_stop(&a.timer);
    assert_false(peri_timer_is_active(&a.timer));
    peri_loop_advance(loop, 2000);
    assert_int_equal(a.fired, 0);
    peri_timer_start(loop, &a.timer, 10);
    peri_loop_advance(loop, 10);
    assert_int_equal(a.fired, 1);
}

static void stop_the_others(struct alarm *alarm)
{
    (void)alarm;
    peri_timer_stop(&b.timer);
    peri_timer_stop(&c.timer);
}

static void may_stop_others_that_are_due_in_the_same_millisecond(void **state)
{
    (void)state;
    a.also = stop_the_others;
    peri_timer_start(loop, &a.timer, 5);
    peri_timer_start(loop, &b.timer, 5);
    peri_timer_start(loop, &c.timer, 6);
    peri_loop_advance(loop, 100);
    assert_string_equal(order, "a");
}

static void start_again(struct alarm *alarm)
{
    if (alarm->fired < 4)
        peri_timer_start(loop, &alarm->timer, alarm->fired == 2 ? 0 : 10);
}

static void may_start_itself_again_without_stopping_the_clock(void **state)
{
    (void)state;
    a.also = start_again;
    peri_timer_start(loop, &a.timer, 10);
    peri_loop_advance(loop, 100);
    assert_int_equal(a.fired, 4);
    assert_int_equal(a.fired_at[1], 20);
    assert_in_range(a.fired_at[2], 20, 21);
    assert_int_equal(a.fired_at[3], a.fired_at[2] + 10);
}

static void move_the_others(struct alarm *alarm)
{
    (void)alarm;
    peri_timer_start(loop, &b.timer, 100);
    peri_timer_start(loop, &c.timer, 1);
}

static void may_move_others_from_its_own_slot(void **state)
{
    (void)state;
    a.also = move_the_others;
    peri_timer_start(loop, &a.timer, 5);
    peri_timer_start(loop, &b.timer, 5);
    peri_timer_start(loop, &c.timer, 4000);
    peri_loop_advance(loop, 104);
    assert_string_equal(order, "ac");
    assert_int_equal(c.fired_at[0], 6);
    peri_loop_advance(loop, 1);
    assert_string_equal(order, "acb");
}

static void counts_the_active_ones_and_names_the_next(void **state)
{
    (void)state;
    assert_int_equal(peri_loop_timers(loop), 0);
    assert_true(peri_loop_next_ms(loop) == UINT64_MAX);
    peri_timer_start(loop, &a.timer, 30);
    peri_timer_start(loop, &b.timer, 900);
    assert_int_equal(peri_loop_timers(loop), 2);
    assert_int_equal(peri_loop_next_ms(loop) - start, 30);
    peri_timer_stop(&a.timer);
    peri_timer_stop(&b.timer);
    assert_int_equal(peri_loop_timers(loop), 0);
}

#define MANY 4000

static struct alarm many[MANY];
static uint64_t due[MANY];
static uint64_t last_fired;
static unsigned many_fired;

static void check_due(struct alarm *alarm)
{
    unsigned i = (unsigned)(alarm - many);
    assert_int_equal(now(), due[i]);
    assert_true(now() >= last_fired);
    last_fired = now();
    many_fired++;
    order[0] = 0;
    unsigned other = (i * 31 + 7) % MANY; // a third of them move one that is still waiting
    if (i % 3 == 0 && peri_timer_is_active(&many[other].timer)) {
        due[other] = now() + 1 + (i * 13) % 5000;
        peri_timer_start(loop, &many[other].timer, due[other] - now());
    }
}

static void keeps_thousands_exact_whatever_moves(void **state)
{
    (void)state;
    uint32_t seed = 12345;
    last_fired = many_fired = 0;
    for (unsigned i = 0; i < MANY; i++) {
        seed = seed * 1664525u + 1013904223u;
        prepare(&many[i], '-');
        many[i].also = check_due;
        due[i] = 1 + seed % 20000;
        peri_timer_start(loop, &many[i].timer, due[i]);
    }
    for (unsigned step = 0; many_fired < MANY && step < 1000; step++)
        peri_loop_advance(loop, 1 + step % 97);
    peri_loop_advance(loop, 100000);
    assert_int_equal(many_fired, MANY);
}

static void on_real(struct peri_timer *timer)
{
    PERI_CONTAINER(timer, struct alarm, timer)->fired++;
}

static void waits_for_real_time_too_and_never_fires_early(void **state)
{
    (void)state;
    struct peri_loop *real = peri_loop_new(false);
    struct alarm one = {.letter = 'r'};
    peri_timer_init(&one.timer, on_real);
    uint64_t from = peri_loop_now_ms(real);
    peri_timer_start(real, &one.timer, 20);
    while (one.fired == 0)
        peri_loop_wait(real, 1000);
    assert_true(peri_loop_now_ms(real) - from >= 20);
    peri_loop_free(real);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_loop, close_loop)
    const struct CMUnitTest tests[] = {
        TEST(fires_at_its_millisecond_not_before),
        TEST(sees_its_own_deadline_in_one_long_advance),
        TEST(fires_those_of_one_millisecond_in_the_order_of_their_start),
        TEST(moves_later_without_firing_at_the_old_deadline),
        TEST(moves_earlier),
        TEST(stops_and_does_not_mind_being_stopped_twice),
        TEST(may_stop_others_that_are_due_in_the_same_millisecond),
        TEST(may_start_itself_again_without_stopping_the_clock),
        TEST(may_move_others_from_its_own_slot),
        TEST(counts_the_active_ones_and_names_the_next),
        TEST(keeps_thousands_exact_whatever_moves),
        TEST(waits_for_real_time_too_and_never_fires_early),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
