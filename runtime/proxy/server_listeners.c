// SPDX-License-Identifier: MIT
// The listeners of a server: opened and closed one by one, given the settings of each generation, drained together.
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "codec/json.h"
#include "downstream/listener.h"
#include "downstream/preamble.h"
#include "event/loop.h"
#include "event/stream.h"
#include "proxy/passage.h"
#include "proxy/pipeline.h"
#include "proxy/server_internal.h"
#include "proxy/tcp_plan.h"
#include "upstream/keeper.h"

static struct peri_listener_settings read_settings(const struct peri_json *json)
{
    struct peri_listener_settings s = peri_listener_defaults();
    const struct peri_json *limits = peri_json_get(json, "limits");
    const struct peri_json *timeouts = peri_json_get(json, "timeouts");
    s.header_bytes = (uint32_t)peri_json_get_integer(limits, "header_bytes", s.header_bytes);
    s.headers = (uint32_t)peri_json_get_integer(limits, "headers", s.headers);
    s.uri_bytes = (uint32_t)peri_json_get_integer(limits, "uri_bytes", s.uri_bytes);
    s.streams = (uint32_t)peri_json_get_integer(limits, "streams", s.streams);
    s.connections = (uint32_t)peri_json_get_integer(limits, "connections", s.connections);
    s.body_bytes = (uint64_t)peri_json_get_integer(limits, "body", -1);
    s.trusted_hops = (uint32_t)peri_json_get_integer(json, "trusted_hops", 0);
    struct peri_slice deadline = peri_json_get_string(json, "deadline_header");
    if (deadline.len > 0 && deadline.len < sizeof(s.deadline_header))
        memcpy(s.deadline_header, deadline.ptr, deadline.len);
    s.allow_underscores = peri_json_get_bool(limits, "underscores", false);
    s.headers_ms = (uint64_t)peri_json_get_integer(timeouts, "headers_ms", (int64_t)s.headers_ms);
    s.request_ms = (uint64_t)peri_json_get_integer(timeouts, "request_ms", (int64_t)s.request_ms);
    s.idle_ms = (uint64_t)peri_json_get_integer(timeouts, "idle_ms", (int64_t)s.idle_ms);
    s.stream_idle_ms = (uint64_t)peri_json_get_integer(timeouts, "stream_idle_ms", (int64_t)s.stream_idle_ms);
    return s;
}

// Whose PROXY headers are believed. NULL when out of memory.
static struct peri_trusted_proxies *read_proxies(const struct peri_json *from)
{
    struct peri_trusted_proxies *proxies = peri_trusted_proxies_new();
    for (size_t i = 0; proxies && i < peri_json_count(from); i++) {
        if (peri_trusted_proxies_add(proxies, peri_json_string(peri_json_at(from, i))) != PERI_OK) {
            peri_trusted_proxies_free(proxies);
            return NULL;
        }
    }
    return proxies;
}

// The listener `address` in the configuration; NULL when it is not there.
static const struct peri_json *find_json(const struct peri_json *config, struct peri_slice address)
{
    const struct peri_json *listeners = peri_json_get(config, "listeners");
    for (size_t i = 0; i < peri_json_count(listeners); i++) {
        const struct peri_json *json = peri_json_at(listeners, i);
        if (peri_slice_eq(peri_json_get_string(json, "address"), address))
            return json;
    }
    return NULL;
}

// The settings of the listener `address` in the configuration; the defaults when it is not there.
static struct peri_listener_settings find_settings(const struct peri_json *config, struct peri_slice address)
{
    const struct peri_json *json = find_json(config, address);
    return json ? read_settings(json) : peri_listener_defaults();
}

// Without memory for the new ones the old ones stay: a header is never believed of somebody who was not trusted.
static void apply_proxies(struct peri_server_listener *l, const struct peri_json *config)
{
    const struct peri_json *from =
        peri_json_get(peri_json_get(find_json(config, l->address), "proxy_protocol"), "from");
    bool is_used = from && l->has_socket;
    struct peri_trusted_proxies *proxies = is_used ? read_proxies(from) : NULL;
    if (proxies || !is_used)
        peri_listener_set_proxies(l->listener, proxies);
    else
        peri_error("listener %.*s: out of memory: trusted proxies stay as they are", (int)l->address.len,
                   l->address.ptr);
}

static void set_tls(struct peri_server_listener *l)
{
    const struct peri_generation *current = l->server->current;
    if (current && l->has_socket)
        peri_listener_set_tls(l->listener, peri_generation_find_tls(current, l->address));
}

static void set_tcp(struct peri_server_listener *l)
{
    const struct peri_generation *current = l->server->current;
    const struct peri_tcp_plan *plan = current ? peri_generation_find_tcp(current, l->address) : NULL;
    peri_listener_set_tcp(l->listener, plan ? &peri_passage_owner : NULL, l, plan && plan->count > 0);
}

void peri_listeners_apply(struct peri_server *server, const struct peri_json *config)
{
    for (struct peri_list *link = server->listeners.next; link != &server->listeners; link = link->next) {
        struct peri_server_listener *l = PERI_LIST_ITEM(link, struct peri_server_listener, link);
        struct peri_listener_settings settings = find_settings(config, l->address);
        peri_listener_set(l->listener, &settings);
        set_tls(l);
        set_tcp(l);
        apply_proxies(l, config);
    }
}

