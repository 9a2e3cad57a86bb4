// SPDX-License-Identifier: MIT
// A client connection in the good case: requests to exchanges, answers to bytes, one after the other.
#include "downstream_world.h"

#define GET(path) "GET " path " HTTP/1.1\r\nhost: a\r\n\r\n"
#define POST(fields) "POST /p HTTP/1.1\r\nhost: a\r\n" fields "\r\n"
#define OK(length, body) "HTTP/1.1 200 OK\r\ncontent-length: " length "\r\n\r\n" body

static void serves_one_request_after_the_other(void **state)
{
    (void)state;
    world.on_body_end = answer_path;
    memory_peer_send(&world.client, GET("/one"));
    assert_got(OK("4", "/one"));
    memory_peer_forget(&world.client);
    peri_loop_advance(world.loop, 60000);
    memory_peer_send(&world.client, GET("/two?q=1"));
    assert_got(OK("4", "/two"));
    assert_string_equal(world.seen[1].line, "GET /two?q=1 a");
    assert_false(world.client.is_ended);
}

static void reads_a_request_that_comes_byte_by_byte(void **state)
{
    (void)state;
    world.on_body_end = answer_path;
    memory_peer_send_split(&world.client, PERI_SLICE(POST("x-a: b\r\ncontent-length: 5\r\n") "hello" GET("/next")), 1);
    assert_got(OK("2", "/p") OK("5", "/next"));
    assert_string_equal(world.seen[0].body, "hello");
    assert_int_equal(world.count, 2);
}

static void answers_pipelined_requests_in_order(void **state)
{
    (void)state;
    memory_peer_send(&world.client, GET("/1") GET("/2") POST("content-length: 2\r\n") "hi" GET("/3"));
    assert_int_equal(world.count, 1); // the second is not begun before the first is answered
    answer_path(&world.seen[0]);
    settle(world.loop);
    assert_int_equal(world.count, 2);
    world.on_body_end = answer_path;
    answer_path(&world.seen[1]);
    settle(world.loop);
    assert_got(OK("2", "/1") OK("2", "/2") OK("2", "/p") OK("2", "/3"));
    assert_string_equal(world.seen[2].body, "hi");
}

static void serves_two_messages_of_one_read_that_are_answered_at_once(void **state)
{
    (void)state;
    world.on_request = answer_ok;
    memory_peer_send(&world.client, GET("/1") GET("/2") GET("/3"));
    assert_got(OK("2", "ok") OK("2", "ok") OK("2", "ok"));
    assert_int_equal(world.count, 3);
}

static void gives_bodies_by_length_and_in_chunks(void **state)
{
    (void)state;
    world.on_body_end = answer_path;
    memory_peer_send(&world.client, POST("content-length: 5\r\n") "hello");
    assert_int_equal(world.seen[0].length, 5);
    assert_string_equal(world.seen[0].body, "hello");
    memory_peer_send(&world.client,
                     POST("transfer-encoding: chunked\r\n") "3\r\nabc\r\n2\r\nde\r\n0\r\nx-sum: 1\r\n\r\n");
    assert_int_equal(world.seen[1].length, PERI_LENGTH_UNKNOWN);
    assert_string_equal(world.seen[1].body, "abcde");
    assert_string_equal(world.seen[1].trailers, "x-sum: 1\n");
    memory_peer_send(&world.client, POST("content-length: 0\r\n"));
    assert_int_equal(world.seen[2].length, PERI_LENGTH_NONE);
    assert_true(world.seen[2].is_body_ended);
    assert_int_equal(world.count, 3);
}

static void sends_bodies_of_unknown_length_in_chunks_with_trailers(void **state)
{
    (void)state;
    memory_peer_send(&world.client, GET("/"));
    struct seen *s = &world.seen[0];
    add_header(s, "X-A", "1");
    send_head(s, 201, PERI_LENGTH_UNKNOWN, false);
    send_body(s, PERI_SLICE("hello"));
    send_body(s, peri_slice(NULL, 0)); // a chunk of no bytes would end the body
    send_body(s, PERI_SLICE("0123456789abcdef"));
    peri_headers_add(&s->x->res.trailers, PERI_SLICE("X-Sum"), PERI_SLICE("9"));
    send_end(s);
    release(s);
    settle(world.loop);
    assert_got("HTTP/1.1 201 Created\r\nx-a: 1\r\ntransfer-encoding: chunked\r\n\r\n"
               "5\r\nhello\r\n10\r\n0123456789abcdef\r\n0\r\nx-sum: 9\r\n\r\n");
    assert_false(world.client.is_ended);
}

