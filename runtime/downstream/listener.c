// SPDX-License-Identifier: MIT
// Accepts streams and keeps the list of connections, which are of three kinds (connection.h).
#include "downstream/listener.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "downstream/connection.h"
#include "downstream/preamble.h"
#include "downstream/tcp.h"
#include "event/acceptor.h"
#include "event/loop.h"
#include "event/stream.h"
#include "event/tls.h"
#include "shared/metrics.h"

struct peri_listener {
    struct peri_connection_home home;
    struct peri_listener_settings settings;
    struct peri_tls_server *tls;          ///< referenced; NULL: without TLS
    struct peri_trusted_proxies *proxies; ///< owned; NULL: nobody sends a PROXY header
    struct peri_acceptor *acceptor;       ///< NULL without a socket, or when accepting has ended
    const struct peri_owner_ops *owner;   ///< named at construction
    const struct peri_owner_ops *refuser; ///< in its place while there is too much to do; NULL: nobody is
    enum peri_refused refused;
    void (*on_count)(void *data);
    void *count_data;
    struct peri_defer drained;
    void (*on_drained)(void *data);
    void *drained_data;
    bool is_closed; ///< free when the last connection is gone
};

struct peri_listener_settings peri_listener_defaults(void)
{
    return (struct peri_listener_settings){
        .header_bytes = 60 * 1024,
        .headers = 100,
        .uri_bytes = 16 * 1024,
        .connections = 10000,
        .streams = 100,
        .body_bytes = UINT64_MAX,
        .headers_ms = 10000,
        .request_ms = 300000,
        .idle_ms = 75000,
        .stream_idle_ms = 300000,
    };
}

static void listener_check_end(struct peri_listener *listener)
{
    if (listener->home.count > 0)
        return;
    if (listener->is_closed) {
        peri_defer_cancel(&listener->drained);
        peri_tls_server_unref(listener->tls);
        peri_trusted_proxies_free(listener->proxies);
        free(listener);
    } else if (listener->home.is_draining && listener->on_drained) {
        peri_defer_schedule(listener->home.loop, &listener->drained);
    }
}

static void on_connection_closed(struct peri_connection_home *home)
{
    struct peri_listener *listener = PERI_CONTAINER(home, struct peri_listener, home);
    if (listener->on_count && !listener->is_closed)
        listener->on_count(listener->count_data);
    listener_check_end(listener);
}

static void on_drained_turn(struct peri_defer *defer)
{
    struct peri_listener *listener = PERI_CONTAINER(defer, struct peri_listener, drained);
    void (*on_drained)(void *) = listener->on_drained;
    listener->on_drained = NULL;
    if (on_drained)
        on_drained(listener->drained_data);
}

static void on_accept(void *data, struct peri_stream *stream)
{
    peri_listener_adopt(data, stream);
}

static void listener_serve(struct peri_connection_home *home, struct peri_stream *stream)
{
    struct peri_listener *listener = PERI_CONTAINER(home, struct peri_listener, home);
    if (listener->tls)
        peri_connection_open_tls(home, stream, listener->tls);
    else if (PERI_UNLIKELY(home->tcp != NULL))
        peri_tcp_open(home, stream, NULL);
    else
        peri_connection_open(home, stream, NULL);
}

struct peri_listener *peri_listener_open_memory(struct peri_loop *loop, const struct peri_listener_settings *settings,
                                                const struct peri_owner_ops *owner, void *owner_data)
{
    struct peri_listener *listener = calloc(1, sizeof(*listener));
    if (!listener)
        return NULL;
    listener->owner = owner;
    listener->home = (struct peri_connection_home){
        .loop = loop,
        .settings = &listener->settings,
        .owner = owner,
        .owner_data = owner_data,
        .serve = listener_serve,
        .on_closed = on_connection_closed,
    };
    peri_list_init(&listener->home.connections);
    peri_listener_set(listener, settings);
    peri_defer_init(&listener->drained, on_drained_turn);
    return listener;
}

struct peri_listener *peri_listener_open(struct peri_loop *loop, int fd, const struct peri_listener_settings *settings,
                                         const struct peri_owner_ops *owner, void *owner_data)
{
    struct peri_listener *listener = peri_listener_open_memory(loop, settings, owner, owner_data);
    if (!listener) {
        close(fd);
        return NULL;
    }
    listener->acceptor = peri_acceptor_open(loop, fd, on_accept, listener);
    if (!listener->acceptor) {
        free(listener);
        return NULL;
    }
    return listener;
}

static void on_discarded(struct peri_stream *stream)
{
    PERI_UNUSED(stream);
}

static const struct peri_stream_events discarded = {.on_close = on_discarded};

void peri_connection_discard(struct peri_stream *stream)
{
    peri_stream_set_owner(stream, &discarded, NULL);
    peri_stream_close(stream);
}

void peri_connection_enter(struct peri_connection *connection, struct peri_connection_home *home,
                           const struct peri_connection_ops *ops)
{
    connection->home = home;
    connection->ops = ops;
    connection->owner = home->owner;
    peri_list_append(&home->connections, &connection->link);
    home->count++;
    if (home->page)
        home->page->connections++;
}

void peri_connection_leave(struct peri_connection *connection)
{
    struct peri_connection_home *home = connection->home;
    peri_list_remove(&connection->link);
    home->count--;
    if (home->page)
        home->page->connections--;
}

// Is there no place for another one? Those who only pass bytes on cannot be told why not.
static bool listener_is_full(const struct peri_listener *listener)
{
    const struct peri_connection_home *home = &listener->home;
    return listener->is_closed || home->count >= listener->settings.connections ||
           (home->tcp && home->owner == listener->refuser);
}

