// SPDX-License-Identifier: MIT
// What the test kit (lua/perigee/test) and the replay (lua/perigee/test/replay) need of C, as the module perigee._core.testing: servers and connections in memory, the
// virtual clock, coroutines for fake upstreams, the log. All are classic C functions, since turning the loop runs Lua. Knows
// neither proxy/ nor the command line: the host gives it what it needs of them.
#ifndef PERI_SCRIPT_TESTING_H
#define PERI_SCRIPT_TESTING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

struct peri_server;
struct peri_source;
struct peri_stream;
struct peri_tls_info;
struct peri_vm;

/// How the specs of a configuration are run before it may serve. Strings are borrowed for the call.
struct peri_testing_gate {
    const struct peri_source *source; ///< every file is read from here; borrowed
    /// A test begins that stands at `line` of `file`.
    void (*on_running)(void *data, struct peri_slice file, int line, struct peri_slice name);
    /// A test failed, or a file could not be loaded; `line` is 0 when it is not known.
    void (*on_failed)(void *data, struct peri_slice file, int line, struct peri_slice message);
    /// All were run: so many. Not called when busted could not even begin, or was broken off.
    void (*on_ended)(void *data, unsigned count);
    void *data;
};

/// What a test drives, as calls on the server of proxy/.
struct peri_testing_host {
    /// A server whose connections to upstreams are opened by `connect(connect_data, address)`. NULL when it cannot be had.
    struct peri_server *(*open)(void *data, struct peri_stream *(*connect)(void *data, struct peri_slice address),
                                void *connect_data);
    /// Builds generation `number` from the configuration `entry`. False with a malloc'ed JSON array of errors in *errors.
    bool (*build)(struct peri_server *server, struct peri_slice entry, uint64_t number, char **errors);
    /// Makes what was built current.
    void (*activate)(struct peri_server *server);
    /// Serves memory connections under the settings of the listener `address`.
    bool (*listen)(struct peri_server *server, struct peri_slice address);
    /// A client's end of a connection to that listener, from `ip`; `tls` (taken) is what its handshake agreed on, NULL without TLS.
    struct peri_stream *(*connect)(struct peri_server *server, struct peri_slice address, struct peri_slice ip,
                                   struct peri_tls_info *tls);
    /// Lets the server end: no connection outlives its exchange. `on_drained` is called once, not later than `ms` from now.
    void (*drain)(struct peri_server *server, uint64_t ms, void (*on_drained)(void *data), void *data);
    /// Normalised configuration of what was made current, as JSON; borrowed until the next build.
    const char *(*config)(const struct peri_server *server);
    /// Records every exchange from now on: emit(data, line) gets each as JSON (proxy/tap.h), without bodies and with nothing masked.
    bool (*record)(struct peri_server *server, void (*emit)(void *data, struct peri_slice line), void *data);
    /// Gives emit(data, line) every line of the access log; called before anything is made current. False when out of memory.
    bool (*log_to)(struct peri_server *server, void (*emit)(void *data, struct peri_slice line), void *data);
    /// Ends and frees the server.
    void (*close)(struct peri_server *server);
    void *data;                           ///< for `open`
    const struct peri_testing_gate *gate; ///< borrowed; NULL for `perigee test`
};

/// Runs the function that the embedded module `name` returns, in the VM's main coroutine, with a list of `arguments`. The loop of
/// the VM is virtual. Returns what it returns, the exit status; 2 when it could not be run (said on stderr).
int peri_testing_run(struct peri_vm *vm, const struct peri_testing_host *host, const char *name, int count,
                     char **arguments);

#endif
