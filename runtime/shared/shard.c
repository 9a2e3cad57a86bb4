// SPDX-License-Identifier: MIT
// Numbers of chunks begin at 1, so zeroed memory is an empty shard. Every number read from the memory is checked; what does
// not hold together (only a process that wrote astray can cause that) empties the shard.
#include "shared/shard.h"

#include "base/assert.h"
#include "shared/segment.h"

#define SHARD_EXPIRE_STEPS 2 // expired entries that an insert clears away at the old end

_Static_assert(sizeof(struct peri_entry) == 128, "an entry's head is one chunk");
_Static_assert(sizeof(struct peri_chunk) == 128, "chunks have one size");
_Static_assert(sizeof(struct peri_shard_head) == 128, "heads do not share cache lines");

// Walks the bytes of an entry, run after run.
struct shard_cursor {
    char *at;
    size_t left;
    uint32_t more;
};

static struct peri_entry *shard_at(const struct peri_shard *shard, uint32_t number)
{
    return number - 1u < shard->count ? &shard->entries[number - 1] : NULL;
}

static uint32_t shard_number(const struct peri_shard *shard, const struct peri_entry *entry)
{
    return (uint32_t)(entry - shard->entries) + 1;
}

static uint32_t shard_chunks(size_t bytes)
{
    if (bytes <= PERI_SHARD_INLINE)
        return 1;
    size_t per_chunk = sizeof(((struct peri_chunk *)0)->bytes);
    return (uint32_t)(1 + (bytes - PERI_SHARD_INLINE + per_chunk - 1) / per_chunk);
}

uint32_t peri_shard_places(uint64_t shard_bytes)
{
    uint32_t places = 1;
    while ((uint64_t)places * 2 * sizeof(struct peri_entry) <= shard_bytes)
        places *= 2;
    return places;
}

static void shard_view(const struct peri_shm *shm, uint32_t number, struct peri_shard *shard)
{
    peri_assert(number < shm->shards);
    uint32_t places = shm->shard_places;
    char *data = shm->shard_data + (uint64_t)number * shm->shard_bytes;
    size_t index_bytes = (size_t)places * sizeof(uint32_t);
    shard->head = &shm->shard_heads[number];
    shard->index = (uint32_t *)(void *)data;
    shard->entries = (struct peri_entry *)(void *)(data + index_bytes);
    shard->mask = places - 1;
    shard->count = (uint32_t)((shm->shard_bytes - index_bytes) / sizeof(struct peri_entry));
}

bool peri_shard_init(struct peri_shm *shm, uint32_t number)
{
    return peri_lock_init(&shm->shard_heads[number].lock);
}

void peri_shard_acquire(struct peri_shm *shm, uint32_t number, struct peri_shard *shard)
{
    shard_view(shm, number, shard);
    if (!peri_lock_acquire(&shard->head->lock))
        return;
    peri_shard_reset(shard);
    shard->head->resets++;
    peri_lock_repaired(&shard->head->lock);
}

void peri_shard_release(struct peri_shard *shard)
{
    peri_lock_release(&shard->head->lock);
}

void peri_shard_reset(struct peri_shard *shard)
{
    struct peri_shard_head *head = shard->head;
    memset(shard->index, 0, ((size_t)shard->mask + 1) * sizeof(uint32_t));
    head->free = head->fresh = head->used = 0;
    head->newest = head->oldest = head->entries = 0;
}

static void shard_damaged(struct peri_shard *shard)
{
    peri_shard_reset(shard);
    shard->head->resets++;
}

// ---- the bytes of an entry

static void cursor_begin(struct shard_cursor *cursor, struct peri_entry *entry)
{
    *cursor = (struct shard_cursor){entry->bytes, sizeof(entry->bytes), entry->more};
}

// The next run of at most `want` bytes; NULL at the end of the entry.
static char *cursor_run(const struct peri_shard *shard, struct shard_cursor *cursor, size_t want, size_t *len)
{
    if (cursor->left == 0) {
        struct peri_chunk *chunk = (struct peri_chunk *)(void *)shard_at(shard, cursor->more);
        if (!chunk)
            return NULL;
        *cursor = (struct shard_cursor){chunk->bytes, sizeof(chunk->bytes), chunk->more};
    }
    *len = want < cursor->left ? want : cursor->left;
    char *run = cursor->at;
    cursor->at += *len;
    cursor->left -= *len;
    return run;
}

static void cursor_skip(const struct peri_shard *shard, struct shard_cursor *cursor, size_t count)
{
    size_t len;
    while (count > 0 && cursor_run(shard, cursor, count, &len))
        count -= len;
}

