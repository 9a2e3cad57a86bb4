// SPDX-License-Identifier: MIT
// First count, then look: the own share is stored before the others' are read, so of two workers at least one sees the other.
#include "upstream/breaker.h"

void peri_breaker_defaults(struct peri_breaker *breaker)
{
    for (unsigned first = 0; first < PERI_BREAKER_QUEUE; first += PERI_BREAKER_HIGH) {
        breaker->limits[first + PERI_BREAKER_CONNECTIONS] = 1024;
        breaker->limits[first + PERI_BREAKER_PENDING] = 1024;
        breaker->limits[first + PERI_BREAKER_REQUESTS] = 1024;
        breaker->limits[first + PERI_BREAKER_RETRIES] = 3;
    }
    breaker->limits[PERI_BREAKER_QUEUE] = 0;
}

static void add(int64_t *gauge, int64_t by)
{
    __atomic_store_n(gauge, *gauge + by, __ATOMIC_SEQ_CST);
}

bool peri_breaker_try(struct peri_breaker *breaker, enum peri_breaker_gauge gauge)
{
    int64_t *own = &breaker->cell->gauges[gauge];
    add(own, 1);
    if (peri_endpoints_gauge(breaker->shm, breaker->upstream, gauge) <= breaker->limits[gauge])
        return true;
    add(own, -1);
    return false;
}

bool peri_breaker_enter(struct peri_breaker *breaker, enum peri_breaker_gauge gauge)
{
    bool is_in = peri_breaker_try(breaker, gauge);
    breaker->cell->overflows[gauge] += !is_in;
    return is_in;
}

// A reset between two tests may have taken the count away.
void peri_breaker_leave(struct peri_breaker *breaker, enum peri_breaker_gauge gauge)
{
    if (breaker->cell->gauges[gauge] > 0)
        add(&breaker->cell->gauges[gauge], -1);
}
