// SPDX-License-Identifier: MIT
// Who the client is, behind proxies that we trust, and what the next hop is told about it.
#ifndef PERI_DOWNSTREAM_FORWARDED_H
#define PERI_DOWNSTREAM_FORWARDED_H

#include "base/err.h"

struct peri_exchange;
struct peri_listener_settings;

/// Sets x->client_ip and the X-Forwarded-For, -Proto and -Host fields of the request. With no trusted hop, what the client
/// sent in them is dropped. With N, the client is the N-th address from the right of X-Forwarded-For (the leftmost when there
/// are fewer), the peer is appended, and -Proto and -Host are kept. Where clients are believed about it, notes the time at which they
/// stop waiting. PERI_ERR_NOMEM.
peri_err_t peri_forwarded_apply(struct peri_exchange *x, const struct peri_listener_settings *settings);

#endif
