// SPDX-License-Identifier: MIT
// Pools by address, and how a connection comes to be:
//
//   take idle | connect: literal -> TCP;  name -> DNS -> TCP;  unix:/path;  memory (tests)  -> attempt -> put idle | close
#include "upstream/pool.h"

#include <stdio.h>
#include <stdlib.h>

#include <netinet/in.h>

#include "base/assert.h"
#include "event/dns.h"
#include "event/loop.h"
#include "event/stream.h"
#include "event/tls.h"
#include "upstream/attempt.h"
#include "upstream/connection.h"
#include "upstream/session.h"

struct peri_pools {
    struct peri_pools_options options;
    struct peri_list pools;
    bool is_closed; ///< free when the last pool is gone
};

/// What pools of one address and one upstream have in common.
struct tally {
    uint32_t references; ///< pools
    uint32_t active;     ///< attempts
};

enum pool_kind { POOL_LITERAL, POOL_NAME, POOL_UNIX };

struct peri_pool {
    struct peri_list link; ///< in pools->pools while referenced by a holder
    struct peri_pools *pools;
    char *address; ///< owned, NUL-terminated
    enum pool_kind kind;
    struct peri_slice host; ///< in `address`: name or path
    uint16_t port;
    struct sockaddr_storage literal;
    struct peri_pool_settings settings;
    struct tally *tally; ///< one reference
    struct peri_list idle;
    uint32_t idle_count;
    uint32_t holders; ///< references of generations
    uint32_t open;    ///< connections that point here
    uint32_t next;    ///< address of a name to try first
    struct peri_list sessions;
    struct peri_list waiting;        ///< attempts, by peri_attempt.wait
    struct peri_defer wake;          ///< the connection that they wait for is given up
    struct peri_tls_session resumes; ///< TLS: of the last connection
    uint32_t connecting;             ///< connections that are not established yet
    bool speaks_h2;                  ///< the last connection did, or must
};

/// A connection that waits for its stream: for the address of a name, or for the loop to report a failure.
struct pending_connection {
    struct peri_upstream_connection base;
    struct peri_dns_query query;
    struct peri_defer failure;
    peri_err_t err;
    const struct peri_stream_events *events;
    void (*on_fail)(struct peri_upstream_connection *c, peri_err_t err);
    bool is_resolving;
};

struct peri_pools *peri_pools_new(const struct peri_pools_options *options)
{
    struct peri_pools *pools = calloc(1, sizeof(*pools));
    if (!pools)
        return NULL;
    pools->options = *options;
    peri_list_init(&pools->pools);
    return pools;
}

void peri_pools_free(struct peri_pools *pools)
{
    pools->is_closed = true;
    if (peri_list_is_empty(&pools->pools))
        free(pools);
}

static bool parse_port(struct peri_slice text, uint16_t *port)
{
    unsigned value = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9' || value > 65535)
            return false;
        value = value * 10 + (unsigned)(text.ptr[i] - '0');
    }
    *port = (uint16_t)value;
    return text.len > 0 && value > 0 && value <= 65535;
}

static bool parse_address(struct peri_pool *pool)
{
    struct peri_slice text = peri_slice_from(pool->address);
    if (peri_slice_starts(text, PERI_SLICE("unix:"))) {
        pool->kind = POOL_UNIX;
        pool->host = peri_slice(text.ptr + 5, text.len - 5);
        return pool->host.len > 0;
    }
    const char *colon = strrchr(pool->address, ':');
    if (!colon)
        return false;
    pool->host = peri_slice(text.ptr, (size_t)(colon - text.ptr));
    if (!parse_port(peri_slice(colon + 1, text.len - pool->host.len - 1), &pool->port))
        return false;
    pool->kind = peri_dns_parse_literal(pool->host, pool->port, &pool->literal) ? POOL_LITERAL : POOL_NAME;
    return pool->host.len > 0;
}

static void on_wake(struct peri_defer *defer)
{
    peri_pool_start_waiting(PERI_CONTAINER(defer, struct peri_pool, wake));
}

// Takes the tally of `kin`, a pool of the same address and upstream, or (NULL) makes one.
static bool join_tally(struct peri_pool *pool, const struct peri_pool *kin)
{
    pool->tally = kin ? kin->tally : calloc(1, sizeof(*pool->tally));
    if (pool->tally)
        pool->tally->references++;
    return pool->tally != NULL;
}

