// SPDX-License-Identifier: MIT
// Addresses and the sockets that listen on them.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/address.h"
#include "app/listening.h"

static char message[512];

static struct peri_listening *listen_on(const char *address, uint32_t workers)
{
    struct peri_listening *listening;
    if (peri_listening_open(peri_slice_from(address), workers, 0, &listening, message, sizeof(message)) != PERI_OK)
        fail_msg("%s", message);
    return listening;
}

static void assert_refused(const char *address, uint32_t workers, const char *expected)
{
    struct peri_listening *listening;
    peri_err_t err = peri_listening_open(peri_slice_from(address), workers, 0, &listening, message, sizeof(message));
    assert_int_equal(err, PERI_ERR_SYSTEM);
    assert_null(listening);
    if (!strstr(message, expected))
        fail_msg("\"%s\" does not say \"%s\"", message, expected);
}

static int connect_to(const char *text)
{
    struct peri_address address;
    assert_int_equal(peri_address_parse(peri_slice_from(text), &address), PERI_OK);
    int fd = socket(address.socket.any.sa_family, SOCK_STREAM, 0);
    int result = connect(fd, &address.socket.any, address.len);
    close(fd);
    return result;
}

static void reads_every_form_of_an_address(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"127.0.0.1:8080", "127.0.0.1:8080"},
        {"localhost:80", "127.0.0.1:80"},
        {"*:1", "0.0.0.0:1"},
        {"[::1]:443", "[::1]:443"},
        {"[::]:0", "[::]:0"},
        {"unix:/a/b", "unix:/a/b"},
        {"0.0.0.0:65535", "0.0.0.0:65535"},
    };
    for (size_t i = 0; i < PERI_COUNT(rows); i++) {
        struct peri_address address;
        char text[PERI_ADDRESS_TEXT];
        assert_int_equal(peri_address_parse(peri_slice_from(rows[i][0]), &address), PERI_OK);
        peri_address_format(&address, text);
        assert_string_equal(text, rows[i][1]);
    }
}

static void refuses_what_is_no_address(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "8080",
                                      "127.0.0.1",
                                      "127.0.0.1:",
                                      "127.0.0.1:65536",
                                      "127.0.0.1:-1",
                                      "127.0.0.1:80x",
                                      "1.2.3:80",
                                      "::1:80",
                                      "[::1]",
                                      "[]:80",
                                      "[::1:80",
                                      "unix:",
                                      "example.org:80",
                                      ":80",
                                      "127.0.0.1:000080",
                                      "127.0.0.1:80#2",
                                      "127.0.0.1:0#",
                                      "127.0.0.1:0#0",
                                      "127.0.0.1:0#2#3"};
    struct peri_address address;
    for (size_t i = 0; i < PERI_COUNT(bad); i++)
        if (peri_address_parse(peri_slice_from(bad[i]), &address) == PERI_OK)
            fail_msg("'%s' was accepted", bad[i]);
    char longer[200] = "unix:/";
    memset(longer + 6, 'a', 150);
    assert_int_equal(peri_address_parse(peri_slice_from(longer), &address), PERI_ERR_INVALID);
}

static void knows_which_addresses_only_this_machine_reaches(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is_local;
    } rows[] = {{"127.9.9.9:1", true}, {"[::1]:1", true},     {"unix:/x", true},
                {"0.0.0.0:1", false},  {"10.0.0.1:1", false}, {"[::]:1", false}};
    for (size_t i = 0; i < PERI_COUNT(rows); i++) {
        struct peri_address address;
        assert_int_equal(peri_address_parse(peri_slice_from(rows[i].text), &address), PERI_OK);
        assert_int_equal(peri_address_is_local(&address), rows[i].is_local);
    }
}

static void every_worker_has_its_own_socket_on_the_port_that_was_chosen(void **state)
{
    (void)state;
    struct peri_listening *listening = listen_on("127.0.0.1:0", 3);
    const char *real = peri_listening_real(listening);
    assert_true(strncmp(real, "127.0.0.1:", 10) == 0 && strcmp(real, "127.0.0.1:0") != 0);
    assert_string_equal(peri_listening_address(listening).ptr, "127.0.0.1:0");
    assert_int_not_equal(peri_listening_fd(listening, 0), peri_listening_fd(listening, 2));
    assert_int_equal(fcntl(peri_listening_fd(listening, 1), F_GETFD), FD_CLOEXEC);
    assert_true(fcntl(peri_listening_fd(listening, 1), F_GETFL) & O_NONBLOCK);
    assert_int_equal(connect_to(real), 0);
    peri_listening_close(listening);
}

