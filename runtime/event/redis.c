// SPDX-License-Identifier: MIT
// Clients by target, and the life of a connection:
//
//   IDLE -> CONNECTING -> GREETING (AUTH, SELECT or PING) -> READY
//    ^          |             |                                |    timeout, end, malformed reply: all calls fail,
//    +----------+-------------+--------------------------------+    and when it was not READY, or hung, nobody tries for a while
//
// Calls wait until the server has answered the greeting, then they are sent at once and answered in order. All calls of a client have the
// same timeout, so the first one in the queue is the first to run out.
#include "event/redis.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/list.h"
#include "event/dns.h"
#include "event/loop.h"
#include "event/redis_reply.h"
#include "event/stream.h"
#include "event/timer.h"

#define PERI_REDIS_IDLE_MS 60000   // a connection that nobody uses
#define PERI_REDIS_RETRY_MS 100    // first pause after a failure, doubled with each
#define PERI_REDIS_RETRY_MAX 2000  // longest pause
#define PERI_REDIS_REFUSAL_MAX 200 // bytes of the server's refusal that are kept

enum redis_state { REDIS_IDLE, REDIS_CONNECTING, REDIS_GREETING, REDIS_READY };

struct peri_redis {
    struct peri_redis_options options;
    struct peri_list clients;
    unsigned count;
};

struct redis_client {
    struct peri_list link;
    struct peri_redis *redis;
    struct peri_redis_target target; ///< its texts are owned, behind the struct
    enum redis_state state;
    struct peri_stream *stream; ///< NULL while there is none
    struct peri_redis_reader *reader;
    struct peri_dns_query query;
    struct peri_defer resolved; ///< the name has no address
    struct peri_timer timer;    ///< the first call's time, the connection's, or idle time
    uint64_t connect_until_ms;
    struct peri_list calls; ///< in order; sent when READY
    uint32_t count;
    unsigned greetings; ///< answers of the greeting to come
    unsigned failures;  ///< in a row
    uint64_t retry_ms;  ///< not before
    peri_err_t err;     ///< the last failure
    bool is_resolving;
    size_t refusal_len;
    char refusal[PERI_REDIS_REFUSAL_MAX];
};

struct peri_redis_call {
    struct peri_list link;
    uint64_t until_ms;
    void (*on_done)(void *data, peri_err_t err, const struct peri_redis_reply *reply); ///< NULL: cancelled
    void *data;
    struct peri_slice bytes; ///< owned while they wait to be sent
};

static void on_timer(struct peri_timer *timer);
static void on_unresolved(struct peri_defer *defer);

struct peri_redis *peri_redis_new(const struct peri_redis_options *options)
{
    struct peri_redis *redis = calloc(1, sizeof(*redis));
    if (!redis)
        return NULL;
    redis->options = *options;
    peri_list_init(&redis->clients);
    return redis;
}

// ---- clients ----

static uint64_t now_ms(const struct redis_client *client)
{
    return peri_loop_now_ms(client->redis->options.loop);
}

static bool is_target(const struct peri_redis_target *a, const struct peri_redis_target *b)
{
    return a->port == b->port && a->database == b->database && a->timeout_ms == b->timeout_ms &&
           peri_slice_eq(a->host, b->host) && peri_slice_eq(a->user, b->user) &&
           peri_slice_eq(a->password, b->password);
}

static struct redis_client *client_find(const struct peri_redis *redis, const struct peri_redis_target *target)
{
    for (struct peri_list *link = redis->clients.next; link != &redis->clients; link = link->next) {
        struct redis_client *client = PERI_LIST_ITEM(link, struct redis_client, link);
        if (is_target(&client->target, target))
            return client;
    }
    return NULL;
}

// Copies `text` to `*out` with a NUL behind it, which the path of a socket needs.
static struct peri_slice keep(char **out, struct peri_slice text)
{
    char *copy = *out;
    if (text.len > 0)
        memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    *out += text.len + 1;
    return peri_slice(copy, text.len);
}

