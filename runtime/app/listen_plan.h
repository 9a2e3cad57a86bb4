// SPDX-License-Identifier: MIT
// What changes on the listeners when a worker switches: addresses to open, in the order of the descriptors that come with
// them, and addresses to close.
#ifndef PERI_APP_LISTEN_PLAN_H
#define PERI_APP_LISTEN_PLAN_H

#include <stdint.h>

#include "app/config.h"
#include "base/err.h"
#include "base/slice.h"

struct peri_listen_plan {
    uint32_t add_count;
    uint32_t remove_count;
    struct peri_slice add[PERI_CONFIG_LISTENERS];    ///< borrowed from whoever made the plan
    struct peri_slice remove[PERI_CONFIG_LISTENERS]; ///< the same
};

/// The way from the listeners of `from` (NULL: none) to those of `to`; borrows from both.
void peri_listen_plan_make(struct peri_listen_plan *plan, const struct peri_config *from, const struct peri_config *to);

/// Text form for a control message: '+' or '-', the address, a zero byte; and so on. Malloc'ed; ptr is NULL when out of
/// memory.
struct peri_slice peri_listen_plan_format(const struct peri_listen_plan *plan);

/// Reads the text form; borrows from it. PERI_ERR_INVALID.
peri_err_t peri_listen_plan_parse(struct peri_slice text, struct peri_listen_plan *plan);

#endif
