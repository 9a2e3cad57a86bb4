// SPDX-License-Identifier: MIT
// The command line: finds the command, and what its commands share. Exit status: 0 done, 1 refused or failed, 2 not
// understood.
#ifndef PERI_APP_CLI_H
#define PERI_APP_CLI_H

#include <stdbool.h>
#include <stdio.h>

#include "base/attr.h"

struct peri_check_result;
struct peri_json;

#define PERI_EXIT_OK 0
#define PERI_EXIT_FAILED 1
#define PERI_EXIT_USAGE 2

/// Main function of the program.
int peri_cli_main(int argc, char **argv);

/// The escape sequence for `code` ("1;31") when `out` is a terminal that wants colour (NO_COLOR is not set, TERM is not
/// "dumb"), otherwise "".
const char *peri_cli_color(FILE *out, const char *code);

/// Writes "perigee: …" to stderr, marked as an error.
void peri_cli_error(const char *format, ...) PERI_PRINTF(1, 2);

/// Writes what was not understood to stderr and how to get help for `command`. Returns PERI_EXIT_USAGE.
int peri_cli_usage(const char *command, const char *format, ...) PERI_PRINTF(2, 3);

/// The one argument of a command that takes a configuration, borrowed from `argv`; NULL after a message.
const char *peri_cli_file(int argc, char **argv);

/// Evaluates the configuration `file` in this process and within the time limit of a check; its errors are written to stderr. With
/// `is_dev` the certificate for development will do.
/// False when it is refused; otherwise the result is the caller's (peri_check_result_close).
bool peri_cli_load(const char *file, bool is_dev, struct peri_check_result *result);

/// Prints an explanation (the JSON of proxy/explain.h) for people.
void peri_cli_print_explanation(const struct peri_json *view);

/// Commands; `argv[0]` is the command's name.
int peri_cli_run(int argc, char **argv);
int peri_cli_dev(int argc, char **argv);
int peri_cli_check(int argc, char **argv);
int peri_cli_explain(int argc, char **argv);
int peri_cli_new(int argc, char **argv);
int peri_cli_stubs(int argc, char **argv);
int peri_cli_reload(int argc, char **argv);
int peri_cli_rollback(int argc, char **argv);
int peri_cli_generations(int argc, char **argv);
int peri_cli_status(int argc, char **argv);
int peri_cli_drain(int argc, char **argv);
int peri_cli_record(int argc, char **argv);
int peri_cli_version(int argc, char **argv);

/// Commands that the program itself uses: a worker process, and the children that check a configuration and run specs.
int peri_cli_worker(int argc, char **argv);
int peri_cli_check_child(int argc, char **argv);
int peri_cli_specs(int argc, char **argv);

#endif
