// SPDX-License-Identifier: MIT
// Fuzzes the replies of Redis: the same bytes give the same replies however they are cut, replies are whole and within their bounds, and
// after an error nothing follows.
#include "event/redis_reply.h"

#include <stdint.h>
#include <stdlib.h>

#include "base/assert.h"

/// The target. Reads exactly `size` bytes at `data`; always returns 0.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct summary {
    uint64_t digest;
    uint32_t replies;
    peri_err_t err;
};

static void digest_add(struct summary *summary, const void *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        summary->digest = (summary->digest ^ ((const uint8_t *)bytes)[i]) * 1099511628211u;
}

// Walks a value; returns the place of the next one.
static uint32_t check_value(const struct peri_redis_reply *reply, uint32_t at, struct summary *summary)
{
    peri_assert(at < reply->count);
    const struct peri_redis_value *value = &reply->values[at++];
    struct peri_slice text = peri_redis_text(reply, value);
    peri_assert(text.len <= PERI_REDIS_REPLY_BYTES);
    digest_add(summary, &value->type, sizeof(value->type));
    digest_add(summary, &value->integer, sizeof(value->integer));
    digest_add(summary, text.ptr, text.len);
    for (uint32_t i = 0; i < value->count; i++)
        at = check_value(reply, at, summary);
    return at;
}

static struct summary read_all(const uint8_t *data, size_t size, size_t step)
{
    struct summary summary = {0};
    const struct peri_redis_reply *reply;
    struct peri_redis_reader *reader = peri_redis_reader_new();
    peri_assert(reader);
    for (size_t at = 0; at < size; at += step) {
        size_t len = size - at < step ? size - at : step;
        summary.err = peri_redis_reader_feed(reader, peri_slice((const char *)data + at, len));
        while (summary.err == PERI_OK) {
            summary.err = peri_redis_reader_next(reader, &reply);
            if (summary.err != PERI_OK)
                break;
            peri_assert(check_value(reply, 0, &summary) == reply->count && reply->count <= PERI_REDIS_REPLY_VALUES);
            summary.replies++;
        }
        if (summary.err != PERI_ERR_AGAIN)
            break;
    }
    peri_redis_reader_free(reader);
    return summary;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct summary whole = read_all(data, size, size ? size : 1), cut = read_all(data, size, 3);
    peri_assert(whole.replies == cut.replies && whole.digest == cut.digest && whole.err == cut.err);
    return 0;
}
