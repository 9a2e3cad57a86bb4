// SPDX-License-Identifier: MIT
// Reading requests: what a message says, the same however its bytes are cut, and nothing that two readers may take differently.
#include "h1_trace.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define HEAD "GET / HTTP/1.1\r\nhost: a\r\n"
#define POST "POST / HTTP/1.1\r\nhost: a\r\n"

static bool allow_underscores;
static uint32_t max_headers = 100, max_bytes = 60 * 1024, max_uri = 16 * 1024;

static char *trace_in_parts(struct peri_slice input, size_t part)
{
    struct h1_trace t;
    h1_trace_open(&t, PERI_H1_SERVER);
    t.limits.allow_underscores = allow_underscores;
    t.limits.headers = max_headers;
    t.limits.header_bytes = max_bytes;
    t.limits.uri_bytes = max_uri;
    for (size_t at = 0; at < input.len; at += part)
        h1_trace_feed(&t, peri_slice(input.ptr + at, part < input.len - at ? part : input.len - at));
    h1_trace_finish(&t);
    char *text = h1_trace_text(&t);
    h1_trace_close(&t);
    return text;
}

/// The outcome of `input`, the same in one piece, byte by byte, and in pieces of 2, 3, 7 and 1000.
static char *outcome_of(struct peri_slice input)
{
    static const size_t parts[] = {1, 2, 3, 7, 1000};
    char *whole = trace_in_parts(input, input.len);
    for (unsigned i = 0; i < PERI_COUNT(parts); i++) {
        char *cut = trace_in_parts(input, parts[i]);
        if (strcmp(cut, whole) != 0)
            fail_msg("in one piece:\n%s\nin pieces of %zu:\n%s", whole, parts[i], cut);
        free(cut);
    }
    return whole;
}

static void reads_bytes(struct peri_slice input, const char *expected)
{
    char *outcome = outcome_of(input);
    assert_string_equal(outcome, expected);
    free(outcome);
}

#define READS(input, expected) reads_bytes(PERI_SLICE(input), expected)

static const char *last_line(char *text)
{
    size_t len = strlen(text);
    if (len > 0)
        text[len - 1] = 0;
    char *line = strrchr(text, '\n');
    return line ? line + 1 : text;
}

static void refuses_bytes(struct peri_slice input, const char *error)
{
    char *outcome = outcome_of(input);
    bool has_head = strstr(outcome, "length=") != NULL;
    char expected[64];
    snprintf(expected, sizeof(expected), "error %s", error);
    const char *line = last_line(outcome);
    if (strcmp(line, expected) != 0)
        fail_msg("%.*s\nends with '%s', not with '%s'", (int)(input.len < 300 ? input.len : 300), input.ptr, line,
                 expected);
    if (has_head)
        fail_msg("%.*s\nwas given to the owner before it was refused", (int)input.len, input.ptr);
    free(outcome);
}

#define REFUSES(input, error) refuses_bytes(PERI_SLICE(input), error)

static void reads_a_request_without_a_body(void **state)
{
    (void)state;
    READS("GET /a?b=c HTTP/1.1\r\nHost: shop.example:8080\r\nX-One:  1 \t\r\nx-empty:\r\n\r\n",
          "GET /a?b=c 11 authority=shop.example:8080 length=-1\nhost: shop.example:8080\nx-one: 1\nx-empty: \nend\n");
}

static void reads_bodies_by_length_and_in_chunks(void **state)
{
    (void)state;
    READS(POST "content-length: 5\r\n\r\nhello", "POST / 11 authority=a length=5\nhost: a\nbody: hello\nend\n");
    READS(POST "content-length: 0\r\n\r\n", "POST / 11 authority=a length=0\nhost: a\nend\n");
    READS(POST "Transfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n1;x=y\r\n!\r\n0\r\n\r\n",
          "POST / 11 authority=a length=-2\nhost: a\nbody: hello!\nend\n");
    READS(POST "transfer-encoding: chunked\r\n\r\n000A\r\n0123456789\r\n000\r\n\r\n",
          "POST / 11 authority=a length=-2\nhost: a\nbody: 0123456789\nend\n");
}

