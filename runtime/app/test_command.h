// SPDX-License-Identifier: MIT
// `perigee test`: busted specs inside the runtime. `perigee replay`: recorded exchanges inside it.
#ifndef PERI_APP_TEST_COMMAND_H
#define PERI_APP_TEST_COMMAND_H

struct peri_testing_gate;

/// Runs the specs named in `argv` (argv[0] is the command's name). Returns the exit status: 0 when all passed, 1 when one
/// failed, 2 when the arguments are not understood.
int peri_test_main(int argc, char **argv);

/// Runs specs, as `perigee test` with these arguments; with `gate` (NULL for none) as that says. Returns the exit status.
int peri_test_run(int count, char **arguments, const struct peri_testing_gate *gate);

/// Runs every spec of the configuration in the current folder, as reload.test does, with busted's output handler `output`. Returns
/// the exit status.
int peri_test_run_all(const char *output);

/// Runs a recording through a configuration as `argv` says. Returns the exit status: 0 when nothing differs, 1 when something does,
/// 2 when the arguments, the recording or the configuration cannot be used.
int peri_replay_main(int argc, char **argv);

#endif