static void cursor_write(const struct peri_shard *shard, struct shard_cursor *cursor, struct peri_slice bytes)
{
    size_t len;
    char *run;
    while (bytes.len > 0 && (run = cursor_run(shard, cursor, bytes.len, &len))) {
        memcpy(run, bytes.ptr, len);
        bytes = peri_slice(bytes.ptr + len, bytes.len - len);
    }
}

static uint32_t cursor_read(const struct peri_shard *shard, struct shard_cursor *cursor, char *out, uint32_t want)
{
    size_t len;
    uint32_t done = 0;
    const char *run;
    while (done < want && (run = cursor_run(shard, cursor, want - done, &len))) {
        memcpy(out + done, run, len);
        done += (uint32_t)len;
    }
    return done;
}

static bool cursor_equals(const struct peri_shard *shard, struct shard_cursor *cursor, struct peri_slice bytes)
{
    size_t len;
    const char *run;
    while (bytes.len > 0) {
        run = cursor_run(shard, cursor, bytes.len, &len);
        if (!run || memcmp(run, bytes.ptr, len) != 0)
            return false;
        bytes = peri_slice(bytes.ptr + len, bytes.len - len);
    }
    return true;
}

bool peri_shard_fits(const struct peri_entry *entry, uint32_t value_len)
{
    return shard_chunks((size_t)entry->key_len + value_len) == shard_chunks((size_t)entry->key_len + entry->value_len);
}

void peri_shard_write(struct peri_shard *shard, struct peri_entry *entry, struct peri_slice value)
{
    struct shard_cursor cursor;
    peri_assert(peri_shard_fits(entry, (uint32_t)value.len));
    cursor_begin(&cursor, entry);
    cursor_skip(shard, &cursor, entry->key_len);
    cursor_write(shard, &cursor, value);
    entry->value_len = (uint32_t)value.len;
}

uint32_t peri_shard_read(struct peri_shard *shard, const struct peri_entry *entry, char *out, uint32_t size)
{
    struct shard_cursor cursor;
    cursor_begin(&cursor, (struct peri_entry *)entry);
    cursor_skip(shard, &cursor, entry->key_len);
    return cursor_read(shard, &cursor, out, entry->value_len < size ? entry->value_len : size);
}

uint32_t peri_shard_read_key(struct peri_shard *shard, const struct peri_entry *entry, char *out, uint32_t size)
{
    struct shard_cursor cursor;
    cursor_begin(&cursor, (struct peri_entry *)entry);
    return cursor_read(shard, &cursor, out, entry->key_len < size ? entry->key_len : size);
}

bool peri_shard_equals(struct peri_shard *shard, const struct peri_entry *entry, struct peri_slice bytes)
{
    struct shard_cursor cursor;
    if (entry->value_len != bytes.len)
        return false;
    cursor_begin(&cursor, (struct peri_entry *)entry);
    cursor_skip(shard, &cursor, entry->key_len);
    return cursor_equals(shard, &cursor, bytes);
}

// ---- order of use

static void use_unlink(struct peri_shard *shard, struct peri_entry *entry)
{
    struct peri_entry *newer = shard_at(shard, entry->newer);
    struct peri_entry *older = shard_at(shard, entry->older);
    *(newer ? &newer->older : &shard->head->newest) = entry->older;
    *(older ? &older->newer : &shard->head->oldest) = entry->newer;
}

static void use_link(struct peri_shard *shard, struct peri_entry *entry)
{
    struct peri_entry *newest = shard_at(shard, shard->head->newest);
    uint32_t number = shard_number(shard, entry);
    entry->newer = 0;
    entry->older = shard->head->newest;
    *(newest ? &newest->newer : &shard->head->oldest) = number;
    shard->head->newest = number;
}

struct peri_entry *peri_shard_first(struct peri_shard *shard)
{
    return shard_at(shard, shard->head->newest);
}

struct peri_entry *peri_shard_next(struct peri_shard *shard, const struct peri_entry *entry)
{
    return shard_at(shard, entry->older);
}

// ---- chunks

static struct peri_entry *chunk_take(struct peri_shard *shard)
{
    struct peri_shard_head *head = shard->head;
    struct peri_entry *chunk = shard_at(shard, head->free);
    if (chunk)
        head->free = chunk->more;
    else if (head->free != 0 || !(chunk = shard_at(shard, head->fresh + 1)))
        return NULL;
    else
        head->fresh++;
    head->used++;
    chunk->more = 0;
    return chunk;
}

