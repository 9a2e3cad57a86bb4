// SPDX-License-Identifier: MIT
// HTTP/2: a client and a server joined back to back, and a server that is told frames which no client of ours would send.
#include "codec/h2.h"

#include <nghttp2/nghttp2.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"

#define EXCHANGES 1200

// One request and its response, on one side.
struct message {
    struct peri_h2_stream *stream;
    struct peri_arena arena;
    struct peri_request req;
    struct peri_response res;
    char body[256];
    size_t body_len; ///< all that came, kept or not
    int interims;
    int heads, ends, resets, drains;
    peri_err_t err;
};

static struct peri_h2 *client, *server;
static struct message asked[EXCHANGES], served[EXCHANGES];
static unsigned asked_count, served_count;
static uint64_t now_ms;
static bool reads_slowly; ///< the server pauses every stream that begins
static bool refuses;
static struct peri_slice raw; ///< what the server said to raw frames
static char raw_bytes[1 << 20];

static void message_init(struct message *m)
{
    *m = (struct message){0};
    peri_arena_init(&m->arena, 1 << 20);
    peri_headers_init(&m->req.headers, &m->arena);
    peri_headers_init(&m->req.trailers, &m->arena);
    peri_headers_init(&m->res.headers, &m->arena);
    peri_headers_init(&m->res.trailers, &m->arena);
}

static bool on_begin(struct peri_h2_stream *stream)
{
    if (refuses || served_count == EXCHANGES)
        return false;
    struct message *m = &served[served_count++];
    message_init(m);
    m->stream = stream;
    peri_h2_stream_set_request(stream, m, &m->req);
    return true;
}

static void on_head(struct peri_h2_stream *stream, bool ends)
{
    struct message *m = stream->data;
    m->heads++;
    m->ends += ends;
    if (reads_slowly && stream->req)
        peri_h2_pause(stream, true);
}

static void on_interim(struct peri_h2_stream *stream, int status, const struct peri_headers *headers)
{
    struct message *m = stream->data;
    (void)headers;
    m->interims += status;
}

static void on_body(struct peri_h2_stream *stream, struct peri_slice data)
{
    struct message *m = stream->data;
    for (size_t i = 0; i < data.len && m->body_len + i + 1 < sizeof(m->body); i++)
        m->body[m->body_len + i] = data.ptr[i];
    m->body_len += data.len;
}

static void on_end(struct peri_h2_stream *stream)
{
    ((struct message *)stream->data)->ends++;
}

static void on_drain(struct peri_h2_stream *stream)
{
    ((struct message *)stream->data)->drains++;
}

static void on_reset(struct peri_h2_stream *stream, peri_err_t err)
{
    struct message *m = stream->data;
    m->resets++;
    m->err = err;
    m->stream = NULL;
}

static void on_output(struct peri_h2 *h2)
{
    (void)h2;
}

static const struct peri_h2_events events = {
    .on_begin = on_begin,
    .on_head = on_head,
    .on_interim = on_interim,
    .on_body = on_body,
    .on_end = on_end,
    .on_drain = on_drain,
    .on_reset = on_reset,
    .on_output = on_output,
};

static const struct peri_h2_limits limits = {.header_bytes = 8192, .headers = 50, .streams = 100};

static int open_both(void **state)
{
    (void)state;
    asked_count = served_count = 0;
    now_ms = 1000000;
    reads_slowly = refuses = false;
    client = peri_h2_new(PERI_H2_CLIENT, &limits, &events, NULL);
    server = peri_h2_new(PERI_H2_SERVER, &limits, &events, NULL);
    return client && server ? 0 : -1;
}

static int close_both(void **state)
{
    (void)state;
    peri_h2_free(client);
    peri_h2_free(server);
    for (unsigned i = 0; i < asked_count; i++)
        peri_arena_close(&asked[i].arena);
    for (unsigned i = 0; i < served_count; i++)
        peri_arena_close(&served[i].arena);
    return 0;
}