// Counts a connection that came; discards it when there is no place.
static bool listener_takes(struct peri_listener *listener, struct peri_stream *stream)
{
    struct peri_metrics_page *page = listener->home.page;
    bool is_refused = listener_is_full(listener);
    if (page)
        *(is_refused ? &page->refused : &page->accepted) += 1;
    if (is_refused)
        peri_connection_discard(stream);
    return !is_refused;
}

void peri_listener_adopt_agreed(struct peri_listener *listener, struct peri_stream *stream, struct peri_tls_info *tls)
{
    if (!listener_takes(listener, stream))
        free(tls);
    else if (listener->home.tcp)
        peri_tcp_open(&listener->home, stream, tls);
    else
        peri_connection_open(&listener->home, stream, tls);
}

void peri_listener_adopt(struct peri_listener *listener, struct peri_stream *stream)
{
    if (!listener_takes(listener, stream))
        return;
    if (listener->proxies && peri_trusted_proxies_have(listener->proxies, stream))
        peri_preamble_open(&listener->home, stream);
    else
        listener_serve(&listener->home, stream);
    if (listener->on_count)
        listener->on_count(listener->count_data);
}

void peri_listener_set_proxies(struct peri_listener *listener, struct peri_trusted_proxies *proxies)
{
    peri_trusted_proxies_free(listener->proxies);
    listener->proxies = proxies;
}

void peri_listener_set_tls(struct peri_listener *listener, struct peri_tls_server *tls)
{
    struct peri_tls_server *old = listener->tls;
    listener->tls = tls ? peri_tls_server_ref(tls) : NULL;
    peri_tls_server_unref(old);
}

void peri_listener_set_tcp(struct peri_listener *listener, const struct peri_tcp_owner *owner, void *data,
                           bool looks_at_hello)
{
    listener->home.tcp = owner;
    listener->home.tcp_data = data;
    listener->home.looks_at_hello = looks_at_hello;
}

void peri_listener_set(struct peri_listener *listener, const struct peri_listener_settings *settings)
{
    listener->settings = *settings;
    listener->home.limits = (struct peri_h1_limits){
        .header_bytes = settings->header_bytes,
        .headers = settings->headers,
        .uri_bytes = settings->uri_bytes,
        .allow_underscores = settings->allow_underscores,
    };
}

void peri_listener_set_metrics(struct peri_listener *listener, struct peri_metrics_page *page)
{
    listener->home.page = page;
}

void peri_listener_watch(struct peri_listener *listener, void (*on_count)(void *data), void *data)
{
    listener->on_count = on_count;
    listener->count_data = data;
}

static void give_to(struct peri_listener *listener, const struct peri_owner_ops *owner)
{
    listener->home.owner = owner;
    for (struct peri_list *link = listener->home.connections.next; link != &listener->home.connections;
         link = link->next)
        peri_connection_from(link)->owner = owner;
}

static void close_idle(struct peri_listener *listener)
{
    struct peri_list *link = listener->home.connections.next;
    while (link != &listener->home.connections) {
        struct peri_connection *connection = peri_connection_from(link);
        link = link->next;
        if (connection->ops->leave)
            connection->ops->leave(connection);
    }
}

void peri_listener_refuse(struct peri_listener *listener, enum peri_refused refused,
                          const struct peri_owner_ops *refuser)
{
    bool was_closing = listener->home.is_closing;
    if (refused == listener->refused)
        return;
    if (refused == PERI_REFUSED_ALL)
        give_to(listener, refuser);
    else if (listener->refused != PERI_REFUSED_NONE)
        give_to(listener, listener->owner);
    if (refused == PERI_REFUSED_NEWCOMERS)
        listener->home.owner = refuser;
    listener->refused = refused;
    listener->refuser = refused != PERI_REFUSED_NONE ? refuser : NULL;
    listener->home.is_closing = listener->home.is_draining || listener->refuser;
    if (listener->home.is_closing && !was_closing)
        close_idle(listener);
}

void peri_listener_pause(struct peri_listener *listener, bool paused)
{
    if (listener->acceptor)
        peri_acceptor_pause(listener->acceptor, paused);
}

const struct peri_listener_settings *peri_listener_get(const struct peri_listener *listener)
{
    return &listener->settings;
}

static void listener_stop_accepting(struct peri_listener *listener)
{
    if (listener->acceptor)
        peri_acceptor_close(listener->acceptor);
    listener->acceptor = NULL;
}

void peri_listener_drain(struct peri_listener *listener, void (*on_drained)(void *data), void *data)
{
    peri_debug_assert(!listener->is_closed);
    listener_stop_accepting(listener);
    listener->home.is_draining = listener->home.is_closing = true;
    listener->on_drained = on_drained;
    listener->drained_data = data;
    struct peri_list *link = listener->home.connections.next;
    while (link != &listener->home.connections) {
        struct peri_list *next = link->next;
        struct peri_connection *connection = peri_connection_from(link);
        connection->ops->drain(connection);
        link = next;
    }
    listener_check_end(listener);
}

void peri_listener_close(struct peri_listener *listener)
{
    peri_debug_assert(!listener->is_closed);
    listener_stop_accepting(listener);
    listener->on_drained = NULL;
    listener->home.is_draining = listener->home.is_closing = true;
    struct peri_list *link = listener->home.connections.next;
    while (link != &listener->home.connections) {
        struct peri_list *next = link->next;
        struct peri_connection *connection = peri_connection_from(link);
        connection->ops->close(connection, PERI_ERR_DRAINING);
        link = next;
    }
    listener->is_closed = true;
    listener_check_end(listener);
}

uint32_t peri_listener_connections(const struct peri_listener *listener)
{
    return listener->home.count;
}
