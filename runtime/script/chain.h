// SPDX-License-Identifier: MIT
// Runs the Lua steps of a route on an exchange: one call enters the VM on a pooled coroutine and comes back with a verdict,
// or PENDING when the script waits for something; the verdict then arrives through host->on_verdict from the event loop.
// Knows exchanges, not connections. The only way from the data path into Lua.
//
// Phases and what proxy/pipeline does with their verdicts:
//
//   REQUEST        on_request of each policy in order, around(), then target function or handler
//                    CONTINUE  go on to the target              REPLY   x->res and x->res_body hold the answer
//                    FORWARD   around() wants the upstream's response: forward, then peri_chain_resume_response
//                    FAIL      slot error set: answer x->facts.err
//   UPSTREAM       on_upstream before each attempt              CONTINUE / REPLY / FAIL
//   RESPONSE       on_response in reverse order                 CONTINUE / REPLY (replaces the response) / FAIL
//   REQUEST_BODY, RESPONSE_BODY   one chunk                     CONTINUE: `out` holds what to pass on / REPLY / FAIL
//   LOG            on_log; the exchange is read-only            CONTINUE
//
// With around() on a route, REQUEST covers the whole exchange: after FORWARD the same coroutine runs the response hooks, may
// ask for FORWARD again (the host drops the previous response and replays the request), and ends with CONTINUE (send the
// upstream's response in x->res) or REPLY.
#ifndef PERI_SCRIPT_CHAIN_H
#define PERI_SCRIPT_CHAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

struct peri_exchange;
struct peri_fetch;
struct peri_fetch_request;
struct peri_script_generation;

enum peri_phase {
    PERI_PHASE_REQUEST,
    PERI_PHASE_REQUEST_BODY,
    PERI_PHASE_UPSTREAM,
    PERI_PHASE_RESPONSE,
    PERI_PHASE_RESPONSE_BODY,
    PERI_PHASE_LOG,
    PERI_PHASE_COUNT
};

/// Bits of the "hooks" of a route: bit (1 << phase) says that a Lua step exists for the phase.
#define PERI_HOOK(phase) (1u << (phase))
/// The route has around(): REQUEST covers the response too, RESPONSE is never run apart.
#define PERI_HOOK_AROUND (1u << PERI_PHASE_COUNT)
/// Every around() of the route is a dry run: it asks for FORWARD once, so that the request need not be kept.
#define PERI_HOOK_AROUND_DRY (1u << (PERI_PHASE_COUNT + 1))
/// Every on_response_body, or on_request_body, is a dry run: the length of the body stays.
#define PERI_HOOK_RESPONSE_BODY_DRY (1u << (PERI_PHASE_COUNT + 2))
#define PERI_HOOK_REQUEST_BODY_DRY (1u << (PERI_PHASE_COUNT + 3))

enum peri_verdict {
    PERI_VERDICT_CONTINUE,
    PERI_VERDICT_REPLY,
    PERI_VERDICT_FORWARD,
    PERI_VERDICT_FAIL,
    PERI_VERDICT_PENDING,
};

enum peri_side { PERI_SIDE_REQUEST, PERI_SIDE_RESPONSE };

/// One chunk on its way through the body hooks.
struct peri_chain_chunk {
    struct peri_slice in;  ///< borrowed until the verdict
    bool is_last;          ///< no chunk follows
    struct peri_slice out; ///< set by the verdict: what to pass on; borrowed until the next call on this exchange
};

/// Enters the VM for `phase` of route number `chain` (index in the generation) of the exchange. The first entry gives x a
/// slot; peri_chain_end gives it back. `chunk` only for the body phases, borrowed until the verdict.
enum peri_verdict peri_chain_run(struct peri_script_generation *script, struct peri_exchange *x, uint32_t chain,
                                 enum peri_phase phase, struct peri_chain_chunk *chunk);

/// Continues the coroutine that gave FORWARD: the upstream's response head is in x->res (or, when err is not PERI_OK, the
/// runtime's own error answer is).
enum peri_verdict peri_chain_resume_response(struct peri_exchange *x, peri_err_t err);

