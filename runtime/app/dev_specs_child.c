// SPDX-License-Identifier: MIT
// The process that runs the specs of `perigee dev`. It ends with its parent.
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "app/cli.h"
#include "app/control.h"
#include "app/dev_specs.h"
#include "app/test_command.h"

int peri_dev_specs_child(const char *directory)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (chdir(directory) != 0 || dup2(PERI_CONTROL_CHILD_FD, STDOUT_FILENO) < 0 ||
        dup2(PERI_CONTROL_CHILD_FD, STDERR_FILENO) < 0)
        return PERI_EXIT_FAILED;
    return peri_test_run_all("plainTerminal");
}
