// SPDX-License-Identifier: MIT
// Servers in the hands of a test. A server's connections to upstreams come to doors: addresses that a test answers for. A
// connection waits among the arrivals until the test accepts it.
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/log.h"
#include "event/stream.h"
#include "event/tls.h"
#include "script/script_types.h"
#include "script/testing.h"
#include "script/testing_types.h"

#define PERI_TEST_SERVER "perigee.test.server"
#define PERI_TEST_LINES (1024 * 1024) ///< bytes of the access log that wait for the test

struct door {
    struct peri_list link;
    bool is_refusing;
    bool is_silent;
    size_t len;
    char address[];
};

struct arrival {
    struct peri_list link;
    struct peri_test_conn *conn;
    const struct door *door;
};

struct test_server {
    struct peri_server *server; ///< NULL when closed
    bool is_drained;
    struct peri_list doors;
    struct peri_list arrivals;
    char stranger[256];      ///< address without a door that the server asked for, cut; "" for none
    struct peri_buf records; ///< lines of exchanges that were recorded
    struct peri_buf lines;   ///< of the access log
    bool is_cut;             ///< some had no room
};

static struct door *find_door(const struct test_server *self, struct peri_slice address)
{
    for (struct peri_list *link = self->doors.next; link != &self->doors; link = link->next) {
        struct door *door = PERI_LIST_ITEM(link, struct door, link);
        if (peri_slice_eq(peri_slice(door->address, door->len), address))
            return door;
    }
    return NULL;
}

static void note_stranger(struct test_server *self, struct peri_slice address)
{
    peri_warn("test: there is no fake upstream at %.*s", (int)address.len, address.ptr);
    snprintf(self->stranger, sizeof(self->stranger), "%.*s", (int)address.len, address.ptr);
}

// The server connects to an upstream. The door "*" is for all addresses that have none.
static struct peri_stream *on_connect(void *data, struct peri_slice address)
{
    struct test_server *self = data;
    const struct door *door = find_door(self, address);
    if (!door)
        door = find_door(self, PERI_SLICE("*"));
    if (!door)
        note_stranger(self, address);
    if (door && door->is_silent)
        return PERI_STREAM_SILENCE;
    if (!door || door->is_refusing)
        return NULL;
    struct arrival *arrival = calloc(1, sizeof(*arrival));
    struct peri_stream *pair[2];
    if (!arrival || !peri_stream_open_pair(peri_testing_current()->vm->loop, pair)) {
        free(arrival);
        return NULL;
    }
    arrival->door = door;
    arrival->conn = peri_test_conn_new(pair[1]);
    if (!arrival->conn) {
        free(arrival);
        return pair[0];
    }
    peri_list_append(&self->arrivals, &arrival->link);
    return pair[0];
}

static struct test_server *check(lua_State *L)
{
    struct test_server *self = luaL_checkudata(L, 1, PERI_TEST_SERVER);
    if (!self->server)
        luaL_error(L, "the gateway is closed");
    peri_testing_check(L);
    return self;
}

static struct peri_slice check_slice(lua_State *L, int index)
{
    struct peri_slice text;
    text.ptr = luaL_checklstring(L, index, &text.len);
    return text;
}

int peri_test_server_new(struct lua_State *L)
{
    const struct peri_testing_host *host = peri_testing_current()->host;
    peri_testing_check(L);
    struct test_server *self = lua_newuserdata(L, sizeof(*self));
    *self = (struct test_server){0};
    peri_list_init(&self->doors);
    peri_list_init(&self->arrivals);
    peri_buf_init(&self->records);
    peri_buf_init(&self->lines);
    luaL_getmetatable(L, PERI_TEST_SERVER);
    lua_setmetatable(L, -2);
    self->server = host->open(host->data, on_connect, self);
    return self->server ? 1 : luaL_error(L, "the server could not be started");
}

// build(entry, number): nil, or the errors as JSON.
static int server_build(lua_State *L)
{
    struct test_server *self = check(L);
    char *errors = NULL;
    bool is_built = peri_testing_current()->host->build(self->server, check_slice(L, 2),
                                                        (uint64_t)luaL_checkinteger(L, 3), &errors);
    if (is_built) {
        lua_pushnil(L);
        return 1;
    }
    lua_pushstring(L, errors ? errors : "[]");
    free(errors);
    return 1;
}

