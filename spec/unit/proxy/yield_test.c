// SPDX-License-Identifier: MIT
// Every point at which a policy may wait, against everything that may happen meanwhile (security.md 7.3, row 20): nothing is used after
// its end, nothing is left over, and every exchange ends.
#include "memory_peer.h"

#include "base/log.h"
#include "exchange/exchange.h"
#include "proxy/server.h"
#include "script/vm.h"
#include "shared/shm.h"

#define ADDRESS PERI_SLICE("127.0.0.1:8080")

static const char config[] =
    "local routes, hooks = {}, { 'request', 'request_body', 'read', 'upstream', 'response', 'response_body', "
    "'response_read', 'around',\n"
    "  'around_twice', 'log' }\n"
    "for i, hook in ipairs(hooks) do\n"
    "  routes[i] = { name = hook, match = { path = '/' .. hook }, upstream = 'one', policies = { { 'sleepy', at = hook "
    "} } }\n"
    "  if hook:find('around', 1, true) then routes[i].policies[1][1] = 'round' end\n"
    "end\n"
    "routes[#routes + 1] = { name = 'handler', match = { path = '/handler' }, handler = function(req)\n"
    "  local perigee = require 'perigee'\n"
    "  perigee.http.fetch('http://one/')\n"
    "  perigee.sleep(0.05)\n"
    "  return reply(200, 'made') end }\n"
    "return {\n"
    "  access_log = { path = 'off' },\n"
    "  listeners = { { address = '127.0.0.1:8080', timeouts = { stream_idle = '20s' } } },\n"
    "  upstreams = { one = { endpoints = { '10.0.0.1:80' }, timeouts = { connect = '1s', request = '2s', idle = '3s' } "
    "} },\n"
    "  routes = routes,\n"
    "}\n";

static const char sleepy[] = "local perigee = require 'perigee'\n"
                             "local P = perigee.policy { name = 'sleepy', stage = 'traffic',\n"
                             "  schema = { at = { type = 'string', required = true } } }\n"
                             "local function nap(self, at) if self.conf.at == at then perigee.sleep(0.05) end end\n"
                             "function P:on_request(req)\n"
                             "  nap(self, 'request')\n"
                             "  if self.conf.at == 'read' then req.body:read(1000) perigee.sleep(0.05) end\n"
                             "end\n"
                             "function P:on_request_body(req, chunk, last) nap(self, 'request_body') end\n"
                             "function P:on_upstream(req, attempt) nap(self, 'upstream') end\n"
                             "function P:on_response(req, res)\n"
                             "  nap(self, 'response')\n"
                             "  if self.conf.at == 'response_read' then res.body:read(1000) perigee.sleep(0.05) end\n"
                             "end\n"
                             "function P:on_response_body(req, res, chunk, last) nap(self, 'response_body') end\n"
                             "function P:on_log(req, res) nap(self, 'log') end\n"
                             "return P\n";

static const char around[] = "local perigee = require 'perigee'\n"
                             "local P = perigee.policy { name = 'round', stage = 'traffic',\n"
                             "  schema = { at = { type = 'string', required = true } } }\n"
                             "function P:around(req, next)\n"
                             "  perigee.sleep(0.05)\n"
                             "  local res = next(req)\n"
                             "  perigee.sleep(0.05)\n"
                             "  if self.conf.at == 'around_twice' then res = next(req) perigee.sleep(0.05) end\n"
                             "  return res\n"
                             "end\n"
                             "return P\n";

static const char *const points[] = {"request",      "request_body",  "read",          "upstream",
                                     "response",     "response_body", "response_read", "around",
                                     "around_twice", "log",           "handler"};

static struct {
    struct peri_loop *loop;
    struct peri_shm *shm;
    struct peri_server *server;
    struct memory_peer client;
    struct memory_peer origins[16];
    unsigned count;
} world;

static struct peri_stream *on_connect(void *data, struct peri_slice address)
{
    struct peri_stream *pair[2];
    (void)data;
    (void)address;
    assert_true(world.count < 16 && peri_stream_open_pair(world.loop, pair));
    memory_peer_open(&world.origins[world.count++], world.loop, pair[1]);
    return pair[0];
}

static peri_err_t on_file(void *data, struct peri_slice path, struct peri_slice *bytes)
{
    (void)data;
    static const struct {
        const char *path;
        const char *text;
    } files[] = {{"gateway.lua", config}, {"policies/sleepy/init.lua", sleepy}, {"policies/round/init.lua", around}};
    for (unsigned i = 0; i < PERI_COUNT(files); i++) {
        *bytes = peri_slice_from(files[i].text);
        if (peri_slice_eq(path, peri_slice_from(files[i].path)))
            return PERI_OK;
    }
    return PERI_ERR_NOT_FOUND;
}

static void load(uint64_t number)
{
    char *errors = NULL;
    struct peri_source source = {.read = on_file};
    if (peri_server_build(world.server, &source, PERI_SLICE("gateway.lua"), number, PERI_SLICE("digest"), &errors) !=
        PERI_OK)
        fail_msg("refused: %s", errors);
    peri_server_switch(world.server);
}

static void drop_line(void *data, enum peri_log_level level, const char *line, size_t len)
{
    (void)data;
    (void)level;
    (void)line;
    (void)len;
}