static void reads_trailers_but_no_framing_from_them(void **state)
{
    (void)state;
    READS(POST "transfer-encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\nx-b: 8\r\n\r\n",
          "POST / 11 authority=a length=-2\nhost: a\nbody: ok\ntrailers\nx-sum: 7\nx-b: 8\nend\n");
    char *outcome = outcome_of(PERI_SLICE(
        POST "transfer-encoding: chunked\r\n\r\n0\r\nx-a: 1\r\nTransfer-Encoding: chunked\r\nConnection: x-a\r\n\r\n"));
    assert_null(strstr(outcome, "transfer-encoding"));
    assert_null(strstr(outcome, "x-a: 1"));
    free(outcome);
}

static void reads_one_request_after_the_other(void **state)
{
    (void)state;
    READS(HEAD "\r\n\r\n\r\n" POST "content-length: 2\r\n\r\nhi" HEAD "\r\n",
          "GET / 11 authority=a length=-1\nhost: a\nend\nPOST / 11 authority=a length=2\nhost: a\nbody: hi\nend\n"
          "GET / 11 authority=a length=-1\nhost: a\nend\n");
}

static void knows_when_the_connection_stays_open(void **state)
{
    (void)state;
    READS(HEAD "Connection: close\r\n\r\n", "GET / 11 authority=a length=-1 close\nhost: a\nend\n");
    READS(HEAD "Connection: x, Close\r\n\r\n", "GET / 11 authority=a length=-1 close\nhost: a\nend\n");
    READS("GET / HTTP/1.0\r\n\r\n", "GET / 10 authority= length=-1 close\nend\n");
    READS("GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n", "GET / 10 authority= length=-1\nend\n");
}

static void removes_hop_by_hop_fields_and_those_that_connection_lists(void **state)
{
    (void)state;
    READS(HEAD "Connection: keep-alive, X-Hop\r\nx-hop: 1\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\nTE: "
               "trailers\r\nx-stay: 2\r\n"
               "X-HOP: 3\r\n\r\n",
          "GET / 11 authority=a length=-1\nhost: a\nx-stay: 2\nend\n");
    READS(HEAD "x-a: 1\r\nconnection: x-a\r\nconnection: x-b\r\nx-b: 2\r\nconnection: x-c,x-d\r\nx-d: 3\r\nx-c: "
               "4\r\nx-e: 5\r\n\r\n",
          "GET / 11 authority=a length=-1\nhost: a\nx-e: 5\nend\n");
    READS(HEAD "connection: host\r\n\r\n", "GET / 11 authority=a length=-1\nhost: a\nend\n");
    READS(POST "connection: content-length\r\ncontent-length: 2\r\n\r\nhi",
          "POST / 11 authority=a length=2\nhost: a\nbody: hi\nend\n");
}

static void reads_an_upgrade_only_when_connection_says_so(void **state)
{
    (void)state;
    READS(HEAD "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
          "GET / 11 authority=a length=-1 upgrade=websocket\nhost: a\nend\n");
    READS(HEAD "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n",
          "GET / 11 authority=a length=-1 upgrade=websocket\nhost: a\nend\n");
    READS(HEAD "Connection: keep-alive\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
          "GET / 11 authority=a length=-1 upgrade=websocket\nhost: a\nend\n");
    READS(HEAD "Upgrade: websocket\r\n\r\n", "GET / 11 authority=a length=-1\nhost: a\nend\n");
    READS(HEAD
          "Connection: upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
          "GET / 11 authority=a length=-1\nhost: a\nend\n");
}

static void reads_the_wait_for_100_only_with_a_body(void **state)
{
    (void)state;
    READS(POST "Expect: 100-Continue\r\ncontent-length: 1\r\n\r\nx",
          "POST / 11 authority=a length=1 expects\nhost: a\nexpect: 100-Continue\nbody: x\nend\n");
    READS(POST "expect: 100-continue\r\ncontent-length: 0\r\n\r\n",
          "POST / 11 authority=a length=0\nhost: a\nexpect: 100-continue\nend\n");
    REFUSES(POST "expect: the moon\r\ncontent-length: 1\r\n\r\nx", "expectation_failed");
}