// Makes a listener of the server; `fd` is -1 for one without a socket (taken otherwise).
static peri_err_t server_add_listener(struct peri_server *server, int fd, struct peri_slice address)
{
    struct peri_server_listener *l = calloc(1, sizeof(*l));
    char *copy = malloc(address.len + 1);
    struct peri_json *config =
        server->current ? peri_json_parse(peri_slice_from(server->current->config), false, NULL, 0) : NULL;
    if (!l || !copy) {
        if (fd >= 0)
            close(fd);
        goto fail;
    }
    struct peri_listener_settings settings = find_settings(config, address);
    l->listener = fd < 0 ? peri_listener_open_memory(server->loop, &settings, &peri_pipeline_owner, server)
                         : peri_listener_open(server->loop, fd, &settings, &peri_pipeline_owner, server);
    if (!l->listener)
        goto fail;
    peri_listener_set_metrics(l->listener, server->page);
    memcpy(copy, address.ptr, address.len);
    copy[address.len] = '\0';
    l->address = peri_slice(copy, address.len);
    l->server = server;
    l->has_socket = fd >= 0;
    set_tls(l);
    set_tcp(l);
    apply_proxies(l, config);
    peri_list_append(&server->listeners, &l->link);
    if (l->has_socket)
        peri_overload_add(server, l->listener);
    peri_json_free(config);
    return PERI_OK;
fail:
    peri_json_free(config);
    free(l);
    free(copy);
    return PERI_ERR_SYSTEM;
}

peri_err_t peri_server_listen(struct peri_server *server, int fd, struct peri_slice address)
{
    peri_assert(fd >= 0);
    return server_add_listener(server, fd, address);
}

peri_err_t peri_server_listen_memory(struct peri_server *server, struct peri_slice address)
{
    return server_add_listener(server, -1, address) == PERI_OK ? PERI_OK : PERI_ERR_NOMEM;
}

static struct peri_server_listener *find_listener(struct peri_server *server, struct peri_slice address)
{
    for (struct peri_list *link = server->listeners.next; link != &server->listeners; link = link->next) {
        struct peri_server_listener *l = PERI_LIST_ITEM(link, struct peri_server_listener, link);
        if (peri_slice_eq(l->address, address))
            return l;
    }
    return NULL;
}

struct peri_stream *peri_server_connect(struct peri_server *server, struct peri_slice address, struct peri_slice ip,
                                        struct peri_tls_info *tls)
{
    struct peri_server_listener *l = find_listener(server, address);
    struct peri_stream *pair[2];
    if (!l || !peri_stream_open_pair(server->loop, pair)) {
        free(tls);
        return NULL;
    }
    if (peri_stream_set_peer(pair[1], ip, 0) != PERI_OK) {
        free(tls);
        peri_stream_close(pair[0]);
        peri_stream_close(pair[1]);
        return NULL;
    }
    if (tls)
        peri_listener_adopt_agreed(l->listener, pair[1], tls);
    else
        peri_listener_adopt(l->listener, pair[1]);
    return pair[0];
}

static void listener_remove(struct peri_server_listener *l)
{
    peri_list_remove(&l->link);
    peri_listener_close(l->listener);
    free((void *)(uintptr_t)l->address.ptr);
    free(l);
}

static void on_listener_gone(void *data)
{
    listener_remove(data);
}

void peri_server_unlisten(struct peri_server *server, struct peri_slice address)
{
    struct peri_server_listener *l = find_listener(server, address);
    if (l)
        peri_listener_drain(l->listener, on_listener_gone, l);
}

uint32_t peri_server_connections(const struct peri_server *server)
{
    uint32_t count = 0;
    for (const struct peri_list *link = server->listeners.next; link != &server->listeners; link = link->next)
        count += peri_listener_connections(PERI_CONTAINER(link, struct peri_server_listener, link)->listener);
    return count;
}

static void server_check_drained(struct peri_server *server)
{
    for (struct peri_list *link = server->listeners.next; link != &server->listeners; link = link->next)
        if (!PERI_LIST_ITEM(link, struct peri_server_listener, link)->is_drained)
            return;
    void (*on_drained)(void *) = server->on_drained;
    server->on_drained = NULL;
    peri_timer_stop(&server->drain_timer);
    if (on_drained)
        on_drained(server->drained_data);
}

static void on_listener_drained(void *data)
{
    struct peri_server_listener *l = data;
    l->is_drained = true;
    server_check_drained(l->server);
}

void peri_listeners_close(struct peri_server *server)
{
    while (!peri_list_is_empty(&server->listeners))
        listener_remove(PERI_LIST_ITEM(server->listeners.next, struct peri_server_listener, link));
}

static void on_drain_timeout(struct peri_timer *timer)
{
    struct peri_server *server = PERI_CONTAINER(timer, struct peri_server, drain_timer);
    uint32_t count = peri_server_connections(server);
    if (count > 0)
        peri_warn("drain: time is over, closing %u connections", count);
    peri_listeners_close(server);
    server_check_drained(server);
}

void peri_server_drain(struct peri_server *server, uint64_t ms, void (*on_drained)(void *data), void *data)
{
    server->on_drained = on_drained;
    server->drained_data = data;
    peri_keeper_rest(server->keeper);
    peri_timer_start(server->loop, &server->drain_timer, ms);
    for (struct peri_list *link = server->listeners.next; link != &server->listeners; link = link->next) {
        struct peri_server_listener *l = PERI_LIST_ITEM(link, struct peri_server_listener, link);
        peri_listener_drain(l->listener, on_listener_drained, l);
    }
    if (peri_list_is_empty(&server->listeners))
        peri_timer_start(server->loop, &server->drain_timer, 0);
}

void peri_listeners_init(struct peri_server *server)
{
    peri_list_init(&server->listeners);
    peri_timer_init(&server->drain_timer, on_drain_timeout);
}