static struct redis_client *client_new(struct peri_redis *redis, const struct peri_redis_target *target)
{
    struct redis_client *client =
        calloc(1, sizeof(*client) + target->host.len + target->user.len + target->password.len + 3);
    if (!client)
        return NULL;
    char *texts = (char *)(client + 1);
    client->redis = redis;
    client->target = *target;
    client->target.host = keep(&texts, target->host);
    client->target.user = keep(&texts, target->user);
    client->target.password = keep(&texts, target->password);
    peri_list_init(&client->calls);
    peri_timer_init(&client->timer, on_timer);
    peri_defer_init(&client->resolved, on_unresolved);
    peri_list_prepend(&redis->clients, &client->link);
    redis->count++;
    return client;
}

static void client_arm(struct redis_client *client)
{
    uint64_t now = now_ms(client), until = now + PERI_REDIS_IDLE_MS;
    if (client->state == REDIS_CONNECTING || client->state == REDIS_GREETING)
        until = client->connect_until_ms;
    else if (!peri_list_is_empty(&client->calls))
        until = PERI_LIST_ITEM(client->calls.next, struct peri_redis_call, link)->until_ms;
    peri_timer_start(client->redis->options.loop, &client->timer, until > now ? until - now : 0);
}

// A stream that is no client's any more ends by itself.
static void on_gone(struct peri_stream *stream)
{
    PERI_UNUSED(stream);
}

static const struct peri_stream_events gone_events = {.on_close = on_gone};

static void client_disconnect(struct redis_client *client)
{
    if (client->is_resolving)
        peri_dns_cancel(&client->query);
    client->is_resolving = false;
    peri_defer_cancel(&client->resolved);
    if (client->stream) {
        peri_stream_set_owner(client->stream, &gone_events, NULL);
        peri_stream_close(client->stream);
    }
    client->stream = NULL;
    peri_redis_reader_free(client->reader);
    client->reader = NULL;
    client->state = REDIS_IDLE;
}

static void call_free(struct peri_redis_call *call)
{
    peri_list_remove(&call->link);
    free((char *)call->bytes.ptr);
    free(call);
}

static void client_free(struct redis_client *client)
{
    client_disconnect(client);
    peri_timer_stop(&client->timer);
    while (!peri_list_is_empty(&client->calls))
        call_free(PERI_LIST_ITEM(client->calls.next, struct peri_redis_call, link));
    peri_list_remove(&client->link);
    client->redis->count--;
    free(client);
}

void peri_redis_free(struct peri_redis *redis)
{
    while (!peri_list_is_empty(&redis->clients))
        client_free(PERI_LIST_ITEM(redis->clients.next, struct redis_client, link));
    free(redis);
}

// ---- the end of calls ----

static void call_end(struct redis_client *client, struct peri_redis_call *call, peri_err_t err,
                     const struct peri_redis_reply *reply)
{
    void (*on_done)(void *, peri_err_t, const struct peri_redis_reply *) = call->on_done;
    void *data = call->data;
    call_free(call);
    client->count--;
    if (on_done)
        on_done(data, err, reply);
}

// A server that is away is left alone for a while; one that only ended its connection is not.
static void client_note_failure(struct redis_client *client, peri_err_t err)
{
    bool is_away = client->state != REDIS_READY || err == PERI_ERR_UPSTREAM_TIMEOUT;
    uint64_t pause = PERI_REDIS_RETRY_MS;
    client->err = err;
    if (err != PERI_ERR_CLOSED)
        client->refusal_len = 0;
    if (!is_away)
        return;
    for (unsigned i = 0; i < client->failures && pause < PERI_REDIS_RETRY_MAX; i++)
        pause *= 2;
    client->failures++;
    client->retry_ms = now_ms(client) + (pause < PERI_REDIS_RETRY_MAX ? pause : PERI_REDIS_RETRY_MAX);
}

// From the loop: the connection is over, and with it all calls. Those that the callbacks make are of the next one.
static void client_fail(struct redis_client *client, peri_err_t err)
{
    uint32_t count = client->count;
    client_note_failure(client, err);
    client_disconnect(client);
    while (count-- > 0)
        call_end(client, PERI_LIST_ITEM(client->calls.next, struct peri_redis_call, link), err, NULL);
    client_arm(client);
}

