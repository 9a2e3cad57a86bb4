// SPDX-License-Identifier: MIT
// One try to send a request to one address: a pooled or new connection, the request out, the response in. Knows nothing of
// clients, routes or retries; says what happened and stops.
#ifndef PERI_UPSTREAM_ATTEMPT_H
#define PERI_UPSTREAM_ATTEMPT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "base/slice.h"

struct peri_attempt;
struct peri_h2_stream;
struct peri_headers;
struct peri_pool;
struct peri_request;
struct peri_response;
struct peri_upstream_connection;

/// What an attempt tells its owner, from the loop; but on_ready (on a pooled connection) and on_error (out of memory) may come from
/// inside peri_attempt_start.
struct peri_attempt_events {
    /// The connection is there and the request head was written: the body may follow.
    void (*on_ready)(struct peri_attempt *attempt);
    /// An interim response (100–199 but 101); `headers` borrowed for the call.
    void (*on_interim)(struct peri_attempt *attempt, int status, const struct peri_headers *headers);
    /// The response head is in attempt->res.
    void (*on_head)(struct peri_attempt *attempt);
    /// Response body (or tunnel) bytes, borrowed for the call.
    void (*on_body)(struct peri_attempt *attempt, struct peri_slice data);
    /// The response is complete (for a tunnel: the upstream ended its direction). Trailers are in attempt->res. Last call.
    void (*on_end)(struct peri_attempt *attempt);
    /// The attempt failed. Last call.
    void (*on_error)(struct peri_attempt *attempt, peri_err_t err);
    /// What send_body queued has drained.
    void (*on_drain)(struct peri_attempt *attempt);
};

/// Embedded in its owner, which keeps it until the last call or peri_attempt_cancel.
struct peri_attempt {
    const struct peri_attempt_events *events;
    void *data;                     ///< the owner's
    struct peri_pool *pool;         ///< borrowed while the attempt runs
    const struct peri_request *req; ///< borrowed while the attempt runs; content_length says how the body is framed
    struct peri_response *res;      ///< borrowed; its header lists have their arena
    uint64_t connect_ms;            ///< 0 for no limit
    bool wants_fresh;               ///< do not use a pooled connection
    bool has_no_length;             ///< hooks may change the body on its way: its length is not announced
    bool has_no_body;               ///< the request ends with its head

    struct peri_upstream_connection *connection; ///< NULL before the start and after the end
    struct peri_h2_stream *stream;               ///< on a session; NULL otherwise
    struct peri_list wait;                       ///< in the pool's list while a session is on its way
    uint64_t opened_ms;                          ///< when its stream was, on a session
    bool is_paused;                              ///< response bytes are not delivered
    bool is_reused;                              ///< runs on a pooled connection
    bool is_ready;                               ///< on_ready was called
    bool is_sent;                                ///< the request was written to its end
    bool has_bytes;                              ///< the upstream sent something
    bool has_head;                               ///< the final response head arrived
    bool is_refused;                             ///< the upstream says that it has not looked at the request
    bool is_chunked;                             ///< the request body goes out in chunks
};

/// Starts the attempt: events, data, pool, req, res, connect_ms, wants_fresh and has_no_body are set, the rest is zero.
void peri_attempt_start(struct peri_attempt *attempt);

/// Sends request body bytes (tunnel bytes after a 101), borrowed for the call. False when the queue is above its high mark:
/// stop until on_drain. Only after on_ready.
bool peri_attempt_send_body(struct peri_attempt *attempt, struct peri_slice data);

/// Ends the request body, with trailers (may be NULL).
void peri_attempt_send_end(struct peri_attempt *attempt, const struct peri_headers *trailers);

/// Stops / resumes the delivery of response bytes; the inline one is for calls that mostly change nothing.
void peri_attempt_set_paused(struct peri_attempt *attempt, bool paused);
static inline void peri_attempt_pause(struct peri_attempt *attempt, bool paused)
{
    if (PERI_UNLIKELY(attempt->is_paused != paused))
        peri_attempt_set_paused(attempt, paused);
}

/// An attempt that failed: was nothing heard on a connection that had been in use before? Then it was closing when the request met
/// it, which says nothing about the endpoint.
static inline bool peri_attempt_is_stale(const struct peri_attempt *attempt)
{
    return attempt->is_reused && !attempt->has_bytes;
}

/// Ends the attempt and closes its connection; no event follows. No-op when it is over.
void peri_attempt_cancel(struct peri_attempt *attempt);

/// The attempt was not answered in time; before it is cancelled. An HTTP/2 connection on which nothing at all came meanwhile takes no more
/// requests until something does, and closes with its last one: the other end may be gone, which TCP finds out after minutes.
void peri_attempt_doubt(struct peri_attempt *attempt);

/// Makes `to`, which is over or was never started, what `from` is, wherever it stands; its response so far moves to `res`. `from` is over. From
/// any event of `from` but on_ready, on_end and on_error.
void peri_attempt_move(struct peri_attempt *to, struct peri_attempt *from, struct peri_response *res);

#endif
