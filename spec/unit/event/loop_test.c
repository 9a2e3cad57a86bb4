// SPDX-License-Identifier: MIT
// The loop: deferred calls run on the next turn, once; virtual time stands still.
#include "event/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "event/timer.h"
#include "fail_alloc.h"

struct call {
    struct peri_defer defer;
    char letter;
    void (*also)(void);
};

static struct peri_loop *loop;
static char order[32];
static struct call a, b, c;

static void on_run(struct peri_defer *defer)
{
    struct call *call = PERI_CONTAINER(defer, struct call, defer);
    strncat(order, &call->letter, 1);
    if (call->also)
        call->also();
}

static void prepare(struct call *call, char letter)
{
    *call = (struct call){.letter = letter};
    peri_defer_init(&call->defer, on_run);
}

static int open_loop(void **state)
{
    (void)state;
    loop = peri_loop_new(true);
    order[0] = 0;
    prepare(&a, 'a');
    prepare(&b, 'b');
    prepare(&c, 'c');
    return loop ? 0 : -1;
}

static int close_loop(void **state)
{
    (void)state;
    peri_loop_free(loop);
    return 0;
}

static void runs_deferred_calls_once_in_order_on_the_next_turn(void **state)
{
    (void)state;
    peri_defer_schedule(loop, &b.defer);
    peri_defer_schedule(loop, &a.defer);
    peri_defer_schedule(loop, &b.defer);
    assert_string_equal(order, "");
    peri_loop_turn(loop);
    assert_string_equal(order, "ba");
    peri_loop_turn(loop);
    assert_string_equal(order, "ba");
}

static void cancels_a_call_before_its_turn(void **state)
{
    (void)state;
    peri_defer_cancel(&a.defer);
    peri_defer_schedule(loop, &a.defer);
    peri_defer_cancel(&a.defer);
    peri_loop_turn(loop);
    assert_string_equal(order, "");
}

static void cancel_b(void)
{
    peri_defer_cancel(&b.defer);
}

static void cancels_a_call_of_the_same_turn(void **state)
{
    (void)state;
    a.also = cancel_b;
    peri_defer_schedule(loop, &a.defer);
    peri_defer_schedule(loop, &b.defer);
    peri_defer_schedule(loop, &c.defer);
    while (peri_loop_turn(loop))
        ;
    assert_string_equal(order, "ac");
}

static void schedule_a(void)
{
    if (strlen(order) < 3)
        peri_defer_schedule(loop, &a.defer);
}

static void lets_a_call_schedule_itself_for_a_later_turn(void **state)
{
    (void)state;
    a.also = schedule_a;
    peri_defer_schedule(loop, &a.defer);
    peri_defer_schedule(loop, &b.defer);
    while (peri_loop_turn(loop))
        ;
    assert_string_equal(order, "aba");
}

static void keeps_virtual_time_still_but_for_advance(void **state)
{
    (void)state;
    uint64_t ms = peri_loop_now_ms(loop);
    uint64_t wall = peri_loop_wall_ms(loop);
    assert_int_equal(wall, 1767225600000ull);
    for (int i = 0; i < 10; i++)
        peri_loop_turn(loop);
    assert_int_equal(peri_loop_now_ms(loop), ms);
    peri_loop_advance(loop, 1234);
    assert_int_equal(peri_loop_now_ms(loop), ms + 1234);
    assert_int_equal(peri_loop_wall_ms(loop), wall + 1234);
    peri_loop_advance(loop, 0);
    assert_int_equal(peri_loop_now_ms(loop), ms + 1234);
    peri_loop_reset_wall(loop);
    assert_int_equal(peri_loop_wall_ms(loop), wall);
    assert_int_equal(peri_loop_now_ms(loop), ms + 1234);
}

static void sets_the_wall_clock_forward_and_back_without_moving_time(void **state)
{
    (void)state;
    uint64_t ms = peri_loop_now_ms(loop);
    peri_loop_set_wall(loop, 4000000000000ull);
    assert_int_equal(peri_loop_wall_ms(loop), 4000000000000ull);
    peri_loop_advance(loop, 5);
    assert_int_equal(peri_loop_wall_ms(loop), 4000000000005ull);
    peri_loop_set_wall(loop, 0);
    assert_int_equal(peri_loop_wall_ms(loop), 0);
    peri_loop_advance(loop, 7);
    assert_int_equal(peri_loop_wall_ms(loop), 7);
    assert_int_equal(peri_loop_now_ms(loop), ms + 12);
}

static struct peri_timer timer;

static void on_fire(struct peri_timer *fired)
{
    (void)fired;
    strcat(order, "t");
    peri_defer_schedule(loop, &a.defer);
}

static void runs_deferred_work_between_the_timers_of_one_advance(void **state)
{
    (void)state;
    struct peri_timer second;
    peri_timer_init(&timer, on_fire);
    peri_timer_init(&second, on_fire);
    peri_timer_start(loop, &timer, 5);
    peri_timer_start(loop, &second, 6);
    peri_loop_advance(loop, 10);
    assert_string_equal(order, "tata");
}

static int idles;

static void on_idle(void *data)
{
    idles += *(int *)data;
}

static void tells_when_it_is_idle(void **state)
{
    (void)state;
    int step = 1;
    struct peri_loop *real = peri_loop_new(false);
    idles = 0;
    peri_loop_set_idle(real, on_idle, &step);
    peri_loop_wait(real, 1);
    assert_true(idles > 0);
    peri_loop_set_idle(real, NULL, NULL);
    int before = idles;
    peri_loop_wait(real, 1);
    assert_int_equal(idles, before);
    peri_loop_free(real);
}

static void stop_loop(void)
{
    peri_loop_stop(loop);
}

static void runs_until_it_is_stopped(void **state)
{
    (void)state;
    struct peri_loop *keep = loop;
    loop = peri_loop_new(false);
    struct peri_timer far;
    peri_timer_init(&far, on_fire);
    peri_timer_start(loop, &far, 1000000);
    a.also = stop_loop;
    peri_defer_schedule(loop, &a.defer);
    peri_loop_run(loop);
    assert_string_equal(order, "a");
    peri_timer_stop(&far);
    peri_loop_free(loop);
    loop = keep;
}

static void says_so_when_memory_is_out(void **state)
{
    (void)state;
    fail_alloc_at(1); // what libuv asks for itself, it does not do without
    struct peri_loop *other = peri_loop_new(true);
    assert_true(fail_alloc_stop());
    assert_null(other);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_loop, close_loop)
    const struct CMUnitTest tests[] = {
        TEST(runs_deferred_calls_once_in_order_on_the_next_turn),
        TEST(cancels_a_call_before_its_turn),
        TEST(cancels_a_call_of_the_same_turn),
        TEST(lets_a_call_schedule_itself_for_a_later_turn),
        TEST(keeps_virtual_time_still_but_for_advance),
        TEST(sets_the_wall_clock_forward_and_back_without_moving_time),
        TEST(runs_deferred_work_between_the_timers_of_one_advance),
        TEST(tells_when_it_is_idle),
        TEST(runs_until_it_is_stopped),
        TEST(says_so_when_memory_is_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
