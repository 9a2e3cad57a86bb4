// SPDX-License-Identifier: MIT
// Tells which way a request takes through the current generation and what is decided about it, without sending it: request hooks,
// handlers and target functions run for real, with what they do to shared memory and ask of others; the way ends before the
// upstream. For the command line, the admin interface and whoever else shows it; the form is in docs/operations/explain.md.
#ifndef PERI_PROXY_EXPLAIN_H
#define PERI_PROXY_EXPLAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

#define PERI_EXPLAIN_MS 10000    ///< time for the hooks to decide
#define PERI_EXPLAIN_HEADERS 100 ///< most headers of a request

struct peri_exchange;
struct peri_explain;
struct peri_generation;
struct peri_json;
struct peri_server;

/// A request as a person writes it.
struct peri_explain_request {
    struct peri_slice method;
    struct peri_slice url;            ///< "http://host/path?query", "/path?query", or "*"
    const struct peri_slice *headers; ///< "Name: value" each
    uint32_t header_count;
    struct peri_slice body;   ///< empty: none
    struct peri_slice client; ///< IP address; empty: 127.0.0.1
};

/// What the client of an exchange was answered.
struct peri_explain_answer {
    struct peri_slice body; ///< its beginning
    bool is_cut;            ///< there is more
};

/// Sends the request through the server's current generation (which there is), as a listener would that got it from a connection.
/// Without a host in the URL or the headers it is an HTTP/1.0 request, which needs none. Calls on_done(data, view) once from the loop,
/// at the latest after PERI_EXPLAIN_MS, unless the run is cancelled, which it must be before the server is freed; `view` is borrowed for the call, NULL when out of memory. NULL, with a sentence in `message`
/// (size `size`), for what no client can send and no route gets.
struct peri_explain *peri_explain_start(struct peri_server *server, const struct peri_explain_request *request,
                                        void (*on_done)(void *data, struct peri_json *view), void *data, char *message,
                                        size_t size);

/// Reads the request into x->req as a listener does. PERI_OK, or an error and a sentence in `message`.
peri_err_t peri_explain_read(struct peri_exchange *x, const struct peri_explain_request *request, char *message,
                             size_t size);

/// Ends a run; on_done is not called.
void peri_explain_cancel(struct peri_explain *explain);

/// What is told of an exchange with a trace; `answer` is NULL when there was none. Owned by the caller (peri_json_free); NULL when out
/// of memory.
struct peri_json *peri_explain_view(const struct peri_generation *generation, const struct peri_exchange *x,
                                    const struct peri_explain_answer *answer, bool is_late);

/// The request in `json`: { method, url, headers, body, client }, of which all but url may be missing; headers are an object of values or
/// lists of values. It is borrowed from `json` and from `lines`, malloc'ed bytes that the caller frees with what *request needs no
/// longer. False with a sentence in `message`.
bool peri_explain_parse(const struct peri_json *json, struct peri_explain_request *request, char **lines, char *message,
                        size_t size);

#endif
