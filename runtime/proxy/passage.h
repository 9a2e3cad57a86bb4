// SPDX-License-Identifier: MIT
// What becomes of a client of a listener that passes TCP on: its upstream is chosen, an endpoint connected to, the two streams
// joined, and in the end one line logged. The counterpart of the pipeline for connections that are no exchanges.
#ifndef PERI_PROXY_PASSAGE_H
#define PERI_PROXY_PASSAGE_H

struct peri_tcp_owner;

/// Gives the listeners' clients to passages; home->tcp_data is the struct peri_server_listener.
extern const struct peri_tcp_owner peri_passage_owner;

#endif
