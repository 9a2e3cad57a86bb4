// SPDX-License-Identifier: MIT
// Dictionaries in shared memory (perigee.shared): string keys, values that are strings, numbers or booleans, an optional time to
// live. Every operation is atomic among all processes. When memory is full the entry used least recently gives way; a process
// that is killed inside an operation costs the entries of one shard, never a deadlock.
//
// Time is passed in: milliseconds of a clock that all processes share (CLOCK_MONOTONIC; virtual in tests).
#ifndef PERI_SHARED_DICT_H
#define PERI_SHARED_DICT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

#define PERI_DICT_NAME_MAX 64
#define PERI_DICT_COUNT_MAX 256
#define PERI_DICT_KEY_MAX 256
#define PERI_DICT_VALUE_MAX 65536
#define PERI_DICT_KEYS_MAX 4096

struct peri_shm;

/// Where an operation acts. Valid keys have 0 to PERI_DICT_KEY_MAX bytes, of any value.
struct peri_dict_at {
    struct peri_shm *shm;
    int32_t dict; ///< from peri_dict_open
    struct peri_slice key;
    uint64_t now_ms;
};

enum peri_dict_type {
    PERI_DICT_NONE, ///< no such entry
    PERI_DICT_STRING,
    PERI_DICT_NUMBER,
    PERI_DICT_BOOLEAN, ///< number is 0 or 1
    PERI_DICT_BUCKET,  ///< a token bucket (shared/bucket.h); reads as its number of tokens
};

struct peri_dict_value {
    enum peri_dict_type type;
    double number;
    struct peri_slice string; ///< at most PERI_DICT_VALUE_MAX bytes
};

/// When a put stores its value.
enum peri_dict_mode {
    PERI_DICT_SET,     ///< always
    PERI_DICT_ADD,     ///< only when there is no entry
    PERI_DICT_REPLACE, ///< only when there is one
};

/// What the dictionaries of the segment hold together. Read without locks: close, not exact, while others write.
struct peri_dict_stats {
    uint64_t bytes;     ///< memory they may use
    uint64_t used;      ///< memory in use
    uint64_t entries;   ///< entries, expired ones that nobody has met yet included
    uint64_t evictions; ///< live entries that gave way to others
    uint64_t resets;    ///< shards emptied because a process died inside
};

/// Finds or makes the dictionary `name` (1 to PERI_DICT_NAME_MAX bytes). The number is the same in every process and stays
/// valid as long as the memory. -1 when the name is invalid or PERI_DICT_COUNT_MAX others exist.
int32_t peri_dict_open(struct peri_shm *shm, struct peri_slice name);

/// Reads an entry; a string is copied to `buf`, which holds PERI_DICT_VALUE_MAX bytes. PERI_OK (type NONE when there is no
/// entry) or PERI_ERR_INVALID (key).
peri_err_t peri_dict_get(const struct peri_dict_at *at, struct peri_dict_value *out, char *buf);

/// Stores a value with `ttl_ms` to live (0: for ever); *is_stored says whether `mode` let it. PERI_OK, PERI_ERR_INVALID (key,
/// type or length) or PERI_ERR_NOMEM (the shard was found damaged, and emptied).
peri_err_t peri_dict_put(const struct peri_dict_at *at, const struct peri_dict_value *value, enum peri_dict_mode mode,
                         uint64_t ttl_ms, bool *is_stored);

/// Stores `value` when the entry equals `expected` (type NONE: when there is none); a `value` of type NONE removes it.
/// Errors as peri_dict_put.
peri_err_t peri_dict_swap(const struct peri_dict_at *at, const struct peri_dict_value *expected,
                          const struct peri_dict_value *value, uint64_t ttl_ms, bool *is_stored);

/// Adds `by` to a number and gives the sum; an absent entry begins as `init` with `ttl_ms` to live (0: for ever), an existing
/// one keeps its time. PERI_OK, or PERI_ERR_INVALID (key, or the entry is no number).
peri_err_t peri_dict_incr(const struct peri_dict_at *at, double by, double init, uint64_t ttl_ms, double *sum);

/// Removes an entry; false when there was none.
bool peri_dict_remove(const struct peri_dict_at *at);

/// Milliseconds that an entry still has to live; UINT64_MAX when it lives for ever. False when there is no entry.
bool peri_dict_ttl(const struct peri_dict_at *at, uint64_t *ttl_ms);

/// Gives an entry `ttl_ms` to live from now (0: for ever). False when there is no entry.
bool peri_dict_expire(const struct peri_dict_at *at, uint64_t ttl_ms);

/// Writes up to `limit` keys (at most PERI_DICT_KEYS_MAX) of the dictionary to `buf`, each as a two-byte length in the
/// machine's order and its bytes, as many as fit in `size`. Returns their number. For people and tests: it visits everything.
uint32_t peri_dict_keys(struct peri_shm *shm, int32_t dict, uint64_t now_ms, uint32_t limit, char *buf, size_t size);

/// Removes every entry of the dictionary, shard after shard.
void peri_dict_flush(struct peri_shm *shm, int32_t dict);

/// Reads the statistics.
void peri_dict_stats(const struct peri_shm *shm, struct peri_dict_stats *out);

#endif
