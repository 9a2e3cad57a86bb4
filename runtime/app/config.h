// SPDX-License-Identifier: MIT
// What the processes themselves need of a normalised configuration (docs/internals/config-json.md); routes and upstreams
// are read elsewhere.
#ifndef PERI_APP_CONFIG_H
#define PERI_APP_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

#define PERI_CONFIG_LISTENERS 64

struct peri_json;

/// What a change must pass before it serves.
struct peri_config_reload {
    bool is_tested;      ///< the specs run first
    uint64_t test_ms;    ///< how long they may take
    uint32_t canary;     ///< share of the exchanges that goes to the new generation first, in millionths; 0: none
    uint64_t window_ms;  ///< how long the canary is compared
    double max_errors;   ///< share of exchanges by which the canary may have more errors, 0 to 1
    double max_slowdown; ///< how many times the 99th percentile of durations the canary's may be
};

struct peri_config {
    struct peri_json *json;  ///< owned; the whole configuration
    struct peri_slice admin; ///< address, borrowed from json; empty for none
    uint32_t workers;        ///< processes that serve, at least 1
    bool is_auto;            ///< workers was "auto"
    bool is_single;          ///< one process, without a supervisor
    bool is_watched;         ///< reload when a file changes
    uint64_t watchdog_ms;    ///< 0: off
    uint64_t drain_ms;
    uint64_t shared_memory;    ///< bytes for dictionaries
    uint64_t lua_memory;       ///< bytes of Lua heap of each worker
    uint32_t keep_generations; ///< kept for rollback beside the current one
    struct peri_config_reload reload;
    uint32_t listener_count;
    struct peri_slice listeners[PERI_CONFIG_LISTENERS]; ///< addresses, borrowed from json
    uint32_t dev_listener; ///< number, from 1, of the first one with the certificate for development; 0 for none
};

/// Reads the JSON text of a normalised configuration. NULL with a malloc'ed list of errors (app/errors.h) in *errors when
/// something is out of bounds. Owned by the caller (peri_config_free).
struct peri_config *peri_config_parse(struct peri_slice text, char **errors);

/// Frees the configuration; NULL is fine.
void peri_config_free(struct peri_config *config);

/// Does `config` listen on `address`?
bool peri_config_has_listener(const struct peri_config *config, struct peri_slice address);

/// Name of the first setting that differs and cannot change while the processes run; NULL when there is none.
const char *peri_config_fixed_change(const struct peri_config *from, const struct peri_config *to);

#endif
