// SPDX-License-Identifier: MIT
// Puts the parts of a serving process together and swaps generations.
#include "proxy/server_internal.h"

#include <stdlib.h>

#include "base/assert.h"
#include "codec/json.h"
#include "event/dns.h"
#include "event/loop.h"
#include "event/redis.h"
#include "proxy/accesslog.h"
#include "proxy/discovery.h"
#include "proxy/pipeline.h"
#include "script/vm.h"
#include "shared/metrics.h"
#include "shared/shm.h"
#include "upstream/keeper.h"
#include "upstream/pool.h"

static void on_idle(void *data)
{
    peri_vm_idle(data);
}

static bool server_open_vm(struct peri_server *server, const struct peri_server_options *options)
{
    struct peri_vm_options vm_options = {
        .loop = options->loop,
        .shm = options->shm,
        .host = peri_server_script_host(),
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
    struct peri_redis_options redis = {
        .loop = server->loop, .dns = server->dns, .connect = options->connect, .data = options->connect_data};
    server->redis = peri_redis_new(&redis);
    return (server->dns || is_memory) && server->pools && server->redis;
}

// In memory nothing is checked: the endpoints there are fakes, which answer what a test has told them.
static bool server_open_keeper(struct peri_server *server)
{
    struct peri_pools *pools = server->dns ? server->pools : NULL;
    server->keeper = peri_keeper_new(server->loop, pools, server->shm, (uint32_t)server->worker);
    return server->keeper != NULL;
}

struct peri_server *peri_server_new(const struct peri_server_options *options)
{
    struct peri_server *server = calloc(1, sizeof(*server));
    if (!server)
        return NULL;
    server->loop = options->loop;
    server->shm = options->shm;
    server->worker = options->worker;
    server->dev = options->dev;
    server->page = peri_shm_metrics(options->shm, (uint32_t)options->worker);
    peri_listeners_init(server);
    peri_overload_init(server);
    peri_server_warm_init(server);
    peri_list_init(&server->exchanges);
    server->is_quiet = options->is_quiet;
    if (!server_open_pools(server, options) || !server_open_keeper(server) || !server_open_vm(server, options)) {
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
    struct peri_generation *generation = peri_generation_new(build.script, build.config, source, number, digest,
                                                             server->pools, server->shm, server->page, errors);
    if (!generation)
        return PERI_ERR_INVALID;
    generation->server = server;
    if (server->current)
        peri_generation_inherit(generation, server->current, peri_loop_now_ms(server->loop));
    peri_discovery_recall_all(generation);
    struct peri_script_generation *previous = server->current ? server->current->script : NULL;
    if (peri_script_start(generation->script, previous, errors) != PERI_OK) {
        peri_generation_unref(generation);
        return PERI_ERR_INVALID;
    }
    server->candidate = generation;
    if (!server->current)
        peri_server_set_resolver(server);
    peri_discovery_start_all(generation);
    return PERI_OK;
}

const char *peri_server_config(const struct peri_server *server)
{
    const struct peri_generation *generation = server->candidate ? server->candidate : server->current;
    return generation ? generation->config : NULL;
}

void peri_server_drop(struct peri_server *server)
{
    server->canary.share = 0;
    peri_server_stop_warming(server);
    if (server->candidate) {
        peri_discovery_stop_all(server->candidate);
        peri_generation_unref(server->candidate);
    }
    server->candidate = NULL;
}

void peri_server_canary(struct peri_server *server, uint32_t share)
{
    peri_assert(server->candidate && server->current && share > 0 && share <= PERI_CANARY_WHOLE);
    server->canary = (struct peri_canary){.generation = server->candidate->number, .share = share};
    peri_canary_open(&server->page->canary, server->candidate->number);
}

uint64_t peri_server_generation(const struct peri_server *server)
{
    return server->current ? server->current->number : 0;
}

static void server_switch_log(struct peri_server *server, const struct peri_json *config)
{
    struct peri_slice path = peri_json_get_string(peri_json_get(config, "access_log"), "path");
    if (server->is_quiet)
        return;
    if (server->log && peri_accesslog_is(server->log, path))
        return;
    if (server->log)
        peri_accesslog_close(server->log);
    server->log = path.len > 0 ? peri_accesslog_open(server->loop, path, server->page) : NULL;
}

bool peri_server_log_to(struct peri_server *server, void (*emit)(void *data, struct peri_slice line), void *data)
{
    peri_assert(!server->log);
    server->is_quiet = true;
    server->log = peri_accesslog_open_sink(server->loop, server->page, emit, data);
    return server->log != NULL;
}

void peri_server_switch(struct peri_server *server)
{
    peri_assert(server->candidate != NULL);
    struct peri_generation *old = server->current;
    server->current = server->candidate;
    server->candidate = NULL;
    server->canary.share = 0;
    peri_server_stop_warming(server);
    struct peri_json *config = peri_json_parse(peri_slice_from(server->current->config), false, NULL, 0);
    if (!server->dev)
        server_switch_log(server, config);
    peri_server_set_resolver(server);
    peri_listeners_apply(server, config);
    peri_overload_apply(server, config);
    peri_json_free(config);
    peri_keeper_set(server->keeper, server->current->upstreams, server->current->upstream_count);
    peri_discovery_switch_all(server->current);
    if (!old)
        return;
    peri_discovery_stop_all(old);
    peri_generation_unref(old);
}

uint64_t peri_server_lua_bytes(const struct peri_server *server)
{
    return peri_vm_bytes(server->vm);
}

// ---- the end ----

void peri_server_free(struct peri_server *server)
{
    peri_timer_stop(&server->drain_timer);
    peri_overload_close(server);
    peri_server_tap(server, NULL);
    server->on_drained = NULL; // whoever waited for the end of the drain has it now
    peri_keeper_free(server->keeper);
    server->keeper = NULL;
    peri_listeners_close(server);
    peri_pipeline_end_all(server);
    peri_server_drop(server);
    if (server->current)
        peri_generation_unref(server->current);
    server->current = NULL;
    peri_debug_assert(peri_list_is_empty(&server->exchanges));
    while (peri_loop_turn(server->loop))
        ;
    if (server->log)
        peri_accesslog_close(server->log);
    if (server->owns_vm) {
        peri_loop_set_idle(server->loop, NULL, NULL);
        peri_vm_free(server->vm);
    }
    if (server->redis)
        peri_redis_free(server->redis);
    if (server->pools)
        peri_pools_free(server->pools);
    if (server->dns)
        peri_dns_free(server->dns);
    free(server);
}

void peri_server_tell_end(struct peri_server *server, const struct peri_exchange *x, int status, uint64_t ns)
{
    if (server->log)
        peri_accesslog_add(server->log, x, status, ns);
    else if (server->dev)
        server->dev->on_end(server->dev->data, x, status);
}
