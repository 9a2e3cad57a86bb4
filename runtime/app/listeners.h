// SPDX-License-Identifier: MIT
// The set of listening sockets of a supervisor, kept in step with the configuration across reloads.
#ifndef PERI_APP_LISTENERS_H
#define PERI_APP_LISTENERS_H

#include <stdint.h>

#include "app/config.h"

struct peri_listening;

struct peri_listeners {
    uint32_t workers; ///< sockets per address
    uint32_t count;
    struct peri_listening *items[2 * PERI_CONFIG_LISTENERS]; ///< owned; old and new ones while a reload runs
};

/// Opens every address of `config` that is not open yet. NULL, or a malloc'ed list of errors (app/errors.h): what was opened
/// before the error stays until peri_listeners_keep.
char *peri_listeners_open(struct peri_listeners *listeners, const struct peri_config *config);

/// Closes every address that is not in `config`; all of them for NULL.
void peri_listeners_keep(struct peri_listeners *listeners, const struct peri_config *config);

/// The sockets of worker `worker` for `count` addresses that are open, into `fds`; borrowed.
void peri_listeners_fds(const struct peri_listeners *listeners, uint32_t worker, const struct peri_slice *addresses,
                        uint32_t count, int *fds);

#endif