static void refuses_every_ambiguous_length(void **state)
{
    (void)state;
    REFUSES(POST "content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", "ambiguous_framing");
    REFUSES(POST "transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n", "ambiguous_framing");
    REFUSES(POST "content-length: 5\r\ncontent-length: 6\r\n\r\nhello", "ambiguous_framing");
    REFUSES(POST "content-length: 5\r\ncontent-length: 5\r\n\r\nhello", "ambiguous_framing");
    REFUSES(POST "content-length: 5, 5\r\n\r\nhello", "ambiguous_framing");
    REFUSES(POST "content-length: 5 5\r\n\r\nhello", "ambiguous_framing");
    REFUSES(POST "content-length: +5\r\n\r\nhello", "ambiguous_framing");
    REFUSES(POST "content-length: -5\r\n\r\nhello", "ambiguous_framing");
    REFUSES(POST "content-length: 0x5\r\n\r\nhello", "ambiguous_framing");
    REFUSES(POST "content-length: 5.0\r\n\r\nhello", "ambiguous_framing");
    REFUSES(POST "content-length:  5\r\n\r\nhello", "ambiguous_framing");
    REFUSES(POST "content-length:\t\t5\r\n\r\nhello", "ambiguous_framing");
    REFUSES(POST "content-length:\r\n\r\n", "ambiguous_framing");
    REFUSES(POST "content-length: \r\n\r\n", "ambiguous_framing");
    REFUSES(POST "content-length: 18446744073709551616\r\n\r\n", "ambiguous_framing");
    REFUSES(POST "content-length: 9223372036854775808\r\n\r\n", "ambiguous_framing");
    REFUSES(POST "content-length: five\r\n\r\nhello", "ambiguous_framing");
}

static void refuses_every_coding_but_chunked(void **state)
{
    (void)state;
    static const char *const codings[] = {"chunked, identity",
                                          "identity",
                                          "gzip, chunked",
                                          "chunked, chunked",
                                          "xchunked",
                                          "chunkedx",
                                          "chunked;q=1",
                                          "\"chunked\"",
                                          "chun\tked",
                                          "gzip",
                                          "",
                                          ",chunked",
                                          "chunked,",
                                          "chunked chunked"};
    for (unsigned i = 0; i < PERI_COUNT(codings); i++) {
        char input[256];
        int len = snprintf(input, sizeof(input), POST "transfer-encoding: %s\r\n\r\n0\r\n\r\n", codings[i]);
        refuses_bytes(peri_slice(input, (size_t)len), "ambiguous_framing");
    }
    REFUSES(POST "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", "ambiguous_framing");
    REFUSES(POST "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n", "ambiguous_framing");
    REFUSES("POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", "ambiguous_framing");
}

static void refuses_lines_that_are_not_what_they_seem(void **state)
{
    (void)state;
    REFUSES("GET / HTTP/1.1\nhost: a\n\n", "bad_request");
    REFUSES("GET / HTTP/1.1\r\nhost: a\n\r\n", "bad_request");
    REFUSES("GET / HTTP/1.1\r\nhost: a\r\n\n", "bad_request");
    REFUSES(HEAD "x: 1\r\n folded\r\n\r\n", "bad_request");
    REFUSES(HEAD "x: 1\r\n\tfolded\r\n\r\n", "bad_request");
    REFUSES(HEAD "x: 1\rx\r\n\r\n", "bad_request");
    REFUSES(HEAD "x: 1\r\r\n\r\n", "bad_request");
    REFUSES(HEAD "content-length : 5\r\n\r\nhello", "bad_request");
    REFUSES(HEAD "x y: 1\r\n\r\n", "bad_request");
    REFUSES(HEAD " x: 1\r\n\r\n", "bad_request");
    REFUSES("GET / HTTP/1.1\r\n x: 1\r\nhost: a\r\n\r\n", "bad_request");
    REFUSES(HEAD ": 1\r\n\r\n", "bad_request");
    REFUSES(HEAD "x\r\n\r\n", "bad_request");
    REFUSES(HEAD "x: a\0b\r\n\r\n", "bad_request");
    REFUSES(HEAD "x: a\x01\r\n\r\n", "bad_request");
    REFUSES(HEAD "x: a\x7f\r\n\r\n", "bad_request");
    REFUSES(HEAD "x\x80: a\r\n\r\n", "bad_request");
    REFUSES(HEAD "x(: a\r\n\r\n", "bad_request");
    REFUSES(HEAD "x_y: a\r\n\r\n", "bad_request");
}

