// SPDX-License-Identifier: MIT
// Memory connections in the hands of a test: bytes in, bytes out. What they mean is Lua's matter (perigee/test/wire.lua), so
// that the codec is tested against another reader than itself.
#include <stdlib.h>

#include "base/assert.h"
#include "event/stream.h"
#include "script/testing_types.h"

#define PERI_TEST_CONN "perigee.test.connection"
#define PERI_TEST_INBOX (1024 * 1024) ///< bytes that wait for Lua before reading stops
#define PERI_TEST_LINGER_MS 1000

static void conn_check_end(struct peri_test_conn *conn)
{
    if (conn->stream || conn->is_held || conn->is_arrival)
        return;
    peri_buf_close(&conn->inbox);
    free(conn);
}

static void on_read(struct peri_stream *stream, struct peri_slice data)
{
    struct peri_test_conn *conn = peri_stream_data(stream);
    if (peri_buf_put(&conn->inbox, data) != PERI_OK) {
        peri_stream_close(stream);
        return;
    }
    if (conn->inbox.len >= PERI_TEST_INBOX) {
        conn->is_stopped = true;
        peri_stream_read_stop(stream);
    }
}

static void on_end(struct peri_stream *stream, peri_err_t err)
{
    struct peri_test_conn *conn = peri_stream_data(stream);
    PERI_UNUSED(err);
    conn->is_ended = true;
}

static void on_drain(struct peri_stream *stream)
{
    PERI_UNUSED(stream);
}

static void on_close(struct peri_stream *stream)
{
    struct peri_test_conn *conn = peri_stream_data(stream);
    conn->stream = NULL;
    conn->is_ended = true;
    conn_check_end(conn);
}

static const struct peri_stream_events conn_events = {
    .on_read = on_read,
    .on_end = on_end,
    .on_drain = on_drain,
    .on_close = on_close,
};

static void on_unwanted_close(struct peri_stream *stream)
{
    PERI_UNUSED(stream);
}

static const struct peri_stream_events unwanted = {.on_close = on_unwanted_close};

struct peri_test_conn *peri_test_conn_new(struct peri_stream *stream)
{
    struct peri_test_conn *conn = calloc(1, sizeof(*conn));
    if (!conn) {
        peri_stream_set_owner(stream, &unwanted, NULL);
        peri_stream_close(stream);
        return NULL;
    }
    conn->stream = stream;
    conn->is_arrival = true;
    peri_buf_init(&conn->inbox);
    peri_list_init(&conn->link);
    peri_stream_set_owner(stream, &conn_events, conn);
    peri_stream_read_start(stream);
    return conn;
}

void peri_test_conn_drop(struct peri_test_conn *conn)
{
    conn->is_held = conn->is_arrival = false;
    peri_list_remove(&conn->link);
    if (conn->stream)
        peri_stream_close(conn->stream);
    else
        conn_check_end(conn);
}

void peri_test_conn_push(struct lua_State *L, struct peri_test_conn *conn)
{
    struct peri_test_conn **box = lua_newuserdata(L, sizeof(*box));
    *box = conn;
    conn->is_held = true;
    conn->is_arrival = false;
    luaL_getmetatable(L, PERI_TEST_CONN);
    lua_setmetatable(L, -2);
}

// ---- methods ----

static struct peri_test_conn *check(lua_State *L)
{
    struct peri_test_conn **box = luaL_checkudata(L, 1, PERI_TEST_CONN);
    peri_assert(*box != NULL);
    return *box;
}

// write(bytes): queues the bytes; nothing happens on a closed connection.
static int conn_write(lua_State *L)
{
    struct peri_test_conn *conn = check(L);
    struct peri_slice data;
    data.ptr = luaL_checklstring(L, 2, &data.len);
    if (conn->stream && peri_stream_write(conn->stream, data) != PERI_OK)
        return luaL_error(L, "out of memory");
    return 0;
}

// take(): all bytes that have arrived; nil when there are none.
static int conn_take(lua_State *L)
{
    struct peri_test_conn *conn = check(L);
    if (conn->inbox.len == 0) {
        lua_pushnil(L);
        return 1;
    }
    luaL_Buffer buffer;
    luaL_buffinit(L, &buffer);
    for (struct peri_slice run; (run = peri_buf_peek(&conn->inbox)).len > 0; peri_buf_take(&conn->inbox, run.len))
        luaL_addlstring(&buffer, run.ptr, run.len);
    luaL_pushresult(&buffer);
    if (conn->is_stopped && conn->stream)
        peri_stream_read_start(conn->stream);
    conn->is_stopped = false;
    return 1;
}

// is_ended(): has the peer ended its direction?
static int conn_is_ended(lua_State *L)
{
    lua_pushboolean(L, check(L)->is_ended);
    return 1;
}

// unread(): bytes sent that the peer has not read.
static int conn_unread(lua_State *L)
{
    const struct peri_test_conn *conn = check(L);
    lua_pushinteger(L, conn->stream ? (lua_Integer)peri_stream_unread(conn->stream) : 0);
    return 1;
}

// finish(): closes when everything is sent.
static int conn_finish(lua_State *L)
{
    struct peri_test_conn *conn = check(L);
    if (conn->stream)
        peri_stream_close_gently(conn->stream, PERI_TEST_LINGER_MS, false);
    return 0;
}

// shutdown(): ends our direction when everything is sent.
static int conn_shutdown(lua_State *L)
{
    struct peri_test_conn *conn = check(L);
    if (conn->stream)
        peri_stream_shutdown(conn->stream);
    return 0;
}

// close(): closes at once, behind what the peer can still take.
static int conn_close(lua_State *L)
{
    struct peri_test_conn *conn = check(L);
    if (conn->stream) {
        peri_stream_flush(conn->stream);
        peri_stream_close(conn->stream);
    }
    return 0;
}

// reset(): breaks the connection; what is on its way is lost.
static int conn_reset(lua_State *L)
{
    struct peri_test_conn *conn = check(L);
    if (conn->stream)
        peri_stream_reset(conn->stream);
    return 0;
}

static int conn_collect(lua_State *L)
{
    struct peri_test_conn **box = luaL_checkudata(L, 1, PERI_TEST_CONN);
    if (*box)
        peri_test_conn_drop(*box);
    *box = NULL;
    return 0;
}

static const luaL_Reg methods[] = {
    {"write", conn_write},       {"take", conn_take},
    {"is_ended", conn_is_ended}, {"unread", conn_unread},
    {"finish", conn_finish},     {"shutdown", conn_shutdown},
    {"close", conn_close},       {"reset", conn_reset},
    {"__gc", conn_collect},      {NULL, NULL},
};

void peri_test_conn_open(struct lua_State *L)
{
    luaL_newmetatable(L, PERI_TEST_CONN);
    luaL_register(L, NULL, methods);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
}
