// SPDX-License-Identifier: MIT
// Reading is an update by 0: decays add up, whether they are taken in one step or in many.
#include "upstream/ewma.h"

#include <math.h>

// e^-x. Between two requests x is mostly small: then five terms of the series are exact to 8 digits, for a fifth of the cost.
static double decay(double x)
{
    if (x < 1.0 / 16)
        return 1.0 - x * (1.0 - x / 2 * (1.0 - x / 3 * (1.0 - x / 4)));
    return exp(-x);
}

// Times fit into 63 bits, whose conversion is cheap.
static double ratio(uint64_t elapsed_ns, uint64_t decay_ns)
{
    return (double)(int64_t)elapsed_ns / (double)(int64_t)decay_ns;
}

void peri_ewma_update(struct peri_ewma *ewma, uint64_t rtt_ns, uint64_t now_ns, uint64_t decay_ns)
{
    double rtt = (double)(int64_t)rtt_ns;
    if (ewma->penalised_ns != 0 && now_ns - rtt_ns >= ewma->penalised_ns) {
        ewma->ns /= 2;
        if (ewma->ns <= rtt)
            ewma->penalised_ns = 0;
    }
    if (ewma->at_ns == 0 || ewma->ns < rtt) {
        ewma->ns = rtt;
    } else if (now_ns > ewma->at_ns) {
        double kept = decay(ratio(now_ns - ewma->at_ns, decay_ns));
        ewma->ns = ewma->ns * kept + rtt * (1.0 - kept);
    }
    ewma->at_ns = now_ns;
}

void peri_ewma_penalise(struct peri_ewma *ewma, uint64_t penalty_ns, uint64_t now_ns, uint64_t decay_ns)
{
    peri_ewma_update(ewma, penalty_ns, now_ns, decay_ns);
    ewma->penalised_ns = now_ns;
}

double peri_ewma_read(struct peri_ewma *ewma, uint64_t default_ns, uint64_t now_ns, uint64_t decay_ns)
{
    if (ewma->at_ns == 0) {
        *ewma = (struct peri_ewma){.ns = (double)(int64_t)default_ns, .at_ns = now_ns};
    } else if (now_ns > ewma->at_ns) {
        ewma->ns *= decay(ratio(now_ns - ewma->at_ns, decay_ns));
        ewma->at_ns = now_ns;
    }
    return ewma->ns;
}
