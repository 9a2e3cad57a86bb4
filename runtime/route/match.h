// SPDX-License-Identifier: MIT
// What a route matches, as written in the configuration; plain data.
#ifndef PERI_ROUTE_MATCH_H
#define PERI_ROUTE_MATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

/// One condition on a header or a query parameter.
struct peri_match_field {
    struct peri_slice name;  ///< header name in lower case, or decoded query parameter name
    struct peri_slice value; ///< exact value, or the pattern when is_regex; unused when is_presence
    bool is_regex;           ///< PCRE2, matched anywhere in the value unless anchored
    bool is_presence;        ///< present = true
};

struct peri_match {
    struct peri_slice host;       ///< "" any, "api.example", "*.example"
    struct peri_slice path;       ///< "" any, "/a", "/a/*", "/a/{name}/b", "/a/{name}/*"
    struct peri_slice path_regex; ///< "" none; excludes path
    const struct peri_slice *methods;
    uint32_t method_count; ///< 0 any
    const struct peri_match_field *headers;
    uint32_t header_count;
    const struct peri_match_field *query;
    uint32_t query_count;
};

#endif
