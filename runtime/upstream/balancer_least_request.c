// SPDX-License-Identifier: MIT
// The endpoint with fewer attempts under way, as Envoy does it: of two at random when all weights are equal (the power of two
// choices: nearly as good as the least of all, without everybody running to the same one); otherwise by turns in which a share
// counts as share / (active + 1).
#include "base/attr.h"
#include "upstream/balancer.h"
#include "upstream/endpoint.h"

static struct peri_balancer *create(const struct peri_balancer_settings *settings, struct peri_endpoint_set all)
{
    PERI_UNUSED(all);
    return peri_balancer_alloc(&peri_balancer_least_request, settings, 0);
}

static struct peri_endpoint *pick_of_two(const struct peri_endpoint_set *set, uint64_t *random)
{
    struct peri_endpoint *a = peri_endpoint_set_random(set, random);
    struct peri_endpoint *b = peri_endpoint_set_random(set, random);
    return *b->active < *a->active ? b : a;
}

static struct peri_endpoint *pick_by_turns(const struct peri_endpoint_set *set)
{
    struct peri_endpoint *best = NULL;
    int64_t sum = 0;
    for (uint32_t i = 0; i < set->count; i++) {
        struct peri_endpoint *endpoint = set->items[i];
        int64_t share = (int64_t)endpoint->share * PERI_SHARE_UNIT / ((int64_t)*endpoint->active + 1);
        endpoint->current += share;
        sum += share;
        if (!best || endpoint->current > best->current)
            best = endpoint;
    }
    best->current -= sum;
    return best;
}

static struct peri_endpoint *pick(const struct peri_balancer *balancer, const struct peri_endpoint_set *set,
                                  const struct peri_balance_question *question)
{
    PERI_UNUSED(balancer);
    return set->is_even ? pick_of_two(set, question->random) : pick_by_turns(set);
}

const struct peri_balancer_type peri_balancer_least_request = {.name = "least_request", .create = create, .pick = pick};