static void on_timer(struct peri_timer *timer)
{
    struct redis_client *client = PERI_CONTAINER(timer, struct redis_client, timer);
    if (client->state == REDIS_CONNECTING || client->state == REDIS_GREETING)
        client_fail(client, PERI_ERR_CONNECT_TIMEOUT);
    else if (!peri_list_is_empty(&client->calls))
        client_fail(client, PERI_ERR_UPSTREAM_TIMEOUT);
    else
        client_free(client);
}

// ---- sending and reading ----

static peri_err_t call_send(struct redis_client *client, struct peri_redis_call *call)
{
    peri_err_t err = peri_stream_write(client->stream, call->bytes);
    free((char *)call->bytes.ptr);
    call->bytes = peri_slice(NULL, 0);
    return err;
}

static void client_send_waiting(struct redis_client *client)
{
    struct peri_list *link = client->calls.next;
    while (link != &client->calls) {
        struct peri_redis_call *call = PERI_LIST_ITEM(link, struct peri_redis_call, link);
        link = link->next;
        if (!call->on_done) {
            call_end(client, call, PERI_OK, NULL);
        } else if (call_send(client, call) != PERI_OK) {
            client_fail(client, PERI_ERR_NOMEM);
            return;
        }
    }
    client_arm(client);
}

// Control characters would end up in a log.
static void client_refuse(struct redis_client *client, struct peri_slice text)
{
    client->refusal_len = text.len < PERI_REDIS_REFUSAL_MAX ? text.len : PERI_REDIS_REFUSAL_MAX;
    for (size_t i = 0; i < client->refusal_len; i++)
        client->refusal[i] = text.ptr[i] >= ' ' && text.ptr[i] < 127 ? text.ptr[i] : '?';
    client_fail(client, PERI_ERR_CLOSED);
}

static void client_greeted(struct redis_client *client, const struct peri_redis_reply *reply)
{
    if (reply->values->type == PERI_REDIS_ERROR) {
        client_refuse(client, peri_redis_text(reply, reply->values));
        return;
    }
    if (--client->greetings > 0)
        return;
    client->state = REDIS_READY;
    client->failures = 0;
    client->refusal_len = 0;
    client_send_waiting(client);
}

static void client_answered(struct redis_client *client, const struct peri_redis_reply *reply)
{
    if (client->state == REDIS_GREETING) {
        client_greeted(client, reply);
    } else if (peri_list_is_empty(&client->calls)) {
        client_fail(client, PERI_ERR_UPSTREAM_PROTOCOL); // nobody asked
    } else {
        struct peri_redis_call *call = PERI_LIST_ITEM(client->calls.next, struct peri_redis_call, link);
        peri_assert(!call->bytes.ptr);
        call_end(client, call, PERI_OK, reply);
    }
}

static void on_read(struct peri_stream *stream, struct peri_slice data)
{
    struct redis_client *client = peri_stream_data(stream);
    const struct peri_redis_reply *reply;
    peri_err_t err = peri_redis_reader_feed(client->reader, data);
    while (err == PERI_OK) {
        err = peri_redis_reader_next(client->reader, &reply);
        if (err == PERI_OK)
            client_answered(client, reply);
        if (client->stream != stream)
            return;
    }
    if (err == PERI_ERR_AGAIN)
        client_arm(client);
    else
        client_fail(client, err);
}

static void on_end(struct peri_stream *stream, peri_err_t err)
{
    PERI_UNUSED(err);
    client_fail(peri_stream_data(stream), PERI_ERR_UPSTREAM_RESET);
}

// ---- connecting ----

static void client_greet(struct redis_client *client, const struct peri_slice *args, uint32_t count, peri_err_t *err)
{
    struct peri_slice bytes;
    if (*err == PERI_OK)
        *err = peri_redis_format(args, count, &bytes);
    if (*err != PERI_OK)
        return;
    *err = peri_stream_write(client->stream, bytes);
    free((char *)bytes.ptr);
    client->greetings++;
}

