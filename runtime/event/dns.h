// SPDX-License-Identifier: MIT
// Names to addresses without blocking: /etc/hosts and DNS through c-ares, with a small cache that honours TTLs (1 s to
// 5 min), remembers failures for 1 s and gives the last good answer while the servers fail. Literals need no look-up.
#ifndef PERI_EVENT_DNS_H
#define PERI_EVENT_DNS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "base/slice.h"

struct peri_dns;
struct peri_loop;
struct sockaddr_storage;

#define PERI_DNS_ADDRESSES 64 ///< addresses of one name that are used

/// One look-up, embedded in its owner.
struct peri_dns_query {
    struct peri_list link;
    uint64_t left_ms; ///< set before on_done: how long the answer holds
    bool is_stale;    ///< set before on_done: the last look-up failed, and the addresses are older
    /// The addresses (port 0), in the resolver's order, IPv4 first; borrowed for the call. Called once from the loop. PERI_ERR_RESOLVE;
    /// PERI_ERR_OVERLOADED when it could not even be asked for, for want of descriptors or memory: nothing is known of the name.
    void (*on_done)(struct peri_dns_query *query, peri_err_t err, const struct sockaddr_storage *addresses,
                    unsigned count);
};

/// A resolver on the loop; reads /etc/resolv.conf and /etc/hosts. NULL when out of memory.
struct peri_dns *peri_dns_new(struct peri_loop *loop);

/// Closes the resolver; no query is under way (asserted).
void peri_dns_free(struct peri_dns *dns);

/// Asks `servers` from now on ("127.0.0.1:53,[::1]:53"); NULL: those of /etc/resolv.conf again. What is known is looked up anew when it
/// is asked for, look-ups under way fail. PERI_ERR_INVALID when c-ares refuses the list; nothing changes then.
peri_err_t peri_dns_set_servers(struct peri_dns *dns, const char *servers);

/// Version of c-ares as linked.
const char *peri_dns_version(void);

/// Parses an IPv4 or IPv6 literal (brackets allowed). False when `host` is a name.
bool peri_dns_parse_literal(struct peri_slice host, uint16_t port, struct sockaddr_storage *address);

/// Looks `host` up; query->on_done tells the outcome on a later turn. At most 256 names are remembered.
void peri_dns_resolve(struct peri_dns *dns, struct peri_slice host, struct peri_dns_query *query);

/// Forgets the query; on_done is not called.
void peri_dns_cancel(struct peri_dns_query *query);

#endif
