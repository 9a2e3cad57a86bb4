// SPDX-License-Identifier: MIT
// The process of a check: evaluates (check_run.c), says which spec runs, and answers on the control socket.
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app/check.h"
#include "app/control.h"
#include "app/snapshot.h"

// When the supervisor does not take the message it has something better to do.
static void tell_spec(const char *spec, uint64_t limit_ms)
{
    peri_control_send(PERI_CONTROL_CHILD_FD, &(struct peri_control_message){
                                                 .type = PERI_CONTROL_TESTING,
                                                 .number = limit_ms,
                                                 .text = peri_slice_from(spec),
                                             });
}

int peri_check_child(const struct peri_check_options *options)
{
    struct peri_check_options with_specs = {
        .file = options->file, .role = options->role, .is_dev = options->is_dev, .on_spec = tell_spec};
    struct peri_check_result result;
    char byte;
    // Nobody waits for the answer when the parent is gone: from now on, or already.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (recv(PERI_CONTROL_CHILD_FD, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
        return 1;
    signal(SIGPIPE, SIG_IGN);
    dup2(STDERR_FILENO, STDOUT_FILENO); // what a spec prints is not for the access log
    peri_check_run(&with_specs, &result);
    struct peri_control_message message = {
        .type = result.errors ? PERI_CONTROL_REFUSED : PERI_CONTROL_ACCEPTED,
        .text = peri_slice_from(result.errors ? result.errors : result.config),
    };
    if (result.snapshot)
        message.fds[message.fd_count++] = peri_snapshot_fd(result.snapshot);
    peri_err_t err = peri_control_send(PERI_CONTROL_CHILD_FD, &message);
    peri_check_result_close(&result);
    return err == PERI_OK ? 0 : 1;
}
