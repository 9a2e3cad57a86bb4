// SPDX-License-Identifier: MIT
// Metrics that scripts define: families (a name, a type, label names) and their series (label values). Bounded: what does not
// fit is dropped and counted, so that a label taken from a request cannot fill the memory. A family keeps its meaning for the
// life of the memory; a later definition under the same name must agree with it.
//
// Counters and histograms live in the pages of the workers and are summed by the reader; a gauge is one value for all.
#ifndef PERI_SHARED_SERIES_H
#define PERI_SHARED_SERIES_H

#include <stdint.h>

#include "base/slice.h"

#define PERI_SERIES_MAX 4096
#define PERI_SERIES_FAMILIES 256
#define PERI_SERIES_LABELS 8
#define PERI_SERIES_BOUNDS 24
#define PERI_SERIES_NAME_MAX 120   // bytes of a metric's name
#define PERI_SERIES_LABEL_MAX 60   // bytes of a label's name
#define PERI_SERIES_HELP_MAX 240   // bytes of a help text; longer ones are cut
#define PERI_SERIES_VALUES_MAX 500 // bytes of all label values of a series, packed

struct peri_shm;

enum peri_series_type { PERI_SERIES_COUNTER, PERI_SERIES_GAUGE, PERI_SERIES_HISTOGRAM };

/// What a script says about a family.
struct peri_series_spec {
    enum peri_series_type type;
    struct peri_slice name;   ///< [a-zA-Z_:][a-zA-Z0-9_:]*, not "perigee_…"
    struct peri_slice help;   ///< one line of text
    struct peri_slice labels; ///< names, packed: a two-byte length in the machine's order and its bytes, each
    const double *bounds;     ///< histograms: ascending and finite; none for OpenTelemetry's in seconds
    uint32_t bound_count;     ///< at most PERI_SERIES_BOUNDS
};

/// Why a family was refused; negative, as peri_series_family returns it.
enum peri_series_error {
    PERI_SERIES_BAD_NAME = -1,
    PERI_SERIES_BAD_LABEL = -2,  ///< not [a-zA-Z_][a-zA-Z0-9_]*, reserved ("__…", "le"), repeated or too many
    PERI_SERIES_BAD_BOUNDS = -3, ///< not ascending, not finite, or too many
    PERI_SERIES_CONFLICT = -4,   ///< the name has another type, other labels or other bounds
    PERI_SERIES_FULL = -5,       ///< PERI_SERIES_FAMILIES exist
};

/// A family as a reader sees it; all borrowed from the memory.
struct peri_series_family_info {
    enum peri_series_type type;
    struct peri_slice name;
    struct peri_slice help;
    struct peri_slice labels; ///< packed
    const double *bounds;
    uint32_t bound_count;
};

/// Finds or makes a family: its number, or a peri_series_error. Takes a lock when it is new.
int32_t peri_series_family(struct peri_shm *shm, const struct peri_series_spec *spec);

/// Finds or makes the series of a family with these label values (packed as the names are, as many): its number, or -1 when
/// it does not fit (counted). Takes a lock when it is new.
int32_t peri_series_open(struct peri_shm *shm, int32_t family, struct peri_slice values);

/// Adds to a counter (by >= 0) or a gauge. Anything else is ignored, as are numbers that peri_series_open did not give.
void peri_series_add(struct peri_shm *shm, uint32_t worker, int32_t series, double by);

/// Sets a gauge.
void peri_series_set(struct peri_shm *shm, int32_t series, double value);

/// Adds an observation to a histogram; NaN is ignored.
void peri_series_observe(struct peri_shm *shm, uint32_t worker, int32_t series, double value);

/// Numbers of families and series: 0 to count - 1 exist.
uint32_t peri_series_family_count(const struct peri_shm *shm);
uint32_t peri_series_count(const struct peri_shm *shm);

/// Describes family `family` (below the count).
void peri_series_family_get(const struct peri_shm *shm, uint32_t family, struct peri_series_family_info *out);

/// Family and packed label values (borrowed) of series `series` (below the count).
uint32_t peri_series_get(const struct peri_shm *shm, uint32_t series, struct peri_slice *values);

/// Sums a series over all workers into `cells`: a counter or gauge has one value; a histogram its bound_count + 1 buckets (not
/// cumulative) and then the sum of the observations.
void peri_series_sum(const struct peri_shm *shm, uint32_t series, double cells[PERI_SERIES_BOUNDS + 2]);

/// Openings refused because something was full.
uint64_t peri_series_dropped(const struct peri_shm *shm);

/// Takes the next string out of a packed sequence; false at its end, or when it is malformed.
bool peri_series_unpack(struct peri_slice *packed, struct peri_slice *item);

/// Zeroes the gauges and the count of drops (peri_shm_reset; the pages of the workers are zeroed apart).
void peri_series_reset(struct peri_shm *shm);

#endif