static bool carry(struct peri_h2 *from, struct peri_h2 *to)
{
    bool has_moved = false;
    struct peri_slice bytes;
    peri_h2_deliver(from);
    while ((bytes = peri_h2_pull(from)).len > 0) {
        has_moved = true;
        peri_h2_feed(to, bytes, now_ms);
    }
    return has_moved;
}

static void settle(void)
{
    for (int round = 0; round < 100000; round++) {
        bool moved = carry(client, server);
        if (!carry(server, client) && !moved)
            return;
    }
    fail_msg("it does not come to rest");
}

static struct message *ask_with(const char *method, const char *path, int64_t length, struct message *m)
{
    m->req.method_name = peri_slice_from(method);
    m->req.method = peri_method_parse(m->req.method_name);
    m->req.scheme = PERI_SLICE("http");
    m->req.authority = PERI_SLICE("shop.test");
    const char *query = strchr(path, '?');
    m->req.path = peri_slice(path, query ? (size_t)(query - path) : strlen(path));
    m->req.query = peri_slice_from(query ? query + 1 : NULL);
    m->req.content_length = length;
    m->stream = peri_h2_open(client, m, &m->req, &m->res, length == PERI_LENGTH_NONE);
    return m;
}

static struct message *new_ask(void)
{
    struct message *m = &asked[asked_count++];
    message_init(m);
    return m;
}

static struct message *ask(const char *method, const char *path, int64_t length)
{
    struct message *m = ask_with(method, path, length, new_ask());
    assert_non_null(m->stream);
    return m;
}

static void answer(struct message *m, int status, const char *body)
{
    m->res.status = status;
    m->res.content_length = body ? (int64_t)strlen(body) : PERI_LENGTH_NONE;
    peri_h2_send_head(m->stream, &m->res, !body);
    if (body) {
        peri_h2_send_body(m->stream, peri_slice_from(body));
        peri_h2_send_end(m->stream, &m->res.trailers);
    }
}

static void let_go(struct message *m)
{
    if (m->stream)
        peri_h2_release(m->stream);
    m->stream = NULL;
}

static void carries_a_request_and_its_response(void **state)
{
    (void)state;
    struct message *a = new_ask();
    peri_headers_add(&a->req.headers, PERI_SLICE("x-test"), PERI_SLICE("1"));
    ask_with("POST", "/orders?id=1", 5, a);
    peri_h2_send_body(a->stream, PERI_SLICE("hello"));
    peri_h2_send_end(a->stream, NULL);
    settle();
    assert_int_equal(served_count, 1);
    struct message *s = &served[0];
    assert_int_equal(s->req.method, PERI_METHOD_POST);
    assert_true(peri_slice_eq(s->req.target, PERI_SLICE("/orders?id=1")));
    assert_true(peri_slice_eq(s->req.authority, PERI_SLICE("shop.test")));
    assert_true(peri_slice_eq(peri_headers_get(&s->req.headers, PERI_H_HOST), PERI_SLICE("shop.test")));
    assert_non_null(peri_headers_find_name(&s->req.headers, PERI_SLICE("x-test"), 0, NULL));
    assert_int_equal(s->req.content_length, 5);
    assert_string_equal(s->body, "hello");
    assert_int_equal(s->ends, 1);
    peri_headers_add(&s->res.trailers, PERI_SLICE("grpc-status"), PERI_SLICE("0"));
    answer(s, 201, "made");
    let_go(s);
    settle();
    assert_int_equal(a->res.status, 201);
    assert_int_equal(a->res.content_length, 4);
    assert_string_equal(a->body, "made");
    assert_int_equal(a->ends, 1);
    assert_non_null(peri_headers_find_name(&a->res.trailers, PERI_SLICE("grpc-status"), 0, NULL));
    let_go(a);
    assert_int_equal(peri_h2_stream_count(client), 0);
    assert_int_equal(peri_h2_stream_count(server), 0);
}