// activate(): what was built becomes current.
static int server_activate(lua_State *L)
{
    peri_testing_current()->host->activate(check(L)->server);
    return 0;
}

// listen(address): clients may connect to the listener `address`.
static int server_listen(lua_State *L)
{
    struct test_server *self = check(L);
    if (!peri_testing_current()->host->listen(self->server, check_slice(L, 2)))
        return luaL_error(L, "out of memory");
    return 0;
}

// What a handshake agreed on, of texts with their zero bytes (perigee/test/tls.lua); one block.
static struct peri_tls_info *read_tls(struct peri_slice texts)
{
    struct peri_tls_info *info = malloc(sizeof(*info) + texts.len + 1);
    if (!info)
        return NULL;
    char *at = memcpy(info + 1, texts.ptr, texts.len);
    at[texts.len] = '\0';
    const char *end = at + texts.len, *fields[9];
    for (size_t i = 0; i < PERI_COUNT(fields); i++) {
        fields[i] = at < end ? at : end;
        at += at < end ? strlen(at) + 1 : 0;
    }
    *info = (struct peri_tls_info){
        .version = fields[0],
        .cipher = fields[1],
        .alpn = fields[2],
        .server_name = fields[3],
        .subject = fields[4],
        .issuer = fields[5],
        .spiffe_id = fields[6],
        .fingerprint = fields[7],
        .sans = fields[8],
        .is_peer_verified = fields[7][0] != '\0',
    };
    return info;
}

// connect(address, ip, tls): a client's connection; without the texts of its TLS it has none.
static int server_connect(lua_State *L)
{
    struct test_server *self = check(L);
    struct peri_tls_info *tls = NULL;
    struct peri_slice address = check_slice(L, 2), ip = check_slice(L, 3);
    if (!lua_isnoneornil(L, 4) && !(tls = read_tls(check_slice(L, 4))))
        return luaL_error(L, "out of memory");
    struct peri_stream *stream = peri_testing_current()->host->connect(self->server, address, ip, tls);
    struct peri_test_conn *conn = stream ? peri_test_conn_new(stream) : NULL;
    if (!conn)
        return luaL_error(L, "no connection to listener '%s'", lua_tostring(L, 2));
    peri_test_conn_push(L, conn);
    return 1;
}

// door(address, mode): what connects to `address` arrives; is refused ("refuse"); or nothing comes of it ("timeout").
static int server_door(lua_State *L)
{
    struct test_server *self = check(L);
    struct peri_slice address = check_slice(L, 2);
    struct door *door = find_door(self, address);
    if (!door) {
        door = calloc(1, sizeof(*door) + address.len + 1);
        if (!door)
            return luaL_error(L, "out of memory");
        memcpy(door->address, address.ptr, address.len);
        door->len = address.len;
        peri_list_append(&self->doors, &door->link);
    }
    const char *mode = luaL_optstring(L, 3, "");
    door->is_refusing = strcmp(mode, "refuse") == 0;
    door->is_silent = strcmp(mode, "timeout") == 0;
    return 0;
}

// accept(): the next connection that arrived and the address it was meant for; nil when there is none.
static int server_accept(lua_State *L)
{
    struct test_server *self = check(L);
    if (peri_list_is_empty(&self->arrivals)) {
        lua_pushnil(L);
        return 1;
    }
    struct arrival *arrival = PERI_LIST_ITEM(self->arrivals.next, struct arrival, link);
    peri_list_remove(&arrival->link);
    peri_test_conn_push(L, arrival->conn);
    lua_pushlstring(L, arrival->door->address, arrival->door->len);
    free(arrival);
    return 2;
}

static void on_drained(void *data)
{
    struct test_server *self = data;
    self->is_drained = true;
}

// drain(ms): ends the connections that are idle, the others with their exchange, all of them after `ms`.
static int server_drain(lua_State *L)
{
    struct test_server *self = check(L);
    lua_Integer ms = luaL_checkinteger(L, 2);
    luaL_argcheck(L, ms >= 0, 2, "time goes forward");
    peri_testing_current()->host->drain(self->server, (uint64_t)ms, on_drained, self);
    return 0;
}

