// SPDX-License-Identifier: MIT
// Targets, paths, authorities and queries: what is normal stays, what is equivalent becomes one, what is ambiguous is
// refused.
#include "codec/url.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static struct peri_arena arena;

static int open_arena(void **state)
{
    (void)state;
    peri_arena_init(&arena, 1 << 20);
    return 0;
}

static int close_arena(void **state)
{
    (void)state;
    peri_arena_close(&arena);
    return 0;
}

#define assert_slice(slice, text)                                                                                      \
    do {                                                                                                               \
        struct peri_slice got_ = (slice), want_ = peri_slice_from(text);                                               \
        if (!peri_slice_eq(got_, want_))                                                                               \
            fail_msg("'%.*s' is not '%.*s'", (int)got_.len, got_.ptr, (int)want_.len, want_.ptr);                      \
    } while (0)

/// Normalises a heap copy of exact size, so that a sanitizer sees a read past its end.
static peri_err_t normalize(struct peri_slice path, struct peri_slice *normal)
{
    char *copy = malloc(path.len ? path.len : 1);
    if (path.len)
        memcpy(copy, path.ptr, path.len);
    peri_err_t err = peri_url_normalize_path(&arena, peri_slice(copy, path.len), normal);
    if (err == PERI_OK)
        *normal = peri_arena_copy(&arena, *normal);
    free(copy);
    return err;
}

static void assert_normal(const char *path, const char *expected)
{
    struct peri_slice normal = {0}, again = {0};
    if (normalize(peri_slice_from(path), &normal) != PERI_OK)
        fail_msg("'%s' is refused", path);
    if (!peri_slice_eq(normal, peri_slice_from(expected)))
        fail_msg("'%s' becomes '%.*s', not '%s'", path, (int)normal.len, normal.ptr, expected);
    assert_int_equal(peri_url_normalize_path(&arena, normal, &again), PERI_OK);
    assert_ptr_equal(again.ptr, normal.ptr);
    assert_int_equal(again.len, normal.len);
}

static void assert_refused(struct peri_slice path)
{
    struct peri_slice normal;
    if (normalize(path, &normal) != PERI_ERR_BAD_PATH)
        fail_msg("'%.*s' is not refused", (int)path.len, path.ptr);
}

// ---------------------------------------------------------------- paths

static void returns_a_normal_path_as_it_is(void **state)
{
    (void)state;
    static const char *const paths[] = {"/",
                                        "/a",
                                        "/a/",
                                        "/a/b-c.html",
                                        "/.well-known/jwks.json",
                                        "/a/..b/...",
                                        "/a.",
                                        "/~u/x_y",
                                        "/a;v=1,2/b:c@d!$&'()*+="};
    for (size_t i = 0; i < PERI_COUNT(paths); i++) {
        struct peri_slice path = peri_slice_from(paths[i]), normal;
        assert_int_equal(peri_url_normalize_path(&arena, path, &normal), PERI_OK);
        assert_ptr_equal(normal.ptr, path.ptr);
        assert_int_equal(normal.len, path.len);
    }
    assert_int_equal(arena.used, 0);
}

static void merges_slashes(void **state)
{
    (void)state;
    assert_normal("//", "/");
    assert_normal("//a", "/a");
    assert_normal("/a//b///c", "/a/b/c");
    assert_normal("/a//", "/a/");
}

static void removes_dot_segments(void **state)
{
    (void)state;
    assert_normal("/.", "/");
    assert_normal("/./", "/");
    assert_normal("/a/.", "/a/");
    assert_normal("/a/./b", "/a/b");
    assert_normal("/a/..", "/");
    assert_normal("/a/../", "/");
    assert_normal("/a/../b", "/b");
    assert_normal("/a/b/..", "/a/");
    assert_normal("/a/b/../../c", "/c");
    assert_normal("/a/b/.././../c/", "/c/");
    assert_normal("/a//../b", "/b");
    assert_normal("/aa/bb/..//../cc", "/cc");
}

static void removes_dot_segments_that_are_percent_encoded(void **state)
{
    (void)state;
    assert_normal("/a/%2e%2e/b", "/b");
    assert_normal("/a/%2E./b", "/b");
    assert_normal("/a/.%2e/b", "/b");
    assert_normal("/a/%2e/b", "/a/b");
    assert_normal("/a/%2e%2E", "/");
}