static void carries_request_trailers(void **state)
{
    (void)state;
    struct message *a = ask("POST", "/", PERI_LENGTH_UNKNOWN);
    peri_headers_add(&a->req.trailers, PERI_SLICE("x-sum"), PERI_SLICE("9"));
    peri_h2_send_body(a->stream, PERI_SLICE("abc"));
    peri_h2_send_end(a->stream, &a->req.trailers);
    settle();
    assert_int_equal(served[0].ends, 1);
    assert_non_null(peri_headers_find_name(&served[0].req.trailers, PERI_SLICE("x-sum"), 0, NULL));
    answer(&served[0], 204, NULL);
    let_go(&served[0]);
    settle();
    assert_int_equal(a->res.status, 204);
    assert_int_equal(a->ends, 1);
    let_go(a);
}

static void tells_interim_responses(void **state)
{
    (void)state;
    struct message *a = ask("GET", "/", PERI_LENGTH_NONE);
    settle();
    peri_h2_send_interim(served[0].stream, 103, NULL);
    settle();
    assert_int_equal(a->interims, 103);
    assert_int_equal(a->heads, 0);
    answer(&served[0], 200, "x");
    let_go(&served[0]);
    settle();
    assert_int_equal(a->res.status, 200);
    let_go(a);
}

static void holds_back_what_a_slow_reader_does_not_take(void **state)
{
    (void)state;
    static char bytes[200000];
    reads_slowly = true;
    struct message *slow = ask("POST", "/slow", PERI_LENGTH_UNKNOWN);
    assert_false(peri_h2_send_body(slow->stream, peri_slice(bytes, sizeof(bytes))));
    peri_h2_send_end(slow->stream, NULL);
    settle();
    assert_int_equal(served[0].body_len, 0);
    assert_true(slow->stream->out.body.len >= sizeof(bytes) - 65536);
    reads_slowly = false;
    struct message *fast = ask("POST", "/fast", PERI_LENGTH_UNKNOWN);
    peri_h2_send_body(fast->stream, peri_slice(bytes, sizeof(bytes)));
    peri_h2_send_end(fast->stream, NULL);
    settle();
    assert_int_equal(served[1].body_len, sizeof(bytes));
    assert_int_equal(served[1].ends, 1);
    assert_int_equal(served[0].ends, 0);
    peri_h2_pause(served[0].stream, false);
    settle();
    assert_int_equal(served[0].body_len, sizeof(bytes));
    assert_int_equal(served[0].ends, 1);
    assert_int_equal(slow->drains, 1);
}

static void tells_nobody_that_what_was_left_behind_has_drained(void **state)
{
    (void)state;
    static char bytes[200000];
    struct message *a = ask("GET", "/", PERI_LENGTH_NONE);
    settle();
    struct message *m = &served[0];
    m->res.status = 200;
    m->res.content_length = sizeof(bytes);
    peri_h2_send_head(m->stream, &m->res, false);
    assert_false(peri_h2_send_body(m->stream, peri_slice(bytes, sizeof(bytes))));
    peri_h2_send_end(m->stream, NULL);
    let_go(m);
    settle();
    assert_int_equal(m->drains, 0);
    assert_int_equal(a->body_len, sizeof(bytes));
    assert_int_equal(a->ends, 1);
}

static void keeps_a_complete_response_for_a_slow_reader(void **state)
{
    (void)state;
    struct message *a = ask("GET", "/", PERI_LENGTH_NONE);
    settle();
    peri_h2_pause(a->stream, true);
    answer(&served[0], 200, "to be read later");
    let_go(&served[0]);
    settle();
    assert_int_equal(a->body_len, 0);
    assert_int_equal(a->ends, 0);
    peri_h2_pause(a->stream, false);
    settle();
    assert_string_equal(a->body, "to be read later");
    assert_int_equal(a->ends, 1);
    assert_int_equal(a->resets, 0);
    let_go(a);
    assert_int_equal(peri_h2_stream_count(client), 0);
}

