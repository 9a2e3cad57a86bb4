// SPDX-License-Identifier: MIT
// The noun: one request and its response, whatever the protocol. Holds the data that every layer works on and the two
// sets of calls by which the layers meet: `client` (how to answer; given by the downstream connection) and `owner`
// (who drives; given by proxy/). Does no I/O and decides nothing.
//
//   downstream connection --creates--> exchange --owner->on_*--> proxy/pipeline
//   proxy/pipeline        --client->*--> downstream connection
#ifndef PERI_EXCHANGE_EXCHANGE_H
#define PERI_EXCHANGE_EXCHANGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/list.h"
#include "codec/message.h"
#include "exchange/body.h"
#include "exchange/flags.h"

struct peri_exchange;
struct peri_generation; // script/generation: what one reload produced
struct peri_route;      // route/: the matched route's plan
struct peri_slot;       // script/: the handle that Lua holds
struct peri_forward;    // proxy/: the state of the pipeline
struct peri_tls_info;   // event/: what a handshake agreed on
struct peri_grpc;       // proxy/: what a gRPC call needs beside the exchange
struct peri_wish;       // upstream/: what scripts wish of the choice of the endpoint
struct peri_trace;      // proxy/: what was decided, when somebody asked

#define PERI_CAPTURES_MAX 16

// The life of an exchange. `peri_exchange_set_state` asserts that a change is legal.
#define PERI_EXCHANGE_STATES(X)                                                                                        \
    X(PERI_X_IDLE, "idle")         /* in the pool */                                                                   \
    X(PERI_X_REQUEST, "request")   /* head received; route and request hooks run */                                    \
    X(PERI_X_FORWARD, "forward")   /* an attempt runs; no response head yet */                                         \
    X(PERI_X_RESPONSE, "response") /* response head known; response hooks run */                                       \
    X(PERI_X_SENDING, "sending")   /* head sent; body streams */                                                       \
    X(PERI_X_TUNNEL, "tunnel")     /* bytes pass both ways */                                                          \
    X(PERI_X_LOG, "log")           /* complete or aborted; log hooks run */                                            \
    X(PERI_X_DONE, "done")         /* nothing refers to it any more */

enum peri_exchange_state {
#define X(state, name) state,
    PERI_EXCHANGE_STATES(X)
#undef X
        PERI_X_STATE_COUNT
};

struct peri_client_addr {
    char ip[46]; ///< text form of the address, NUL-terminated; "unix" for unix sockets, "memory" in tests
    uint8_t ip_len;
    uint16_t port;
};

/// How the exchange's owner speaks to the client. Given by whoever created the exchange; every call is legal until
/// `release` was called or `owner->on_abort` was received.
struct peri_client_ops {
    /// Sends an interim response (1xx but 101); ignored for HTTP/1.0 clients.
    void (*send_interim)(struct peri_exchange *x, int status, const struct peri_headers *headers);
    /// Sends the head in x->res. With `ends` there is no body.
    void (*send_head)(struct peri_exchange *x, bool ends);
    /// Sends body bytes (borrowed for the call). Returns false when the client's queue is above its high mark: the owner
    /// stops its source until owner->on_client_drain.
    bool (*send_body)(struct peri_exchange *x, struct peri_slice data);
    /// Ends the response, with x->res.trailers if any.
    void (*send_end)(struct peri_exchange *x);
    /// Stops / resumes delivery of request body bytes (or tunnel bytes).
    void (*pause_body)(struct peri_exchange *x, bool paused);
    /// Breaks the response off (connection closed or stream reset); owner->on_abort is not called.
    void (*reset)(struct peri_exchange *x, peri_err_t err);
    /// The owner is finished with the exchange; the client side may free it from now on.
    void (*release)(struct peri_exchange *x);
};