static void refuses_request_lines_that_it_does_not_speak(void **state)
{
    (void)state;
    REFUSES("GET / HTTP/2.0\r\nhost: a\r\n\r\n", "version_not_supported");
    REFUSES("GET / HTTP/1.2\r\nhost: a\r\n\r\n", "version_not_supported");
    REFUSES("GET / HTTP/0.9\r\nhost: a\r\n\r\n", "version_not_supported");
    REFUSES("CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n", "method_not_implemented");
    REFUSES("BREW / HTTP/1.1\r\nhost: a\r\n\r\n", "method_not_implemented");
    REFUSES("GET / HTTP/1.1\r\n\r\n", "bad_host");
    REFUSES("GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n", "bad_host");
    REFUSES("GET / HTTP/1.0\r\nhost: a\r\nhost: b\r\n\r\n", "bad_host");
    REFUSES("GET / x HTTP/1.1\r\nhost: a\r\n\r\n", "bad_request");
    REFUSES("GET / HTTP/1.1 \r\nhost: a\r\n\r\n", "version_not_supported");
    REFUSES("GET / HTTX/1.1\r\nhost: a\r\n\r\n", "bad_request");
    REFUSES("GET /\r\n\r\n", "version_not_supported");
    REFUSES("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "bad_request"); // TLS, at its first byte
}

static void error_in_body(const char *chunks, const char *error)
{
    char input[1024], expected[64];
    int len = snprintf(input, sizeof(input), POST "transfer-encoding: chunked\r\n\r\n%s", chunks);
    char *outcome = outcome_of(peri_slice(input, (size_t)len));
    snprintf(expected, sizeof(expected), "error %s", error);
    const char *line = last_line(outcome);
    if (strcmp(line, expected) != 0)
        fail_msg("%s\nends with '%s', not with '%s'", chunks, line, expected);
    free(outcome);
}

static void refuses_chunks_that_two_readers_may_count_differently(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "5\r\nhello!\r\n0\r\n\r\n", "5\nhello\r\n0\r\n\r\n",        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",      "0x5\r\nhello\r\n0\r\n\r\n",    "+5\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n", "-5\r\nhello\r\n0\r\n\r\n",     "\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n", "G\r\nhello\r\n0\r\n\r\n",      "5\r\nhello\r\n0\r\n\n",
        "5\rXhello\r\n0\r\n\r\n",   "10000000000000000\r\nx\r\n",   "fffffffffffffffff\r\nx\r\n",
        "5;\nhello\r\n0\r\n\r\n",   "5;a\nb\r\nhello\r\n0\r\n\r\n", "0\r\nx: 1\n\r\n",
        "0\r\n x: 1\r\n\r\n",       "0\r\nx: 1\r\n y\r\n\r\n",
    };
    for (unsigned i = 0; i < PERI_COUNT(bodies); i++)
        error_in_body(bodies[i], "bad_request");
}

static void bounds_chunk_extensions(void **state)
{
    (void)state;
    char *input = malloc(20000);
    for (size_t extra = 1000; extra <= 16000; extra += 15000) {
        int len = sprintf(input, POST "transfer-encoding: chunked\r\n\r\n1;a=%0*d\r\nx\r\n0\r\n\r\n", (int)extra, 0);
        char *outcome = outcome_of(peri_slice(input, (size_t)len));
        assert_string_equal(last_line(outcome), extra == 1000 ? "end" : "error bad_request");
        free(outcome);
    }
    free(input);
}

static void says_when_the_connection_ends_too_early(void **state)
{
    (void)state;
    READS("GET / HT", "error bad_request\n");
    READS(POST "content-length: 5\r\n\r\nhell",
          "POST / 11 authority=a length=5\nhost: a\nbody: hell\nerror bad_request\n");
    READS(POST "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
          "POST / 11 authority=a length=-2\nhost: a\nbody: hello\nerror bad_request\n");
    READS(POST "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
          "POST / 11 authority=a length=-2\nhost: a\nbody: hello\nerror bad_request\n");
    READS("", "");
}

