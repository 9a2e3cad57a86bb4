// SPDX-License-Identifier: MIT
// The order of things: request head -> route -> chain -> upstream -> attempt -> chain back -> client -> log. The only file that
// knows it.
#ifndef PERI_PROXY_PIPELINE_H
#define PERI_PROXY_PIPELINE_H

#include "base/err.h"
#include "base/slice.h"
#include "exchange/exchange.h"
#include "script/chain.h"

struct peri_attempt_events;
struct peri_server;
struct peri_upstream;

/// The owner of exchanges that come through the server's listeners (owner_data is the server).
extern const struct peri_owner_ops peri_pipeline_owner;

/// The events of an exchange's attempts (attempt->data is the exchange).
extern const struct peri_attempt_events peri_pipeline_attempt;

/// A run of the chain came to a verdict (peri_script_host.on_verdict).
void peri_pipeline_on_verdict(struct peri_exchange *x, enum peri_phase phase, enum peri_verdict verdict);

/// A script says what failed (peri_script_host.note_failure).
void peri_pipeline_note_failure(struct peri_exchange *x, struct peri_slice text);

/// Begins an exchange without a route: straight to `upstream` (http.fetch). x->req is complete, x->facts.deadline_ns is set;
/// x->generation is not referenced: it ends the scripts that wait for fetches, and with them the fetches, before anything else of it
/// goes.
void peri_pipeline_fetch(struct peri_server *server, struct peri_exchange *x, struct peri_upstream *upstream);

/// The exchange, whose endpoint is chosen, has waited long enough: its attempt begins, or waits on (peri_target_wait).
void peri_pipeline_begin_attempt(struct peri_exchange *x);

/// Answers with the problem document of `err`, or breaks the response off when it has begun.
void peri_pipeline_fail(struct peri_exchange *x, peri_err_t err);

/// The time of the exchange is over: ends the attempt, then as peri_pipeline_fail. A script that reads the response may answer itself.
void peri_pipeline_expire(struct peri_exchange *x, peri_err_t err);

/// around() asked for the response, and the request's body is whole: lets its hooks see it, then sends it.
void peri_pipeline_send_whole(struct peri_exchange *x);

/// The response was handed to the client completely.
void peri_pipeline_complete(struct peri_exchange *x);

/// The server closes, its clients are gone: ends the exchanges whose log hooks still wait for something.
void peri_pipeline_end_all(struct peri_server *server);

#endif