static void leave_tally(struct peri_pool *pool)
{
    if (--pool->tally->references == 0)
        free(pool->tally);
}

static struct peri_pool *pool_new(struct peri_pools *pools, struct peri_slice address, const struct peri_pool *kin)
{
    struct peri_pool *pool = calloc(1, sizeof(*pool));
    char *copy = malloc(address.len + 1);
    if (!pool || !copy)
        goto fail;
    memcpy(copy, address.ptr, address.len);
    copy[address.len] = '\0';
    pool->pools = pools;
    pool->address = copy;
    peri_list_init(&pool->idle);
    peri_list_init(&pool->sessions);
    peri_list_init(&pool->waiting);
    peri_defer_init(&pool->wake, on_wake);
    if (!parse_address(pool) || !join_tally(pool, kin))
        goto fail;
    peri_list_append(&pools->pools, &pool->link);
    return pool;
fail:
    free(copy);
    free(pool);
    return NULL;
}

static bool is_same(const struct peri_pool_settings *a, const struct peri_pool_settings *b)
{
    return a->max_idle == b->max_idle && a->idle_ms == b->idle_ms && a->max_requests == b->max_requests &&
           a->open == b->open && a->protocol == b->protocol && peri_tls_client_is_same(a->tls, b->tls);
}

// Is HTTP/2 spoken without asking? In memory everybody speaks HTTP/1.x.
static bool is_h2_only(const struct peri_pool *pool)
{
    return pool->settings.protocol == PERI_POOL_H2 && !pool->pools->options.connect;
}

struct peri_pool *peri_pools_get(struct peri_pools *pools, struct peri_slice address,
                                 const struct peri_pool_settings *settings)
{
    struct peri_pool *pool = NULL, *kin = NULL;
    for (struct peri_list *link = pools->pools.next; link != &pools->pools; link = link->next) {
        struct peri_pool *known = PERI_LIST_ITEM(link, struct peri_pool, link);
        if (!peri_slice_eq(peri_slice_from(known->address), address))
            continue;
        if (known->settings.open == settings->open)
            kin = known;
        if (is_same(&known->settings, settings))
            pool = known;
    }
    if (!pool) {
        pool = pool_new(pools, address, kin);
        if (!pool)
            return NULL;
        pool->settings = *settings;
        pool->speaks_h2 = is_h2_only(pool);
        if (settings->tls)
            peri_tls_client_ref(settings->tls);
    }
    pool->holders++;
    return pool;
}

struct peri_pool *peri_pool_ref(struct peri_pool *pool)
{
    peri_debug_assert(pool->holders > 0);
    pool->holders++;
    return pool;
}

static void pool_check_end(struct peri_pool *pool)
{
    if (pool->holders > 0 || pool->open > 0)
        return;
    struct peri_pools *pools = pool->pools;
    peri_list_remove(&pool->link);
    peri_defer_cancel(&pool->wake);
    leave_tally(pool);
    peri_tls_session_close(&pool->resumes);
    peri_tls_client_unref(pool->settings.tls);
    free(pool->address);
    free(pool);
    if (pools->is_closed && peri_list_is_empty(&pools->pools))
        free(pools);
}

static struct peri_upstream_connection *find_idle_session(const struct peri_pool *pool)
{
    for (struct peri_list *link = pool->sessions.next; link != &pool->sessions; link = link->next) {
        struct peri_upstream_connection *c = PERI_LIST_ITEM(link, struct peri_upstream_connection, link);
        if (c->streams == 0 && !c->attempt)
            return c;
    }
    return NULL;
}

bool peri_pool_drop_idle(struct peri_pool *pool)
{
    struct peri_upstream_connection *c = peri_list_is_empty(&pool->idle)
                                             ? find_idle_session(pool)
                                             : PERI_LIST_ITEM(pool->idle.prev, struct peri_upstream_connection, link);
    if (c)
        peri_upstream_connection_close(c);
    return c != NULL;
}

void peri_pool_release(struct peri_pool *pool)
{
    peri_assert(pool->holders > 0);
    if (--pool->holders > 0)
        return;
    pool->open++; // keeps the pool through the loop below
    while (peri_pool_drop_idle(pool))
        ;
    pool->open--;
    pool_check_end(pool);
}

struct peri_slice peri_pool_address(const struct peri_pool *pool)
{
    return peri_slice_from(pool->address);
}