static void refuses_to_climb_above_the_root(void **state)
{
    (void)state;
    assert_refused(PERI_SLICE("/.."));
    assert_refused(PERI_SLICE("/../"));
    assert_refused(PERI_SLICE("/../etc/passwd"));
    assert_refused(PERI_SLICE("/a/../../b"));
    assert_refused(PERI_SLICE("/%2e%2e/b"));
    assert_refused(PERI_SLICE("//../b"));
}

static void refuses_dot_segments_with_parameters(void **state)
{
    (void)state;
    assert_refused(PERI_SLICE("/public/..;/admin"));
    assert_refused(PERI_SLICE("/public/..;x=1/admin"));
    assert_refused(PERI_SLICE("/public/.;/admin"));
    assert_refused(PERI_SLICE("/public/.;."));
    assert_refused(PERI_SLICE("/public/..;."));
    assert_refused(PERI_SLICE("/public/%2e%2e;/admin"));
}

static void refuses_encoded_and_raw_separators(void **state)
{
    (void)state;
    assert_refused(PERI_SLICE("/a%2Fb"));
    assert_refused(PERI_SLICE("/a%2fb"));
    assert_refused(PERI_SLICE("/a%5Cb"));
    assert_refused(PERI_SLICE("/a%5cb"));
    assert_refused(PERI_SLICE("/a\\b"));
    assert_refused(PERI_SLICE("/a/..%2fb"));
    assert_refused(PERI_SLICE("/..\\b"));
}

static void keeps_a_double_encoded_separator_as_data(void **state)
{
    (void)state;
    assert_normal("/a%252fb", "/a%252fb");
    assert_normal("/a/%252e%252e/b", "/a/%252e%252e/b");
    assert_normal("/a%255cb%2500", "/a%255cb%2500");
}

static void keeps_path_parameters_as_data(void **state)
{
    (void)state;
    assert_normal("/a;p=1/b", "/a;p=1/b");
    assert_normal("/a%3Bp=1/b", "/a%3Bp=1/b");
    assert_normal("/a%3bp=1", "/a%3Bp=1");
}

static void refuses_nul_control_bytes_space_fragment_and_query(void **state)
{
    (void)state;
    assert_refused(PERI_SLICE("/a%00"));
    assert_refused(peri_slice("/a\0b", 4));
    assert_refused(PERI_SLICE("/a\tb"));
    assert_refused(PERI_SLICE("/a\rb"));
    assert_refused(PERI_SLICE("/a\nb"));
    assert_refused(PERI_SLICE("/a\x7f"));
    assert_refused(PERI_SLICE("/a b"));
    assert_refused(PERI_SLICE("/a#b"));
    assert_refused(PERI_SLICE("/a?b"));
}

static void refuses_incomplete_escapes(void **state)
{
    (void)state;
    assert_refused(PERI_SLICE("/%"));
    assert_refused(PERI_SLICE("/a%4"));
    assert_refused(PERI_SLICE("/a%zz"));
    assert_refused(PERI_SLICE("/a%4g/b"));
    assert_refused(PERI_SLICE("/a%4/b"));
    assert_refused(PERI_SLICE("/%u0041"));
}

static void decodes_unreserved_bytes_and_upper_cases_other_escapes(void **state)
{
    (void)state;
    assert_normal("/%61%41%7e%2d%5f%30", "/aA~-_0");
    assert_normal("/a%20b%c3%a9", "/a%20b%C3%A9");
    assert_normal("/%0d%0a", "/%0D%0A");
    assert_normal("/%3f%23%40", "/%3F%23%40");
}

static void encodes_bytes_that_no_segment_may_hold_raw(void **state)
{
    (void)state;
    assert_normal("/caf\xc3\xa9", "/caf%C3%A9");
    assert_normal("/\"<>[]^`{|}", "/%22%3C%3E%5B%5D%5E%60%7B%7C%7D");
    assert_normal("/%7b%7d", "/%7B%7D");
}

static void refuses_a_path_without_a_slash_in_front(void **state)
{
    (void)state;
    assert_refused(PERI_SLICE(""));
    assert_refused(PERI_SLICE("a"));
    assert_refused(PERI_SLICE("*"));
    assert_refused(PERI_SLICE("%2fa"));
    assert_refused(PERI_SLICE("./a"));
}

