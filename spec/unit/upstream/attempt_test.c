// SPDX-License-Identifier: MIT
// Attempts against an origin that says what the test wants: every way a response may come, break off or be called off.
#include "upstream_world.h"

#define POST_LINES(fields) "POST /path HTTP/1.1\r\nhost: a\r\n" fields "\r\n"

static struct try t, u;

#define origin (&world.origins[0])

static int open_world(void **state)
{
    world_open(state);
    try_open(&t);
    try_open(&u);
    return 0;
}

static int close_world(void **state)
{
    try_free(&t);
    try_free(&u);
    return world_close(state);
}

static void sends_a_request_and_reads_the_response(void **state)
{
    (void)state;
    t.req.query = PERI_SLICE("a=b");
    peri_headers_add(&t.req.headers, PERI_SLICE("Accept"), PERI_SLICE("*/*"));
    peri_headers_add(&t.req.headers, PERI_SLICE("Host"), PERI_SLICE("another"));
    peri_attempt_start(&t.attempt);
    assert_string_equal(t.log, ""); // nothing from inside the call
    settle(world.loop);
    assert_string_equal(memory_peer_text(origin), "GET /path?a=b HTTP/1.1\r\nhost: a\r\naccept: */*\r\n\r\n");
    memory_peer_send(
        origin, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: 1\r\nConnection: keep-alive, x-b\r\nx-b: 2\r\n\r\nhe");
    memory_peer_send(origin, "llo");
    assert_string_equal(t.log, "ready head(200,5) end ");
    assert_string_equal(t.body, "hello");
    assert_int_equal(t.res.headers.count, 1);
    assert_memory_equal(t.res.headers.items[0].name, "x-a", 3);
    assert_memory_equal(t.res.headers.items[0].value, "1", 1);
    assert_int_equal(peri_pool_idle(world.pool), 1);
}

static void sends_bodies_by_length_in_chunks_and_their_trailers(void **state)
{
    (void)state;
    try_with_body(&t, 5);
    try_start(&t);
    assert_true(peri_attempt_send_body(&t.attempt, PERI_SLICE("hello")));
    peri_attempt_send_end(&t.attempt, NULL);
    settle(world.loop);
    assert_string_equal(memory_peer_text(origin), POST_LINES("content-length: 5\r\n") "hello");
    memory_peer_send(origin, "HTTP/1.1 204 No Content\r\n\r\n");
    assert_string_equal(t.log, "ready head(204,-1) end ");
    memory_peer_forget(origin);
    try_with_body(&u, PERI_LENGTH_UNKNOWN);
    peri_headers_add(&u.req.trailers, PERI_SLICE("x-sum"), PERI_SLICE("1"));
    try_start(&u);
    peri_attempt_send_body(&u.attempt, PERI_SLICE("hello"));
    peri_attempt_send_body(&u.attempt, peri_slice(NULL, 0));
    peri_attempt_send_end(&u.attempt, &u.req.trailers);
    settle(world.loop);
    assert_string_equal(memory_peer_text(origin),
                        POST_LINES("transfer-encoding: chunked\r\n") "5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n");
}

static void says_that_a_post_has_no_body(void **state)
{
    (void)state;
    try_with_body(&t, PERI_LENGTH_NONE);
    t.attempt.has_no_body = true;
    try_start(&t);
    assert_string_equal(memory_peer_text(origin), POST_LINES("content-length: 0\r\n"));
}

static void reads_chunks_trailers_and_bodies_that_end_with_the_connection(void **state)
{
    (void)state;
    try_start(&t);
    memory_peer_send(origin, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 7\r\n\r\n");
    assert_string_equal(t.log, "ready head(200,-2) end ");
    assert_string_equal(t.body, "abc");
    assert_int_equal(t.res.trailers.count, 1);
    try_start(&u);
    memory_peer_send(origin, "HTTP/1.1 200 OK\r\n\r\nabc");
    assert_string_equal(u.log, "ready(reused) head(200,-2) ");
    memory_peer_send(origin, "def");
    memory_peer_close(origin);
    assert_string_equal(u.log, "ready(reused) head(200,-2) end ");
    assert_string_equal(u.body, "abcdef");
    assert_int_equal(peri_pool_idle(world.pool), 0);
}

static void reads_no_body_where_there_is_none(void **state)
{
    (void)state;
    static const struct {
        const char *response;
        bool is_head;
        const char *log;
    } rows[] = {
        {"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n", true, "head(200,99) end "},
        {"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", true, "head(200,-2) end "},
        {"HTTP/1.1 200 OK\r\n\r\n", true, "head(200,-1) end "},
        {"HTTP/1.1 204 No Content\r\n\r\n", false, "head(204,-1) end "},
        {"HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n", false, "head(204,-1) end "},
        {"HTTP/1.1 304 Not Modified\r\n\r\n", false, "head(304,-1) end "},
        {"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n", false, "head(304,5) end "},
        {"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", false, "head(200,0) end "},
    };
    for (unsigned i = 0; i < PERI_COUNT(rows); i++) {
        try_free(&t);
        try_open(&t);
        t.req.method = rows[i].is_head ? PERI_METHOD_HEAD : PERI_METHOD_GET;
        try_start(&t);
        memory_peer_send(origin, rows[i].response);
        assert_string_equal(strchr(t.log, ' ') + 1, rows[i].log);
        assert_int_equal(t.body_len, 0);
        assert_int_equal(peri_pool_idle(world.pool), 1); // all on one connection
    }
    assert_int_equal(world.count, 1);
}

static void passes_interim_responses_on_before_the_head(void **state)
{
    (void)state;
    try_start(&t);
    memory_peer_send(origin, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\nlink: </b>\r\n\r\n"
                             "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx");
    assert_string_equal(t.log, "ready interim(100,0) interim(103,2) head(200,1) end ");
    assert_int_equal(t.res.headers.count, 0);
    assert_int_equal(peri_pool_idle(world.pool), 1);
}

static void bounds_interim_responses(void **state)
{
    (void)state;
    try_start(&t);
    for (unsigned i = 0; i < 20000 && !t.is_over; i++)
        memory_peer_send(origin, "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n");
    assert_int_equal(t.err, PERI_ERR_UPSTREAM_PROTOCOL); // the exchange's memory is bounded
}

static void becomes_a_tunnel_when_it_was_asked_for(void **state)
{
    (void)state;
    t.req.upgrade = PERI_SLICE("websocket");
    try_start(&t);
    assert_string_equal(memory_peer_text(origin),
                        "GET /path HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
    memory_peer_send(origin,
                     "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nearly");
    assert_string_equal(t.log, "ready head(101,-1) ");
    assert_true(t.res.is_upgrade);
    assert_true(peri_slice_eq(t.res.upgrade, PERI_SLICE("websocket")));
    assert_string_equal(t.body, "early");
    memory_peer_forget(origin);
    peri_attempt_send_body(&t.attempt, PERI_SLICE("up"));
    memory_peer_send(origin, "HTTP/1.1 400 not http any more\r\n\r\n");
    assert_string_equal(memory_peer_text(origin), "up");
    assert_string_equal(t.body, "earlyHTTP/1.1 400 not http any more\r\n\r\n");
    peri_attempt_send_end(&t.attempt, NULL);
    settle(world.loop);
    assert_true(origin->is_ended);
    memory_peer_send(origin, "last");
    memory_peer_end(origin);
    assert_string_equal(t.log, "ready head(101,-1) end ");
    assert_int_equal(peri_pool_idle(world.pool), 0);
}

static void takes_no_tunnel_that_nobody_asked_for(void **state)
{
    (void)state;
    try_start(&t);
    memory_peer_send(origin, "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
    assert_string_equal(t.log, "ready error(upstream_protocol) ");
    assert_true(origin->is_ended);
}

static void refuses_responses_that_are_not_what_they_seem(void **state)
{
    (void)state;
    static const char *const inputs[] = {
        "garbage\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 99 Low\r\n\r\n",
        "HTTP/1.1 2000 High\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx: 1\r\n folded\r\n\r\n",
        "HTTP/1.1 200 OK\nx: 1\n\n",
        "HTTP/1.1 200 OK\r\nx: a\x01\r\n\r\n",
        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        "\x15\x03\x01\x00\x02\x02\x0a",
    };
    for (unsigned i = 0; i < PERI_COUNT(inputs); i++) {
        try_free(&t);
        try_open(&t);
        try_start(&t);
        memory_peer_send(&world.origins[i], inputs[i]);
        if (t.err != PERI_ERR_UPSTREAM_PROTOCOL)
            fail_msg("%s\ngave: %s", inputs[i], t.log);
        assert_true(world.origins[i].is_ended);
        assert_int_equal(peri_pool_idle(world.pool), 0);
    }
}

static void bounds_the_head_of_a_response(void **state)
{
    (void)state;
    static char head[70000];
    try_start(&t);
    memset(head, 'x', sizeof(head) - 1);
    memcpy(head, "HTTP/1.1 200 OK\r\nx: ", 20);
    memory_peer_send(origin, head);
    assert_string_equal(t.log, "ready error(response_too_large) ");
}

static void says_how_a_response_broke_off(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        const char *log;
    } rows[] = {
        {"", "ready error(upstream_reset) "},
        {"HTTP/1.1 200 O", "ready error(upstream_reset) "},
        {"HTTP/1.1 100 Continue\r\n\r\n", "ready interim(100,0) error(upstream_reset) "},
        {"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc", "ready head(200,9) error(upstream_reset) "},
        {"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
         "ready head(200,-2) error(upstream_reset) "},
        {"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
         "ready head(200,-2) error(upstream_reset) "},
        {"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx: y\r\n",
         "ready head(200,-2) error(upstream_reset) "},
    };
    for (unsigned i = 0; i < PERI_COUNT(rows); i++) {
        try_free(&t);
        try_open(&t);
        try_start(&t);
        memory_peer_send(&world.origins[i], rows[i].bytes);
        memory_peer_close(&world.origins[i]);
        assert_string_equal(t.log, rows[i].log);
        assert_int_equal(peri_pool_idle(world.pool), 0);
    }
}

static void takes_a_broken_connection_for_no_end_of_a_body(void **state)
{
    (void)state;
    try_start(&t);
    memory_peer_send(origin, "HTTP/1.1 200 OK\r\n\r\nabc");
    peri_stream_reset(origin->stream);
    settle(world.loop);
    assert_string_equal(t.log, "ready head(200,-2) error(upstream_reset) ");
}

static void reports_a_refused_connection_from_the_loop(void **state)
{
    (void)state;
    world.refuses = true;
    peri_attempt_start(&t.attempt);
    assert_string_equal(t.log, "");
    settle(world.loop);
    assert_string_equal(t.log, "error(connect_failed) ");
}

static void may_be_called_off_before_a_refused_connection_is_reported(void **state)
{
    (void)state;
    world.refuses = true;
    peri_attempt_start(&t.attempt);
    try_cancel(&t);
    peri_attempt_cancel(&t.attempt);
    settle(world.loop);
    assert_string_equal(t.log, "");
}

static void does_not_reuse_a_connection_when_the_response_says_so_or_leaves_bytes(void **state)
{
    (void)state;
    static const char *const inputs[] = {
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: close\r\n\r\nx",
        "HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\nx",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nxy",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nxHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\ny",
    };
    for (unsigned i = 0; i < PERI_COUNT(inputs); i++) {
        try_free(&t);
        try_open(&t);
        try_start(&t);
        memory_peer_send(&world.origins[i], inputs[i]);
        assert_string_equal(t.log, "ready head(200,1) end ");
        assert_string_equal(t.body, "x");
        assert_true(world.origins[i].is_ended);
        assert_int_equal(peri_pool_idle(world.pool), 0);
    }
}

static void closes_the_connection_when_the_response_comes_before_the_request_is_sent(void **state)
{
    (void)state;
    try_with_body(&t, 10);
    try_start(&t);
    peri_attempt_send_body(&t.attempt, PERI_SLICE("hello"));
    memory_peer_send(origin, "HTTP/1.1 413 Content Too Large\r\ncontent-length: 2\r\n\r\nno");
    assert_string_equal(t.log, "ready head(413,2) end ");
    assert_string_equal(t.body, "no");
    assert_true(origin->is_ended);
    assert_int_equal(peri_pool_idle(world.pool), 0);
}

static void lets_a_request_be_sent_on_while_the_response_already_comes(void **state)
{
    (void)state;
    try_with_body(&t, 10);
    try_start(&t);
    memory_peer_send(origin, "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab");
    peri_attempt_send_body(&t.attempt, PERI_SLICE("0123456789"));
    peri_attempt_send_end(&t.attempt, NULL);
    memory_peer_send(origin, "cd");
    assert_string_equal(t.log, "ready head(200,4) end ");
    assert_int_equal(peri_pool_idle(world.pool), 1);
}

static void tells_of_a_slow_upstream(void **state)
{
    (void)state;
    static char megabyte[1 << 20];
    try_with_body(&t, sizeof(megabyte));
    try_start(&t);
    peri_stream_read_stop(origin->stream);
    assert_false(peri_attempt_send_body(&t.attempt, peri_slice(megabyte, sizeof(megabyte))));
    settle(world.loop);
    assert_int_equal(t.drains, 0);
    peri_stream_read_start(origin->stream);
    settle(world.loop);
    assert_int_equal(t.drains, 1);
    assert_true(peri_attempt_send_body(&t.attempt, peri_slice(NULL, 0)));
}

static void stops_reading_while_it_is_paused(void **state)
{
    (void)state;
    static char part[100000];
    try_start(&t);
    memory_peer_send(origin, "HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n");
    peri_attempt_pause(&t.attempt, true);
    peri_attempt_pause(&t.attempt, true);
    for (unsigned i = 0; i < 10; i++)
        memory_peer_put(origin, peri_slice(part, sizeof(part)));
    settle(world.loop);
    assert_int_equal(t.body_len, 0);
    assert_true(peri_stream_pending(origin->stream) > 900000);
    peri_attempt_pause(&t.attempt, false);
    settle(world.loop);
    assert_int_equal(t.body_len, 1000000);
    assert_string_equal(t.log, "ready head(200,1000000) end ");
    assert_int_equal(peri_pool_idle(world.pool), 1);
}

static void gives_no_paused_connection_back_to_the_pool(void **state)
{
    (void)state;
    try_start(&t);
    memory_peer_put(origin, PERI_SLICE("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc"));
    t.react = NULL;
    settle(world.loop);
    try_start(&u);
    memory_peer_send(origin, "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n");
    peri_attempt_pause(&u.attempt, true);
    memory_peer_put(origin, PERI_SLICE("abc"));
    settle(world.loop);
    peri_attempt_pause(&u.attempt, false);
    settle(world.loop);
    assert_string_equal(u.log, "ready(reused) head(200,3) end ");
    memory_peer_close(origin); // is seen: the idle connection is being read
    assert_int_equal(peri_pool_idle(world.pool), 0);
}

// ---- called off ----

static enum event call_off_at;
static bool calls_off_twice;

static void call_off(struct try *it, enum event event)
{
    if (event != call_off_at || it->is_over)
        return;
    try_cancel(it);
    if (calls_off_twice)
        peri_attempt_cancel(&it->attempt);
    peri_arena_close(&it->arena); // what the attempt borrowed is gone from here on
    it->req = (struct peri_request){0};
    it->res = (struct peri_response){0};
}

static void may_be_called_off_from_inside_every_event(void **state)
{
    (void)state;
    static const enum event events[] = {ON_READY, ON_INTERIM, ON_HEAD, ON_BODY, ON_DRAIN};
    static char large[200000];
    for (unsigned i = 0; i < 2 * PERI_COUNT(events); i++) {
        try_free(&t);
        try_open(&t);
        call_off_at = events[i / 2];
        calls_off_twice = i % 2;
        t.react = call_off;
        try_with_body(&t, PERI_LENGTH_UNKNOWN);
        peri_attempt_start(&t.attempt);
        settle(world.loop);
        if (!t.is_over) {
            peri_stream_read_stop(world.origins[i].stream);
            peri_attempt_send_body(&t.attempt, peri_slice(large, sizeof(large)));
            settle(world.loop);
            peri_stream_read_start(world.origins[i].stream);
            settle(world.loop);
        }
        if (!t.is_over)
            memory_peer_send(
                &world.origins[i],
                "HTTP/1.1 103 Early Hints\r\nx: 1\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
                "1\r\na\r\n1\r\nb\r\n0\r\nx: y\r\n\r\n");
        assert_true(t.is_over);
        assert_int_equal(t.err, PERI_OK);
        assert_true(world.origins[i].is_ended);
        assert_int_equal(peri_pool_idle(world.pool), 0);
    }
}

static void may_be_called_off_at_any_time_in_between(void **state)
{
    (void)state;
    static const char response[] =
        "HTTP/1.1 103 Early Hints\r\nx: 1\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
        "1\r\na\r\n1\r\nb\r\n0\r\nx: y\r\n\r\n";
    for (size_t len = 0; len < sizeof(response) - 1; len++) {
        world_close(state);
        world_open(state);
        try_free(&t);
        try_open(&t);
        peri_attempt_start(&t.attempt);
        if (len > 0)
            settle(world.loop);
        if (len > 1)
            memory_peer_put(origin, peri_slice(response, len));
        for (size_t turns = len % 3; turns > 0; turns--)
            peri_loop_turn(world.loop);
        if (!t.is_over)
            try_cancel(&t);
        settle(world.loop);
        assert_int_equal(t.err, PERI_OK);
        assert_int_equal(peri_pool_idle(world.pool), 0);
    }
}

static void start_another(struct try *it, enum event event)
{
    if (it == &t && (event == ON_END || event == ON_ERROR))
        peri_attempt_start(&u.attempt);
}

static void may_start_another_attempt_from_inside_its_end(void **state)
{
    (void)state;
    t.react = start_another;
    try_start(&t);
    memory_peer_send(origin, "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx");
    assert_string_equal(t.log, "ready head(200,1) end ");
    assert_string_equal(u.log, "ready(reused) ");
    assert_int_equal(world.count, 1);
    memory_peer_send(origin, "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\ny");
    assert_string_equal(u.body, "y");
}

static void may_start_another_attempt_from_inside_its_error(void **state)
{
    (void)state;
    t.react = start_another;
    try_start(&t);
    memory_peer_close(origin);
    assert_string_equal(t.log, "ready error(upstream_reset) ");
    assert_string_equal(u.log, "ready ");
    memory_peer_send(&world.origins[1], "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\ny");
    assert_string_equal(u.body, "y");
}

static void answer_when_ready(struct try *it, enum event event)
{
    if (event == ON_READY && !it->attempt.has_no_body) {
        peri_attempt_send_body(&it->attempt, PERI_SLICE("abc"));
        peri_attempt_send_end(&it->attempt, NULL);
    }
}

static void loses_nothing_when_memory_is_out(void **state)
{
    char value[5000];
    memset(value, 'v', sizeof(value));
    unsigned n = 1;
    for (;; n++) {
        assert_true(n < 300);
        try_free(&t);
        world_close(state);
        world_open(state);
        try_open(&t);
        t.react = answer_when_ready;
        try_with_body(&t, PERI_LENGTH_UNKNOWN);
        for (unsigned i = 0; i < 4; i++)
            peri_headers_add(&t.req.headers, PERI_SLICE("x-large"), peri_slice(value, sizeof(value)));
        fail_alloc_at(n);
        peri_attempt_start(&t.attempt);
        settle(world.loop);
        if (world.count > 0 && origin->stream)
            memory_peer_send(
                origin, "HTTP/1.1 200 OK\r\nx: y\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx: y\r\n\r\n");
        bool has_failed = fail_alloc_stop();
        settle(world.loop);
        if (!has_failed)
            break;
        if (world.count > 0)
            memory_peer_close(origin);
        assert_true(t.is_over);
    }
    assert_true(n > 5);
    assert_string_equal(t.log, "ready head(200,-2) end ");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)
    const struct CMUnitTest tests[] = {
        TEST(sends_a_request_and_reads_the_response),
        TEST(sends_bodies_by_length_in_chunks_and_their_trailers),
        TEST(says_that_a_post_has_no_body),
        TEST(reads_chunks_trailers_and_bodies_that_end_with_the_connection),
        TEST(reads_no_body_where_there_is_none),
        TEST(passes_interim_responses_on_before_the_head),
        TEST(bounds_interim_responses),
        TEST(becomes_a_tunnel_when_it_was_asked_for),
        TEST(takes_no_tunnel_that_nobody_asked_for),
        TEST(refuses_responses_that_are_not_what_they_seem),
        TEST(bounds_the_head_of_a_response),
        TEST(says_how_a_response_broke_off),
        TEST(takes_a_broken_connection_for_no_end_of_a_body),
        TEST(reports_a_refused_connection_from_the_loop),
        TEST(may_be_called_off_before_a_refused_connection_is_reported),
        TEST(does_not_reuse_a_connection_when_the_response_says_so_or_leaves_bytes),
        TEST(closes_the_connection_when_the_response_comes_before_the_request_is_sent),
        TEST(lets_a_request_be_sent_on_while_the_response_already_comes),
        TEST(tells_of_a_slow_upstream),
        TEST(stops_reading_while_it_is_paused),
        TEST(gives_no_paused_connection_back_to_the_pool),
        TEST(may_be_called_off_from_inside_every_event),
        TEST(may_be_called_off_at_any_time_in_between),
        TEST(may_start_another_attempt_from_inside_its_end),
        TEST(may_start_another_attempt_from_inside_its_error),
        TEST(loses_nothing_when_memory_is_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
