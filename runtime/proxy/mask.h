// SPDX-License-Identifier: MIT
// What is secret in an exchange that is recorded, and what stands in its place: "masked:" and 16 hex digits of a keyed digest, so
// that equal secrets stay equal within a recording and nobody can compute them from another. Knows headers, query parameters,
// cookies and JSON Web Tokens; writes no JSON.
#ifndef PERI_PROXY_MASK_H
#define PERI_PROXY_MASK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

struct peri_headers;
struct peri_text;

#define PERI_MASK_KEY 32        ///< bytes of the key of a recording
#define PERI_MASK_SECRETS 64    ///< secrets of one exchange that are looked for everywhere
#define PERI_MASK_PREFIX 7      ///< bytes of "masked:"
#define PERI_MASK_TEXT 23       ///< bytes of what stands for a secret
#define PERI_MASK_KEY_MIN 8     ///< shorter credentials are masked in their place only
#define PERI_MASK_COOKIE_MIN 16 ///< and so are shorter cookies: "theme=default" is no reason to change a path

enum peri_secret_place { PERI_SECRET_HEADER, PERI_SECRET_QUERY, PERI_SECRET_COOKIE };

/// Where a credential is.
struct peri_secret {
    enum peri_secret_place place;
    struct peri_slice name; ///< of a header: lower case
};

/// Credentials that somebody declared: a policy of the generation, or whoever records.
struct peri_secrets {
    const struct peri_secret *items; ///< borrowed
    uint32_t count;
};

/// The secrets of one exchange.
struct peri_mask {
    const unsigned char *key;        ///< borrowed; PERI_MASK_KEY bytes; NULL: nothing is masked
    struct peri_secrets declared[2]; ///< by the generation, by whoever records
    uint32_t count;
    struct peri_slice known[PERI_MASK_SECRETS]; ///< borrowed as long as the exchange lives
};

/// Reads "header:NAME", "query:NAME", "cookie:NAME" or "NAME" (a header) without copying it. False for what is none of them.
bool peri_secret_parse(struct peri_slice text, struct peri_secret *secret);

/// Begins an exchange: nothing is known yet.
void peri_mask_init(struct peri_mask *mask, const unsigned char *key, struct peri_secrets generation,
                    struct peri_secrets recorder);

/// Notes the secrets in a header list, so that they are found wherever else they stand.
void peri_mask_learn_headers(struct peri_mask *mask, const struct peri_headers *headers);

/// Notes the secrets in a query.
void peri_mask_learn_query(struct peri_mask *mask, struct peri_slice query);

/// Appends the value of the header `name` (lower case) to `out`, masked where it is secret.
void peri_mask_header(const struct peri_mask *mask, struct peri_slice name, struct peri_slice value,
                      struct peri_text *out);

/// Appends a request target (path and query), masked where it is secret.
void peri_mask_target(const struct peri_mask *mask, struct peri_slice target, struct peri_text *out);

/// Appends any other text: known secrets and what looks like a JSON Web Token are masked. With `is_cut` the text goes on where it
/// ends, and a token may too.
void peri_mask_text(const struct peri_mask *mask, struct peri_slice text, bool is_cut, struct peri_text *out);

#endif
