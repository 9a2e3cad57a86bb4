// SPDX-License-Identifier: MIT
// Peak-EWMA: an estimate of a round trip that jumps up at once and comes down by exponential decay, also while nothing is
// measured, so that an endpoint that was slow is tried again (Finagle; tower's load/peak_ewma). Pure: time is an argument.
#ifndef PERI_UPSTREAM_EWMA_H
#define PERI_UPSTREAM_EWMA_H

#include <stdint.h>

struct peri_ewma {
    double ns;             ///< the estimate
    uint64_t at_ns;        ///< when it was last updated; 0: never, nothing is known
    uint64_t penalised_ns; ///< when the penalty came that the estimate still has in it; 0: there is none
};

/// Takes a measured round trip into account.
void peri_ewma_update(struct peri_ewma *ewma, uint64_t rtt_ns, uint64_t now_ns, uint64_t decay_ns);

/// Counts a failure as a round trip of `penalty_ns`. Such an estimate is a sentence, no measurement: each answer to a request that
/// was sent after it takes half of it away (peri_ewma_update), where a measured one would take `decay_ns` to be forgotten.
void peri_ewma_penalise(struct peri_ewma *ewma, uint64_t penalty_ns, uint64_t now_ns, uint64_t decay_ns);

/// The estimate as of now, decayed towards 0; `default_ns` when nothing was measured yet.
double peri_ewma_read(struct peri_ewma *ewma, uint64_t default_ns, uint64_t now_ns, uint64_t decay_ns);

#endif
