// SPDX-License-Identifier: MIT
// Tells the resolver which servers the configuration names. Looking names up is event/dns.
#include <stdio.h>

#include "base/log.h"
#include "codec/json.h"
#include "event/dns.h"
#include "proxy/discovery.h"
#include "proxy/server_internal.h"

void peri_server_set_resolver(struct peri_server *server)
{
    struct peri_generation *generation = server->candidate ? server->candidate : server->current;
    struct peri_json *config = peri_json_parse(peri_slice_from(generation->config), false, NULL, 0);
    struct peri_slice servers = peri_json_get_string(peri_json_get(config, "dns"), "servers");
    if (server->dns && !peri_slice_eq(servers, peri_slice_from(server->resolvers))) {
        snprintf(server->resolvers, sizeof(server->resolvers), "%.*s", (int)servers.len,
                 servers.ptr ? servers.ptr : "");
        if (peri_dns_set_servers(server->dns, servers.len > 0 ? server->resolvers : NULL) != PERI_OK)
            peri_error("dns.servers are refused by the resolver: %s", server->resolvers);
        peri_discovery_renew_all(generation);
    }
    peri_json_free(config);
}
