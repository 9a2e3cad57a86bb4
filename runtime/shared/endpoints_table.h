// SPDX-License-Identifier: MIT
// The rows of upstreams and endpoints in shared memory; for shm.c and endpoints.c only. The counts only grow; names change
// under the registry's lock.
#ifndef PERI_SHARED_ENDPOINTS_TABLE_H
#define PERI_SHARED_ENDPOINTS_TABLE_H

#include "shared/endpoints.h"

struct peri_endpoints_table {
    struct peri_lease lease;
    uint32_t upstream_count; ///< rows that were used at some time
    uint32_t row_count;      ///< the same
    uint32_t unused[12];
    struct peri_upstream_row upstreams[PERI_ENDPOINT_UPSTREAMS];
    struct peri_endpoint_row rows[PERI_ENDPOINT_ROWS];
};

#endif
