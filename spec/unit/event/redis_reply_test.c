// SPDX-License-Identifier: MIT
// Replies of Redis as they should be, in pieces, and as a hostile server would send them.
#include "event/redis_reply.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct peri_redis_reader *reader;

static int open_reader(void **state)
{
    (void)state;
    reader = peri_redis_reader_new();
    return reader ? 0 : -1;
}

static int close_reader(void **state)
{
    (void)state;
    peri_redis_reader_free(reader);
    return 0;
}

static peri_err_t feed(const char *text)
{
    return peri_redis_reader_feed(reader, peri_slice_from(text));
}

// The next reply as text: "OK", 7, !error, nil, [a, b].
static uint32_t print(const struct peri_redis_reply *reply, uint32_t at, char *out)
{
    const struct peri_redis_value *value = &reply->values[at++];
    struct peri_slice text = peri_redis_text(reply, value);
    out += strlen(out);
    switch (value->type) {
    case PERI_REDIS_NIL: strcpy(out, "nil"); break;
    case PERI_REDIS_STRING: sprintf(out, "\"%.*s\"", (int)text.len, text.ptr); break;
    case PERI_REDIS_INTEGER: sprintf(out, "%lld", (long long)value->integer); break;
    case PERI_REDIS_ERROR: sprintf(out, "!%.*s", (int)text.len, text.ptr); break;
    case PERI_REDIS_ARRAY:
        strcpy(out, "[");
        for (uint32_t i = 0; i < value->count; i++) {
            at = print(reply, at, out);
            strcat(out, i + 1 < value->count ? " " : "");
        }
        strcat(out, "]");
        break;
    }
    return at;
}

static void assert_next(const char *expected)
{
    char text[1000] = "";
    const struct peri_redis_reply *reply;
    assert_int_equal(peri_redis_reader_next(reader, &reply), PERI_OK);
    assert_int_equal(print(reply, 0, text), reply->count);
    assert_string_equal(text, expected);
}

static peri_err_t next(void)
{
    const struct peri_redis_reply *reply;
    return peri_redis_reader_next(reader, &reply);
}

static void reads_every_kind_of_value(void **state)
{
    (void)state;
    assert_int_equal(feed("+OK\r\n:-7\r\n$5\r\nhello\r\n$0\r\n\r\n$-1\r\n-ERR no\r\n*-1\r\n*0\r\n"), PERI_OK);
    assert_next("\"OK\"");
    assert_next("-7");
    assert_next("\"hello\"");
    assert_next("\"\"");
    assert_next("nil");
    assert_next("!ERR no");
    assert_next("nil");
    assert_next("[]");
    assert_int_equal(next(), PERI_ERR_AGAIN);
}

static void reads_arrays_in_arrays(void **state)
{
    (void)state;
    assert_int_equal(feed("*4\r\n$1\r\na\r\n*2\r\n:1\r\n*1\r\n+x\r\n$-1\r\n-BAD\r\n+next\r\n"), PERI_OK);
    assert_next("[\"a\" [1 [\"x\"]] nil !BAD]");
    assert_next("\"next\"");
}

static void reads_replies_byte_by_byte(void **state)
{
    (void)state;
    const char *text = "*2\r\n$3\r\nabc\r\n:12\r\n";
    for (const char *c = text; *c; c++) {
        assert_int_equal(next(), PERI_ERR_AGAIN);
        assert_int_equal(peri_redis_reader_feed(reader, peri_slice(c, 1)), PERI_OK);
    }
    assert_next("[\"abc\" 12]");
}

static void refuses_what_is_no_reply(void **state)
{
    static const char *const texts[] = {
        "HTTP/1.1 200 OK\r\n", "$x\r\n", "*-2\r\n", ":\r\n", "\r\n", "$-5\r\n", ":12x\r\n"};
    for (unsigned i = 0; i < PERI_COUNT(texts); i++) {
        assert_int_equal(feed(texts[i]), PERI_OK);
        if (next() != PERI_ERR_UPSTREAM_PROTOCOL)
            fail_msg("'%s' was not refused", texts[i]);
        close_reader(state);
        open_reader(state);
    }
}

