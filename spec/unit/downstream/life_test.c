// SPDX-License-Identifier: MIT
// The life and death of client connections: back-pressure both ways, clients that go away at every moment, draining, closing, and
// memory that is out. AddressSanitizer watches.
#include "downstream_world.h"

#define GET(path) "GET " path " HTTP/1.1\r\nhost: a\r\n\r\n"
#define POST(fields) "POST /p HTTP/1.1\r\nhost: a\r\n" fields "\r\n"
#define UPGRADE "GET /ws HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
#define OK(length, body) "HTTP/1.1 200 OK\r\ncontent-length: " length "\r\n\r\n" body

static char megabyte[1 << 20];

// ---- back-pressure ----

static void pause_after_first(struct seen *s, struct peri_slice data)
{
    (void)data;
    if (s->body_len < 1000)
        return;
    pause_body(s, true);
}

static void stops_reading_while_the_owner_wants_no_body(void **state)
{
    (void)state;
    world.on_body = pause_after_first;
    memory_peer_put(&world.client, PERI_SLICE(POST("content-length: 1048576\r\n")));
    memory_peer_put(&world.client, peri_slice(megabyte, sizeof(megabyte)));
    settle(world.loop);
    struct seen *s = &world.seen[0];
    assert_in_range(s->body_len, 1000, 200 * 1024);
    assert_true(peri_stream_pending(world.client.stream) > 700 * 1024);
    size_t before = s->body_len;
    peri_loop_advance(world.loop, 1000);
    assert_int_equal(s->body_len, before);
    world.on_body = NULL;
    pause_body(s, false);
    settle(world.loop);
    assert_int_equal(s->body_len, sizeof(megabyte));
    assert_true(s->is_body_ended);
    answer(s, 200, "ok");
    settle(world.loop);
    assert_got(OK("2", "ok"));
}

static void survives_pausing_and_resuming_within_one_call(void **state)
{
    (void)state;
    memory_peer_send(&world.client, POST("content-length: 4\r\n") "ab");
    struct seen *s = &world.seen[0];
    pause_body(s, true);
    pause_body(s, true);
    pause_body(s, false);
    pause_body(s, false);
    memory_peer_send(&world.client, "cd");
    assert_string_equal(s->body, "abcd");
}

static bool may_go_on;

static void note_drain(struct seen *s)
{
    (void)s;
    may_go_on = true;
}

static void tells_when_the_client_is_slow_and_when_it_caught_up(void **state)
{
    (void)state;
    world.on_drain = note_drain;
    memory_peer_send(&world.client, GET("/"));
    struct seen *s = &world.seen[0];
    peri_stream_read_stop(world.client.stream);
    send_head(s, 200, sizeof(megabyte), false);
    size_t sent = 0;
    may_go_on = true;
    while (may_go_on && sent < sizeof(megabyte)) {
        may_go_on = send_body(s, peri_slice(megabyte, 8192));
        sent += 8192;
        settle(world.loop);
    }
    assert_in_range(sent, 64 * 1024, 256 * 1024); // what is in flight and what is queued
    assert_int_equal(s->drains, 0);
    peri_stream_read_start(world.client.stream);
    settle(world.loop);
    assert_int_equal(s->drains, 1);
    while (sent < sizeof(megabyte)) {
        assert_true(may_go_on);
        may_go_on =
            send_body(s, peri_slice(megabyte, 65536 < sizeof(megabyte) - sent ? 65536 : sizeof(megabyte) - sent));
        sent += 65536;
        settle(world.loop);
    }
    send_end(s);
    release(s);
    settle(world.loop);
    assert_true(world.client.len > sizeof(megabyte));
}

static void bounds_pipelined_bytes(void **state)
{
    (void)state;
    memory_peer_send(&world.client, GET("/first"));
    for (unsigned i = 0; i < 40000; i++)
        memory_peer_put(&world.client, PERI_SLICE(GET("/more")));
    settle(world.loop);
    assert_int_equal(world.count, 1);
    // a megabyte was sent; two windows of 64 KiB and one read are all that was taken
    assert_true(peri_stream_pending(world.client.stream) > 800 * 1024);
    memory_peer_reset(&world.client);
}

