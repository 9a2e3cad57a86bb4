// SPDX-License-Identifier: MIT
// Masks: in the place of a secret whatever its length, wherever else a long one turns up, and nowhere else.
#include "proxy/mask.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/arena.h"
#include "codec/header.h"
#include "shared/text.h"

#define JWT "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.c2ln"

static const unsigned char key[PERI_MASK_KEY] = "a key that only this test has .";
static const unsigned char other[PERI_MASK_KEY] = "another key, for another time .";
static struct peri_arena arena;
static struct peri_headers headers;
static struct peri_mask mask;
static struct peri_text out;

static void begin(const unsigned char *with, struct peri_secrets generation, struct peri_secrets recorder)
{
    peri_mask_init(&mask, with, generation, recorder);
}

static int open_world(void **state)
{
    (void)state;
    peri_arena_init(&arena, 1 << 20);
    peri_headers_init(&headers, &arena);
    peri_text_init(&out);
    begin(key, (struct peri_secrets){0}, (struct peri_secrets){0});
    return 0;
}

static int close_world(void **state)
{
    (void)state;
    peri_text_close(&out);
    peri_arena_close(&arena);
    return 0;
}

/// The text with every mask in it written as "<M>".
static const char *shown(void)
{
    static char text[1024];
    size_t len = 0;
    for (size_t at = 0; at < out.len;) {
        bool is_mask = strncmp(out.data + at, "masked:", PERI_MASK_PREFIX) == 0 &&
                       strspn(out.data + at + PERI_MASK_PREFIX, "0123456789abcdef") >= 16;
        len += (size_t)sprintf(text + len, "%.*s", is_mask ? 3 : 1, is_mask ? "<M>" : out.data + at);
        at += is_mask ? PERI_MASK_TEXT : 1;
    }
    text[len] = 0;
    peri_text_close(&out);
    return text;
}

static const char *header(const char *name, const char *value)
{
    peri_mask_header(&mask, peri_slice_from(name), peri_slice_from(value), &out);
    return shown();
}

static const char *target(const char *text)
{
    peri_mask_target(&mask, peri_slice_from(text), &out);
    return shown();
}

static const char *text(const char *bytes, bool is_cut)
{
    peri_mask_text(&mask, peri_slice_from(bytes), is_cut, &out);
    return shown();
}

static void masks_credentials_and_keeps_their_scheme(void **state)
{
    (void)state;
    assert_string_equal(header("authorization", "Bearer x"), "Bearer <M>");
    assert_string_equal(header("authorization", "bAsIc x"), "bAsIc <M>");
    assert_string_equal(header("authorization", "Own secret"),
                        "<M>"); // a scheme that is none may be half of the secret
    assert_string_equal(header("authorization", "Bearer "), "<M>");
    assert_string_equal(header("proxy-authorization", "x"), "<M>");
    assert_string_equal(header("x-api-key", "x"), "<M>");
    assert_string_equal(header("x-api-key", ""), "");
    assert_string_equal(header("x-api", "x"), "x");
}

static void masks_the_values_of_cookies(void **state)
{
    (void)state;
    assert_string_equal(header("cookie", "a=1; b=; c=2=3"), "a=<M>; b=; c=<M>");
    assert_string_equal(header("cookie", "nameless; a=1;"), "<M>; a=<M>;");
    assert_string_equal(header("set-cookie", "a=1; Path=/; Max-Age=3"), "a=<M>; Path=/; Max-Age=3");
    assert_string_equal(header("set-cookie", "a=1"), "a=<M>");
}

static void masks_what_was_declared(void **state)
{
    (void)state;
    struct peri_secret items[3];
    assert_true(peri_secret_parse(PERI_SLICE("header:X-Own"), &items[0]));
    assert_true(peri_secret_parse(PERI_SLICE("query:my key"), &items[1]));
    assert_true(peri_secret_parse(PERI_SLICE("x-plain"), &items[2]));
    begin(key, (struct peri_secrets){items, 2}, (struct peri_secrets){items + 2, 1});
    assert_string_equal(header("x-own", "x"), "<M>");
    assert_string_equal(header("x-plain", "x"), "<M>");
    assert_string_equal(target("/a?my+key=1&b=2&my%20key=3&m%79+key=4&my%20key"),
                        "/a?my+key=<M>&b=2&my%20key=<M>&m%79+key=<M>&my%20key");
}

static void masks_parameters_that_are_always_secret(void **state)
{
    (void)state;
    assert_string_equal(target("/a?access_token=1&api_key=2&key=3&&=4"), "/a?access_token=<M>&api_key=<M>&key=3&&=4");
    assert_string_equal(target("/a?"), "/a?");
    assert_string_equal(target("/access_token=1"), "/access_token=1");
}

