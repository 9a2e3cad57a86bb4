// SPDX-License-Identifier: MIT
// One shard of the dictionaries: a hash index over entries made of chunks of 128 bytes, in order of their last use. Knows
// nothing of types, times to live or other shards. Everything between acquire and release is exclusive among all processes.
//
//   index[hash] -> entry -> entry …        (hash chain)
//   newest <-> entry <-> entry <-> oldest  (use)
//   entry: 64 bytes of header, then key and value bytes, continued in further chunks
//
// Chunks have one size, so memory never fragments: whatever is evicted fits whatever comes.
#ifndef PERI_SHARED_SHARD_H
#define PERI_SHARED_SHARD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "shared/lock.h"

#define PERI_SHARD_BYTES_MIN (512u << 10)
#define PERI_SHARD_INLINE 64 // bytes of key and value in the first chunk

struct peri_shm;

/// Shared; one for each shard, side by side.
struct peri_shard_head {
    struct peri_lock lock;
    uint32_t free;    ///< first of the chunks that were used before; 0 for none
    uint32_t fresh;   ///< chunks 1 … fresh were used at some time
    uint32_t used;    ///< chunks in use
    uint32_t newest;  ///< entry used last; 0 for none
    uint32_t oldest;  ///< entry to evict first
    uint32_t entries; ///< entries
    uint64_t evictions;
    uint64_t resets;
    char padding[48];
};

/// The first chunk of an entry. The members below the links belong to the caller, but for the lengths.
struct peri_entry {
    uint32_t more;  ///< next chunk of the entry; 0 for none
    uint32_t chain; ///< next entry of the hash chain
    uint32_t newer;
    uint32_t older;
    uint64_t hash;
    uint64_t expires_ms; ///< monotonic; 0 for never
    double number;
    uint64_t updated_ms;
    uint32_t value_len;
    uint16_t dict;
    uint16_t key_len;
    uint8_t type;
    char padding[7];
    char bytes[PERI_SHARD_INLINE];
};

/// A further chunk.
struct peri_chunk {
    uint32_t more;
    char bytes[124];
};

/// What makes an entry unique in its shard.
struct peri_shard_key {
    uint64_t hash;
    uint16_t dict;
    struct peri_slice key; ///< at most 65535 bytes
};

/// A shard whose lock this process holds.
struct peri_shard {
    struct peri_shard_head *head;
    uint32_t *index;
    struct peri_entry *entries; ///< entries[0] is chunk 1
    uint32_t mask;              ///< places of the index, less one
    uint32_t count;             ///< chunks there are
};

/// Places of the index of a shard with `shard_bytes`: as many as it has chunks, rounded down to a power of two.
uint32_t peri_shard_places(uint64_t shard_bytes);

/// Prepares shard `number` of fresh (zeroed) memory. False when the system refuses.
bool peri_shard_init(struct peri_shm *shm, uint32_t number);

/// Opens shard `number`, waiting for its lock. When the last owner died inside, the shard is emptied first.
void peri_shard_acquire(struct peri_shm *shm, uint32_t number, struct peri_shard *shard);

/// Lets the next one in; entries found before are not touched any more.
void peri_shard_release(struct peri_shard *shard);

/// The entry of `key`, now the newest; NULL when there is none. Borrowed until release, remove or insert.
struct peri_entry *peri_shard_find(struct peri_shard *shard, const struct peri_shard_key *key);

/// Makes an entry for `key`, which has none, with room for `value_len` bytes; the oldest entries give way. It is the newest;
/// expiry and value are zero. NULL when it cannot fit even into an empty shard.
struct peri_entry *peri_shard_insert(struct peri_shard *shard, const struct peri_shard_key *key, uint32_t value_len,
                                     uint64_t now_ms);

/// Removes an entry.
void peri_shard_remove(struct peri_shard *shard, struct peri_entry *entry);

/// Would a value of `value_len` bytes take exactly the chunks that the entry has?
bool peri_shard_fits(const struct peri_entry *entry, uint32_t value_len);

/// Overwrites the value; its length fits (peri_shard_fits).
void peri_shard_write(struct peri_shard *shard, struct peri_entry *entry, struct peri_slice value);

/// Copies the value to `out`, which has room for `size` bytes; the number of bytes copied.
uint32_t peri_shard_read(struct peri_shard *shard, const struct peri_entry *entry, char *out, uint32_t size);

/// Copies the key to `out`, which has room for `size` bytes; the number of bytes copied.
uint32_t peri_shard_read_key(struct peri_shard *shard, const struct peri_entry *entry, char *out, uint32_t size);

/// Does the value equal `bytes`?
bool peri_shard_equals(struct peri_shard *shard, const struct peri_entry *entry, struct peri_slice bytes);

/// The newest entry, and from there the next older one; NULL at the end. Does not count as use.
struct peri_entry *peri_shard_first(struct peri_shard *shard);
struct peri_entry *peri_shard_next(struct peri_shard *shard, const struct peri_entry *entry);

/// Empties the shard.
void peri_shard_reset(struct peri_shard *shard);

#endif