/// Tells a script that waits in req.body:read / res.body:read that the whole body is queued in x->req_body / x->res_body
/// (err PERI_OK) or cannot be had (err). No-op when nobody waits.
void peri_chain_body_ready(struct peri_exchange *x, enum peri_side side, peri_err_t err);

/// The exchange is over, or aborted: drops suspended coroutines (their pending operations are cancelled) and invalidates every
/// Lua handle on it. Safe to call when Lua never saw the exchange. Must not be called from inside a VM entry.
void peri_chain_end(struct peri_exchange *x);

/// What the script layer asks of the proxy layer; given at construction of the VM. All are called from inside a VM entry and
/// must not call back into the chain.
struct peri_script_host {
    /// A PENDING run of `phase` ended. Called from the event loop.
    void (*on_verdict)(struct peri_exchange *x, enum peri_phase phase, enum peri_verdict verdict);
    /// The script wants the whole body of `side` queued, at most `limit` bytes. When it already is, returns PERI_OK; otherwise
    /// PERI_ERR_AGAIN, and peri_chain_body_ready is called later. Other errors: cannot be had.
    peri_err_t (*read_body)(struct peri_exchange *x, enum peri_side side, uint64_t limit);
    /// The script replaced the body of `side` by `data` (borrowed for the call).
    peri_err_t (*set_body)(struct peri_exchange *x, enum peri_side side, struct peri_slice data);
    /// The script lowered the limit of the request body to `limit` bytes: 413 beyond.
    void (*limit_body)(struct peri_exchange *x, uint64_t limit);
    /// The script chose the upstream (and, when not empty, the endpoint) of the exchange by name. PERI_ERR_NOT_FOUND.
    peri_err_t (*choose_upstream)(struct peri_exchange *x, struct peri_slice upstream, struct peri_slice endpoint);
    /// A script failed the exchange because of `text` (borrowed for the call).
    void (*note_failure)(struct peri_exchange *x, struct peri_slice text);
    /// Decides now which upstream the exchange goes to: its name; ptr is NULL for none.
    struct peri_slice (*target)(struct peri_exchange *x);
    /// The state of an endpoint of that upstream. PERI_ERR_NOT_FOUND beyond the last one.
    peri_err_t (*endpoint)(struct peri_exchange *x, uint32_t index, uint32_t *active, bool *is_available);
    /// The script wishes something of the choice of the endpoint (PERI_FFI_WISH_*; the text is borrowed for the call).
    peri_err_t (*wish)(struct peri_exchange *x, int32_t which, struct peri_slice text);
    /// The script set a limit (PERI_FFI_LIMIT_*) of the exchange, in milliseconds; 0 is none.
    peri_err_t (*limit)(struct peri_exchange *x, int32_t which, uint64_t ms);
    /// Starts an HTTP request for a script (see script/fetch.h).
    struct peri_fetch *(*fetch_start)(struct peri_fetch_request *request, peri_err_t *err);
    /// A decision of a hook, as a JSON object (borrowed for the call), for the trace of the exchange.
    void (*trace)(struct peri_exchange *x, struct peri_slice json);
    /// Cancels a fetch; its completion is not called any more.
    void (*fetch_cancel)(struct peri_fetch *fetch);
    /// Redis for the scripts of a generation (peri_script_set_generation).
    struct peri_redis *(*redis)(void *generation);
    /// Makes `list`, JSON, the endpoints of the upstream `name` of a generation. PERI_ERR_NOT_FOUND; PERI_ERR_CLOSED when they are not a
    /// script's to set; PERI_ERR_INVALID with the reason in `problem`.
    peri_err_t (*set_endpoints)(void *generation, struct peri_slice name, struct peri_slice list, char *problem,
                                size_t size);
    /// The endpoints of that upstream as a list in JSON, malloc'ed. NULL when there is no such upstream.
    char *(*endpoints)(void *generation, struct peri_slice name);
};

#endif