uint32_t *peri_pool_active(const struct peri_pool *pool)
{
    return &pool->tally->active;
}

enum peri_pool_state peri_pool_state(const struct peri_pool *pool)
{
    if (pool->idle_count > 0 || peri_session_has_room(&pool->sessions))
        return PERI_POOL_CONNECTED;
    if (pool->speaks_h2 && pool->connecting > 0)
        return PERI_POOL_CONNECTING;
    return pool->open > 0 ? PERI_POOL_BUSY : PERI_POOL_EMPTY;
}

uint32_t peri_pool_idle(const struct peri_pool *pool)
{
    return pool->idle_count;
}

struct peri_list *peri_pool_sessions(struct peri_pool *pool)
{
    return &pool->sessions;
}

const struct peri_pool_settings *peri_pool_settings_of(const struct peri_pool *pool)
{
    return &pool->settings;
}

bool peri_pool_speaks_h2(struct peri_upstream_connection *c)
{
    struct peri_pool *pool = c->pool;
    const struct peri_tls_info *tls = peri_stream_tls(c->stream);
    bool is_agreed = tls && peri_slice_eq(peri_slice_from(tls->alpn), PERI_SLICE("h2"));
    pool->connecting--;
    c->is_connected = true;
    pool->speaks_h2 = is_agreed || is_h2_only(pool);
    return pool->speaks_h2;
}

bool peri_pool_has_sessions(const struct peri_pool *pool)
{
    return pool->speaks_h2 || !peri_list_is_empty(&pool->sessions);
}

bool peri_pool_wait(struct peri_attempt *attempt)
{
    struct peri_pool *pool = attempt->pool;
    if (!pool->speaks_h2 || pool->connecting == 0)
        return false;
    peri_list_append(&pool->waiting, &attempt->wait);
    return true;
}

void peri_pool_stop_waiting(struct peri_attempt *attempt)
{
    if (attempt->wait.next) // it was started
        peri_list_remove(&attempt->wait);
}

static struct peri_attempt *next_waiting(struct peri_list *waiting)
{
    if (peri_list_is_empty(waiting))
        return NULL;
    struct peri_attempt *attempt = PERI_LIST_ITEM(waiting->next, struct peri_attempt, wait);
    peri_list_remove(&attempt->wait);
    return attempt;
}

// Who finds no room waits again, for the next connection: each is asked once.
void peri_pool_start_waiting(struct peri_pool *pool)
{
    struct peri_list turn;
    peri_list_init(&turn);
    pool->open++; // keeps the pool: an owner may let go of it
    for (struct peri_attempt *attempt; (attempt = next_waiting(&pool->waiting));)
        peri_list_append(&turn, &attempt->wait);
    for (struct peri_attempt *attempt; (attempt = next_waiting(&turn));)
        peri_attempt_start(attempt);
    pool->open--;
    pool_check_end(pool);
}

void peri_pool_fail_waiting(struct peri_pool *pool, peri_err_t err)
{
    pool->open++; // keeps the pool: an owner may let go of it
    for (struct peri_attempt *attempt; (attempt = next_waiting(&pool->waiting));)
        attempt->events->on_error(attempt, err);
    pool->open--;
}

struct peri_loop *peri_pool_loop(const struct peri_pool *pool)
{
    return pool->pools->options.loop;
}

struct peri_upstream_connection *peri_pool_take(struct peri_pool *pool)
{
    peri_debug_assert(pool->holders > 0);
    if (peri_list_is_empty(&pool->idle))
        return NULL;
    struct peri_upstream_connection *c = PERI_LIST_ITEM(pool->idle.next, struct peri_upstream_connection, link);
    peri_list_remove(&c->link);
    pool->idle_count--;
    return c;
}

static void on_timer(struct peri_timer *timer)
{
    struct pending_connection *p = PERI_CONTAINER(timer, struct pending_connection, base.timer);
    bool is_wanted = p->base.attempt || p->base.dial;
    if (is_wanted && !p->base.is_connected && !p->base.h2)
        p->on_fail(&p->base, PERI_ERR_CONNECT_TIMEOUT);
    else if (!p->base.attempt)
        peri_upstream_connection_close(&p->base);
}

static void pending_fail(struct pending_connection *p, peri_err_t err)
{
    p->err = err;
    peri_defer_schedule(peri_pool_loop(p->base.pool), &p->failure);
}

