// SPDX-License-Identifier: MIT
// nginx's smooth weighted round robin: everybody earns its share, the richest is chosen and pays the sum. Weights 5, 1, 1 give
// a a b a c a a, not a a a a a b c.
#include "base/attr.h"
#include "upstream/balancer.h"
#include "upstream/endpoint.h"

static struct peri_balancer *create(const struct peri_balancer_settings *settings, struct peri_endpoint_set all)
{
    PERI_UNUSED(all);
    return peri_balancer_alloc(&peri_balancer_round_robin, settings, 0);
}

static struct peri_endpoint *pick(const struct peri_balancer *balancer, const struct peri_endpoint_set *set,
                                  const struct peri_balance_question *question)
{
    PERI_UNUSED(balancer);
    PERI_UNUSED(question);
    struct peri_endpoint *best = NULL;
    for (uint32_t i = 0; i < set->count; i++) {
        struct peri_endpoint *endpoint = set->items[i];
        endpoint->current += endpoint->share;
        if (!best || endpoint->current > best->current)
            best = endpoint;
    }
    best->current -= (int64_t)set->shares;
    return best;
}

const struct peri_balancer_type peri_balancer_round_robin = {.name = "round_robin", .create = create, .pick = pick};
