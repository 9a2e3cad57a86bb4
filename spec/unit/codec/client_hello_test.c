// SPDX-License-Identifier: MIT
// The look at a ClientHello: whole and in pieces, in one record and in many, and what two readers could read differently.
#include "codec/client_hello.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/attr.h"

// ---- making messages ----

#define MESSAGE_REST 85 // a message with one extension, without what is in that

struct bytes {
    char at[2 * PERI_CLIENT_HELLO_SEEN];
    size_t len;
};

static void put(struct bytes *b, struct peri_slice data)
{
    assert_true(b->len + data.len <= sizeof b->at);
    memcpy(b->at + b->len, data.ptr, data.len);
    b->len += data.len;
}

// `value` in `size` bytes.
static void put_number(struct bytes *b, size_t value, size_t size)
{
    for (size_t i = size; i-- > 0;)
        put(b, peri_slice((char[]){(char)(value >> (8 * i))}, 1));
}

static struct peri_slice of(const struct bytes *b)
{
    return peri_slice(b->at, b->len);
}

static void put_vector(struct bytes *b, struct peri_slice data, size_t size)
{
    put_number(b, data.len, size);
    put(b, data);
}

static void put_extension(struct bytes *b, unsigned type, struct peri_slice data)
{
    put_number(b, type, 2);
    put_vector(b, data, 2);
}

static void put_server_name(struct bytes *b, struct peri_slice name)
{
    put_number(b, 0, 2);
    put_number(b, name.len + 5, 2);
    put_number(b, name.len + 3, 2);
    put_number(b, 0, 1);
    put_vector(b, name, 2);
}

// A message (not yet in records) with these extensions.
static void make_message(struct bytes *b, struct peri_slice extensions)
{
    char random[32] = {1, 2, 3};
    static struct bytes body;
    body.len = b->len = 0;
    put_number(&body, 0x0303, 2);
    put(&body, peri_slice(random, sizeof random));
    put_vector(&body, peri_slice(random, sizeof random), 1);
    put_vector(&body, PERI_SLICE("\x13\x01\x13\x02"), 2);
    put_vector(&body, PERI_SLICE("\0"), 1);
    put_vector(&body, extensions, 2);
    put_number(b, 1, 1);
    put_vector(b, of(&body), 3);
}

// The message in records with payloads of at most `size` bytes.
static void cut_records(struct bytes *out, struct peri_slice message, size_t size)
{
    out->len = 0;
    for (size_t at = 0; at < message.len; at += size) {
        size_t len = message.len - at < size ? message.len - at : size;
        put(out, PERI_SLICE("\x16\x03\x01"));
        put_vector(out, peri_slice(message.ptr + at, len), 2);
    }
}

static void make_hello(struct bytes *out, struct peri_slice extensions)
{
    static struct bytes message;
    make_message(&message, extensions);
    cut_records(out, of(&message), 16 * 1024);
}

// A ClientHello for www.example.com that offers h2 and http/1.1 between extensions of no interest.
static void make_usual_message(struct bytes *message)
{
    static struct bytes extensions;
    extensions.len = 0;
    put_extension(&extensions, 0x0a0a, PERI_SLICE(""));
    put_server_name(&extensions, PERI_SLICE("www.Example.com"));
    put_extension(&extensions, 0x000a, PERI_SLICE("\0\2\0\x1d"));
    put_extension(&extensions, 16, PERI_SLICE("\0\x0c\2h2\x08http/1.1"));
    put_extension(&extensions, 0x1a1a, PERI_SLICE("\0"));
    make_message(message, of(&extensions));
}

// ---- looking ----

// The bytes in a block of their exact size, so that a sanitizer sees a read past the end.
static peri_err_t parse(struct peri_slice data, struct peri_client_hello *hello)
{
    char *copy = malloc(data.len ? data.len : 1);
    assert_non_null(copy);
    memcpy(copy, data.ptr, data.len);
    peri_err_t err = peri_client_hello_parse(peri_slice(copy, data.len), hello);
    free(copy);
    return err;
}

// The verdict is `err` once byte `at` (the first is 0) is there, "more" before it, and stays with all that follows.
static void assert_verdict(struct peri_slice data, size_t at, peri_err_t err)
{
    struct peri_client_hello hello;
    for (size_t i = 0; i <= data.len; i++) {
        peri_err_t got = parse(peri_slice(data.ptr, i), &hello);
        if (got != (i <= at ? PERI_ERR_AGAIN : err))
            fail_msg("%zu of %zu bytes: %s", i, data.len, peri_err_info(got)->name);
    }
}