static void on_failure(struct peri_defer *defer)
{
    struct pending_connection *p = PERI_CONTAINER(defer, struct pending_connection, failure);
    if (p->base.is_closing) {
        peri_upstream_connection_closed(&p->base);
        return;
    }
    p->on_fail(&p->base, p->err);
}

// Where the address leads, as certificates name it: IPv6 without its brackets.
static struct peri_slice bare_host(const struct peri_pool *pool)
{
    struct peri_slice host = pool->kind == POOL_UNIX ? peri_slice(NULL, 0) : pool->host;
    if (host.len > 2 && host.ptr[0] == '[')
        return peri_slice(host.ptr + 1, host.len - 2);
    return host;
}

// The stream of a connection over a lower stream (taken) that is connecting; NULL when there is none, because of `err`.
static void pending_use(struct pending_connection *p, struct peri_stream *lower, peri_err_t err)
{
    struct peri_pool *pool = p->base.pool;
    p->base.stream = lower;
    if (lower && pool->settings.tls)
        p->base.stream = peri_stream_connect_tls(lower, pool->settings.tls, bare_host(pool), &pool->resumes, p->events,
                                                 &p->base, &err);
    if (!p->base.stream)
        pending_fail(p, err);
}

static void pending_connect_to(struct pending_connection *p, const struct sockaddr_storage *address)
{
    peri_debug_assert(!p->base.stream && !p->is_resolving);
    peri_err_t err;
    struct peri_stream *lower = peri_stream_connect_tcp(peri_pool_loop(p->base.pool), (const struct sockaddr *)address,
                                                        p->events, &p->base, &err);
    pending_use(p, lower, err);
}

static void pending_connect_unix(struct pending_connection *p)
{
    peri_err_t err;
    struct peri_stream *lower =
        peri_stream_connect_unix(peri_pool_loop(p->base.pool), p->base.pool->host.ptr, p->events, &p->base, &err);
    pending_use(p, lower, err);
}

static void set_port(struct sockaddr_storage *address, uint16_t port)
{
    if (address->ss_family == AF_INET6)
        ((struct sockaddr_in6 *)address)->sin6_port = htons(port);
    else
        ((struct sockaddr_in *)address)->sin_port = htons(port);
}

static void on_resolved(struct peri_dns_query *query, peri_err_t err, const struct sockaddr_storage *addresses,
                        unsigned count)
{
    struct pending_connection *p = PERI_CONTAINER(query, struct pending_connection, query);
    p->is_resolving = false;
    if (err != PERI_OK || count == 0) {
        pending_fail(p, err == PERI_ERR_OVERLOADED
                            ? err
                            : PERI_ERR_RESOLVE); // from the loop: the resolver may have said so at once
        return;
    }
    struct sockaddr_storage address = addresses[p->base.pool->next++ % count];
    set_port(&address, p->base.pool->port);
    pending_connect_to(p, &address);
}

static void pending_connect_memory(struct pending_connection *p)
{
    struct peri_pools *pools = p->base.pool->pools;
    struct peri_stream *stream = pools->options.connect(pools->options.data, peri_pool_address(p->base.pool));
    if (stream == PERI_STREAM_SILENCE)
        return; // the timer ends it
    p->base.stream = stream;
    if (!stream) {
        pending_fail(p, PERI_ERR_CONNECT);
        return;
    }
    peri_stream_set_owner(stream, p->events, &p->base);
    peri_stream_announce(stream);
}

static void pending_connect(struct pending_connection *p)
{
    struct peri_pool *pool = p->base.pool;
    struct peri_pools *pools = pool->pools;
    if (pools->options.connect) {
        pending_connect_memory(p);
        return;
    }
    switch (pool->kind) {
    case POOL_LITERAL: pending_connect_to(p, &pool->literal); return;
    case POOL_NAME:
        if (!pools->options.dns) {
            pending_fail(p, PERI_ERR_RESOLVE);
            return;
        }
        p->is_resolving = true;
        p->query.on_done = on_resolved;
        peri_dns_resolve(pools->options.dns, pool->host, &p->query);
        return;
    case POOL_UNIX: pending_connect_unix(p); return;
    }
}