static void on_connect(struct peri_stream *stream, peri_err_t err)
{
    struct redis_client *client = peri_stream_data(stream);
    const struct peri_redis_target *target = &client->target;
    char database[16];
    if (err != PERI_OK) {
        client_fail(client, PERI_ERR_CONNECT);
        return;
    }
    client->state = REDIS_GREETING;
    client->greetings = 0;
    snprintf(database, sizeof(database), "%u", target->database);
    if (target->password.len > 0 && target->user.len > 0)
        client_greet(client, (struct peri_slice[]){PERI_SLICE("AUTH"), target->user, target->password}, 3, &err);
    else if (target->password.len > 0)
        client_greet(client, (struct peri_slice[]){PERI_SLICE("AUTH"), target->password}, 2, &err);
    if (target->database > 0)
        client_greet(client, (struct peri_slice[]){PERI_SLICE("SELECT"), peri_slice_from(database)}, 2, &err);
    if (client->greetings == 0)
        client_greet(client, (struct peri_slice[]){PERI_SLICE("PING")}, 1, &err);
    if (err != PERI_OK)
        client_fail(client, err);
    else
        peri_stream_read_start(stream);
}

static void on_drain(struct peri_stream *stream)
{
    PERI_UNUSED(stream);
}

static const struct peri_stream_events redis_events = {
    .on_connect = on_connect, .on_read = on_read, .on_end = on_end, .on_drain = on_drain, .on_close = on_gone};

static peri_err_t client_connect_memory(struct redis_client *client)
{
    const struct peri_redis_options *options = &client->redis->options;
    char address[320];
    const char *format = client->target.port > 0 ? "%s:%u" : "unix:%s";
    int len = snprintf(address, sizeof(address), format, client->target.host.ptr, client->target.port);
    if (len < 0 || (size_t)len >= sizeof(address))
        return PERI_ERR_CONNECT;
    struct peri_stream *stream = options->connect(options->data, peri_slice(address, (size_t)len));
    if (!stream)
        return PERI_ERR_CONNECT;
    if (stream == PERI_STREAM_SILENCE)
        return PERI_OK; // the timer ends it
    client->stream = stream;
    peri_stream_set_owner(stream, &redis_events, client);
    peri_stream_announce(stream);
    return PERI_OK;
}

static peri_err_t client_connect_to(struct redis_client *client, const struct sockaddr_storage *address)
{
    peri_err_t err;
    client->stream = peri_stream_connect_tcp(client->redis->options.loop, (const struct sockaddr *)address,
                                             &redis_events, client, &err);
    return client->stream ? PERI_OK : err;
}

static void on_unresolved(struct peri_defer *defer)
{
    struct redis_client *client = PERI_CONTAINER(defer, struct redis_client, resolved);
    client_fail(client, client->err);
}

static void on_resolved(struct peri_dns_query *query, peri_err_t err, const struct sockaddr_storage *addresses,
                        unsigned count)
{
    struct redis_client *client = PERI_CONTAINER(query, struct redis_client, query);
    client->is_resolving = false;
    client->err = err == PERI_ERR_OVERLOADED ? err : PERI_ERR_RESOLVE;
    if (err == PERI_OK && count > 0) {
        struct sockaddr_storage address = addresses[client->failures % count];
        if (address.ss_family == AF_INET6)
            ((struct sockaddr_in6 *)&address)->sin6_port = htons(client->target.port);
        else
            ((struct sockaddr_in *)&address)->sin_port = htons(client->target.port);
        client->err = client_connect_to(client, &address);
    }
    if (client->err != PERI_OK) // from the loop: the resolver may have said so at once
        peri_defer_schedule(client->redis->options.loop, &client->resolved);
}

