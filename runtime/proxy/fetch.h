// SPDX-License-Identifier: MIT
// http.fetch: an exchange that no client sent. It takes the same way to an upstream as every other, and its answer is
// collected in memory, up to a limit.
#ifndef PERI_PROXY_FETCH_H
#define PERI_PROXY_FETCH_H

#include "base/err.h"

struct peri_fetch;
struct peri_fetch_request;
struct peri_upstream;

/// Starts a fetch (peri_script_host.fetch_start). NULL with *err set when the request is malformed or memory is out; then
/// on_done is not called.
struct peri_fetch *peri_fetch_start(struct peri_fetch_request *request, peri_err_t *err);

/// The same to an endpoint of `upstream`, whatever the host of the URL is; borrowed until the fetch is over.
struct peri_fetch *peri_fetch_start_at(struct peri_fetch_request *request, struct peri_upstream *upstream,
                                       peri_err_t *err);

/// Ends a fetch under way; on_done is not called (peri_script_host.fetch_cancel).
void peri_fetch_cancel(struct peri_fetch *fetch);

#endif
