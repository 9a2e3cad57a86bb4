// SPDX-License-Identifier: MIT
// One connection to an upstream address, between its pool and its attempt. For the files of upstream/ only.
#ifndef PERI_UPSTREAM_CONNECTION_H
#define PERI_UPSTREAM_CONNECTION_H

#include "base/list.h"
#include "codec/h1.h"
#include "event/loop.h"
#include "event/timer.h"
#include "upstream/pool.h"

struct peri_attempt;
struct peri_dial;
struct peri_h2;
struct peri_stream;
struct peri_stream_events;

struct peri_upstream_connection {
    struct peri_list link;        ///< in pool->idle while idle, in pool->sessions as a session
    struct peri_pool *pool;       ///< referenced
    struct peri_stream *stream;   ///< NULL until the address is known
    struct peri_attempt *attempt; ///< NULL while idle or closing; of a session: waits for the server's settings
    struct peri_dial *dial; ///< what it is for instead (upstream/dial.h); NULL for the others, and once that is over
    struct peri_h1 h1;
    struct peri_h2 *h2;      ///< as a session (upstream/session.h); NULL otherwise
    struct peri_defer flush; ///< of a session: what its streams have to send
    uint32_t streams;        ///< of a session: attempts on it
    uint64_t heard_ms;       ///< of a session: when bytes came last
    struct peri_timer timer; ///< connect time, then idle time
    uint64_t requests;       ///< begun on this connection
    bool is_connected;
    bool is_doubted; ///< a session that may have lost its other end (peri_attempt_doubt)
    bool is_stopped; ///< reading is stopped for back-pressure
    bool is_closing;
};

/// Takes an idle connection out of the pool, the newest first; NULL when there is none.
struct peri_upstream_connection *peri_pool_take(struct peri_pool *pool);

/// Opens a new connection for `attempt`. Its stream tells `events` (with the connection as data). A failure is reported through
/// on_fail from the loop. NULL when out of memory.
struct peri_upstream_connection *peri_pool_connect(struct peri_pool *pool, const struct peri_stream_events *events,
                                                   struct peri_attempt *attempt, uint64_t connect_ms,
                                                   void (*on_fail)(struct peri_upstream_connection *c, peri_err_t err));

/// As peri_pool_connect, but for `dial`: no attempt ever uses the connection, and none waits for it.
struct peri_upstream_connection *peri_pool_dial(struct peri_pool *pool, const struct peri_stream_events *events,
                                                struct peri_dial *dial, uint64_t connect_ms,
                                                void (*on_fail)(struct peri_upstream_connection *c, peri_err_t err));

/// Gives a connection whose exchange is complete back: kept idle, or closed when the pool is full.
void peri_pool_put(struct peri_upstream_connection *c);

/// Closes a connection at once. It frees itself.
void peri_upstream_connection_close(struct peri_upstream_connection *c);

/// From the stream's on_close: frees the connection.
void peri_upstream_connection_closed(struct peri_upstream_connection *c);

/// The connection is established: does it speak HTTP/2? The pool remembers.
bool peri_pool_speaks_h2(struct peri_upstream_connection *c);

/// Does the upstream speak HTTP/2, as far as is known, or did it when its sessions began?
bool peri_pool_has_sessions(const struct peri_pool *pool);

/// Lets the attempt wait for a session that is on its way. False when none is.
bool peri_pool_wait(struct peri_attempt *attempt);

/// Takes an attempt that waits out again; no-op for others.
void peri_pool_stop_waiting(struct peri_attempt *attempt);

/// A session is there / cannot be had: starts the attempts that wait, or fails them.
void peri_pool_start_waiting(struct peri_pool *pool);
void peri_pool_fail_waiting(struct peri_pool *pool, peri_err_t err);

/// Sessions of the pool, by link.
struct peri_list *peri_pool_sessions(struct peri_pool *pool);

/// Its settings.
const struct peri_pool_settings *peri_pool_settings_of(const struct peri_pool *pool);

/// The loop of the pool.
struct peri_loop *peri_pool_loop(const struct peri_pool *pool);

#endif
