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

const char *peri_cli_file(int argc, char **argv)
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
    struct peri_supervisor_options options = {.file = peri_cli_file(argc, argv)};
    if (!options.file)
        return PERI_EXIT_USAGE;
    options.role = strcmp(argv[0], "sidecar") == 0 ? "sidecar" : "gateway";
    prepare_descriptors();
    return peri_supervisor_run(&options);
}

int peri_cli_dev(int argc, char **argv)
{
    struct peri_supervisor_options options = {.file = peri_cli_file(argc, argv), .role = "gateway", .is_dev = true};
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

int peri_cli_worker(int argc, char **argv)
{
    PERI_UNUSED(argc); // the number of the worker is there for ps
    PERI_UNUSED(argv);
    return peri_worker_main();
}

int peri_cli_check_child(int argc, char **argv)
{
    if (argc != 4)
        return PERI_EXIT_USAGE;
    return peri_check_child(
        &(struct peri_check_options){.file = argv[1], .role = argv[2], .is_dev = strcmp(argv[3], "dev") == 0});
}