static void stops_an_upload_after_an_early_response(void **state)
{
    (void)state;
    static char bytes[300000];
    struct message *a = ask("POST", "/", PERI_LENGTH_UNKNOWN);
    peri_h2_send_body(a->stream, peri_slice(bytes, sizeof(bytes)));
    reads_slowly = true;
    settle();
    answer(&served[0], 403, "no");
    let_go(&served[0]);
    settle();
    assert_int_equal(a->res.status, 403);
    assert_string_equal(a->body, "no");
    assert_int_equal(a->ends, 1);
    let_go(a);
    settle();
    assert_int_equal(peri_h2_stream_count(client), 0);
    assert_int_equal(peri_h2_stream_count(server), 0);
}

static void tells_the_server_of_a_reset(void **state)
{
    (void)state;
    struct message *a = ask("POST", "/", PERI_LENGTH_UNKNOWN);
    settle();
    peri_h2_reset(a->stream, PERI_OK);
    a->stream = NULL;
    settle();
    assert_int_equal(served[0].resets, 1);
    assert_int_equal(served[0].err, PERI_ERR_CLOSED);
    assert_int_equal(a->resets, 0);
}

static void tells_the_client_of_a_reset(void **state)
{
    (void)state;
    struct message *a = ask("POST", "/", PERI_LENGTH_UNKNOWN);
    settle();
    peri_h2_reset(served[0].stream, PERI_ERR_UPSTREAM_RESET);
    served[0].stream = NULL;
    settle();
    assert_int_equal(a->resets, 1);
    assert_int_equal(a->err, PERI_ERR_CLOSED);
}

static void says_when_a_request_was_not_looked_at(void **state)
{
    (void)state;
    refuses = true;
    struct message *a = ask("GET", "/", PERI_LENGTH_NONE);
    settle();
    assert_int_equal(a->resets, 1);
    assert_int_equal(a->err, PERI_ERR_AGAIN);
}

static void lets_streams_finish_while_it_drains(void **state)
{
    (void)state;
    struct message *a = ask("GET", "/", PERI_LENGTH_NONE);
    settle();
    peri_h2_drain(server, false);
    settle();
    assert_true(peri_h2_is_going(client));
    peri_h2_drain(server, true);
    settle();
    assert_false(peri_h2_is_over(server));
    answer(&served[0], 200, "bye");
    let_go(&served[0]);
    settle();
    assert_string_equal(a->body, "bye");
    let_go(a);
    assert_true(peri_h2_is_over(server));
}

static void joins_the_crumbs_of_a_cookie(void **state)
{
    (void)state;
    struct message *a = new_ask();
    peri_headers_add(&a->req.headers, PERI_SLICE("cookie"), PERI_SLICE("a=1"));
    peri_headers_add(&a->req.headers, PERI_SLICE("cookie"), PERI_SLICE("b=2"));
    ask_with("GET", "/", PERI_LENGTH_NONE, a);
    settle();
    assert_true(peri_slice_eq(peri_headers_get(&served[0].req.headers, PERI_H_COOKIE), PERI_SLICE("a=1; b=2")));
}

static void refuses_heads_that_are_too_large(void **state)
{
    (void)state;
    static char big[9000];
    memset(big, 'x', sizeof(big) - 1);
    struct message *a = new_ask();
    peri_headers_add(&a->req.headers, PERI_SLICE("x-big"), peri_slice_from(big));
    ask_with("GET", "/", PERI_LENGTH_NONE, a);
    struct message *many = new_ask();
    for (int i = 0; i < 60; i++)
        peri_headers_add(&many->req.headers, PERI_SLICE("cookie"), PERI_SLICE("a=1"));
    ask_with("GET", "/", PERI_LENGTH_NONE, many);
    settle();
    assert_int_equal(a->resets, 1);
    assert_int_equal(many->resets, 1);
    assert_int_equal(served[0].heads + served[1].heads, 0);
    assert_int_equal(served[0].err, PERI_ERR_HEADERS_TOO_LARGE);
    struct message *next = ask("GET", "/", PERI_LENGTH_NONE); // the compression state is still that of the peer
    settle();
    assert_int_equal(served[2].heads, 1);
    assert_int_equal(next->resets, 0);
}