static void ends_a_body_of_unknown_length_by_closing_for_http_1_0(void **state)
{
    (void)state;
    memory_peer_send(&world.client, "GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n");
    struct seen *s = &world.seen[0];
    send_head(s, 200, PERI_LENGTH_UNKNOWN, false);
    send_body(s, PERI_SLICE("hello"));
    send_end(s);
    release(s);
    settle(world.loop);
    assert_got("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhello");
    assert_true(world.client.is_ended);
    assert_int_equal(world.client.end, PERI_OK);
}

static void keeps_http_1_0_open_only_when_asked(void **state)
{
    (void)state;
    world.on_request = answer_ok;
    memory_peer_send(&world.client, "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
    assert_got("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: keep-alive\r\n\r\nok");
    memory_peer_forget(&world.client);
    memory_peer_send(&world.client, "GET / HTTP/1.0\r\n\r\n");
    assert_got("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
    assert_true(world.client.is_ended);
}

static void closes_when_the_client_says_so_and_drops_what_follows(void **state)
{
    (void)state;
    world.on_request = answer_ok;
    memory_peer_send(&world.client, "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n" GET("/never"));
    assert_got("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
    assert_int_equal(world.count, 1);
    assert_true(world.client.is_ended);
}

static void sends_no_body_for_head_but_its_length(void **state)
{
    (void)state;
    memory_peer_send(&world.client, "HEAD / HTTP/1.1\r\nhost: a\r\n\r\n" GET("/next"));
    struct seen *s = &world.seen[0];
    send_head(s, 200, 1234, false);
    send_body(s, PERI_SLICE("not to be seen"));
    send_end(s);
    release(s);
    settle(world.loop);
    answer_ok(&world.seen[1]);
    settle(world.loop);
    assert_got("HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n" OK("2", "ok"));
}

static void frames_head_without_a_length_as_nothing(void **state)
{
    (void)state;
    memory_peer_send(&world.client, "HEAD / HTTP/1.1\r\nhost: a\r\n\r\n");
    struct seen *s = &world.seen[0];
    send_head(s, 200, PERI_LENGTH_UNKNOWN, true);
    send_end(s);
    release(s);
    settle(world.loop);
    assert_got("HTTP/1.1 200 OK\r\n\r\n");
    assert_false(world.client.is_ended);
}

static void frames_204_and_304_without_a_body(void **state)
{
    (void)state;
    memory_peer_send(&world.client, GET("/") GET("/") GET("/"));
    send_head(&world.seen[0], 204, 7, true);
    send_end(&world.seen[0]);
    release(&world.seen[0]);
    settle(world.loop);
    send_head(&world.seen[1], 304, 99, true);
    send_end(&world.seen[1]);
    release(&world.seen[1]);
    settle(world.loop);
    answer_ok(&world.seen[2]);
    settle(world.loop);
    assert_got("HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 304 Not Modified\r\ncontent-length: 99\r\n\r\n" OK("2", "ok"));
}

static void says_the_length_of_an_empty_response(void **state)
{
    (void)state;
    memory_peer_send(&world.client, GET("/"));
    answer(&world.seen[0], 404, "");
    settle(world.loop);
    assert_got("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n");
}

static void invites_the_body_of_a_client_that_waits(void **state)
{
    (void)state;
    memory_peer_send(&world.client, POST("expect: 100-continue\r\ncontent-length: 2\r\n"));
    struct seen *s = &world.seen[0];
    assert_true(s->x->req.expects_continue);
    s->x->client->send_interim(s->x, 100, NULL);
    settle(world.loop);
    assert_got("HTTP/1.1 100 Continue\r\n\r\n");
    assert_false(s->x->req.expects_continue);
    memory_peer_send(&world.client, "hi");
    assert_string_equal(s->body, "hi");
    memory_peer_forget(&world.client);
    answer(s, 200, "ok");
    settle(world.loop);
    assert_got(OK("2", "ok"));
    assert_false(world.client.is_ended);
}

static void closes_after_answering_a_client_that_still_waits_with_its_body(void **state)
{
    (void)state;
    world.on_request = answer_ok;
    memory_peer_send(&world.client, POST("expect: 100-continue\r\ncontent-length: 2\r\n"));
    assert_got("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
    assert_true(world.client.is_ended);
}

static void passes_interim_responses_on_but_not_to_http_1_0_nor_behind_the_head(void **state)
{
    (void)state;
    struct peri_headers links;
    memory_peer_send(&world.client, GET("/"));
    struct seen *s = &world.seen[0];
    peri_headers_init(&links, &s->x->arena);
    peri_headers_add(&links, PERI_SLICE("Link"), PERI_SLICE("</a.css>"));
    s->x->client->send_interim(s->x, 103, &links);
    send_head(s, 200, 0, true);
    s->x->client->send_interim(s->x, 103, &links);
    send_end(s);
    release(s);
    settle(world.loop);
    assert_got("HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n" OK("0", ""));
    memory_peer_forget(&world.client);
    memory_peer_send(&world.client, "GET / HTTP/1.0\r\n\r\n");
    s = &world.seen[1];
    s->x->client->send_interim(s->x, 103, NULL);
    settle(world.loop);
    assert_got("");
}

static void takes_the_authority_of_an_absolute_target(void **state)
{
    (void)state;
    world.on_request = answer_ok;
    memory_peer_send(&world.client, "GET http://shop.example:81/a?b HTTP/1.1\r\nHost: other.example\r\n\r\n");
    assert_string_equal(world.seen[0].line, "GET /a?b shop.example:81");
    assert_non_null(
        strstr(world.seen[0].headers, "host: shop.example:81\n")); // RFC 9112 3.2.2: what was received is replaced
    assert_null(strstr(world.seen[0].headers, "other"));
}

static void normalises_the_path_once(void **state)
{
    (void)state;
    world.on_request = answer_path;
    memory_peer_send(&world.client, GET("/a/../b//%63/./d"));
    assert_got(OK("6", "/b/c/d"));
}

static void sends_a_head_that_is_larger_than_a_cork(void **state)
{
    (void)state;
    char value[8001];
    memset(value, 'v', 8000);
    value[8000] = 0;
    memory_peer_send(&world.client, GET("/"));
    struct seen *s = &world.seen[0];
    for (unsigned i = 0; i < 5; i++)
        add_header(s, "x-large", value);
    answer(s, 200, "ok");
    settle(world.loop);
    assert_int_equal(world.client.len, strlen(OK("2", "ok")) + 5 * (8000 + strlen("x-large: \r\n")));
    assert_string_equal(memory_peer_text(&world.client) + world.client.len - 2, "ok");
}

// ---- tunnels ----

static void open_tunnel(struct seen *s)
{
    s->x->res.is_upgrade = true;
    s->x->res.upgrade = PERI_SLICE("websocket");
    send_head(s, 101, PERI_LENGTH_NONE, false);
}

#define UPGRADE "GET /ws HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n"
#define SWITCHING "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"

static void becomes_a_tunnel_after_101(void **state)
{
    (void)state;
    memory_peer_send(&world.client, UPGRADE);
    struct seen *s = &world.seen[0];
    assert_true(peri_slice_eq(s->x->req.upgrade, PERI_SLICE("websocket")));
    s->is_body_ended = false; // the tunnel's bytes follow
    open_tunnel(s);
    settle(world.loop);
    assert_got(SWITCHING);
    memory_peer_send(&world.client, "GET / not http any more\r\n\r\n");
    assert_string_equal(s->body, "GET / not http any more\r\n\r\n");
    send_body(s, PERI_SLICE("frame"));
    settle(world.loop);
    assert_got(SWITCHING "frame");
    memory_peer_end(&world.client);
    assert_true(s->is_body_ended);
    assert_int_equal(s->x->facts.bytes_in, s->body_len);
    assert_int_equal(s->x->facts.bytes_out, 5);
    send_body(s, PERI_SLICE("last"));
    send_end(s);
    release(s);
    settle(world.loop);
    assert_got(SWITCHING "framelast");
    assert_true(world.client.is_ended);
}

static void keeps_early_tunnel_bytes_until_101_and_gives_none_without_it(void **state)
{
    (void)state;
    memory_peer_send(&world.client, UPGRADE "early");
    struct seen *s = &world.seen[0];
    assert_int_equal(s->body_len, 0);
    s->is_body_ended = false;
    open_tunnel(s);
    memory_peer_put(&world.client, PERI_SLICE(" late"));
    settle(world.loop);
    assert_string_equal(s->body, "early late");
}

static void reads_what_follows_a_refused_upgrade_as_http(void **state)
{
    (void)state;
    memory_peer_send(&world.client, UPGRADE GET("/next"));
    answer(&world.seen[0], 200, "no");
    settle(world.loop);
    assert_int_equal(world.count, 2);
    assert_string_equal(world.seen[1].line, "GET /next a");
    answer(&world.seen[1], 200, "ok");
    settle(world.loop);
    assert_got(OK("2", "no") OK("2", "ok"));
}

static void gives_tunnel_bytes_before_their_end(void **state)
{
    (void)state;
    memory_peer_send(&world.client, UPGRADE "early");
    struct seen *s = &world.seen[0];
    s->is_body_ended = false;
    peri_stream_shutdown(world.client.stream); // is seen in the turn in which the tunnel opens
    open_tunnel(s);
    settle(world.loop);
    assert_string_equal(s->body ? s->body : "", "early");
    assert_true(s->is_body_ended);
}

static void holds_tunnel_bytes_back_while_it_is_paused(void **state)
{
    (void)state;
    memory_peer_send(&world.client, UPGRADE "early");
    struct seen *s = &world.seen[0];
    s->is_body_ended = false;
    open_tunnel(s);
    pause_body(s, true);
    memory_peer_put(&world.client, PERI_SLICE(" late"));
    peri_stream_shutdown(world.client.stream);
    settle(world.loop);
    assert_int_equal(s->body_len, 0);
    assert_false(s->is_body_ended);
    pause_body(s, false);
    settle(world.loop);
    assert_string_equal(s->body, "early late");
    assert_true(s->is_body_ended);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_open, world_close)
    const struct CMUnitTest tests[] = {
        TEST(serves_one_request_after_the_other),
        TEST(reads_a_request_that_comes_byte_by_byte),
        TEST(answers_pipelined_requests_in_order),
        TEST(serves_two_messages_of_one_read_that_are_answered_at_once),
        TEST(gives_bodies_by_length_and_in_chunks),
        TEST(sends_bodies_of_unknown_length_in_chunks_with_trailers),
        TEST(ends_a_body_of_unknown_length_by_closing_for_http_1_0),
        TEST(keeps_http_1_0_open_only_when_asked),
        TEST(closes_when_the_client_says_so_and_drops_what_follows),
        TEST(sends_no_body_for_head_but_its_length),
        TEST(frames_head_without_a_length_as_nothing),
        TEST(frames_204_and_304_without_a_body),
        TEST(says_the_length_of_an_empty_response),
        TEST(invites_the_body_of_a_client_that_waits),
        TEST(closes_after_answering_a_client_that_still_waits_with_its_body),
        TEST(passes_interim_responses_on_but_not_to_http_1_0_nor_behind_the_head),
        TEST(takes_the_authority_of_an_absolute_target),
        TEST(normalises_the_path_once),
        TEST(sends_a_head_that_is_larger_than_a_cork),
        TEST(becomes_a_tunnel_after_101),
        TEST(keeps_early_tunnel_bytes_until_101_and_gives_none_without_it),
        TEST(reads_what_follows_a_refused_upgrade_as_http),
        TEST(gives_tunnel_bytes_before_their_end),
        TEST(holds_tunnel_bytes_back_while_it_is_paused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
