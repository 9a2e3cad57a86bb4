// SPDX-License-Identifier: MIT
// After linkerd2-proxy (linkerd/app/outbound/src/http/breaker/). A run is found by "is now", as in outlier detection. The window is ten
// words, each of them a tenth of it: its number, and how many requests and failures it had; they are replaced as wholes, so workers
// need no lock.
#include "upstream/accrual.h"

#include "base/assert.h"
#include "upstream/random.h"

#define GRPC_LAST 16
#define COUNT_BITS 20
#define COUNT_MAX ((1u << COUNT_BITS) - 1)
#define STAMP_MASK ((1u << 24) - 1)

void peri_accrual_defaults(struct peri_accrual_settings *settings)
{
    *settings = (struct peri_accrual_settings){
        .failures = 7,
        .min_ms = 1000,
        .max_ms = 60000,
        .jitter = 0.5,
        .success_rate = 0.8,
        .window_ms = 10000,
        .min_requests = 5,
        .probe_ms = 60000,
    };
}

static bool is_grpc_failure(uint64_t grpc)
{
    switch (grpc) {
    case 4:  // DEADLINE_EXCEEDED
    case 7:  // PERMISSION_DENIED
    case 13: // INTERNAL
    case 14: // UNAVAILABLE
    case 15: // DATA_LOSS
        return true;
    default: return false;
    }
}

enum peri_accrual_verdict peri_accrual_judge(const struct peri_accrual_settings *settings, int status, uint64_t grpc)
{
    bool is_limited = status == 429 || grpc == 8; // RESOURCE_EXHAUSTED
    if (status >= 500 || (grpc <= GRPC_LAST && is_grpc_failure(grpc)))
        return PERI_ACCRUAL_FAILURE;
    return is_limited && settings->is_unified ? PERI_ACCRUAL_LIMITED : PERI_ACCRUAL_SUCCESS;
}

// ---- the window

struct tenth {
    uint32_t stamp; ///< number of the tenth, cut to 24 bits; 0: never used
    uint32_t total;
    uint32_t failed;
};

static struct tenth unpack(uint64_t word)
{
    return (struct tenth){
        (uint32_t)(word >> (2 * COUNT_BITS)) & STAMP_MASK,
        (uint32_t)(word >> COUNT_BITS) & COUNT_MAX,
        (uint32_t)word & COUNT_MAX,
    };
}

static uint64_t pack(struct tenth t)
{
    return (uint64_t)t.stamp << (2 * COUNT_BITS) | (uint64_t)t.total << COUNT_BITS | t.failed;
}

static uint64_t tenth_of(const struct peri_accrual_settings *settings, uint64_t now_ms)
{
    peri_debug_assert(settings->window_ms >= PERI_ACCRUAL_TENTHS);
    return now_ms / (settings->window_ms / PERI_ACCRUAL_TENTHS);
}

static uint32_t stamp_of(uint64_t tenth)
{
    return (uint32_t)(tenth % STAMP_MASK) + 1;
}

