// SPDX-License-Identifier: MIT
// Writing heads, chunks and trailers: the exact bytes, never more than was announced, and what was read is written as it was.
#include "h1_trace.h"

#include <setjmp.h>

#include <cmocka.h>

static struct peri_arena arena;
static struct peri_request req;
static struct peri_response res;

static int open_messages(void **state)
{
    (void)state;
    peri_arena_init(&arena, 8 << 20);
    req = (struct peri_request){
        .method_name = PERI_SLICE("GET"), .authority = PERI_SLICE("a"), .path = PERI_SLICE("/"), .content_length = -1};
    res = (struct peri_response){.status = 200, .content_length = -1};
    peri_headers_init(&req.headers, &arena);
    peri_headers_init(&res.headers, &arena);
    peri_headers_init(&res.trailers, &arena);
    return 0;
}

static int close_messages(void **state)
{
    (void)state;
    peri_arena_close(&arena);
    return 0;
}

/// Writes into a block of exactly the announced size; AddressSanitizer sees one byte more.
static char *written_request(struct peri_h1_head head)
{
    size_t size = peri_h1_request_size(&req);
    char *text = malloc(size);
    char *end = peri_h1_write_request(text, &req, &head);
    assert_true((size_t)(end - text) <= size);
    char *copy = malloc((size_t)(end - text) + 1);
    memcpy(copy, text, (size_t)(end - text));
    copy[end - text] = 0;
    free(text);
    return copy;
}

static char *written_response(struct peri_h1_head head)
{
    size_t size = peri_h1_response_size(&res);
    char *text = malloc(size);
    char *end = peri_h1_write_response(text, &res, &head);
    assert_true((size_t)(end - text) <= size);
    char *copy = malloc((size_t)(end - text) + 1);
    memcpy(copy, text, (size_t)(end - text));
    copy[end - text] = 0;
    free(text);
    return copy;
}

#define WRITES_REQUEST(text, ...)                                                                                      \
    do {                                                                                                               \
        char *got = written_request((struct peri_h1_head){__VA_ARGS__});                                               \
        assert_string_equal(got, text);                                                                                \
        free(got);                                                                                                     \
    } while (0)

#define WRITES_RESPONSE(text, ...)                                                                                     \
    do {                                                                                                               \
        char *got = written_response((struct peri_h1_head){__VA_ARGS__});                                              \
        assert_string_equal(got, text);                                                                                \
        free(got);                                                                                                     \
    } while (0)

