// SPDX-License-Identifier: MIT
// Fuzzes gRPC's headers: a timeout that was read is written as one that is not longer and, read again, stays as it is; an encoded
// message is printable; a state that was read is one of an enum; the rest reads nothing beyond its text.
#include "codec/grpc.h"

#include "base/assert.h"
#include "codec/grpc_health.h"

/// The target. Reads exactly `size` bytes at `data`; always returns 0.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_timeout(struct peri_slice text)
{
    char out[PERI_GRPC_TIMEOUT_TEXT];
    uint64_t ns, written, again;
    if (peri_grpc_timeout_parse(text, &ns) != PERI_OK)
        return;
    size_t len = peri_grpc_timeout_format(ns, out);
    peri_assert(len <= sizeof out && peri_grpc_timeout_parse(peri_slice(out, len), &written) == PERI_OK);
    peri_assert(written <= ns);
    len = peri_grpc_timeout_format(written, out);
    peri_assert(peri_grpc_timeout_parse(peri_slice(out, len), &again) == PERI_OK && again == written);
}

static void check_message(struct peri_slice text)
{
    char out[3 * PERI_GRPC_MESSAGE_MAX];
    size_t len = peri_grpc_message_encode(text, out);
    peri_assert(len <= sizeof out);
    for (size_t i = 0; i < len; i++)
        peri_assert(out[i] >= 0x20 && out[i] <= 0x7e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct peri_slice text = peri_slice((const char *)data, size);
    check_timeout(text);
    check_message(text);
    peri_assert(peri_grpc_status_parse(text) < PERI_GRPC_STATUS_COUNT);
    peri_assert(peri_grpc_health_read(text) >= -1);
    peri_assert(peri_grpc_kind(text) <= PERI_GRPC_WEB_TEXT);
    return 0;
}
