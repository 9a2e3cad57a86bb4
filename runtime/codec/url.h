// SPDX-License-Identifier: MIT
// Request targets and authorities, taken apart once so that routing, policies and the upstream see the same thing.
// Every function is total: any bytes in, an error or a normal form out. Fuzzed (spec/fuzz/url_fuzz.c).
#ifndef PERI_CODEC_URL_H
#define PERI_CODEC_URL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/slice.h"

struct peri_url {
    struct peri_slice scheme;    ///< lower case; empty for origin form
    struct peri_slice authority; ///< host[:port]; empty for origin form
    struct peri_slice host;      ///< lower case, without brackets' port; empty for origin form
    uint16_t port;               ///< 0 when not given
    struct peri_slice path;      ///< normalised, begins with '/' ("*" only for OPTIONS *)
    struct peri_slice query;     ///< raw, without '?'
};

/// Takes apart a request target in origin, absolute or asterisk form (RFC 9112 3.2; CONNECT's authority form is parsed by
/// peri_url_parse_authority) and normalises the path. PERI_ERR_BAD_PATH for what cannot be read in one way only
/// (fragment, control bytes, bad or ambiguous percent-encoding), PERI_ERR_NOMEM.
peri_err_t peri_url_parse_target(struct peri_arena *arena, struct peri_slice target, struct peri_url *url);

/// Normalises a path (security.md row 11): merges slashes, removes dot segments (also %2e), decodes percent-encoded
/// unreserved bytes, upper-cases the hex of the rest; refuses %2F, %5C, '\', %00, raw control bytes and incomplete escapes
/// with PERI_ERR_BAD_PATH. A path that is already normal is returned as it is, without a copy.
peri_err_t peri_url_normalize_path(struct peri_arena *arena, struct peri_slice path, struct peri_slice *normal);

/// Takes apart host[:port] (reg-name, IPv4, [IPv6]); lower-cases the host into the arena when needed and drops one
/// trailing dot. PERI_ERR_BAD_HOST for anything else (user info, spaces, bad port, empty host).
peri_err_t peri_url_parse_authority(struct peri_arena *arena, struct peri_slice authority, struct peri_slice *host,
                                    uint16_t *port);

/// Percent-decodes `text` into the arena; with `plus_is_space` as for form data. PERI_ERR_INVALID on a broken escape.
peri_err_t peri_url_decode(struct peri_arena *arena, struct peri_slice text, bool plus_is_space,
                           struct peri_slice *out);

/// First value of query parameter `name` (given decoded; compared after decoding), still encoded in `raw`.
/// False when the query has no such parameter.
bool peri_url_find_query(struct peri_slice query, struct peri_slice name, struct peri_slice *raw);

/// Next name=value pair of a raw query; advances `rest`. False at the end. Empty pairs are skipped.
bool peri_url_next_query(struct peri_slice *rest, struct peri_slice *name, struct peri_slice *value);

#endif