// Gives all chunks of an entry back. The head's first word is `more`, as in every chunk.
static void chunk_give_all(struct peri_shard *shard, struct peri_entry *entry)
{
    struct peri_shard_head *head = shard->head;
    struct peri_entry *chunk = entry;
    for (uint32_t steps = 0; chunk && steps < shard->count; steps++) {
        struct peri_entry *next = shard_at(shard, chunk->more);
        chunk->more = head->free;
        head->free = shard_number(shard, chunk);
        head->used--;
        chunk = next;
    }
}

// ---- entries

struct peri_entry *peri_shard_find(struct peri_shard *shard, const struct peri_shard_key *key)
{
    uint32_t number = shard->index[key->hash & shard->mask];
    for (uint32_t steps = 0; number != 0; steps++) {
        struct peri_entry *entry = shard_at(shard, number);
        if (!entry || steps == shard->count) {
            shard_damaged(shard);
            return NULL;
        }
        struct shard_cursor cursor;
        cursor_begin(&cursor, entry);
        if (entry->hash == key->hash && entry->dict == key->dict && entry->key_len == key->key.len &&
            cursor_equals(shard, &cursor, key->key)) {
            if (shard->head->newest != number) {
                use_unlink(shard, entry);
                use_link(shard, entry);
            }
            return entry;
        }
        number = entry->chain;
    }
    return NULL;
}

void peri_shard_remove(struct peri_shard *shard, struct peri_entry *entry)
{
    uint32_t *link = &shard->index[entry->hash & shard->mask];
    for (uint32_t steps = 0; *link != shard_number(shard, entry); steps++) {
        struct peri_entry *before = shard_at(shard, *link);
        if (!before || steps == shard->count) {
            shard_damaged(shard);
            return;
        }
        link = &before->chain;
    }
    *link = entry->chain;
    use_unlink(shard, entry);
    chunk_give_all(shard, entry);
    shard->head->entries--;
}

static bool is_expired(const struct peri_entry *entry, uint64_t now_ms)
{
    return entry->expires_ms != 0 && entry->expires_ms <= now_ms;
}

// Clears the old end until `need` chunks are free. False when the shard does not hold together.
static bool shard_make_room(struct peri_shard *shard, uint32_t need, uint64_t now_ms)
{
    struct peri_shard_head *head = shard->head;
    struct peri_entry *oldest = shard_at(shard, head->oldest);
    for (int i = 0; i < SHARD_EXPIRE_STEPS && oldest && is_expired(oldest, now_ms); i++) {
        peri_shard_remove(shard, oldest);
        oldest = shard_at(shard, head->oldest);
    }
    while (head->used > shard->count || shard->count - head->used < need) {
        oldest = shard_at(shard, head->oldest);
        if (!oldest)
            return false;
        head->evictions += !is_expired(oldest, now_ms);
        peri_shard_remove(shard, oldest);
    }
    return true;
}

// An entry's chunks, taken and tied together; their number is known to be there.
static struct peri_entry *shard_take_entry(struct peri_shard *shard, uint32_t need)
{
    struct peri_entry *entry = chunk_take(shard);
    for (uint32_t i = 1; entry && i < need; i++) {
        struct peri_entry *chunk = chunk_take(shard);
        if (!chunk)
            return NULL;
        chunk->more = entry->more; // any order will do: the chunks are empty
        entry->more = shard_number(shard, chunk);
    }
    return entry;
}

struct peri_entry *peri_shard_insert(struct peri_shard *shard, const struct peri_shard_key *key, uint32_t value_len,
                                     uint64_t now_ms)
{
    uint32_t need = shard_chunks(key->key.len + value_len);
    if (need > shard->count)
        return NULL;
    struct peri_entry *entry = shard_make_room(shard, need, now_ms) ? shard_take_entry(shard, need) : NULL;
    if (!entry) {
        shard_damaged(shard);
        return NULL;
    }
    uint32_t *place = &shard->index[key->hash & shard->mask];
    entry->hash = key->hash;
    entry->dict = key->dict;
    entry->key_len = (uint16_t)key->key.len;
    entry->value_len = value_len;
    entry->type = 0;
    entry->expires_ms = entry->updated_ms = 0;
    entry->number = 0;
    entry->chain = *place;
    *place = shard_number(shard, entry);
    use_link(shard, entry);
    shard->head->entries++;
    struct shard_cursor cursor;
    cursor_begin(&cursor, entry);
    cursor_write(shard, &cursor, key->key);
    return entry;
}
