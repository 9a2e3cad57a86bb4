// SPDX-License-Identifier: MIT
// Times without limits of its own come from the route and the upstream. What is left goes out in grpc-timeout where the client sent one,
// and in the header that the upstream's setting names, less with each attempt.
#include "proxy/timing.h"

#include <stdio.h>

#include <perigee/ffi.h>

#include "base/log.h"
#include "event/loop.h"
#include "exchange/exchange.h"
#include "proxy/forward.h"
#include "proxy/grpc.h"
#include "proxy/pipeline.h"
#include "proxy/plan.h"
#include "proxy/retry.h"
#include "proxy/server_internal.h"
#include "proxy/trace.h"
#include "upstream/upstream.h"

#define NS_PER_MS 1000000u
#define TIMING_MAX_MS 86400000u ///< a longer one (a day) is this one

static uint64_t now_ns(const struct peri_forward *f)
{
    return peri_loop_now_ns(f->server->loop);
}

// ---- the end of all ----

static void on_end(struct peri_timer *timer)
{
    struct peri_timing *timing = PERI_CONTAINER(timer, struct peri_timing, timer);
    peri_pipeline_expire(timing->x, timing->err);
}

static struct peri_timing *timing_of(struct peri_exchange *x)
{
    struct peri_forward *f = x->forward;
    if (f->tries.timing)
        return f->tries.timing;
    struct peri_timing *timing = peri_arena_zalloc(&x->arena, sizeof(*timing));
    if (!timing)
        return NULL;
    timing->x = x;
    timing->end_ns = UINT64_MAX;
    timing->limits = (struct peri_timing_limits){PERI_ROUTE_INHERITS, PERI_ROUTE_INHERITS, PERI_ROUTE_INHERITS,
                                                 PERI_ROUTE_INHERITS, PERI_ROUTE_INHERITS};
    peri_timer_init(&timing->timer, on_end);
    f->tries.timing = timing;
    return timing;
}

// The exchange ends at `end_ns` because of `err`, or earlier. False without memory.
static bool bound(struct peri_exchange *x, uint64_t end_ns, peri_err_t err)
{
    struct peri_timing *timing = timing_of(x);
    uint64_t now = now_ns(x->forward);
    if (!timing || timing->end_ns <= end_ns)
        return timing != NULL;
    timing->end_ns = end_ns;
    timing->err = err;
    peri_timer_start(x->forward->server->loop, &timing->timer, end_ns > now ? (end_ns - now) / NS_PER_MS + 1 : 1);
    return true;
}

PERI_NOINLINE bool peri_timing_begin(struct peri_exchange *x)
{
    if (x->facts.deadline_ns == 0 || bound(x, x->facts.deadline_ns, PERI_ERR_DEADLINE))
        return true;
    peri_pipeline_fail(x, PERI_ERR_NOMEM);
    return false;
}

PERI_NOINLINE void peri_timing_end(struct peri_forward *f)
{
    peri_timer_stop(&f->tries.timing->timer);
}

// ---- what scripts set ----

static peri_err_t set_deadline(struct peri_exchange *x, uint64_t ms)
{
    uint64_t at = now_ns(x->forward) + ms * NS_PER_MS;
    if (x->facts.deadline_ns != 0 && x->facts.deadline_ns <= at)
        return PERI_OK;
    if (!bound(x, at, PERI_ERR_DEADLINE))
        return PERI_ERR_NOMEM;
    x->facts.deadline_ns = at;
    return PERI_OK;
}

peri_err_t peri_timing_set(struct peri_exchange *x, int32_t which, uint64_t ms)
{
    struct peri_timing *timing = timing_of(x);
    if (!timing)
        return PERI_ERR_NOMEM;
    ms = ms < TIMING_MAX_MS ? ms : TIMING_MAX_MS;
    switch (which) {
    case PERI_FFI_LIMIT_DEADLINE: return set_deadline(x, ms);
    case PERI_FFI_LIMIT_REQUEST: timing->limits.request = ms; return PERI_OK;
    case PERI_FFI_LIMIT_PER_TRY: timing->limits.per_try = ms; return PERI_OK;
    case PERI_FFI_LIMIT_IDLE: timing->limits.idle = ms; return PERI_OK;
    case PERI_FFI_LIMIT_STREAM: timing->limits.stream = ms; return PERI_OK;
    case PERI_FFI_LIMIT_HEDGE: timing->limits.hedge = ms; return PERI_OK;
    default: return PERI_ERR_INVALID;
    }
}

// ---- limits ----

// A script's limit, or the configuration's.
static uint64_t choose(uint64_t set, uint64_t configured)
{
    return set != PERI_ROUTE_INHERITS ? set : configured;
}

uint64_t peri_timing_request_ms(const struct peri_exchange *x)
{
    const struct peri_forward *f = x->forward;
    uint64_t ms = x->route ? x->route->request_ms : PERI_ROUTE_INHERITS;
    if (PERI_UNLIKELY(f->tries.timing != NULL))
        ms = choose(f->tries.timing->limits.request, ms);
    return choose(ms, f->upstream->request_ms);
}

