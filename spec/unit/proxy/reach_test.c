// SPDX-License-Identifier: MIT
// Endpoints for connections that are no request's: nobody there, the next one, a full breaker, giving up, and which one it is.
#include "proxy/reach.h"

#include "memory_peer.h"

#include "base/log.h"
#include "proxy/server_internal.h"
#include "script/vm.h"
#include "shared/metrics.h"
#include "shared/shm.h"
#include "upstream/upstream.h"

#define PEERS_MAX 64

static const char config[] =
    "return {\n"
    "  access_log = { path = 'off' },\n"
    "  listeners = { { address = '127.0.0.1:8080' } },\n"
    "  upstreams = {\n"
    "    one = { endpoints = { 'a:1' } },\n"
    "    four = { endpoints = { 'a:1', 'b:1', 'c:1', 'd:1' } },\n"
    "    narrow = { endpoints = { 'a:1' }, breaker = { max_connections = 1 } },\n"
    "    keyed = { endpoints = { 'a:1', 'b:1', 'c:1', 'd:1' }, balance = { 'maglev', by = 'client' } },\n"
    "    by_path = { endpoints = { 'a:1', 'b:1', 'c:1', 'd:1' }, balance = { 'maglev', by = 'path' } },\n"
    "  },\n"
    "  routes = {},\n"
    "}\n";

static struct {
    struct peri_loop *loop;
    struct peri_shm *shm;
    struct peri_server *server;
    struct memory_peer peers[PEERS_MAX]; ///< one per connection, in the order of their opening
    unsigned count;
    unsigned tries;      ///< connections that were asked for
    const char *refused; ///< hosts where nobody is, a letter each; "*": all
    bool is_silent;
    // of the last reach
    struct peri_stream *stream;
    unsigned calls;
    peri_err_t err;
} world;

static struct peri_stream *on_connect(void *data, struct peri_slice address)
{
    struct peri_stream *pair[2];
    (void)data;
    world.tries++;
    if (world.is_silent)
        return PERI_STREAM_SILENCE;
    if (strchr(world.refused, address.ptr[0]) || world.refused[0] == '*')
        return NULL;
    assert_true(world.count < PEERS_MAX && peri_stream_open_pair(world.loop, pair));
    memory_peer_open(&world.peers[world.count++], world.loop, pair[1]);
    return pair[0];
}

static peri_err_t on_file(void *data, struct peri_slice path, struct peri_slice *bytes)
{
    (void)data;
    *bytes = peri_slice_from(config);
    return peri_slice_eq(path, PERI_SLICE("gateway.lua")) ? PERI_OK : PERI_ERR_NOT_FOUND;
}

static int open_world(void **state)
{
    (void)state;
    char *errors = NULL;
    struct peri_source source = {.read = on_file};
    memset(&world, 0, sizeof(world));
    world.refused = "";
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
    return 0;
}

static int close_world(void **state)
{
    (void)state;
    peri_server_free(world.server);
    settle(world.loop);
    for (unsigned i = 0; i < world.count; i++)
        memory_peer_free(&world.peers[i]);
    settle(world.loop);
    assert_int_equal(peri_loop_streams(world.loop), 0);
    assert_int_equal(peri_loop_timers(world.loop), 0);
    peri_loop_free(world.loop);
    peri_shm_close(world.shm);
    return 0;
}

static void on_done(struct peri_reach *reach, peri_err_t err, struct peri_stream *stream)
{
    assert_true((err == PERI_OK) == (stream != NULL));
    assert_non_null(reach->upstream);
    world.calls++;
    world.err = err;
    world.stream = stream;
}

static struct peri_upstream *find(const char *name)
{
    struct peri_upstream *upstream = peri_generation_find_upstream(world.server->current, peri_slice_from(name));
    assert_non_null(upstream);
    return upstream;
}

static const struct peri_metrics_upstream *counts_of(const char *name)
{
    return &world.server->page->upstream_connections[find(name)->metrics];
}

// From `client`; returns what peri_reach_start did.
static peri_err_t start(struct peri_reach *reach, const char *name, const char *client)
{
    *reach = (struct peri_reach){.on_done = on_done, .client = peri_slice_from(client)};
    world.calls = world.tries = 0;
    peri_err_t err = peri_reach_start(reach, world.server, find(name));
    assert_int_equal(world.calls, 0); // nothing from inside the call
    return err;
}

static void on_stream_close(struct peri_stream *stream)
{
    peri_reach_end(peri_stream_data(stream));
}

static const struct peri_stream_events owner = {.on_close = on_stream_close};

static void finish(struct peri_reach *reach, struct peri_stream *stream)
{
    peri_reach_leave(reach);
    assert_null(reach->endpoint);
    peri_stream_set_owner(stream, &owner, reach);
    peri_stream_close(stream);
    settle(world.loop);
    assert_null(reach->dial);
}

static void assert_nobody_is_active(const char *name)
{
    const struct peri_upstream *upstream = find(name);
    for (uint32_t i = 0; i < upstream->count; i++)
        assert_int_equal(*upstream->endpoints[i].active, 0);
}

