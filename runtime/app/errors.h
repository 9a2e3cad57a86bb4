// SPDX-License-Identifier: MIT
// The errors of a configuration as they travel: a JSON array of {file, line, path, message}. Made here for what C finds out,
// and written here for people: file:line: path: message.
#ifndef PERI_APP_ERRORS_H
#define PERI_APP_ERRORS_H

#include <stdio.h>

#include "base/attr.h"
#include "base/slice.h"

/// An array of one error: `path` (of the setting; NULL for none) and a message as printf makes it. Malloc'ed; NULL when out
/// of memory, which every reader takes for an empty list.
char *peri_errors_new(const char *path, const char *format, ...) PERI_PRINTF(2, 3);

/// The same list with `file` put into every error that has a path but no file. `errors` is taken, the result malloc'ed; NULL
/// stays NULL.
char *peri_errors_locate(char *errors, struct peri_slice file);

/// The first error as one line of text, and how many follow. Malloc'ed; NULL when out of memory.
char *peri_errors_summary(const char *errors);

/// Logs every error.
void peri_errors_log(const char *errors);

/// Writes every error as one line to `out`. The files' names, which are relative to the place of the configuration, are
/// written from where `config` (its path) is seen from; "" for as they are. Control bytes are escaped.
void peri_errors_print(FILE *out, const char *config, const char *errors);

#endif