static void opens_tunnels_for_websocket(void **state)
{
    (void)state;
    struct message *first = ask("GET", "/", PERI_LENGTH_NONE);
    settle(); // the server's settings have arrived
    assert_true(peri_h2_has_connect_protocol(client));
    (void)first;
    struct message *a = new_ask();
    a->req.upgrade = PERI_SLICE("websocket");
    ask_with("GET", "/chat", PERI_LENGTH_NONE, a);
    settle();
    struct message *s = &served[1];
    assert_true(peri_slice_eq(s->req.upgrade, PERI_SLICE("websocket")));
    assert_int_equal(s->req.method, PERI_METHOD_GET);
    s->res.status = 101;
    s->res.content_length = PERI_LENGTH_NONE;
    peri_h2_send_head(s->stream, &s->res, false);
    settle();
    assert_int_equal(a->res.status, 101);
    assert_true(a->res.is_upgrade);
    peri_h2_send_body(a->stream, PERI_SLICE("ping"));
    peri_h2_send_body(s->stream, PERI_SLICE("pong"));
    settle();
    assert_string_equal(s->body, "ping");
    assert_string_equal(a->body, "pong");
    peri_h2_send_end(a->stream, NULL);
    settle();
    assert_int_equal(s->ends, 1);
    assert_int_equal(a->ends, 0);
}

static void runs_a_hundred_streams_at_once(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++)
        ask("GET", "/", PERI_LENGTH_NONE);
    settle();
    assert_int_equal(served_count, 100);
    assert_false(peri_h2_can_open(client));
    for (int i = 99; i >= 0; i--) {
        answer(&served[i], 200, "x");
        let_go(&served[i]);
    }
    settle();
    for (int i = 0; i < 100; i++) {
        assert_int_equal(asked[i].ends, 1);
        let_go(&asked[i]);
    }
    assert_true(peri_h2_can_open(client));
}

// ---- raw frames ----

static peri_err_t feed(const void *bytes, size_t len)
{
    peri_err_t err = peri_h2_feed(server, peri_slice(bytes, len), now_ms);
    struct peri_slice out;
    size_t total = 0;
    peri_h2_deliver(server);
    while ((out = peri_h2_pull(server)).len > 0 && total + out.len < sizeof(raw_bytes)) {
        memcpy(raw_bytes + total, out.ptr, out.len);
        total += out.len;
    }
    raw = peri_slice(raw_bytes, total);
    return err;
}

static void frame_head(uint8_t *at, size_t len, uint8_t type, uint8_t flags, uint32_t id)
{
    uint8_t head[9] = {(uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len,       type,       flags,
                       (uint8_t)(id >> 24),  (uint8_t)(id >> 16), (uint8_t)(id >> 8), (uint8_t)id};
    memcpy(at, head, sizeof(head));
}

static peri_err_t frame(uint8_t type, uint8_t flags, uint32_t id, const void *payload, size_t len)
{
    uint8_t bytes[9 + 1024];
    frame_head(bytes, len, type, flags, id);
    memcpy(bytes + 9, payload, len);
    return feed(bytes, 9 + len);
}

static void greet(void)
{
    feed(PERI_H2_PREFACE, sizeof(PERI_H2_PREFACE) - 1);
    assert_int_equal(frame(NGHTTP2_SETTINGS, 0, 0, "", 0), PERI_OK);
}

// GET http shop.test /, by the static table and one literal.
static const uint8_t GET_BLOCK[] = {0x82, 0x86, 0x84, 0x41, 9, 's', 'h', 'o', 'p', '.', 't', 'e', 's', 't'};

static peri_err_t raw_get(uint32_t id, bool ends)
{
    return frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | (ends ? NGHTTP2_FLAG_END_STREAM : 0), id, GET_BLOCK,
                 sizeof(GET_BLOCK));
}