static void where_nobody_is_three_endpoints_are_tried_and_no_more(void **state)
{
    struct peri_reach reach;
    (void)state;
    world.refused = "*";
    assert_int_equal(start(&reach, "four", ""), PERI_OK);
    settle(world.loop);
    assert_int_equal(world.calls, 1);
    assert_int_equal(world.err, PERI_ERR_CONNECT);
    assert_int_equal(world.tries, 3);
    assert_int_equal(counts_of("four")->connect_failures, 3);
    assert_int_equal(counts_of("four")->retries[PERI_RETRY_FAILURE], 2);
    peri_reach_leave(&reach);
    peri_reach_leave(&reach); // may be called twice
    assert_nobody_is_active("four");
}

static void an_only_endpoint_is_tried_once(void **state)
{
    struct peri_reach reach;
    (void)state;
    world.refused = "a";
    assert_int_equal(start(&reach, "one", ""), PERI_OK);
    settle(world.loop);
    assert_int_equal(world.err, PERI_ERR_CONNECT);
    assert_int_equal(world.tries, 1);
    peri_reach_leave(&reach);
}

static void an_endpoint_that_does_not_answer_is_given_up_for_the_next(void **state)
{
    struct peri_reach reach;
    (void)state;
    world.is_silent = true;
    assert_int_equal(start(&reach, "four", ""), PERI_OK);
    settle(world.loop);
    assert_int_equal(world.tries, 1);
    world.is_silent = false;
    peri_loop_advance(world.loop, find("four")->connect_ms);
    settle(world.loop);
    assert_int_equal(world.err, PERI_OK);
    assert_int_equal(world.tries, 2);
    finish(&reach, world.stream);
}

static void the_next_endpoint_is_reached_where_one_is_gone(void **state)
{
    struct peri_reach reach;
    (void)state;
    world.refused = "abc";
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(start(&reach, "four", ""), PERI_OK);
        settle(world.loop);
        assert_int_equal(world.calls, 1);
        peri_reach_leave(&reach);
        if (world.err == PERI_OK)
            break;
    }
    assert_int_equal(world.err, PERI_OK);
    assert_true(counts_of("four")->connects == 1);
    finish(&reach, world.stream);
    assert_nobody_is_active("four");
}

static void a_full_breaker_refuses_at_once_and_lets_in_again(void **state)
{
    struct peri_reach first, second;
    (void)state;
    assert_int_equal(start(&first, "narrow", ""), PERI_OK);
    settle(world.loop);
    struct peri_stream *stream = world.stream;
    assert_int_equal(start(&second, "narrow", ""), PERI_ERR_UPSTREAM_OVERFLOW);
    settle(world.loop);
    assert_int_equal(world.calls, 0);
    assert_int_equal(world.tries, 0);
    peri_reach_leave(&second);
    finish(&first, stream);
    assert_nobody_is_active("narrow");
    assert_int_equal(start(&second, "narrow", ""), PERI_OK);
    settle(world.loop);
    finish(&second, world.stream);
}

static void what_is_called_off_tells_nothing(void **state)
{
    struct peri_reach reach;
    (void)state;
    world.is_silent = true;
    assert_int_equal(start(&reach, "narrow", ""), PERI_OK);
    settle(world.loop);
    assert_true(peri_slice_eq(peri_reach_address(&reach), PERI_SLICE("a:1")));
    peri_reach_leave(&reach);
    assert_int_equal(peri_reach_address(&reach).len, 0);
    peri_loop_advance(world.loop, 60000);
    settle(world.loop);
    assert_int_equal(world.calls, 0);
    assert_nobody_is_active("narrow");
    world.is_silent = false;
    assert_int_equal(start(&reach, "narrow", ""), PERI_OK); // its place in the breaker is free
    settle(world.loop);
    finish(&reach, world.stream);
}

// The letter of the endpoint that a connection of `client` is placed on.
static char place(const char *name, const char *client)
{
    struct peri_reach reach;
    assert_int_equal(start(&reach, name, client), PERI_OK);
    settle(world.loop);
    char letter = peri_reach_address(&reach).ptr[0];
    finish(&reach, world.stream);
    return letter;
}

static void the_client_decides_where_the_balancer_goes_by_it(void **state)
{
    static const char *const clients[] = {"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5", "::1"};
    bool is_spread = false;
    (void)state;
    for (unsigned i = 0; i < PERI_COUNT(clients); i++) {
        char letter = place("keyed", clients[i]);
        for (unsigned again = 0; again < 4; again++)
            assert_int_equal(place("keyed", clients[i]), letter);
        is_spread = is_spread || letter != place("keyed", clients[0]);
    }
    assert_true(is_spread);
}

static void what_a_connection_does_not_have_places_it_anywhere(void **state)
{
    bool is_spread = false;
    (void)state;
    char letter = place("by_path", "192.0.2.1");
    for (unsigned i = 0; i < 40; i++)
        is_spread = is_spread || place("by_path", "192.0.2.1") != letter;
    assert_true(is_spread);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)
    const struct CMUnitTest tests[] = {
        TEST(where_nobody_is_three_endpoints_are_tried_and_no_more),
        TEST(an_only_endpoint_is_tried_once),
        TEST(an_endpoint_that_does_not_answer_is_given_up_for_the_next),
        TEST(the_next_endpoint_is_reached_where_one_is_gone),
        TEST(a_full_breaker_refuses_at_once_and_lets_in_again),
        TEST(what_is_called_off_tells_nothing),
        TEST(the_client_decides_where_the_balancer_goes_by_it),
        TEST(what_a_connection_does_not_have_places_it_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
