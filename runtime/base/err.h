// SPDX-License-Identifier: MIT
// The one table of errors. A function that can fail returns peri_err_t; the table says how the error is named, what the
// client is told, which HTTP status it becomes and which response flag (Envoy's letters) the access log shows.
#ifndef PERI_BASE_ERR_H
#define PERI_BASE_ERR_H

#include <stdbool.h>

#include "base/attr.h"

// code, name, HTTP status, log flag, may another endpoint do better?, text for the client
#define PERI_ERR_TABLE(X)                                                                                              \
    X(PERI_OK, "ok", 200, "", false, "")                                                                               \
    X(PERI_ERR_NOMEM, "out_of_memory", 503, "OM", false, "The proxy is out of memory.")                                \
    X(PERI_ERR_BAD_REQUEST, "bad_request", 400, "DPE", false, "The request is malformed.")                             \
    X(PERI_ERR_SMUGGLING, "ambiguous_framing", 400, "DPE", false, "The length of the request is ambiguous.")           \
    X(PERI_ERR_BAD_HOST, "bad_host", 400, "DPE", false, "The Host header is missing, repeated or malformed.")          \
    X(PERI_ERR_BAD_PATH, "bad_path", 400, "DPE", false, "The request path is malformed.")                              \
    X(PERI_ERR_HEADERS_TOO_LARGE, "headers_too_large", 431, "DPE", false, "The request headers are too large.")        \
    X(PERI_ERR_URI_TOO_LONG, "uri_too_long", 414, "DPE", false, "The request target is too long.")                     \
    X(PERI_ERR_BODY_TOO_LARGE, "body_too_large", 413, "DPE", false, "The request body is too large.")                  \
    X(PERI_ERR_EXPECTATION, "expectation_failed", 417, "DPE", false, "The Expect header is not understood.")           \
    X(PERI_ERR_REQUEST_TIMEOUT, "request_timeout", 408, "DT", false, "The request did not arrive in time.")            \
    X(PERI_ERR_IDLE_TIMEOUT, "stream_idle_timeout", 408, "SI", false, "The exchange was idle for too long.")           \
    X(PERI_ERR_METHOD, "method_not_implemented", 501, "DPE", false, "The request method is not supported.")            \
    X(PERI_ERR_VERSION, "version_not_supported", 505, "DPE", false, "The HTTP version is not supported.")              \
    X(PERI_ERR_NO_ROUTE, "no_route", 404, "NR", false, "No route matches the request.")                                \
    X(PERI_ERR_NO_ENDPOINT, "no_endpoint", 503, "UH", false, "The upstream has no usable endpoint.")                   \
    X(PERI_ERR_RESOLVE, "resolve_failed", 503, "UF", true, "The upstream's name could not be resolved.")               \
    X(PERI_ERR_CONNECT, "connect_failed", 503, "UF", true, "The upstream could not be reached.")                       \
    X(PERI_ERR_CONNECT_TIMEOUT, "connect_timeout", 503, "UF", true, "The upstream could not be reached in time.")      \
    X(PERI_ERR_TLS, "tls_failed", 503, "UF", true, "The TLS handshake with the upstream failed.")                      \
    X(PERI_ERR_UPSTREAM_OVERFLOW, "upstream_overflow", 503, "UO", false,                                               \
      "The upstream's connection limit is reached.")                                                                   \
    X(PERI_ERR_UPSTREAM_RESET, "upstream_reset", 502, "UC", true, "The upstream closed the connection.")               \
    X(PERI_ERR_UPSTREAM_PROTOCOL, "upstream_protocol", 502, "UPE", false, "The upstream's response is malformed.")     \
    X(PERI_ERR_UPSTREAM_TIMEOUT, "upstream_timeout", 504, "UT", true, "The upstream did not answer in time.")          \
    X(PERI_ERR_DEADLINE, "deadline_exceeded", 504, "DT", false, "The client's deadline has passed.")                   \
    X(PERI_ERR_DURATION, "duration_exceeded", 504, "UMSDR", false, "The exchange took longer than it may.")            \
    X(PERI_ERR_RESPONSE_TOO_LARGE, "response_too_large", 502, "UPE", false, "The upstream's response is too large.")   \
    X(PERI_ERR_CLIENT_GONE, "client_gone", 499, "DC", false, "The client went away.")                                  \
    X(PERI_ERR_POLICY, "policy_failed", 503, "PF", false, "A policy of the route failed.")                             \
    X(PERI_ERR_HANDLER, "handler_failed", 500, "PF", false, "The route's handler failed.")                             \
    X(PERI_ERR_REFUSED, "refused", 403, "RP", false, "A policy refused the connection.")                               \
    X(PERI_ERR_DRAINING, "draining", 503, "DR", false, "The proxy is shutting down.")                                  \
    X(PERI_ERR_LIMIT, "limit_reached", 503, "LR", false, "A limit of the proxy is reached.")                           \
    X(PERI_ERR_OVERLOADED, "overloaded", 503, "OM", false, "The proxy has more to do than it can.")                    \
    X(PERI_ERR_SYSTEM, "system_error", 500, "SE", false, "The operating system refused an operation.")                 \
    X(PERI_ERR_INVALID, "invalid", 500, "", false, "An argument or a value is invalid.")                               \
    X(PERI_ERR_NOT_FOUND, "not_found", 404, "", false, "There is no such thing.")                                      \
    X(PERI_ERR_AGAIN, "try_again", 503, "", false, "The operation would block.")                                       \
    X(PERI_ERR_CLOSED, "closed", 503, "", false, "The object is closed.")

typedef enum peri_err {
#define X(code, name, status, flag, retryable, text) code,
    PERI_ERR_TABLE(X)
#undef X
        PERI_ERR_COUNT
} peri_err_t;

struct peri_err_info {
    const char *name;  ///< stable machine name, also the problem type
    const char *flag;  ///< access-log response flag, "" for none
    const char *text;  ///< one sentence for the client
    int status;        ///< HTTP status that the error becomes
    bool is_retryable; ///< another endpoint may succeed
};

/// The row of `err`; never NULL. Asserts that `err` is in the table.
const struct peri_err_info *peri_err_info(peri_err_t err);

/// Did the system refuse with `error`, an errno, because this process or the machine has no descriptors or memory left? That says nothing
/// about a peer or a file.
bool peri_err_is_shortage(int error);

#endif