static unsigned served;

static void serve_and_forget(struct seen *s)
{
    answer(s, 200, "ok");
    served++;
    world.count = 0;
}

static void serves_thousands_of_pipelined_requests(void **state)
{
    (void)state;
    world.on_request = serve_and_forget;
    served = 0;
    for (unsigned i = 0; i < 5000; i++)
        memory_peer_put(&world.client, PERI_SLICE(GET("/more")));
    settle(world.loop);
    assert_int_equal(served, 5000);
    assert_int_equal(world.client.len, 5000 * strlen(OK("2", "ok")));
}

// ---- a request that is answered before its end ----

static void reads_out_the_rest_of_a_small_body_to_keep_the_connection(void **state)
{
    (void)state;
    world.on_request = answer_ok;
    memory_peer_send(&world.client, POST("content-length: 5\r\n") "he");
    assert_got(OK("2", "ok"));
    memory_peer_send(&world.client, "llo" GET("/next"));
    assert_got(OK("2", "ok") OK("2", "ok"));
    assert_int_equal(world.count, 2);
    assert_int_equal(world.seen[0].body_len, 0); // released: nobody is told
}

static void does_not_wait_for_ever_for_the_rest(void **state)
{
    (void)state;
    world.on_request = answer_ok;
    memory_peer_send(&world.client, POST("content-length: 5\r\n") "he");
    peri_loop_advance(world.loop, 300000);
    assert_true(world.client.is_ended);
    assert_got(OK("2", "ok"));
}

