// SPDX-License-Identifier: MIT
// Connections of this worker to one address, kept for reuse: the newest idle one first, bounded in number and idle time. An idle
// connection keeps reading, so that a close by the peer is seen at once. Pools belong to the worker and outlive generations:
// a reload drops no idle connection.
#ifndef PERI_UPSTREAM_POOL_H
#define PERI_UPSTREAM_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

struct peri_dns;
struct peri_loop;
struct peri_pool;
struct peri_pools;
struct peri_stream;
struct peri_tls_client;

struct peri_pools_options {
    struct peri_loop *loop; ///< borrowed
    struct peri_dns *dns;   ///< borrowed; NULL: only literals
    /// Opens a memory stream to `address` in place of a socket; NULL when nobody is there, PERI_STREAM_SILENCE when nothing
    /// comes of it (test kit): without TLS and HTTP/2, whatever the pool's settings say. NULL: sockets.
    struct peri_stream *(*connect)(void *data, struct peri_slice address);
    void *data; ///< for `connect`
};

/// What is spoken with an upstream.
enum peri_pool_protocol {
    PERI_POOL_AUTO, ///< with TLS what ALPN says, otherwise HTTP/1.1
    PERI_POOL_H1,   ///< HTTP/1.1
    PERI_POOL_H2,   ///< HTTP/2, without TLS by prior knowledge
};

/// Bounds of a pool, and how it connects.
struct peri_pool_settings {
    uint32_t max_idle;     ///< connections kept idle
    uint64_t idle_ms;      ///< how long
    uint64_t max_requests; ///< requests per connection; 0 for no limit
    enum peri_pool_protocol protocol;
    struct peri_tls_client *tls; ///< referenced by the pool; NULL: plain text
    int64_t *open;               ///< gauge of open connections, borrowed for ever; NULL for none
};

/// What a request that comes now meets.
enum peri_pool_state {
    PERI_POOL_CONNECTED,  ///< a connection that takes it: an idle one, or an HTTP/2 connection with room for one more
    PERI_POOL_CONNECTING, ///< one that is being made, and that it waits for
    PERI_POOL_BUSY,       ///< connections that are in use: it makes one more
    PERI_POOL_EMPTY,      ///< no connection at all
};

/// The worker's set of pools. NULL when out of memory.
struct peri_pools *peri_pools_new(const struct peri_pools_options *options);

/// Frees the set as soon as its last pool is gone: every pool was released, connections may still be closing.
void peri_pools_free(struct peri_pools *pools);

/// The pool of `address` under these settings ("host:port", "unix:/path"), made when it does not exist; one reference is the
/// caller's. Upstreams that agree on both share it. NULL when out of memory or the address is malformed.
struct peri_pool *peri_pools_get(struct peri_pools *pools, struct peri_slice address,
                                 const struct peri_pool_settings *settings);

/// One more reference.
struct peri_pool *peri_pool_ref(struct peri_pool *pool);

/// Gives one reference back; the last one closes the idle connections.
void peri_pool_release(struct peri_pool *pool);

/// The address, as given.
struct peri_slice peri_pool_address(const struct peri_pool *pool);

/// Counts the attempts under way to the address for the upstream that `settings.open` counts for: one count for its pools under whatever
/// settings, so that a reload or a new set of endpoints goes on with it. Borrowed from the pool; the callers count.
uint32_t *peri_pool_active(const struct peri_pool *pool);

/// The state of the pool now.
enum peri_pool_state peri_pool_state(const struct peri_pool *pool);

/// Idle connections now.
uint32_t peri_pool_idle(const struct peri_pool *pool);

/// Closes the connection that has been idle for longest. False when none is.
bool peri_pool_drop_idle(struct peri_pool *pool);

#endif
