// SPDX-License-Identifier: MIT
// What became of looks for the endpoints of upstreams that are discovered, in the pages of the workers. Looks are rare: a cell is written
// so that a reader never sees half a text, and a worker that dies inside costs only that text.
#ifndef PERI_SHARED_LOOKS_H
#define PERI_SHARED_LOOKS_H

#include <stdbool.h>
#include <stdint.h>

#define PERI_LOOK_TEXT 140 // bytes of a problem, with its zero

struct peri_metrics_page;
struct peri_shm;

/// What became of a look.
enum peri_look_result {
    PERI_LOOK_SUCCESS, ///< there are endpoints
    PERI_LOOK_EMPTY,   ///< there are none, the answer says
    PERI_LOOK_FAILURE, ///< no answer that can be used
    PERI_LOOK_RESULTS,
};

/// Looks of one worker for the endpoints of one upstream; whole cache lines.
struct peri_look_cell {
    uint64_t counts[PERI_LOOK_RESULTS];
    uint64_t ended_ms[PERI_LOOK_RESULTS]; ///< monotonic; the last of each; 0 for never
    uint32_t version;                     ///< odd: `problem` is being written
    char problem[PERI_LOOK_TEXT];         ///< of the last failure
};

/// Looks of all workers for the endpoints of one upstream.
struct peri_look_sum {
    uint64_t counts[PERI_LOOK_RESULTS];
    uint64_t ended_ms[PERI_LOOK_RESULTS]; ///< as in the cells
    char problem[PERI_LOOK_TEXT];         ///< of the last failure; empty when there was none
};

/// Counts a look of the page's owner for `upstream` (from peri_metrics_upstream) that ended at `now_ms`. `problem` is NULL unless it failed:
/// what is no printable UTF-8 in it becomes "?", and it is cut.
void peri_look_count(struct peri_metrics_page *page, int32_t upstream, enum peri_look_result result,
                     const char *problem, uint64_t now_ms);

/// Sums the looks for upstream row `upstream` over all workers, past and present.
void peri_look_sum(const struct peri_shm *shm, uint32_t upstream, struct peri_look_sum *out);

/// Name of a result: "success", "empty", "failure".
const char *peri_look_result_name(uint32_t result);

#endif
