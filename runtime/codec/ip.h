// SPDX-License-Identifier: MIT
// IP addresses and sets of networks. An IPv4 address written as IPv6 (::ffff:10.0.0.1) is the IPv4 address; otherwise the two
// families never meet: ::/0 holds no IPv4 address. Text is read strictly: no leading zeros, no octal, no zone.
#ifndef PERI_CODEC_IP_H
#define PERI_CODEC_IP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

#define PERI_IP_TEXT 46 ///< room for the text of an address and its NUL

struct peri_ip {
    uint8_t version;   ///< 4 or 6
    uint8_t bytes[16]; ///< network order; an IPv4 address in the first four
};

struct peri_ip_set;

/// Reads an address. PERI_ERR_INVALID.
peri_err_t peri_ip_parse(struct peri_slice text, struct peri_ip *ip);

/// Writes the canonical text (RFC 5952), NUL-terminated.
void peri_ip_format(const struct peri_ip *ip, char text[PERI_IP_TEXT]);

/// New empty set, owned by the caller; NULL when out of memory.
struct peri_ip_set *peri_ip_set_new(void);

/// Frees the set; NULL is fine.
void peri_ip_set_free(struct peri_ip_set *set);

/// Adds an address or a network ("10.0.0.0/8"). PERI_ERR_NOMEM, or PERI_ERR_INVALID with the reason in `message` (cut at
/// `size` bytes; may be NULL when size is 0): not an address, a bad prefix length, or bits set behind the prefix.
peri_err_t peri_ip_set_add(struct peri_ip_set *set, struct peri_slice entry, char *message, size_t size);

/// Is the address in the set? A binary search; sorts the set first when something was added.
bool peri_ip_set_contains(struct peri_ip_set *set, const struct peri_ip *ip);

#endif
