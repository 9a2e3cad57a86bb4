// SPDX-License-Identifier: MIT
// Response flags: what became of an exchange, in Envoy's letters, beside the error that ended it (base/err.h). Each is a bit of
// peri_exchange_facts.flags. Policies may set some of them; the others are the runtime's. Knows not who reads them.
#ifndef PERI_EXCHANGE_FLAGS_H
#define PERI_EXCHANGE_FLAGS_H

#include <stdint.h>

/// The bits, in the order in which they are told. Two of them may have the same letters.
enum peri_flag {
    PERI_FLAG_DELAYED = 1 << 0,        ///< DI: a policy held it back on purpose
    PERI_FLAG_FAULT = 1 << 1,          ///< FI: a policy answered with an error on purpose
    PERI_FLAG_RATE_LIMITED = 1 << 2,   ///< RL: the client asked too often
    PERI_FLAG_RATE_UNKNOWN = 1 << 3,   ///< RLSE: refused because whoever counts requests could not be asked
    PERI_FLAG_UNAUTHORIZED = 1 << 4,   ///< UAEX: an external service did not authorize it
    PERI_FLAG_OVERFLOW = 1 << 5,       ///< UO: refused so that the upstream has less to do
    PERI_FLAG_RETRY_LIMIT = 1 << 6,    ///< URX: no attempts or no time left for a retry
    PERI_FLAG_RETRY_OVERFLOW = 1 << 7, ///< UO: the budget or the breaker refused the retry
};

/// Those that policies may set, and those that say why no retry was made.
#define PERI_FLAGS_OF_POLICIES 0x3fu
#define PERI_FLAGS_OF_RETRIES (PERI_FLAG_RETRY_LIMIT | PERI_FLAG_RETRY_OVERFLOW)

/// The letters of one bit.
const char *peri_flag_letters(enum peri_flag flag);

#endif