uint64_t peri_timing_per_try_ms(const struct peri_forward *f, uint64_t configured)
{
    return f->tries.timing ? choose(f->tries.timing->limits.per_try, configured) : configured;
}

uint64_t peri_timing_hedge_ms(const struct peri_forward *f, uint64_t configured)
{
    return f->tries.timing ? choose(f->tries.timing->limits.hedge, configured) : configured;
}

static void start_timer(struct peri_forward *f, uint64_t ms)
{
    if (ms > 0)
        peri_timer_start(f->server->loop, &f->timer, ms);
    else
        peri_timer_stop(&f->timer);
}

void peri_timing_limit_attempt(struct peri_exchange *x, bool is_anew)
{
    struct peri_forward *f = x->forward;
    uint64_t ms = peri_timing_request_ms(x);
    if (PERI_UNLIKELY(f->tries.retry != NULL)) {
        peri_retry_arm(x, ms, is_anew);
        return;
    }
    if (PERI_UNLIKELY(f->tries.timing != NULL)) {
        uint64_t per_try = peri_timing_per_try_ms(f, 0);
        ms = per_try > 0 && (ms == 0 || per_try < ms) ? per_try : ms;
    }
    start_timer(f, ms);
}

void peri_timing_limit_idle(struct peri_forward *f)
{
    start_timer(f, PERI_UNLIKELY(f->tries.timing != NULL) ? choose(f->tries.timing->limits.idle, f->upstream->idle_ms)
                                                          : f->upstream->idle_ms);
}

// ---- what is told ----

// Milliseconds that the coming attempt has, at least 1; UINT64_MAX: no limit.
static uint64_t left_ms(const struct peri_exchange *x)
{
    const struct peri_forward *f = x->forward;
    uint64_t now = now_ns(f), request = peri_timing_request_ms(x);
    uint64_t end = request > 0 ? now + request * NS_PER_MS : UINT64_MAX, per_try = peri_retry_per_try_ms(f);
    if (f->tries.retry && f->tries.retry->deadline_ns > 0)
        end = f->tries.retry->deadline_ns;
    if (per_try > 0 && now + per_try * NS_PER_MS < end)
        end = now + per_try * NS_PER_MS;
    if (f->tries.timing && f->tries.timing->end_ns < end)
        end = f->tries.timing->end_ns;
    if (end == UINT64_MAX)
        return end;
    uint64_t ms = end > now ? (end - now) / NS_PER_MS : 0;
    return ms > 0 ? ms : 1;
}

static bool tell(struct peri_exchange *x, struct peri_slice name)
{
    char text[24];
    uint64_t ms = left_ms(x);
    if (ms == UINT64_MAX) {
        peri_headers_remove(&x->req.headers, name); // what a client says there is not for the server to believe
        return true;
    }
    int len = snprintf(text, sizeof(text), "%llu", (unsigned long long)(ms < TIMING_MAX_MS ? ms : TIMING_MAX_MS));
    return peri_headers_set(&x->req.headers, name, peri_slice(text, (size_t)len)) == PERI_OK;
}

bool peri_timing_send_on(struct peri_exchange *x)
{
    const struct peri_forward *f = x->forward;
    if (f->tries.timing && f->tries.timing->end_ns <= now_ns(f))
        return false;
    if (x->facts.grpc && !peri_grpc_send_on(x))
        return false;
    return f->upstream->deadline_header.len == 0 || tell(x, f->upstream->deadline_header);
}

// A script wants a hedge where nobody counts what hedges cost: said once.
static void check_hedge(struct peri_exchange *x)
{
    const struct peri_forward *f = x->forward;
    struct peri_upstream *upstream = f->upstream;
    if (peri_timing_hedge_ms(f, 0) == 0 || (upstream->guard && upstream->guard->has_retries))
        return;
    if (PERI_UNLIKELY(x->trace != NULL))
        peri_trace_note(x, PERI_SLICE("no hedge: the upstream has neither `hedge` nor `retries`"));
    if (!upstream->has_warned)
        peri_warn("upstream %.*s: a policy wants hedges, but it has neither `hedge` nor `retries`, which say what they "
                  "may cost",
                  (int)upstream->name.len, upstream->name.ptr);
    upstream->has_warned = true;
}

PERI_NOINLINE bool peri_timing_admit(struct peri_exchange *x)
{
    const struct peri_forward *f = x->forward;
    uint64_t stream =
        f->tries.timing ? choose(f->tries.timing->limits.stream, f->upstream->stream_ms) : f->upstream->stream_ms;
    check_hedge(x);
    if ((stream == 0 || bound(x, x->facts.start_ns + stream * NS_PER_MS, PERI_ERR_DURATION)) && peri_timing_send_on(x))
        return true;
    bool is_late = f->tries.timing && f->tries.timing->end_ns <= now_ns(f);
    peri_pipeline_fail(x, is_late ? f->tries.timing->err : PERI_ERR_NOMEM);
    return false;
}
