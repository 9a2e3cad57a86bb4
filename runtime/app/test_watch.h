// SPDX-License-Identifier: MIT
// `perigee test --watch`: runs the specs, and again whenever a file that they are made of changes.
#ifndef PERI_APP_TEST_WATCH_H
#define PERI_APP_TEST_WATCH_H

#include <stdbool.h>

/// Do the arguments of the command ask for it?
bool peri_test_wants_watch(int argc, char **argv);

/// Runs `perigee test` with the same arguments but --watch in child processes until SIGINT or SIGTERM comes. Returns the exit
/// status.
int peri_test_watch(int argc, char **argv);

#endif
