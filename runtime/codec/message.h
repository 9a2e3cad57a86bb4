// SPDX-License-Identifier: MIT
// The heads of a request and a response as every protocol and every layer above sees them. Plain data; all memory
// belongs to the arena of the exchange.
#ifndef PERI_CODEC_MESSAGE_H
#define PERI_CODEC_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/header.h"

#define PERI_LENGTH_NONE (-1)    ///< the message has no body
#define PERI_LENGTH_UNKNOWN (-2) ///< the body ends by framing (chunked, end of stream or close)

enum peri_method {
    PERI_METHOD_OTHER = 0, ///< see `method_name`
    PERI_METHOD_GET,
    PERI_METHOD_HEAD,
    PERI_METHOD_POST,
    PERI_METHOD_PUT,
    PERI_METHOD_DELETE,
    PERI_METHOD_PATCH,
    PERI_METHOD_OPTIONS,
    PERI_METHOD_CONNECT,
    PERI_METHOD_TRACE,
};

struct peri_request {
    enum peri_method method;
    struct peri_slice method_name;
    struct peri_slice scheme;    ///< "http" or "https", as the client spoke to us
    struct peri_slice authority; ///< Host or authority as received: host[:port]
    struct peri_slice host;      ///< lower case, without port and trailing dot
    struct peri_slice path;      ///< normalised once (codec/url.h); what routes, policies and upstreams see
    struct peri_slice query;     ///< raw, without '?'; empty when there is none
    struct peri_slice target;    ///< as received, for the access log only
    struct peri_headers headers; ///< without framing and hop-by-hop fields (removed by the codec)
    struct peri_headers trailers;
    int64_t content_length;    ///< bytes, or PERI_LENGTH_*
    uint8_t version;           ///< 10, 11, 20
    bool expects_continue;     ///< the client waits for 100
    bool wants_trailers;       ///< the client said TE: trailers
    struct peri_slice upgrade; ///< protocol asked for by Connection: upgrade; empty when none
};

struct peri_response {
    int status;
    struct peri_headers headers; ///< without framing and hop-by-hop fields
    struct peri_headers trailers;
    int64_t content_length;    ///< bytes, or PERI_LENGTH_*; for HEAD and 304 what the header said
    bool is_own;               ///< made by the proxy or a policy, not by an upstream
    bool is_upgrade;           ///< 101: a tunnel follows
    struct peri_slice upgrade; ///< protocol of a 101
};

/// Id of a method name (case-sensitive, RFC 9110 9.1).
enum peri_method peri_method_parse(struct peri_slice name);

/// Safe to send twice without harm (RFC 9110 9.2.2)?
bool peri_method_is_idempotent(enum peri_method method);

/// Reason phrase for a status, "Unknown" outside the registry.
const char *peri_status_text(int status);

/// Makes `headers` hold a copy of the structure of `from` (slices are shared, so `from`'s memory must outlive it).
peri_err_t peri_headers_clone(struct peri_headers *headers, struct peri_arena *arena, const struct peri_headers *from);

#endif