/// How the client side speaks to the exchange's owner. All run from the event loop, never from inside a client_ops call.
struct peri_owner_ops {
    /// The request head is in x->req. Called once, first.
    void (*on_request)(struct peri_exchange *x);
    /// Request body bytes, borrowed for the call (tunnel bytes after a 101).
    void (*on_body)(struct peri_exchange *x, struct peri_slice data);
    /// The request is complete; trailers are in x->req.trailers.
    void (*on_body_end)(struct peri_exchange *x);
    /// What send_body queued has gone below the low mark.
    void (*on_client_drain)(struct peri_exchange *x);
    /// The request could not be read and was answered with `err` by the client side; what was read of its head is in x->req.
    /// For logs and counters only: the exchange ends with this call. NULL: not of interest.
    void (*on_refused)(struct peri_exchange *x, peri_err_t err);
    /// The client went away, broke the protocol in the body or timed out (`err`). No client_ops call but `release` is legal any more.
    void (*on_abort)(struct peri_exchange *x, peri_err_t err);
};

/// What the access log, metrics and policies read about the way of an exchange.
struct peri_exchange_facts {
    uint64_t start_ns;          ///< monotonic; the first byte of the request was seen
    uint64_t upstream_ns;       ///< monotonic; the last attempt began; 0 for none
    uint64_t deadline_ns;       ///< monotonic; the client waits no longer; 0: nobody said
    uint64_t head_ns;           ///< monotonic; response head received from upstream; 0 for none
    uint64_t bytes_in;          ///< request body bytes
    uint64_t bytes_out;         ///< response body bytes
    uint32_t attempts;          ///< attempts made
    uint32_t flags;             ///< bits of enum peri_flag
    struct peri_grpc *grpc;     ///< the gRPC call, in the arena; NULL: it is none
    peri_err_t err;             ///< PERI_OK, or why the proxy itself answered or broke off
    struct peri_slice upstream; ///< name of the upstream; empty for none
    struct peri_slice endpoint; ///< text of the endpoint; empty for none
    struct peri_slice
        failure; ///< what failed in a script, in the arena; only kept where somebody shows it (`perigee dev`)
};

struct peri_exchange {
    struct peri_arena arena;
    enum peri_exchange_state state;
    uint64_t id; ///< unique in this worker's life

    struct peri_request req;
    struct peri_response res;
    struct peri_body req_body;
    struct peri_body res_body;

    const struct peri_client_ops *client;
    void *client_data; ///< borrowed by client_ops
    const struct peri_owner_ops *owner;
    void *owner_data; ///< borrowed by owner_ops: the server this exchange belongs to

    struct peri_client_addr peer;       ///< the connection's peer
    const struct peri_tls_info *tls;    ///< of the client's connection, borrowed from it; NULL without TLS
    struct peri_slice client_ip;        ///< after trusted hops; in the arena or in `peer`
    struct peri_slice request_id;       ///< empty until a policy or the error page sets it
    struct peri_slice consumer;         ///< authenticated name; empty for none
    struct peri_generation *generation; ///< referenced until the end
    const struct peri_route *route;     ///< borrowed from the generation; NULL for none
    struct peri_slice captures[PERI_CAPTURES_MAX];
    struct peri_slot *slot;       ///< set while Lua may hold a handle; NULL otherwise
    struct peri_forward *forward; ///< the pipeline's state, in the arena
    struct peri_wish *wish;       ///< in the arena; NULL for none
    struct peri_trace *trace;     ///< in the arena; NULL unless the exchange is explained
    struct peri_exchange_facts facts;
    struct peri_list link; ///< the client side's list
};

/// Takes a fresh exchange (from the worker's pool when there is one), in PERI_X_IDLE with empty heads whose memory is its
/// arena. NULL when out of memory.
struct peri_exchange *peri_exchange_new(void);

/// Gives everything back to the pool. The exchange is in PERI_X_DONE or PERI_X_IDLE.
void peri_exchange_free(struct peri_exchange *x);

/// Exchanges that are not in the pool: for those who look for leaks.
uint32_t peri_exchange_count(void);

/// Changes the state; asserts that the change is legal.
void peri_exchange_set_state(struct peri_exchange *x, enum peri_exchange_state state);

/// Name of a state, for traces.
const char *peri_exchange_state_name(enum peri_exchange_state state);

/// Frees the worker's pool of exchanges.
void peri_exchange_pool_close(void);

#endif
