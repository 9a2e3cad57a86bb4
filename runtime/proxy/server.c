// SPDX-License-Identifier: MIT
// Puts the parts of a serving process together and swaps generations.
#include "proxy/server.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "codec/json.h"
#include "downstream/listener.h"
#include "event/dns.h"
#include "event/loop.h"
#include "event/stream.h"
#include "proxy/accesslog.h"
#include "proxy/fetch.h"
#include "proxy/forward.h"
#include "proxy/pipeline.h"
#include "proxy/server_internal.h"
#include "script/vm.h"
#include "shared/shm.h"
#include "upstream/pool.h"

static const struct peri_script_host script_host = {
    .on_verdict = peri_pipeline_on_verdict,
    .read_body = peri_forward_read_body,
    .set_body = peri_forward_set_body,
    .limit_body = peri_forward_limit_body,
    .choose_upstream = peri_pipeline_choose,
    .fetch_start = peri_fetch_start,
    .fetch_cancel = peri_fetch_cancel,
};

const struct peri_script_host *peri_server_script_host(void)
{
    return &script_host;
}

static void on_idle(void *data)
{
    peri_vm_idle(data);
}

static bool server_open_vm(struct peri_server *server, const struct peri_server_options *options)
{
    struct peri_vm_options vm_options = {
        .loop = options->loop,
        .shm = options->shm,
        .host = &script_host,
        .memory_limit = options->lua_memory,
        .worker = options->worker,
        .role = options->role,
    };
    server->vm = options->vm;
    if (server->vm)
        return true;
    server->vm = peri_vm_new(&vm_options);
    server->owns_vm = server->vm != NULL;
    if (server->vm)
        peri_loop_set_idle(options->loop, on_idle, server->vm);
    return server->vm != NULL;
}

static bool server_open_pools(struct peri_server *server, const struct peri_server_options *options)
{
    bool is_memory = options->connect != NULL;
    server->dns = is_memory ? NULL : peri_dns_new(server->loop);
    struct peri_pools_options pools = {
        .loop = server->loop, .dns = server->dns, .connect = options->connect, .data = options->connect_data};
    server->pools = peri_pools_new(&pools);
    return (server->dns || is_memory) && server->pools;
}

static void on_drain_timeout(struct peri_timer *timer);

struct peri_server *peri_server_new(const struct peri_server_options *options)
{
    struct peri_server *server = calloc(1, sizeof(*server));
    if (!server)
        return NULL;
    server->loop = options->loop;
    server->shm = options->shm;
    server->worker = options->worker;
    server->page = peri_shm_metrics(options->shm, (uint32_t)options->worker);
    peri_list_init(&server->listeners);
    peri_timer_init(&server->drain_timer, on_drain_timeout);
    if (!server_open_pools(server, options) || !server_open_vm(server, options)) {
        peri_server_free(server);
        return NULL;
    }
    return server;
}

// ---- generations ----

peri_err_t peri_server_build(struct peri_server *server, const struct peri_source *source, struct peri_slice entry,
                             uint64_t number, struct peri_slice digest, char **errors)
{
    struct peri_build build = {0};
    *errors = NULL;
    peri_server_drop(server);
    if (peri_script_build(server->vm, source, entry, number, &build) != PERI_OK) {
        *errors = build.errors;
        free(build.config);
        return PERI_ERR_INVALID;
    }
    struct peri_generation *generation = peri_generation_new(build.script, build.config, number, digest, server->pools,
                                                             server->shm, server->page, errors);
    if (!generation)
        return PERI_ERR_INVALID;
    generation->server = server;
    struct peri_script_generation *previous = server->current ? server->current->script : NULL;
    if (peri_script_start(generation->script, previous, errors) != PERI_OK) {
        peri_generation_unref(generation);
        return PERI_ERR_INVALID;
    }
    server->candidate = generation;
    return PERI_OK;
}

const char *peri_server_config(const struct peri_server *server)
{
    const struct peri_generation *generation = server->candidate ? server->candidate : server->current;
    return generation ? generation->config : NULL;
}

void peri_server_drop(struct peri_server *server)
{
    if (server->candidate)
        peri_generation_unref(server->candidate);
    server->candidate = NULL;
}

uint64_t peri_server_generation(const struct peri_server *server)
{
    return server->current ? server->current->number : 0;
}

static void server_switch_log(struct peri_server *server, const struct peri_json *config)
{
    struct peri_slice path = peri_json_get_string(peri_json_get(config, "access_log"), "path");
    if (server->log && peri_accesslog_is(server->log, path))
        return;
    if (server->log)
        peri_accesslog_close(server->log);
    server->log = path.len > 0 ? peri_accesslog_open(server->loop, path, server->page) : NULL;
}

static void server_switch_listeners(struct peri_server *server, const struct peri_json *config);

void peri_server_switch(struct peri_server *server)
{
    peri_assert(server->candidate != NULL);
    struct peri_generation *old = server->current;
    server->current = server->candidate;
    server->candidate = NULL;
    struct peri_json *config = peri_json_parse(peri_slice_from(server->current->config), false, NULL, 0);
    server_switch_log(server, config);
    server_switch_listeners(server, config);
    peri_json_free(config);
    if (old)
        peri_generation_unref(old);
}

