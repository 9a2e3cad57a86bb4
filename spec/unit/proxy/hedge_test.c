// SPDX-License-Identifier: MIT
// Two attempts of one exchange: who wins, what becomes of the other one, and what is left when something else ends them. The way is
// in memory, the time virtual; origins are connections in the order of their opening.
#include "memory_peer.h"

#include "base/log.h"
#include "exchange/exchange.h"
#include "proxy/generation.h"
#include "proxy/server.h"
#include "proxy/server_internal.h"
#include "proxy/tap.h"
#include "script/vm.h"
#include "shared/metrics.h"
#include "shared/shm.h"
#include "upstream/guard.h"
#include "upstream/upstream.h"

#define ORIGINS_MAX 16
#define ADDRESS_MAX 32
#define GET(path) "GET " path " HTTP/1.1\r\nhost: a\r\n\r\n"
#define OK(body, length) "HTTP/1.1 200 OK\r\ncontent-length: " length "\r\n\r\n" body
#define SICK "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 1\r\n\r\n!"

static const char config[] =
    "local two = { '10.0.0.1:80', '10.0.0.2:80' }\n"
    "return {\n"
    "  access_log = { path = 'off' },\n"
    "  listeners = { { address = '127.0.0.1:8080' } },\n"
    "  upstreams = {\n"
    "    plain = { endpoints = two, hedge = { after = '50ms' }, breaker = {}, timeouts = { request = '1s' },\n"
    "      outlier = { consecutive_5xx = 1, max_ejection_percent = 100 } },\n"
    "    retried = { endpoints = two, hedge = { after = '50ms' }, breaker = {}, timeouts = { request = '1s' },\n"
    "      retries = { attempts = 1, on = { '5xx' }, backoff = { base = '0s' } } },\n"
    "    tried = { endpoints = two, hedge = { after = '50ms' }, breaker = {},\n"
    "      retries = { attempts = 0, per_try_timeout = '200ms' } },\n"
    "    often = { endpoints = two, hedge = { after = '50ms', max = 2 }, breaker = {},\n"
    "      retries = { attempts = 0, on = { '5xx' }, body = '1k' } },\n"
    "    poor = { endpoints = { '10.0.0.3:80', '10.0.0.4:80' }, hedge = { after = '50ms' }, breaker = { max_retries = "
    "0 } },\n"
    "    full = { endpoints = { '10.0.0.5:80', '10.0.0.6:80' }, hedge = { after = '50ms' }, breaker = { max_requests = "
    "1 } },\n"
    "    bold = { endpoints = two, hedge = { after = '50ms', non_idempotent = true }, breaker = {} },\n"
    "    single = { endpoints = { '10.0.0.9:80' }, hedge = { after = '50ms' }, breaker = {} },\n"
    "  },\n"
    "  routes = {\n"
    "    { match = { path = '/plain' }, upstream = 'plain' },\n"
    "    { match = { path = '/retried' }, upstream = 'retried' },\n"
    "    { match = { path = '/tried' }, upstream = 'tried' },\n"
    "    { match = { path = '/often' }, upstream = 'often' },\n"
    "    { match = { path = '/poor' }, upstream = 'poor' },\n"
    "    { match = { path = '/full' }, upstream = 'full' },\n"
    "    { match = { path = '/bold' }, upstream = 'bold' },\n"
    "    { match = { path = '/single' }, upstream = 'single' },\n"
    "    { match = { path = '/chosen' }, upstream = 'plain', policies = { 'choosing' } },\n"
    "    { match = { path = '/twice' }, upstream = 'plain', policies = { 'twice' } },\n"
    "    { match = { path = '/shouted' }, upstream = 'plain', policies = { 'shouting' } },\n"
    "  },\n"
    "}\n";

static const char choosing[] = "local perigee = require 'perigee'\n"
                               "local P = perigee.policy { name = 'choosing', stage = 'traffic', schema = {} }\n"
                               "function P:on_upstream(req, attempt) attempt.endpoint = '10.0.0.1:80' end\n"
                               "return P\n";

