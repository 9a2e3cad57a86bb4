// SPDX-License-Identifier: MIT
// What a script asks for with http.fetch and what it gets back. proxy/fetch does it; this is only the form.
#ifndef PERI_SCRIPT_FETCH_H
#define PERI_SCRIPT_FETCH_H

#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

struct peri_exchange;
struct peri_generation;
struct peri_headers;

struct peri_fetch_result {
    peri_err_t err; ///< PERI_OK or why there is no complete response
    int status;
    const struct peri_headers *headers;  ///< borrowed for the call
    const struct peri_headers *trailers; ///< borrowed for the call
    struct peri_slice body;              ///< borrowed for the call
};

struct peri_fetch_request {
    struct peri_generation *generation; ///< whose upstreams are meant; borrowed until the fetch is over
    struct peri_slice method;           ///< "GET" …
    struct peri_slice
        url; ///< "http://host:port/path", "http://NAME/path" with an upstream's name, "http+unix:…" not supported
    const struct peri_slice *header_pairs; ///< name, value, name, value …
    uint32_t header_count;                 ///< pairs
    struct peri_slice body;
    uint64_t timeout_ms; ///< whole fetch; 0 for the default of 10 s
    uint64_t max_body;   ///< bytes of response body; 0 for the default of 1 MiB
    /// Called exactly once from the event loop, unless cancelled.
    void (*on_done)(void *data, const struct peri_fetch_result *result);
    void *data;
};

#endif
