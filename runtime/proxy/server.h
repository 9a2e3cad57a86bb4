// SPDX-License-Identifier: MIT
// All that serves traffic in one process: the VM, the generations (current, candidate, and those still finishing), the
// listeners and the pools. A worker is a server driven by the supervisor; the single process drives its own; the test kit
// makes several in memory. Knows nothing of processes.
#ifndef PERI_PROXY_SERVER_H
#define PERI_PROXY_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

struct peri_exchange;
struct peri_loop;
struct peri_script_host;
struct peri_server;
struct peri_shm;
struct peri_source;
struct peri_stream;
struct peri_tls_info;
struct peri_tap_options;
struct peri_vm;

/// What `perigee dev` wants to know and to say. All are called from the loop.
struct peri_server_dev {
    /// An exchange has ended; in the place of the access log, which is off.
    void (*on_end)(void *data, const struct peri_exchange *x, int status);
    /// Are requests refused, because the newest configuration cannot be used?
    bool (*is_refused)(void *data);
    /// The answer in x->res is the problem document of `err`: may put another in its place (peri_reply_document).
    void (*explain)(void *data, struct peri_exchange *x, peri_err_t err);
    void *data;
};

struct peri_server_options {
    struct peri_loop *loop; ///< borrowed
    struct peri_shm *shm;   ///< borrowed
    struct peri_vm *vm;     ///< borrowed when given (test kit); NULL: the server makes and owns its own
    int worker;             ///< index of the worker in shared memory
    uint64_t lua_memory;    ///< bytes of Lua heap; 0 for the default
    bool is_quiet;          ///< writes no access log, whatever the configuration says
    const char *role;       ///< default of the setting "role"; borrowed; NULL for "gateway"
    /// Opens memory streams to upstreams in place of sockets (test kit): NULL when nobody is at `address`, PERI_STREAM_SILENCE
    /// when nothing comes of it. NULL for sockets.
    struct peri_stream *(*connect)(void *data, struct peri_slice address);
    void *connect_data;                ///< for `connect`
    const struct peri_server_dev *dev; ///< borrowed; NULL unless this is `perigee dev`
};

/// What a VM that is given to servers is made with (peri_vm_options.host).
const struct peri_script_host *peri_server_script_host(void);

/// NULL when out of memory or the VM cannot start (logged).
struct peri_server *peri_server_new(const struct peri_server_options *options);

/// Closes listeners, connections, pools and generations at once (use drain for a graceful end) and frees the server. The loop
/// must be turned afterwards until its close callbacks have run (peri_loop_free does that).
void peri_server_free(struct peri_server *server);

/// Builds and starts generation `number` beside the running one from `source`; it becomes the candidate (an older candidate is
/// dropped). PERI_OK, or PERI_ERR_INVALID with a malloc'ed JSON array of errors in *errors.
peri_err_t peri_server_build(struct peri_server *server, const struct peri_source *source, struct peri_slice entry,
                             uint64_t number, struct peri_slice digest, char **errors);

/// Normalised configuration (JSON, docs/internals/config-json.md) of the candidate, or of the current generation when there is no
/// candidate; borrowed from the generation; NULL when there is neither.
const char *peri_server_config(const struct peri_server *server);

/// Before the first switch: each line of the access log goes to `emit`, borrowed for the call, whatever the configuration says. False
/// when out of memory.
bool peri_server_log_to(struct peri_server *server, void (*emit)(void *data, struct peri_slice line), void *data);

/// Calls on_warm(data) once from the loop when every upstream of the candidate that is discovered has been looked for, whether anything was
/// found or not, and `ms` milliseconds from now at the latest (logged). Not when the candidate is dropped or made current before.
void peri_server_warm(struct peri_server *server, uint64_t ms, void (*on_warm)(void *data), void *data);

/// Makes the candidate current: every exchange that begins from now on uses it; those under way finish on theirs.
void peri_server_switch(struct peri_server *server);

/// From now on `share` (of a million, at least 1) of the exchanges that begin use the candidate, until it is made current or dropped.
/// Both generations are counted in the worker's page (shared/canary.h).
void peri_server_canary(struct peri_server *server, uint32_t share);

/// Drops the candidate; exchanges that use it finish.
void peri_server_drop(struct peri_server *server);

/// Number of the current generation; 0 before the first switch.
uint64_t peri_server_generation(const struct peri_server *server);

/// Records exchanges from now on as `options` say (proxy/tap.h); with NULL not any more. False when a name in them is malformed or
/// memory is out: nothing is recorded then.
bool peri_server_tap(struct peri_server *server, const struct peri_tap_options *options);

/// Serves connections of a listening socket (taken: closed by the server) under the settings of the listener whose `address` is
/// `address` in the current generation. PERI_ERR_SYSTEM.
peri_err_t peri_server_listen(struct peri_server *server, int fd, struct peri_slice address);

/// As peri_server_listen, but without a socket: for peri_server_connect. PERI_ERR_NOMEM.
peri_err_t peri_server_listen_memory(struct peri_server *server, struct peri_slice address);

/// A client's memory stream to the listener `address`, which sees the client at `ip`, behind a handshake that agreed on `tls` (taken; NULL:
/// without TLS). NULL when there is no such listener, or out of memory.
struct peri_stream *peri_server_connect(struct peri_server *server, struct peri_slice address, struct peri_slice ip,
                                        struct peri_tls_info *tls);

/// Stops accepting on `address` and drains its connections; others are not touched.
void peri_server_unlisten(struct peri_server *server, struct peri_slice address);

/// Stops accepting; idle connections close now, busy ones after their exchange (Connection: close). Calls on_drained(data)
/// once when none is left. After `ms` milliseconds what is left is closed.
void peri_server_drain(struct peri_server *server, uint64_t ms, void (*on_drained)(void *data), void *data);

/// Open client connections.
uint32_t peri_server_connections(const struct peri_server *server);

/// Bytes of Lua heap in use.
uint64_t peri_server_lua_bytes(const struct peri_server *server);

#endif