static void reports_that_memory_is_short(void **state)
{
    (void)state;
    struct peri_arena small;
    struct peri_slice out;
    uint16_t port;
    peri_arena_init(&small, 0);
    assert_int_equal(peri_url_normalize_path(&small, PERI_SLICE("//a"), &out), PERI_ERR_NOMEM);
    assert_int_equal(peri_url_parse_authority(&small, PERI_SLICE("A"), &out, &port), PERI_ERR_NOMEM);
    assert_int_equal(peri_url_decode(&small, PERI_SLICE("a"), false, &out), PERI_ERR_NOMEM);
    assert_int_equal(peri_url_normalize_path(&small, PERI_SLICE("/a"), &out), PERI_OK);
    peri_arena_close(&small);
}

// ---------------------------------------------------------------- targets

static void parses_the_origin_form(void **state)
{
    (void)state;
    struct peri_url url;
    assert_int_equal(peri_url_parse_target(&arena, PERI_SLICE("/a//b?x=1&y=%2f?"), &url), PERI_OK);
    assert_slice(url.path, "/a/b");
    assert_slice(url.query, "x=1&y=%2f?");
    assert_slice(url.scheme, "");
    assert_slice(url.authority, "");
    assert_slice(url.host, "");
    assert_int_equal(url.port, 0);
    assert_int_equal(peri_url_parse_target(&arena, PERI_SLICE("/a?"), &url), PERI_OK);
    assert_slice(url.path, "/a");
    assert_slice(url.query, "");
}

static void takes_a_double_slash_in_front_for_a_path_not_for_a_host(void **state)
{
    (void)state;
    struct peri_url url;
    assert_int_equal(peri_url_parse_target(&arena, PERI_SLICE("//evil.example/a"), &url), PERI_OK);
    assert_slice(url.path, "/evil.example/a");
    assert_slice(url.host, "");
}

static void parses_the_absolute_form(void **state)
{
    (void)state;
    struct peri_url url;
    assert_int_equal(peri_url_parse_target(&arena, PERI_SLICE("HTTP://Api.Example.:8080/a/../b?q"), &url), PERI_OK);
    assert_slice(url.scheme, "http");
    assert_slice(url.authority, "Api.Example.:8080");
    assert_slice(url.host, "api.example");
    assert_int_equal(url.port, 8080);
    assert_slice(url.path, "/b");
    assert_slice(url.query, "q");
    assert_int_equal(peri_url_parse_target(&arena, PERI_SLICE("https://h"), &url), PERI_OK);
    assert_slice(url.scheme, "https");
    assert_slice(url.path, "/");
    assert_int_equal(peri_url_parse_target(&arena, PERI_SLICE("http://h?q=/"), &url), PERI_OK);
    assert_slice(url.path, "/");
    assert_slice(url.query, "q=/");
}

static void parses_the_asterisk_form(void **state)
{
    (void)state;
    struct peri_url url;
    assert_int_equal(peri_url_parse_target(&arena, PERI_SLICE("*"), &url), PERI_OK);
    assert_slice(url.path, "*");
}

static void refuses_targets_of_no_form(void **state)
{
    (void)state;
    static const char *const targets[] = {"",
                                          "a",
                                          "**",
                                          "?q",
                                          "#",
                                          "ftp://h/",
                                          "http:/h/",
                                          "http//h",
                                          "http:",
                                          "javascript:x",
                                          "/a#f",
                                          "/a?q#f",
                                          "/a?q r",
                                          "/a?q\r\nx",
                                          "/a?\x7f",
                                          "http://h#f",
                                          "http://h/a#f",
                                          "/%2e%2e",
                                          "https://h/..",
                                          "example.com:443"};
    struct peri_url url;
    for (size_t i = 0; i < PERI_COUNT(targets); i++)
        if (peri_url_parse_target(&arena, peri_slice_from(targets[i]), &url) != PERI_ERR_BAD_PATH)
            fail_msg("'%s' is not refused", targets[i]);
}

