// SPDX-License-Identifier: MIT
// The server as the files of proxy/ see it. Nobody else includes this.
#ifndef PERI_PROXY_SERVER_INTERNAL_H
#define PERI_PROXY_SERVER_INTERNAL_H

#include "base/list.h"
#include "event/loop.h"
#include "event/timer.h"
#include "proxy/canary.h"
#include "proxy/generation.h"
#include "proxy/overload.h"
#include "proxy/server.h"

struct peri_accesslog;
struct peri_dns;
struct peri_json;
struct peri_keeper;
struct peri_listener;
struct peri_metrics_page;
struct peri_pools;
struct peri_redis;
struct peri_tap;

/// A listener of the configuration that is being served.
struct peri_server_listener {
    struct peri_list link;
    struct peri_server *server;
    struct peri_listener *listener;
    struct peri_slice address; ///< owned copy
    bool has_socket;           ///< others are of the test kit, whose clients speak no TLS and send no PROXY header
    bool is_drained;
};

/// Who waits until the candidate's upstreams were looked for.
struct peri_warm {
    struct peri_timer limit;
    struct peri_defer done;
    void (*on_warm)(void *data); ///< NULL: nobody
    void *data;
};

struct peri_server {
    struct peri_loop *loop;
    struct peri_shm *shm;
    struct peri_vm *vm;
    bool owns_vm;
    bool is_quiet; ///< no access log of the configuration
    int worker;
    struct peri_dns *dns; ///< NULL in memory
    char resolvers[512];  ///< servers that it was told to ask; empty: the system's
    struct peri_pools *pools;
    struct peri_keeper *keeper; ///< of the current generation's upstreams
    struct peri_redis *redis;
    struct peri_metrics_page *page;
    struct peri_accesslog *log;        ///< NULL when off
    struct peri_tap *tap;              ///< NULL when nobody records
    const struct peri_server_dev *dev; ///< NULL unless this is `perigee dev`
    struct peri_generation *current;
    struct peri_generation *candidate;
    struct peri_canary canary; ///< of the candidate
    struct peri_warm warm;     ///< likewise
    struct peri_list listeners;
    struct peri_overload overload;
    struct peri_list exchanges; ///< under way: peri_forward.link
    struct peri_timer drain_timer;
    void (*on_drained)(void *data);
    void *drained_data;
};

/// Names are asked from the servers of the candidate, or of the current generation when there is none. A candidate's are set before it
/// serves only when nobody else does.
void peri_server_set_resolver(struct peri_server *server);

/// Prepares a new server, which waits for nothing.
void peri_server_warm_init(struct peri_server *server);

/// A look for endpoints has ended: tells whoever waits for the candidate's when it was the last one.
void peri_server_check_warm(struct peri_server *server);

/// Nobody waits any more: the candidate is dropped, or serves.
void peri_server_stop_warming(struct peri_server *server);

/// Prepares the (empty) listeners of a new server.
void peri_listeners_init(struct peri_server *server);

/// Gives every listener its settings in the normalised configuration.
void peri_listeners_apply(struct peri_server *server, const struct peri_json *config);

/// Closes every listener and its connections at once.
void peri_listeners_close(struct peri_server *server);

/// An exchange is over that was answered with `status` after `ns` nanoseconds: tells the access log, or whoever develops.
void peri_server_tell_end(struct peri_server *server, const struct peri_exchange *x, int status, uint64_t ns);

#endif
