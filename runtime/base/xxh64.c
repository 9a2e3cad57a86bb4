// SPDX-License-Identifier: MIT
// Four lanes of 8 bytes each while there are 32, then what is left, then an avalanche; as the specification numbers its steps.
#include "base/xxh64.h"

#include <endian.h>

#define PRIME_1 0x9e3779b185ebca87u
#define PRIME_2 0xc2b2ae3d27d4eb4fu
#define PRIME_3 0x165667b19e3779f9u
#define PRIME_4 0x85ebca77c2b2ae63u
#define PRIME_5 0x27d4eb2f165667c5u

static uint64_t rotate(uint64_t value, unsigned bits)
{
    return value << bits | value >> (64 - bits);
}

static uint64_t read_lane(const char *at)
{
    uint64_t lane;
    memcpy(&lane, at, sizeof(lane));
    return le64toh(lane);
}

static uint64_t mix(uint64_t lane_sum, uint64_t lane)
{
    return rotate(lane_sum + lane * PRIME_2, 31) * PRIME_1;
}

// Consumes the stripes of 32 bytes.
static uint64_t mix_stripes(struct peri_slice *rest, uint64_t seed)
{
    uint64_t lanes[4] = {seed + PRIME_1 + PRIME_2, seed + PRIME_2, seed, seed - PRIME_1};
    for (; rest->len >= 32; rest->ptr += 32, rest->len -= 32)
        for (unsigned i = 0; i < 4; i++)
            lanes[i] = mix(lanes[i], read_lane(rest->ptr + 8 * i));
    uint64_t hash = rotate(lanes[0], 1) + rotate(lanes[1], 7) + rotate(lanes[2], 12) + rotate(lanes[3], 18);
    for (unsigned i = 0; i < 4; i++)
        hash = (hash ^ mix(0, lanes[i])) * PRIME_1 + PRIME_4;
    return hash;
}

static uint64_t mix_rest(uint64_t hash, struct peri_slice rest)
{
    for (; rest.len >= 8; rest.ptr += 8, rest.len -= 8)
        hash = rotate(hash ^ mix(0, read_lane(rest.ptr)), 27) * PRIME_1 + PRIME_4;
    if (rest.len >= 4) {
        uint32_t half;
        memcpy(&half, rest.ptr, sizeof(half));
        hash = rotate(hash ^ le32toh(half) * PRIME_1, 23) * PRIME_2 + PRIME_3;
        rest.ptr += 4, rest.len -= 4;
    }
    for (; rest.len > 0; rest.ptr++, rest.len--)
        hash = rotate(hash ^ (unsigned char)*rest.ptr * PRIME_5, 11) * PRIME_1;
    return hash;
}

uint64_t peri_xxh64(struct peri_slice bytes, uint64_t seed)
{
    uint64_t len = bytes.len;
    uint64_t hash = bytes.len >= 32 ? mix_stripes(&bytes, seed) : seed + PRIME_5;
    hash = mix_rest(hash + len, bytes);
    hash = (hash ^ hash >> 33) * PRIME_2;
    hash = (hash ^ hash >> 29) * PRIME_3;
    return hash ^ hash >> 32;
}
