// SPDX-License-Identifier: MIT
// `perigee check`: evaluates a configuration in this process; with --jit also runs its specs and says what LuaJIT does not
// compile (lua/perigee/test/jit.lua).
#include <errno.h>
#include <libgen.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/check.h"
#include "app/cli.h"
#include "app/errors.h"
#include "app/test_command.h"
#include "codec/json.h"

// ", 1 route", ", 2 routes": how many there are of what `plural` names.
static void print_count(const struct peri_json *json, const char *plural)
{
    size_t count = peri_json_count(peri_json_get(json, plural));
    printf(", %zu %.*s", count, (int)strlen(plural) - (count == 1), plural);
}

static void print_summary(const char *file, const char *text)
{
    struct peri_json *json = peri_json_parse(peri_slice_from(text), false, NULL, 0);
    printf("%s: %sok%s", file, peri_cli_color(stdout, "32"), peri_cli_color(stdout, "0"));
    print_count(json, "listeners");
    print_count(json, "routes");
    print_count(json, "upstreams");
    printf("\n");
    peri_json_free(json);
}

static void on_late(int number)
{
    static const char text[] = "perigee: " PERI_CHECK_LATE "\n";
    PERI_UNUSED(number);
    ssize_t written = write(STDERR_FILENO, text, sizeof(text) - 1);
    PERI_UNUSED(written); // the exit status tells too
    _exit(PERI_EXIT_FAILED);
}

bool peri_cli_load(const char *file, bool is_dev, struct peri_check_result *result)
{
    struct peri_check_options options = {.file = file, .role = "gateway", .is_dev = is_dev};
    signal(SIGALRM, on_late);
    alarm(PERI_CHECK_MS / 1000);
    peri_check_run(&options, result);
    alarm(0);
    if (!result->errors)
        return true;
    peri_errors_print(stderr, file, result->errors);
    peri_check_result_close(result);
    return false;
}

// The specs stand beside the configuration.
static bool enter_project(const char *file)
{
    char *copy = strdup(file);
    bool is_there = copy && chdir(dirname(copy)) == 0;
    free(copy);
    if (!is_there)
        peri_cli_error("the folder of %s cannot be entered: %s", file, strerror(errno));
    return is_there;
}

// Whatever keeps the specs from being run is a failed check.
static int check_jit(const char *file)
{
    bool has_passed = enter_project(file) && peri_test_run_all("perigee.test.jit") == PERI_EXIT_OK;
    return has_passed ? PERI_EXIT_OK : PERI_EXIT_FAILED;
}

// Takes an option out of the arguments; false when it is not among them.
static bool take_option(int *argc, char **argv, const char *option)
{
    for (int i = 1; i < *argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], option) == 0) {
            memmove(argv + i, argv + i + 1, (size_t)(*argc - i) * sizeof(*argv)); // with the NULL at the end
            (*argc)--;
            return true;
        }
    }
    return false;
}

int peri_cli_check(int argc, char **argv)
{
    struct peri_check_result result;
    bool wants_jit = take_option(&argc, argv, "--jit");
    const char *file = peri_cli_file(argc, argv);
    if (!file)
        return PERI_EXIT_USAGE;
    if (!peri_cli_load(file, false, &result))
        return PERI_EXIT_FAILED;
    print_summary(file, result.config);
    peri_check_result_close(&result);
    fflush(stdout);
    return wants_jit ? check_jit(file) : PERI_EXIT_OK;
}
