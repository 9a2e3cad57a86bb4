// SPDX-License-Identifier: MIT
// The state of an exchange on its way, and the movement of bodies between client, Lua and upstream. proxy/pipeline decides what
// comes next; this file moves bytes and keeps the queues bounded. Nobody outside proxy/ includes this.
#ifndef PERI_PROXY_FORWARD_H
#define PERI_PROXY_FORWARD_H

#include <stdbool.h>
#include <stdint.h>

#include "event/timer.h"
#include "exchange/exchange.h"
#include "script/chain.h"
#include "upstream/attempt.h"

struct peri_endpoint;
struct peri_server;
struct peri_upstream;

struct peri_forward {
    struct peri_exchange *x;
    struct peri_server *server;
    struct peri_upstream *upstream; ///< chosen; NULL before
    struct peri_endpoint *endpoint; ///< chosen for the present attempt
    struct peri_attempt attempt;
    struct peri_timer timer; ///< response head, then idle
    struct peri_chain_chunk req_chunk;
    struct peri_chain_chunk res_chunk;
    uint64_t body_limit;       ///< request body bytes beyond which the answer is 413
    uint64_t read_limit[2];    ///< by side: a script reads the whole body, at most this; 0 when none does
    bool is_reading[2];        ///< by side: a script waits for the whole body
    bool is_replaced[2];       ///< by side: a script set the body; what still arrives is dropped
    bool is_started;           ///< an attempt runs
    bool is_retried;           ///< the stale connection was replaced once
    bool is_rewritten;         ///< the path is the upstream's
    bool has_sent_body;        ///< request body bytes left for an upstream
    bool has_sent_head;        ///< the client has the response head
    bool has_run_response;     ///< the response hooks ran
    bool awaits_response;      ///< around() waits for the upstream's response
    bool is_around;            ///< around() took over
    bool is_client_blocked;    ///< the client's queue is high
    bool is_upstream_blocked;  ///< the upstream's queue is high
    bool is_req_hook_running;  ///< a chunk is with the request body hooks
    bool is_res_hook_running;  ///< a chunk is with the response body hooks
    bool is_req_last_done;     ///< the request body hooks saw the last chunk
    bool is_res_last_done;     ///< the response body hooks saw the last chunk
    bool is_attempt_over;      ///< on_end or on_error of the attempt came
    bool is_answered;          ///< an error is the answer: verdicts of hooks that still run come too late
    peri_err_t broken;         ///< why the upstream's response will never be whole; PERI_OK while it may
    bool is_fetch;             ///< made by a script: not in the access log, not a request of a route
};

/// The hooks of the exchange's route; 0 without one.
uint32_t peri_forward_hooks(const struct peri_exchange *x);

/// Moves what is queued of the request body towards the upstream, as far as it takes it.
void peri_forward_pump_request(struct peri_exchange *x);

/// Moves what is queued of the response body towards the client; completes the exchange at the end.
void peri_forward_pump_response(struct peri_exchange *x);

/// Request body bytes from the client.
void peri_forward_on_request_body(struct peri_exchange *x, struct peri_slice data);

/// Response body bytes from the upstream.
void peri_forward_on_response_body(struct peri_exchange *x, struct peri_slice data);

/// The hooks are finished with the side's chunk: passes on what they made of it and goes on.
void peri_forward_end_chunk(struct peri_exchange *x, enum peri_side side);

/// Tells a reading script that the side's body is complete.
void peri_forward_on_body_complete(struct peri_exchange *x, enum peri_side side);

/// Lets the client send its body: 100 Continue when it waits for that, reading resumed when it was stopped.
void peri_forward_invite_body(struct peri_exchange *x);

/// Calls of a script (peri_script_host).
peri_err_t peri_forward_read_body(struct peri_exchange *x, enum peri_side side, uint64_t limit);
peri_err_t peri_forward_set_body(struct peri_exchange *x, enum peri_side side, struct peri_slice data);
void peri_forward_limit_body(struct peri_exchange *x, uint64_t limit);

#endif
