// SPDX-License-Identifier: MIT
// A slot is one word: the number of its tenth of the ttl in the upper half, a signed balance in the lower one. It is replaced as a whole,
// so workers need no lock; two that withdraw at the same moment may both succeed on the last deposit, as in tower.
#include "upstream/retry_budget.h"

#include "base/assert.h"
#include "shared/endpoints.h"

bool peri_retry_concurrency_allows(const struct peri_retry_concurrency *budget, uint64_t active, uint64_t retries)
{
    double share = (double)active * budget->percent / 100.0;
    double limit = share > budget->min_concurrency ? share : budget->min_concurrency;
    return (double)retries < limit;
}

// ---- the rate

static int64_t deposit_of(const struct peri_retry_rate *budget)
{
    if (budget->ratio == 0)
        return 0;
    return budget->ratio <= 1 ? 1 : 1000;
}

static int64_t withdrawal_of(const struct peri_retry_rate *budget)
{
    if (budget->ratio == 0)
        return 1;
    return (int64_t)(budget->ratio <= 1 ? 1.0 / budget->ratio : 1000.0 / budget->ratio);
}

static uint32_t stamp_of(const struct peri_retry_rate *budget, uint64_t now_ms)
{
    peri_debug_assert(budget->ttl_ms >= PERI_BUDGET_SLOTS - 1);
    return (uint32_t)(now_ms / (budget->ttl_ms / (PERI_BUDGET_SLOTS - 1))) + 1; // 0 is a slot that was never used
}

static int32_t balance_of(uint64_t slot)
{
    return (int32_t)(uint32_t)slot;
}

static int64_t sum_of(const struct peri_retry_rate *budget, uint32_t stamp)
{
    int64_t sum = (int64_t)budget->min_per_second * (int64_t)(budget->ttl_ms / 1000) * withdrawal_of(budget);
    for (unsigned i = 0; i < PERI_BUDGET_SLOTS; i++) {
        uint64_t slot = __atomic_load_n(&budget->slots[i], __ATOMIC_RELAXED);
        if (stamp - (uint32_t)(slot >> 32) < PERI_BUDGET_SLOTS)
            sum += balance_of(slot);
    }
    return sum;
}

// Adds to the slot of the present, which begins at zero.
static void add(const struct peri_retry_rate *budget, uint32_t stamp, int64_t by)
{
    uint64_t *slot = &budget->slots[stamp % PERI_BUDGET_SLOTS];
    uint64_t old = __atomic_load_n(slot, __ATOMIC_RELAXED);
    uint64_t fresh;
    do {
        int64_t balance = ((uint32_t)(old >> 32) == stamp ? balance_of(old) : 0) + by;
        if (balance > INT32_MAX || balance < INT32_MIN)
            return;
        fresh = (uint64_t)stamp << 32 | (uint32_t)(int32_t)balance;
    } while (!__atomic_compare_exchange_n(slot, &old, fresh, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
}

void peri_retry_rate_deposit(const struct peri_retry_rate *budget, uint64_t now_ms)
{
    int64_t amount = deposit_of(budget);
    if (amount > 0)
        add(budget, stamp_of(budget, now_ms), amount);
}

bool peri_retry_rate_withdraw(const struct peri_retry_rate *budget, uint64_t now_ms)
{
    uint32_t stamp = stamp_of(budget, now_ms);
    int64_t amount = withdrawal_of(budget);
    if (sum_of(budget, stamp) < amount)
        return false;
    add(budget, stamp, -amount);
    return true;
}
