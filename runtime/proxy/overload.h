// SPDX-License-Identifier: MIT
// Keeps a worker within its memory, its client connections and its descriptors. Near a limit requests are answered 503 at once
// (proxy/shed.h); at the limit no connection is accepted, and the kernel's queue waits. Below it all ends by itself.
//
//                        90 % of the limit             100 %
//           calm ----------------------> shedding ----------------> stopped
//                <----------------------          <----------------
//                        85 %                           95 %
//
// Memory is below its mark for half a second before shedding ends: it is not measured at once.
#ifndef PERI_PROXY_OVERLOAD_H
#define PERI_PROXY_OVERLOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/footprint.h"
#include "event/timer.h"
#include "shared/overload.h"

struct peri_json;
struct peri_listener;
struct peri_server;

/// One resource.
struct peri_overload_watch {
    uint64_t limit; ///< 0: none
    uint64_t used;
    enum peri_overload_state state;
    uint32_t calm_ticks; ///< in a row, below the mark
    uint64_t since_ms;   ///< monotonic; when it began
    uint64_t told_ms;    ///< monotonic; when the log was told of it last
    bool is_told;        ///< the log knows that it lasts
    bool is_stop_told;   ///< and that accepting stopped
};

struct peri_overload {
    struct peri_footprint footprint;
    struct peri_timer tick;
    struct peri_overload_watch watches[PERI_RESOURCES];
    uint32_t base;       ///< descriptors that are no sockets of streams
    uint32_t since_trim; ///< ticks
    uint32_t counted;    ///< clients that came or went
    uint32_t crowd;      ///< the most connections, since memory was given back after a crowd
    uint64_t rests;      ///< of accepting, counted so far
    bool is_of_cgroup;   ///< memory is that of the cgroup
    bool is_open;        ///< the footprint
    bool is_running;
};

/// Prepares the overload protection of a server; it begins with the first listener.
void peri_overload_init(struct peri_server *server);

/// Takes the limits of the normalised configuration.
void peri_overload_apply(struct peri_server *server, const struct peri_json *config);

/// Watches the connections of a listener that serves a socket.
void peri_overload_add(struct peri_server *server, struct peri_listener *listener);

/// Ends it.
void peri_overload_close(struct peri_server *server);

#endif