// Error code of the GOAWAY that the server said last; -1 for none.
static int64_t goaway_code(void)
{
    int64_t code = -1;
    for (size_t at = 0; at + 9 <= raw.len;) {
        const uint8_t *f = (const uint8_t *)raw.ptr + at;
        size_t len = (size_t)f[0] << 16 | (size_t)f[1] << 8 | f[2];
        if (f[3] == NGHTTP2_GOAWAY)
            code = (int64_t)((uint32_t)f[13] << 24 | (uint32_t)f[14] << 16 | (uint32_t)f[15] << 8 | f[16]);
        at += 9 + len;
    }
    return code;
}

static void ends_on_data_for_a_closed_stream(void **state)
{
    (void)state;
    greet();
    raw_get(1, true);
    answer(&served[0], 200, "x");
    let_go(&served[0]);
    feed("", 0);
    assert_int_equal(frame(NGHTTP2_DATA, 0, 1, "late", 4), PERI_ERR_BAD_REQUEST);
    assert_int_equal(goaway_code(), NGHTTP2_STREAM_CLOSED);
    assert_true(peri_h2_is_over(server));
}

static void ends_on_headers_for_a_closed_stream(void **state)
{
    (void)state;
    greet();
    raw_get(1, true);
    answer(&served[0], 200, "x");
    let_go(&served[0]);
    feed("", 0);
    assert_int_equal(raw_get(1, true), PERI_ERR_BAD_REQUEST);
    assert_int_equal(goaway_code(), NGHTTP2_STREAM_CLOSED);
}

static void ends_on_frames_behind_the_clients_own_reset(void **state)
{
    (void)state;
    greet();
    raw_get(1, false);
    frame(NGHTTP2_RST_STREAM, 0, 1, "\0\0\0\x8", 4);
    assert_int_equal(served[0].resets, 1);
    assert_int_equal(frame(NGHTTP2_DATA, 0, 1, "late", 4), PERI_ERR_BAD_REQUEST);
    assert_int_equal(goaway_code(), NGHTTP2_STREAM_CLOSED);
}

static void forgives_frames_behind_its_own_reset(void **state)
{
    (void)state;
    greet();
    raw_get(1, false);
    peri_h2_reset(served[0].stream, PERI_ERR_POLICY);
    feed("", 0);
    assert_int_equal(frame(NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 1, "late", 4), PERI_OK);
    assert_int_equal(raw_get(3, true), PERI_OK);
    assert_int_equal(served[1].heads, 1);
}

static void ends_on_stream_ids_that_go_down(void **state)
{
    (void)state;
    greet();
    raw_get(5, true);
    assert_int_equal(raw_get(3, true), PERI_ERR_BAD_REQUEST);
    assert_int_equal(goaway_code(), NGHTTP2_PROTOCOL_ERROR);
}

static void ends_a_rapid_reset(void **state)
{
    (void)state;
    greet();
    unsigned id = 1;
    for (; id < 2 * 1100; id += 2) {
        if (raw_get(id, true) != PERI_OK || frame(NGHTTP2_RST_STREAM, 0, id, "\0\0\0\x8", 4) != PERI_OK)
            break;
    }
    assert_true(id / 2 <= 500);
    assert_int_equal(goaway_code(), NGHTTP2_ENHANCE_YOUR_CALM);
}

static void counts_resets_that_the_client_made_us_send(void **state)
{
    (void)state;
    uint8_t block[sizeof(GET_BLOCK) + 5];
    unsigned id = 1;
    memcpy(block, GET_BLOCK, sizeof(GET_BLOCK));
    memcpy(block + sizeof(GET_BLOCK), "\0\1X\1y", 5); // a field that no message may have
    greet();
    for (; id < 2 * 1100; id += 2)
        if (frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, id, block, sizeof(block)) != PERI_OK || goaway_code() >= 0)
            break;
    assert_true(id / 2 <= 501);
    assert_int_equal(goaway_code(), NGHTTP2_ENHANCE_YOUR_CALM);
}

