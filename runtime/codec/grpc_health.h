// SPDX-License-Identifier: MIT
// The messages of grpc.health.v1.Health/Check, the one call that the proxy makes itself: a service's name out, its state in
// (grpc-proto, grpc/health/v1/health.proto). Pure functions on bytes.
#ifndef PERI_CODEC_GRPC_HEALTH_H
#define PERI_CODEC_GRPC_HEALTH_H

#include <stddef.h>

#include "base/slice.h"

#define PERI_GRPC_HEALTH_SERVICE 256                            ///< bytes of a service's name
#define PERI_GRPC_HEALTH_REQUEST (PERI_GRPC_HEALTH_SERVICE + 8) ///< room for a request

/// HealthCheckResponse.ServingStatus.
enum peri_grpc_health {
    PERI_GRPC_HEALTH_UNKNOWN,
    PERI_GRPC_HEALTH_SERVING,
    PERI_GRPC_HEALTH_NOT_SERVING,
    PERI_GRPC_HEALTH_SERVICE_UNKNOWN,
};

/// Writes the length-prefixed request for `service` (at most PERI_GRPC_HEALTH_SERVICE bytes; empty: the server as a whole) to `out`
/// (room for PERI_GRPC_HEALTH_REQUEST); returns its length.
size_t peri_grpc_health_write(struct peri_slice service, char *out);

/// The state in a length-prefixed response, which is all of `body`: a peri_grpc_health, or a number above them that a later version
/// of the protocol knows. -1 when it is compressed, cut or no such message.
int peri_grpc_health_read(struct peri_slice body);

#endif
