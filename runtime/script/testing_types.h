// SPDX-License-Identifier: MIT
// What the files of the test kit share. Nobody else includes this.
#ifndef PERI_SCRIPT_TESTING_TYPES_H
#define PERI_SCRIPT_TESTING_TYPES_H

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "base/log.h"

struct peri_stream;
struct peri_testing_host;
struct peri_vm;

/// The kit of a process.
struct peri_testing {
    struct peri_vm *vm;                    ///< borrowed
    const struct peri_testing_host *host;  ///< borrowed
    struct peri_script_generation *script; ///< what the coroutines of fake upstreams belong to
    struct peri_buf log;                   ///< records of the log: level, length, text
    bool is_log_cut;                       ///< lines were dropped
};

/// One end of a memory connection, held by Lua.
struct peri_test_conn {
    struct peri_stream *stream; ///< NULL once it is closed
    struct peri_buf inbox;      ///< arrived, not taken by Lua
    bool is_ended;              ///< the peer has ended its direction, or the connection broke
    bool is_stopped;            ///< reading waits for Lua to take something
    bool is_held;               ///< Lua has a handle
    bool is_arrival;            ///< accepted, Lua has no handle yet
    struct peri_list link;      ///< arrivals of a server
};

/// The kit. There is one.
struct peri_testing *peri_testing_current(void);

/// Takes a stream: a connection that Lua does not hold yet. NULL when out of memory (the stream is closed).
struct peri_test_conn *peri_test_conn_new(struct peri_stream *stream);

/// Closes the connection; it is freed when its stream is gone and nobody holds it.
void peri_test_conn_drop(struct peri_test_conn *conn);

/// Pushes a handle on the connection.
void peri_test_conn_push(struct lua_State *L, struct peri_test_conn *conn);

/// Makes the metatables of connections and of servers.
void peri_test_conn_open(struct lua_State *L);
void peri_test_server_open(struct lua_State *L);

/// testing.server(): a new server.
int peri_test_server_new(struct lua_State *L);

/// Functions of the module; the gate's only when there is one.
extern const luaL_Reg peri_testing_gate_calls[];
extern const luaL_Reg peri_testing_clock[];
extern const luaL_Reg peri_testing_view[];
extern const luaL_Reg peri_testing_coverage[];

/// Frees the counters of lines; nothing is counted any more.
void peri_testing_coverage_close(void);

/// Sink of the log: `data` is the kit.
void peri_testing_log(void *data, enum peri_log_level level, const char *line, size_t len);

/// Drops the coroutines of fake upstreams and what they started.
void peri_testing_drop_coroutines(void);

/// Raises an error when a coroutine of the runtime is running: the kit drives the loop from outside.
void peri_testing_check(struct lua_State *L);

#endif
