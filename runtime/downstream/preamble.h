// SPDX-License-Identifier: MIT
// What a trusted proxy in front sends before the client's first byte: the PROXY header, which says who the client is. Stands
// between the accepting of a stream and the connection that serves it, whatever that speaks.
#ifndef PERI_DOWNSTREAM_PREAMBLE_H
#define PERI_DOWNSTREAM_PREAMBLE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/slice.h"

struct peri_connection_home;
struct peri_stream;
struct peri_trusted_proxies;

/// New empty set of proxies, owned by the caller; NULL when out of memory.
struct peri_trusted_proxies *peri_trusted_proxies_new(void);

/// Frees the set; NULL is fine.
void peri_trusted_proxies_free(struct peri_trusted_proxies *proxies);

/// Adds an address, a network ("10.0.0.0/8") or "unix" for whoever comes over a unix socket. PERI_ERR_NOMEM, PERI_ERR_INVALID.
peri_err_t peri_trusted_proxies_add(struct peri_trusted_proxies *proxies, struct peri_slice entry);

/// Is the peer of the stream one of them?
bool peri_trusted_proxies_have(struct peri_trusted_proxies *proxies, const struct peri_stream *stream);

/// Reads the PROXY header from `stream` (taken), which then has the address in it and goes on to home->serve. Without a valid header
/// in the time that heads have, it is closed. False when out of memory (stream closed).
bool peri_preamble_open(struct peri_connection_home *home, struct peri_stream *stream);

#endif