static void open_world(void)
{
    memset(&world, 0, sizeof(world));
    peri_log_set_sink(drop_line, NULL);
    world.loop = peri_loop_new(true);
    world.shm = peri_shm_create(&(struct peri_shm_options){.workers = 1});
    world.server =
        peri_server_new(&(struct peri_server_options){.loop = world.loop, .shm = world.shm, .connect = on_connect});
    assert_non_null(world.server);
    load(1);
    assert_int_equal(peri_server_listen_memory(world.server, ADDRESS), PERI_OK);
    memory_peer_open(&world.client, world.loop,
                     peri_server_connect(world.server, ADDRESS, PERI_SLICE("192.0.2.9"), NULL));
}

static void close_world(void)
{
    if (world.server)
        peri_server_free(world.server);
    world.server = NULL;
    settle(world.loop);
    memory_peer_free(&world.client);
    for (unsigned i = 0; i < world.count; i++)
        memory_peer_free(&world.origins[i]);
    assert_int_equal(peri_loop_streams(world.loop), 0);
    assert_int_equal(peri_loop_timers(world.loop), 0);
    assert_int_equal(peri_exchange_count(), 0);
    peri_loop_free(world.loop);
    peri_shm_close(world.shm);
    peri_exchange_pool_close();
    peri_log_set_sink(NULL, NULL);
}

// ---- what may happen ----

static void each_origin(void (*act)(struct memory_peer *peer))
{
    for (unsigned i = 0; i < world.count; i++)
        if (world.origins[i].stream)
            act(&world.origins[i]);
    settle(world.loop);
}

static void origin_reset(struct memory_peer *peer)
{
    peri_stream_reset(peer->stream);
}

static void origin_close(struct memory_peer *peer)
{
    peri_stream_close(peer->stream);
}

static void origin_garbage(struct memory_peer *peer)
{
    memory_peer_put(peer, PERI_SLICE("garbage\r\n\r\n"));
}

static void origin_answer(struct memory_peer *peer)
{
    memory_peer_put(peer, PERI_SLICE("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody"));
}

static void client_leaves(void)
{
    memory_peer_reset(&world.client);
}

static void client_ends(void)
{
    memory_peer_end(&world.client);
}

static void client_lies(void)
{
    if (world.client.stream)
        memory_peer_send(&world.client, "zz\r\n\r\n");
}

static void client_asks_more(void)
{
    if (world.client.stream)
        memory_peer_send(&world.client, "1\r\nx\r\n0\r\n\r\nGET /request HTTP/1.1\r\nhost: a\r\n\r\n");
}

static void upstream_resets(void)
{
    each_origin(origin_reset);
}

static void upstream_closes(void)
{
    each_origin(origin_close);
}

static void upstream_lies(void)
{
    each_origin(origin_garbage);
}

static void upstream_answers(void)
{
    each_origin(origin_answer);
}

static void time_passes(void)
{
    peri_loop_advance(world.loop, 30000);
}

static void configuration_changes(void)
{
    load(2);
    load(3);
    settle(world.loop);
}

static void server_drains(void)
{
    peri_server_drain(world.server, 3000, NULL, NULL);
    settle(world.loop);
}

static void server_goes(void)
{
    peri_server_free(world.server);
    world.server = NULL;
    settle(world.loop);
}

static void nothing_happens(void)
{
}

static void (*const events[])(void) = {nothing_happens,  client_leaves,   client_ends,     client_lies,
                                       client_asks_more, upstream_resets, upstream_closes, upstream_lies,
                                       upstream_answers, time_passes,     server_drains,   configuration_changes,
                                       server_goes};

// How far the exchange goes before the event: the request's head, its body, the response's head, its body.
static void bring_to(const char *point, unsigned stage)
{
    char head[128];
    snprintf(head, sizeof(head), "POST /%s HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
             point);
    memory_peer_send(&world.client, head);
    if (stage >= 1) {
        peri_loop_advance(world.loop, 20);
        memory_peer_send(&world.client, "0\r\n\r\n");
    }
    for (unsigned i = 2; i <= stage; i++) {
        peri_loop_advance(world.loop, 60);
        for (unsigned k = 0; k < world.count; k++)
            if (world.origins[k].stream && world.origins[k].len > 0)
                memory_peer_send(&world.origins[k], i == 2   ? "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
                                                    : i == 3 ? "2\r\nhi\r\n"
                                                             : "0\r\n\r\n");
    }
    peri_loop_advance(world.loop, 10); // most sleeps are under way
}

static void survives_everything_at_every_point(void **state)
{
    (void)state;
    for (unsigned point = 0; point < PERI_COUNT(points); point++) {
        for (unsigned stage = 0; stage <= 4; stage++) {
            for (unsigned event = 0; event < PERI_COUNT(events); event++) {
                open_world();
                bring_to(points[point], stage);
                events[event]();
                if (world.server)
                    peri_loop_advance(world.loop, 200); // the sleeps end
                if (world.server) {
                    peri_loop_advance(world.loop, 60000); // and so do all other waits
                    if (peri_exchange_count() > 0)
                        fail_msg("%s: %u exchanges are left after event %u at stage %u", points[point],
                                 peri_exchange_count(), event, stage);
                }
                close_world();
            }
        }
    }
}

static void survives_every_pair_of_events(void **state)
{
    (void)state;
    for (unsigned point = 0; point < PERI_COUNT(points); point++) {
        for (unsigned first = 1; first < PERI_COUNT(events); first++) {
            for (unsigned second = 1; second < PERI_COUNT(events); second++) {
                if ((point + first + second) % 3 != 0) // every pair, at a third of the points
                    continue;
                open_world();
                bring_to(points[point], 1 + (first + second) % 3);
                events[first]();
                if (world.server)
                    events[second]();
                if (world.server)
                    peri_loop_advance(world.loop, 60000);
                close_world();
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(survives_everything_at_every_point),
        cmocka_unit_test(survives_every_pair_of_events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
