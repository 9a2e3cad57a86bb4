// SPDX-License-Identifier: MIT
// The bytes that a generation is built from: every file that the configuration asked for, also those that were not there, in
// one sealed memory descriptor with a digest. A recorder reads files from disk and remembers them; the snapshot made of it
// gives the same answers in every process and at any later time, without the disk.
//
//   recorder (check child) --peri_recorder_finish--> memfd --SCM_RIGHTS--> peri_snapshot_open (supervisor, workers)
#ifndef PERI_APP_SNAPSHOT_H
#define PERI_APP_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

#define PERI_SNAPSHOT_FILE (8u * 1024 * 1024)   ///< most bytes of one file
#define PERI_SNAPSHOT_TOTAL (64u * 1024 * 1024) ///< most bytes of all files
#define PERI_SNAPSHOT_FILES 4096u               ///< most paths, absent ones counted

struct peri_recorder;
struct peri_snapshot;
struct peri_source;

/// Starts recording below `directory` (copied). NULL when it cannot be opened (errno) or memory is short.
struct peri_recorder *peri_recorder_new(const char *directory);

/// The source that reads from disk, borrowed from the recorder. Relative paths stay below the directory (an absolute path, "..",
/// "." or an empty segment inside a relative one is PERI_ERR_INVALID); absolute paths are read as they are. Only regular
/// files; PERI_ERR_NOT_FOUND for what is not there, PERI_ERR_LIMIT beyond the sizes above, PERI_ERR_SYSTEM for what cannot
/// be read. Every answer is remembered and given again. The names in a folder are recorded as a file whose path ends with '/'.
const struct peri_source *peri_recorder_source(const struct peri_recorder *recorder);

/// Records `text` (copied) as what `path`, which was not asked for yet, holds. PERI_ERR_NOMEM.
peri_err_t peri_recorder_put(struct peri_recorder *recorder, struct peri_slice path, const char *text);

/// Seals what was recorded, with the name of the configuration file in it. Owned descriptor, or -1 with errno.
int peri_recorder_finish(const struct peri_recorder *recorder, struct peri_slice entry);

/// Frees the recorder and the bytes it lent; NULL is fine.
void peri_recorder_free(struct peri_recorder *recorder);

/// Opens the snapshot in `fd` (taken, also on failure). Every length in it is checked: PERI_ERR_INVALID, PERI_ERR_NOMEM,
/// PERI_ERR_SYSTEM. The caller owns one reference.
peri_err_t peri_snapshot_open(int fd, struct peri_snapshot **snapshot);

/// One reference more; returns its argument.
struct peri_snapshot *peri_snapshot_ref(struct peri_snapshot *snapshot);

/// Gives one reference back; the last one frees the snapshot. NULL is fine.
void peri_snapshot_unref(struct peri_snapshot *snapshot);

/// The descriptor, borrowed, to hand to another process.
int peri_snapshot_fd(const struct peri_snapshot *snapshot);

/// The source that answers from the snapshot; borrowed. A path that was never asked for is PERI_ERR_NOT_FOUND.
const struct peri_source *peri_snapshot_source(const struct peri_snapshot *snapshot);

/// Name of the configuration file, relative to its directory; borrowed.
struct peri_slice peri_snapshot_entry(const struct peri_snapshot *snapshot);

/// SHA-256 over all paths and bytes, as hex text; borrowed.
struct peri_slice peri_snapshot_digest(const struct peri_snapshot *snapshot);

/// One path of a snapshot; borrowed.
struct peri_snapshot_file {
    struct peri_slice path;
    struct peri_slice bytes; ///< empty unless `err` is PERI_OK
    peri_err_t err;          ///< that reading gave: PERI_ERR_NOT_FOUND for an absent one
    bool is_secret;          ///< nobody is shown the bytes
};

/// Path number `index`, in byte order.
struct peri_snapshot_file peri_snapshot_file(const struct peri_snapshot *snapshot, uint32_t index);

/// Byte order of two paths: negative, zero or positive.
int peri_snapshot_compare(struct peri_slice a, struct peri_slice b);

/// Number of paths, absent ones counted.
uint32_t peri_snapshot_count(const struct peri_snapshot *snapshot);

/// Path number `index`, in byte order; borrowed.
struct peri_slice peri_snapshot_path(const struct peri_snapshot *snapshot, uint32_t index);

#endif
