// SPDX-License-Identifier: MIT
// Linkerd's peak-EWMA with two choices: of two endpoints at random the one with the lower cost
//
//   cost = estimate of the round trip * (attempts under way + 1) / share
//
// What fails or refuses quickly would look fast and draw the traffic ("429 black hole"): such a response counts as a round trip of
// 5 s, or of as long as it asks to be left alone. One that answers again is soon forgiven: otherwise an endpoint that is back, and
// does all the work, would be dearer than one that is gone and has nothing under way.
#include "base/attr.h"
#include "upstream/balancer.h"
#include "upstream/endpoint.h"
#include "upstream/random.h"
#include "upstream/verdict.h"

#define PENALTY_MS 5000

static struct peri_balancer *create(const struct peri_balancer_settings *settings, struct peri_endpoint_set all)
{
    PERI_UNUSED(all);
    return peri_balancer_alloc(&peri_balancer_ewma, settings, 0);
}

static double cost_of(const struct peri_balancer_settings *settings, struct peri_endpoint *endpoint, uint64_t now_ns)
{
    double estimate = peri_ewma_read(&endpoint->load, settings->ewma_default_ns, now_ns, settings->ewma_decay_ns);
    return estimate * ((double)*endpoint->active + 1.0) / (double)endpoint->share;
}

static struct peri_endpoint *pick(const struct peri_balancer *balancer, const struct peri_endpoint_set *set,
                                  const struct peri_balance_question *question)
{
    uint32_t i = peri_random_below(question->random, set->count);
    uint32_t k = peri_random_below(question->random, set->count - 1);
    struct peri_endpoint *a = set->items[i];
    struct peri_endpoint *b = set->items[k < i ? k : k + 1]; // never the same one
    double cost_a = cost_of(&balancer->settings, a, question->now_ns);
    return cost_of(&balancer->settings, b, question->now_ns) < cost_a ? b : a;
}

static uint64_t penalty_ns(const struct peri_result *result)
{
    uint64_t ms = result->res ? peri_verdict_pushback_ms(result->res) : 0;
    return (ms > PENALTY_MS ? ms : PENALTY_MS) * 1000000;
}

static void report(const struct peri_balancer *balancer, struct peri_endpoint *endpoint,
                   const struct peri_result *result)
{
    bool is_failure = result->res ? peri_verdict_is_failure(result->res) : result->err != PERI_ERR_CLIENT_GONE;
    uint64_t decay_ns = balancer->settings.ewma_decay_ns;
    if (is_failure)
        peri_ewma_penalise(&endpoint->load, penalty_ns(result), result->now_ns, decay_ns);
    else
        peri_ewma_update(&endpoint->load, result->latency_ns, result->now_ns, decay_ns);
}

const struct peri_balancer_type peri_balancer_ewma = {.name = "ewma", .create = create, .pick = pick, .report = report};