static void a_port_that_is_taken_is_told_and_never_shared(void **state)
{
    (void)state;
    char real[PERI_ADDRESS_TEXT];
    struct peri_listening *listening = listen_on("127.0.0.1:0", 2);
    snprintf(real, sizeof(real), "%s", peri_listening_real(listening));
    assert_refused(real, 2, "already in use");
    assert_refused(real, 1, "already in use");
    peri_listening_close(listening);
    peri_listening_close(listen_on(real, 2));
}

static void says_why_an_address_cannot_be_had(void **state)
{
    (void)state;
    assert_refused("192.0.2.1:8080", 1, "no interface");
    assert_refused("unix:/nowhere/at/all/x.sock", 1, "directory does not exist");
    assert_refused("nonsense", 1, "not an address");
}

static void make_path(char *text, size_t size)
{
    snprintf(text, size, "unix:/tmp/perigee-listening-%d.sock", (int)getpid());
}

static void a_unix_socket_is_one_for_all_and_its_file_goes_with_it(void **state)
{
    (void)state;
    char address[128];
    struct stat info;
    make_path(address, sizeof(address));
    struct peri_listening *listening = listen_on(address, 3);
    assert_int_equal(peri_listening_fd(listening, 0), peri_listening_fd(listening, 2));
    assert_int_equal(connect_to(address), 0);
    peri_listening_close(listening);
    assert_int_equal(stat(address + 5, &info), -1);
    assert_int_equal(errno, ENOENT);
}

static void the_file_of_a_dead_process_is_replaced_and_that_of_a_living_one_is_not(void **state)
{
    (void)state;
    char address[128];
    struct peri_address parsed;
    make_path(address, sizeof(address));
    assert_int_equal(peri_address_parse(peri_slice_from(address), &parsed), PERI_OK);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, &parsed.socket.any, parsed.len), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_refused(address, 1, "already in use");
    close(fd);
    peri_listening_close(listen_on(address, 1));
}

static void a_file_that_is_no_socket_is_not_touched(void **state)
{
    (void)state;
    char address[128];
    make_path(address, sizeof(address));
    int fd = open(address + 5, O_CREAT | O_WRONLY, 0600);
    close(fd);
    assert_refused(address, 1, "already in use");
    assert_int_equal(unlink(address + 5), 0);
}

static void a_file_that_another_process_made_meanwhile_is_left_alone(void **state)
{
    (void)state;
    char address[128];
    make_path(address, sizeof(address));
    struct peri_listening *first = listen_on(address, 1);
    assert_int_equal(unlink(address + 5), 0);
    struct peri_listening *second = listen_on(address, 1);
    peri_listening_close(first);
    assert_int_equal(connect_to(address), 0);
    peri_listening_close(second);
}

static void the_mode_of_a_unix_socket_is_set_before_anybody_can_connect(void **state)
{
    (void)state;
    char address[128];
    struct stat info;
    struct peri_listening *listening;
    make_path(address, sizeof(address));
    mode_t mask = umask(0);
    assert_int_equal(peri_listening_open(peri_slice_from(address), 1, 0600, &listening, message, sizeof(message)),
                     PERI_OK);
    assert_int_equal(umask(mask), 0);
    assert_int_equal(stat(address + 5, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    peri_listening_close(listening);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_form_of_an_address),
        cmocka_unit_test(refuses_what_is_no_address),
        cmocka_unit_test(knows_which_addresses_only_this_machine_reaches),
        cmocka_unit_test(every_worker_has_its_own_socket_on_the_port_that_was_chosen),
        cmocka_unit_test(a_port_that_is_taken_is_told_and_never_shared),
        cmocka_unit_test(says_why_an_address_cannot_be_had),
        cmocka_unit_test(a_unix_socket_is_one_for_all_and_its_file_goes_with_it),
        cmocka_unit_test(the_file_of_a_dead_process_is_replaced_and_that_of_a_living_one_is_not),
        cmocka_unit_test(a_file_that_is_no_socket_is_not_touched),
        cmocka_unit_test(a_file_that_another_process_made_meanwhile_is_left_alone),
        cmocka_unit_test(the_mode_of_a_unix_socket_is_set_before_anybody_can_connect),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