// A connection that is not on its way yet; it counts as open.
static struct pending_connection *pending_new(struct peri_pool *pool, const struct peri_stream_events *events,
                                              void (*on_fail)(struct peri_upstream_connection *c, peri_err_t err))
{
    struct pending_connection *p = calloc(1, sizeof(*p));
    if (!p)
        return NULL;
    p->base.pool = pool;
    p->events = events;
    p->on_fail = on_fail;
    pool->open++;
    if (pool->settings.open)
        ++*pool->settings.open;
    peri_list_init(&p->base.link);
    peri_timer_init(&p->base.timer, on_timer);
    peri_defer_init(&p->failure, on_failure);
    return p;
}

static struct peri_upstream_connection *pending_start(struct pending_connection *p, uint64_t connect_ms)
{
    if (connect_ms > 0)
        peri_timer_start(peri_pool_loop(p->base.pool), &p->base.timer, connect_ms);
    pending_connect(p);
    return &p->base;
}

struct peri_upstream_connection *peri_pool_connect(struct peri_pool *pool, const struct peri_stream_events *events,
                                                   struct peri_attempt *attempt, uint64_t connect_ms,
                                                   void (*on_fail)(struct peri_upstream_connection *c, peri_err_t err))
{
    struct pending_connection *p = pending_new(pool, events, on_fail);
    if (!p)
        return NULL;
    p->base.attempt = attempt;
    pool->connecting++;
    return pending_start(p, connect_ms);
}

struct peri_upstream_connection *peri_pool_dial(struct peri_pool *pool, const struct peri_stream_events *events,
                                                struct peri_dial *dial, uint64_t connect_ms,
                                                void (*on_fail)(struct peri_upstream_connection *c, peri_err_t err))
{
    struct pending_connection *p = pending_new(pool, events, on_fail);
    if (!p)
        return NULL;
    p->base.dial = dial;
    return pending_start(p, connect_ms);
}

void peri_pool_put(struct peri_upstream_connection *c)
{
    struct peri_pool *pool = c->pool;
    const struct peri_pool_settings *s = &pool->settings;
    peri_debug_assert(!c->is_closing && c->stream && peri_list_is_empty(&c->link));
    c->attempt = NULL;
    if (pool->holders == 0 || pool->idle_count >= s->max_idle ||
        (s->max_requests > 0 && c->requests >= s->max_requests)) {
        peri_upstream_connection_close(c);
        return;
    }
    peri_list_prepend(&pool->idle, &c->link);
    pool->idle_count++;
    if (s->idle_ms > 0)
        peri_timer_start(peri_pool_loop(pool), &c->timer, s->idle_ms);
    else
        peri_timer_stop(&c->timer);
}

// A connection is not on its way any more. Who waits for it begins anew, outside the caller's call.
static void give_up(struct peri_pool *pool)
{
    pool->connecting--;
    if (!peri_list_is_empty(&pool->waiting))
        peri_defer_schedule(peri_pool_loop(pool), &pool->wake);
}

void peri_upstream_connection_close(struct peri_upstream_connection *c)
{
    struct pending_connection *p = PERI_CONTAINER(c, struct pending_connection, base);
    if (c->is_closing)
        return;
    c->is_closing = true;
    c->attempt = NULL;
    if (!c->is_connected && !c->dial)
        give_up(c->pool);
    c->dial = NULL;
    if (!peri_list_is_empty(&c->link)) {
        peri_list_remove(&c->link);
        c->pool->idle_count -= c->h2 == NULL;
    }
    if (p->is_resolving)
        peri_dns_cancel(&p->query);
    p->is_resolving = false;
    peri_session_end(c);
    peri_timer_stop(&c->timer);
    if (c->stream) {
        peri_defer_cancel(&p->failure);
        peri_stream_close(c->stream);
    } else {
        peri_defer_schedule(peri_pool_loop(c->pool), &p->failure); // frees it, outside the caller's call
    }
}

void peri_upstream_connection_closed(struct peri_upstream_connection *c)
{
    struct peri_pool *pool = c->pool;
    struct pending_connection *p = PERI_CONTAINER(c, struct pending_connection, base);
    peri_debug_assert(c->is_closing || !c->attempt);
    peri_debug_assert(pool->open > 0);
    peri_debug_assert(peri_list_is_empty(&c->link));
    peri_timer_stop(&c->timer);
    peri_defer_cancel(&p->failure);
    free(p);
    pool->open--;
    if (pool->settings.open)
        --*pool->settings.open;
    pool_check_end(pool);
}