// ---- listeners ----

static struct peri_listener_settings read_settings(const struct peri_json *json)
{
    struct peri_listener_settings s = peri_listener_defaults();
    const struct peri_json *limits = peri_json_get(json, "limits");
    const struct peri_json *timeouts = peri_json_get(json, "timeouts");
    s.header_bytes = (uint32_t)peri_json_get_integer(limits, "header_bytes", s.header_bytes);
    s.headers = (uint32_t)peri_json_get_integer(limits, "headers", s.headers);
    s.uri_bytes = (uint32_t)peri_json_get_integer(limits, "uri_bytes", s.uri_bytes);
    s.connections = (uint32_t)peri_json_get_integer(limits, "connections", s.connections);
    s.body_bytes = (uint64_t)peri_json_get_integer(limits, "body", -1);
    s.trusted_hops = (uint32_t)peri_json_get_integer(json, "trusted_hops", 0);
    s.allow_underscores = peri_json_get_bool(limits, "underscores", false);
    s.headers_ms = (uint64_t)peri_json_get_integer(timeouts, "headers_ms", (int64_t)s.headers_ms);
    s.request_ms = (uint64_t)peri_json_get_integer(timeouts, "request_ms", (int64_t)s.request_ms);
    s.idle_ms = (uint64_t)peri_json_get_integer(timeouts, "idle_ms", (int64_t)s.idle_ms);
    s.stream_idle_ms = (uint64_t)peri_json_get_integer(timeouts, "stream_idle_ms", (int64_t)s.stream_idle_ms);
    return s;
}

// The settings of the listener `address` in the configuration; the defaults when it is not there.
static struct peri_listener_settings find_settings(const struct peri_json *config, struct peri_slice address)
{
    const struct peri_json *listeners = peri_json_get(config, "listeners");
    for (size_t i = 0; i < peri_json_count(listeners); i++) {
        const struct peri_json *json = peri_json_at(listeners, i);
        if (peri_slice_eq(peri_json_get_string(json, "address"), address))
            return read_settings(json);
    }
    return peri_listener_defaults();
}

static void server_switch_listeners(struct peri_server *server, const struct peri_json *config)
{
    for (struct peri_list *link = server->listeners.next; link != &server->listeners; link = link->next) {
        struct peri_server_listener *l = PERI_LIST_ITEM(link, struct peri_server_listener, link);
        struct peri_listener_settings settings = find_settings(config, l->address);
        peri_listener_set(l->listener, &settings);
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
    peri_list_append(&server->listeners, &l->link);
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

struct peri_stream *peri_server_connect(struct peri_server *server, struct peri_slice address, struct peri_slice ip)
{
    struct peri_server_listener *l = find_listener(server, address);
    struct peri_stream *pair[2];
    if (!l || !peri_stream_open_pair(server->loop, pair))
        return NULL;
    peri_stream_set_peer(pair[1], ip, 0);
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

uint64_t peri_server_lua_bytes(const struct peri_server *server)
{
    return peri_vm_bytes(server->vm);
}

// ---- the end ----

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

static void server_close_listeners(struct peri_server *server)
{
    while (!peri_list_is_empty(&server->listeners))
        listener_remove(PERI_LIST_ITEM(server->listeners.next, struct peri_server_listener, link));
}

static void on_drain_timeout(struct peri_timer *timer)
{
    struct peri_server *server = PERI_CONTAINER(timer, struct peri_server, drain_timer);
    peri_warn("drain: time is over, closing %u connections", peri_server_connections(server));
    server_close_listeners(server);
    server_check_drained(server);
}

void peri_server_drain(struct peri_server *server, uint64_t ms, void (*on_drained)(void *data), void *data)
{
    server->on_drained = on_drained;
    server->drained_data = data;
    peri_timer_start(server->loop, &server->drain_timer, ms);
    for (struct peri_list *link = server->listeners.next; link != &server->listeners; link = link->next) {
        struct peri_server_listener *l = PERI_LIST_ITEM(link, struct peri_server_listener, link);
        peri_listener_drain(l->listener, on_listener_drained, l);
    }
    if (peri_list_is_empty(&server->listeners))
        peri_timer_start(server->loop, &server->drain_timer, 0);
}

void peri_server_free(struct peri_server *server)
{
    peri_timer_stop(&server->drain_timer);
    server_close_listeners(server);
    peri_server_drop(server);
    if (server->current)
        peri_generation_unref(server->current);
    server->current = NULL;
    while (peri_loop_turn(server->loop))
        ;
    if (server->log)
        peri_accesslog_close(server->log);
    if (server->owns_vm) {
        peri_loop_set_idle(server->loop, NULL, NULL);
        peri_vm_free(server->vm);
    }
    if (server->pools)
        peri_pools_free(server->pools);
    if (server->dns)
        peri_dns_free(server->dns);
    free(server);
}
