// SPDX-License-Identifier: MIT
// What was decided about an exchange and why: the routes and their reasons, each hook's decision (_core/trace.lua), the rewrite and the
// attempts. An exchange has a trace (x->trace) only when somebody asked: `perigee explain`, POST /explain, or a client with the token
// of the setting `explain`. All else tests one pointer. Whoever wants the decisions as data reads struct peri_trace.
#ifndef PERI_PROXY_TRACE_H
#define PERI_PROXY_TRACE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/slice.h"

#define PERI_TRACE_ATTEMPTS 16     ///< attempts that are kept
#define PERI_TRACE_DECISIONS 65536 ///< bytes of decisions that are kept
#define PERI_TRACE_HEADER 8192     ///< most bytes of the response header

struct peri_exchange;
struct peri_json;
struct peri_route;

/// Why a route was or was not chosen.
struct peri_trace_candidate {
    const struct peri_route *route; ///< borrowed from the generation
    const char *reason;             ///< NULL for the one chosen (route/table.h)
};

/// One try to send the request.
struct peri_trace_attempt {
    struct peri_slice upstream;
    struct peri_slice endpoint;
    struct peri_slice choice; ///< why this endpoint
    struct peri_slice note;   ///< what followed from its result; empty for nothing
    uint64_t begin_ns;
    uint64_t end_ns; ///< 0: under way
    int status;      ///< 0: no response
    peri_err_t err;
};

/// One decision of a hook: a JSON object.
struct peri_trace_decision {
    struct peri_trace_decision *next;
    struct peri_slice json;
};

/// All of it is in the exchange's arena.
struct peri_trace {
    bool is_virtual;                             ///< nothing is sent: the way ends before the upstream
    bool has_arrived;                            ///< virtual: the request came to its upstream
    bool is_cut;                                 ///< something had no room
    struct peri_slice method, host, path, query; ///< as the routes saw them
    struct peri_trace_candidate *candidates;
    uint32_t candidate_count;
    struct peri_trace_decision *first, *last;
    size_t decision_bytes;
    bool is_rewritten;
    struct peri_slice from, to; ///< of the rewrite; `to` has no ptr when it failed
    struct peri_slice choice;   ///< why the endpoint of the coming attempt was chosen
    struct peri_trace_attempt attempts[PERI_TRACE_ATTEMPTS];
    uint32_t attempt_count;
    uint32_t present; ///< place of the attempt that results and notes are of
};

/// Gives the exchange a trace. PERI_ERR_NOMEM.
peri_err_t peri_trace_begin(struct peri_exchange *x, bool is_virtual);

/// A request under a generation with the setting `explain`: takes the header off, and begins a trace when it has the token.
void peri_trace_admit(struct peri_exchange *x);

/// The request was routed, and nothing has changed it yet: notes what the routes saw and why each was or was not chosen.
void peri_trace_route(struct peri_exchange *x);

/// A hook decided (peri_script_host.trace).
void peri_trace_add(struct peri_exchange *x, struct peri_slice json);

/// The path was rewritten from `from`, or could not be.
void peri_trace_rewrite(struct peri_exchange *x, struct peri_slice from, peri_err_t err);

/// An attempt begins.
void peri_trace_attempt(struct peri_exchange *x);

/// Results and notes are of the attempt at this place from now on. The place of the one before.
uint32_t peri_trace_turn_to(struct peri_exchange *x, uint32_t place);

/// The present attempt was answered with `status`, or broken off (0).
void peri_trace_result(struct peri_exchange *x, int status, peri_err_t err);

/// What follows from the result of the present attempt.
void peri_trace_note(struct peri_exchange *x, struct peri_slice note);

/// Does the way of an exchange with this trace (NULL for none) end before its upstream?
static inline bool peri_trace_is_virtual(const struct peri_trace *trace)
{
    return PERI_UNLIKELY(trace != NULL) && trace->is_virtual;
}

/// Puts what is known so far into the header of the response.
void peri_trace_put_header(struct peri_exchange *x);

/// Why no endpoint could be chosen, or null. Owned by the caller.
struct peri_json *peri_trace_view_lack(const struct peri_exchange *x);

/// The decisions as an array; the attempts as an array; the rewrite as an object, or null. Owned by the caller.
struct peri_json *peri_trace_view_decisions(const struct peri_trace *trace);
struct peri_json *peri_trace_view_attempts(const struct peri_trace *trace);
struct peri_json *peri_trace_view_rewrite(const struct peri_trace *trace);

#endif
