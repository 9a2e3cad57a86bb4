// SPDX-License-Identifier: MIT
// Fuzzes the look at a ClientHello: the verdict over some bytes is that over any more of them, what is found is well-formed, and a
// message that is cut into other records says the same.
//
// The first byte says how many bytes a record of the other cut has.
#include "codec/client_hello.h"

#include <stdlib.h>

#include "base/assert.h"

/// The target. Reads exactly `size` bytes at `data`; always returns 0.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_names(const struct peri_client_hello *hello)
{
    struct peri_slice protocol;
    size_t at = 0, used = 0;
    for (const char *c = hello->server_name; *c; c++)
        peri_assert(strchr("abcdefghijklmnopqrstuvwxyz0123456789-._", *c));
    while (peri_client_hello_next(hello, &at, &protocol)) {
        peri_assert(protocol.len > 0);
        used += 1 + protocol.len;
    }
    peri_assert(used == hello->alpn_len && used <= sizeof hello->alpn);
}

static void check_begins(struct peri_slice data, peri_err_t verdict)
{
    struct peri_client_hello hello;
    bool is_known = false;
    for (size_t i = 0; i < data.len; i++) {
        char *copy = malloc(i ? i : 1);
        peri_assert(copy != NULL);
        memcpy(copy, data.ptr, i);
        peri_err_t err = peri_client_hello_parse(peri_slice(copy, i), &hello);
        peri_assert(err == verdict || (err == PERI_ERR_AGAIN && !is_known));
        is_known = err != PERI_ERR_AGAIN;
        free(copy);
    }
}

// Cuts the payload of the records in `data` into records of `size` bytes.
static void check_cut(struct peri_slice data, size_t size, const struct peri_client_hello *hello)
{
    struct peri_client_hello again;
    char *payload = malloc(data.len), *records = malloc(6 * data.len);
    size_t len = 0, at = 0;
    peri_assert(payload != NULL && records != NULL);
    while (data.len >= 5) {
        size_t part = (size_t)(uint8_t)data.ptr[3] << 8 | (uint8_t)data.ptr[4];
        part = part < data.len - 5 ? part : data.len - 5;
        memcpy(payload + len, data.ptr + 5, part);
        len += part;
        data = peri_slice(data.ptr + 5 + part, data.len - 5 - part);
    }
    for (size_t i = 0; i < len; i += size) {
        size_t part = len - i < size ? len - i : size;
        memcpy(records + at, "\x16\x03\x01\0", 4);
        records[at + 4] = (char)part;
        memcpy(records + at + 5, payload + i, part);
        at += 5 + part;
    }
    peri_err_t err = peri_client_hello_parse(peri_slice(records, at), &again);
    peri_assert(err == PERI_OK || err == PERI_ERR_LIMIT);
    if (err == PERI_OK) {
        peri_assert(strcmp(again.server_name, hello->server_name) == 0 && again.alpn_len == hello->alpn_len);
        peri_assert(memcmp(again.alpn, hello->alpn, hello->alpn_len) == 0);
    }
    free(payload);
    free(records);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct peri_client_hello hello;
    if (size < 2)
        return 0;
    struct peri_slice text = peri_slice((const char *)data + 1, size - 1);
    peri_err_t err = peri_client_hello_parse(text, &hello);
    peri_assert(err != PERI_ERR_AGAIN || text.len <= PERI_CLIENT_HELLO_SEEN);
    if (err == PERI_OK) {
        check_names(&hello);
        check_cut(text, data[0] ? data[0] : 1, &hello);
    }
    if (text.len <= 2048)
        check_begins(text, err);
    return 0;
}
