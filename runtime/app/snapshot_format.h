// SPDX-License-Identifier: MIT
// How a snapshot lies in its descriptor. Written by recorder.c and read by snapshot.c of the same binary.
//
//   head | entry name | record, path, bytes | record, path, bytes | …      records in byte order of their paths
#ifndef PERI_APP_SNAPSHOT_FORMAT_H
#define PERI_APP_SNAPSHOT_FORMAT_H

#include <stdint.h>

#include "base/slice.h"
#include "codec/digest.h"

#define PERI_SNAPSHOT_MAGIC 0x50414e5347495245ull
#define PERI_SNAPSHOT_PATH 4096u ///< paths are shorter than this

struct peri_snapshot_head {
    uint64_t magic;
    uint32_t count;                         ///< records
    uint32_t entry_len;                     ///< bytes of the entry's name
    unsigned char digest[PERI_DIGEST_SIZE]; ///< of all that follows the head
};

struct peri_snapshot_record {
    uint32_t path_len;
    uint16_t err; ///< peri_err_t that reading gave
    uint16_t is_secret;
    uint64_t len; ///< bytes of the file
};

/// May `path` be asked for? A relative one holds plain names only; an absolute one is nearly always fine, because only the
/// operator's own file can name it. None ends with '/': that is how the names in a folder are recorded.
bool peri_snapshot_is_path(struct peri_slice path);

/// The path that the names in the folder `path` are recorded under, in `key`; false when it may not be asked for.
bool peri_snapshot_folder(struct peri_slice path, char key[PERI_SNAPSHOT_PATH]);

#endif
