// SPDX-License-Identifier: MIT
// The whole way in memory: bytes of a client through a server with a configuration to an origin in the hands of the test, and back.
#include "memory_peer.h"

#include "base/log.h"
#include "exchange/exchange.h"
#include "proxy/server.h"
#include "script/vm.h"
#include "shared/metrics.h"
#include "shared/shm.h"

#define ORIGINS_MAX 16
#define GET(path) "GET " path " HTTP/1.1\r\nhost: a\r\n\r\n"
#define OK(body, length) "HTTP/1.1 200 OK\r\ncontent-length: " length "\r\n\r\n" body

static const char config[] =
    "return {\n"
    "  access_log = { path = 'off' },\n"
    "  listeners = { { address = '127.0.0.1:8080' } },\n"
    "  upstreams = {\n"
    "    one = { endpoints = { '10.0.0.1:80' }, timeouts = { connect = '1s', request = '2s', idle = '3s' } },\n"
    "    two = { endpoints = { '10.0.0.2:80' } } },\n"
    "  policies = {},\n"
    "  routes = {\n"
    "    { name = 'plain', match = { path = '/a/*' }, upstream = 'one' },\n"
    "    { name = 'fixed', match = { path = '/fixed' }, reply = { status = 418, body = 'tea' } },\n"
    "    { name = 'again', match = { path = '/again' }, upstream = 'one', policies = { 'twice' } },\n"
    "    { name = 'large', match = { path = '/large' }, handler = function(req)\n"
    "        local http = require('perigee').http\n"
    "        local res = assert(http.fetch('http://two/', { max_body = 16 * 1024 * 1024 }))\n"
    "        return reply(200, tostring(#res.body)) end },\n"
    "  },\n"
    "}\n";

static const char twice[] = "local perigee = require 'perigee'\n"
                            "local P = perigee.policy { name = 'twice', stage = 'traffic', schema = {} }\n"
                            "function P:around(req, next)\n"
                            "  local res = next(req)\n"
                            "  if res.status == 500 then res = next(req) end\n"
                            "  return res\n"
                            "end\n"
                            "return P\n";

static struct {
    struct peri_loop *loop;
    struct peri_shm *shm;
    struct peri_server *server;
    struct peri_metrics_page *page;
    struct memory_peer client;
    struct memory_peer origins[ORIGINS_MAX]; ///< one per connection, in the order of their opening
    unsigned count;
    bool refuses;
} world;

#define origin (&world.origins[0])

static struct peri_stream *on_connect(void *data, struct peri_slice address)
{
    struct peri_stream *pair[2];
    (void)data;
    (void)address;
    if (world.refuses)
        return NULL;
    assert_true(world.count < ORIGINS_MAX);
    assert_true(peri_stream_open_pair(world.loop, pair));
    memory_peer_open(&world.origins[world.count++], world.loop, pair[1]);
    return pair[0];
}

