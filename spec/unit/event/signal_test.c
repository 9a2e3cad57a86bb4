// SPDX-License-Identifier: MIT
// Signals as calls from the loop, and what a signal does that comes after the last listener left.
#include "event/signal.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "event/loop.h"

struct listener {
    struct peri_loop *loop;
    struct peri_signal *signal;
    int heard;
};

static void on_signal(void *data, int number)
{
    struct listener *listener = data;
    listener->heard = number;
    peri_signal_close(listener->signal);
}

static void listen_to(struct listener *listener, struct peri_loop *loop, int number)
{
    *listener = (struct listener){.loop = loop};
    listener->signal = peri_signal_open(loop, number, on_signal, listener);
    assert_non_null(listener->signal);
}

static void a_signal_reaches_all_who_listen(void **state)
{
    PERI_UNUSED(state);
    struct peri_loop *loop = peri_loop_new(false);
    struct listener first, second;
    listen_to(&first, loop, SIGTERM);
    listen_to(&second, loop, SIGTERM);
    raise(SIGTERM);
    peri_loop_run(loop);
    assert_int_equal(first.heard, SIGTERM);
    assert_int_equal(second.heard, SIGTERM);
    peri_loop_free(loop);
}

static void one_that_leaves_does_not_take_the_signal_from_another(void **state)
{
    PERI_UNUSED(state);
    struct peri_loop *loop = peri_loop_new(false);
    struct listener first, second;
    listen_to(&first, loop, SIGTERM);
    listen_to(&second, loop, SIGTERM);
    peri_signal_close(first.signal);
    raise(SIGTERM);
    peri_loop_run(loop);
    assert_int_equal(first.heard, 0);
    assert_int_equal(second.heard, SIGTERM);
    peri_loop_free(loop);
}

static void one_that_comes_after_the_last_left_kills_nobody(void **state)
{
    PERI_UNUSED(state);
    pid_t pid = fork();
    if (pid == 0) {
        struct peri_loop *loop = peri_loop_new(false);
        struct listener listener;
        listen_to(&listener, loop, SIGTERM);
        peri_signal_close(listener.signal);
        raise(SIGTERM);
        peri_loop_free(loop);
        raise(SIGTERM);
        _exit(7);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 7);
}

static void one_who_comes_back_hears_it_again(void **state)
{
    PERI_UNUSED(state);
    struct peri_loop *loop = peri_loop_new(false);
    struct listener listener;
    listen_to(&listener, loop, SIGTERM);
    peri_signal_close(listener.signal);
    raise(SIGTERM);
    listen_to(&listener, loop, SIGTERM);
    raise(SIGTERM);
    peri_loop_run(loop);
    assert_int_equal(listener.heard, SIGTERM);
    peri_loop_free(loop);
}

static void the_status_of_an_ended_child_stays_to_be_read(void **state)
{
    PERI_UNUSED(state);
    struct peri_loop *loop = peri_loop_new(false);
    struct listener listener;
    listen_to(&listener, loop, SIGCHLD);
    peri_signal_close(listener.signal);
    peri_loop_free(loop);
    pid_t pid = fork();
    if (pid == 0)
        _exit(3);
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WEXITSTATUS(status), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_signal_reaches_all_who_listen),
        cmocka_unit_test(one_that_leaves_does_not_take_the_signal_from_another),
        cmocka_unit_test(one_that_comes_after_the_last_left_kills_nobody),
        cmocka_unit_test(one_who_comes_back_hears_it_again),
        cmocka_unit_test(the_status_of_an_ended_child_stays_to_be_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