static void refuses_arrays_that_are_too_long_or_too_deep(void **state)
{
    assert_int_equal(feed("*16385\r\n"), PERI_OK);
    assert_int_equal(next(), PERI_ERR_RESPONSE_TOO_LARGE);
    close_reader(state);
    open_reader(state);
    assert_int_equal(feed("*2147483647\r\n"), PERI_OK);
    assert_int_equal(next(), PERI_ERR_RESPONSE_TOO_LARGE);
    close_reader(state);
    open_reader(state);
    assert_int_equal(feed("*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n"), PERI_OK);
    assert_int_equal(next(), PERI_ERR_UPSTREAM_PROTOCOL);
}

static void refuses_a_reply_that_is_too_large(void **state)
{
    (void)state;
    static char bytes[64 * 1024];
    peri_err_t err = feed("$104857600\r\n");
    unsigned fed = 0;
    memset(bytes, 'x', sizeof(bytes));
    while (err == PERI_OK && fed++ < 1000) {
        err = peri_redis_reader_feed(reader, peri_slice(bytes, sizeof(bytes)));
        if (err == PERI_OK && next() != PERI_ERR_AGAIN)
            fail_msg("a part was taken for the whole");
    }
    assert_int_equal(err, PERI_ERR_RESPONSE_TOO_LARGE);
    assert_true(fed * sizeof(bytes) <= 2 * PERI_REDIS_REPLY_BYTES);
}

static void takes_a_reply_of_the_largest_size(void **state)
{
    (void)state;
    char head[32];
    char *bytes = malloc(PERI_REDIS_REPLY_BYTES);
    const struct peri_redis_reply *reply;
    memset(bytes, 'x', PERI_REDIS_REPLY_BYTES);
    snprintf(head, sizeof(head), "$%d\r\n", PERI_REDIS_REPLY_BYTES);
    assert_int_equal(feed(head), PERI_OK);
    assert_int_equal(peri_redis_reader_feed(reader, peri_slice(bytes, PERI_REDIS_REPLY_BYTES)), PERI_OK);
    assert_int_equal(feed("\r\n"), PERI_OK);
    assert_int_equal(peri_redis_reader_next(reader, &reply), PERI_OK);
    assert_int_equal(reply->values->len, PERI_REDIS_REPLY_BYTES);
    free(bytes);
}

static void writes_commands(void **state)
{
    (void)state;
    struct peri_slice args[] = {PERI_SLICE("SET"), PERI_SLICE(""), peri_slice("a\0b", 3)}, bytes;
    assert_int_equal(peri_redis_format(args, 3, &bytes), PERI_OK);
    assert_true(peri_slice_eq(bytes, PERI_SLICE("*3\r\n$3\r\nSET\r\n$0\r\n\r\n$3\r\na\0b\r\n")));
    free((char *)bytes.ptr);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reads_every_kind_of_value, open_reader, close_reader),
        cmocka_unit_test_setup_teardown(reads_arrays_in_arrays, open_reader, close_reader),
        cmocka_unit_test_setup_teardown(reads_replies_byte_by_byte, open_reader, close_reader),
        cmocka_unit_test_setup_teardown(refuses_what_is_no_reply, open_reader, close_reader),
        cmocka_unit_test_setup_teardown(refuses_arrays_that_are_too_long_or_too_deep, open_reader, close_reader),
        cmocka_unit_test_setup_teardown(refuses_a_reply_that_is_too_large, open_reader, close_reader),
        cmocka_unit_test_setup_teardown(takes_a_reply_of_the_largest_size, open_reader, close_reader),
        cmocka_unit_test(writes_commands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
