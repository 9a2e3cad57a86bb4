// SPDX-License-Identifier: MIT
// As in Envoy, an attempt without an answer is what it would be answered with: 5xx and gateway-error cover it too.
#include "upstream/retry.h"

#include "base/assert.h"
#include "base/attr.h"
#include "codec/message.h"
#include "upstream/attempt.h"
#include "upstream/backoff.h"
#include "upstream/random.h"
#include "upstream/verdict.h"

// A word of `on`, and the bit it stands for.
struct word {
    struct peri_slice text;
    uint32_t bit;
};

static const struct word conditions[] = {
    {{"5xx", 3}, PERI_RETRY_5XX},
    {{"gateway-error", 13}, PERI_RETRY_GATEWAY},
    {{"reset", 5}, PERI_RETRY_RESET},
    {{"connect-failure", 15}, PERI_RETRY_CONNECT},
    {{"refused-stream", 14}, PERI_RETRY_REFUSED},
    {{"retriable-4xx", 13}, PERI_RETRY_RETRIABLE_4XX},
};

static const struct word grpc_statuses[] = {
    {{"cancelled", 9}, 1u << 1}, {{"deadline-exceeded", 17}, 1u << 4}, {{"resource-exhausted", 18}, 1u << 8},
    {{"internal", 8}, 1u << 13}, {{"unavailable", 11}, 1u << 14},
};

static uint32_t find_bit(const struct word *words, size_t count, struct peri_slice text)
{
    for (size_t i = 0; i < count; i++)
        if (peri_slice_eq(words[i].text, text))
            return words[i].bit;
    return 0;
}

static bool add_status(struct peri_retry_settings *settings, struct peri_slice text)
{
    unsigned status = 0;
    for (size_t i = 0; i < text.len && i < 4; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return false;
        status = status * 10 + (unsigned)(text.ptr[i] - '0');
    }
    if (text.len != 3 || status < 100 || status > 599)
        return false;
    settings->statuses[(status - 100) / 64] |= UINT64_C(1) << (status - 100) % 64;
    return true;
}

bool peri_retry_add(struct peri_retry_settings *settings, struct peri_slice word)
{
    uint32_t on = find_bit(conditions, PERI_COUNT(conditions), word);
    uint32_t grpc = find_bit(grpc_statuses, PERI_COUNT(grpc_statuses), word);
    settings->on |= on;
    settings->grpc |= grpc;
    return on || grpc || add_status(settings, word);
}

static bool wants_status(const struct peri_retry_settings *settings, int status)
{
    if (status >= 500 && settings->on & PERI_RETRY_5XX)
        return true;
    if (status >= 502 && status <= 504 && settings->on & PERI_RETRY_GATEWAY)
        return true;
    if (status == 409 && settings->on & PERI_RETRY_RETRIABLE_4XX)
        return true;
    unsigned index = (unsigned)status - 100u;
    return index < 500 && settings->statuses[index / 64] >> index % 64 & 1;
}

bool peri_retry_wants_response(const struct peri_retry_settings *settings, const struct peri_response *res)
{
    if (wants_status(settings, res->status))
        return true;
    uint64_t grpc = settings->grpc ? peri_verdict_grpc_status(res) : UINT64_MAX;
    return grpc < 32 && settings->grpc >> grpc & 1 && !peri_verdict_forbids_retry(res);
}

bool peri_retry_wants_error(const struct peri_retry_settings *settings, const struct peri_attempt *attempt,
                            peri_err_t err)
{
    uint32_t on = PERI_RETRY_5XX | PERI_RETRY_GATEWAY | PERI_RETRY_RESET;
    bool is_safe = !attempt->is_ready; // nothing of it left
    switch (err) {
    case PERI_ERR_RESOLVE:
    case PERI_ERR_CONNECT:
    case PERI_ERR_CONNECT_TIMEOUT:
    case PERI_ERR_TLS: on |= PERI_RETRY_CONNECT; break;
    case PERI_ERR_UPSTREAM_RESET:
    case PERI_ERR_UPSTREAM_PROTOCOL:
    case PERI_ERR_UPSTREAM_TIMEOUT: break;
    default: return false;
    }
    if (attempt->is_refused) {
        on |= PERI_RETRY_REFUSED;
        is_safe = true; // RFC 9113 8.7: nobody looked at it
    }
    is_safe = is_safe || settings->has_non_idempotent || peri_method_is_idempotent(attempt->req->method);
    return is_safe && settings->on & on;
}

uint64_t peri_retry_delay_ms(const struct peri_retry_settings *settings, uint32_t retry, uint64_t pushback_ms,
                             uint64_t *random)
{
    peri_debug_assert(pushback_ms <= PERI_PUSHBACK_MAX_MS);
    if (pushback_ms > 0)
        return pushback_ms + peri_random_below(random, (uint32_t)(pushback_ms / 2 + 1));
    if (settings->base_ms == 0)
        return 0;
    return peri_backoff_ms(settings->base_ms, settings->max_ms, retry, random);
}