// is_drained(): has the drain come to its end?
static int server_is_drained(lua_State *L)
{
    const struct test_server *self = luaL_checkudata(L, 1, PERI_TEST_SERVER);
    lua_pushboolean(L, self->is_drained);
    return 1;
}

// stranger(): an address that the server asked for and that has no door, once; nil when there is none.
static int server_stranger(lua_State *L)
{
    struct test_server *self = check(L);
    if (self->stranger[0] == '\0')
        lua_pushnil(L);
    else
        lua_pushstring(L, self->stranger);
    self->stranger[0] = '\0';
    return 1;
}

// config(): the normalised configuration as JSON.
static int server_config(lua_State *L)
{
    const char *text = peri_testing_current()->host->config(check(L)->server);
    lua_pushstring(L, text ? text : "{}");
    return 1;
}

static void on_record(void *data, struct peri_slice line)
{
    struct test_server *self = data;
    if (peri_buf_put(&self->records, line) != PERI_OK || peri_buf_put(&self->records, PERI_SLICE("\n")) != PERI_OK)
        peri_error("test: a record is lost: out of memory");
}

// record(): records every exchange that begins from now on.
static int server_record(lua_State *L)
{
    struct test_server *self = check(L);
    return peri_testing_current()->host->record(self->server, on_record, self) ? 0 : luaL_error(L, "out of memory");
}

// Pushes what is in the buffer, which is empty then; nil for nothing.
static int push_lines(lua_State *L, struct peri_buf *lines)
{
    size_t len = lines->len;
    if (len == 0) {
        lua_pushnil(L);
        return 1;
    }
    char *text = lua_newuserdata(L, len);
    peri_buf_copy(lines, text);
    peri_buf_take(lines, len);
    lua_pushlstring(L, text, len);
    return 1;
}

// records(): the lines of the exchanges that have ended since the last call, each with a newline; nil for none.
static int server_records(lua_State *L)
{
    return push_lines(L, &check(L)->records);
}

static void on_line(void *data, struct peri_slice line)
{
    struct test_server *self = data;
    if (self->is_cut || self->lines.len + line.len > PERI_TEST_LINES || peri_buf_put(&self->lines, line) != PERI_OK)
        self->is_cut = true;
}

// keep_log(): keeps the lines of the access log.
static int server_keep_log(lua_State *L)
{
    struct test_server *self = check(L);
    return peri_testing_current()->host->log_to(self->server, on_line, self) ? 0 : luaL_error(L, "out of memory");
}

// take_log(): the lines of the access log since the last call, each with a newline, nil for none; were some lost?
static int server_take_log(lua_State *L)
{
    struct test_server *self = check(L);
    push_lines(L, &self->lines);
    lua_pushboolean(L, self->is_cut);
    return 2;
}

static void server_end(struct test_server *self)
{
    if (self->server)
        peri_testing_current()->host->close(self->server);
    self->server = NULL;
    peri_buf_close(&self->records);
    peri_buf_close(&self->lines);
    while (!peri_list_is_empty(&self->arrivals)) {
        struct arrival *arrival = PERI_LIST_ITEM(self->arrivals.next, struct arrival, link);
        peri_list_remove(&arrival->link);
        peri_test_conn_drop(arrival->conn);
        free(arrival);
    }
    while (!peri_list_is_empty(&self->doors)) {
        struct door *door = PERI_LIST_ITEM(self->doors.next, struct door, link);
        peri_list_remove(&door->link);
        free(door);
    }
}

// close(): ends the server; may be called twice.
static int server_close(lua_State *L)
{
    peri_testing_check(L);
    server_end(luaL_checkudata(L, 1, PERI_TEST_SERVER));
    return 0;
}

static const luaL_Reg methods[] = {
    {"build", server_build},
    {"activate", server_activate},
    {"listen", server_listen},
    {"connect", server_connect},
    {"door", server_door},
    {"accept", server_accept},
    {"stranger", server_stranger},
    {"drain", server_drain},
    {"is_drained", server_is_drained},
    {"config", server_config},
    {"record", server_record},
    {"records", server_records},
    {"keep_log", server_keep_log},
    {"take_log", server_take_log},
    {"close", server_close},
    {NULL, NULL},
};

void peri_test_server_open(struct lua_State *L)
{
    luaL_newmetatable(L, PERI_TEST_SERVER);
    luaL_register(L, NULL, methods);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
}