static void refuses_an_absolute_form_with_a_bad_authority(void **state)
{
    (void)state;
    static const char *const targets[] = {"http:///a", "http://u:p@h/", "http://h:0/", "http://?q", "http://h\\x/"};
    struct peri_url url;
    for (size_t i = 0; i < PERI_COUNT(targets); i++)
        if (peri_url_parse_target(&arena, peri_slice_from(targets[i]), &url) != PERI_ERR_BAD_HOST)
            fail_msg("'%s' is not refused", targets[i]);
}

// ---------------------------------------------------------------- authorities

static void assert_host(const char *authority, const char *expected, int expected_port)
{
    struct peri_slice host;
    uint16_t port;
    if (peri_url_parse_authority(&arena, peri_slice_from(authority), &host, &port) != PERI_OK)
        fail_msg("'%s' is refused", authority);
    assert_slice(host, expected);
    assert_int_equal(port, expected_port);
}

static void brings_a_host_to_one_form(void **state)
{
    (void)state;
    assert_host("api.example", "api.example", 0);
    assert_host("API.Example", "api.example", 0);
    assert_host("api.example.", "api.example", 0);
    assert_host("API.example.:8443", "api.example", 8443);
    assert_host("my_svc-1:80", "my_svc-1", 80);
    assert_host("h:00080", "h", 80);
    assert_host("127.0.0.1:65535", "127.0.0.1", 65535);
    assert_host("[::1]", "[::1]", 0);
    assert_host("[FE80::A]:1", "[fe80::a]", 1);
    assert_host("[::ffff:1.2.3.4]", "[::ffff:1.2.3.4]", 0);
}

static void refuses_what_is_no_host(void **state)
{
    (void)state;
    static const char *const hosts[] = {"",
                                        ".",
                                        "..",
                                        ".a",
                                        "a..",
                                        "a..b",
                                        ":80",
                                        "a:",
                                        "a:0",
                                        "a:65536",
                                        "a:000080",
                                        "a:8x",
                                        "a:-1",
                                        "a:+1",
                                        "a: 1",
                                        "a:b:1",
                                        "a b",
                                        " a",
                                        "a ",
                                        "u@h",
                                        "u:p@h",
                                        "a/b",
                                        "a?b",
                                        "a#b",
                                        "a\\b",
                                        "a%41",
                                        "a,b",
                                        "a\tb",
                                        "caf\xc3\xa9",
                                        "*",
                                        "::1",
                                        "[",
                                        "[]",
                                        "[::1",
                                        "::1]",
                                        "[::1]x",
                                        "[::1]:",
                                        "[::1]:0",
                                        "[::g]",
                                        "[1.2.3.4]",
                                        "[fe80::1%eth0]",
                                        "[v1.x]",
                                        "[::1]80",
                                        "[a]:1",
                                        "[:::1]"};
    struct peri_slice host;
    uint16_t port;
    for (size_t i = 0; i < PERI_COUNT(hosts); i++)
        if (peri_url_parse_authority(&arena, peri_slice_from(hosts[i]), &host, &port) != PERI_ERR_BAD_HOST)
            fail_msg("'%s' is not refused", hosts[i]);
    assert_int_equal(peri_url_parse_authority(&arena, peri_slice("a\0b", 3), &host, &port), PERI_ERR_BAD_HOST);
    assert_int_equal(peri_url_parse_authority(&arena, peri_slice("[::1\0]", 6), &host, &port), PERI_ERR_BAD_HOST);
}

static void bounds_the_length_of_a_host(void **state)
{
    (void)state;
    char name[256];
    struct peri_slice host;
    uint16_t port;
    memset(name, 'a', sizeof name);
    assert_int_equal(peri_url_parse_authority(&arena, peri_slice(name, 255), &host, &port), PERI_OK);
    assert_int_equal(peri_url_parse_authority(&arena, peri_slice(name, 256), &host, &port), PERI_ERR_BAD_HOST);
}

// ---------------------------------------------------------------- escapes and queries

static void decodes_escapes(void **state)
{
    (void)state;
    struct peri_slice out;
    assert_int_equal(peri_url_decode(&arena, PERI_SLICE("a%20b+c%2f%C3%a9"), false, &out), PERI_OK);
    assert_slice(out, "a b+c/\xc3\xa9");
    assert_int_equal(peri_url_decode(&arena, PERI_SLICE("a+b%2B"), true, &out), PERI_OK);
    assert_slice(out, "a b+");
    assert_int_equal(peri_url_decode(&arena, PERI_SLICE("%00"), false, &out), PERI_OK);
    assert_int_equal(out.len, 1);
    assert_int_equal(peri_url_decode(&arena, peri_slice(NULL, 0), false, &out), PERI_OK);
    assert_int_equal(out.len, 0);
}

