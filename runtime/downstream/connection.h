// SPDX-License-Identifier: MIT
// One client connection speaking HTTP/1.x: bytes to exchanges and answers to bytes, one exchange at a time, pipelined
// requests waiting in order. Gives the client side (peri_client_ops) of its exchange.
#ifndef PERI_DOWNSTREAM_CONNECTION_H
#define PERI_DOWNSTREAM_CONNECTION_H

#include "base/list.h"
#include "codec/h1.h"
#include "downstream/listener.h"

struct peri_connection;
struct peri_exchange;
struct peri_metrics_page;

/// What a connection needs of its listener.
struct peri_connection_home {
    struct peri_loop *loop;
    const struct peri_listener_settings *settings; ///< borrowed; may change between requests
    struct peri_h1_limits limits;                  ///< of heads, from the settings
    const struct peri_owner_ops *owner;
    void *owner_data;
    struct peri_list connections; ///< open connections, by peri_connection.link
    uint32_t count;
    struct peri_metrics_page *page; ///< counts connections; NULL for none
    bool is_draining;
    /// A connection is gone; its memory is freed.
    void (*on_closed)(struct peri_connection_home *home);
};

/// Serves `stream` (taken). False when out of memory (stream closed).
bool peri_connection_open(struct peri_connection_home *home, struct peri_stream *stream);

/// Closes the connection after the present exchange, or now when it is idle.
void peri_connection_drain(struct peri_connection *connection);

/// Closes at once; an exchange under way is aborted.
void peri_connection_close(struct peri_connection *connection, peri_err_t err);

/// Fills path, query, authority and host of x->req from its target and its Host field. PERI_ERR_BAD_PATH, PERI_ERR_BAD_HOST,
/// PERI_ERR_NOMEM.
peri_err_t peri_connection_read_target(struct peri_exchange *x);

/// The connection of a link in home->connections.
struct peri_connection *peri_connection_from(struct peri_list *link);

#endif
