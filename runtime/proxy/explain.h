// SPDX-License-Identifier: MIT
// Tells which way a request would take through a generation, without taking it: no hook runs, nothing is sent. For the
// command line and whoever else shows it; the form is in docs/operations/cli.md.
#ifndef PERI_PROXY_EXPLAIN_H
#define PERI_PROXY_EXPLAIN_H

#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

struct peri_exchange;
struct peri_generation;
struct peri_json;

/// A request as a person writes it.
struct peri_explain_request {
    struct peri_slice method;
    struct peri_slice url;            ///< "http://host/path?query", "/path?query", or "*"
    const struct peri_slice *headers; ///< "Name: value" each
    uint32_t header_count;
};

/// Reads the request into x->req as a listener reads it from a connection. Without a host in the URL or the headers it is an
/// HTTP/1.0 request, which needs none. PERI_ERR_INVALID, with a sentence in `message` (size `size`), for what no client can
/// send; otherwise PERI_OK or the error that the listener would answer.
peri_err_t peri_explain_read(struct peri_exchange *x, const struct peri_explain_request *request, char *message,
                             size_t size);

/// The way of the request in x->req; sets x->route (NULL for none). Owned by the caller (peri_json_free); NULL when out of
/// memory.
struct peri_json *peri_explain(const struct peri_generation *generation, struct peri_exchange *x);

#endif