static void refuses_to_decode_broken_escapes(void **state)
{
    (void)state;
    struct peri_slice out;
    assert_int_equal(peri_url_decode(&arena, PERI_SLICE("%"), false, &out), PERI_ERR_INVALID);
    assert_int_equal(peri_url_decode(&arena, PERI_SLICE("a%2"), false, &out), PERI_ERR_INVALID);
    assert_int_equal(peri_url_decode(&arena, PERI_SLICE("%2x"), false, &out), PERI_ERR_INVALID);
}

static void iterates_over_a_query(void **state)
{
    (void)state;
    struct peri_slice rest = PERI_SLICE("&a=1&&b&=c&d==e;f=g&"), name, value;
    assert_true(peri_url_next_query(&rest, &name, &value));
    assert_slice(name, "a");
    assert_slice(value, "1");
    assert_true(peri_url_next_query(&rest, &name, &value));
    assert_slice(name, "b");
    assert_slice(value, "");
    assert_true(peri_url_next_query(&rest, &name, &value));
    assert_slice(name, "");
    assert_slice(value, "c");
    assert_true(peri_url_next_query(&rest, &name, &value));
    assert_slice(name, "d");
    assert_slice(value, "=e;f=g");
    assert_false(peri_url_next_query(&rest, &name, &value));
    assert_false(peri_url_next_query(&rest, &name, &value));
}

static void finds_the_first_value_of_a_parameter_by_its_decoded_name(void **state)
{
    (void)state;
    struct peri_slice query = PERI_SLICE("x=0&us%65r+id=%31&user%20id=2&flag&%zz=3&x=4"), raw;
    assert_true(peri_url_find_query(query, PERI_SLICE("user id"), &raw));
    assert_slice(raw, "%31");
    assert_true(peri_url_find_query(query, PERI_SLICE("x"), &raw));
    assert_slice(raw, "0");
    assert_true(peri_url_find_query(query, PERI_SLICE("flag"), &raw));
    assert_slice(raw, "");
    assert_true(peri_url_find_query(query, PERI_SLICE("%zz"), &raw));
    assert_slice(raw, "3");
    assert_false(peri_url_find_query(query, PERI_SLICE("us"), &raw));
    assert_false(peri_url_find_query(query, PERI_SLICE("user id2"), &raw));
    assert_false(peri_url_find_query(query, PERI_SLICE("X"), &raw));
    assert_false(peri_url_find_query(peri_slice(NULL, 0), PERI_SLICE("x"), &raw));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_arena, close_arena)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(returns_a_normal_path_as_it_is),
        TEST(merges_slashes),
        TEST(removes_dot_segments),
        TEST(removes_dot_segments_that_are_percent_encoded),
        TEST(refuses_to_climb_above_the_root),
        TEST(refuses_dot_segments_with_parameters),
        TEST(refuses_encoded_and_raw_separators),
        TEST(keeps_a_double_encoded_separator_as_data),
        TEST(keeps_path_parameters_as_data),
        TEST(refuses_nul_control_bytes_space_fragment_and_query),
        TEST(refuses_incomplete_escapes),
        TEST(decodes_unreserved_bytes_and_upper_cases_other_escapes),
        TEST(encodes_bytes_that_no_segment_may_hold_raw),
        TEST(refuses_a_path_without_a_slash_in_front),
        TEST(reports_that_memory_is_short),
        TEST(parses_the_origin_form),
        TEST(takes_a_double_slash_in_front_for_a_path_not_for_a_host),
        TEST(parses_the_absolute_form),
        TEST(parses_the_asterisk_form),
        TEST(refuses_targets_of_no_form),
        TEST(refuses_an_absolute_form_with_a_bad_authority),
        TEST(brings_a_host_to_one_form),
        TEST(refuses_what_is_no_host),
        TEST(bounds_the_length_of_a_host),
        TEST(decodes_escapes),
        TEST(refuses_to_decode_broken_escapes),
        TEST(iterates_over_a_query),
        TEST(finds_the_first_value_of_a_parameter_by_its_decoded_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
