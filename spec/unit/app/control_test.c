// SPDX-License-Identifier: MIT
// Control messages between two ends of a socket pair.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app/control.h"

static int ends[2];

static int open_pair(void **state)
{
    (void)state;
    return peri_control_pair(ends) == PERI_OK ? 0 : -1;
}

static int close_pair(void **state)
{
    (void)state;
    close(ends[0]);
    if (ends[1] >= 0)
        close(ends[1]);
    return 0;
}

static unsigned count_descriptors(void)
{
    unsigned count = 0;
    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void carries_type_number_and_text(void **state)
{
    (void)state;
    struct peri_control_message in,
        out = {.type = PERI_CONTROL_FAILED, .number = 1ull << 40, .text = PERI_SLICE("a\0b")};
    assert_int_equal(peri_control_send(ends[0], &out), PERI_OK);
    assert_int_equal(peri_control_receive(ends[1], &in), PERI_OK);
    assert_int_equal(in.type, PERI_CONTROL_FAILED);
    assert_true(in.number == 1ull << 40);
    assert_true(peri_slice_eq(in.text, PERI_SLICE("a\0b")));
    assert_int_equal(in.text.ptr[3], '\0');
    assert_int_equal(in.fd_count, 0);
    peri_control_release(&in);
}

static void carries_descriptors_that_are_close_on_exec(void **state)
{
    (void)state;
    int pipes[2];
    char byte = 0;
    unsigned before = count_descriptors();
    assert_int_equal(pipe(pipes), 0);
    struct peri_control_message in, out = {.type = PERI_CONTROL_BUILD, .fd_count = 2, .fds = {pipes[0], pipes[1]}};
    assert_int_equal(peri_control_send(ends[0], &out), PERI_OK);
    assert_int_equal(peri_control_receive(ends[1], &in), PERI_OK);
    assert_int_equal(in.fd_count, 2);
    int read_end = peri_control_take_fd(&in);
    assert_int_equal(fcntl(read_end, F_GETFD), FD_CLOEXEC);
    assert_int_equal(write(in.fds[0], "x", 1), 1);
    assert_int_equal(read(read_end, &byte, 1), 1);
    assert_int_equal(byte, 'x');
    peri_control_release(&in);
    close(read_end);
    close(pipes[0]);
    close(pipes[1]);
    assert_int_equal(count_descriptors(), before);
}

static void carries_a_long_text_beside_descriptors(void **state)
{
    (void)state;
    size_t len = 3 * 1024 * 1024;
    char *text = malloc(len);
    unsigned before = count_descriptors();
    memset(text, 'e', len);
    struct peri_control_message in,
        out = {.type = PERI_CONTROL_REFUSED, .text = peri_slice(text, len), .fd_count = 1, .fds = {0}};
    assert_int_equal(peri_control_send(ends[0], &out), PERI_OK);
    assert_int_equal(peri_control_receive(ends[1], &in), PERI_OK);
    assert_true(peri_slice_eq(in.text, out.text));
    assert_int_equal(in.fd_count, 1);
    peri_control_release(&in);
    free(text);
    assert_int_equal(count_descriptors(), before);
}

static void keeps_the_order_and_the_borders_of_messages(void **state)
{
    (void)state;
    struct peri_control_message in;
    for (uint64_t i = 0; i < 20; i++)
        assert_int_equal(
            peri_control_send(ends[0], &(struct peri_control_message){.type = PERI_CONTROL_DROP, .number = i}),
            PERI_OK);
    for (uint64_t i = 0; i < 20; i++) {
        assert_int_equal(peri_control_receive(ends[1], &in), PERI_OK);
        assert_int_equal(in.number, i);
        peri_control_release(&in);
    }
    assert_int_equal(peri_control_receive(ends[1], &in), PERI_ERR_AGAIN);
}

static void refuses_more_than_the_bounds(void **state)
{
    (void)state;
    struct peri_control_message out = {.type = PERI_CONTROL_DROP, .text = peri_slice("", PERI_CONTROL_TEXT + 1)};
    assert_int_equal(peri_control_send(ends[0], &out), PERI_ERR_INVALID);
    out = (struct peri_control_message){.type = PERI_CONTROL_DROP, .fd_count = PERI_CONTROL_FDS + 1};
    assert_int_equal(peri_control_send(ends[0], &out), PERI_ERR_INVALID);
}

static void refuses_bytes_that_are_no_message_and_keeps_no_descriptor(void **state)
{
    (void)state;
    struct peri_control_message in;
    unsigned before = count_descriptors();
    uint64_t unknown[2] = {9999, 0};
    assert_int_equal(send(ends[0], "abc", 3, 0), 3);
    assert_int_equal(peri_control_receive(ends[1], &in), PERI_ERR_INVALID);
    assert_int_equal(send(ends[0], unknown, sizeof(unknown), 0), sizeof(unknown));
    assert_int_equal(peri_control_receive(ends[1], &in), PERI_ERR_INVALID);
    assert_int_equal(count_descriptors(), before);
}

static void tells_a_peer_that_does_not_read_from_one_that_is_gone(void **state)
{
    (void)state;
    struct peri_control_message in, out = {.type = PERI_CONTROL_DROP};
    peri_err_t err = PERI_OK;
    for (int i = 0; i < 100000 && err == PERI_OK; i++)
        err = peri_control_send(ends[0], &out);
    assert_int_equal(err, PERI_ERR_AGAIN);
    close(ends[1]);
    ends[1] = -1;
    assert_int_equal(peri_control_send(ends[0], &out), PERI_ERR_CLOSED);
    assert_int_equal(peri_control_receive(ends[0], &in), PERI_ERR_CLOSED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(carries_type_number_and_text, open_pair, close_pair),
        cmocka_unit_test_setup_teardown(carries_descriptors_that_are_close_on_exec, open_pair, close_pair),
        cmocka_unit_test_setup_teardown(carries_a_long_text_beside_descriptors, open_pair, close_pair),
        cmocka_unit_test_setup_teardown(keeps_the_order_and_the_borders_of_messages, open_pair, close_pair),
        cmocka_unit_test_setup_teardown(refuses_more_than_the_bounds, open_pair, close_pair),
        cmocka_unit_test_setup_teardown(refuses_bytes_that_are_no_message_and_keeps_no_descriptor, open_pair,
                                        close_pair),
        cmocka_unit_test_setup_teardown(tells_a_peer_that_does_not_read_from_one_that_is_gone, open_pair, close_pair),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
