// SPDX-License-Identifier: MIT
// The targets of an SRV record, and the addresses of each, as endpoints. Records and names are asked again when their own time is over; what
// still holds comes from the resolver's memory.
//
//   look -> records (when their time is over; those before while the servers fail) -> addresses of every target -> put -> look in …
#include <stdlib.h>
#include <sys/socket.h>

#include "base/attr.h"
#include "codec/json.h"
#include "event/dns_srv.h"
#include "event/loop.h"
#include "proxy/discovery_internal.h"
#include "proxy/server_internal.h"
#include "upstream/endpoint.h"

#define AGAIN_MS 1000 // when the servers failed

struct service;

struct target {
    struct peri_dns_query query;
    struct service *service;
    bool is_asking;
    bool has_address;
};

struct service {
    struct peri_discovery *d;
    struct peri_slice name; ///< in the settings
    struct peri_dns_srv_query query;
    struct peri_dns_service records; ///< the last good ones
    uint64_t expires_ms;             ///< when they are asked again
    bool is_known;                   ///< there are such
    peri_err_t err;                  ///< of the last question for them
    bool is_short;                   ///< a target could not be asked for: nothing is known of it
    unsigned waiting;                ///< targets that are asked, and one more until all are
    uint64_t left_ms;                ///< until the first of the addresses is to be asked again
    unsigned count;                  ///< of items
    struct target targets[PERI_DNS_TARGETS];
    struct peri_endpoint_item items[PERI_ENDPOINT_LIST_MAX]; ///< priority: the record's
};

// The priorities of targets that have addresses become 0, 1, 2 …; what is beyond shares the last one.
static uint16_t tier_of(const struct service *service, uint16_t priority)
{
    const struct peri_dns_target *records = service->records.targets;
    uint16_t tier = 0;
    int last = -1;
    for (unsigned i = 0; i < service->records.count && records[i].priority < priority; i++) {
        tier += service->targets[i].has_address && records[i].priority != last;
        last = service->targets[i].has_address ? records[i].priority : last;
    }
    return tier < PERI_PRIORITIES ? tier : PERI_PRIORITIES - 1;
}

static const char *put(struct service *service)
{
    uint16_t tiers[PERI_ENDPOINT_LIST_MAX];
    if (service->is_short)
        return peri_err_info(PERI_ERR_OVERLOADED)->text;
    if (service->count == 0 && service->records.count > 0)
        return "none of its targets has an address";
    for (unsigned i = 0; i < service->count; i++)
        tiers[i] = tier_of(service, service->items[i].priority);
    for (unsigned i = 0; i < service->count; i++)
        service->items[i].priority = tiers[i];
    peri_err_t err = peri_discovery_put(service->d, peri_endpoint_list_make(service->items, service->count));
    if (err == PERI_OK)
        err = service->err;
    return err == PERI_OK ? NULL : peri_err_info(err)->text;
}

static void release(struct service *service)
{
    if (--service->waiting > 0)
        return;
    uint64_t now_ms = peri_loop_now_ms(service->d->generation->server->loop);
    uint64_t left_ms = service->expires_ms > now_ms ? service->expires_ms - now_ms : 1;
    peri_discovery_note(service->d, put(service));
    peri_discovery_look_in(service->d, left_ms < service->left_ms ? left_ms : service->left_ms);
}

static unsigned add_family(struct service *service, const struct peri_dns_target *record,
                           const struct sockaddr_storage *addresses, unsigned count, sa_family_t family)
{
    unsigned before = service->count;
    unsigned most = before + PERI_ENDPOINT_LIST_MAX / service->records.count;
    for (unsigned i = 0; i < count && service->count < most; i++) {
        struct peri_endpoint_item *item = &service->items[service->count];
        if (addresses[i].ss_family != family || !peri_discovery_format(&addresses[i], record->port, item->address))
            continue;
        item->weight = record->weight > 0 ? record->weight : 1;
        item->priority = record->priority;
        service->count++;
    }
    return service->count - before;
}

