// SPDX-License-Identifier: MIT
// What gRPC adds to HTTP (the protocol description of gRPC, "gRPC over HTTP2", and "gRPC-Web"): which requests are its own, its status
// codes and messages, and how a client says how long it waits. Pure functions on text; knows no exchange.
#ifndef PERI_CODEC_GRPC_H
#define PERI_CODEC_GRPC_H

#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

/// Status codes, as gRPC numbers them.
enum peri_grpc_status {
    PERI_GRPC_OK,
    PERI_GRPC_CANCELLED,
    PERI_GRPC_UNKNOWN,
    PERI_GRPC_INVALID_ARGUMENT,
    PERI_GRPC_DEADLINE_EXCEEDED,
    PERI_GRPC_NOT_FOUND,
    PERI_GRPC_ALREADY_EXISTS,
    PERI_GRPC_PERMISSION_DENIED,
    PERI_GRPC_RESOURCE_EXHAUSTED,
    PERI_GRPC_FAILED_PRECONDITION,
    PERI_GRPC_ABORTED,
    PERI_GRPC_OUT_OF_RANGE,
    PERI_GRPC_UNIMPLEMENTED,
    PERI_GRPC_INTERNAL,
    PERI_GRPC_UNAVAILABLE,
    PERI_GRPC_DATA_LOSS,
    PERI_GRPC_UNAUTHENTICATED,
    PERI_GRPC_STATUS_COUNT
};

/// What a message's content type says it is.
enum peri_grpc_kind {
    PERI_GRPC_NONE,     ///< not gRPC
    PERI_GRPC_NATIVE,   ///< application/grpc, with any suffix or parameter
    PERI_GRPC_WEB,      ///< application/grpc-web, likewise
    PERI_GRPC_WEB_TEXT, ///< application/grpc-web-text, likewise
};

#define PERI_GRPC_TIMEOUT_MAX_NS 3000000000000000000ull ///< longer ones (95 years) are this one
#define PERI_GRPC_TIMEOUT_TEXT 10                       ///< room for a formatted timeout
#define PERI_GRPC_MESSAGE_MAX 1024                      ///< bytes of a message before encoding; more are cut

/// Kind of a content type; its letters in any case.
enum peri_grpc_kind peri_grpc_kind(struct peri_slice content_type);

/// Content type of a response to a request of this kind (not PERI_GRPC_NONE).
struct peri_slice peri_grpc_type(enum peri_grpc_kind kind);

/// Status that an answer with HTTP status `http` is told as. The table of gRPC ("HTTP to gRPC Status Code Mapping") with what the proxy
/// itself knows better, as nobody has seen the call: 408 and 504 are DEADLINE_EXCEEDED, 413, 429 and 431 RESOURCE_EXHAUSTED, 500
/// INTERNAL, 501 UNIMPLEMENTED.
enum peri_grpc_status peri_grpc_status_from(int http);

/// Status of a grpc-status field; -1 when it is none of gRPC's.
int peri_grpc_status_parse(struct peri_slice text);

/// Nanoseconds of a grpc-timeout field (1 to 8 digits and one of "HMSmun"). PERI_ERR_INVALID.
peri_err_t peri_grpc_timeout_parse(struct peri_slice text, uint64_t *ns);

/// Writes `ns` as a grpc-timeout field, rounded down in the finest unit that holds it, to `out` (room for PERI_GRPC_TIMEOUT_TEXT);
/// returns its length.
size_t peri_grpc_timeout_format(uint64_t ns, char *out);

/// Writes `text` as a grpc-message field: bytes outside of space to '~', and '%', percent-encoded. At most PERI_GRPC_MESSAGE_MAX bytes
/// of it; `out` has room for three times as many as are written. Returns the length.
size_t peri_grpc_message_encode(struct peri_slice text, char *out);

#endif
