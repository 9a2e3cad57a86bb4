// SPDX-License-Identifier: MIT
// Client connections, as their listener sees them: something that can be told to finish or to end at once, whatever protocol it
// speaks. HTTP/1.x is served in connection.c, one exchange at a time with pipelined requests waiting in order; HTTP/2 in
// connection_h2.c, an exchange for each stream. Each gives the client side (peri_client_ops) of its exchanges.
#ifndef PERI_DOWNSTREAM_CONNECTION_H
#define PERI_DOWNSTREAM_CONNECTION_H

#include "base/list.h"
#include "base/slice.h"
#include "codec/h1.h"
#include "downstream/listener.h"

struct peri_connection;
struct peri_exchange;
struct peri_metrics_page;
struct peri_stream;
struct peri_tcp_owner;
struct peri_tls_info;
struct peri_tls_server;

/// What a connection needs of its listener.
struct peri_connection_home {
    struct peri_loop *loop;
    const struct peri_listener_settings *settings; ///< borrowed; may change between requests
    struct peri_h1_limits limits;                  ///< of heads, from the settings
    const struct peri_owner_ops *owner;            ///< of the exchanges of connections that come
    void *owner_data;
    const struct peri_tcp_owner *tcp; ///< passes clients on as they are (downstream/tcp.h); NULL: HTTP
    void *tcp_data;                   ///< the TCP owner's
    bool looks_at_hello;              ///< clients without TLS of ours are asked for the server name in theirs
    struct peri_list connections;     ///< open connections, by peri_connection.link
    uint32_t count;
    struct peri_metrics_page *page; ///< counts connections; NULL for none
    bool is_draining;
    bool is_closing; ///< connections end after their exchange: it drains, or the process has too much to do
    /// Serves the stream (taken) of a client whose preamble is over. Out of memory the stream is closed.
    void (*serve)(struct peri_connection_home *home, struct peri_stream *stream);
    /// A connection is gone; its memory is freed.
    void (*on_closed)(struct peri_connection_home *home);
};

/// What the listener can ask of a connection.
struct peri_connection_ops {
    /// Closes the connection after the exchanges under way, or now when it is idle.
    void (*drain)(struct peri_connection *connection);
    /// Closes at once; exchanges under way are aborted.
    void (*close)(struct peri_connection *connection, peri_err_t err);
    /// Closes when it is idle and was not just opened: others need the place. NULL: it never is.
    void (*leave)(struct peri_connection *connection);
};

/// The part that all connections have; their first member.
struct peri_connection {
    struct peri_list link;
    struct peri_connection_home *home;
    const struct peri_connection_ops *ops;
    const struct peri_owner_ops *owner; ///< of its exchanges
    struct peri_tls_info *tls; ///< owned by the kind of connection; NULL without TLS, and until the handshake is done
};

/// Serves HTTP/1.x on `stream` (taken); a client without TLS that begins with the preface of HTTP/2 is served that. `tls` (taken):
/// what its handshake agreed on, NULL without TLS. False when out of memory (stream closed).
bool peri_connection_open(struct peri_connection_home *home, struct peri_stream *stream, struct peri_tls_info *tls);

/// Serves HTTP/2 on `stream` (taken). `has_preface`: the client's preface was read already, and `rest` behind it.
bool peri_connection_open_h2(struct peri_connection_home *home, struct peri_stream *stream, struct peri_tls_info *tls,
                             bool has_preface, struct peri_slice rest);

/// Speaks TLS on `stream` (taken) as `server` says, then serves what the client chose. False when out of memory (stream closed).
bool peri_connection_open_tls(struct peri_connection_home *home, struct peri_stream *stream,
                              struct peri_tls_server *server);

/// Enters a new connection into the list and the counts of its home / takes it out again. on_closed is left to the caller.
void peri_connection_enter(struct peri_connection *connection, struct peri_connection_home *home,
                           const struct peri_connection_ops *ops);
void peri_connection_leave(struct peri_connection *connection);

/// Closes a stream that gets no connection.
void peri_connection_discard(struct peri_stream *stream);

/// Fills path, query, authority and host of x->req from its target and its Host field; the scheme is set already.
/// PERI_ERR_BAD_PATH, PERI_ERR_BAD_HOST, PERI_ERR_NOMEM.
peri_err_t peri_connection_read_target(struct peri_exchange *x);

/// The connection of a link in home->connections.
static inline struct peri_connection *peri_connection_from(struct peri_list *link)
{
    return PERI_LIST_ITEM(link, struct peri_connection, link);
}

#endif
