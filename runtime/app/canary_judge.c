// SPDX-License-Identifier: MIT
// The three comparisons are one question: are `bad` of `all` exchanges more than the share `allowed` explains?
#include "app/canary_judge.h"

#include <stdio.h>

#include "base/assert.h"

#define NS_PER_MS 1000000.0
#define SLOW_MS 10.0     // a difference that nobody feels, and that a cold start explains
#define SLOW_SHARE 0.01  // beyond the 99th percentile
#define EARLY_SIGMAS 3.0 // asked every 100 ms: chance has many tries
#define FINAL_SIGMAS 2.0 // asked once
#define ERROR_SIGMAS 1.0 // asked once, and the bound is written in the configuration

static double share(uint64_t part, uint64_t all)
{
    return all > 0 ? (double)part / (double)all : 0;
}

// Is `bad` more than `all` * `allowed` and `spare`, by `sigmas` standard deviations of a share of `allowed`?
static bool is_beyond(uint64_t bad, uint64_t all, double allowed, double sigmas, double spare)
{
    double p = allowed < 1 ? allowed : 1;
    double mean = (double)all * p;
    double excess = (double)bad - mean - spare;
    return bad > 1 && excess > 0 && excess * excess > sigmas * sigmas * mean * (1 - p);
}

static uint64_t sum_durations(const struct peri_canary_counts *counts)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < PERI_CANARY_BUCKETS; i++)
        sum += counts->buckets[i];
    return sum;
}

uint64_t peri_canary_p99_ns(const struct peri_canary_counts *counts)
{
    uint64_t all = sum_durations(counts);
    uint64_t rank = all - all / 100; // as many are at most as long
    uint64_t sum = 0;
    for (unsigned i = 0; i < PERI_CANARY_BUCKETS && all > 0; i++) {
        sum += counts->buckets[i];
        if (sum >= rank)
            return peri_canary_bound_ns(i);
    }
    return 0;
}

// Exchanges whose duration is certainly longer than `ns`.
static uint64_t count_slower(const struct peri_canary_counts *counts, double ns)
{
    uint64_t slower = counts->buckets[PERI_CANARY_BUCKETS - 1];
    for (unsigned i = 1; i < PERI_CANARY_BUCKETS - 1; i++)
        if ((double)peri_canary_bound_ns(i - 1) >= ns)
            slower += counts->buckets[i];
    return slower;
}

static bool has_more_errors(const struct peri_canary_case *c, char *reason, size_t size)
{
    const struct peri_canary_counts *old = &c->counts.sides[PERI_CANARY_OLD];
    const struct peri_canary_counts *new = &c->counts.sides[PERI_CANARY_NEW];
    double allowed = share(old->errors, old->ended) + c->max_errors;
    double sigmas = c->is_over ? ERROR_SIGMAS : EARLY_SIGMAS;
    if (!is_beyond(new->errors, new->ended, allowed, sigmas, c->is_over ? 0 : 1))
        return false;
    snprintf(
        reason, size,
        "%llu of %llu exchanges of generation %llu failed (%.1f %%), and %llu of %llu of generation %llu (%.1f %%); "
        "allowed are %.1f %% more",
        (unsigned long long)new->errors, (unsigned long long)new->ended, (unsigned long long)c->counts.generation,
        100 * share(new->errors, new->ended), (unsigned long long)old->errors, (unsigned long long)old->ended,
        (unsigned long long)c->serving, 100 * share(old->errors, old->ended), 100 * c->max_errors);
    return true;
}

static bool is_slower(const struct peri_canary_case *c, char *reason, size_t size)
{
    const struct peri_canary_counts *old = &c->counts.sides[PERI_CANARY_OLD];
    const struct peri_canary_counts *new = &c->counts.sides[PERI_CANARY_NEW];
    double p99 = (double)peri_canary_p99_ns(old);
    double limit = p99 * c->max_slowdown;
    if (limit < p99 + SLOW_MS * NS_PER_MS)
        limit = p99 + SLOW_MS * NS_PER_MS;
    uint64_t slower = count_slower(new, limit);
    double sigmas = c->is_over ? FINAL_SIGMAS : EARLY_SIGMAS;
    if (sum_durations(old) <= PERI_CANARY_SAMPLES || !is_beyond(slower, sum_durations(new), SLOW_SHARE, sigmas, 1))
        return false;
    snprintf(reason, size,
             "%llu of %llu exchanges of generation %llu took longer than %.0f ms (99th percentile %.0f ms); that of "
             "generation %llu is %.0f ms, allowed are %g times as much",
             (unsigned long long)slower, (unsigned long long)sum_durations(new),
             (unsigned long long)c->counts.generation, limit / NS_PER_MS, (double)peri_canary_p99_ns(new) / NS_PER_MS,
             (unsigned long long)c->serving, p99 / NS_PER_MS, c->max_slowdown);
    return true;
}

static uint64_t count_open(const struct peri_canary_counts *counts)
{
    return counts->begun > counts->ended ? counts->begun - counts->ended : 0;
}

static bool does_not_end(const struct peri_canary_case *c, char *reason, size_t size)
{
    const struct peri_canary_counts *old = &c->counts.sides[PERI_CANARY_OLD];
    const struct peri_canary_counts *new = &c->counts.sides[PERI_CANARY_NEW];
    double allowed = share(count_open(old), old->begun) * c->max_slowdown + c->max_errors;
    if (!c->is_over || !is_beyond(count_open(new), new->begun, allowed, FINAL_SIGMAS, 1))
        return false;
    snprintf(
        reason, size, "%llu of %llu exchanges of generation %llu have not ended, and %llu of %llu of generation %llu",
        (unsigned long long)count_open(new), (unsigned long long)new->begun, (unsigned long long)c->counts.generation,
        (unsigned long long)count_open(old), (unsigned long long)old->begun, (unsigned long long)c->serving);
    return true;
}

enum peri_canary_verdict peri_canary_judge(const struct peri_canary_case *c, char *reason, size_t size)
{
    peri_assert(size > 0 && c->max_slowdown >= 1);
    reason[0] = '\0';
    if (c->deaths >= PERI_CANARY_DEATHS) {
        snprintf(reason, size, "%u workers ended while generation %llu was tried", c->deaths,
                 (unsigned long long)c->counts.generation);
        return PERI_CANARY_GIVE_UP;
    }
    if (has_more_errors(c, reason, size) || is_slower(c, reason, size) || does_not_end(c, reason, size))
        return PERI_CANARY_GIVE_UP;
    return c->is_over ? PERI_CANARY_PROMOTE : PERI_CANARY_GO_ON;
}
