// SPDX-License-Identifier: MIT
// Connections and descriptors are looked at whenever a client comes or goes, memory on a timer and whenever a share of its limit has
// come in: none of it costs a request anything.
#include "proxy/overload.h"

#include "base/assert.h"
#include "base/log.h"
#include "codec/json.h"
#include "downstream/listener.h"
#include "event/loop.h"
#include "proxy/server_internal.h"
#include "proxy/shed.h"
#include "shared/metrics.h"

#define TICK_MS 250           // between two looks at memory (Envoy's refresh interval is the same)
#define SAMPLE_COUNT 64       // clients that come or go between two other looks
#define INTAKE_SHARE 64       // of the memory limit: what comes in between two other looks
#define INTAKE_MIN 262144     // bytes of that at least
#define CALM_TICKS 2          // that memory is below the mark before shedding ends
#define QUIET_MS 10000        // between two episodes of a resource that the log tells of
#define TRIM_TICKS 4          // between two attempts to give memory back
#define CROWD_MIN 1000        // clients whose memory is worth giving back
#define SHED_PERCENT 90       // of the limit, where shedding begins
#define CALM_PERCENT 85       // below which it ends
#define RESUME_PERCENT 95     // below which accepting goes on
#define CGROUP_PERCENT 95     // of the cgroup's memory: at 100 % the kernel kills
#define CONNECTIONS_MAX 50000 // by default, however many descriptors there are
#define MILLION 1000000

// ---- what is used ----

static uint64_t read_memory(const struct peri_overload *o)
{
    return o->is_of_cgroup ? peri_footprint_cgroup(&o->footprint) : peri_footprint_memory(&o->footprint);
}

static void read_counts(struct peri_server *server)
{
    struct peri_overload *o = &server->overload;
    o->watches[PERI_RESOURCE_CONNECTIONS].used = peri_server_connections(server);
    o->watches[PERI_RESOURCE_FDS].used = o->base + peri_loop_sockets(server->loop);
}

static bool is_above(const struct peri_overload_watch *watch, uint64_t percent)
{
    return watch->limit > 0 && watch->used * 100 >= watch->limit * percent;
}

static void sample_memory(struct peri_overload *o)
{
    if (o->watches[PERI_RESOURCE_MEMORY].limit > 0)
        o->watches[PERI_RESOURCE_MEMORY].used = read_memory(o);
}

// Memory that was freed stays with the allocator, which would be shed for without an end.
static void give_memory_back(struct peri_overload *o)
{
    const struct peri_overload_watch *memory = &o->watches[PERI_RESOURCE_MEMORY];
    if (!is_above(memory, CALM_PERCENT) || ++o->since_trim < TRIM_TICKS)
        return;
    o->since_trim = 0;
    peri_footprint_trim();
    sample_memory(o);
}

// ---- the states ----

static enum peri_overload_state next_state(struct peri_overload_watch *watch, bool is_settled)
{
    enum peri_overload_state least = watch->state == PERI_OVERLOAD_CALM ? PERI_OVERLOAD_CALM : PERI_OVERLOAD_SHEDDING;
    if (is_above(watch, 100))
        return PERI_OVERLOAD_STOPPED;
    if (watch->state == PERI_OVERLOAD_STOPPED && is_above(watch, RESUME_PERCENT))
        return PERI_OVERLOAD_STOPPED;
    if (!is_above(watch, CALM_PERCENT) && is_settled)
        return PERI_OVERLOAD_CALM;
    return is_above(watch, SHED_PERCENT) ? PERI_OVERLOAD_SHEDDING : least;
}

static void tell(const struct peri_server *server, enum peri_resource resource, const char *what)
{
    const struct peri_overload_watch *watch = &server->overload.watches[resource];
    peri_warn("worker %d: overload: %s: %llu of %llu: %s", server->worker, peri_resource_name(resource),
              (unsigned long long)watch->used, (unsigned long long)watch->limit, what);
}

static void tell_begin(struct peri_server *server, enum peri_resource resource)
{
    struct peri_overload_watch *watch = &server->overload.watches[resource];
    uint64_t now = peri_loop_now_ms(server->loop);
    watch->since_ms = now;
    watch->is_told = watch->told_ms == 0 || now - watch->told_ms >= QUIET_MS;
    watch->is_stop_told = !watch->is_told;
    if (!watch->is_told)
        return;
    watch->told_ms = now;
    tell(server, resource,
         resource == PERI_RESOURCE_MEMORY ? "requests are answered 503" : "newcomers are answered 503");
}

