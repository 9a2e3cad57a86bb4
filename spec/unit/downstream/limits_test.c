// SPDX-License-Identifier: MIT
// What a client connection refuses, and when: limits exactly at and one beyond, times to the millisecond, every way of smuggling.
// A refused request is answered, the connection is closed, and the owner never hears of it.
#include "downstream_world.h"

#define GET(path) "GET " path " HTTP/1.1\r\nhost: a\r\n\r\n"
#define POST(fields) "POST /p HTTP/1.1\r\nhost: a\r\n" fields "\r\n"

static struct peri_listener_settings settings;

static int open_small(void **state)
{
    (void)state;
    settings = peri_listener_defaults();
    settings.header_bytes = 400;
    settings.headers = 4;
    settings.uri_bytes = 100;
    settings.body_bytes = 10;
    settings.headers_ms = 1000;
    settings.request_ms = 5000;
    settings.idle_ms = 20000;
    settings.stream_idle_ms = 3000;
    world_open_with(&settings);
    return 0;
}

/// In one write, then byte by byte on a new connection: refused with this status, and nothing reaches the owner.
static void refuses(struct peri_slice input, int status)
{
    for (size_t part = input.len; part > 0; part = part == 1 ? 0 : 1) {
        world_reopen(&settings);
        memory_peer_send_split(&world.client, input, part);
        if (world.count != 0)
            fail_msg("%.*s\nreached the owner", (int)(input.len < 200 ? input.len : 200), input.ptr);
        assert_refused(status);
        if (!strstr(memory_peer_text(&world.client), "\"type\":\"urn:perigee:"))
            fail_msg("no problem document: %s", memory_peer_text(&world.client));
        memory_peer_end(&world.client);
        assert_int_equal(peri_listener_connections(world.listener), 0);
    }
}

#define REFUSES(input, status) refuses(PERI_SLICE(input), status)

