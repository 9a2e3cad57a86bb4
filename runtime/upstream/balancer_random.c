// SPDX-License-Identifier: MIT
// An endpoint at random, by share: no memory, and no two workers in step.
#include "base/attr.h"
#include "upstream/balancer.h"
#include "upstream/endpoint.h"

static struct peri_balancer *create(const struct peri_balancer_settings *settings, struct peri_endpoint_set all)
{
    PERI_UNUSED(all);
    return peri_balancer_alloc(&peri_balancer_random, settings, 0);
}

static struct peri_endpoint *pick(const struct peri_balancer *balancer, const struct peri_endpoint_set *set,
                                  const struct peri_balance_question *question)
{
    PERI_UNUSED(balancer);
    return peri_endpoint_set_random(set, question->random);
}

const struct peri_balancer_type peri_balancer_random = {.name = "random", .create = create, .pick = pick};
