// SPDX-License-Identifier: MIT
// The command line: what it understands, what it answers and with which status. Output goes to files, so never in colour.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <unistd.h>

#include "app/cli.h"
#include "version.h"

static char output[16384], errors[16384];

// Diverts descriptor `fd` to a nameless file; returns the saved one.
static int divert(FILE *stream, int fd, int *saved)
{
    char path[] = "/tmp/perigee-cli-XXXXXX";
    fflush(stream);
    *saved = dup(fd);
    int file = mkstemp(path);
    assert_true(file >= 0);
    unlink(path);
    dup2(file, fd);
    return file;
}

static void restore(FILE *stream, int fd, int saved, int file, char *text, size_t size)
{
    fflush(stream);
    dup2(saved, fd);
    close(saved);
    ssize_t n = pread(file, text, size - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    close(file);
}

// Runs "perigee WORD…" in this process; what it printed is in `output` and `errors`.
static int run(const char *line)
{
    char copy[512], *words[16] = {(char *)"perigee"};
    int count = 1, saved[2];
    snprintf(copy, sizeof(copy), "%s", line);
    for (char *word = strtok(copy, " "); word; word = strtok(NULL, " "))
        words[count++] = word;
    int out = divert(stdout, STDOUT_FILENO, &saved[0]);
    int err = divert(stderr, STDERR_FILENO, &saved[1]);
    int status = peri_cli_main(count, words);
    restore(stdout, STDOUT_FILENO, saved[0], out, output, sizeof(output));
    restore(stderr, STDERR_FILENO, saved[1], err, errors, sizeof(errors));
    return status;
}

static void assert_says(const char *text, const char *expected)
{
    if (!strstr(text, expected))
        fail_msg("\"%s\" does not say \"%s\"", text, expected);
}

static void lists_every_command_in_its_help(void **state)
{
    (void)state;
    static const char *const names[] = {"run",    "gateway",  "sidecar", "check", "test",
                                        "reload", "rollback", "status",  "drain", "version"};
    assert_int_equal(run("--help"), PERI_EXIT_OK);
    for (size_t i = 0; i < PERI_COUNT(names); i++)
        assert_says(output, names[i]);
    assert_null(strstr(output, "_worker"));
    assert_null(strchr(output, '\033'));
    assert_string_equal(errors, "");
}

static void every_command_has_help(void **state)
{
    (void)state;
    static const char *const lines[] = {"run --help",    "check -h",       "test --help",  "reload --help",
                                        "status --help", "rollback -h",    "drain --help", "version --help",
                                        "sidecar -h",    "gateway --help", "run x.lua -h"};
    for (size_t i = 0; i < PERI_COUNT(lines); i++) {
        assert_int_equal(run(lines[i]), PERI_EXIT_OK);
        assert_says(output, "usage: perigee ");
    }
}

static void names_the_nearest_command_for_a_slip(void **state)
{
    (void)state;
    static const char *const slips[][2] = {{"relaod", "'reload'"},
                                           {"chekc", "'check'"},
                                           {"stat", "'status'"},
                                           {"Run", "'run'"},
                                           {"rolback", "'rollback'"}};
    for (size_t i = 0; i < PERI_COUNT(slips); i++) {
        assert_int_equal(run(slips[i][0]), PERI_EXIT_USAGE);
        assert_says(errors, "did you mean");
        assert_says(errors, slips[i][1]);
        assert_says(errors, "perigee --help");
    }
}

static void suggests_nothing_for_a_word_that_is_far_from_all(void **state)
{
    (void)state;
    assert_int_equal(run("frobnicate"), PERI_EXIT_USAGE);
    assert_null(strstr(errors, "did you mean"));
    assert_int_equal(run("_worke"), PERI_EXIT_USAGE);
    assert_null(strstr(errors, "_worker"));
    assert_int_equal(run("a-word-that-is-longer-than-any-command-could-ever-be"), PERI_EXIT_USAGE);
}

static void without_a_command_it_prints_its_help_and_fails(void **state)
{
    (void)state;
    assert_int_equal(run(""), PERI_EXIT_USAGE);
    assert_says(errors, "usage: perigee COMMAND");
}

static void what_is_not_understood_names_the_help_of_the_command(void **state)
{
    (void)state;
    static const char *const lines[][2] = {
        {"run", "which configuration"},
        {"check a.lua b.lua", "one file too many"},
        {"check --fast a.lua", "no option"},
        {"reload now", "one argument too many"},
        {"reload --admin", "needs an address"},
        {"reload --json", "no option"},
        {"rollback two", "number of a generation"},
        {"rollback 1 2", "too many"},
        {"rollback 99999999999999999999", "number of a generation"},
        {"version x", "too many"},
    };
    for (size_t i = 0; i < PERI_COUNT(lines); i++) {
        assert_int_equal(run(lines[i][0]), PERI_EXIT_USAGE);
        assert_says(errors, lines[i][1]);
        assert_says(errors, "--help");
    }
}

static void prints_its_version_and_those_of_its_libraries(void **state)
{
    (void)state;
    static const char *const names[] = {"perigee", "LuaJIT",  "libuv",  "llhttp",
                                        "OpenSSL", "jansson", "c-ares", "PCRE2"};
    assert_int_equal(run("version"), PERI_EXIT_OK);
    for (size_t i = 0; i < PERI_COUNT(names); i++)
        assert_says(output, names[i]);
    assert_says(output, PERI_VERSION);
    assert_int_equal(run("--version"), PERI_EXIT_OK);
    assert_says(output, PERI_VERSION);
}

static void says_what_to_do_when_no_perigee_answers(void **state)
{
    (void)state;
    assert_int_equal(run("status --admin unix:/nowhere/perigee.sock"), PERI_EXIT_FAILED);
    assert_says(errors, "unix:/nowhere/perigee.sock");
    assert_says(errors, "--admin ADDRESS");
    assert_int_equal(run("status --admin=nonsense"), PERI_EXIT_FAILED);
    assert_says(errors, "is not an address");
    assert_int_equal(setenv("PERIGEE_ADMIN", "unix:/elsewhere.sock", 1), 0);
    assert_int_equal(run("drain"), PERI_EXIT_FAILED);
    assert_says(errors, "unix:/elsewhere.sock");
    unsetenv("PERIGEE_ADMIN");
}

static void a_configuration_that_is_not_there_is_told_by_its_name(void **state)
{
    (void)state;
    assert_int_equal(run("check /nowhere/gateway.lua"), PERI_EXIT_FAILED);
    assert_says(errors, "/nowhere: No such file or directory");
    assert_int_equal(run("check /tmp/perigee-no-such-file.lua"), PERI_EXIT_FAILED);
    assert_string_equal(errors, "/tmp/perigee-no-such-file.lua: there is no such file\n");
    assert_string_equal(output, "");
}

static void check_prints_every_error_with_its_place_and_else_a_summary(void **state)
{
    (void)state;
    char path[] = "/tmp/perigee-cli-XXXXXX.lua", line[64], expected[128];
    int fd = mkstemps(path, 4);
    const char *bad = "return {\n  wrokers = 1,\n  routes = { { match = { path = 1 }, reply = 'x' } },\n}\n";
    const char *good = "return { routes = { { match = { path = '/' }, reply = 'x' } } }";
    assert_int_equal(write(fd, bad, strlen(bad)), strlen(bad));
    snprintf(line, sizeof(line), "check %s", path);
    assert_int_equal(run(line), PERI_EXIT_FAILED);
    snprintf(expected, sizeof(expected), "%s:2: wrokers: ", path);
    assert_says(errors, expected);
    snprintf(expected, sizeof(expected), "%s:3: routes[1].match.path: ", path);
    assert_says(errors, expected);
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(pwrite(fd, good, strlen(good), 0), strlen(good));
    assert_int_equal(run(line), PERI_EXIT_OK);
    assert_says(output, ": ok, 1 listener, 1 route, 0 upstreams\n");
    close(fd);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_every_command_in_its_help),
        cmocka_unit_test(every_command_has_help),
        cmocka_unit_test(names_the_nearest_command_for_a_slip),
        cmocka_unit_test(suggests_nothing_for_a_word_that_is_far_from_all),
        cmocka_unit_test(without_a_command_it_prints_its_help_and_fails),
        cmocka_unit_test(what_is_not_understood_names_the_help_of_the_command),
        cmocka_unit_test(prints_its_version_and_those_of_its_libraries),
        cmocka_unit_test(says_what_to_do_when_no_perigee_answers),
        cmocka_unit_test(a_configuration_that_is_not_there_is_told_by_its_name),
        cmocka_unit_test(check_prints_every_error_with_its_place_and_else_a_summary),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
