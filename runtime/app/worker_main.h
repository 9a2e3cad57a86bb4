// SPDX-License-Identifier: MIT
// The worker process.
#ifndef PERI_APP_WORKER_MAIN_H
#define PERI_APP_WORKER_MAIN_H

/// Runs a worker whose end of the control socket is descriptor PERI_CONTROL_CHILD_FD, until it is told to end or the
/// supervisor is gone. Returns the exit status.
int peri_worker_main(void);

#endif
