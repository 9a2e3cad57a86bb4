// SPDX-License-Identifier: MIT
// The state of an exchange on its way, and the movement of bodies between client, Lua and upstream. proxy/pipeline decides what
// comes next; this file moves bytes and keeps the queues bounded. Nobody outside proxy/ includes this.
#ifndef PERI_PROXY_FORWARD_H
#define PERI_PROXY_FORWARD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "event/loop.h"
#include "event/timer.h"
#include "script/chain.h"
#include "upstream/attempt.h"
#include "upstream/guard.h"

struct peri_endpoint;
struct peri_exchange;
struct peri_hedge;
struct peri_retry;
struct peri_server;
struct peri_tap_record;
struct peri_timing;
struct peri_upstream;

/// One direction of the body, by side: the request's towards the upstream, the response's towards the client.
struct peri_flow {
    struct peri_chain_chunk chunk; ///< with the body hooks
    uint64_t read_limit;           ///< bytes that a script reads at most
    bool is_reading;               ///< a script waits for the whole body: nothing of it leaves meanwhile
    bool is_replaced;              ///< a script set the body; what still arrives is dropped
    bool is_blocked;               ///< the receiver's queue is high
    bool is_hook_running;          ///< `chunk` is with the hooks
    bool is_last_done;             ///< the hooks saw the last chunk
};

/// around(): what the hooks made of the request's body so far.
struct peri_filtered {
    struct peri_buf body;
    bool is_used;   ///< the body that is sent is this one
    bool is_broken; ///< it is not whole: memory was out
};

/// The attempts of an exchange.
struct peri_tries {
    struct peri_ticket ticket;  ///< of the present one
    struct peri_retry *retry;   ///< in the arena; NULL: the upstream has no `retries`
    struct peri_hedge *hedge;   ///< likewise; NULL: none was wanted so far
    struct peri_timing *timing; ///< likewise; NULL: only the configuration's limits hold
    bool is_stale_replaced;     ///< a connection that was closing was replaced, once
    bool is_probe;              ///< the endpoint is in probation and waits for the result of the present one
    bool is_unjudged;           ///< the end of the present one's response says what it means (peri_target_conclude)
};

struct peri_forward {
    struct peri_exchange *x;
    struct peri_server *server;
    struct peri_list link;          ///< in server->exchanges
    struct peri_upstream *upstream; ///< chosen; NULL before
    struct peri_endpoint *endpoint; ///< chosen for the present attempt
    struct peri_attempt attempt;
    struct peri_tries tries;
    struct peri_timer timer;  ///< response head, then idle; between attempts the back-off
    struct peri_defer pump;   ///< bodies move on, behind the scripts that were woken to read them
    struct peri_flow flow[2]; ///< by enum peri_side
    struct peri_filtered filtered;
    uint64_t body_limit;         ///< request body bytes beyond which the answer is 413
    uint64_t canary;             ///< number of the generation whose canary counts the exchange; 0 for none
    struct peri_tap_record *tap; ///< what is recorded of the exchange; NULL: nothing
    peri_err_t broken;           ///< why the upstream's response will never be whole; PERI_OK while it may
    bool is_started;             ///< an attempt was begun and not ended
    bool is_attempt_over;        ///< on_end or on_error of the attempt came
    bool is_rewritten;           ///< the path is the upstream's
    bool is_replayed;            ///< around() may ask again: the request body is kept whole
    bool is_answered;            ///< an error is the answer: verdicts of hooks that still run come too late
    bool is_fetch;               ///< made by a script, or to explain: not in the access log, not a request of a route
    bool awaits_response;        ///< around() waits for the upstream's response
    bool has_sent_body;          ///< request body bytes left for an upstream
    bool has_sent_head;          ///< the client has the response head
    bool has_run_response;       ///< the response hooks ran, or around() sees to them
};

/// The hooks of the exchange's route; 0 without one.
uint32_t peri_forward_hooks(const struct peri_exchange *x);

/// Moves what is queued of the request body towards the upstream, as far as it takes it. False when a hook decided otherwise:
/// the exchange may be gone.
bool peri_forward_pump_request(struct peri_exchange *x);

/// Moves what is queued of the response body towards the client; completes the exchange at the end. False when it is complete, or
/// a hook decided otherwise: the exchange may be gone.
bool peri_forward_pump_response(struct peri_exchange *x);

/// May the response in x->res go to the client? PERI_OK; why it broke off; or PERI_ERR_UPSTREAM_PROTOCOL for one that a client of
/// HTTP/2, which has no status 101, would take for an open WebSocket and is none.
peri_err_t peri_forward_check_response(const struct peri_exchange *x);

/// Request body bytes from the client.
void peri_forward_on_request_body(struct peri_exchange *x, struct peri_slice data);

/// Response body bytes from the upstream.
void peri_forward_on_response_body(struct peri_exchange *x, struct peri_slice data);

/// The hooks are finished with the side's chunk: passes on what they made of it and goes on.
void peri_forward_end_chunk(struct peri_exchange *x, enum peri_side side);

/// Tells a reading script that the side's body is complete.
void peri_forward_on_body_complete(struct peri_exchange *x, enum peri_side side);

/// Wakes the scripts that read the side's body: it is whole, or why it will not be. The body moves on after them.
void peri_forward_wake_reader(struct peri_exchange *x, enum peri_side side, peri_err_t err);

/// The pump of an exchange.
void peri_forward_on_pump(struct peri_defer *defer);

/// around(): lets the hooks see the whole request body, once, before it is first sent; what they make of it is what is sent each
/// time. False while they wait, or when they decided otherwise: the exchange may be gone.
bool peri_forward_filter_request(struct peri_exchange *x);

/// Lets the client send its body: 100 Continue when it waits for that, reading resumed when it was stopped.
void peri_forward_invite_body(struct peri_exchange *x);

/// Calls of a script (peri_script_host).
peri_err_t peri_forward_read_body(struct peri_exchange *x, enum peri_side side, uint64_t limit);
peri_err_t peri_forward_set_body(struct peri_exchange *x, enum peri_side side, struct peri_slice data);
void peri_forward_limit_body(struct peri_exchange *x, uint64_t limit);

/// Is the request's body, by its announced length, larger than a policy allows? Then none of it is asked for or sent on.
bool peri_forward_is_too_large(const struct peri_exchange *x);

#endif
