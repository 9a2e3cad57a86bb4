// SPDX-License-Identifier: MIT
// What `perigee dev` writes for people: a line for each exchange on stdout, log messages on stderr; in colour on a terminal. What
// peers sent is escaped: it cannot play with the terminal, nor look like a line of its own.
#ifndef PERI_APP_DEV_CONSOLE_H
#define PERI_APP_DEV_CONSOLE_H

#include <stdint.h>
#include <stdio.h>

#include "base/slice.h"

struct peri_exchange;

/// Log lines are written for people from now on.
void peri_dev_console_open(void);

/// Log lines are written as everywhere else again.
void peri_dev_console_close(void);

/// One line for an exchange that has ended with `status` after `ns`.
void peri_dev_console_exchange(const struct peri_exchange *x, int status, uint64_t ns);

/// Begins a line of `out` with the time of day and a word in colour (a code of peri_cli_color).
void peri_dev_console_begin(FILE *out, const char *word, const char *color);

#endif
