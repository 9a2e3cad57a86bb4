// SPDX-License-Identifier: MIT
// One key of a dictionary under its shard's lock; for dict.c and bucket.c only.
#ifndef PERI_SHARED_DICT_ENTRY_H
#define PERI_SHARED_DICT_ENTRY_H

#include <stdbool.h>
#include <stdint.h>

#include "shared/shard.h"

struct peri_dict_at;

/// The place of a key: its shard (held), and its live entry or NULL.
struct peri_dict_place {
    struct peri_shard shard;
    struct peri_shard_key key;
    struct peri_entry *entry;
};

/// Holds the shard of the key and finds its entry; an expired one is removed. False (nothing is held) when key or dictionary
/// is invalid.
bool peri_dict_acquire(const struct peri_dict_at *at, struct peri_dict_place *place);

/// Lets the shard go.
void peri_dict_release(struct peri_dict_place *place);

/// The moment at which something stored now ends that has `ttl_ms` to live: 0 for never.
uint64_t peri_dict_expiry(uint64_t now_ms, uint64_t ttl_ms);

#endif
