// SPDX-License-Identifier: MIT
// SipHash-1-3: the state is four words; each eight bytes of input take one round, the end takes three.
#include "shared/hash.h"

#include <endian.h>

struct hash_state {
    uint64_t v0, v1, v2, v3;
};

static inline uint64_t hash_rotate(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

static inline void hash_round(struct hash_state *s)
{
    s->v0 += s->v1;
    s->v2 += s->v3;
    s->v1 = hash_rotate(s->v1, 13) ^ s->v0;
    s->v3 = hash_rotate(s->v3, 16) ^ s->v2;
    s->v0 = hash_rotate(s->v0, 32);
    s->v2 += s->v1;
    s->v0 += s->v3;
    s->v1 = hash_rotate(s->v1, 17) ^ s->v2;
    s->v3 = hash_rotate(s->v3, 21) ^ s->v0;
    s->v2 = hash_rotate(s->v2, 32);
}

static inline void hash_word(struct hash_state *s, uint64_t word)
{
    s->v3 ^= word;
    hash_round(s);
    s->v0 ^= word;
}

// Eight bytes, the first one lowest, whatever the machine's order.
static inline uint64_t hash_load(const char *p)
{
    uint64_t word;
    memcpy(&word, p, sizeof(word));
    return le64toh(word);
}

// The last seven bytes or fewer, and the length on top.
static inline uint64_t hash_load_tail(const char *p, size_t left, size_t len)
{
    uint64_t word = (uint64_t)len << 56;
    for (size_t i = 0; i < left; i++)
        word |= (uint64_t)(unsigned char)p[i] << (8 * i);
    return word;
}

uint64_t peri_hash(const uint64_t secret[2], struct peri_slice bytes)
{
    struct hash_state s = {
        .v0 = secret[0] ^ 0x736f6d6570736575u, // the constants of the paper: "somepseudorandomlygeneratedbytes"
        .v1 = secret[1] ^ 0x646f72616e646f6du,
        .v2 = secret[0] ^ 0x6c7967656e657261u,
        .v3 = secret[1] ^ 0x7465646279746573u,
    };
    const char *p = bytes.ptr;
    size_t left = bytes.len;
    for (; left >= 8; left -= 8, p += 8)
        hash_word(&s, hash_load(p));
    hash_word(&s, hash_load_tail(p, left, bytes.len));
    s.v2 ^= 0xff;
    for (int i = 0; i < 3; i++)
        hash_round(&s);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}
