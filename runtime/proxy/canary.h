// SPDX-License-Identifier: MIT
// The canary of a server: while it is on, a share of the exchanges that begin use the candidate generation, and what becomes
// of them is counted beside those of the current one. Who decides what follows is not here.
#ifndef PERI_PROXY_CANARY_H
#define PERI_PROXY_CANARY_H

#include <stdint.h>

#define PERI_CANARY_WHOLE 1000000u ///< shares are millionths

struct peri_exchange;
struct peri_generation;
struct peri_server;

struct peri_canary {
    uint64_t generation; ///< number of the candidate
    uint32_t share;      ///< of PERI_CANARY_WHOLE; 0: there is no canary
    uint32_t due;        ///< what the candidate has to get of the next exchanges
};

/// The generation for an exchange that begins, while a canary is on; it counts as begun. The candidate never gets more than
/// its share: with a twentieth it is every twentieth exchange of this worker.
struct peri_generation *peri_canary_choose(struct peri_server *server, struct peri_exchange *x);

/// An exchange that peri_canary_choose was asked for has ended. Not counted when that canary is over.
void peri_canary_count(struct peri_server *server, const struct peri_exchange *x, int status, uint64_t ns);

#endif
