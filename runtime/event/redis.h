// SPDX-License-Identifier: MIT
// Redis without blocking: one pipelined connection to each server, made when it is first needed. A call never waits longer than its
// timeout, and not at all while the server is known to be away; the queue of each connection is bounded. Knows no script.
#ifndef PERI_EVENT_REDIS_H
#define PERI_EVENT_REDIS_H

#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

struct peri_dns;
struct peri_loop;
struct peri_redis;
struct peri_redis_call;
struct peri_redis_reply;
struct peri_stream;

#define PERI_REDIS_CLIENTS 64          ///< servers (with different settings) at a time
#define PERI_REDIS_QUEUE 4096          ///< calls under way on one connection
#define PERI_REDIS_QUEUE_BYTES 4194304 ///< bytes that wait to be sent on one connection

struct peri_redis_options {
    struct peri_loop *loop; ///< borrowed
    struct peri_dns *dns;   ///< borrowed; NULL: only literals
    /// Opens a memory stream to `address` ("host:port") in place of a socket, as peri_pools_options.connect. NULL: sockets.
    struct peri_stream *(*connect)(void *data, struct peri_slice address);
    void *data; ///< for `connect`
};

/// A server and how it is spoken to. Calls with equal targets share a connection.
struct peri_redis_target {
    struct peri_slice host;     ///< name or IP address; the path of a unix socket when `port` is 0
    struct peri_slice user;     ///< empty: the default user
    struct peri_slice password; ///< empty: no AUTH
    uint64_t timeout_ms;        ///< of a call, connecting included; at least 1
    uint32_t database;          ///< SELECTed unless 0
    uint16_t port;
};

/// Clients on the loop, without connections yet. NULL when out of memory.
struct peri_redis *peri_redis_new(const struct peri_redis_options *options);

/// Closes every connection; calls that are left are forgotten without on_done.
void peri_redis_free(struct peri_redis *redis);

/// Sends a command: `args` (1 to PERI_REDIS_ARGS) and `target` are borrowed for the call. on_done(data, PERI_OK, reply) or (data, err,
/// NULL) is called once from the loop, the reply (which may be an error of the server) borrowed for that call. When the command cannot be
/// sent, returns NULL and sets *err: PERI_ERR_NOMEM, PERI_ERR_UPSTREAM_OVERFLOW, or why the server is away.
struct peri_redis_call *
peri_redis_call(struct peri_redis *redis, const struct peri_redis_target *target, const struct peri_slice *args,
                uint32_t count, void (*on_done)(void *data, peri_err_t err, const struct peri_redis_reply *reply),
                void *data, peri_err_t *err);

/// Forgets the call; on_done is not called. The command may still be carried out.
void peri_redis_cancel(struct peri_redis_call *call);

/// What the server said when it refused the connection (wrong password, …), borrowed until the next call or turn; empty when it did not.
struct peri_slice peri_redis_refusal(struct peri_redis *redis, const struct peri_redis_target *target);

#endif
