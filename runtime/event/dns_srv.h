// SPDX-License-Identifier: MIT
// Services in DNS (SRV records, RFC 2782): which hosts and ports are behind a name. Nothing is remembered here; whoever asks knows for
// how long the answer holds.
#ifndef PERI_EVENT_DNS_SRV_H
#define PERI_EVENT_DNS_SRV_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

#define PERI_DNS_TARGETS 64 ///< targets of one service that are used

struct dns_question;
struct peri_dns;

struct peri_dns_target {
    char host[254]; ///< as in the answer, in lower case, without a dot at its end
    uint16_t port;
    uint16_t priority; ///< lower is asked first
    uint16_t weight;
};

/// An answer. No targets: the name says that there is no such service (its only target is ".").
struct peri_dns_service {
    struct peri_dns_target targets
        [PERI_DNS_TARGETS]; ///< by priority, host and port, each once; the last ones beyond the limit are not there
    unsigned count;
    uint64_t ttl_ms; ///< of the record that holds shortest, within the bounds of event/dns
};

/// One question, embedded in its owner.
struct peri_dns_srv_query {
    struct dns_question *question; ///< while it is asked
    /// `service` is borrowed for the call, and NULL unless err is PERI_OK. Called once from the loop.
    void (*on_done)(struct peri_dns_srv_query *query, peri_err_t err, const struct peri_dns_service *service);
};

/// Asks for the SRV records of `name`; query->on_done tells the outcome on a later turn: PERI_ERR_RESOLVE when the servers fail, the name
/// does not exist, or what comes is malformed; PERI_ERR_OVERLOADED as in event/dns. PERI_ERR_NOMEM (also for a name of more than 253 bytes): nothing is asked.
peri_err_t peri_dns_srv_ask(struct peri_dns *dns, struct peri_slice name, struct peri_dns_srv_query *query);

/// Forgets the question if it is asked; on_done is not called.
void peri_dns_srv_cancel(struct peri_dns_srv_query *query);

/// Reads an answer as it came (RFC 1035 4). PERI_ERR_INVALID when anything in it is malformed or no SRV record is there.
peri_err_t peri_dns_srv_read(const unsigned char *bytes, size_t len, struct peri_dns_service *service);

#endif