static peri_err_t client_connect_socket(struct redis_client *client)
{
    const struct peri_redis_options *options = &client->redis->options;
    struct sockaddr_storage literal;
    if (client->target.port == 0) {
        peri_err_t err;
        client->stream = peri_stream_connect_unix(options->loop, client->target.host.ptr, &redis_events, client, &err);
        return client->stream ? PERI_OK : err;
    }
    if (peri_dns_parse_literal(client->target.host, client->target.port, &literal))
        return client_connect_to(client, &literal);
    if (!options->dns)
        return PERI_ERR_RESOLVE;
    client->is_resolving = true;
    client->query.on_done = on_resolved;
    peri_dns_resolve(options->dns, client->target.host, &client->query);
    return PERI_OK;
}

static peri_err_t client_connect(struct redis_client *client)
{
    client->connect_until_ms = now_ms(client) + client->target.timeout_ms;
    client->state = REDIS_CONNECTING;
    client->reader = peri_redis_reader_new();
    peri_err_t err = client->reader ? PERI_OK : PERI_ERR_NOMEM;
    if (err == PERI_OK)
        err = client->redis->options.connect ? client_connect_memory(client) : client_connect_socket(client);
    if (err == PERI_OK)
        return PERI_OK;
    client_note_failure(client, err);
    client_disconnect(client);
    return err;
}

// ---- calls ----

static struct redis_client *client_get(struct peri_redis *redis, const struct peri_redis_target *target,
                                       peri_err_t *err)
{
    struct redis_client *client = client_find(redis, target);
    if (client)
        return client;
    *err = redis->count < PERI_REDIS_CLIENTS ? PERI_ERR_NOMEM : PERI_ERR_UPSTREAM_OVERFLOW;
    return redis->count < PERI_REDIS_CLIENTS ? client_new(redis, target) : NULL;
}

// May a call be queued? After a failure nobody waits for the connection: the first call tries it anew, and is the last to fail.
static peri_err_t client_prepare(struct redis_client *client)
{
    peri_err_t err = PERI_OK;
    bool is_full = client->count >= PERI_REDIS_QUEUE ||
                   (client->stream && peri_stream_pending(client->stream) > PERI_REDIS_QUEUE_BYTES);
    if (is_full)
        return PERI_ERR_UPSTREAM_OVERFLOW;
    if (client->state == REDIS_IDLE && client->failures > 0 && now_ms(client) < client->retry_ms)
        return client->err;
    if (client->state == REDIS_IDLE)
        err = client_connect(client);
    bool must_wait = client->state != REDIS_READY;
    return err == PERI_OK && must_wait && client->failures > 0 ? client->err : err;
}

static peri_err_t client_queue(struct redis_client *client, struct peri_redis_call *call)
{
    peri_err_t err = PERI_OK;
    call->until_ms = now_ms(client) + client->target.timeout_ms;
    peri_list_append(&client->calls, &call->link);
    client->count++;
    if (client->state == REDIS_READY)
        err = call_send(client, call);
    if (err != PERI_OK) {
        call_free(call);
        client->count--;
    }
    return err;
}

struct peri_redis_call *
peri_redis_call(struct peri_redis *redis, const struct peri_redis_target *target, const struct peri_slice *args,
                uint32_t count, void (*on_done)(void *data, peri_err_t err, const struct peri_redis_reply *reply),
                void *data, peri_err_t *err)
{
    struct redis_client *client = client_get(redis, target, err);
    if (!client)
        return NULL;
    struct peri_redis_call *call = NULL;
    *err = client_prepare(client);
    if (*err == PERI_OK)
        call = calloc(1, sizeof(*call));
    if (*err == PERI_OK)
        *err = call ? peri_redis_format(args, count, &call->bytes) : PERI_ERR_NOMEM;
    if (*err == PERI_OK) {
        call->on_done = on_done;
        call->data = data;
        *err = client_queue(client, call);
    } else {
        free(call);
    }
    client_arm(client);
    return *err == PERI_OK ? call : NULL;
}

void peri_redis_cancel(struct peri_redis_call *call)
{
    peri_debug_assert(call->on_done != NULL);
    call->on_done = NULL;
}

struct peri_slice peri_redis_refusal(struct peri_redis *redis, const struct peri_redis_target *target)
{
    const struct redis_client *client = client_find(redis, target);
    return client ? peri_slice(client->refusal, client->refusal_len) : peri_slice(NULL, 0);
}
