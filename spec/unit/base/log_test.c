// SPDX-License-Identifier: MIT
// The log: one line a message whatever is in it.
#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char last[16384];
static enum peri_log_level last_level;
static int lines;

static void sink(void *data, enum peri_log_level level, const char *line, size_t len)
{
    (void)data;
    assert_true(len < sizeof(last));
    memcpy(last, line, len);
    last[len] = 0;
    last_level = level;
    lines++;
}

static int open_sink(void **state)
{
    (void)state;
    lines = 0;
    peri_log_set_sink(sink, NULL);
    return 0;
}

static int close_sink(void **state)
{
    (void)state;
    peri_log_set_sink(NULL, NULL);
    peri_log_set_level(PERI_LOG_INFO);
    return 0;
}

static void drops_what_is_below_its_level(void **state)
{
    (void)state;
    peri_debug("not %s", "this");
    assert_int_equal(lines, 0);
    peri_info("this");
    peri_log_set_level(PERI_LOG_ERROR);
    peri_warn("not this");
    peri_error("that %d", 1);
    assert_int_equal(lines, 2);
    assert_int_equal(last_level, PERI_LOG_ERROR);
    assert_string_equal(last, "that 1");
}

static void escapes_control_bytes(void **state)
{
    (void)state;
    peri_info("%s", "a\r\n\x1b[31mred\x7f\tend\x01");
    assert_string_equal(last, "a\\x0d\\n\\x1b[31mred\\x7f\tend\\x01");
}

static void cuts_a_line_that_is_too_long(void **state)
{
    (void)state;
    char text[10000];
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = 0;
    peri_info("%s", text);
    assert_int_equal(strlen(last), 4095);
    memset(text, '\r', sizeof(text) - 1);
    peri_info("%s", text);
    assert_in_range(strlen(last), 4000, 8192);
    for (const char *p = last; *p; p++)
        assert_true(*p >= ' ');
}

static void writes_one_line_with_time_level_and_pid_to_stderr(void **state)
{
    (void)state;
    int ends[2];
    char line[4096], expected[64];
    int keep = dup(STDERR_FILENO);
    assert_int_equal(pipe(ends), 0);
    peri_log_set_sink(NULL, NULL);
    dup2(ends[1], STDERR_FILENO);
    peri_warn("one\ntwo");
    dup2(keep, STDERR_FILENO);
    close(keep);
    close(ends[1]);
    ssize_t n = read(ends[0], line, sizeof(line) - 1);
    close(ends[0]);
    assert_true(n > 0);
    line[n] = 0;
    snprintf(expected, sizeof(expected), "Z warn [%d] one\\ntwo\n", (int)getpid());
    assert_non_null(strstr(line, expected));
    assert_ptr_equal(strchr(line, '\n'), line + n - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(drops_what_is_below_its_level, open_sink, close_sink),
        cmocka_unit_test_setup_teardown(escapes_control_bytes, open_sink, close_sink),
        cmocka_unit_test_setup_teardown(cuts_a_line_that_is_too_long, open_sink, close_sink),
        cmocka_unit_test_setup_teardown(writes_one_line_with_time_level_and_pid_to_stderr, open_sink, close_sink),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
