// SPDX-License-Identifier: MIT
// The tap: what it writes of an exchange, that closing it in the middle harms nobody, and that want of memory costs the record and
// not the exchange.
#include "proxy/tap.h"

#include "memory_peer.h"

#include "base/log.h"
#include "codec/json.h"
#include "exchange/exchange.h"
#include "fail_alloc.h"
#include "proxy/server.h"
#include "script/vm.h"
#include "shared/shm.h"

#define ORIGINS_MAX 8
#define LINES_MAX 8

static const char config[] = "return { access_log = 'off', listeners = { '127.0.0.1:8080' },\n"
                             "  upstreams = { one = { endpoints = { '10.0.0.1:80' } } },\n"
                             "  routes = { { name = 'fixed', match = { path = '/fixed' }, reply = 'tea' },\n"
                             "    { name = 'plain', match = { path = '/*' }, upstream = 'one' } } }\n";

static struct {
    struct peri_loop *loop;
    struct peri_shm *shm;
    struct peri_server *server;
    struct memory_peer client;
    struct memory_peer origins[ORIGINS_MAX];
    unsigned origin_count;
    char lines[LINES_MAX][4096];
    unsigned line_count;
    unsigned dropped;
} world;

static struct peri_stream *on_connect(void *data, struct peri_slice address)
{
    struct peri_stream *pair[2];
    (void)data;
    (void)address;
    assert_true(world.origin_count < ORIGINS_MAX);
    if (!peri_stream_open_pair(world.loop, pair))
        return NULL;
    bool was_armed = fail_alloc_pause();
    memory_peer_open(&world.origins[world.origin_count++], world.loop, pair[1]);
    fail_alloc.is_armed = was_armed;
    return pair[0];
}

static peri_err_t on_file(void *data, struct peri_slice path, struct peri_slice *bytes)
{
    (void)data;
    *bytes = peri_slice_from(config);
    return peri_slice_eq(path, PERI_SLICE("gateway.lua")) ? PERI_OK : PERI_ERR_NOT_FOUND;
}

static void on_line(void *data, struct peri_slice line)
{
    (void)data;
    if (line.len == 0) {
        world.dropped++;
        return;
    }
    assert_true(world.line_count < LINES_MAX);
    assert_true(line.len < sizeof(world.lines[0]));
    char *copy = world.lines[world.line_count++];
    memcpy(copy, line.ptr, line.len);
    copy[line.len] = 0;
}

static void tap(double sample, uint64_t body_limit)
{
    struct peri_tap_options options = {.sample = sample, .body_limit = body_limit, .emit = on_line};
    assert_true(peri_server_tap(world.server, &options));
}

static void connect_client(void)
{
    struct peri_stream *stream =
        peri_server_connect(world.server, PERI_SLICE("127.0.0.1:8080"), PERI_SLICE("192.0.2.9"), NULL);
    assert_non_null(stream);
    memory_peer_open(&world.client, world.loop, stream);
    settle(world.loop);
}

static int open_world(void **state)
{
    struct peri_source source = {.read = on_file};
    char *errors = NULL;
    (void)state;
    memset(&world, 0, sizeof(world));
    peri_log_set_level(PERI_LOG_ERROR);
    world.loop = peri_loop_new(true);
    world.shm = peri_shm_create(&(struct peri_shm_options){.workers = 1});
    world.server =
        peri_server_new(&(struct peri_server_options){.loop = world.loop, .shm = world.shm, .connect = on_connect});
    assert_non_null(world.server);
    if (peri_server_build(world.server, &source, PERI_SLICE("gateway.lua"), 1, PERI_SLICE("digest"), &errors) !=
        PERI_OK)
        fail_msg("refused: %s", errors);
    peri_server_switch(world.server);
    assert_int_equal(peri_server_listen_memory(world.server, PERI_SLICE("127.0.0.1:8080")), PERI_OK);
    connect_client();
    return 0;
}

static int close_world(void **state)
{
    (void)state;
    if (world.server)
        peri_server_free(world.server);
    settle(world.loop);
    memory_peer_free(&world.client);
    for (unsigned i = 0; i < world.origin_count; i++)
        memory_peer_free(&world.origins[i]);
    settle(world.loop);
    assert_int_equal(peri_exchange_count(), 0);
    assert_int_equal(peri_loop_streams(world.loop), 0);
    peri_loop_free(world.loop);
    peri_shm_close(world.shm);
    peri_exchange_pool_close();
    return 0;
}

static void ask(const char *target)
{
    char request[256];
    snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nhost: a\r\n\r\n", target);
    memory_peer_forget(&world.client);
    memory_peer_send(&world.client, request);
}

static void assert_has(const char *part)
{
    assert_int_equal(world.line_count, 1);
    if (!strstr(world.lines[0], part))
        fail_msg("no %s in %s", part, world.lines[0]);
    struct peri_json *json = peri_json_parse(peri_slice_from(world.lines[0]), false, NULL, 0);
    assert_non_null(json);
    peri_json_free(json);
}