static void closes_when_the_rest_is_too_large_or_unknown(void **state)
{
    (void)state;
    static const char *const fields[] = {POST("content-length: 100000\r\n") "x",
                                         POST("transfer-encoding: chunked\r\n") "1\r\nx\r\n"};
    for (unsigned i = 0; i < 2; i++) {
        if (i > 0) {
            world_close(state);
            world_open(state);
        }
        world.on_request = answer_ok;
        memory_peer_send(&world.client, fields[i]);
        assert_got("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
        assert_true(world.client.is_ended);
        memory_peer_send(&world.client, "more of the body");
        assert_int_equal(world.count, 1);
        memory_peer_end(&world.client);
        assert_int_equal(peri_listener_connections(world.listener), 0);
    }
}

static void refuses_a_bad_rest_without_a_second_answer(void **state)
{
    (void)state;
    memory_peer_send(&world.client, POST("transfer-encoding: chunked\r\n") "1\r\nx\r\n");
    answer(&world.seen[0], 200, "ok");
    memory_peer_send(&world.client, "not a chunk\r\n");
    assert_got("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
    assert_true(world.client.is_ended);
}

// ---- clients that go away ----

enum moment { AT_HEAD, AT_REQUEST, AT_BODY, AT_PAUSED, AT_RESPONSE, AT_BLOCKED, AT_TUNNEL, AT_INVITED, MOMENTS };

static void bring_to(enum moment moment)
{
    static const char *const inputs[MOMENTS] = {
        [AT_HEAD] = "GET / HTTP/1.1\r\nho",
        [AT_REQUEST] = GET("/") GET("/pipelined"),
        [AT_BODY] = POST("content-length: 9\r\n") "abc",
        [AT_PAUSED] = POST("content-length: 9\r\n") "abc",
        [AT_RESPONSE] = GET("/") "GET /pipel",
        [AT_BLOCKED] = GET("/"),
        [AT_TUNNEL] = UPGRADE "early",
        [AT_INVITED] = POST("expect: 100-continue\r\ncontent-length: 2\r\n"),
    };
    memory_peer_send(&world.client, inputs[moment]);
    struct seen *s = &world.seen[0];
    if (moment == AT_PAUSED)
        pause_body(s, true);
    if (moment == AT_BLOCKED)
        peri_stream_read_stop(world.client.stream);
    if (moment == AT_RESPONSE || moment == AT_BLOCKED)
        send_head(s, 200, sizeof(megabyte), false);
    if (moment == AT_BLOCKED)
        assert_false(send_body(s, peri_slice(megabyte, 400000)));
    if (moment == AT_TUNNEL) {
        s->x->res.is_upgrade = true;
        s->is_body_ended = false;
        send_head(s, 101, PERI_LENGTH_NONE, false);
    }
    if (moment == AT_INVITED)
        s->x->client->send_interim(s->x, 100, NULL);
    settle(world.loop);
}

static void tells_the_owner_once_when_the_client_goes_away(void **state)
{
    (void)state;
    for (enum moment moment = 0; moment < MOMENTS; moment++) {
        for (int keeps = 0; keeps <= 1; keeps++) {
            world_close(state);
            world_open(state);
            world.keeps_aborted = keeps;
            bring_to(moment);
            bool is_seen = moment != AT_PAUSED; // nobody reads: the end is not seen before it is read again
            struct seen *s = &world.seen[0];
            memory_peer_reset(&world.client);
            if (!is_seen) {
                assert_int_equal(s->aborts, 0);
                pause_body(s, false);
                settle(world.loop);
            }
            assert_int_equal(world.count, moment == AT_HEAD ? 0 : 1);
            if (moment == AT_HEAD)
                continue;
            // a tunnel ends in order, in one direction first
            bool is_half_closed = moment == AT_TUNNEL && s->is_body_ended;
            if (!is_half_closed) {
                assert_int_equal(s->aborts, 1);
                assert_int_equal(s->abort_err, PERI_ERR_CLIENT_GONE);
            }
            peri_loop_advance(world.loop, 100000);
            if (keeps && !is_half_closed) {
                assert_int_equal(peri_listener_connections(world.listener), 1); // its exchange is still held
                release(s);
                settle(world.loop);
            }
            if (!is_half_closed)
                assert_int_equal(peri_listener_connections(world.listener), 0);
        }
    }
}

static void closes_everything_at_once_at_every_moment(void **state)
{
    (void)state;
    for (enum moment moment = 0; moment < MOMENTS; moment++) {
        for (int keeps = 0; keeps <= 1; keeps++) {
            world_close(state);
            world_open(state);
            world.keeps_aborted = keeps;
            bring_to(moment);
            peri_listener_close(world.listener);
            world.listener = NULL;
            if (moment != AT_HEAD)
                assert_int_equal(world.seen[0].abort_err, PERI_ERR_DRAINING);
            settle(world.loop);
            assert_true(world.client.is_ended || moment == AT_BLOCKED);
            if (keeps && moment != AT_HEAD)
                release(&world.seen[0]);
            settle(world.loop);
        }
    }
}

static void closes_a_listener_while_aborted_exchanges_are_still_held(void **state)
{
    (void)state;
    world.keeps_aborted = true;
    memory_peer_send(&world.client, GET("/"));
    memory_peer_reset(&world.client);
    assert_int_equal(world.seen[0].aborts, 1);
    peri_listener_close(world.listener); // must not tell it again, and the stream is gone
    world.listener = NULL;
    assert_int_equal(world.seen[0].aborts, 1);
    release(&world.seen[0]);
    settle(world.loop);
}

static void tells_the_owner_once_when_a_bad_request_also_hangs_up(void **state)
{
    (void)state;
    world.keeps_aborted = true;
    memory_peer_send(&world.client, POST("transfer-encoding: chunked\r\n") "1\r\nx\r\nzz\r\n");
    assert_int_equal(world.seen[0].abort_err, PERI_ERR_BAD_REQUEST);
    memory_peer_reset(&world.client);
    assert_int_equal(world.seen[0].aborts, 1);
    release(&world.seen[0]);
    settle(world.loop);
    assert_int_equal(peri_listener_connections(world.listener), 0);
}

static void answers_a_bad_request_whose_owner_takes_its_time(void **state)
{
    (void)state;
    world.keeps_aborted = true;
    memory_peer_send(&world.client, POST("transfer-encoding: chunked\r\n") "1\r\nx\r\nzz\r\n");
    assert_got("");
    peri_loop_advance(world.loop, 5000);
    release(&world.seen[0]);
    settle(world.loop);
    assert_refused(400);
}

static void resets_a_response_without_telling_the_owner(void **state)
{
    (void)state;
    for (enum moment moment = AT_REQUEST; moment < MOMENTS; moment++) {
        for (int late = 0; late <= 1; late++) { // released at once, or when the stream is gone
            world_close(state);
            world_open(state);
            bring_to(moment);
            struct seen *s = &world.seen[0];
            reset(s);
            if (late)
                settle(world.loop);
            assert_int_equal(s->aborts, 0);
            release(s);
            settle(world.loop);
            assert_int_equal(peri_listener_connections(world.listener), 0);
            assert_int_equal(world.count, 1);
        }
    }
}

static void reset_at_once(struct seen *s)
{
    reset(s);
    release(s);
}

static void may_be_reset_from_inside_any_event(void **state)
{
    (void)state;
    world.on_request = reset_at_once;
    memory_peer_send(&world.client, GET("/") GET("/"));
    assert_int_equal(world.count, 1);
    assert_int_equal(peri_listener_connections(world.listener), 0);
    world_close(state);
    world_open(state);
    world.on_body_end = reset_at_once;
    memory_peer_send(&world.client, POST("content-length: 1\r\n") "x" GET("/"));
    assert_int_equal(world.count, 1);
    assert_int_equal(peri_listener_connections(world.listener), 0);
}

static void reset_on_body(struct seen *s, struct peri_slice data)
{
    (void)data;
    reset_at_once(s);
}

static void may_be_reset_from_inside_a_body_event(void **state)
{
    (void)state;
    world.on_body = reset_on_body;
    memory_peer_send(&world.client, POST("transfer-encoding: chunked\r\n") "1\r\nx\r\n1\r\ny\r\n0\r\n\r\n");
    assert_int_equal(world.seen[0].body_len, 1);
    assert_int_equal(peri_listener_connections(world.listener), 0);
}

static void close_listener(struct seen *s)
{
    (void)s;
    peri_listener_close(world.listener);
    world.listener = NULL;
}

static void may_be_closed_from_inside_a_request_event(void **state)
{
    (void)state;
    world.on_request = close_listener;
    memory_peer_send(&world.client, GET("/") GET("/"));
    assert_int_equal(world.seen[0].aborts, 1);
    assert_true(world.client.is_ended);
}

// ---- draining ----

static unsigned drained;

static void on_drained(void *data)
{
    assert_ptr_equal(data, &world);
    drained++;
}

static void drain(void)
{
    drained = 0;
    peri_listener_drain(world.listener, on_drained, &world);
    assert_int_equal(drained, 0);
    settle(world.loop);
}

static void drains_idle_connections_at_once(void **state)
{
    (void)state;
    drain();
    assert_true(world.client.is_ended);
    assert_int_equal(drained, 1);
}

static void drains_busy_connections_after_their_exchange(void **state)
{
    (void)state;
    memory_peer_send(&world.client, GET("/") GET("/never"));
    drain();
    assert_int_equal(drained, 0);
    assert_false(world.client.is_ended);
    answer(&world.seen[0], 200, "ok");
    settle(world.loop);
    assert_got("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
    assert_int_equal(world.count, 1);
    assert_int_equal(drained, 1);
}

static void finishes_a_response_whose_head_promised_to_stay_open(void **state)
{
    (void)state;
    memory_peer_send(&world.client, GET("/"));
    send_head(&world.seen[0], 200, 4, false);
    drain();
    send_body(&world.seen[0], PERI_SLICE("done"));
    send_end(&world.seen[0]);
    release(&world.seen[0]);
    settle(world.loop);
    assert_got(OK("4", "done"));
    assert_true(world.client.is_ended);
    assert_int_equal(drained, 1);
}

static void drains_a_connection_whose_request_is_still_coming(void **state)
{
    (void)state;
    world.on_body_end = answer_ok;
    memory_peer_send(&world.client, "GET / HTTP/1.1\r\nho");
    drain();
    assert_int_equal(drained, 0);
    memory_peer_send(&world.client, "st: a\r\n\r\n");
    assert_got("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
    assert_int_equal(drained, 1);
}

static void says_at_once_that_nothing_is_to_drain(void **state)
{
    (void)state;
    memory_peer_reset(&world.client);
    drain();
    assert_int_equal(drained, 1);
}

// ---- memory that is out ----

static void use_everything(void **state)
{
    (void)state;
    char large[6000];
    memset(large, 'x', sizeof(large) - 1);
    large[sizeof(large) - 1] = 0;
    memory_peer_put(&world.client,
                    PERI_SLICE(POST("transfer-encoding: chunked\r\nx-a: 1\r\n") "3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n"));
    memory_peer_put(&world.client, PERI_SLICE(GET("/next") UPGRADE "early"));
    settle(world.loop);
    for (unsigned i = 0; i < world.count; i++) {
        struct seen *s = &world.seen[i];
        if (!s->x)
            continue;
        bool is_tunnel = s->x->req.upgrade.len > 0;
        s->x->res.is_upgrade = is_tunnel;
        s->is_body_ended = s->is_body_ended && !is_tunnel;
        for (unsigned k = 0; k < 4; k++)
            peri_headers_add(&s->x->res.headers, PERI_SLICE("x-large"), peri_slice_from(large));
        peri_headers_add(&s->x->res.trailers, PERI_SLICE("x-sum"), PERI_SLICE("2"));
        send_head(s, is_tunnel ? 101 : 200, is_tunnel ? PERI_LENGTH_NONE : PERI_LENGTH_UNKNOWN, false);
        send_body(s, peri_slice(megabyte, 200000));
        send_body(s, PERI_SLICE("end"));
        if (!is_tunnel)
            send_end(s);
        if (!is_tunnel)
            release(s);
        settle(world.loop);
    }
    memory_peer_end(&world.client);
}

static void loses_no_memory_and_no_order_when_memory_is_out(void **state)
{
    unsigned n = 1;
    for (;; n++) {
        world_close(state);
        world_open(state);
        fail_alloc_at(n);
        use_everything(state);
        bool has_failed = fail_alloc_stop();
        settle(world.loop);
        if (!has_failed)
            break;
        assert_true(n < 500);
    }
    assert_true(n > 10);
}

static void answers_503_when_there_is_no_memory_for_a_request(void **state)
{
    (void)state;
    peri_exchange_pool_close();
    memory_peer_put(&world.client, PERI_SLICE(GET("/")));
    peri_stream_flush(world.client.stream);
    fail_alloc_at(1);
    peri_loop_turn(world.loop);
    fail_alloc_stop();
    settle(world.loop);
    assert_int_equal(world.count, 0);
    assert_refused(503);
}

// ---- clients that end their direction ----

static void answers_a_client_that_has_ended_its_direction_and_closes(void **state)
{
    (void)state;
    memory_peer_send(&world.client, GET("/last"));
    memory_peer_end(&world.client);
    assert_int_equal(world.seen[0].aborts, 0);
    answer(&world.seen[0], 200, "ok");
    settle(world.loop);
    assert_non_null(strstr(memory_peer_text(&world.client), "connection: close"));
    assert_non_null(strstr(memory_peer_text(&world.client), "\r\n\r\nok"));
    assert_int_equal(peri_listener_connections(world.listener), 0);
}

static void answers_all_that_a_client_sent_before_it_ended_its_direction(void **state)
{
    (void)state;
    memory_peer_put(&world.client, PERI_SLICE(GET("/one") GET("/two")));
    memory_peer_end(&world.client);
    answer(&world.seen[0], 200, "one");
    settle(world.loop);
    assert_null(strstr(memory_peer_text(&world.client), "connection: close"));
    assert_int_equal(world.count, 2);
    answer(&world.seen[1], 200, "two");
    settle(world.loop);
    assert_non_null(strstr(memory_peer_text(&world.client), "two"));
    assert_int_equal(peri_listener_connections(world.listener), 0);
}

static void ends_with_a_client_that_ends_in_the_middle_of_a_request(void **state)
{
    (void)state;
    memory_peer_send(&world.client, POST("content-length: 10\r\n") "hello");
    memory_peer_end(&world.client);
    assert_int_equal(world.seen[0].aborts, 1);
    assert_int_equal(world.seen[0].abort_err, PERI_ERR_CLIENT_GONE);
    assert_int_equal(peri_listener_connections(world.listener), 0);
}

static void sends_the_end_of_a_response_to_a_client_that_ends_its_direction_meanwhile(void **state)
{
    (void)state;
    char *text = malloc(200001);
    memset(text, 'x', 200000);
    text[200000] = 0;
    memory_peer_send(&world.client, GET("/large"));
    peri_stream_read_stop(world.client.stream);
    answer(&world.seen[0], 200, text);
    free(text);
    settle(world.loop);
    memory_peer_end(&world.client);
    assert_int_equal(peri_listener_connections(world.listener), 1);
    peri_stream_read_start(world.client.stream);
    settle(world.loop);
    assert_true(world.client.len > 200000);
    assert_int_equal(world.client.end, PERI_OK);
    assert_int_equal(peri_listener_connections(world.listener), 0);
}

static void notices_that_a_client_that_had_ended_its_direction_is_gone(void **state)
{
    (void)state;
    memory_peer_send(&world.client, GET("/endless"));
    memory_peer_end(&world.client);
    send_head(&world.seen[0], 200, PERI_LENGTH_UNKNOWN, false);
    settle(world.loop);
    memory_peer_reset(&world.client);
    assert_int_equal(world.seen[0].aborts, 0); // nobody reads any more
    send_body(&world.seen[0], PERI_SLICE("to nobody"));
    settle(world.loop);
    assert_int_equal(world.seen[0].aborts, 1);
    assert_int_equal(peri_listener_connections(world.listener), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_open, world_close)
    const struct CMUnitTest tests[] = {
        TEST(stops_reading_while_the_owner_wants_no_body),
        TEST(survives_pausing_and_resuming_within_one_call),
        TEST(tells_when_the_client_is_slow_and_when_it_caught_up),
        TEST(bounds_pipelined_bytes),
        TEST(serves_thousands_of_pipelined_requests),
        TEST(reads_out_the_rest_of_a_small_body_to_keep_the_connection),
        TEST(does_not_wait_for_ever_for_the_rest),
        TEST(closes_when_the_rest_is_too_large_or_unknown),
        TEST(refuses_a_bad_rest_without_a_second_answer),
        TEST(tells_the_owner_once_when_the_client_goes_away),
        TEST(closes_everything_at_once_at_every_moment),
        TEST(closes_a_listener_while_aborted_exchanges_are_still_held),
        TEST(tells_the_owner_once_when_a_bad_request_also_hangs_up),
        TEST(answers_a_bad_request_whose_owner_takes_its_time),
        TEST(resets_a_response_without_telling_the_owner),
        TEST(may_be_reset_from_inside_any_event),
        TEST(may_be_reset_from_inside_a_body_event),
        TEST(may_be_closed_from_inside_a_request_event),
        TEST(drains_idle_connections_at_once),
        TEST(drains_busy_connections_after_their_exchange),
        TEST(finishes_a_response_whose_head_promised_to_stay_open),
        TEST(drains_a_connection_whose_request_is_still_coming),
        TEST(says_at_once_that_nothing_is_to_drain),
        TEST(loses_no_memory_and_no_order_when_memory_is_out),
        TEST(answers_503_when_there_is_no_memory_for_a_request),
        TEST(answers_a_client_that_has_ended_its_direction_and_closes),
        TEST(answers_all_that_a_client_sent_before_it_ended_its_direction),
        TEST(ends_with_a_client_that_ends_in_the_middle_of_a_request),
        TEST(sends_the_end_of_a_response_to_a_client_that_ends_its_direction_meanwhile),
        TEST(notices_that_a_client_that_had_ended_its_direction_is_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