static const char twice[] = "local perigee = require 'perigee'\n"
                            "local P = perigee.policy { name = 'twice', stage = 'traffic', schema = {} }\n"
                            "function P:around(req, next)\n"
                            "  local res = next(req)\n"
                            "  if res.status == 500 then res = next(req) end\n"
                            "  return res\n"
                            "end\n"
                            "return P\n";

static const char shouting[] = "local perigee = require 'perigee'\n"
                               "local P = perigee.policy { name = 'shouting', stage = 'transform', schema = {} }\n"
                               "function P:on_request_body(req, chunk) return chunk:upper() end\n"
                               "return P\n";

static struct {
    struct peri_loop *loop;
    struct peri_shm *shm;
    struct peri_server *server;
    struct peri_metrics_page *page;
    struct memory_peer client;
    struct memory_peer origins[ORIGINS_MAX]; ///< one per connection, in the order of their opening
    char addresses[ORIGINS_MAX][ADDRESS_MAX];
    unsigned count;
    bool refuses;
} world;

#define first (&world.origins[0])
#define hedge (&world.origins[1])

static struct peri_stream *on_connect(void *data, struct peri_slice address)
{
    struct peri_stream *pair[2];
    (void)data;
    if (world.refuses)
        return NULL;
    assert_true(world.count < ORIGINS_MAX && address.len < ADDRESS_MAX);
    assert_true(peri_stream_open_pair(world.loop, pair));
    memcpy(world.addresses[world.count], address.ptr, address.len);
    memory_peer_open(&world.origins[world.count++], world.loop, pair[1]);
    return pair[0];
}