static void assert_hello(const struct bytes *data, const char *server_name, const char *alpn)
{
    struct peri_client_hello hello;
    struct peri_slice protocol;
    char list[600] = "";
    size_t at = 0;
    assert_int_equal(parse(of(data), &hello), PERI_OK);
    assert_string_equal(hello.server_name, server_name);
    while (peri_client_hello_next(&hello, &at, &protocol))
        snprintf(list + strlen(list), sizeof list - strlen(list), "%.*s;", (int)protocol.len, protocol.ptr);
    assert_string_equal(list, alpn);
}

static void assert_refused(struct peri_slice extensions, peri_err_t err)
{
    static struct bytes data;
    make_hello(&data, extensions);
    assert_verdict(of(&data), data.len - 1, err);
}

static void assert_name_refused(struct peri_slice name)
{
    static struct bytes extensions;
    extensions.len = 0;
    put_server_name(&extensions, name);
    assert_refused(of(&extensions), PERI_ERR_INVALID);
}

// ---- what is read ----

static void finds_the_name_and_the_protocols(void **state)
{
    (void)state;
    static struct bytes message, data;
    make_usual_message(&message);
    cut_records(&data, of(&message), 16 * 1024);
    assert_hello(&data, "www.example.com", "h2;http/1.1;");
}

static void waits_until_the_last_byte_of_the_message(void **state)
{
    (void)state;
    static struct bytes message, data;
    make_usual_message(&message);
    cut_records(&data, of(&message), 16 * 1024);
    size_t len = data.len;
    put(&data, PERI_SLICE("\x17\x03\x03 early data, or anything"));
    assert_verdict(of(&data), len - 1, PERI_OK);
}

static void joins_records_of_any_size(void **state)
{
    (void)state;
    static struct bytes message, data;
    make_usual_message(&message);
    for (size_t size = (message.len + 63) / 64; size <= message.len; size++) {
        cut_records(&data, of(&message), size);
        assert_verdict(of(&data), data.len - 1, PERI_OK);
        assert_hello(&data, "www.example.com", "h2;http/1.1;");
    }
}

static void needs_no_record_to_end_with_the_message(void **state)
{
    (void)state;
    static struct bytes message, data;
    make_usual_message(&message);
    put(&message, PERI_SLICE("another message"));
    cut_records(&data, of(&message), 100);
    assert_verdict(of(&data), data.len - 1 - strlen("another message"), PERI_OK);
    assert_hello(&data, "www.example.com", "h2;http/1.1;");
}

static void takes_a_hello_without_the_extensions_that_it_looks_for(void **state)
{
    (void)state;
    static struct bytes message, data;
    make_hello(&data, PERI_SLICE(""));
    assert_hello(&data, "", "");
    make_message(&message, PERI_SLICE(""));
    message.len -= 2; // no list of extensions at all, as before RFC 3546
    message.at[3] = (char)(message.at[3] - 2);
    cut_records(&data, of(&message), 16 * 1024);
    assert_hello(&data, "", "");
}

static void writes_names_in_one_form(void **state)
{
    (void)state;
    static struct bytes extensions, data;
    put_server_name(&extensions, PERI_SLICE("API_1.B-2.EXAMPLE."));
    make_hello(&data, of(&extensions));
    assert_hello(&data, "api_1.b-2.example", "");
}

static void takes_names_and_protocols_up_to_their_limits(void **state)
{
    (void)state;
    static struct bytes extensions, data;
    struct peri_client_hello hello;
    char name[256], list[258] = "\x01\x00\xff";
    memset(name, 'a', sizeof name);
    memset(list + 3, 'p', 255);
    put_server_name(&extensions, peri_slice(name, 255));
    put_extension(&extensions, 16, peri_slice(list, sizeof list));
    make_hello(&data, of(&extensions));
    assert_int_equal(parse(of(&data), &hello), PERI_OK);
    assert_int_equal(strlen(hello.server_name), 255);
    assert_int_equal(hello.alpn_len, 256);
    assert_name_refused(peri_slice(name, 256));
}

// ---- what is refused ----

