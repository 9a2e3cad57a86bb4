// SPDX-License-Identifier: MIT
// What is done with the requests of a route, compiled at load time: C steps with everything resolved, and the bits of the
// phases that have Lua steps. Plain data, read-only while the generation lives.
#ifndef PERI_PROXY_PLAN_H
#define PERI_PROXY_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

struct peri_headers;
struct peri_labels;
struct peri_rewrite;
struct peri_upstream;

#define PERI_ROUTE_INHERITS UINT64_MAX ///< the upstream's setting holds

enum peri_target {
    PERI_TARGET_UPSTREAM, ///< choices[0]
    PERI_TARGET_SPLIT,    ///< choices by weight
    PERI_TARGET_LUA,      ///< the target function chose (host->choose_upstream)
    PERI_TARGET_HANDLER,  ///< Lua answers
    PERI_TARGET_REDIRECT, ///< status, location
    PERI_TARGET_REPLY,    ///< status, body, headers
};

enum peri_edit_op { PERI_EDIT_SET, PERI_EDIT_ADD, PERI_EDIT_REMOVE };

/// One header edit.
struct peri_edit {
    enum peri_edit_op op;
    struct peri_slice name;
    struct peri_slice value;
};

struct peri_choice {
    struct peri_upstream *upstream;
    uint32_t weight;
};

struct peri_field {
    struct peri_slice name;
    struct peri_slice value;
};

struct peri_route {
    struct peri_slice name;
    uint32_t index;  ///< of the chain in the generation's Lua half
    int32_t metrics; ///< row of peri_metrics_route
    uint32_t hooks;  ///< PERI_HOOK bits
    enum peri_target target;
    struct peri_choice *choices;
    uint32_t choice_count;
    uint32_t weight_sum;
    const struct peri_labels *labels; ///< only endpoints that have these; NULL: any
    bool is_high;                     ///< its requests have the breaker's limits for high priority
    struct peri_rewrite *rewrite;     ///< NULL for none
    struct peri_edit *request_edits;
    struct peri_edit *response_edits;
    uint32_t request_edit_count;
    uint32_t response_edit_count;
    int status;                 ///< redirect, reply
    struct peri_slice location; ///< redirect
    struct peri_slice body;     ///< reply
    struct peri_field *fields;  ///< reply
    uint32_t field_count;
    uint64_t request_ms; ///< instead of the upstream's: 0 for no limit; PERI_ROUTE_INHERITS for the upstream's
};

/// Runs a route's edits on the fields of a message. What finds no memory is left out.
void peri_plan_edit(struct peri_headers *headers, const struct peri_edit *edits, uint32_t count);

#endif
