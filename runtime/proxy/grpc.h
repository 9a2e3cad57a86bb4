// SPDX-License-Identifier: MIT
// What the pipeline does for gRPC calls beside passing them on: the client's deadline bounds the exchange and is sent on reduced, the
// proxy's own answers become gRPC errors, and the call's status is noted. An exchange of another kind has none of it: x->facts.grpc is NULL,
// and that is all that is tested. Nobody outside proxy/ includes this.
#ifndef PERI_PROXY_GRPC_H
#define PERI_PROXY_GRPC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

struct peri_exchange;

struct peri_grpc {
    struct peri_slice type; ///< content type that the client reads, static
    int status;             ///< of the call; -1 while none is known
};

/// Attaches a struct peri_grpc (x->facts.grpc) when the content type of the request is gRPC's or gRPC-Web's. PERI_ERR_NOMEM.
peri_err_t peri_grpc_attach(struct peri_exchange *x);

/// The exchange has begun: when its content type is gRPC's or gRPC-Web's, attaches a struct peri_grpc and notes the deadline
/// (x->facts.deadline_ns). False when there was no memory for it: the exchange has failed.
bool peri_grpc_begin(struct peri_exchange *x);

/// The exchange is over: counts the call.
void peri_grpc_end(struct peri_exchange *x);

/// An attempt begins: puts what is left of the deadline into grpc-timeout, or less where a policy asked for less. False when nothing is
/// left.
bool peri_grpc_send_on(struct peri_exchange *x);

/// Notes the status of a call, where the upstream's response head or trailers have it.
void peri_grpc_note(struct peri_exchange *x);

/// The response in x->res is about to be sent. One that the proxy or a policy made, and that is no gRPC response, becomes
/// "trailers-only": 200 without a body, grpc-status and grpc-message in the head. Its other headers stay.
void peri_grpc_finish_response(struct peri_exchange *x);

/// Status of the call; -1 when there is none, or the exchange is no call.
int peri_grpc_status(const struct peri_exchange *x);

/// Did the call fail as a 5xx does: UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE, DATA_LOSS?
bool peri_grpc_is_failure(const struct peri_exchange *x);

#endif
