// SPDX-License-Identifier: MIT
// The error pages of `perigee dev`: who accepts text/html gets a page with each error, its place and the lines around it; who
// does not gets the same as a problem document (RFC 9457). Everything shown is escaped.
#ifndef PERI_APP_DEV_PAGE_H
#define PERI_APP_DEV_PAGE_H

#include "base/err.h"

struct peri_exchange;
struct peri_snapshot;

/// Answers `x` with the errors (app/errors.h) of a configuration that is refused; sources are read from `snapshot` (may be NULL).
void peri_dev_page_refused(struct peri_exchange *x, const struct peri_snapshot *snapshot, const char *errors);

/// Answers `x` with what failed in a script (x->facts.failure); `err` is the error that it became.
void peri_dev_page_failed(struct peri_exchange *x, const struct peri_snapshot *snapshot, peri_err_t err);

#endif
