// SPDX-License-Identifier: MIT
// Reads the output of busted's plainTerminal.
#include "app/dev_report.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "app/cli.h"
#include "app/dev_console.h"

#define LINES 60 ///< lines shown of what failed

// The line "12 successes / 0 failures / …", cut to its numbers; NULL when there is none. What follows it is at *rest.
static const char *find_summary(const char *output, unsigned numbers[4], const char **rest)
{
    for (const char *line = output; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (sscanf(line, "%u %*15[suces] / %u %*15s / %u %*15s / %u", &numbers[0], &numbers[1], &numbers[2],
                   &numbers[3]) == 4) {
            const char *end = strchr(line, '\n');
            *rest = end ? end + 1 : "";
            return line;
        }
    }
    *rest = output;
    return NULL;
}

// Bytes that could play with the terminal are left out.
static void write_lines(const char *text)
{
    unsigned lines = 0;
    text += strspn(text, "\n");
    for (; *text && lines < LINES; text++) {
        unsigned char c = (unsigned char)*text;
        lines += c == '\n';
        if (c >= 0x20 ? c != 0x7f : c == '\n' || c == '\t')
            fputc(c, stdout);
    }
    fputs(*text ? "…\n" : lines > 0 && text[-1] != '\n' ? "\n" : "", stdout);
}

void peri_dev_report(const char *output, int status)
{
    unsigned numbers[4] = {0};
    const char *rest;
    bool is_good = WIFEXITED(status) && WEXITSTATUS(status) == PERI_EXIT_OK;
    const char *summary = find_summary(output, numbers, &rest);
    unsigned bad = numbers[1] + numbers[2];
    peri_dev_console_begin(stdout, "specs", is_good ? "32" : "31");
    if (!summary)
        printf("%s\n", is_good ? "passed" : "could not be run:");
    else if (is_good)
        printf("%u passed%s\n", numbers[0], numbers[3] > 0 ? ", some are pending" : "");
    else
        printf("%u of %u failed:\n", bad, numbers[0] + bad);
    if (!is_good)
        write_lines(rest);
    fflush(stdout);
}

void peri_dev_report_late(unsigned seconds)
{
    peri_dev_console_begin(stdout, "specs", "31");
    printf("ended after %u s without a result\n", seconds);
    fflush(stdout);
}
