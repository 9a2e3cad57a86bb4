// SPDX-License-Identifier: MIT
// The letters by bit.
#include "exchange/flags.h"

#include "base/assert.h"

const char *peri_flag_letters(enum peri_flag flag)
{
    switch (flag) {
    case PERI_FLAG_DELAYED: return "DI";
    case PERI_FLAG_FAULT: return "FI";
    case PERI_FLAG_RATE_LIMITED: return "RL";
    case PERI_FLAG_RATE_UNKNOWN: return "RLSE";
    case PERI_FLAG_UNAUTHORIZED: return "UAEX";
    case PERI_FLAG_OVERFLOW: return "UO";
    case PERI_FLAG_RETRY_LIMIT: return "URX";
    case PERI_FLAG_RETRY_OVERFLOW: return "UO";
    }
    peri_assert(!"a flag of the table");
    return "";
}
