// SPDX-License-Identifier: MIT
// Shares are dealt out as a line is drawn on a grid: what is due grows with every exchange, and one goes to the candidate
// when a whole one is due.
#include "proxy/canary.h"

#include "base/assert.h"
#include "exchange/exchange.h"
#include "proxy/forward.h"
#include "proxy/server_internal.h"
#include "shared/metrics.h"

struct peri_generation *peri_canary_choose(struct peri_server *server, struct peri_exchange *x)
{
    struct peri_canary *canary = &server->canary;
    enum peri_canary_side side = PERI_CANARY_OLD;
    peri_assert(server->candidate && server->candidate->number == canary->generation);
    canary->due += canary->share;
    if (canary->due >= PERI_CANARY_WHOLE) {
        canary->due -= PERI_CANARY_WHOLE;
        side = PERI_CANARY_NEW;
    }
    x->forward->canary = canary->generation;
    server->page->canary.sides[side].begun++;
    return side == PERI_CANARY_NEW ? server->candidate : server->current;
}

static bool is_error(const struct peri_exchange *x, int status)
{
    return status >= 500 || (x->facts.err != PERI_OK && peri_err_info(x->facts.err)->status >= 500);
}

void peri_canary_count(struct peri_server *server, const struct peri_exchange *x, int status, uint64_t ns)
{
    const struct peri_canary *canary = &server->canary;
    if (canary->share == 0 || x->forward->canary != canary->generation)
        return;
    bool is_new = x->generation->number == canary->generation;
    struct peri_canary_counts *counts = &server->page->canary.sides[is_new ? PERI_CANARY_NEW : PERI_CANARY_OLD];
    counts->ended++;
    counts->errors += is_error(x, status);
    if (status >= 200) // a tunnel takes as long as it is wanted
        counts->buckets[peri_canary_bucket(ns)]++;
}