static void refuses_places_that_are_none(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "header:", "query:", "cookie:", "a b", "header:a b"};
    struct peri_secret secret;
    for (unsigned i = 0; i < PERI_COUNT(bad); i++)
        assert_false(peri_secret_parse(peri_slice_from(bad[i]), &secret));
}

static void finds_a_known_secret_anywhere(void **state)
{
    (void)state;
    peri_headers_add(&headers, PERI_SLICE("authorization"), PERI_SLICE("Bearer 12345678"));
    peri_headers_add(&headers, PERI_SLICE("x-api-key"), PERI_SLICE("1234567890"));
    peri_headers_add(&headers, PERI_SLICE("cookie"), PERI_SLICE("theme=default-theme; sid=0123456789abcdef"));
    peri_mask_learn_headers(&mask, &headers);
    peri_mask_learn_query(&mask, PERI_SLICE("a=b&api_key=query-key&c"));
    assert_string_equal(text("a 12345678 b 12345678", false), "a <M> b <M>");
    assert_string_equal(text("1234567890", false), "<M>"); // the longer one, not the one that it begins with
    assert_string_equal(text("default-theme 0123456789abcdef", false), "default-theme <M>");
    assert_string_equal(text("a 1234", true), "a <M>"); // goes on where the body was cut
    assert_string_equal(text("a 1234", false), "a 1234");
    assert_string_equal(header("referer", "http://a/?k=query-key"), "http://a/?k=<M>");
    assert_string_equal(target("/12345678/x?y=query-key"), "/<M>/x?y=<M>");
}

static void leaves_short_secrets_where_they_are_words(void **state)
{
    (void)state;
    peri_headers_add(&headers, PERI_SLICE("x-api-key"), PERI_SLICE("users"));
    peri_mask_learn_headers(&mask, &headers);
    assert_string_equal(target("/users"), "/users");
}

static void finds_tokens(void **state)
{
    (void)state;
    assert_string_equal(text("{\"t\":\"" JWT "\"}", false), "{\"t\":\"<M>\"}");
    assert_string_equal(text("x" JWT "," JWT, false), "x<M>,<M>");
    assert_string_equal(text("eyJ eyJhbc", false), "eyJ eyJhbc");
    assert_string_equal(text("eyJhbGciOiJub25lIn0eyJzdWIiOiJhIn0", false), "eyJhbGciOiJub25lIn0eyJzdWIiOiJhIn0");
    assert_string_equal(text("a eyJhbG", true), "a <M>"); // goes on where the body was cut
    assert_string_equal(target("/" JWT "/x"), "/<M>/x");
}

static void equals_stay_equal_under_one_key_only(void **state)
{
    (void)state;
    char first[PERI_MASK_TEXT + 1] = {0};
    peri_mask_header(&mask, PERI_SLICE("x-api-key"), PERI_SLICE("one"), &out);
    assert_int_equal(out.len, PERI_MASK_TEXT);
    memcpy(first, out.data, out.len);
    peri_text_close(&out);
    peri_mask_header(&mask, PERI_SLICE("authorization"), PERI_SLICE("one"), &out);
    assert_string_equal(out.data, first);
    peri_text_close(&out);
    peri_mask_header(&mask, PERI_SLICE("x-api-key"), PERI_SLICE("two"), &out);
    assert_string_not_equal(out.data, first);
    peri_text_close(&out);
    begin(other, (struct peri_secrets){0}, (struct peri_secrets){0});
    peri_mask_header(&mask, PERI_SLICE("x-api-key"), PERI_SLICE("one"), &out);
    assert_string_not_equal(out.data, first);
}

static void masks_nothing_without_a_key(void **state)
{
    (void)state;
    begin(NULL, (struct peri_secrets){0}, (struct peri_secrets){0});
    peri_headers_add(&headers, PERI_SLICE("x-api-key"), PERI_SLICE("1234567890"));
    peri_mask_learn_headers(&mask, &headers);
    peri_mask_learn_query(&mask, PERI_SLICE("api_key=0987654321"));
    assert_string_equal(header("authorization", "Bearer " JWT), "Bearer " JWT);
    assert_string_equal(header("cookie", "a=1"), "a=1");
    assert_string_equal(target("/?api_key=0987654321"), "/?api_key=0987654321");
    assert_string_equal(text("1234567890", true), "1234567890");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(masks_credentials_and_keeps_their_scheme),
        TEST(masks_the_values_of_cookies),
        TEST(masks_what_was_declared),
        TEST(masks_parameters_that_are_always_secret),
        TEST(refuses_places_that_are_none),
        TEST(finds_a_known_secret_anywhere),
        TEST(leaves_short_secrets_where_they_are_words),
        TEST(finds_tokens),
        TEST(equals_stay_equal_under_one_key_only),
        TEST(masks_nothing_without_a_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