static peri_err_t on_file(void *data, struct peri_slice path, struct peri_slice *bytes)
{
    static const struct {
        const char *path, *text;
    } files[] = {{"gateway.lua", config},
                 {"policies/choosing/init.lua", choosing},
                 {"policies/twice/init.lua", twice},
                 {"policies/shouting/init.lua", shouting}};
    (void)data;
    for (unsigned i = 0; i < PERI_COUNT(files); i++) {
        if (!peri_slice_eq(path, peri_slice_from(files[i].path)))
            continue;
        *bytes = peri_slice_from(files[i].text);
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
    struct peri_stream *stream =
        peri_server_connect(world.server, PERI_SLICE("127.0.0.1:8080"), PERI_SLICE("192.0.2.9"), NULL);
    assert_non_null(stream);
    memory_peer_open(&world.client, world.loop, stream);
    settle(world.loop);
    return 0;
}

static struct peri_upstream *upstream_of(const char *name)
{
    struct peri_upstream *upstream = peri_generation_find_upstream(world.server->current, peri_slice_from(name));
    assert_non_null(upstream);
    return upstream;
}

// Nothing counts any more that was under way.
static void assert_idle(const char *name)
{
    struct peri_upstream *upstream = upstream_of(name);
    for (uint32_t i = 0; i < upstream->count; i++)
        assert_int_equal(*upstream->endpoints[i].active, 0);
    for (unsigned gauge = 0; gauge < PERI_BREAKER_GAUGES; gauge++)
        if (gauge != PERI_BREAKER_CONNECTIONS)
            assert_int_equal(peri_endpoints_gauge(world.shm, upstream->guard->row, gauge), 0);
}

static int close_world(void **state)
{
    static const char *const names[] = {"plain", "retried", "tried", "often", "poor", "full", "bold", "single"};
    (void)state;
    for (unsigned i = 0; world.server && i < PERI_COUNT(names); i++)
        assert_idle(names[i]);
    if (world.server)
        peri_server_free(world.server);
    settle(world.loop);
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

// The request is under way twice.
static void ask_twice(const char *request)
{
    ask(request);
    assert_int_equal(world.count, 1);
    peri_loop_advance(world.loop, 49);
    assert_int_equal(world.count, 1);
    peri_loop_advance(world.loop, 1);
    assert_int_equal(world.count, 2);
    assert_string_equal(memory_peer_text(first), memory_peer_text(hedge));
}

static void assert_answer(const char *text)
{
    assert_string_equal(memory_peer_text(&world.client), text);
    memory_peer_forget(&world.client);
}

static void assert_status(int status)
{
    char begin[16];
    snprintf(begin, sizeof(begin), "HTTP/1.1 %d ", status);
    if (strncmp(memory_peer_text(&world.client), begin, strlen(begin)) != 0)
        fail_msg("expected %d, got: %s", status, memory_peer_text(&world.client));
    memory_peer_forget(&world.client);
}

static void assert_hedges(const char *name, unsigned won, unsigned lost, unsigned failed, unsigned overflow)
{
    const uint64_t *counts = world.page->upstream_connections[upstream_of(name)->metrics].hedges;
    assert_int_equal(counts[PERI_HEDGE_WON], won);
    assert_int_equal(counts[PERI_HEDGE_LOST], lost);
    assert_int_equal(counts[PERI_HEDGE_FAILED], failed);
    assert_int_equal(counts[PERI_HEDGE_OVERFLOW], overflow);
}

static bool is_ejected(const char *name)
{
    struct peri_upstream *upstream = upstream_of(name);
    for (uint32_t i = 0; i < upstream->count; i++)
        if (!peri_endpoint_is_available(&upstream->endpoints[i]))
            return true;
    return false;
}

// ---- who wins

static void the_hedge_goes_to_another_endpoint_and_the_first_answer_wins(void **state)
{
    (void)state;
    ask_twice(GET("/plain"));
    assert_string_not_equal(world.addresses[0], world.addresses[1]);
    memory_peer_send(hedge, OK("b", "1"));
    assert_answer(OK("b", "1"));
    assert_true(first->is_ended && !hedge->is_ended);
    assert_hedges("plain", 1, 0, 0, 0);
    assert_false(is_ejected("plain"));
}

static void the_first_attempt_may_still_win(void **state)
{
    (void)state;
    ask_twice(GET("/plain"));
    memory_peer_send(first, OK("a", "1"));
    assert_answer(OK("a", "1"));
    assert_true(hedge->is_ended && !first->is_ended);
    assert_hedges("plain", 0, 1, 0, 0);
    assert_false(is_ejected("plain"));
}

static void an_answer_in_time_needs_no_hedge(void **state)
{
    (void)state;
    ask(GET("/plain"));
    memory_peer_send(first, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\na");
    peri_loop_advance(world.loop, 500);
    memory_peer_send(first, "b");
    assert_answer(OK("ab", "2"));
    ask(GET("/plain"));
    memory_peer_send(&world.origins[world.count - 1], OK("c", "1"));
    peri_loop_advance(world.loop, 500);
    assert_hedges("plain", 0, 0, 0, 0);
}

static void a_long_answer_of_the_hedge_passes_whole(void **state)
{
    (void)state;
    ask_twice(GET("/plain"));
    memory_peer_send(hedge, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n3\r\nabc\r\n");
    peri_loop_advance(world.loop, 2000); // longer than an answer may be waited for
    memory_peer_send(hedge, "2\r\nde\r\n0\r\nx-sum: 5\r\n\r\n");
    assert_answer("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nx-sum: 5\r\n\r\n");
    ask(GET("/plain")); // and its connection is used again
    peri_loop_advance(world.loop, 1);
    assert_true(world.count == 2 || world.count == 3);
    memory_peer_send(&world.origins[world.count - 1], OK("c", "1"));
    assert_answer(OK("c", "1"));
}

static void an_answer_without_a_body_wins_too(void **state)
{
    (void)state;
    ask_twice("HEAD /plain HTTP/1.1\r\nhost: a\r\n\r\n");
    memory_peer_send(hedge, "HTTP/1.1 204 No Content\r\n\r\n");
    assert_status(204);
    assert_hedges("plain", 1, 0, 0, 0);
}

static void both_answers_in_one_turn_make_one(void **state)
{
    (void)state;
    ask_twice(GET("/plain"));
    memory_peer_put(hedge, PERI_SLICE(OK("b", "1")));
    memory_peer_put(first, PERI_SLICE(OK("a", "1")));
    peri_stream_flush(hedge->stream);
    peri_stream_flush(first->stream);
    settle(world.loop);
    const struct peri_metrics_upstream *counts = &world.page->upstream_connections[upstream_of("plain")->metrics];
    assert_int_equal(counts->hedges[PERI_HEDGE_WON] + counts->hedges[PERI_HEDGE_LOST], 1);
    assert_int_equal(strlen(memory_peer_text(&world.client)), strlen(OK("a", "1")));
}

static void half_a_head_of_the_first_does_not_disturb_the_hedge(void **state)
{
    (void)state;
    ask_twice(GET("/plain"));
    memory_peer_send(first, "HTTP/1.1 200 OK\r\nx-from: first\r\nx-mo");
    memory_peer_send(hedge, "HTTP/1.1 200 OK\r\nx-from: hedge\r\ncontent-length: 1\r\n\r\nb");
    assert_answer("HTTP/1.1 200 OK\r\nx-from: hedge\r\ncontent-length: 1\r\n\r\nb");
}

static void half_a_head_of_the_hedge_is_kept_when_the_first_fails(void **state)
{
    (void)state;
    ask_twice(GET("/plain"));
    memory_peer_send(hedge, "HTTP/1.1 200 OK\r\nx-from: hedge\r\nx-mo");
    memory_peer_close(first);
    memory_peer_send(hedge, "re: 1\r\ncontent-length: 1\r\n\r\nb");
    assert_answer("HTTP/1.1 200 OK\r\nx-from: hedge\r\nx-more: 1\r\ncontent-length: 1\r\n\r\nb");
}

static void interim_responses_come_from_the_first_only(void **state)
{
    (void)state;
    ask_twice(GET("/plain"));
    memory_peer_send(hedge, "HTTP/1.1 103 Early Hints\r\nlink: </h>\r\n\r\n");
    memory_peer_send(first, "HTTP/1.1 103 Early Hints\r\nlink: </f>\r\n\r\n");
    assert_answer("HTTP/1.1 103 Early Hints\r\nlink: </f>\r\n\r\n");
    memory_peer_send(hedge, OK("b", "1"));
    assert_answer(OK("b", "1"));
}

// ---- failures

static void when_the_first_fails_the_hedge_answers(void **state)
{
    (void)state;
    ask_twice(GET("/plain"));
    memory_peer_close(first);
    assert_answer("");
    memory_peer_send(hedge, OK("b", "1"));
    assert_answer(OK("b", "1"));
    assert_hedges("plain", 1, 0, 0, 0);
    assert_true(is_ejected("plain")); // that one did fail
}

static void when_the_hedge_fails_the_first_answers(void **state)
{
    (void)state;
    ask_twice(GET("/plain"));
    memory_peer_close(hedge);
    assert_answer("");
    memory_peer_send(first, OK("a", "1"));
    assert_answer(OK("a", "1"));
    assert_hedges("plain", 0, 0, 1, 0);
}

static void when_both_fail_the_last_failure_is_the_answer(void **state)
{
    (void)state;
    ask_twice(GET("/plain"));
    memory_peer_close(first);
    memory_peer_close(hedge);
    assert_status(502);
}

static void answers_that_are_worth_a_retry_do_not_win(void **state)
{
    (void)state;
    ask_twice(GET("/retried"));
    memory_peer_send(hedge, SICK);
    assert_answer("");
    memory_peer_send(first, OK("a", "1"));
    assert_answer(OK("a", "1"));
    assert_hedges("retried", 0, 0, 1, 0);
}

static void a_sick_first_leaves_its_place_to_the_hedge(void **state)
{
    (void)state;
    ask_twice(GET("/retried"));
    memory_peer_send(first, SICK);
    assert_answer("");
    memory_peer_send(hedge, OK("b", "1"));
    assert_answer(OK("b", "1"));
    assert_hedges("retried", 1, 0, 0, 0);
}

static void when_both_are_sick_there_is_a_retry(void **state)
{
    (void)state;
    ask_twice(GET("/retried"));
    memory_peer_send(first, SICK);
    memory_peer_send(hedge, SICK);
    peri_loop_advance(world.loop, 1);
    assert_answer("");
    struct memory_peer *last = &world.origins[world.count - 1];
    memory_peer_forget(last);
    assert_int_equal(world.page->upstream_connections[upstream_of("retried")->metrics].retries[PERI_RETRY_LIMIT], 0);
    peri_loop_advance(world.loop, 500); // the one hedge of the request was made
    memory_peer_send(last, OK("c", "1"));
    assert_answer(OK("c", "1"));
    assert_hedges("retried", 1, 0, 0, 0);
}

static void without_retries_any_answer_wins(void **state)
{
    (void)state;
    ask_twice(GET("/plain"));
    memory_peer_send(hedge, SICK);
    assert_answer(SICK);
}

static void a_connection_that_was_closing_is_replaced(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) { // a connection to each endpoint is idle
        ask(GET("/plain"));
        memory_peer_send(&world.origins[i], OK("x", "1"));
        memory_peer_forget(&world.origins[i]);
    }
    memory_peer_forget(&world.client);
    ask(GET("/plain"));
    unsigned other = world.origins[0].len > 0 ? 1 : 0;
    peri_loop_advance(world.loop, 50);
    assert_int_equal(world.count, 2);
    assert_true(world.origins[other].len > 0);
    memory_peer_close(&world.origins[other]); // which nobody can tell from one that closed before the request came
    assert_int_equal(world.count, 3);
    assert_string_equal(world.addresses[2], world.addresses[other]);
    memory_peer_send(&world.origins[2], OK("c", "1"));
    assert_answer(OK("c", "1"));
    assert_hedges("plain", 1, 0, 0, 0);
    assert_false(is_ejected("plain"));
    assert_int_equal(world.page->upstream_connections[upstream_of("plain")->metrics].reuses, 2);
}

static void a_single_endpoint_is_asked_twice(void **state)
{
    (void)state;
    ask_twice(GET("/single"));
    memory_peer_send(hedge, OK("b", "1"));
    assert_answer(OK("b", "1"));
}

// ---- how often

static void a_request_is_hedged_as_often_as_it_may_be_one_at_a_time(void **state)
{
    (void)state;
    ask_twice(GET("/often"));
    peri_loop_advance(world.loop, 500);
    assert_int_equal(world.count, 2); // two at most
    memory_peer_close(hedge);
    peri_loop_advance(world.loop, 50);
    assert_int_equal(world.count, 3);
    memory_peer_close(&world.origins[2]);
    peri_loop_advance(world.loop, 500);
    assert_int_equal(world.count, 3); // max
    memory_peer_send(first, OK("a", "1"));
    assert_answer(OK("a", "1"));
    assert_hedges("often", 0, 0, 2, 0);
}

static void the_breaker_refuses_hedges_and_nothing_else(void **state)
{
    (void)state;
    static const char *const names[] = {"poor", "full"};
    for (unsigned i = 0; i < 2; i++) {
        unsigned before = world.count;
        ask(i == 0 ? GET("/poor") : GET("/full"));
        peri_loop_advance(world.loop, 500);
        assert_int_equal(world.count, before + 1);
        memory_peer_send(&world.origins[before], OK("a", "1"));
        assert_answer(OK("a", "1"));
        assert_hedges(names[i], 0, 0, 0, 1);
    }
}

static void the_budget_is_that_of_retries(void **state)
{
    (void)state;
    struct peri_guard *guard = upstream_of("plain")->guard;
    guard->retries.concurrency = (struct peri_retry_concurrency){.percent = 0, .min_concurrency = 0};
    ask(GET("/plain"));
    peri_loop_advance(world.loop, 500);
    assert_int_equal(world.count, 1);
    assert_hedges("plain", 0, 0, 0, 1);
    memory_peer_send(first, OK("a", "1"));
}

// ---- what is hedged

static void what_may_not_be_done_twice_is_done_once(void **state)
{
    (void)state;
    ask("POST /plain HTTP/1.1\r\nhost: a\r\n\r\n");
    peri_loop_advance(world.loop, 500);
    assert_int_equal(world.count, 1);
    memory_peer_send(first, OK("a", "1"));
    assert_answer(OK("a", "1"));
    world.count = 0;
    memory_peer_free(first);
    ask_twice("POST /bold HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi");
    memory_peer_send(hedge, OK("b", "1"));
    assert_answer(OK("b", "1"));
}

static void tunnels_are_not_hedged(void **state)
{
    (void)state;
    ask("GET /plain HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
    peri_loop_advance(world.loop, 500);
    assert_int_equal(world.count, 1);
    memory_peer_send(first, OK("a", "1"));
}

static void a_policy_that_decides_about_attempts_is_not_passed_by(void **state)
{
    (void)state;
    ask(GET("/chosen"));
    peri_loop_advance(world.loop, 500);
    assert_int_equal(world.count, 1);
    memory_peer_send(first, OK("a", "1"));
    assert_answer(OK("a", "1"));
}

static void a_body_is_sent_again_once_all_of_it_left(void **state)
{
    (void)state;
    ask("PUT /often HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nab");
    peri_loop_advance(world.loop, 500);
    assert_int_equal(world.count, 1); // it is still coming
    ask("cd");
    peri_loop_advance(world.loop, 49);
    assert_int_equal(world.count, 1);
    peri_loop_advance(world.loop, 1);
    assert_int_equal(world.count, 2);
    assert_string_equal(memory_peer_text(first), memory_peer_text(hedge));
    assert_non_null(strstr(memory_peer_text(hedge), "\r\n\r\nabcd"));
    memory_peer_send(hedge, OK("b", "1"));
    assert_answer(OK("b", "1"));
}

static void a_chunked_body_goes_with_its_trailers(void **state)
{
    (void)state;
    ask_twice(
        "PUT /plain HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\nx-t: 1\r\n\r\n");
    assert_non_null(strstr(memory_peer_text(hedge), "\r\nx-t: 1\r\n"));
    memory_peer_send(first, OK("a", "1"));
    assert_answer(OK("a", "1"));
}

static void a_body_that_was_not_kept_goes_once(void **state)
{
    (void)state;
    char request[2048];
    int head = snprintf(request, sizeof(request), "PUT /often HTTP/1.1\r\nhost: a\r\ncontent-length: 1025\r\n\r\n");
    memset(request + head, 'x', 1025);
    request[head + 1025] = 0;
    ask(request);
    peri_loop_advance(world.loop, 500);
    assert_int_equal(world.count, 1);
    memory_peer_send(first, OK("a", "1"));
    assert_answer(OK("a", "1"));
}

static void hooks_see_a_body_once(void **state)
{
    (void)state;
    ask_twice("PUT /shouted HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi");
    assert_non_null(strstr(memory_peer_text(hedge), "\r\n2\r\nHI\r\n0\r\n\r\n"));
    memory_peer_send(hedge, OK("b", "1"));
    assert_answer(OK("b", "1"));
}

static void around_has_hedges_for_each_time(void **state)
{
    (void)state;
    ask_twice("PUT /twice HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi");
    memory_peer_send(hedge, "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 1\r\n\r\n!");
    peri_loop_advance(world.loop, 49);
    unsigned before = world.count;
    peri_loop_advance(world.loop, 1);
    assert_true(world.count > before);
    struct memory_peer *last = &world.origins[world.count - 1];
    assert_non_null(strstr(memory_peer_text(last), "\r\n\r\nhi"));
    memory_peer_send(last, OK("c", "1"));
    assert_answer(OK("c", "1"));
}

// ---- time

static void the_request_timeout_ends_both(void **state)
{
    (void)state;
    ask_twice(GET("/plain"));
    peri_loop_advance(world.loop, 949);
    assert_answer("");
    peri_loop_advance(world.loop, 1);
    assert_status(504);
    assert_true(first->is_ended && hedge->is_ended);
    assert_hedges("plain", 0, 1, 0, 0);
}

static void each_attempt_has_its_own_time(void **state)
{
    (void)state;
    ask_twice(GET("/tried"));
    peri_loop_advance(world.loop, 150);
    assert_true(first->is_ended && !hedge->is_ended);
    peri_loop_advance(world.loop, 49);
    assert_answer("");
    peri_loop_advance(world.loop, 1);
    assert_true(hedge->is_ended);
    assert_status(504);
    assert_hedges("tried", 1, 0, 0, 0);
}

static void a_hedge_that_is_late_is_given_up(void **state)
{
    (void)state;
    ask_twice(GET("/often"));
    upstream_of("often")->guard->retries.per_try_ms = 100; // holds for attempts from now on
    memory_peer_close(hedge);
    peri_loop_advance(world.loop, 50);
    assert_int_equal(world.count, 3);
    peri_loop_advance(world.loop, 100);
    assert_true(world.origins[2].is_ended && !first->is_ended);
    memory_peer_send(first, OK("a", "1"));
    assert_answer(OK("a", "1"));
}

// ---- other ends

static void a_client_that_goes_away_ends_both(void **state)
{
    (void)state;
    ask_twice(GET("/plain"));
    memory_peer_reset(&world.client);
    assert_true(first->is_ended && hedge->is_ended);
    assert_hedges("plain", 0, 1, 0, 0);
    assert_false(is_ejected("plain"));
}

static void a_reload_leaves_both_alone(void **state)
{
    (void)state;
    ask_twice(GET("/plain"));
    load(2);
    memory_peer_close(first);
    memory_peer_send(hedge, OK("b", "1"));
    assert_answer(OK("b", "1"));
}

static void a_drain_waits_for_the_answer(void **state)
{
    (void)state;
    ask_twice(GET("/plain"));
    peri_server_drain(world.server, 5000, NULL, NULL);
    memory_peer_send(hedge, OK("b", "1"));
    assert_non_null(strstr(memory_peer_text(&world.client), "connection: close"));
    assert_true(first->is_ended);
}

static void an_end_of_everything_leaves_nothing(void **state)
{
    (void)state;
    ask_twice(GET("/plain"));
    peri_server_free(world.server);
    world.server = NULL;
    settle(world.loop);
    assert_true(first->is_ended && hedge->is_ended);
}

static void a_server_that_cannot_be_reached_is_no_answer(void **state)
{
    (void)state;
    ask(GET("/plain"));
    world.refuses = true;
    peri_loop_advance(world.loop, 50);
    settle(world.loop);
    memory_peer_send(first, OK("a", "1"));
    assert_answer(OK("a", "1"));
    assert_hedges("plain", 0, 0, 1, 0);
}

// ---- what is recorded

static char recorded[4096];

static void on_line(void *data, struct peri_slice line)
{
    (void)data;
    assert_true(line.len < sizeof(recorded));
    memcpy(recorded, line.ptr, line.len);
    recorded[line.len] = 0;
}

static void a_recording_has_both_attempts(void **state)
{
    (void)state;
    const struct peri_tap_options options = {.sample = 1, .body_limit = 100, .emit = on_line};
    assert_true(peri_server_tap(world.server, &options));
    ask_twice(GET("/plain"));
    memory_peer_send(hedge, OK("from the hedge", "14"));
    assert_answer(OK("from the hedge", "14"));
    const char *attempt = strstr(recorded, world.addresses[0]); // nothing came of it
    assert_non_null(attempt);
    attempt = strstr(attempt, world.addresses[1]);
    assert_non_null(attempt);
    assert_non_null(strstr(attempt, "from the hedge"));
    assert_true(peri_server_tap(world.server, NULL));
}

static void a_recording_has_a_first_attempt_that_wins(void **state)
{
    (void)state;
    const struct peri_tap_options options = {.sample = 1, .body_limit = 100, .emit = on_line};
    assert_true(peri_server_tap(world.server, &options));
    ask_twice(GET("/plain"));
    memory_peer_send(first, OK("from the first", "14"));
    assert_answer(OK("from the first", "14"));
    assert_non_null(strstr(recorded, "from the first"));
    assert_null(strstr(recorded, world.addresses[1])); // a hedge that came to nothing is not in it
    assert_true(peri_server_tap(world.server, NULL));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)

int main(void)
{
    const struct CMUnitTest cases[] = {
        CASE(the_hedge_goes_to_another_endpoint_and_the_first_answer_wins),
        CASE(the_first_attempt_may_still_win),
        CASE(an_answer_in_time_needs_no_hedge),
        CASE(a_long_answer_of_the_hedge_passes_whole),
        CASE(an_answer_without_a_body_wins_too),
        CASE(both_answers_in_one_turn_make_one),
        CASE(half_a_head_of_the_first_does_not_disturb_the_hedge),
        CASE(half_a_head_of_the_hedge_is_kept_when_the_first_fails),
        CASE(interim_responses_come_from_the_first_only),
        CASE(when_the_first_fails_the_hedge_answers),
        CASE(when_the_hedge_fails_the_first_answers),
        CASE(when_both_fail_the_last_failure_is_the_answer),
        CASE(answers_that_are_worth_a_retry_do_not_win),
        CASE(a_sick_first_leaves_its_place_to_the_hedge),
        CASE(when_both_are_sick_there_is_a_retry),
        CASE(without_retries_any_answer_wins),
        CASE(a_connection_that_was_closing_is_replaced),
        CASE(a_single_endpoint_is_asked_twice),
        CASE(a_request_is_hedged_as_often_as_it_may_be_one_at_a_time),
        CASE(the_breaker_refuses_hedges_and_nothing_else),
        CASE(the_budget_is_that_of_retries),
        CASE(what_may_not_be_done_twice_is_done_once),
        CASE(tunnels_are_not_hedged),
        CASE(a_policy_that_decides_about_attempts_is_not_passed_by),
        CASE(a_body_is_sent_again_once_all_of_it_left),
        CASE(a_chunked_body_goes_with_its_trailers),
        CASE(a_body_that_was_not_kept_goes_once),
        CASE(hooks_see_a_body_once),
        CASE(around_has_hedges_for_each_time),
        CASE(the_request_timeout_ends_both),
        CASE(each_attempt_has_its_own_time),
        CASE(a_hedge_that_is_late_is_given_up),
        CASE(a_client_that_goes_away_ends_both),
        CASE(a_reload_leaves_both_alone),
        CASE(a_drain_waits_for_the_answer),
        CASE(an_end_of_everything_leaves_nothing),
        CASE(a_server_that_cannot_be_reached_is_no_answer),
        CASE(a_recording_has_both_attempts),
        CASE(a_recording_has_a_first_attempt_that_wins),
    };
    return cmocka_run_group_tests_name("proxy/hedge", cases, NULL, NULL);
}
