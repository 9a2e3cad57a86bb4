// SPDX-License-Identifier: MIT
// The families and series in shared memory; for shm.c and series.c only. Append-only: what the counts do not cover yet does
// not exist, so readers need no lock and a writer may die at any point.
#ifndef PERI_SHARED_SERIES_TABLE_H
#define PERI_SHARED_SERIES_TABLE_H

#include <stdint.h>

#include "shared/series.h"

#define PERI_SERIES_PLACES (PERI_SERIES_MAX * 2)

struct peri_series_family_row {
    uint32_t type;
    uint32_t bound_count;
    uint16_t name_len;
    uint16_t help_len;
    uint16_t labels_len;
    uint16_t label_count;
    char name[PERI_SERIES_NAME_MAX];
    char help[PERI_SERIES_HELP_MAX];
    char labels[PERI_SERIES_LABELS * (PERI_SERIES_LABEL_MAX + 2)];
    double bounds[PERI_SERIES_BOUNDS];
};

struct peri_series_row {
    uint32_t family;
    uint32_t cell;  ///< first of its cells in the pages; unused by gauges
    uint64_t gauge; ///< the bits of a double
    uint16_t values_len;
    char values[PERI_SERIES_VALUES_MAX];
};

struct peri_series_table {
    uint32_t family_count;
    uint32_t count;
    uint32_t cells; ///< cells given out
    uint32_t unused;
    uint64_t dropped;
    uint32_t places[PERI_SERIES_PLACES]; ///< hash index: series number + 1; 0 for empty
    struct peri_series_family_row families[PERI_SERIES_FAMILIES];
    struct peri_series_row rows[PERI_SERIES_MAX];
};

#endif