static void tell_end(const struct peri_server *server, enum peri_resource resource)
{
    const struct peri_overload_watch *watch = &server->overload.watches[resource];
    if (watch->is_told)
        peri_info("worker %d: overload: %s: over after %llu ms", server->worker, peri_resource_name(resource),
                  (unsigned long long)(peri_loop_now_ms(server->loop) - watch->since_ms));
}

static void tell_change(struct peri_server *server, enum peri_resource resource, enum peri_overload_state was)
{
    struct peri_overload_watch *watch = &server->overload.watches[resource];
    if (was == PERI_OVERLOAD_CALM)
        tell_begin(server, resource);
    if (watch->state == PERI_OVERLOAD_CALM)
        tell_end(server, resource);
    if (watch->state == PERI_OVERLOAD_STOPPED && !watch->is_stop_told) {
        watch->is_stop_told = true;
        tell(server, resource, "no connections are accepted");
    }
}

static void publish(struct peri_server *server, enum peri_resource resource)
{
    const struct peri_overload_watch *watch = &server->overload.watches[resource];
    struct peri_overload_gauge *gauge = &server->page->overload.gauges[resource];
    gauge->used = watch->used;
    gauge->limit = watch->limit;
    gauge->state = watch->state;
}

// Has the figure been below the mark for long enough?
static bool is_settled(struct peri_overload_watch *watch, enum peri_resource resource, bool is_tick)
{
    if (resource != PERI_RESOURCE_MEMORY)
        return true;
    if (is_above(watch, CALM_PERCENT))
        watch->calm_ticks = 0;
    else
        watch->calm_ticks += is_tick;
    return watch->calm_ticks >= CALM_TICKS;
}

// Returns whether the state is another one now.
static bool step(struct peri_server *server, enum peri_resource resource, bool is_tick)
{
    struct peri_overload_watch *watch = &server->overload.watches[resource];
    enum peri_overload_state was = watch->state;
    watch->state = next_state(watch, is_settled(watch, resource, is_tick));
    publish(server, resource);
    if (watch->state == was)
        return false;
    for (unsigned state = was + 1; state <= watch->state; state++)
        server->page->overload.gauges[resource].begun[state]++;
    tell_change(server, resource, was);
    return true;
}

// ---- what is done about it ----

static enum peri_overload_state worst(const struct peri_overload *o, unsigned from)
{
    enum peri_overload_state state = PERI_OVERLOAD_CALM;
    for (unsigned i = from; i < PERI_RESOURCES; i++)
        if (o->watches[i].state > state)
            state = o->watches[i].state;
    return state;
}

// Memory is given back only by doing less; of the others there is enough for those who are here.
static enum peri_refused whom_to_refuse(const struct peri_overload *o)
{
    if (o->watches[PERI_RESOURCE_MEMORY].state != PERI_OVERLOAD_CALM)
        return PERI_REFUSED_ALL;
    return worst(o, PERI_RESOURCE_CONNECTIONS) != PERI_OVERLOAD_CALM ? PERI_REFUSED_NEWCOMERS : PERI_REFUSED_NONE;
}

static void relieve(const struct peri_server *server, struct peri_listener *listener)
{
    const struct peri_overload *o = &server->overload;
    peri_listener_refuse(listener, whom_to_refuse(o), &peri_shed_owner);
    peri_listener_pause(listener, worst(o, PERI_RESOURCE_MEMORY) == PERI_OVERLOAD_STOPPED);
}

static void look(struct peri_server *server, bool is_tick)
{
    bool has_changed = false;
    read_counts(server);
    for (unsigned i = 0; i < PERI_RESOURCES; i++)
        has_changed = step(server, (enum peri_resource)i, is_tick) || has_changed;
    if (!has_changed)
        return;
    for (struct peri_list *link = server->listeners.next; link != &server->listeners; link = link->next)
        relieve(server, PERI_LIST_ITEM(link, struct peri_server_listener, link)->listener);
}

// A crowd that comes between two ticks is noticed too.
static void on_count(void *data)
{
    struct peri_server *server = data;
    if (++server->overload.counted % SAMPLE_COUNT == 0)
        sample_memory(&server->overload);
    look(server, false);
}

// What clients send is there long before the next tick: a few thousand of them fill any limit within one turn of the loop.
static void on_intake(void *data)
{
    struct peri_server *server = data;
    sample_memory(&server->overload);
    look(server, false);
}

