// SPDX-License-Identifier: MIT
// Listeners in memory: "memory:NAME" addresses of a server, for the test kit. What connects to one is served by another server's
// pipeline, or by the same one's, through the real codec.
#ifndef PERI_PROXY_MEMORY_H
#define PERI_PROXY_MEMORY_H

#include <stdbool.h>

#include "base/slice.h"

struct peri_server;
struct peri_stream;

/// Makes `target` answer connections that `server` opens to "memory:NAME". False when out of memory.
bool peri_memory_listen(struct peri_server *server, struct peri_slice name, struct peri_server *target);

/// A stream to the memory listener `name` of the server `data`; NULL when there is none (peri_pools_options.connect_memory).
struct peri_stream *peri_memory_connect(void *data, struct peri_slice name);

/// Closes the server's memory listeners.
void peri_memory_close_all(struct peri_server *server);

#endif