static void ends_on_window_updates_of_nothing(void **state)
{
    (void)state;
    greet();
    raw_get(1, false);
    assert_int_equal(frame(NGHTTP2_WINDOW_UPDATE, 0, 1, "\0\0\0\0", 4), PERI_ERR_BAD_REQUEST);
    assert_int_equal(goaway_code(), NGHTTP2_PROTOCOL_ERROR);
}

static void lets_old_streams_be_reset(void **state)
{
    (void)state;
    greet();
    for (unsigned id = 1; id < 2 * 1100; id += 2) {
        assert_int_equal(raw_get(id, true), PERI_OK);
        now_ms += 2000;
        assert_int_equal(frame(NGHTTP2_RST_STREAM, 0, id, "\0\0\0\x8", 4), PERI_OK);
    }
}

static unsigned count_until_ended(uint8_t type, uint8_t flags, uint32_t id, const void *payload, size_t len,
                                  unsigned most)
{
    for (unsigned n = 0; n < most; n++)
        if (frame(type, flags, id, payload, len) != PERI_OK)
            return n;
    return most;
}

static void ends_floods_of_control_frames(void **state)
{
    (void)state;
    struct {
        uint8_t type, flags;
        uint32_t id;
        const char *payload;
        size_t len;
        unsigned most;
    } floods[] = {
        {NGHTTP2_PING, 0, 0, "12345678", 8, 1001},
        {NGHTTP2_SETTINGS, 0, 0, "", 0, 1001},
        {NGHTTP2_PRIORITY, 0, 1, "\0\0\0\0\x10", 5, 101},
        {NGHTTP2_WINDOW_UPDATE, 0, 0, "\0\0\0\x1", 4, 6},
        {0xfe, 0, 0, "", 0, 1001},
    };
    for (size_t i = 0; i < sizeof(floods) / sizeof(*floods); i++) {
        greet();
        unsigned n =
            count_until_ended(floods[i].type, floods[i].flags, floods[i].id, floods[i].payload, floods[i].len, 5000);
        if (n > floods[i].most)
            fail_msg("flood %zu ended after %u frames", i, n);
        assert_int_equal(goaway_code(), NGHTTP2_ENHANCE_YOUR_CALM);
        close_both(NULL);
        open_both(NULL);
    }
}

static void lets_pings_come_at_a_sane_pace(void **state)
{
    (void)state;
    greet();
    for (int i = 0; i < 5000; i++, now_ms += 100)
        assert_int_equal(frame(NGHTTP2_PING, 0, 0, "12345678", 8), PERI_OK);
}

static void ends_empty_frames_in_a_row(void **state)
{
    (void)state;
    greet();
    raw_get(1, false);
    assert_int_equal(frame(NGHTTP2_DATA, 0, 1, "", 0), PERI_OK);
    assert_int_equal(frame(NGHTTP2_DATA, 0, 1, "", 0), PERI_ERR_LIMIT);
}

static void ends_a_header_block_without_end(void **state)
{
    (void)state;
    greet();
    peri_err_t err = frame(NGHTTP2_HEADERS, 0, 1, GET_BLOCK, sizeof(GET_BLOCK));
    unsigned n = 0;
    static const uint8_t field[] = {0x00, 1, 'a', 1, 'b'};
    for (; n < 1000 && err == PERI_OK && !peri_h2_is_over(server); n++)
        err = frame(NGHTTP2_CONTINUATION, 0, 1, field, sizeof(field));
    assert_true(n < 20);
}

