// SPDX-License-Identifier: MIT
// Fuzzes addresses and networks: the canonical text of an address reads back as the same address, and a network that is
// accepted holds the address it was written with.
#include "codec/ip.h"

#include <string.h>

#include "base/assert.h"

/// The target. Reads exactly `size` bytes at `data`; always returns 0.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_address(struct peri_slice text)
{
    struct peri_ip ip, again;
    char canonical[PERI_IP_TEXT];
    if (peri_ip_parse(text, &ip) != PERI_OK)
        return;
    peri_ip_format(&ip, canonical);
    peri_assert(peri_ip_parse(peri_slice_from(canonical), &again) == PERI_OK);
    peri_assert(again.version == ip.version && memcmp(again.bytes, ip.bytes, sizeof ip.bytes) == 0);
}

static void check_network(struct peri_slice text)
{
    struct peri_ip_set *set = peri_ip_set_new();
    char message[32];
    struct peri_ip ip;
    peri_assert(set != NULL);
    if (peri_ip_set_add(set, text, message, sizeof message) == PERI_OK) {
        const char *slash = memchr(text.ptr, '/', text.len);
        struct peri_slice address = peri_slice(text.ptr, slash ? (size_t)(slash - text.ptr) : text.len);
        peri_assert(peri_ip_parse(address, &ip) == PERI_OK);
        peri_assert(peri_ip_set_contains(set, &ip));
    }
    peri_ip_set_free(set);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct peri_slice text = peri_slice((const char *)data, size);
    check_address(text);
    check_network(text);
    return 0;
}
