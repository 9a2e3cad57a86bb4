// SPDX-License-Identifier: MIT
// Reading is an update by 0: decays add up, whether they are taken in one step or in many.
#include "upstream/ewma.h"

#include <math.h>

void peri_ewma_update(struct peri_ewma *ewma, uint64_t rtt_ns, uint64_t now_ns, uint64_t decay_ns)
{
    double rtt = (double)rtt_ns;
    if (ewma->at_ns == 0 || ewma->ns < rtt) {
        ewma->ns = rtt;
    } else if (now_ns > ewma->at_ns) {
        double kept = exp(-(double)(now_ns - ewma->at_ns) / (double)decay_ns);
        ewma->ns = ewma->ns * kept + rtt * (1.0 - kept);
    }
    ewma->at_ns = now_ns;
}

double peri_ewma_read(struct peri_ewma *ewma, uint64_t default_ns, uint64_t now_ns, uint64_t decay_ns)
{
    if (ewma->at_ns == 0)
        *ewma = (struct peri_ewma){.ns = (double)default_ns, .at_ns = now_ns};
    else if (now_ns > ewma->at_ns)
        peri_ewma_update(ewma, 0, now_ns, decay_ns);
    return ewma->ns;
}