static void accepts(struct peri_slice input)
{
    for (size_t part = input.len; part > 0; part = part == 1 ? 0 : 1) {
        world_reopen(&settings);
        world.on_body_end = answer_ok;
        memory_peer_send_split(&world.client, input, part);
        if (world.count != 1)
            fail_msg("%.*s\nwas refused: %s", (int)(input.len < 200 ? input.len : 200), input.ptr,
                     memory_peer_text(&world.client));
        assert_got("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    }
}

static struct peri_slice padded(const char *format, int width)
{
    static char text[70000];
    int len = snprintf(text, sizeof(text), format, width, 0);
    return peri_slice(text, (size_t)len);
}

static void bounds_the_number_of_fields(void **state)
{
    (void)state;
    accepts(PERI_SLICE("GET / HTTP/1.1\r\nhost: a\r\nb: 1\r\nc: 1\r\nd: 1\r\n\r\n"));
    REFUSES("GET / HTTP/1.1\r\nhost: a\r\nb: 1\r\nc: 1\r\nd: 1\r\ne: 1\r\n\r\n", 431);
}

static void bounds_the_bytes_of_the_head(void **state)
{
    (void)state;
    int others = (int)strlen("GET / HTTP/1.1\r\nhost: a\r\nx: \r\n\r\n");
    accepts(padded("GET / HTTP/1.1\r\nhost: a\r\nx: %0*d\r\n\r\n", 400 - others));
    refuses(padded("GET / HTTP/1.1\r\nhost: a\r\nx: %0*d\r\n\r\n", 401 - others), 431);
    refuses(padded("GET / HTTP/1.1\r\nhost: a\r\nx: %0*d", 60000), 431); // without waiting for the end
    refuses(padded("GET / HTTP/1.1\r\nhost: a\r\n%0*d", 60000), 431);
}

static void bounds_the_target(void **state)
{
    (void)state;
    accepts(padded("GET /%0*d HTTP/1.1\r\nhost: a\r\n\r\n", 99));
    refuses(padded("GET /%0*d HTTP/1.1\r\nhost: a\r\n\r\n", 100), 414);
    refuses(padded("GET /%0*d", 60000), 414);
}

static void bounds_an_announced_body(void **state)
{
    (void)state;
    accepts(PERI_SLICE(POST("content-length: 10\r\n") "0123456789"));
    REFUSES(POST("content-length: 11\r\n"), 413);
    REFUSES(POST("content-length: 99999999999\r\n"), 413);
}

static void bounds_a_body_in_chunks_while_it_comes(void **state)
{
    (void)state;
    accepts(PERI_SLICE(POST("transfer-encoding: chunked\r\n") "5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n"));
    world_reopen(&settings);
    memory_peer_send(&world.client, POST("transfer-encoding: chunked\r\n") "5\r\n01234\r\n6\r\n567890\r\n0\r\n\r\n");
    assert_int_equal(world.count, 1);
    assert_int_equal(world.seen[0].aborts, 1);
    assert_int_equal(world.seen[0].abort_err, PERI_ERR_BODY_TOO_LARGE);
    assert_string_equal(world.seen[0].body, "01234");
    assert_refused(413);
}

static void follows_new_settings_with_the_next_request(void **state)
{
    (void)state;
    world.on_body_end = answer_ok;
    memory_peer_send(&world.client, "GET / HTTP/1.1\r\nhost: a\r\nb: 1\r\n\r\n");
    assert_int_equal(world.count, 1);
    settings.headers = 1;
    peri_listener_set(world.listener, &settings);
    memory_peer_forget(&world.client);
    memory_peer_send(&world.client, "GET / HTTP/1.1\r\nhost: a\r\nb: 1\r\n\r\n");
    assert_int_equal(world.count, 1);
    assert_refused(431);
}

// ---- smuggling (security.md 7.3, rows 8 to 11) ----

static void refuses_every_way_of_smuggling(void **state)
{
    (void)state;
    static const char *const inputs[] = {
        POST("content-length: 5\r\ntransfer-encoding: chunked\r\n") "0\r\n\r\nG",
        POST("transfer-encoding: chunked\r\ncontent-length: 5\r\n") "0\r\n\r\nG",
        POST("content-length: 5\r\ncontent-length: 5\r\n") "hello",
        POST("content-length: 5\r\ncontent-length: 6\r\n") "hello",
        POST("content-length: 5, 6\r\n") "hello",
        POST("content-length: +5\r\n") "hello",
        POST("content-length: 0x5\r\n") "hello",
        POST("content-length:  5\r\n") "hello",
        POST("content-length: 5a\r\n") "hello",
        POST("content-length: 18446744073709551621\r\n") "hello",
        POST("transfer-encoding: chunked, identity\r\n") "0\r\n\r\n",
        POST("transfer-encoding: identity\r\n") "hello",
        POST("transfer-encoding: xchunked\r\n") "0\r\n\r\n",
        POST("transfer-encoding: chunked\r\ntransfer-encoding: x\r\n") "0\r\n\r\n",
        POST("transfer-encoding:\x0b"
             "chunked\r\n") "0\r\n\r\n",
        POST("transfer-encoding : chunked\r\n") "0\r\n\r\n",
        POST("transfer_encoding: chunked\r\n") "0\r\n\r\n",
        POST("x: y\r\n content-length: 5\r\n") "hello",
        POST("x: y\ncontent-length: 5\r\n") "hello",
        POST("x: y\rcontent-length: 5\r\n") "hello",
        "POST /p HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nhost:\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a/b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a@b\r\n\r\n",
        "GET http://a@b/ HTTP/1.1\r\nhost: b\r\n\r\n",
        "GET /%00 HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET /%2e%2e/%2f HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET /a#b HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET * HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET a HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET / HTTP/1.1\nhost: a\n\n",
    };
    for (unsigned i = 0; i < PERI_COUNT(inputs); i++)
        refuses(peri_slice_from(inputs[i]), 400);
    REFUSES("GET / HTTP/1.1\r\nhost: a\r\nx: a\0b\r\n\r\n", 400);
    REFUSES("CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\nearly", 501);
    REFUSES("GET / HTTP/1.1\r\nhost: a\r\nexpect: gold\r\n\r\n", 417);
    REFUSES("PRI * HTTP/2.0\r\nHost: a\r\n\r\n", 505);
}

static void does_not_take_the_rest_of_a_refused_request_for_another(void **state)
{
    (void)state;
    memory_peer_send(&world.client, POST("content-length: 5\r\ncontent-length: 5\r\n") GET("/smuggled"));
    assert_int_equal(world.count, 0);
    assert_refused(400);
    memory_peer_send(&world.client, GET("/later"));
    assert_int_equal(world.count, 0);
}

static void ends_the_exchange_when_a_chunk_is_bad(void **state)
{
    (void)state;
    memory_peer_send(&world.client, POST("transfer-encoding: chunked\r\n") "3\r\nabc\r\n");
    memory_peer_send(&world.client, "3\r\nabcX\r\n" GET("/smuggled"));
    assert_int_equal(world.count, 1);
    assert_int_equal(world.seen[0].abort_err, PERI_ERR_BAD_REQUEST);
    assert_refused(400);
}

static void cuts_a_response_short_when_the_request_turns_bad_behind_its_head(void **state)
{
    (void)state;
    memory_peer_send(&world.client, POST("transfer-encoding: chunked\r\n") "3\r\nabc\r\n");
    send_head(&world.seen[0], 200, 100, false);
    send_body(&world.seen[0], PERI_SLICE("begin"));
    memory_peer_send(&world.client, "zz\r\n");
    assert_int_equal(world.seen[0].aborts, 1);
    assert_got("HTTP/1.1 200 OK\r\ncontent-length: 100\r\nconnection: close\r\n\r\nbegin");
    assert_true(world.client.is_ended);
}

static void does_not_end_a_response_in_order_whose_end_is_the_end_of_the_connection(void **state)
{
    (void)state;
    memory_peer_send(&world.client, "POST / HTTP/1.0\r\ncontent-length: 9\r\n\r\nabc");
    send_head(&world.seen[0], 200, PERI_LENGTH_UNKNOWN, false);
    send_body(&world.seen[0], PERI_SLICE("begin"));
    settle(world.loop);
    peri_loop_advance(world.loop, 5000); // the request does not come in time
    assert_int_equal(world.seen[0].abort_err, PERI_ERR_REQUEST_TIMEOUT);
    assert_true(world.client.is_ended);
    assert_int_equal(world.client.end, PERI_ERR_CLOSED);
}

// ---- times ----

static void waits_for_a_head_from_its_first_byte(void **state)
{
    (void)state;
    peri_loop_advance(world.loop, 15000);
    memory_peer_send(&world.client, "G");
    for (unsigned i = 0; i < 9; i++) { // a byte now and then does not help
        peri_loop_advance(world.loop, 100);
        memory_peer_send(&world.client, "E");
    }
    peri_loop_advance(world.loop, 99);
    assert_got("");
    peri_loop_advance(world.loop, 1);
    assert_refused(408);
    assert_int_equal(world.count, 0);
}

static void waits_for_a_request_in_all(void **state)
{
    (void)state;
    memory_peer_send(&world.client, POST("content-length: 10\r\n"));
    for (unsigned i = 0; i < 4; i++) {
        peri_loop_advance(world.loop, 1200);
        memory_peer_send(&world.client, "x");
    }
    peri_loop_advance(world.loop, 199);
    assert_int_equal(world.seen[0].aborts, 0);
    peri_loop_advance(world.loop, 1);
    assert_int_equal(world.seen[0].abort_err, PERI_ERR_REQUEST_TIMEOUT);
    assert_refused(408);
}

static void waits_for_progress_of_a_body(void **state)
{
    (void)state;
    memory_peer_send(&world.client, POST("content-length: 10\r\n") "x");
    peri_loop_advance(world.loop, 2999);
    assert_int_equal(world.seen[0].aborts, 0);
    peri_loop_advance(world.loop, 1);
    assert_int_equal(world.seen[0].aborts, 1);
    assert_refused(408);
}

static void does_not_count_the_answer_into_the_time_of_the_request(void **state)
{
    (void)state;
    settings.stream_idle_ms = 60000;
    world_reopen(&settings);
    memory_peer_send(&world.client, POST("content-length: 2\r\n") "hi");
    peri_loop_advance(world.loop, 30000);
    assert_int_equal(world.seen[0].aborts, 0);
    answer(&world.seen[0], 200, "ok");
    settle(world.loop);
    assert_got("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
}

static void waits_for_an_answer_no_longer_than_a_stream_may_idle(void **state)
{
    (void)state;
    memory_peer_send(&world.client, GET("/"));
    peri_loop_advance(world.loop, 2999);
    assert_int_equal(world.seen[0].aborts, 0);
    peri_loop_advance(world.loop, 1);
    assert_int_equal(world.seen[0].abort_err, PERI_ERR_IDLE_TIMEOUT);
    assert_refused(408);
}

static void counts_response_bytes_as_progress(void **state)
{
    (void)state;
    memory_peer_send(&world.client, GET("/"));
    send_head(&world.seen[0], 200, PERI_LENGTH_UNKNOWN, false);
    for (unsigned i = 0; i < 5; i++) {
        peri_loop_advance(world.loop, 2900);
        send_body(&world.seen[0], PERI_SLICE("x"));
    }
    settle(world.loop);
    assert_int_equal(world.seen[0].aborts, 0);
    peri_loop_advance(world.loop, 3000);
    assert_int_equal(world.seen[0].aborts, 1);
    assert_true(world.client.is_ended);
}

static void closes_an_idle_connection_without_a_word(void **state)
{
    (void)state;
    world.on_body_end = answer_ok;
    peri_loop_advance(world.loop, 19999);
    memory_peer_send(&world.client, GET("/"));
    memory_peer_forget(&world.client);
    peri_loop_advance(world.loop, 19999);
    assert_false(world.client.is_ended);
    peri_loop_advance(world.loop, 1);
    assert_true(world.client.is_ended);
    assert_got("");
}

static void gives_up_a_client_that_does_not_read_its_last_response(void **state)
{
    (void)state;
    settings.stream_idle_ms = 0;
    world_reopen(&settings);
    memory_peer_send(&world.client, "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    char *large = calloc(1, 300000);
    peri_stream_read_stop(world.client.stream);
    struct seen *s = &world.seen[0];
    send_head(s, 200, 300000, false);
    send_body(s, peri_slice(large, 300000));
    send_end(s);
    release(s);
    free(large);
    settle(world.loop);
    assert_int_equal(peri_listener_connections(world.listener), 1);
    peri_loop_advance(world.loop, 60000);
    assert_int_equal(peri_listener_connections(world.listener), 0);
}

static void knows_no_time_that_is_switched_off(void **state)
{
    (void)state;
    settings.headers_ms = settings.request_ms = settings.idle_ms = settings.stream_idle_ms = 0;
    world_reopen(&settings);
    peri_loop_advance(world.loop, 1000000);
    memory_peer_send(&world.client, "POST / HTTP/1.1\r\n");
    peri_loop_advance(world.loop, 1000000);
    memory_peer_send(&world.client, "host: a\r\ncontent-length: 1\r\n\r\n");
    peri_loop_advance(world.loop, 1000000);
    assert_int_equal(world.seen[0].aborts, 0);
    memory_peer_send(&world.client, "x");
    peri_loop_advance(world.loop, 1000000);
    answer(&world.seen[0], 200, "ok");
    settle(world.loop);
    assert_got("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_small, world_close)
    const struct CMUnitTest tests[] = {
        TEST(bounds_the_number_of_fields),
        TEST(bounds_the_bytes_of_the_head),
        TEST(bounds_the_target),
        TEST(bounds_an_announced_body),
        TEST(bounds_a_body_in_chunks_while_it_comes),
        TEST(follows_new_settings_with_the_next_request),
        TEST(refuses_every_way_of_smuggling),
        TEST(does_not_take_the_rest_of_a_refused_request_for_another),
        TEST(ends_the_exchange_when_a_chunk_is_bad),
        TEST(cuts_a_response_short_when_the_request_turns_bad_behind_its_head),
        TEST(does_not_end_a_response_in_order_whose_end_is_the_end_of_the_connection),
        TEST(waits_for_a_head_from_its_first_byte),
        TEST(waits_for_a_request_in_all),
        TEST(waits_for_progress_of_a_body),
        TEST(does_not_count_the_answer_into_the_time_of_the_request),
        TEST(waits_for_an_answer_no_longer_than_a_stream_may_idle),
        TEST(counts_response_bytes_as_progress),
        TEST(closes_an_idle_connection_without_a_word),
        TEST(gives_up_a_client_that_does_not_read_its_last_response),
        TEST(knows_no_time_that_is_switched_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