static void watch_intake(struct peri_server *server)
{
    uint64_t limit = server->overload.watches[PERI_RESOURCE_MEMORY].limit, share = limit / INTAKE_SHARE;
    uint64_t least = limit > 0 ? INTAKE_MIN : 0;
    peri_loop_watch_intake(server->loop, share > least ? share : least, on_intake, server);
}

static void count_rests(struct peri_server *server)
{
    uint64_t rests = peri_loop_refused_sockets(server->loop);
    server->page->overload.rests += rests - server->overload.rests;
    server->overload.rests = rests;
}

// What a crowd of clients needed goes back to the system when most of them have left.
static void trim_after_crowd(struct peri_server *server)
{
    uint32_t count = peri_server_connections(server), *crowd = &server->overload.crowd;
    if (count >= *crowd) {
        *crowd = count;
    } else if (*crowd >= CROWD_MIN && count < *crowd / 4) {
        peri_footprint_trim();
        *crowd = count;
    }
}

static void on_tick(struct peri_timer *timer)
{
    struct peri_server *server = PERI_CONTAINER(timer, struct peri_server, overload.tick);
    sample_memory(&server->overload);
    give_memory_back(&server->overload);
    trim_after_crowd(server);
    count_rests(server);
    look(server, true);
    peri_timer_start(server->loop, timer, TICK_MS);
}

// ---- the limits ----

static void limit_memory(struct peri_overload *o, const struct peri_json *json)
{
    int64_t written = peri_json_get_integer(json, "memory", -1);
    o->is_of_cgroup = written < 0;
    o->watches[PERI_RESOURCE_MEMORY].limit =
        written < 0 ? o->footprint.cgroup_limit / 100 * CGROUP_PERCENT : (uint64_t)written;
}

static uint64_t limit_fds(const struct peri_json *json, uint64_t most)
{
    int64_t share = peri_json_get_integer(json, "fds_share", MILLION);
    int64_t count = peri_json_get_integer(json, "fds", -1);
    if (count >= 0)
        return (uint64_t)count < most ? (uint64_t)count : most;
    return most * (uint64_t)share / MILLION;
}

// Every client may need a connection to an upstream.
static uint64_t half_of(uint64_t fds, uint64_t base)
{
    uint64_t half = fds > base + 1 ? (fds - base) / 2 : 1;
    return fds > 0 && half < CONNECTIONS_MAX ? half : CONNECTIONS_MAX;
}

static void read_limits(struct peri_server *server, const struct peri_json *json)
{
    struct peri_overload *o = &server->overload;
    uint64_t most = peri_footprint_descriptor_limit();
    uint64_t fds = limit_fds(json, most);
    uint64_t sockets = fds + (most - fds) / 2; // the rest is for files, names and reloads
    limit_memory(o, json);
    o->watches[PERI_RESOURCE_FDS].limit = fds;
    o->watches[PERI_RESOURCE_CONNECTIONS].limit =
        (uint64_t)peri_json_get_integer(json, "connections", (int64_t)half_of(fds, o->base));
    bool is_limited = fds > 0 && sockets > o->base && sockets < UINT32_MAX;
    peri_loop_limit_sockets(server->loop, is_limited ? (uint32_t)sockets - o->base : UINT32_MAX);
}

static void count_base(struct peri_server *server)
{
    uint32_t sockets = peri_loop_sockets(server->loop), all = peri_footprint_descriptors();
    if (all >= sockets)
        server->overload.base = all - sockets;
}

void peri_overload_apply(struct peri_server *server, const struct peri_json *config)
{
    struct peri_overload *o = &server->overload;
    if (!server->dns) // in memory there are no sockets
        return;
    if (!o->is_open)
        peri_footprint_open(&o->footprint);
    o->is_open = true;
    count_base(server);
    read_limits(server, peri_json_get(config, "overload"));
    watch_intake(server);
    look(server, false);
}

// ---- life ----

void peri_overload_init(struct peri_server *server)
{
    peri_timer_init(&server->overload.tick, on_tick);
}

void peri_overload_add(struct peri_server *server, struct peri_listener *listener)
{
    peri_listener_watch(listener, on_count, server);
    relieve(server, listener);
    if (!server->overload.is_running)
        peri_timer_start(server->loop, &server->overload.tick, TICK_MS);
    server->overload.is_running = true;
}

void peri_overload_close(struct peri_server *server)
{
    peri_timer_stop(&server->overload.tick);
    peri_loop_watch_intake(server->loop, 0, NULL, NULL);
    if (server->overload.is_open)
        peri_footprint_close(&server->overload.footprint);
}
