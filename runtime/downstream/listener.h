// SPDX-License-Identifier: MIT
// A listening socket and the client connections that came through it. Every request becomes an exchange that is given to
// the owner named at construction: the proxy's pipeline, the admin endpoints, a test. Knows nothing of routes or upstreams.
#ifndef PERI_DOWNSTREAM_LISTENER_H
#define PERI_DOWNSTREAM_LISTENER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct peri_listener;
struct peri_loop;
struct peri_metrics_page;
struct peri_owner_ops;
struct peri_stream;
struct peri_tcp_owner;
struct peri_tls_info;
struct peri_tls_server;
struct peri_trusted_proxies;

#define PERI_DEADLINE_NAME 64 ///< room for the name of a header

/// Limits and timeouts of client connections; 0 switches a timeout off. Defaults: peri_listener_defaults.
struct peri_listener_settings {
    uint32_t header_bytes;   ///< of one request head
    uint32_t headers;        ///< fields of one request head
    uint32_t uri_bytes;      ///< of the request target
    uint32_t connections;    ///< open at once; more are accepted and closed
    uint32_t streams;        ///< open at once on one HTTP/2 connection
    uint64_t body_bytes;     ///< of one request body; UINT64_MAX for no limit
    uint32_t trusted_hops;   ///< proxies in front of us whose X-Forwarded-For entries are believed
    bool allow_underscores;  ///< accept '_' in field names
    uint64_t headers_ms;     ///< for a request head, from its first byte
    uint64_t request_ms;     ///< for a whole request
    uint64_t idle_ms;        ///< between requests
    uint64_t stream_idle_ms; ///< without progress inside an exchange
    char deadline_header
        [PERI_DEADLINE_NAME]; ///< in which clients say how many ms they wait; lower case; empty: none is believed
};

/// The safe defaults (security.md 7.2).
struct peri_listener_settings peri_listener_defaults(void);

/// Serves the bound socket `fd` (taken). Exchanges begin with owner->on_request and have owner_data in x->owner_data.
/// NULL on failure (fd closed).
struct peri_listener *peri_listener_open(struct peri_loop *loop, int fd, const struct peri_listener_settings *settings,
                                         const struct peri_owner_ops *owner, void *owner_data);

/// A listener without a socket, for memory streams.
struct peri_listener *peri_listener_open_memory(struct peri_loop *loop, const struct peri_listener_settings *settings,
                                                const struct peri_owner_ops *owner, void *owner_data);

/// Serves a stream as if it had been accepted (taken).
void peri_listener_adopt(struct peri_listener *listener, struct peri_stream *stream);

/// The same behind a handshake that agreed on `tls` (taken), whatever the listener speaks; in HTTP/1.1. For tests.
void peri_listener_adopt_agreed(struct peri_listener *listener, struct peri_stream *stream, struct peri_tls_info *tls);

/// Applies new settings to connections that come from now on; limits of open ones follow with their next request.
void peri_listener_set(struct peri_listener *listener, const struct peri_listener_settings *settings);

/// Speaks TLS with clients that come from now on (referenced); NULL: plain text. Open connections stay as they are.
void peri_listener_set_tls(struct peri_listener *listener, struct peri_tls_server *tls);

/// Connections of these proxies begin with a PROXY header that says who the client is (taken); NULL: nobody's do. Holds for
/// clients that come from now on.
void peri_listener_set_proxies(struct peri_listener *listener, struct peri_trusted_proxies *proxies);

/// Passes clients that come from now on to `owner` (borrowed) as they are, with `data` in home->tcp_data, after a look at their
/// ClientHello when `looks_at_hello`; NULL: serves them HTTP. See downstream/tcp.h.
void peri_listener_set_tcp(struct peri_listener *listener, const struct peri_tcp_owner *owner, void *data,
                           bool looks_at_hello);

/// Counts this listener's connections in `page` (borrowed); before the first of them.
void peri_listener_set_metrics(struct peri_listener *listener, struct peri_metrics_page *page);

/// Whose requests are refused while the process has too much to do.
enum peri_refused { PERI_REFUSED_NONE, PERI_REFUSED_NEWCOMERS, PERI_REFUSED_ALL };

/// Calls on_count(data) from the loop whenever a connection came or went, before the listener is closed.
void peri_listener_watch(struct peri_listener *listener, void (*on_count)(void *data), void *data);

/// Gives requests of all connections, or of those that come from now on, to `refuser` (borrowed) in the place of the owner named at
/// construction, and closes connections after their exchange; idle ones close now. Clients that come to be passed on as they are
/// are closed. PERI_REFUSED_NONE ends it.
void peri_listener_refuse(struct peri_listener *listener, enum peri_refused refused,
                          const struct peri_owner_ops *refuser);

/// Stops / resumes accepting; clients wait in the kernel's queue. No-op without a socket.
void peri_listener_pause(struct peri_listener *listener, bool paused);

/// The settings in force.
const struct peri_listener_settings *peri_listener_get(const struct peri_listener *listener);

/// Stops accepting; idle connections close now, busy ones after their exchange. `on_drained(data)` runs once when none is
/// left (from the loop; possibly at the next turn).
void peri_listener_drain(struct peri_listener *listener, void (*on_drained)(void *data), void *data);

/// Closes the socket and every connection at once; exchanges are aborted. The listener frees itself when the last stream is
/// closed; no callback of it runs after this call.
void peri_listener_close(struct peri_listener *listener);

/// Open connections.
uint32_t peri_listener_connections(const struct peri_listener *listener);

#endif
