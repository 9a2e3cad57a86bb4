// SPDX-License-Identifier: MIT
// What a request says of the choice of its endpoint: the text by which ring_hash and maglev place it, and what scripts wish.
#ifndef PERI_UPSTREAM_REQUEST_KEY_H
#define PERI_UPSTREAM_REQUEST_KEY_H

#include "base/slice.h"
#include "upstream/endpoint.h"

struct peri_exchange;

enum peri_key_kind {
    PERI_KEY_NONE,
    PERI_KEY_HEADER, ///< the first field of that name
    PERI_KEY_COOKIE,
    PERI_KEY_CLIENT, ///< the client's address
    PERI_KEY_PATH,   ///< the path that the upstream sees
};

struct peri_key_source {
    enum peri_key_kind kind;
    struct peri_slice name; ///< of header (lower case) or cookie; borrowed
};

/// What scripts wish for one exchange. All texts are in its arena.
struct peri_wish {
    struct peri_slice key;      ///< in place of the upstream's source; ptr is NULL for none
    struct peri_labels labels;  ///< in place of the route's; none when empty
    struct peri_slice endpoint; ///< address for the coming attempt; empty for none
};

/// The key of a request; ptr is NULL when it has none. Borrowed from the exchange.
struct peri_slice peri_request_key(const struct peri_exchange *x, const struct peri_key_source *source);

#endif