static peri_err_t on_file(void *data, struct peri_slice path, struct peri_slice *bytes)
{
    (void)data;
    if (peri_slice_eq(path, PERI_SLICE("gateway.lua")))
        *bytes = peri_slice_from(config);
    else if (peri_slice_eq(path, PERI_SLICE("policies/twice/init.lua")))
        *bytes = peri_slice_from(twice);
    else
        return PERI_ERR_NOT_FOUND;
    return PERI_OK;
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

static void connect_client(struct memory_peer *client)
{
    struct peri_stream *stream =
        peri_server_connect(world.server, PERI_SLICE("127.0.0.1:8080"), PERI_SLICE("192.0.2.9"), NULL);
    assert_non_null(stream);
    memory_peer_open(client, world.loop, stream);
    settle(world.loop);
}

static int open_world(void **state)
{
    (void)state;
    memset(&world, 0, sizeof(world));
    peri_log_set_level(PERI_LOG_ERROR);
    world.loop = peri_loop_new(true);
    world.shm = peri_shm_create(&(struct peri_shm_options){.workers = 1});
    world.server =
        peri_server_new(&(struct peri_server_options){.loop = world.loop, .shm = world.shm, .connect = on_connect});
    assert_non_null(world.server);
    world.page = peri_shm_metrics(world.shm, 0);
    load(1);
    assert_int_equal(peri_server_listen_memory(world.server, PERI_SLICE("127.0.0.1:8080")), PERI_OK);
    connect_client(&world.client);
    return 0;
}

static void close_server(void)
{
    if (world.server)
        peri_server_free(world.server);
    world.server = NULL;
    settle(world.loop);
}

static int close_world(void **state)
{
    (void)state;
    close_server();
    memory_peer_free(&world.client);
    for (unsigned i = 0; i < world.count; i++)
        memory_peer_free(&world.origins[i]);
    settle(world.loop);
    assert_int_equal(peri_loop_streams(world.loop), 0);
    assert_int_equal(peri_loop_timers(world.loop), 0);
    assert_int_equal(peri_exchange_count(), 0);
    peri_loop_free(world.loop);
    peri_shm_close(world.shm);
    peri_exchange_pool_close();
    return 0;
}

static void ask(const char *request)
{
    memory_peer_send(&world.client, request);
}

static void assert_status(int status)
{
    char begin[16];
    snprintf(begin, sizeof(begin), "HTTP/1.1 %d ", status);
    if (strncmp(memory_peer_text(&world.client), begin, strlen(begin)) != 0)
        fail_msg("expected %d, got: %s", status, memory_peer_text(&world.client));
}

static void passes_requests_and_responses_on(void **state)
{
    (void)state;
    ask("POST /a/b?c HTTP/1.1\r\nHost: Shop.example\r\nContent-Length: 2\r\nConnection: x-hop\r\nX-Hop: 1\r\nX-Stay: "
        "2\r\n\r\nhi");
    assert_string_equal(memory_peer_text(origin),
                        "POST /a/b?c HTTP/1.1\r\nhost: Shop.example\r\nx-stay: 2\r\nx-forwarded-for: 192.0.2.9\r\n"
                        "x-forwarded-proto: http\r\nx-forwarded-host: Shop.example\r\ncontent-length: 2\r\n\r\nhi");
    memory_peer_send(origin,
                     "HTTP/1.1 201 Created\r\nContent-Length: 3\r\nX-A: 1\r\nConnection: x-b\r\nX-B: 2\r\n\r\nyes");
    assert_string_equal(memory_peer_text(&world.client),
                        "HTTP/1.1 201 Created\r\nx-a: 1\r\ncontent-length: 3\r\n\r\nyes");
    ask(GET("/a/again"));
    assert_int_equal(world.count, 1); // the connection is used again
}

static void answers_what_needs_no_upstream_itself(void **state)
{
    (void)state;
    ask(GET("/fixed"));
    assert_status(418);
    memory_peer_forget(&world.client);
    ask(GET("/none"));
    assert_status(404);
    assert_non_null(strstr(memory_peer_text(&world.client), "urn:perigee:no_route"));
    assert_int_equal(world.count, 0);
}

static void says_what_an_upstream_did_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *response; ///< NULL: nobody is there
        int status;
    } rows[] = {{NULL, 503},
                {"", 502},
                {"garbage\r\n\r\n", 502},
                {"HTTP/1.1 200 OK\r\ncontent-le", 502},
                {"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", 502},
                {"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", 502}};
    for (unsigned i = 0; i < PERI_COUNT(rows); i++) {
        unsigned at = world.count;
        world.refuses = !rows[i].response;
        memory_peer_forget(&world.client);
        ask(GET("/a/b"));
        if (rows[i].response) {
            memory_peer_send(&world.origins[at], rows[i].response);
            memory_peer_close(&world.origins[at]);
        }
        assert_status(rows[i].status);
        assert_non_null(strstr(memory_peer_text(&world.client), "application/problem+json"));
        assert_false(world.client.is_ended);
    }
}

