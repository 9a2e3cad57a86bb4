// SPDX-License-Identifier: MIT
// The arithmetic of priorities, panic, zones and slow start, by Envoy's rules. Pure: counts in, shares out.
#ifndef PERI_UPSTREAM_TIERS_H
#define PERI_UPSTREAM_TIERS_H

#include <stdbool.h>
#include <stdint.h>

#define PERI_OVERPROVISIONING 140 ///< per cent: 72 % of a priority's endpoints can still take all of its load
#define PERI_ZONE_MIN_SIZE 6      ///< fewer available endpoints are not divided by zone

/// The endpoints of one priority.
struct peri_tier {
    uint32_t total;
    uint32_t available;
    uint32_t load; ///< per cent of the requests
    bool is_panic; ///< so few are available that all are used
};

/// Sets load and is_panic of each tier from its counts. The first tiers get what they can take (their available part times
/// PERI_OVERPROVISIONING), the next ones the rest. A tier panics when all together cannot take everything, and less than
/// `panic_percent` of its endpoints are available; 0: never. The loads sum up to 100 unless there are no endpoints at all.
void peri_tiers_share(struct peri_tier *tiers, uint32_t count, uint32_t panic_percent);

/// The tier of a request whose number in 0 to 99 is `percent`.
uint32_t peri_tiers_choose(const struct peri_tier *tiers, uint32_t count, uint32_t percent);

/// The zone that a request from zone `own` goes to, with `available` endpoints in each of `count` zones and a random number of 32
/// bits. The proxies are taken to be spread evenly over the zones: where the own zone has its even part of the endpoints, the
/// request stays; otherwise it does with the probability that fits, or goes to a zone that has more than its part.
uint32_t peri_zones_choose(const uint32_t *available, uint32_t count, uint32_t own, uint32_t random);

/// The part of its weight, in thousandths, that an endpoint has `elapsed_ms` after it began: growing evenly from 10 % to all at the
/// end of `window_ms`.
uint32_t peri_slow_start_share(uint64_t elapsed_ms, uint64_t window_ms);

#endif