static void refuses_what_http_1_would_misread(void **state)
{
    (void)state;
    static const struct {
        const char *name, *value;
    } bad[] = {
        {"transfer-encoding", "chunked"},
        {"connection", "close"},
        {"upgrade", "h2c"},
        {"x-a", "1\r\nx-b: 2"},
        {"X-Upper", "1"},
        {"x-a ", "1"},
        {"host", "other"},
        {"content-length", "7"},
        {"x-a", "a\nb"},
        {"proxy-connection", "x"},
        {"x:y", "1"},
        {"te", "gzip"},
        {"x_under", "1"},
        {"content-length", "-1"},
        {"content-length", "1, 1"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        uint8_t block[200];
        size_t n = sizeof(GET_BLOCK);
        memcpy(block, GET_BLOCK, n);
        block[n++] = 0;
        block[n++] = (uint8_t)strlen(bad[i].name);
        memcpy(block + n, bad[i].name, strlen(bad[i].name));
        n += strlen(bad[i].name);
        block[n++] = (uint8_t)strlen(bad[i].value);
        memcpy(block + n, bad[i].value, strlen(bad[i].value));
        n += strlen(bad[i].value);
        greet();
        frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, 1, block, n);
        bool is_passed =
            served_count > 0 && served[0].heads > 0 && served[0].stream && served[0].stream->block.err == PERI_OK;
        if (is_passed)
            fail_msg("%s: %s was passed on", bad[i].name, bad[i].value);
        close_both(NULL);
        open_both(NULL);
    }
}

static void refuses_a_body_of_another_length(void **state)
{
    (void)state;
    struct message *a = ask("POST", "/", 10);
    peri_h2_send_body(a->stream, PERI_SLICE("short"));
    peri_h2_send_end(a->stream, NULL);
    settle();
    assert_int_equal(served[0].ends, 0);
    assert_int_equal(served[0].resets, 1);
}

static void survives_bytes_that_are_not_http_2(void **state)
{
    (void)state;
    assert_int_not_equal(feed("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 27), PERI_OK);
    assert_true(peri_h2_is_over(server));
}

int main(void)
{
#define H2_TEST(name) cmocka_unit_test_setup_teardown(name, open_both, close_both)
    const struct CMUnitTest tests[] = {
        H2_TEST(carries_a_request_and_its_response),
        H2_TEST(carries_request_trailers),
        H2_TEST(tells_interim_responses),
        H2_TEST(holds_back_what_a_slow_reader_does_not_take),
        H2_TEST(tells_nobody_that_what_was_left_behind_has_drained),
        H2_TEST(keeps_a_complete_response_for_a_slow_reader),
        H2_TEST(stops_an_upload_after_an_early_response),
        H2_TEST(tells_the_server_of_a_reset),
        H2_TEST(tells_the_client_of_a_reset),
        H2_TEST(says_when_a_request_was_not_looked_at),
        H2_TEST(lets_streams_finish_while_it_drains),
        H2_TEST(joins_the_crumbs_of_a_cookie),
        H2_TEST(refuses_heads_that_are_too_large),
        H2_TEST(opens_tunnels_for_websocket),
        H2_TEST(runs_a_hundred_streams_at_once),
        H2_TEST(ends_on_data_for_a_closed_stream),
        H2_TEST(ends_on_headers_for_a_closed_stream),
        H2_TEST(ends_on_frames_behind_the_clients_own_reset),
        H2_TEST(forgives_frames_behind_its_own_reset),
        H2_TEST(ends_on_stream_ids_that_go_down),
        H2_TEST(ends_a_rapid_reset),
        H2_TEST(counts_resets_that_the_client_made_us_send),
        H2_TEST(ends_on_window_updates_of_nothing),
        H2_TEST(lets_old_streams_be_reset),
        H2_TEST(ends_floods_of_control_frames),
        H2_TEST(lets_pings_come_at_a_sane_pace),
        H2_TEST(ends_empty_frames_in_a_row),
        H2_TEST(ends_a_header_block_without_end),
        H2_TEST(refuses_what_http_1_would_misread),
        H2_TEST(refuses_a_body_of_another_length),
        H2_TEST(survives_bytes_that_are_not_http_2),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
