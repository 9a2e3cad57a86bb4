// SPDX-License-Identifier: MIT
// What a run of the specs said, for people: a line, and below it what failed.
#ifndef PERI_APP_DEV_REPORT_H
#define PERI_APP_DEV_REPORT_H

/// Writes the result of a run to stdout: `output` is what busted printed, `status` how its process ended (as waitpid gives it).
void peri_dev_report(const char *output, int status);

/// Writes that a run had no result within `seconds`.
void peri_dev_report_late(unsigned seconds);

#endif
