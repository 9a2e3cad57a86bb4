// SPDX-License-Identifier: MIT
// A connection to an upstream address that speaks HTTP/2: many attempts at once, each on a stream. It begins as any connection of
// the pool does and becomes a session once it is known that the upstream speaks HTTP/2, by ALPN or by configuration. For the
// files of upstream/ only.
#ifndef PERI_UPSTREAM_SESSION_H
#define PERI_UPSTREAM_SESSION_H

#include <stdbool.h>

#include "base/err.h"

struct peri_attempt;
struct peri_headers;
struct peri_list;
struct peri_slice;
struct peri_upstream_connection;

/// Makes the connection, which has just been established for its attempt, a session, and starts that attempt on it. Every later event
/// of its stream is the session's.
void peri_session_begin(struct peri_upstream_connection *c);

/// Starts the attempt on a session of its pool that has room. False when there is none.
bool peri_session_start(struct peri_attempt *attempt);

/// Is there a session in this list that would take one more request?
bool peri_session_has_room(const struct peri_list *sessions);

/// The attempt's calls (upstream/attempt.h) for one that runs on a session.
bool peri_session_send_body(struct peri_attempt *attempt, struct peri_slice data);
void peri_session_send_end(struct peri_attempt *attempt, const struct peri_headers *trailers);
void peri_session_pause(struct peri_attempt *attempt, bool paused);
void peri_session_cancel(struct peri_attempt *attempt);
void peri_session_doubt(struct peri_attempt *attempt);

/// Ends the session of a connection that is being closed: its attempts fail.
void peri_session_end(struct peri_upstream_connection *c);

#endif
