// SPDX-License-Identifier: MIT
// Fuzzes the PROXY protocol: the verdict over some bytes is that over any more of them, a header is as long as it says, and what
// was read is written and read again as the same.
#include "codec/proxy_protocol.h"

#include <stdlib.h>

#include "base/assert.h"

/// The target. Reads exactly `size` bytes at `data`; always returns 0.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_same(const struct peri_proxy_protocol *a, const struct peri_proxy_protocol *b)
{
    return a->has_addresses == b->has_addresses && a->source.version == b->source.version &&
           a->destination.version == b->destination.version && a->source_port == b->source_port &&
           a->destination_port == b->destination_port && memcmp(a->source.bytes, b->source.bytes, 16) == 0 &&
           memcmp(a->destination.bytes, b->destination.bytes, 16) == 0;
}

static void check_round(const struct peri_proxy_protocol *header)
{
    struct peri_proxy_protocol copy = *header, again;
    char text[PERI_PROXY_PROTOCOL_TEXT];
    size_t used;
    for (copy.version = 1; copy.version <= 2; copy.version++) {
        size_t len = peri_proxy_protocol_format(&copy, text);
        peri_assert(len < sizeof text);
        peri_assert(peri_proxy_protocol_parse(peri_slice(text, len), &again, &used) == PERI_OK);
        peri_assert(used == len && again.version == copy.version && is_same(&again, header));
    }
}

// Every begin of what was read as a header wants more; every begin of what was refused wants more up to one byte.
static void check_begins(struct peri_slice data, peri_err_t verdict, size_t whole)
{
    struct peri_proxy_protocol header;
    bool is_known = false;
    size_t len;
    for (size_t i = 0; i < data.len; i++) {
        char *copy = malloc(i ? i : 1);
        peri_assert(copy != NULL);
        memcpy(copy, data.ptr, i);
        peri_err_t err = peri_proxy_protocol_parse(peri_slice(copy, i), &header, &len);
        peri_assert(err == verdict || (err == PERI_ERR_AGAIN && !is_known));
        peri_assert(verdict != PERI_OK || (err == PERI_OK) == (i >= whole));
        is_known = err != PERI_ERR_AGAIN;
        free(copy);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct peri_slice text = peri_slice((const char *)data, size);
    struct peri_proxy_protocol header;
    size_t len;
    peri_err_t err = peri_proxy_protocol_parse(text, &header, &len);
    peri_assert(err != PERI_ERR_AGAIN || size < PERI_PROXY_PROTOCOL_MAX);
    if (err == PERI_OK) {
        peri_assert(len > 0 && len <= size && len <= PERI_PROXY_PROTOCOL_MAX);
        check_round(&header);
    }
    if (size <= PERI_PROXY_PROTOCOL_MAX)
        check_begins(text, err, len);
    return 0;
}