static void refuses_the_first_byte_that_is_no_tls(void **state)
{
    (void)state;
    assert_verdict(PERI_SLICE("GET / HTTP/1.1\r\n"), 0, PERI_ERR_INVALID);
    assert_verdict(PERI_SLICE("SSH-2.0-OpenSSH\r\n"), 0, PERI_ERR_INVALID);
    assert_verdict(PERI_SLICE("\x80\x2e\x01\x00\x02"), 0, PERI_ERR_INVALID);         // SSL 2
    assert_verdict(PERI_SLICE("\x15\x03\x01\x00\x02\x01\x00"), 0, PERI_ERR_INVALID); // an alert
    assert_verdict(PERI_SLICE("\x16\x02\x01\x00\x05\x01"), 1, PERI_ERR_INVALID);
    assert_verdict(PERI_SLICE("\x16\x03\x05\x00\x05\x01"), 2, PERI_ERR_INVALID);
    assert_verdict(PERI_SLICE("\x16\x03\x01\x41\x00\x01"), 3, PERI_ERR_INVALID);
    assert_verdict(PERI_SLICE("\x16\x03\x01\x40\x01\x01"), 4, PERI_ERR_INVALID);
    assert_verdict(PERI_SLICE("\x16\x03\x01\x00\x00\x16"), 4, PERI_ERR_INVALID);     // an empty record
    assert_verdict(PERI_SLICE("\x16\x03\x01\x00\x05\x02\x00"), 5, PERI_ERR_INVALID); // a ServerHello
}

static void refuses_a_later_record_that_is_no_part_of_it(void **state)
{
    (void)state;
    static struct bytes message, data;
    make_usual_message(&message);
    cut_records(&data, of(&message), 100);
    data.at[105] = 0x15;
    assert_verdict(of(&data), 105, PERI_ERR_INVALID);
    data.at[105] = 0x16;
    data.at[108] = data.at[109] = 0;
    assert_verdict(of(&data), 109, PERI_ERR_INVALID);
}

static void refuses_more_than_16_kib_as_soon_as_the_length_says_so(void **state)
{
    (void)state;
    static struct bytes extensions, data;
    static char padding[PERI_CLIENT_HELLO_MAX - MESSAGE_REST];
    struct peri_client_hello hello;
    assert_verdict(PERI_SLICE("\x16\x03\x01\x02\x00\x01\x00\x3f\xfd\x03\x03"), 8, PERI_ERR_LIMIT);
    assert_verdict(PERI_SLICE("\x16\x03\x01\x02\x00\x01\xff\xff\xff\x03\x03"), 8, PERI_ERR_LIMIT);
    put_extension(&extensions, 21, peri_slice(padding, sizeof padding));
    make_hello(&data, of(&extensions));
    assert_int_equal(data.len, 5 + PERI_CLIENT_HELLO_MAX);
    assert_int_equal(parse(of(&data), &hello), PERI_OK);
}

static void refuses_more_records_than_64(void **state)
{
    (void)state;
    static struct bytes message, data;
    make_usual_message(&message);
    cut_records(&data, of(&message), 1);
    assert_true(data.len > 64 * 6);
    assert_verdict(of(&data), 64 * 6, PERI_ERR_LIMIT);
}

static void refuses_lengths_that_do_not_fit(void **state)
{
    (void)state;
    static struct bytes message, data;
    const struct peri_slice extensions[] = {
        PERI_SLICE("\0"),
        PERI_SLICE("\0\x0a\0"),
        PERI_SLICE("\0\x0a\0\1"),
        PERI_SLICE("\0\x0a\xff\xff"),
        PERI_SLICE("\0\0\0\0"), // an empty list of names
        PERI_SLICE("\0\0\0\2\0\0"),
        PERI_SLICE("\0\0\0\5\0\3\0\0\0"),             // an empty name
        PERI_SLICE("\0\0\0\6\0\4\0\0\2a"),            // a name longer than its list
        PERI_SLICE("\0\0\0\7\0\4\0\0\1ab"),           // a list shorter than its extension
        PERI_SLICE("\0\0\0\6\0\5\0\0\1a"),            // and longer
        PERI_SLICE("\0\0\0\6\0\4\1\0\1a"),            // a type of name that there is not
        PERI_SLICE("\0\0\0\x0a\0\x08\0\0\1a\0\0\1b"), // two names
        PERI_SLICE("\0\x10\0\0"),
        PERI_SLICE("\0\x10\0\2\0\0"),     // no protocols
        PERI_SLICE("\0\x10\0\4\0\2\0\0"), // empty ones
        PERI_SLICE("\0\x10\0\5\0\3\3h2"),
        PERI_SLICE("\0\x10\0\6\0\3\2h2!"),
    };
    for (size_t i = 0; i < PERI_COUNT(extensions); i++)
        assert_refused(extensions[i], PERI_ERR_INVALID);
    make_message(&message, PERI_SLICE("\0\x0a\0\0"));
    for (size_t cut = 1; cut < message.len - 4;
         cut++) { // shorter bodies, except the one that ends before the extensions
        struct peri_slice body = peri_slice(message.at, message.len - cut);
        message.at[3] = (char)(body.len - 4);
        cut_records(&data, body, 16 * 1024);
        if (cut != 6)
            assert_verdict(of(&data), data.len - 1, PERI_ERR_INVALID);
    }
}