static void add(struct peri_endpoint_accrual *accrual, uint64_t tenth, bool is_failure)
{
    uint64_t *word = &accrual->window[tenth % PERI_ACCRUAL_TENTHS];
    uint64_t old = __atomic_load_n(word, __ATOMIC_RELAXED), fresh;
    do {
        struct tenth t = unpack(old);
        if (t.stamp != stamp_of(tenth))
            t = (struct tenth){.stamp = stamp_of(tenth)};
        if (t.total == COUNT_MAX)
            return;
        t.total++;
        t.failed += is_failure;
        fresh = pack(t);
    } while (!__atomic_compare_exchange_n(word, &old, fresh, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
}

static bool is_rate_low(const struct peri_accrual_settings *settings, const struct peri_endpoint_accrual *accrual,
                        uint64_t tenth)
{
    uint64_t total = 0, failed = 0;
    for (uint64_t i = 0; i < PERI_ACCRUAL_TENTHS && i <= tenth; i++) {
        uint64_t at = tenth - i;
        struct tenth t = unpack(__atomic_load_n(&accrual->window[at % PERI_ACCRUAL_TENTHS], __ATOMIC_RELAXED));
        if (t.stamp != stamp_of(at))
            continue;
        total += t.total;
        failed += t.failed;
    }
    return total >= settings->min_requests && (double)(total - failed) < settings->success_rate * (double)total;
}

// ---- while it is open

static bool is_long_run(const struct peri_accrual_settings *settings, struct peri_endpoint_accrual *accrual,
                        enum peri_accrual_verdict verdict)
{
    if (verdict == PERI_ACCRUAL_FAILURE)
        return __atomic_add_fetch(&accrual->failures, 1, __ATOMIC_RELAXED) == settings->failures;
    if (verdict == PERI_ACCRUAL_SUCCESS && __atomic_load_n(&accrual->failures, __ATOMIC_RELAXED) != 0)
        __atomic_store_n(&accrual->failures, 0, __ATOMIC_RELAXED);
    return false;
}

enum peri_accrual_reason peri_accrual_count(const struct peri_accrual_settings *settings,
                                            struct peri_endpoint_accrual *accrual, enum peri_accrual_verdict verdict,
                                            uint64_t now_ms)
{
    if (verdict == PERI_ACCRUAL_NOTHING)
        return PERI_ACCRUAL_BY_NONE;
    uint64_t tenth = settings->is_unified ? tenth_of(settings, now_ms) : 0;
    if (settings->is_unified)
        add(accrual, tenth, verdict != PERI_ACCRUAL_SUCCESS);
    if (is_long_run(settings, accrual, verdict))
        return PERI_ACCRUAL_BY_RUN;
    bool is_bad = settings->is_unified && verdict != PERI_ACCRUAL_SUCCESS;
    return is_bad && is_rate_low(settings, accrual, tenth) ? PERI_ACCRUAL_BY_RATE : PERI_ACCRUAL_BY_NONE;
}

// ---- changes

// Whoever sees the state sees the flag that belongs to it: it is set before, and taken away after.
static void set_state(struct peri_endpoint_row *row, enum peri_accrual_state state)
{
    bool is_shut = state != PERI_ACCRUAL_OPEN && state != PERI_ACCRUAL_PROBATION;
    if (is_shut)
        __atomic_fetch_or(&row->flags, PERI_ENDPOINT_SHUT, __ATOMIC_RELEASE);
    __atomic_store_n(&row->accrual.state, (uint32_t)state, __ATOMIC_RELEASE);
    if (!is_shut)
        __atomic_fetch_and(&row->flags, ~(uint32_t)PERI_ENDPOINT_SHUT, __ATOMIC_RELEASE);
}

// min * 2^n, at most max, and the jitter.
static uint64_t wait_ms(const struct peri_accrual_settings *settings, uint32_t n, uint64_t *random)
{
    uint64_t ms = settings->min_ms;
    for (uint32_t i = 0; i < n && ms < settings->max_ms; i++)
        ms *= 2;
    ms = ms < settings->max_ms ? ms : settings->max_ms;
    return ms + peri_random_below(random, (uint32_t)((double)ms * settings->jitter) + 1);
}

static void shut(const struct peri_accrual_settings *settings, struct peri_endpoint_row *row,
                 enum peri_accrual_reason reason, uint64_t now_ms, uint64_t *random)
{
    struct peri_endpoint_accrual *accrual = &row->accrual;
    accrual->until_ms = now_ms + wait_ms(settings, accrual->backoff, random);
    accrual->backoff++;
    accrual->reason = reason;
    accrual->shuts++;
    set_state(row, PERI_ACCRUAL_SHUT);
}

bool peri_accrual_shut(const struct peri_accrual_settings *settings, struct peri_endpoint_row *row,
                       enum peri_accrual_reason reason, uint64_t now_ms, uint64_t *random)
{
    if (row->accrual.state != PERI_ACCRUAL_OPEN)
        return false;
    row->accrual.backoff = 0;
    shut(settings, row, reason, now_ms, random);
    return true;
}

static void open_again(struct peri_endpoint_row *row)
{
    struct peri_endpoint_accrual *accrual = &row->accrual;
    __atomic_store_n(&accrual->failures, 0, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < PERI_ACCRUAL_TENTHS; i++)
        __atomic_store_n(&accrual->window[i], 0, __ATOMIC_RELAXED);
    set_state(row, PERI_ACCRUAL_OPEN);
}

bool peri_accrual_tick(struct peri_endpoint_row *row, uint64_t now_ms)
{
    if (!peri_accrual_is_due(row, now_ms))
        return false;
    if (row->accrual.state == PERI_ACCRUAL_ANSWERING) {
        open_again(row);
        return true;
    }
    row->accrual.probe_ns = row->accrual.until_ms * 1000000;
    set_state(row, PERI_ACCRUAL_PROBATION);
    return true;
}

bool peri_accrual_claim(const struct peri_accrual_settings *settings, struct peri_endpoint_row *row, uint64_t now_ns)
{
    if (row->accrual.state != PERI_ACCRUAL_PROBATION)
        return false;
    row->accrual.probe_ns = now_ns;
    row->accrual.until_ms = now_ns / 1000000 + settings->probe_ms;
    set_state(row, PERI_ACCRUAL_PROBING);
    return true;
}

void peri_accrual_hear(struct peri_endpoint_row *row, uint64_t begun_ns)
{
    if (row->accrual.state == PERI_ACCRUAL_PROBING && begun_ns >= row->accrual.probe_ns)
        set_state(row, PERI_ACCRUAL_ANSWERING);
}

enum peri_accrual_state peri_accrual_resolve(const struct peri_accrual_settings *settings,
                                             struct peri_endpoint_row *row, enum peri_accrual_verdict verdict,
                                             uint64_t begun_ns, uint64_t now_ms, uint64_t *random)
{
    struct peri_endpoint_accrual *accrual = &row->accrual;
    bool is_tried = accrual->state != PERI_ACCRUAL_OPEN && accrual->state != PERI_ACCRUAL_SHUT;
    if (!is_tried || begun_ns < accrual->probe_ns)
        return (enum peri_accrual_state)accrual->state;
    if (verdict == PERI_ACCRUAL_SUCCESS)
        open_again(row);
    else if (verdict == PERI_ACCRUAL_NOTHING)
        set_state(row, PERI_ACCRUAL_PROBATION);
    else
        shut(settings, row, PERI_ACCRUAL_BY_PROBATION, now_ms, random);
    return (enum peri_accrual_state)accrual->state;
}

void peri_accrual_forget(struct peri_endpoint_row *row)
{
    open_again(row);
    row->accrual.backoff = 0;
}
