// SPDX-License-Identifier: MIT
// Decides about a canary: counts in, verdict out. Knows no processes and no clock.
//
// What is compared are the exchanges that began since the canary did, of the generation that serves and of the one that is tried:
//
//   errors      share of 5xx, more than that of the serving generation by max_errors
//   durations   the 99th percentile, more than max_slowdown times that of the serving generation (and 10 ms more)
//   open        at the end: exchanges that do not end
//   deaths      three workers that ended
//
// While the canary is on, a difference counts once it is too large for chance (three standard deviations of what the bound
// would give, and one exchange more); at its end less is enough. One exchange alone never decides.
#ifndef PERI_APP_CANARY_JUDGE_H
#define PERI_APP_CANARY_JUDGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/canary.h"

#define PERI_CANARY_DEATHS 3   ///< workers that may not end while it is on
#define PERI_CANARY_SAMPLES 99 ///< exchanges of the serving generation below which durations are not compared

struct peri_canary_case {
    struct peri_canary_page counts;
    uint64_t serving;    ///< number of the generation that serves
    uint32_t deaths;     ///< workers that ended since the canary began
    double max_errors;   ///< 0 to 1
    double max_slowdown; ///< 1 or more
    bool is_over;        ///< its time is over: the last question
};

enum peri_canary_verdict {
    PERI_CANARY_GO_ON,
    PERI_CANARY_PROMOTE, ///< nothing speaks against it and its time is over
    PERI_CANARY_GIVE_UP,
};

/// Judges. With PERI_CANARY_GIVE_UP `reason` is a sentence with the figures.
enum peri_canary_verdict peri_canary_judge(const struct peri_canary_case *c, char *reason, size_t size);

/// 99th percentile of durations in nanoseconds: the bound of the bucket that it lies in. 0 without durations.
uint64_t peri_canary_p99_ns(const struct peri_canary_counts *counts);

#endif