static void writes_requests(void **state)
{
    (void)state;
    WRITES_REQUEST("GET / HTTP/1.1\r\nhost: a\r\n\r\n", .framing = PERI_H1_NO_BODY, .length = -1);
    WRITES_REQUEST("GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n", .framing = PERI_H1_NO_BODY, .length = 0);
    req.query = PERI_SLICE("x=y");
    peri_headers_add(&req.headers, PERI_SLICE("Host"), PERI_SLICE("not this one"));
    peri_headers_add(&req.headers, PERI_SLICE("X-A"), PERI_SLICE("1"));
    peri_headers_add(&req.headers, PERI_SLICE("x-empty"), PERI_SLICE(""));
    WRITES_REQUEST("GET /?x=y HTTP/1.1\r\nhost: a\r\nx-a: 1\r\nx-empty: \r\ntransfer-encoding: chunked\r\n\r\n",
                   .framing = PERI_H1_CHUNKED);
    WRITES_REQUEST("GET /?x=y HTTP/1.1\r\nhost: a\r\nx-a: 1\r\nx-empty: \r\ncontent-length: "
                   "9223372036854775807\r\nconnection: close\r\n\r\n",
                   .framing = PERI_H1_LENGTH, .length = INT64_MAX, .close = true);
    req.upgrade = PERI_SLICE("websocket");
    WRITES_REQUEST(
        "GET /?x=y HTTP/1.1\r\nhost: a\r\nx-a: 1\r\nx-empty: \r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        .framing = PERI_H1_NO_BODY, .length = -1);
}

static void writes_responses(void **state)
{
    (void)state;
    WRITES_RESPONSE("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", .framing = PERI_H1_LENGTH, .length = 5);
    WRITES_RESPONSE("HTTP/1.1 200 OK\r\n\r\n", .framing = PERI_H1_CLOSE, .length = -1);
    WRITES_RESPONSE("HTTP/1.1 200 OK\r\nconnection: keep-alive\r\n\r\n", .framing = PERI_H1_NO_BODY, .length = -1,
                    .say_keep_alive = true);
    WRITES_RESPONSE("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n",
                    .framing = PERI_H1_CHUNKED, .close = true);
    res.status = 999;
    WRITES_RESPONSE("HTTP/1.1 999 Unknown\r\n\r\n", .framing = PERI_H1_NO_BODY, .length = -1);
    res.status = 101;
    res.upgrade = PERI_SLICE("websocket");
    WRITES_RESPONSE("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
                    .framing = PERI_H1_TUNNEL);
}

static void writes_no_framing_but_its_own(void **state)
{
    (void)state;
    static const char *const names[] = {"Content-Length", "transfer-encoding", "connection",      "keep-alive", "te",
                                        "trailer",        "upgrade",           "proxy-connection"};
    peri_headers_add(&res.headers, PERI_SLICE("x-a"), PERI_SLICE("1"));
    for (unsigned i = 0; i < PERI_COUNT(names); i++) {
        peri_headers_add(&res.headers, peri_slice_from(names[i]), PERI_SLICE("7"));
        peri_headers_add(&req.headers, peri_slice_from(names[i]), PERI_SLICE("7"));
        peri_headers_add(&res.trailers, peri_slice_from(names[i]), PERI_SLICE("7"));
    }
    peri_headers_add(&res.headers, PERI_SLICE("x-b"), PERI_SLICE("2"));
    WRITES_RESPONSE("HTTP/1.1 200 OK\r\nx-a: 1\r\nx-b: 2\r\ncontent-length: 5\r\n\r\n", .framing = PERI_H1_LENGTH,
                    .length = 5);
    WRITES_REQUEST("GET / HTTP/1.1\r\nhost: a\r\n\r\n", .framing = PERI_H1_NO_BODY, .length = -1);
    char out[512];
    *peri_h1_write_last(out, &res.trailers) = 0;
    assert_string_equal(out, "0\r\n\r\n");
}

static void never_writes_more_than_it_announced(void **state)
{
    (void)state;
    static const enum peri_h1_framing framings[] = {PERI_H1_NO_BODY, PERI_H1_LENGTH, PERI_H1_CHUNKED, PERI_H1_CLOSE,
                                                    PERI_H1_TUNNEL};
    req.upgrade = res.upgrade = PERI_SLICE("x");
    peri_headers_add(&res.headers, PERI_SLICE("x"), PERI_SLICE(""));
    for (unsigned i = 0; i < PERI_COUNT(framings); i++) {
        struct peri_h1_head head = {.framing = framings[i], .length = INT64_MAX, .say_keep_alive = true};
        free(written_request(head));
        for (res.status = -1; res.status < 1000; res.status++)
            free(written_response(head));
    }
    res.status = INT32_MIN;
    free(written_response((struct peri_h1_head){.framing = PERI_H1_LENGTH, .length = INT64_MAX, .close = true}));
}

static void writes_interim_responses_chunks_and_trailers(void **state)
{
    (void)state;
    char out[256];
    *peri_h1_write_interim(out, 100, NULL) = 0;
    assert_string_equal(out, "HTTP/1.1 100 Continue\r\n\r\n");
    assert_true(strlen(out) <= peri_h1_interim_size(NULL));
    peri_headers_add(&res.trailers, PERI_SLICE("Link"), PERI_SLICE("</a>"));
    *peri_h1_write_interim(out, 103, &res.trailers) = 0;
    assert_string_equal(out, "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n");
    assert_true(strlen(out) <= peri_h1_interim_size(&res.trailers));
    *peri_h1_write_last(out, &res.trailers) = 0;
    assert_string_equal(out, "0\r\nlink: </a>\r\n\r\n");
    assert_true(strlen(out) <= peri_h1_last_size(&res.trailers));
    static const struct {
        size_t len;
        const char *text;
    } rows[] = {{1, "1\r\n"},   {9, "9\r\n"},         {15, "f\r\n"},
                {16, "10\r\n"}, {65536, "10000\r\n"}, {SIZE_MAX, "ffffffffffffffff\r\n"}};
    for (unsigned i = 0; i < PERI_COUNT(rows); i++) {
        *peri_h1_write_chunk(out, rows[i].len) = 0;
        assert_string_equal(out, rows[i].text);
        assert_true(strlen(out) <= PERI_H1_CHUNK_HEAD);
    }
}

// ---- read, changed, written ----

static const char read_head[] =
    "GET /a HTTP/1.1\r\nHost: h\r\nX-One: 1\r\nX-Two:2\r\nX-Three: 3 \r\nConnection: X-Four\r\nX-Four: 4\r\n"
    "X-Empty:\r\nX-Five: 5\r\nX-Six:   6\r\nX-Seven: 7\r\n\r\n";

static void assert_fields_of(struct h1_trace *t, const char *expected)
{
    char *text = malloc(peri_h1_request_size(&t->req) + 1);
    struct peri_h1_head head = {.framing = PERI_H1_NO_BODY, .length = -1};
    t->req.path = t->req.target;
    *peri_h1_write_request(text, &t->req, &head) = 0;
    assert_string_equal(text, expected);
    free(text);
}

static void writes_what_it_read_without_what_ends_here(void **state)
{
    (void)state;
    struct h1_trace t;
    for (size_t part = 1; part < sizeof(read_head); part += 16) {
        h1_trace_open(&t, PERI_H1_SERVER);
        for (size_t at = 0; at < sizeof(read_head) - 1; at += part)
            h1_trace_feed(
                &t, peri_slice(read_head + at, part < sizeof(read_head) - 1 - at ? part : sizeof(read_head) - 1 - at));
        assert_int_equal(t.messages, 1);
        assert_fields_of(
            &t,
            "GET /a HTTP/1.1\r\nhost: h\r\nx-one: 1\r\nx-two: 2\r\nx-three: 3\r\nx-empty: \r\nx-five: 5\r\nx-six: 6\r\n"
            "x-seven: 7\r\n\r\n");
        h1_trace_close(&t);
    }
}

static void writes_what_it_read_with_every_change_made_to_it(void **state)
{
    (void)state;
    struct h1_trace t;
    h1_trace_open(&t, PERI_H1_SERVER);
    h1_trace_feed(&t, peri_slice(read_head, sizeof(read_head) - 1));
    struct peri_headers *headers = &t.req.headers;
    peri_headers_set(headers, PERI_SLICE("x-five"), PERI_SLICE("changed"));
    peri_headers_remove(headers, PERI_SLICE("X-One"));
    peri_headers_add(headers, PERI_SLICE("X-New"), PERI_SLICE("8"));
    peri_headers_set(headers, PERI_SLICE("x-seven"), PERI_SLICE("")); // shorter than the line it stood in
    assert_fields_of(
        &t, "GET /a HTTP/1.1\r\nhost: h\r\nx-two: 2\r\nx-three: 3\r\nx-empty: \r\nx-five: changed\r\nx-six: 6\r\n"
            "x-seven: \r\nx-new: 8\r\n\r\n");
    struct peri_headers copy;
    assert_int_equal(peri_headers_clone(&copy, &t.arena, headers), PERI_OK);
    assert_int_equal(copy.count, headers->count);
    peri_headers_remove(&copy, PERI_SLICE("x-two"));
    assert_non_null(peri_headers_find_name(headers, PERI_SLICE("x-two"), 0, NULL));
    assert_non_null(peri_headers_find(&copy, PERI_H_HOST));
    h1_trace_close(&t);
}

// ---- methods and statuses ----

static void knows_methods_by_their_exact_names(void **state)
{
    (void)state;
    assert_int_equal(peri_method_parse(PERI_SLICE("GET")), PERI_METHOD_GET);
    assert_int_equal(peri_method_parse(PERI_SLICE("TRACE")), PERI_METHOD_TRACE);
    assert_int_equal(peri_method_parse(PERI_SLICE("get")), PERI_METHOD_OTHER);
    assert_int_equal(peri_method_parse(PERI_SLICE("")), PERI_METHOD_OTHER);
    assert_int_equal(peri_method_parse(PERI_SLICE("GETX")), PERI_METHOD_OTHER);
    assert_true(peri_method_is_idempotent(PERI_METHOD_DELETE));
    assert_false(peri_method_is_idempotent(PERI_METHOD_POST));
    assert_false(peri_method_is_idempotent(PERI_METHOD_PATCH));
    assert_false(peri_method_is_idempotent(PERI_METHOD_OTHER));
}

static void has_a_text_for_every_status(void **state)
{
    (void)state;
    assert_string_equal(peri_status_text(418), "Unknown");
    assert_string_equal(peri_status_text(-1), "Unknown");
    for (unsigned err = 1; err < PERI_ERR_COUNT; err++)
        assert_string_not_equal(peri_status_text(peri_err_info((peri_err_t)err)->status), "Unknown");
    for (int status = 0; status < 1000; status++)
        assert_in_range(strlen(peri_status_text(status)), 2, 31);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_messages, close_messages)
    const struct CMUnitTest tests[] = {
        TEST(writes_requests),
        TEST(writes_responses),
        TEST(writes_no_framing_but_its_own),
        TEST(never_writes_more_than_it_announced),
        TEST(writes_interim_responses_chunks_and_trailers),
        TEST(writes_what_it_read_without_what_ends_here),
        TEST(writes_what_it_read_with_every_change_made_to_it),
        TEST(knows_methods_by_their_exact_names),
        TEST(has_a_text_for_every_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
