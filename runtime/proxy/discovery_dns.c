// SPDX-License-Identifier: MIT
// Addresses of a name as endpoints, looked up again when the answer's time is over. IPv6 addresses count when there are none of
// IPv4: the two mostly lead to the same servers. Until the first answer the name itself is the endpoint, so that requests wait for it.
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/attr.h"
#include "codec/json.h"
#include "proxy/discovery_internal.h"
#include "proxy/server_internal.h"

bool peri_discovery_format(const struct sockaddr_storage *address, uint16_t port, char text[PERI_ENDPOINT_LIST_TEXT])
{
    char ip[INET6_ADDRSTRLEN];
    bool is_v6 = address->ss_family == AF_INET6;
    const void *bytes = is_v6 ? (const void *)&((const struct sockaddr_in6 *)address)->sin6_addr
                              : (const void *)&((const struct sockaddr_in *)address)->sin_addr;
    if (!inet_ntop(address->ss_family, bytes, ip, sizeof(ip)))
        return false;
    snprintf(text, PERI_ENDPOINT_LIST_TEXT, is_v6 ? "[%s]:%u" : "%s:%u", ip, port);
    return true;
}

static struct peri_json *list_family(const struct sockaddr_storage *addresses, unsigned count, uint16_t port,
                                     sa_family_t family)
{
    struct peri_endpoint_item items[PERI_DNS_ADDRESSES];
    unsigned found = 0;
    for (unsigned i = 0; i < count; i++) {
        items[found] = (struct peri_endpoint_item){.weight = 1};
        if (addresses[i].ss_family == family)
            found += peri_discovery_format(&addresses[i], port, items[found].address);
    }
    return peri_endpoint_list_make(items, found);
}

static void on_found(struct peri_dns_query *query, peri_err_t err, const struct sockaddr_storage *addresses,
                     unsigned count)
{
    struct peri_discovery *d = PERI_CONTAINER(query, struct peri_discovery, name.query);
    d->name.is_asking = false;
    if (err == PERI_OK && !query->is_stale) {
        struct peri_json *list = list_family(addresses, count, d->name.port, AF_INET);
        if (list && peri_json_count(list) == 0) {
            peri_json_free(list);
            list = list_family(addresses, count, d->name.port, AF_INET6);
        }
        err = peri_discovery_put(d, list);
    } else if (err == PERI_OK) {
        err = PERI_ERR_RESOLVE;
    }
    peri_discovery_note(d, err == PERI_OK ? NULL : peri_err_info(err)->text);
    peri_discovery_look_in(d, query->left_ms > 0 ? query->left_ms : 1);
}

static void on_look(struct peri_timer *timer)
{
    struct peri_discovery *d = PERI_CONTAINER(timer, struct peri_discovery, look);
    d->name.is_asking = true;
    peri_dns_resolve(d->generation->server->dns, d->name.host, &d->name.query);
}

static void start(struct peri_discovery *d)
{
    d->name.query.on_done = on_found;
    peri_timer_start(d->generation->server->loop, &d->look, 0);
}

static void renew(struct peri_discovery *d)
{
    if (!d->name.is_asking)
        peri_timer_start(d->generation->server->loop, &d->look, 0);
}

static void stop(struct peri_discovery *d)
{
    if (d->name.is_asking)
        peri_dns_cancel(&d->name.query);
}

const struct peri_discovery_source peri_discovery_dns = {
    .start = start, .on_look = on_look, .renew = renew, .stop = stop};
