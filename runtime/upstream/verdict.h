// SPDX-License-Identifier: MIT
// What a response says about the endpoint that sent it, beside its status: failures that gRPC hides behind 200, and how long it wants
// to be left alone.
#ifndef PERI_UPSTREAM_VERDICT_H
#define PERI_UPSTREAM_VERDICT_H

#include <stdbool.h>
#include <stdint.h>

struct peri_response;

#define PERI_PUSHBACK_MAX_MS 300000 ///< an endpoint cannot ask for more

/// Did the endpoint fail or refuse: 429, 5xx, or such a grpc-status (2, 4, 8, 13, 14, 15) in the head of a gRPC response?
bool peri_verdict_is_failure(const struct peri_response *res);

/// grpc-status in the head of a gRPC response (trailers only); above 100 for none.
uint64_t peri_verdict_grpc_status(const struct peri_response *res);

/// Is it the head of a gRPC response without a status, which comes in its trailers?
bool peri_verdict_is_open(const struct peri_response *res);

/// grpc-status in the trailers of such a response; above 100 for none.
uint64_t peri_verdict_trailer_status(const struct peri_response *res);

/// What Retry-After (in seconds; a date counts as none) or grpc-retry-pushback-ms asks for, at most PERI_PUSHBACK_MAX_MS; 0 for
/// nothing.
uint64_t peri_verdict_pushback_ms(const struct peri_response *res);

/// Does a gRPC response ask not to be retried at all: a grpc-retry-pushback-ms that is negative, or no number (gRFC A6)?
bool peri_verdict_forbids_retry(const struct peri_response *res);

#endif
