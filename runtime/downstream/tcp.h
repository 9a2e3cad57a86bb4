// SPDX-License-Identifier: MIT
// The accepted side of a listener that passes TCP on: a client whose PROXY header was read, whose TLS (if the listener has any) is
// terminated and whose ClientHello (if the listener looks at it) was seen. From then on its stream is its owner's, who joins it with
// another one; this module only keeps it in the listener's list and counts. Knows nothing of upstreams or policies.
#ifndef PERI_DOWNSTREAM_TCP_H
#define PERI_DOWNSTREAM_TCP_H

#include "base/buf.h"
#include "downstream/connection.h"
#include "event/timer.h"

struct peri_stream;
struct peri_tcp;

/// Who serves the clients; given to the listener (peri_listener_set_tcp).
struct peri_tcp_owner {
    /// A client is there: tcp->stream (which does not read) is the owner's from now on, until it calls peri_tcp_end. False when it
    /// does not want it or is out of memory: the stream is closed then.
    bool (*on_client)(struct peri_tcp *tcp);
    /// Closes the connection, unless it carries bytes already.
    void (*drain)(struct peri_tcp *tcp);
    /// Closes at once, because of `err`. The listener's owner may be gone when the streams are closed.
    void (*close)(struct peri_tcp *tcp, peri_err_t err);
};

struct peri_tcp {
    struct peri_connection base; ///< first: the listener's view; base.tls is owned
    struct peri_stream *stream;  ///< the client's
    const struct peri_tcp_owner *owner;
    void *data;              ///< the owner's
    struct peri_buf seen;    ///< bytes that were read already: the first ones to pass on
    struct peri_timer timer; ///< of the look at the ClientHello
    char server_name[256];   ///< that the client asks for, in lower case; "" for none
    uint8_t alpn[256];       ///< protocols that its ClientHello offers, as they were sent: each a length and its bytes
    uint16_t alpn_len;       ///< 0 for none, and where the ClientHello is not looked at
    bool is_owned;           ///< on_client was called
};

/// Takes the stream of a client whose preamble is over; `tls` (taken) is what its handshake agreed on, NULL without TLS. False
/// when it could not be taken (stream closed).
bool peri_tcp_open(struct peri_connection_home *home, struct peri_stream *stream, struct peri_tls_info *tls);

/// The owner has closed the stream: frees `tcp`. Only from the loop.
void peri_tcp_end(struct peri_tcp *tcp);

#endif
