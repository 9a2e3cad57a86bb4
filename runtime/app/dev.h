// SPDX-License-Identifier: MIT
// What `perigee dev` adds to a single process: it knows the newest files and what is wrong with them, answers requests with
// that, and shows exchanges to people. The supervisor tells it what it finds; the server asks it through struct
// peri_server_dev. Never part of `perigee run`: an error page shows source code to whoever asks.
//
//   supervisor --checked, refused, accepted--> dev --is_refused, explain--> server
#ifndef PERI_APP_DEV_H
#define PERI_APP_DEV_H

#include "base/slice.h"

struct peri_children;
struct peri_config;
struct peri_dev;
struct peri_loop;
struct peri_server_dev;
struct peri_snapshot;

/// Starts to write log lines for people, and to run the specs beside the configuration `file`. Borrows all three. NULL when out
/// of memory.
struct peri_dev *peri_dev_new(struct peri_loop *loop, struct peri_children *children, const char *file);

/// A file of the configuration was saved: the specs are run again.
void peri_dev_run_specs(struct peri_dev *dev);

/// Ends a run of the specs; before `children` end. NULL is fine.
void peri_dev_stop(struct peri_dev *dev);

/// Stops and frees it; log lines are the machine's again. NULL is fine.
void peri_dev_free(struct peri_dev *dev);

/// What a server asks; borrowed.
const struct peri_server_dev *peri_dev_server(const struct peri_dev *dev);

/// Puts the settings of a process that is restarted all day in the place of the written ones: one process, watched, that
/// serves a change at once and does not wait long when it ends.
void peri_dev_adapt(struct peri_config *config);

/// These are the newest files (referenced), good or bad; NULL leaves those before.
void peri_dev_set_snapshot(struct peri_dev *dev, struct peri_snapshot *snapshot);

/// The newest files, borrowed; NULL before the first.
struct peri_snapshot *peri_dev_snapshot(const struct peri_dev *dev);

/// From now on requests are answered with `errors` (app/errors.h, copied); NULL: they are served again.
void peri_dev_set_errors(struct peri_dev *dev, const char *errors);

/// A configuration for the time until the written one can be used, malloc'ed; NULL when out of memory. It serves nothing, at the
/// first address behind "listeners" in the file, or at the default one when none can be read there.
char *peri_dev_make_placeholder(const struct peri_dev *dev);

#endif
