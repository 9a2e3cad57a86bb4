// SPDX-License-Identifier: MIT
// Reads numbers of upstreams: anything but plain digits is no number, and no number is too large.
#include "upstream/verdict.h"

#include "codec/message.h"

#define PUSHBACK PERI_SLICE("grpc-retry-pushback-ms")

// A number of digits only, at most `max`; UINT64_MAX for anything else.
static uint64_t read_number(struct peri_slice text, uint64_t max)
{
    uint64_t number = 0;
    if (text.len == 0)
        return UINT64_MAX;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return UINT64_MAX;
        number = number * 10 + (uint64_t)(text.ptr[i] - '0');
        number = number > max ? max : number;
    }
    return number;
}

static struct peri_slice find(const struct peri_headers *headers, struct peri_slice name)
{
    const struct peri_header *h = peri_headers_find_name(headers, name, 0, NULL);
    return h ? peri_slice_trim(peri_slice(h->value, h->value_len)) : peri_slice(NULL, 0);
}

static bool is_grpc(const struct peri_response *res)
{
    return peri_slice_starts(peri_headers_get(&res->headers, PERI_H_CONTENT_TYPE), PERI_SLICE("application/grpc"));
}

uint64_t peri_verdict_grpc_status(const struct peri_response *res)
{
    return is_grpc(res) ? read_number(find(&res->headers, PERI_SLICE("grpc-status")), 100) : UINT64_MAX;
}

bool peri_verdict_is_open(const struct peri_response *res)
{
    return is_grpc(res) && !find(&res->headers, PERI_SLICE("grpc-status")).ptr;
}

uint64_t peri_verdict_trailer_status(const struct peri_response *res)
{
    return read_number(find(&res->trailers, PERI_SLICE("grpc-status")), 100);
}

bool peri_verdict_is_failure(const struct peri_response *res)
{
    if (res->status == 429 || res->status >= 500)
        return true;
    switch (peri_verdict_grpc_status(res)) {
    case 2:  // UNKNOWN
    case 4:  // DEADLINE_EXCEEDED
    case 8:  // RESOURCE_EXHAUSTED
    case 13: // INTERNAL
    case 14: // UNAVAILABLE
    case 15: // DATA_LOSS
        return true;
    default: return false;
    }
}

bool peri_verdict_forbids_retry(const struct peri_response *res)
{
    struct peri_slice pushback = find(&res->headers, PUSHBACK);
    return pushback.ptr && is_grpc(res) && read_number(pushback, PERI_PUSHBACK_MAX_MS) == UINT64_MAX;
}

uint64_t peri_verdict_pushback_ms(const struct peri_response *res)
{
    struct peri_slice after = peri_slice_trim(peri_headers_get(&res->headers, PERI_H_RETRY_AFTER));
    uint64_t ms = read_number(after, PERI_PUSHBACK_MAX_MS / 1000);
    if (ms != UINT64_MAX)
        return ms * 1000;
    ms = is_grpc(res) ? read_number(find(&res->headers, PUSHBACK), PERI_PUSHBACK_MAX_MS) : UINT64_MAX;
    return ms != UINT64_MAX ? ms : 0;
}
