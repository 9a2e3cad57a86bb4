// SPDX-License-Identifier: MIT
// A set is two arrays of ranges (first and last address), one for each family. They are sorted and merged before the first
// lookup behind an addition, so that a lookup is one binary search.

#include "codec/ip.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

struct range {
    uint8_t first[16], last[16]; // network order, so that memcmp compares; IPv4 in the first four bytes, the rest zero
};

struct ranges {
    struct range *items; // owned
    size_t count, capacity;
};

struct peri_ip_set {
    struct ranges families[2]; // IPv4, IPv6
    bool is_sorted;
};

static bool parse_prefix(struct peri_slice text, unsigned bits, unsigned *prefix);
static bool append(struct ranges *ranges, const struct range *range);
static void sort(struct ranges *ranges);
static bool search(const struct ranges *ranges, const uint8_t *address);

peri_err_t peri_ip_parse(struct peri_slice text, struct peri_ip *ip)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    char copy[PERI_IP_TEXT];
    if (text.len == 0 || text.len >= sizeof copy || memchr(text.ptr, '\0', text.len))
        return PERI_ERR_INVALID;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    memset(ip, 0, sizeof *ip);
    ip->version = memchr(text.ptr, ':', text.len) ? 6 : 4;
    if (inet_pton(ip->version == 6 ? AF_INET6 : AF_INET, copy, ip->bytes) != 1)
        return PERI_ERR_INVALID;
    if (ip->version == 6 && memcmp(ip->bytes, mapped, sizeof mapped) == 0) {
        ip->version = 4;
        memmove(ip->bytes, ip->bytes + 12, 4);
        memset(ip->bytes + 4, 0, 12);
    }
    return PERI_OK;
}

void peri_ip_format(const struct peri_ip *ip, char text[PERI_IP_TEXT])
{
    const char *done = inet_ntop(ip->version == 6 ? AF_INET6 : AF_INET, ip->bytes, text, PERI_IP_TEXT);
    peri_assert(done != NULL);
}

struct peri_ip_set *peri_ip_set_new(void)
{
    return calloc(1, sizeof(struct peri_ip_set));
}

void peri_ip_set_free(struct peri_ip_set *set)
{
    if (!set)
        return;
    free(set->families[0].items);
    free(set->families[1].items);
    free(set);
}

peri_err_t peri_ip_set_add(struct peri_ip_set *set, struct peri_slice entry, char *message, size_t size)
{
    const char *slash = entry.len > 0 ? memchr(entry.ptr, '/', entry.len) : NULL;
    struct peri_slice address = peri_slice(entry.ptr, slash ? (size_t)(slash - entry.ptr) : entry.len);
    struct peri_ip ip;
    if (peri_ip_parse(address, &ip) != PERI_OK) {
        snprintf(message, size, "'%.*s' is not an IP address or a network such as 10.0.0.0/8", (int)entry.len,
                 entry.ptr);
        return PERI_ERR_INVALID;
    }
    unsigned bits = ip.version == 6 ? 128 : 32, prefix = bits;
    bool is_mapped = ip.version == 4 && memchr(address.ptr, ':', address.len);
    struct peri_slice length = slash ? peri_slice(slash + 1, entry.len - address.len - 1) : PERI_SLICE("");
    if (slash && (!parse_prefix(length, is_mapped ? 128 : bits, &prefix) || (is_mapped && prefix < 96))) {
        snprintf(message, size, "'%.*s' has no prefix length of %d to %u", (int)entry.len, entry.ptr,
                 is_mapped ? 96 : 0, is_mapped ? 128 : bits);
        return PERI_ERR_INVALID;
    }
    prefix -= slash && is_mapped ? 96 : 0;
    struct range range = {{0}, {0}};
    for (unsigned i = 0; i < bits / 8; i++) {
        unsigned kept = prefix >= 8 * (i + 1) ? 8 : prefix > 8 * i ? prefix - 8 * i : 0;
        uint8_t mask = (uint8_t)(0xff00u >> kept);
        range.first[i] = ip.bytes[i] & mask;
        range.last[i] = (uint8_t)(ip.bytes[i] | ~mask);
    }
    if (memcmp(range.first, ip.bytes, sizeof ip.bytes) != 0) {
        char network[PERI_IP_TEXT];
        memcpy(ip.bytes, range.first, sizeof ip.bytes);
        peri_ip_format(&ip, network);
        snprintf(message, size, "'%.*s' has bits set behind the prefix; the network is %s/%u", (int)entry.len,
                 entry.ptr, network, prefix);
        return PERI_ERR_INVALID;
    }
    set->is_sorted = false;
    return append(&set->families[ip.version == 6], &range) ? PERI_OK : PERI_ERR_NOMEM;
}

static bool parse_prefix(struct peri_slice text, unsigned bits, unsigned *prefix)
{
    unsigned value = 0;
    if (text.len == 0 || text.len > 3 || (text.len > 1 && text.ptr[0] == '0'))
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return false;
        value = value * 10 + (unsigned)(text.ptr[i] - '0');
    }
    *prefix = value;
    return value <= bits;
}

static bool append(struct ranges *ranges, const struct range *range)
{
    if (ranges->count == ranges->capacity) {
        size_t capacity = ranges->capacity ? 2 * ranges->capacity : 8;
        struct range *items = realloc(ranges->items, capacity * sizeof *items);
        if (!items)
            return false;
        ranges->items = items;
        ranges->capacity = capacity;
    }
    ranges->items[ranges->count++] = *range;
    return true;
}

bool peri_ip_set_contains(struct peri_ip_set *set, const struct peri_ip *ip)
{
    peri_assert(ip->version == 4 || ip->version == 6);
    if (!set->is_sorted) {
        sort(&set->families[0]);
        sort(&set->families[1]);
        set->is_sorted = true;
    }
    return search(&set->families[ip->version == 6], ip->bytes);
}

static int compare_first(const void *a, const void *b)
{
    return memcmp(((const struct range *)a)->first, ((const struct range *)b)->first, sizeof((struct range *)0)->first);
}

/// Sorts by first address and merges what overlaps.
static void sort(struct ranges *ranges)
{
    size_t kept = 0;
    if (ranges->count == 0)
        return;
    qsort(ranges->items, ranges->count, sizeof *ranges->items, compare_first);
    for (size_t i = 1; i < ranges->count; i++) {
        struct range *into = &ranges->items[kept], *next = &ranges->items[i];
        if (memcmp(next->first, into->last, sizeof next->first) > 0)
            ranges->items[++kept] = *next;
        else if (memcmp(next->last, into->last, sizeof next->last) > 0)
            memcpy(into->last, next->last, sizeof into->last);
    }
    ranges->count = kept + 1;
}

static bool search(const struct ranges *ranges, const uint8_t *address)
{
    size_t low = 0, high = ranges->count;
    while (low < high) { // the first range that begins behind the address
        size_t middle = low + (high - low) / 2;
        if (memcmp(ranges->items[middle].first, address, 16) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 && memcmp(ranges->items[low - 1].last, address, 16) >= 0;
}