static void counts_fields_exactly(void **state)
{
    (void)state;
    max_headers = 3;
    READS(HEAD "x: 1\r\ny: 2\r\n\r\n", "GET / 11 authority=a length=-1\nhost: a\nx: 1\ny: 2\nend\n");
    REFUSES(HEAD "x: 1\r\ny: 2\r\nz: 3\r\n\r\n", "headers_too_large");
    max_headers = 100;
}

static void counts_bytes_of_the_head_exactly(void **state)
{
    (void)state;
    static const char *const formats[] = {HEAD "x: %0*d\r\n\r\n", HEAD "%0*d: x\r\n\r\n",
                                          "GET /%0*d HTTP/1.1\r\nhost: a\r\n\r\n"};
    for (unsigned i = 0; i < PERI_COUNT(formats); i++) {
        char input[1024];
        max_bytes = 200;
        int others = sprintf(input, formats[i], 1, 0) - 1;
        int len = sprintf(input, formats[i], 200 - others, 0);
        assert_int_equal(len, 200);
        char *outcome = outcome_of(peri_slice(input, 200));
        max_bytes = 199;
        char *refusal = trace_in_parts(peri_slice(input, 200), 200);
        char *late = trace_in_parts(peri_slice(input, 200), 1);
        max_bytes = 60 * 1024;
        assert_string_equal(last_line(outcome), "end");
        assert_string_equal(refusal, "error headers_too_large\n");
        assert_string_equal(late, "error headers_too_large\n");
        free(outcome);
        free(refusal);
        free(late);
    }
}

static void counts_bytes_of_the_target_exactly(void **state)
{
    (void)state;
    max_uri = 4000;
    char *input = malloc(8192);
    int len = sprintf(input, "GET /%0*d HTTP/1.1\r\nhost: a\r\n\r\n", 3999, 0);
    char *outcome = outcome_of(peri_slice(input, (size_t)len));
    assert_string_equal(last_line(outcome), "end");
    free(outcome);
    len = sprintf(input, "GET /%0*d HTTP/1.1\r\nhost: a\r\n\r\n", 4000, 0);
    refuses_bytes(peri_slice(input, (size_t)len), "uri_too_long");
    free(input);
    max_uri = 16 * 1024;
}

static void reads_the_longest_head_byte_by_byte(void **state)
{
    (void)state;
    char *input = malloc(100000);
    int len = sprintf(input, "GET /%0*d HTTP/1.1\r\nhost: a\r\n", 16 * 1024 - 1, 0);
    for (unsigned i = 0; i < 99; i++)
        len += sprintf(input + len, "x-%u: %0*d\r\n", i, 430, 0);
    len += sprintf(input + len, "\r\n");
    char *outcome = trace_in_parts(peri_slice(input, (size_t)len), 1);
    assert_string_equal(last_line(outcome), "end");
    free(outcome);
    free(input);
}

static void lowers_every_letter_of_a_name_at_every_place(void **state)
{
    (void)state;
    static const char tokens[] = "!#$%&'*+-.^`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    allow_underscores = false;
    for (size_t len = 1; len <= 40; len++) {
        for (size_t first = 0; first < sizeof(tokens) - 1; first++) {
            char name[64], input[256], expected[256];
            for (size_t i = 0; i < len; i++)
                name[i] = tokens[(first + i * 11) % (sizeof(tokens) - 1)];
            name[0] = 'X';
            name[len] = 0;
            int n = sprintf(input, "GET / HTTP/1.1\r\n%s: Value-A_B\r\nhost: a\r\n\r\n", name);
            for (size_t i = 0; i < len; i++)
                name[i] = peri_ascii_lower(name[i]);
            sprintf(expected, "GET / 11 authority=a length=-1\n%s: Value-A_B\nhost: a\nend\n", name);
            char *outcome = trace_in_parts(peri_slice(input, (size_t)n), (size_t)n);
            assert_string_equal(outcome, expected);
            free(outcome);
        }
    }
}

