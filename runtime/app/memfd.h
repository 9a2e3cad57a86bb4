// SPDX-License-Identifier: MIT
// Bytes that travel between processes as a descriptor: anonymous memory, sealed, so that a reader can map it and trust that
// it never changes or shrinks.
#ifndef PERI_APP_MEMFD_H
#define PERI_APP_MEMFD_H

#include <stddef.h>

#include "base/err.h"
#include "base/slice.h"

/// A sealed, close-on-exec descriptor that holds a copy of the `count` runs of bytes, one behind the other. `name` is shown
/// in /proc only. Owned by the caller; -1 with errno when the system refuses.
int peri_memfd_new(const char *name, const struct peri_slice *parts, size_t count);

/// Maps all of `fd` (borrowed; may be closed afterwards) read-only into *bytes. PERI_ERR_INVALID unless it is sealed against
/// writing and resizing and holds at most `limit` bytes; PERI_ERR_SYSTEM when it cannot be mapped.
peri_err_t peri_memfd_map(int fd, size_t limit, struct peri_slice *bytes);

/// Gives the mapping back; an empty one is fine.
void peri_memfd_unmap(struct peri_slice bytes);

/// Malloc'ed copy of what `fd` (borrowed) holds, at most `limit` bytes, NUL-terminated behind its length; ptr is NULL when
/// peri_memfd_map refuses or memory is short.
struct peri_slice peri_memfd_copy(int fd, size_t limit);

#endif
