// SPDX-License-Identifier: MIT
// Answers of DNS servers about services: whatever comes is refused or within its bounds.
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "event/dns_srv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct peri_dns_service service;
    if (peri_dns_srv_read(data, size, &service) != PERI_OK)
        return 0;
    peri_assert(service.count <= PERI_DNS_TARGETS && service.ttl_ms >= 1000 && service.ttl_ms <= 300000);
    for (unsigned i = 0; i < service.count; i++)
        peri_assert(service.targets[i].port > 0 && strlen(service.targets[i].host) > 0);
    return 0;
}