static void breaks_a_response_off_that_breaks_off(void **state)
{
    (void)state;
    static const char *const heads[] = {"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc",
                                        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"};
    for (unsigned i = 0; i < 2; i++) {
        if (i > 0) {
            memory_peer_free(&world.client);
            connect_client(&world.client);
        }
        ask(GET("/a/b"));
        memory_peer_send(&world.origins[i], heads[i]);
        assert_status(200);
        memory_peer_close(&world.origins[i]);
        assert_true(world.client.is_ended);
        assert_null(strstr(memory_peer_text(&world.client), "0\r\n\r\n"));
    }
}

static void waits_for_an_answer_as_long_as_told(void **state)
{
    (void)state;
    ask(GET("/a/b"));
    peri_loop_advance(world.loop, 1999);
    assert_string_equal(memory_peer_text(&world.client), "");
    peri_loop_advance(world.loop, 1);
    assert_status(504);
    assert_true(origin->is_ended);
    memory_peer_forget(&world.client);
    ask(GET("/a/b"));
    memory_peer_send(&world.origins[1], "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\na");
    peri_loop_advance(world.loop, 2999);
    assert_false(world.client.is_ended);
    peri_loop_advance(world.loop, 1);
    assert_true(world.client.is_ended);
}

static void replaces_a_stale_connection_once(void **state)
{
    (void)state;
    ask(GET("/a/b"));
    memory_peer_send(origin, OK("x", "1"));
    memory_peer_forget(&world.client);
    peri_stream_close(origin->stream); // as the request is on its way
    ask(GET("/a/b"));
    assert_int_equal(world.count, 2);
    memory_peer_send(&world.origins[1], OK("y", "1"));
    assert_string_equal(memory_peer_text(&world.client), OK("y", "1"));
}

static void does_not_repeat_what_may_not_be_repeated(void **state)
{
    (void)state;
    ask(GET("/a/b"));
    memory_peer_send(origin, OK("x", "1"));
    memory_peer_forget(&world.client);
    memory_peer_put(&world.client, PERI_SLICE("POST /a/b HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi"));
    peri_stream_flush(world.client.stream);
    for (unsigned turns = 0; turns < 100 && origin->len < 150; turns++)
        peri_loop_turn(world.loop);
    memory_peer_close(origin);
    assert_int_equal(world.count, 1);
    assert_status(502);
}

static void calls_the_upstream_off_when_the_client_goes_away(void **state)
{
    (void)state;
    ask(GET("/a/b"));
    memory_peer_reset(&world.client);
    assert_true(origin->is_ended);
    memory_peer_free(&world.client);
    connect_client(&world.client);
    ask(GET("/a/b"));
    memory_peer_send(&world.origins[1], "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc");
    memory_peer_reset(&world.client);
    assert_true(world.origins[1].is_ended);
}

// ---- bodies ----

static char part[65536];

static void bounds_what_it_holds_of_a_response(void **state)
{
    (void)state;
    ask(GET("/a/b"));
    peri_stream_read_stop(world.client.stream);
    memory_peer_send(origin, "HTTP/1.1 200 OK\r\ncontent-length: 6553600\r\n\r\n");
    for (unsigned i = 0; i < 100; i++) {
        memory_peer_put(origin, peri_slice(part, sizeof(part)));
        settle(world.loop);
    }
    // of 6.5 MB two windows of 64 KiB and two queues of 64 KiB and a read each are under way
    assert_true(peri_stream_pending(origin->stream) > 6553600 - 512 * 1024);
    peri_loop_advance(world.loop, 2900); // the upstream is not to blame
    peri_loop_advance(world.loop, 2900);
    peri_stream_read_start(world.client.stream);
    settle(world.loop);
    assert_true(world.client.len > 6553600);
    assert_false(world.client.is_ended);
}

static void bounds_what_it_holds_of_a_request(void **state)
{
    (void)state;
    ask("POST /a/b HTTP/1.1\r\nhost: a\r\ncontent-length: 6553600\r\n\r\n");
    peri_stream_read_stop(origin->stream);
    for (unsigned i = 0; i < 100; i++) {
        memory_peer_put(&world.client, peri_slice(part, sizeof(part)));
        settle(world.loop);
    }
    assert_true(peri_stream_pending(world.client.stream) > 6553600 - 512 * 1024);
    peri_stream_read_start(origin->stream);
    settle(world.loop);
    assert_true(origin->len > 6553600);
    memory_peer_send(origin, OK("x", "1"));
    assert_status(200);
}

static void passes_an_early_answer_on_while_the_body_still_comes(void **state)
{
    (void)state;
    ask("POST /a/b HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\nbegin");
    memory_peer_send(origin, "HTTP/1.1 413 Content Too Large\r\ncontent-length: 2\r\n\r\nno");
    assert_string_equal(memory_peer_text(&world.client),
                        "HTTP/1.1 413 Content Too Large\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno");
    assert_true(world.client.is_ended);
    memory_peer_send(&world.client, "more");
    memory_peer_end(&world.client);
    assert_int_equal(peri_server_connections(world.server), 0);
}

static void invites_a_body_and_passes_other_interim_responses_on(void **state)
{
    (void)state;
    ask("POST /a/b HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n");
    assert_string_equal(memory_peer_text(&world.client), "HTTP/1.1 100 Continue\r\n\r\n");
    ask("hi");
    memory_peer_send(origin,
                     "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" OK("x", "1"));
    assert_string_equal(memory_peer_text(&world.client),
                        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" OK("x", "1"));
}

static void passes_chunks_and_trailers_both_ways(void **state)
{
    (void)state;
    ask("POST /a/b HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-up: 1\r\n\r\n");
    assert_non_null(
        strstr(memory_peer_text(origin), "\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-up: 1\r\n\r\n"));
    memory_peer_send(origin, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nde\r\n0\r\nx-down: 2\r\n\r\n");
    assert_string_equal(memory_peer_text(&world.client),
                        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nde\r\n0\r\nx-down: 2\r\n\r\n");
}

static void sends_a_whole_body_again_whatever_pieces_it_came_in(void **state)
{
    (void)state;
    size_t total = 120 * 8200;
    char head[128];
    ask("POST /again HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
    for (unsigned i = 0; i < 120; i++) {
        memset(part, 'a' + (int)(i % 26), 8200);
        memory_peer_put(&world.client, PERI_SLICE("2008\r\n"));
        memory_peer_put(&world.client, peri_slice(part, 8200));
        memory_peer_put(&world.client, PERI_SLICE("\r\n"));
        settle(world.loop);
    }
    ask("0\r\n\r\n");
    snprintf(head, sizeof(head), "content-length: %zu\r\n\r\n", total);
    for (unsigned round = 0; round < 2; round++) {
        const char *text = memory_peer_text(origin);
        const char *body = strstr(text, head);
        assert_non_null(body);
        body += strlen(head);
        assert_int_equal(origin->len - (size_t)(body - text), total);
        for (size_t i = 0; i < total; i++)
            assert_int_equal(body[i], 'a' + (int)(i / 8200 % 26));
        memory_peer_forget(origin);
        memory_peer_send(origin,
                         round ? OK("x", "1") : "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n");
    }
    assert_status(200);
}

static void fetches_more_than_an_exchange_may_hold(void **state)
{
    (void)state;
    ask(GET("/large"));
    memory_peer_send(origin, "HTTP/1.1 200 OK\r\ncontent-length: 6553600\r\n\r\n");
    for (unsigned i = 0; i < 100; i++) {
        memory_peer_put(origin, peri_slice(part, sizeof(part)));
        settle(world.loop);
    }
    assert_status(200);
    assert_non_null(strstr(memory_peer_text(&world.client), "\r\n\r\n6553600"));
}

// ---- tunnels ----

#define UPGRADE "GET /a/ws HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n"
#define SWITCHING "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"

static void opens_a_tunnel_on_101_and_not_before(void **state)
{
    (void)state;
    ask(UPGRADE "early");
    assert_null(strstr(memory_peer_text(origin), "early"));
    memory_peer_send(origin, SWITCHING "first");
    assert_string_equal(memory_peer_text(&world.client), SWITCHING "first");
    assert_non_null(strstr(memory_peer_text(origin), "early"));
    memory_peer_forget(origin);
    ask("up");
    memory_peer_send(origin, "down");
    assert_string_equal(memory_peer_text(origin), "up");
    assert_string_equal(memory_peer_text(&world.client), SWITCHING "firstdown");
    peri_loop_advance(world.loop, 60000); // the times of a response do not hold here
    assert_false(world.client.is_ended);
    memory_peer_end(&world.client);
    assert_true(origin->is_ended);
    memory_peer_send(origin, "last");
    memory_peer_end(origin);
    assert_string_equal(memory_peer_text(&world.client), SWITCHING "firstdownlast");
    assert_true(world.client.is_ended);
}

static void carries_a_tunnel_under_back_pressure_both_ways(void **state)
{
    (void)state;
    ask(UPGRADE);
    memory_peer_send(origin, SWITCHING);
    memory_peer_forget(origin);
    memory_peer_forget(&world.client);
    peri_stream_read_stop(world.client.stream);
    peri_stream_read_stop(origin->stream);
    for (unsigned i = 0; i < 50; i++) {
        memory_peer_put(&world.client, peri_slice(part, sizeof(part)));
        memory_peer_put(origin, peri_slice(part, sizeof(part)));
        settle(world.loop);
    }
    assert_true(peri_stream_pending(world.client.stream) > 50 * sizeof(part) - 512 * 1024);
    assert_true(peri_stream_pending(origin->stream) > 50 * sizeof(part) - 512 * 1024);
    peri_stream_read_start(world.client.stream);
    peri_stream_read_start(origin->stream);
    settle(world.loop);
    assert_int_equal(world.client.len, 50 * sizeof(part));
    assert_int_equal(origin->len, 50 * sizeof(part));
}

static void answers_an_upgrade_that_is_refused(void **state)
{
    (void)state;
    ask(UPGRADE GET("/fixed"));
    memory_peer_send(origin, OK("no", "2"));
    assert_non_null(strstr(memory_peer_text(&world.client), OK("no", "2") "HTTP/1.1 418 "));
}

static void ends_a_tunnel_when_the_upstream_breaks_it(void **state)
{
    (void)state;
    ask(UPGRADE);
    memory_peer_send(origin, SWITCHING);
    peri_stream_reset(origin->stream);
    settle(world.loop);
    assert_true(world.client.is_ended);
    assert_int_equal(peri_server_connections(world.server), 0);
}

// ---- generations and the end ----

static void finishes_exchanges_on_the_generation_they_began_with(void **state)
{
    (void)state;
    ask(GET("/a/b"));
    load(2);
    assert_int_equal(peri_server_generation(world.server), 2);
    memory_peer_send(origin, OK("x", "1"));
    assert_string_equal(memory_peer_text(&world.client), OK("x", "1"));
    ask(GET("/a/b"));
    assert_int_equal(world.count, 1); // a reload drops no idle connection
}

static void closes_with_exchanges_at_every_stage(void **state)
{
    static const char *const requests[] = {
        "GET /a/b HT", GET("/a/b"),   "POST /a/b HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nabc",
        UPGRADE,       GET("/large"), "POST /again HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nabc"};
    static const char *const responses[] = {"", "HTTP/1.1 103 Early Hints\r\n\r\n",
                                            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc", SWITCHING};
    for (unsigned i = 0; i < PERI_COUNT(requests); i++) {
        for (unsigned k = 0; k < PERI_COUNT(responses); k++) {
            close_world(state);
            open_world(state);
            ask(requests[i]);
            if (world.count > 0)
                memory_peer_send(origin, responses[k]);
            close_server();
            assert_int_equal(peri_exchange_count(), 0);
        }
    }
}

static unsigned drained;

static void on_drained(void *data)
{
    (void)data;
    drained++;
}

static void drains_and_closes_what_does_not_end_in_time(void **state)
{
    (void)state;
    struct memory_peer second;
    drained = 0;
    connect_client(&second);
    ask(GET("/a/b"));
    peri_server_drain(world.server, 5000, on_drained, NULL);
    settle(world.loop);
    assert_true(second.is_ended);
    assert_int_equal(drained, 0);
    memory_peer_send(origin, "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc");
    peri_loop_advance(world.loop, 2500);
    memory_peer_send(origin, "def");
    peri_loop_advance(world.loop, 2499);
    assert_int_equal(drained, 0);
    peri_loop_advance(world.loop, 1);
    assert_int_equal(drained, 1);
    assert_true(world.client.is_ended);
    memory_peer_free(&second);
}

static unsigned warnings;

static void count_line(void *data, enum peri_log_level level, const char *line, size_t len)
{
    (void)data, (void)line, (void)len;
    warnings += level >= PERI_LOG_WARN;
}

static void warns_of_what_a_drain_closes_and_of_nothing_else(void **state)
{
    (void)state;
    drained = warnings = 0;
    peri_log_set_level(PERI_LOG_WARN);
    peri_log_set_sink(count_line, NULL);
    ask(GET("/a/b"));
    peri_server_drain(world.server, 1000, on_drained, NULL);
    peri_loop_advance(world.loop, 1000);
    assert_int_equal(drained, 1);
    assert_int_equal(warnings, 1);
    peri_server_drain(world.server, 1000, on_drained, NULL); // nothing listens any more
    peri_loop_advance(world.loop, 1);
    assert_int_equal(drained, 2);
    assert_int_equal(warnings, 1);
    peri_log_set_sink(NULL, NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)
    const struct CMUnitTest tests[] = {
        TEST(passes_requests_and_responses_on),
        TEST(answers_what_needs_no_upstream_itself),
        TEST(says_what_an_upstream_did_wrong),
        TEST(breaks_a_response_off_that_breaks_off),
        TEST(waits_for_an_answer_as_long_as_told),
        TEST(replaces_a_stale_connection_once),
        TEST(does_not_repeat_what_may_not_be_repeated),
        TEST(calls_the_upstream_off_when_the_client_goes_away),
        TEST(bounds_what_it_holds_of_a_response),
        TEST(bounds_what_it_holds_of_a_request),
        TEST(passes_an_early_answer_on_while_the_body_still_comes),
        TEST(invites_a_body_and_passes_other_interim_responses_on),
        TEST(passes_chunks_and_trailers_both_ways),
        TEST(sends_a_whole_body_again_whatever_pieces_it_came_in),
        TEST(fetches_more_than_an_exchange_may_hold),
        TEST(opens_a_tunnel_on_101_and_not_before),
        TEST(carries_a_tunnel_under_back_pressure_both_ways),
        TEST(answers_an_upgrade_that_is_refused),
        TEST(ends_a_tunnel_when_the_upstream_breaks_it),
        TEST(finishes_exchanges_on_the_generation_they_began_with),
        TEST(closes_with_exchanges_at_every_stage),
        TEST(drains_and_closes_what_does_not_end_in_time),
        TEST(warns_of_what_a_drain_closes_and_of_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