static void refuses_a_body_that_goes_on_behind_the_extensions(void **state)
{
    (void)state;
    static struct bytes message, data;
    make_message(&message, PERI_SLICE("\0\x0a\0\0"));
    put(&message, PERI_SLICE("x"));
    message.at[3]++;
    cut_records(&data, of(&message), 16 * 1024);
    assert_verdict(of(&data), data.len - 1, PERI_ERR_INVALID);
}

static void refuses_what_is_said_twice(void **state)
{
    (void)state;
    static struct bytes names;
    put_server_name(&names, PERI_SLICE("a.example"));
    put_server_name(&names, PERI_SLICE("b.example"));
    assert_refused(of(&names), PERI_ERR_INVALID);
    assert_refused(PERI_SLICE("\0\x10\0\5\0\3\2h2\0\x10\0\5\0\3\2h2"), PERI_ERR_INVALID);
}

static void refuses_names_that_no_host_has(void **state)
{
    (void)state;
    assert_name_refused(PERI_SLICE("a.example\0.b.example"));
    assert_name_refused(PERI_SLICE("a.example\r\n"));
    assert_name_refused(PERI_SLICE("a example"));
    assert_name_refused(PERI_SLICE("a.ex\xc3\xa4mple"));
    assert_name_refused(PERI_SLICE("*.example"));
    assert_name_refused(PERI_SLICE("[::1]"));
    assert_name_refused(PERI_SLICE("a/b"));
    assert_name_refused(PERI_SLICE("."));
}

static void refuses_more_protocols_than_fit(void **state)
{
    (void)state;
    static struct bytes extensions;
    char list[2 + 257] = "\x01\x01\xff";
    memset(list + 3, 'p', 255);
    list[2 + 256] = 0;
    put_extension(&extensions, 16, peri_slice(list, sizeof list));
    assert_refused(of(&extensions), PERI_ERR_INVALID); // the last protocol is empty
    list[2] = (char)0xfd;
    list[2 + 254] = 2;
    extensions.len = 0;
    put_extension(&extensions, 16, peri_slice(list, sizeof list));
    assert_refused(of(&extensions), PERI_ERR_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_name_and_the_protocols),
        cmocka_unit_test(waits_until_the_last_byte_of_the_message),
        cmocka_unit_test(joins_records_of_any_size),
        cmocka_unit_test(needs_no_record_to_end_with_the_message),
        cmocka_unit_test(takes_a_hello_without_the_extensions_that_it_looks_for),
        cmocka_unit_test(writes_names_in_one_form),
        cmocka_unit_test(takes_names_and_protocols_up_to_their_limits),
        cmocka_unit_test(refuses_the_first_byte_that_is_no_tls),
        cmocka_unit_test(refuses_a_later_record_that_is_no_part_of_it),
        cmocka_unit_test(refuses_more_than_16_kib_as_soon_as_the_length_says_so),
        cmocka_unit_test(refuses_more_records_than_64),
        cmocka_unit_test(refuses_lengths_that_do_not_fit),
        cmocka_unit_test(refuses_a_body_that_goes_on_behind_the_extensions),
        cmocka_unit_test(refuses_what_is_said_twice),
        cmocka_unit_test(refuses_names_that_no_host_has),
        cmocka_unit_test(refuses_more_protocols_than_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