static void writes_what_came_what_went_and_what_came_back(void **state)
{
    (void)state;
    tap(1, 4);
    memory_peer_send(&world.client, "POST /a?b HTTP/1.1\r\nhost: a\r\nx-a: \"\\\t\xff\r\ncontent-length: 2\r\n\r\nhi");
    assert_int_equal(world.line_count, 0);
    memory_peer_send(&world.origins[0], "HTTP/1.1 201 Created\r\ncontent-length: 6\r\nx-b: 1\r\n\r\n\xc3\xa4long");
    assert_has("\"target\":\"/a?b\"");
    assert_has("\"body_bytes\":2,\"body\":\"hi\"");
    assert_has("{\"upstream\":\"one\",\"endpoint\":\"10.0.0.1:80\"");
    assert_has("\"body_bytes\":6,\"body_is_cut\":true,\"body\":\"\xc3\xa4lo\"");
    assert_has(",\"response\":{\"status\":201,\"headers\":[[\"x-b\",\"1\"]]}}");
    assert_has("\"time\":\"2026-01-01T00:00:00.000Z\"");
}

static void writes_bytes_that_are_no_text_as_base64(void **state)
{
    (void)state;
    tap(1, 64);
    memory_peer_send(&world.client, "POST /a HTTP/1.1\r\nhost: a\r\nx-a: \xe9\r\ncontent-length: 2\r\n\r\n\xff\xfe");
    memory_peer_send(&world.origins[0], "HTTP/1.1 204 No Content\r\n\r\n");
    assert_has("[\"x-a\",\"\\u00e9\"]");
    assert_has("\"body_base64\":\"//4=\"");
}

static void tells_a_stale_connection_from_an_attempt_that_failed(void **state)
{
    (void)state;
    ask("/a");
    memory_peer_send(&world.origins[0], "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    tap(1, 0);
    ask("/b"); // on the connection that is kept, which breaks
    memory_peer_close(&world.origins[0]);
    memory_peer_send(&world.origins[1], "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    assert_has("\"attempts\":[{\"upstream\":\"one\"");
    assert_null(strstr(world.lines[0], "},{\"upstream\""));
    assert_null(strstr(world.lines[0], "\"error\""));
    world.line_count = 0;
    ask("/c");
    memory_peer_send(&world.origins[1], "no HTTP\r\n\r\n");
    assert_has("\"error\":\"upstream_protocol\"}],\"response\":{\"status\":502");
}

static void writes_a_client_that_went_away(void **state)
{
    (void)state;
    tap(1, 0);
    ask("/a");
    memory_peer_reset(&world.client);
    settle(world.loop);
    assert_has("\"error\":\"client_gone\"");
    assert_null(strstr(world.lines[0], ",\"response\""));
}

static void takes_none_all_or_a_part(void **state)
{
    (void)state;
    tap(0, 0);
    for (int i = 0; i < 100; i++)
        ask("/fixed");
    assert_int_equal(world.line_count, 0);
    tap(0.05, 0);
    for (int i = 0; i < 60; i++)
        ask("/fixed");
    assert_in_range(world.line_count, 1, LINES_MAX);
}

static void lets_an_exchange_finish_when_it_is_closed(void **state)
{
    (void)state;
    tap(1, 64);
    ask("/a");
    peri_server_tap(world.server, NULL);
    memory_peer_send(&world.origins[0], "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    assert_non_null(strstr(memory_peer_text(&world.client), "\r\n\r\nok"));
    assert_int_equal(world.line_count + world.dropped, 0);
    ask("/b");
    tap(1, 64); // begun before: not recorded
    memory_peer_send(&world.origins[0], "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    assert_int_equal(world.line_count, 0);
}

static void ends_with_its_server(void **state)
{
    (void)state;
    tap(1, 64);
    ask("/a");
    peri_server_free(world.server);
    world.server = NULL;
    assert_int_equal(world.line_count, 0);
}

static void refuses_names_that_are_none(void **state)
{
    (void)state;
    struct peri_tap_options options = {.sample = 1, .names = PERI_SLICE("a,query:"), .emit = on_line};
    assert_false(peri_server_tap(world.server, &options));
    ask("/fixed");
    assert_int_equal(world.line_count, 0);
}

// Whichever allocation fails while a line is written: the client has its answer, and the line is whole, or counted as dropped.
static void want_of_memory_costs_the_line_only(void **state)
{
    (void)state;
    bool has_failed = true;
    ask("/a");
    memory_peer_send(&world.origins[0], "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    tap(1, 64);
    for (unsigned n = 1; has_failed; n++) {
        world.line_count = 0;
        world.dropped = 0;
        memory_peer_free(&world.client); // it may have been the connection that had no memory
        settle(world.loop);
        connect_client();
        memory_peer_put(&world.client, PERI_SLICE("GET /fixed HTTP/1.1\r\nhost: a\r\n\r\n"));
        fail_alloc_at(n);
        settle(world.loop);
        has_failed = fail_alloc_stop();
        settle(world.loop);
        if (world.line_count == 1)
            assert_has("\"route\":\"fixed\",\"response\":{\"status\":");
        if (strncmp(memory_peer_text(&world.client), "HTTP/1.1 200 ", 13) == 0)
            assert_int_equal(world.line_count + world.dropped, 1);
        else
            assert_true(has_failed);
        assert_true(n < 200);
    }
    assert_int_equal(world.line_count, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(writes_what_came_what_went_and_what_came_back),
        TEST(writes_bytes_that_are_no_text_as_base64),
        TEST(tells_a_stale_connection_from_an_attempt_that_failed),
        TEST(writes_a_client_that_went_away),
        TEST(takes_none_all_or_a_part),
        TEST(lets_an_exchange_finish_when_it_is_closed),
        TEST(ends_with_its_server),
        TEST(refuses_names_that_are_none),
        TEST(want_of_memory_costs_the_line_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