static void on_addresses(struct peri_dns_query *query, peri_err_t err, const struct sockaddr_storage *addresses,
                         unsigned count)
{
    struct target *target = PERI_CONTAINER(query, struct target, query);
    struct service *service = target->service;
    const struct peri_dns_target *record = &service->records.targets[target - service->targets];
    uint64_t left_ms = query->left_ms > 0 ? query->left_ms : 1;
    target->is_asking = false;
    service->is_short = service->is_short || err == PERI_ERR_OVERLOADED;
    if (err == PERI_OK) // older ones too, while the servers fail
        target->has_address = add_family(service, record, addresses, count, AF_INET) > 0 ||
                              add_family(service, record, addresses, count, AF_INET6) > 0;
    service->left_ms = left_ms < service->left_ms ? left_ms : service->left_ms;
    release(service);
}

static void ask_targets(struct service *service)
{
    struct peri_dns *dns = service->d->generation->server->dns;
    service->count = 0;
    service->is_short = false;
    service->left_ms = UINT64_MAX;
    service->waiting = service->records.count + 1;
    for (unsigned i = 0; i < service->records.count; i++) {
        struct target *target = &service->targets[i];
        *target = (struct target){.service = service, .query.on_done = on_addresses, .is_asking = true};
        peri_dns_resolve(dns, peri_slice_from(service->records.targets[i].host), &target->query);
    }
    release(service);
}

static void on_records(struct peri_dns_srv_query *query, peri_err_t err, const struct peri_dns_service *records)
{
    struct service *service = PERI_CONTAINER(query, struct service, query);
    uint64_t now_ms = peri_loop_now_ms(service->d->generation->server->loop);
    service->err = err;
    if (err == PERI_OK) {
        service->records = *records;
        service->is_known = true;
    }
    service->expires_ms = now_ms + (err == PERI_OK ? records->ttl_ms : AGAIN_MS);
    if (service->is_known) {
        ask_targets(service);
        return;
    }
    peri_discovery_note(service->d, peri_err_info(err)->text);
    peri_discovery_look_in(service->d, AGAIN_MS);
}

static void on_look(struct peri_timer *timer)
{
    struct service *service = PERI_CONTAINER(timer, struct peri_discovery, look)->state;
    struct peri_server *server = service->d->generation->server;
    if (peri_loop_now_ms(server->loop) < service->expires_ms)
        ask_targets(service);
    else if (peri_dns_srv_ask(server->dns, service->name, &service->query) != PERI_OK)
        on_records(&service->query, PERI_ERR_NOMEM, NULL);
}

static peri_err_t open_service(struct peri_discovery *d, struct peri_generation_builder *b,
                               const struct peri_json *settings)
{
    struct service *service = calloc(1, sizeof(*service));
    PERI_UNUSED(b);
    d->state = service;
    if (!service)
        return PERI_ERR_NOMEM;
    service->d = d;
    service->name = peri_json_get_string(settings, "srv");
    service->query.on_done = on_records;
    return PERI_OK;
}

static void close_service(struct peri_discovery *d)
{
    free(d->state);
}

static void start(struct peri_discovery *d)
{
    peri_timer_start(d->generation->server->loop, &d->look, 0);
}

static void renew(struct peri_discovery *d)
{
    struct service *service = d->state;
    service->expires_ms = 0;
    peri_dns_srv_cancel(&service->query); // the old servers may have answered already
    if (service->waiting == 0)
        peri_timer_start(d->generation->server->loop, &d->look, 0);
}

static void stop(struct peri_discovery *d)
{
    struct service *service = d->state;
    peri_dns_srv_cancel(&service->query);
    for (unsigned i = 0; i < PERI_DNS_TARGETS; i++)
        if (service->targets[i].is_asking)
            peri_dns_cancel(&service->targets[i].query);
}

const struct peri_discovery_source peri_discovery_srv = {
    .open = open_service, .close = close_service, .start = start, .on_look = on_look, .renew = renew, .stop = stop};
