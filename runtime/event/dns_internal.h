// SPDX-License-Identifier: MIT
// The resolver as the files event/dns*.c see it. Nobody else includes this.
#ifndef PERI_EVENT_DNS_INTERNAL_H
#define PERI_EVENT_DNS_INTERNAL_H

#include <ares.h>

#include "base/list.h"
#include "event/dns.h"
#include "event/timer.h"

#define PERI_DNS_TTL_MIN_MS 1000
#define PERI_DNS_TTL_MAX_MS 300000
#define PERI_DNS_FAILURE_MS 1000

struct peri_dns {
    struct peri_loop *loop;
    ares_channel channel;
    struct peri_timer timer;
    struct peri_list entries;
    unsigned entry_count;
    unsigned service_count; ///< questions for services that c-ares has
    struct peri_list sockets;
    struct ares_addr_port_node *defaults; ///< servers of /etc/resolv.conf, owned
};

/// A question was put: time passes for c-ares as long as it has any.
void peri_dns_arm(struct peri_dns *dns);

/// Why a question failed that c-ares ended with `status`: PERI_ERR_OVERLOADED when this process has no descriptor or memory to ask with (c-ares
/// calls that a refused connection), otherwise PERI_ERR_RESOLVE.
peri_err_t peri_dns_blame(int status);

#endif
