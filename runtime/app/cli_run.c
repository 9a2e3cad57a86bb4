// SPDX-License-Identifier: MIT
// Commands that evaluate or serve a configuration: run, gateway, sidecar, check, and the processes behind them.
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/check.h"
#include "app/cli.h"
#include "app/config.h"
#include "app/dev_specs.h"
#include "app/errors.h"
#include "app/snapshot.h"
#include "app/supervisor.h"
#include "app/worker_main.h"
#include "codec/json.h"

// The one argument of a command that takes a file; NULL after a message.
static const char *file_argument(int argc, char **argv)
{
    const char *file = NULL;
    bool is_plain = false;
    for (int i = 1; i < argc; i++) {
        if (!is_plain && strcmp(argv[i], "--") == 0) {
            is_plain = true;
        } else if (!is_plain && argv[i][0] == '-' && argv[i][1]) {
            peri_cli_usage(argv[0], "there is no option '%s'", argv[i]);
            return NULL;
        } else if (file) {
            peri_cli_usage(argv[0], "'%s' is one file too many", argv[i]);
            return NULL;
        } else {
            file = argv[i];
        }
    }
    if (!file)
        peri_cli_usage(argv[0], "which configuration? Name its file");
    return file;
}

// Standard descriptors are open, so that no socket takes their place; inherited ones beyond them reach no child.
static void prepare_descriptors(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
    close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);
}

int peri_cli_run(int argc, char **argv)
{
    struct peri_supervisor_options options = {.file = file_argument(argc, argv)};
    if (!options.file)
        return PERI_EXIT_USAGE;
    options.role = strcmp(argv[0], "sidecar") == 0 ? "sidecar" : "gateway";
    prepare_descriptors();
    return peri_supervisor_run(&options);
}

int peri_cli_dev(int argc, char **argv)
{
    struct peri_supervisor_options options = {.file = file_argument(argc, argv), .role = "gateway", .is_dev = true};
    if (!options.file)
        return PERI_EXIT_USAGE;
    prepare_descriptors();
    int status;
    do
        status = peri_supervisor_run(&options);
    while (status == PERI_SUPERVISOR_AGAIN);
    return status;
}

int peri_cli_specs(int argc, char **argv)
{
    return argc == 2 ? peri_dev_specs_child(argv[1]) : PERI_EXIT_USAGE;
}

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

bool peri_cli_load(const char *file, struct peri_check_result *result)
{
    struct peri_check_options options = {.file = file, .role = "gateway"};
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

int peri_cli_check(int argc, char **argv)
{
    struct peri_check_result result;
    const char *file = file_argument(argc, argv);
    if (!file)
        return PERI_EXIT_USAGE;
    if (!peri_cli_load(file, &result))
        return PERI_EXIT_FAILED;
    print_summary(file, result.config);
    peri_check_result_close(&result);
    return PERI_EXIT_OK;
}

int peri_cli_worker(int argc, char **argv)
{
    PERI_UNUSED(argc); // the number of the worker is there for ps
    PERI_UNUSED(argv);
    return peri_worker_main();
}

int peri_cli_check_child(int argc, char **argv)
{
    if (argc != 3)
        return PERI_EXIT_USAGE;
    return peri_check_child(&(struct peri_check_options){.file = argv[1], .role = argv[2]});
}
