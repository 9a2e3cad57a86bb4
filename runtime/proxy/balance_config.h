// SPDX-License-Identifier: MIT
// Reads how an upstream chooses endpoints from its normalised configuration (docs/internals/config-json.md).
#ifndef PERI_PROXY_BALANCE_CONFIG_H
#define PERI_PROXY_BALANCE_CONFIG_H

#include "base/err.h"

struct peri_arena;
struct peri_json;
struct peri_labels;
struct peri_shm;
struct peri_upstream;

/// Reads the balance of `upstream`, whose endpoints were added in the order of `json`, and what belongs to it of each endpoint; then
/// seals it. Texts are kept in `arena`, which outlives the upstream. Tokens of sticky cookies that the configuration has no secret for
/// are made with the secret of `shm`. PERI_ERR_NOMEM.
peri_err_t peri_balance_read(struct peri_upstream *upstream, const struct peri_json *json, struct peri_arena *arena,
                             const struct peri_shm *shm);

/// The labels in a JSON object of strings, in `arena`. NULL when there are none, or memory is out.
const struct peri_labels *peri_labels_read(const struct peri_json *json, struct peri_arena *arena);

#endif