static void finds_an_underscore_at_every_place_and_nowhere_else(void **state)
{
    (void)state;
    for (size_t len = 1; len <= 40; len++) {
        for (size_t at = 0; at <= len; at++) { // the last one has none; behind the name there are some in the value
            char name[64], input[256];
            memset(name, 'Q', len);
            name[len] = 0;
            if (at < len)
                name[at] = '_';
            sprintf(input, HEAD "%s:________________\r\n\r\n", name);
            for (int allowed = 0; allowed <= 1; allowed++) {
                allow_underscores = allowed;
                char *outcome = outcome_of(peri_slice_from(input));
                assert_string_equal(last_line(outcome), at < len && !allowed ? "error bad_request" : "end");
                free(outcome);
            }
        }
    }
    allow_underscores = false;
}

static void stays_refused_once_it_refused(void **state)
{
    (void)state;
    struct h1_trace t;
    size_t consumed = 9;
    h1_trace_open(&t, PERI_H1_SERVER);
    h1_trace_feed(&t, PERI_SLICE("GET / HTTP/1.1\r\n\r\n"));
    assert_int_equal(t.err, PERI_ERR_BAD_HOST);
    assert_int_equal(peri_h1_feed(&t.h1, PERI_SLICE(HEAD "\r\n"), &consumed), PERI_ERR_BAD_HOST);
    assert_int_equal(consumed, 0);
    assert_int_equal(peri_h1_finish(&t.h1), PERI_ERR_BAD_HOST);
    h1_trace_close(&t);
}

static void tells_how_much_of_a_body_is_to_come(void **state)
{
    (void)state;
    struct h1_trace t;
    h1_trace_open(&t, PERI_H1_SERVER);
    h1_trace_feed(&t, PERI_SLICE(POST "content-length: 10\r\n\r\nabc"));
    assert_true(peri_h1_is_busy(&t.h1));
    assert_int_equal(peri_h1_remaining(&t.h1), 7);
    h1_trace_feed(&t, PERI_SLICE("defghij"));
    assert_false(peri_h1_is_busy(&t.h1));
    assert_int_equal(peri_h1_remaining(&t.h1), 0);
    h1_trace_feed(&t, PERI_SLICE(POST "transfer-encoding: chunked\r\n\r\n5\r\nab"));
    assert_int_equal(peri_h1_remaining(&t.h1), -1);
    h1_trace_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_a_request_without_a_body),
        cmocka_unit_test(reads_bodies_by_length_and_in_chunks),
        cmocka_unit_test(reads_trailers_but_no_framing_from_them),
        cmocka_unit_test(reads_one_request_after_the_other),
        cmocka_unit_test(knows_when_the_connection_stays_open),
        cmocka_unit_test(removes_hop_by_hop_fields_and_those_that_connection_lists),
        cmocka_unit_test(reads_an_upgrade_only_when_connection_says_so),
        cmocka_unit_test(reads_the_wait_for_100_only_with_a_body),
        cmocka_unit_test(refuses_every_ambiguous_length),
        cmocka_unit_test(refuses_every_coding_but_chunked),
        cmocka_unit_test(refuses_lines_that_are_not_what_they_seem),
        cmocka_unit_test(refuses_request_lines_that_it_does_not_speak),
        cmocka_unit_test(refuses_chunks_that_two_readers_may_count_differently),
        cmocka_unit_test(bounds_chunk_extensions),
        cmocka_unit_test(says_when_the_connection_ends_too_early),
        cmocka_unit_test(counts_fields_exactly),
        cmocka_unit_test(counts_bytes_of_the_head_exactly),
        cmocka_unit_test(counts_bytes_of_the_target_exactly),
        cmocka_unit_test(reads_the_longest_head_byte_by_byte),
        cmocka_unit_test(lowers_every_letter_of_a_name_at_every_place),
        cmocka_unit_test(finds_an_underscore_at_every_place_and_nowhere_else),
        cmocka_unit_test(stays_refused_once_it_refused),
        cmocka_unit_test(tells_how_much_of_a_body_is_to_come),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
