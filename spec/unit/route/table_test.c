// SPDX-License-Identifier: MIT
// Which route a request takes: every rule of precedence, captures, conditions, refusals of malformed matches, and the
// search against the one-by-one walk of explain on generated tables.
#include "route/table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "exchange/exchange.h"

struct fixture {
    struct peri_route_table *table;
    struct peri_exchange x;
};

static struct fixture fx;

static int open_fixture(void **state)
{
    (void)state;
    memset(&fx, 0, sizeof fx);
    fx.table = peri_route_table_new();
    peri_arena_init(&fx.x.arena, 1 << 20);
    peri_headers_init(&fx.x.req.headers, &fx.x.arena);
    return fx.table ? 0 : -1;
}

static int close_fixture(void **state)
{
    (void)state;
    peri_route_table_free(fx.table);
    peri_arena_close(&fx.x.arena);
    return 0;
}

/// Adds a match that leads to its own `name`.
static void add(const char *name, struct peri_match match)
{
    char message[256] = "";
    if (peri_route_table_add(fx.table, &match, name, message, sizeof message) != PERI_OK)
        fail_msg("%s: %s", name, message);
}

static void add_path(const char *path)
{
    add(path, (struct peri_match){.path = peri_slice_from(path)});
}

static void add_regex(const char *regex)
{
    add(regex, (struct peri_match){.path_regex = peri_slice_from(regex)});
}

static void add_host(const char *host)
{
    add(host, (struct peri_match){.host = peri_slice_from(host)});
}

static void seal(void)
{
    assert_int_equal(peri_route_table_seal(fx.table), PERI_OK);
}

static void set_method(const char *method)
{
    fx.x.req.method_name = peri_slice_from(method);
    fx.x.req.method = peri_method_parse(fx.x.req.method_name);
}

static const char *find(const char *host, const char *path)
{
    if (fx.x.req.method_name.len == 0)
        set_method("GET");
    fx.x.req.host = peri_slice_from(host);
    fx.x.req.path = peri_slice_from(path);
    return peri_route_table_find(fx.table, &fx.x);
}

static void assert_found(const char *path, const char *expected)
{
    const char *found = find("h.example", path);
    if (strcmp(found ? found : "none", expected ? expected : "none") != 0)
        fail_msg("'%s' takes %s, not %s", path, found ? found : "none", expected ? expected : "none");
}

static void assert_capture(unsigned index, const char *expected)
{
    struct peri_slice got = fx.x.captures[index];
    if (!peri_slice_eq(got, peri_slice_from(expected)))
        fail_msg("capture %u is '%.*s', not '%s'", index, (int)got.len, got.ptr, expected);
}

// ---------------------------------------------------------------- paths

static void an_empty_table_finds_nothing(void **state)
{
    (void)state;
    seal();
    assert_found("/", NULL);
}

static void exact_paths_match_themselves_only(void **state)
{
    (void)state;
    add_path("/a");
    add_path("/a/b");
    add_path("/c/");
    add_path("/");
    seal();
    assert_found("/a", "/a");
    assert_found("/a/b", "/a/b");
    assert_found("/c/", "/c/");
    assert_found("/", "/");
    assert_found("/a/", NULL);
    assert_found("/c", NULL);
    assert_found("/A", NULL);
    assert_found("/a/b/c", NULL);
    assert_found("/ab", NULL);
}

static void a_prefix_matches_its_segment_and_all_below(void **state)
{
    (void)state;
    add_path("/a/*");
    seal();
    assert_found("/a", "/a/*");
    assert_found("/a/", "/a/*");
    assert_found("/a/b", "/a/*");
    assert_found("/a/b/c/", "/a/*");
    assert_found("/ab", NULL);
    assert_found("/", NULL);
    assert_found("/b/a", NULL);
}

static void the_root_prefix_matches_every_path(void **state)
{
    (void)state;
    add_path("/*");
    seal();
    assert_found("/", "/*");
    assert_found("/a/b", "/*");
    assert_found("*", NULL);
}

static void a_route_without_a_path_matches_every_path_and_the_asterisk(void **state)
{
    (void)state;
    add("any", (struct peri_match){0});
    seal();
    assert_found("/", "any");
    assert_found("/a/b", "any");
    assert_found("*", "any");
}

static void captures_take_one_segment_that_is_not_empty(void **state)
{
    (void)state;
    add_path("/users/{id}");
    add_path("/users/{id}/orders/{order}/");
    seal();
    assert_found("/users/7", "/users/{id}");
    assert_capture(0, "7");
    assert_found("/users/7/orders/x-1/", "/users/{id}/orders/{order}/");
    assert_capture(0, "7");
    assert_capture(1, "x-1");
    assert_found("/users/", NULL);
    assert_found("/users", NULL);
    assert_found("/users/7/", NULL);
    assert_found("/users/7/orders/8", NULL);
}

static void a_prefix_may_hold_captures(void **state)
{
    (void)state;
    add_path("/t/{tenant}/*");
    seal();
    assert_found("/t/a", "/t/{tenant}/*");
    assert_capture(0, "a");
    assert_found("/t/b/c/d", "/t/{tenant}/*");
    assert_capture(0, "b");
    assert_found("/t/", NULL);
}

static void literals_beat_captures_at_each_level_with_backtracking(void **state)
{
    (void)state;
    add_path("/{x}/b/c");
    add_path("/a/{y}/c");
    add_path("/a/b/{z}");
    add_path("/{x}/{y}/d");
    add_path("/a/b/d/{w}");
    seal();
    assert_found("/a/b/c", "/a/b/{z}");
    assert_capture(0, "c");
    assert_found("/a/q/c", "/a/{y}/c");
    assert_capture(0, "q");
    assert_found("/q/b/c", "/{x}/b/c");
    assert_capture(0, "q");
    assert_found("/a/q/d", "/{x}/{y}/d");
    assert_capture(0, "a");
    assert_capture(1, "q");
    assert_found("/a/b/d/e", "/a/b/d/{w}");
    assert_found("/a/q/e", NULL);
}

static void exact_beats_captures_beats_longest_prefix_beats_regex_beats_none(void **state)
{
    (void)state;
    add("any", (struct peri_match){0});
    add_regex("^/a/.*");
    add_path("/a/*");
    add_path("/a/b/*");
    add_path("/a/{x}/c");
    add_path("/a/b/c");
    add_path("/a/b/{x}/*");
    seal();
    assert_found("/a/b/c", "/a/b/c");
    assert_found("/a/x/c", "/a/{x}/c");
    assert_found("/a/b/d", "/a/b/{x}/*");
    assert_found("/a/b/", "/a/b/*");
    assert_found("/a/x", "/a/*");
    assert_found("/a", "/a/*");
    assert_found("/z", "any");
}

static void a_complete_pattern_beats_a_longer_literal_prefix(void **state)
{
    (void)state;
    add_path("/a/b/*");
    add_path("/{x}/{y}/{z}");
    seal();
    assert_found("/a/b/c", "/{x}/{y}/{z}");
    assert_capture(2, "c");
    assert_found("/a/b/c/d", "/a/b/*");
}

static void the_longest_prefix_wins_whatever_branch_it_is_on(void **state)
{
    (void)state;
    add_path("/a/*");
    add_path("/{x}/{y}/*");
    add_path("/a/{y}/c/*");
    seal();
    assert_found("/a", "/a/*");
    assert_found("/a/b", "/{x}/{y}/*");
    assert_capture(0, "a");
    assert_capture(1, "b");
    assert_found("/a/b/c/d", "/a/{y}/c/*");
    assert_capture(0, "b");
}

static void regexes_are_tried_in_order_and_give_their_groups(void **state)
{
    (void)state;
    add_regex("^/v(\\d+)/(?:(x)|y)/(.*)$");
    add_regex("\\.php$");
    add_regex("^/v1");
    seal();
    assert_found("/v12/y/z", "^/v(\\d+)/(?:(x)|y)/(.*)$");
    assert_capture(0, "12");
    assert_null(fx.x.captures[1].ptr);
    assert_capture(2, "z");
    assert_found("/v1.php", "\\.php$");
    assert_found("/v1", "^/v1");
    assert_found("/w/v1", NULL);
}

static void the_literal_in_front_of_a_regex_never_changes_what_matches(void **state)
{
    (void)state;
    add_regex("^/ab*c$");
    add_regex("^/q?r$");
    add_regex("^/x|y$");
    add_regex("^/m{0,1}n$");
    add_regex("^/k+$");
    add_regex("^(?i)/CASE$");
    seal();
    assert_found("/ac", "^/ab*c$");
    assert_found("/abbc", "^/ab*c$");
    assert_found("/r", "^/q?r$");
    assert_found("/zzy", "^/x|y$");
    assert_found("/n", "^/m{0,1}n$");
    assert_found("/kk", "^/k+$");
    assert_found("/", NULL);
    assert_found("/case", "^(?i)/CASE$");
}

static void patterns_are_normalised_as_requests_are(void **state)
{
    (void)state;
    add_path("/caf\xc3\xa9/%7euser/*");
    seal();
    assert_found("/caf%C3%A9/~user/x", "/caf\xc3\xa9/%7euser/*");
    assert_found("/caf%C3%A9/user/x", NULL);
}

// ---------------------------------------------------------------- hosts

static void exact_hosts_beat_the_longest_wildcard_beats_none(void **state)
{
    (void)state;
    add("none", (struct peri_match){0});
    add_host("*.example");
    add_host("*.shop.example");
    add_host("api.shop.example");
    seal();
    assert_string_equal(find("api.shop.example", "/"), "api.shop.example");
    assert_string_equal(find("www.shop.example", "/"), "*.shop.example");
    assert_string_equal(find("a.b.shop.example", "/"), "*.shop.example");
    assert_string_equal(find("shop.example", "/"), "*.example");
    assert_string_equal(find("example", "/"), "none");
    assert_string_equal(find("xexample", "/"), "none");
    assert_string_equal(find("", "/"), "none");
}

static void a_host_without_a_matching_path_leaves_the_request_to_less_specific_hosts(void **state)
{
    (void)state;
    add("none", (struct peri_match){.path = PERI_SLICE("/c")});
    add("wide", (struct peri_match){.host = PERI_SLICE("*.example"), .path = PERI_SLICE("/b/*")});
    add("near", (struct peri_match){.host = PERI_SLICE("*.a.example"), .path = PERI_SLICE("/b/x")});
    add("exact", (struct peri_match){.host = PERI_SLICE("h.a.example"), .path = PERI_SLICE("/a")});
    seal();
    assert_string_equal(find("h.a.example", "/a"), "exact");
    assert_string_equal(find("h.a.example", "/b/x"), "near");
    assert_string_equal(find("h.a.example", "/b/y"), "wide");
    assert_string_equal(find("h.a.example", "/c"), "none");
    assert_null(find("h.a.example", "/d"));
}

static void hosts_are_compared_in_normal_form(void **state)
{
    (void)state;
    add_host("API.Example.");
    add_host("*.Shop.EXAMPLE");
    add_host("[::1]");
    seal();
    assert_string_equal(find("api.example", "/"), "API.Example.");
    assert_string_equal(find("a.shop.example", "/"), "*.Shop.EXAMPLE");
    assert_string_equal(find("[::1]", "/"), "[::1]");
}

// ---------------------------------------------------------------- method, headers, query

static void routes_with_methods_go_before_those_without(void **state)
{
    (void)state;
    static const struct peri_slice get[] = {{"GET", 3}, {"HEAD", 4}}, other[] = {{"PURGE", 5}, {"LINK", 4}};
    add("any", (struct peri_match){.path = PERI_SLICE("/a")});
    add("get", (struct peri_match){.path = PERI_SLICE("/a"), .methods = get, .method_count = 2});
    add("other", (struct peri_match){.path = PERI_SLICE("/a"), .methods = other, .method_count = 2});
    seal();
    assert_found("/a", "get");
    set_method("HEAD");
    assert_found("/a", "get");
    set_method("POST");
    assert_found("/a", "any");
    set_method("LINK");
    assert_found("/a", "other");
    set_method("UNLINK");
    assert_found("/a", "any");
    set_method("get");
    assert_found("/a", "any");
}

static void a_route_of_another_method_does_not_hide_a_less_specific_path(void **state)
{
    (void)state;
    static const struct peri_slice post[] = {{"POST", 4}};
    add("exact", (struct peri_match){.path = PERI_SLICE("/a/b"), .methods = post, .method_count = 1});
    add("capture", (struct peri_match){.path = PERI_SLICE("/a/{x}"), .methods = post, .method_count = 1});
    add("deep", (struct peri_match){.path = PERI_SLICE("/a/b/*"), .methods = post, .method_count = 1});
    add("prefix", (struct peri_match){.path = PERI_SLICE("/a/*")});
    seal();
    assert_found("/a/b", "prefix");
    set_method("POST");
    assert_found("/a/b", "exact");
    assert_found("/a/c", "capture");
    assert_found("/a/b/c", "deep");
}

static void more_headers_then_more_query_then_order_decide(void **state)
{
    (void)state;
    static const struct peri_match_field one[] = {{.name = {"x-a", 3}, .is_presence = true}};
    static const struct peri_match_field two[] = {{.name = {"x-a", 3}, .value = {"1", 1}},
                                                  {.name = {"X-B", 3}, .is_presence = true}};
    add("second", (struct peri_match){.path = PERI_SLICE("/a"), .query = one, .query_count = 1});
    add("third", (struct peri_match){.path = PERI_SLICE("/a"), .query = one, .query_count = 1});
    add("last", (struct peri_match){.path = PERI_SLICE("/a")});
    add("one", (struct peri_match){.path = PERI_SLICE("/a"), .headers = one, .header_count = 1});
    add("one and query",
        (struct peri_match){
            .path = PERI_SLICE("/a"), .headers = one, .header_count = 1, .query = one, .query_count = 1});
    add("two", (struct peri_match){.path = PERI_SLICE("/a"), .headers = two, .header_count = 2});
    seal();
    assert_found("/a", "last");
    fx.x.req.query = PERI_SLICE("x-a=2");
    assert_found("/a", "second");
    peri_headers_add(&fx.x.req.headers, PERI_SLICE("X-A"), PERI_SLICE("1"));
    assert_found("/a", "one and query");
    fx.x.req.query = PERI_SLICE("");
    assert_found("/a", "one");
    peri_headers_add(&fx.x.req.headers, PERI_SLICE("x-b"), PERI_SLICE(""));
    assert_found("/a", "two");
}

static void a_repeated_header_matches_when_one_line_does(void **state)
{
    (void)state;
    static const struct peri_match_field exact[] = {{.name = {"accept", 6}, .value = {"b", 1}}};
    static const struct peri_match_field regex[] = {
        {.name = {"x-version", 9}, .value = {"^v[23]$", 7}, .is_regex = true}};
    add("exact", (struct peri_match){.headers = exact, .header_count = 1});
    add("regex", (struct peri_match){.headers = regex, .header_count = 1});
    seal();
    peri_headers_add(&fx.x.req.headers, PERI_SLICE("accept"), PERI_SLICE("a"));
    peri_headers_add(&fx.x.req.headers, PERI_SLICE("x-version"), PERI_SLICE("v1"));
    peri_headers_add(&fx.x.req.headers, PERI_SLICE("x-versio"), PERI_SLICE("v2"));
    assert_found("/", NULL);
    peri_headers_add(&fx.x.req.headers, PERI_SLICE("x-version"), PERI_SLICE("v3"));
    assert_found("/", "regex");
    peri_headers_add(&fx.x.req.headers, PERI_SLICE("accept"), PERI_SLICE("b"));
    assert_found("/", "exact");
}

static void query_conditions_see_decoded_names_and_values(void **state)
{
    (void)state;
    static const struct peri_match_field exact[] = {{.name = {"user id", 7}, .value = {"a b/c", 5}}};
    static const struct peri_match_field regex[] = {{.name = {"v", 1}, .value = {"^[0-9 ]+$", 9}, .is_regex = true}};
    add("exact", (struct peri_match){.query = exact, .query_count = 1});
    add("regex", (struct peri_match){.query = regex, .query_count = 1});
    seal();
    fx.x.req.query = PERI_SLICE("user+id=a%20b%2fc");
    assert_found("/", "exact");
    fx.x.req.query = PERI_SLICE("user%20id=x&user%20id=a+b/c");
    assert_found("/", "exact");
    fx.x.req.query = PERI_SLICE("user+id=a%20b%2fcd&v=%zz&v=x");
    assert_found("/", NULL);
    fx.x.req.query = PERI_SLICE("v=%31+2");
    assert_found("/", "regex");
    fx.x.req.query = PERI_SLICE("v&v=&w=1");
    assert_found("/", NULL);
}

static void a_condition_that_cannot_be_tested_finds_no_laxer_route(void **state)
{
    (void)state;
    static char subject[40000];
    static const struct peri_match_field slow[] = {{.name = {"x-a", 3}, .value = {"(a+)+$", 6}, .is_regex = true}};
    add("slow header", (struct peri_match){.path = PERI_SLICE("/h"), .headers = slow, .header_count = 1});
    add_regex("^/r/(?:a+)+$");
    add("lax", (struct peri_match){0});
    seal();
    memset(subject, 'a', sizeof subject);
    memcpy(subject, "/r/", 3);
    subject[sizeof subject - 2] = '!';
    subject[sizeof subject - 1] = '\0';
    assert_found("/r/b", "lax");
    assert_found(subject, NULL);
    assert_found("/h", "lax");
    peri_headers_append(&fx.x.req.headers, PERI_SLICE("x-a"), peri_slice(subject + 3, sizeof subject - 4));
    assert_found("/h", NULL);
}

static void a_condition_that_cannot_be_tested_does_not_hide_a_better_route(void **state)
{
    (void)state;
    static char value[40000];
    static const struct peri_match_field slow[] = {{.name = {"x-a", 3}, .value = {"(a+)+$", 6}, .is_regex = true}};
    add("slow", (struct peri_match){.path = PERI_SLICE("/a/*"), .headers = slow, .header_count = 1});
    add_path("/*");
    add_path("/{x}/b/*");
    add_path("/{x}/c");
    seal();
    memset(value, 'a', sizeof value);
    value[sizeof value - 1] = '!';
    peri_headers_append(&fx.x.req.headers, PERI_SLICE("x-a"), peri_slice(value, sizeof value));
    assert_found("/a/c", "/{x}/c");
    assert_found("/a/b", "/{x}/b/*");
    assert_found("/a/d", NULL);
    assert_found("/b", "/*");
}

// ---------------------------------------------------------------- refusals

static void assert_add_refused(struct peri_match match, const char *expected)
{
    char message[256] = "";
    peri_err_t err = peri_route_table_add(fx.table, &match, "r", message, sizeof message);
    if (err != PERI_ERR_INVALID || !strstr(message, expected))
        fail_msg("error %d, message '%s' lacks '%s'", (int)err, message, expected);
    assert_int_equal(peri_route_table_add(fx.table, &match, "r", NULL, 0), PERI_ERR_INVALID);
}

static void malformed_paths_are_refused_with_a_sentence(void **state)
{
    (void)state;
    static const char *const paths[][2] = {
        {"a", "begins with '/'"},
        {"*", "begins with '/'"},
        {"/a*", "whole last segment"},
        {"/*/a", "whole last segment"},
        {"/**", "whole last segment"},
        {"/a//b", "empty segment"},
        {"//*", "empty segment"},
        {"/a/../b", "'..'"},
        {"/./b", "'.'"},
        {"/a/%2e%2e", "normalised"},
        {"/a%2fb", "normalised"},
        {"/a\\b", "normalised"},
        {"/a?b", "normalised"},
        {"/a%zz", "normalised"},
        {"/a b", "normalised"},
        {"/{a", "whole segment like {name}"},
        {"/a}", "whole segment like {name}"},
        {"/x{a}", "whole segment like {name}"},
        {"/{}", "whole segment like {name}"},
        {"/{1a}", "whole segment like {name}"},
        {"/{a b}", "whole segment like {name}"},
        {"/{a}{b}", "whole segment like {name}"},
        {"/{", "whole segment like {name}"},
        {"/{a}/b/{a}", "occurs twice"},
        {"/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}/{j}/{k}/{l}/{m}/{n}/{o}/{p}/{q}", "more than 16 captures"},
    };
    for (size_t i = 0; i < PERI_COUNT(paths); i++)
        assert_add_refused((struct peri_match){.path = peri_slice_from(paths[i][0])}, paths[i][1]);
}

static void the_number_of_segments_is_bounded(void **state)
{
    (void)state;
    char path[2 * 65 + 1];
    for (size_t i = 0; i < 65; i++)
        memcpy(path + 2 * i, "/a", 2);
    add("most", (struct peri_match){.path = peri_slice(path, 2 * 64)});
    assert_add_refused((struct peri_match){.path = peri_slice(path, 2 * 65)}, "more than 64 segments");
}

static void malformed_regexes_are_refused_with_a_sentence(void **state)
{
    (void)state;
    assert_add_refused((struct peri_match){.path_regex = PERI_SLICE("^/(a")}, "path_regex '^/(a'");
    assert_add_refused((struct peri_match){.path_regex = PERI_SLICE("()()()()()()()()()()()()()()()()()")},
                       "16 groups");
    assert_add_refused((struct peri_match){.path = PERI_SLICE("/"), .path_regex = PERI_SLICE("a")},
                       "exclude each other");
}

static void malformed_hosts_are_refused_with_a_sentence(void **state)
{
    (void)state;
    static const char *const hosts[] = {"*",   "*.", "*a.example", "a.*.example", "a.*", "**.example", "*.[::1]",
                                        "a b", "/a", "*.*.a",      "a..b",        "u@a", ".example"};
    for (size_t i = 0; i < PERI_COUNT(hosts); i++)
        assert_add_refused((struct peri_match){.host = peri_slice_from(hosts[i])}, "neither a host name");
    assert_add_refused((struct peri_match){.host = PERI_SLICE("a.example:80")}, "without its port");
}

static void malformed_conditions_are_refused_with_a_sentence(void **state)
{
    (void)state;
    static const struct peri_slice method[] = {{"GE T", 4}};
    static const struct peri_match_field bad_name[] = {{.name = {"x a", 3}, .is_presence = true}};
    static const struct peri_match_field no_name[] = {{.is_presence = true}};
    static const struct peri_match_field both[] = {{.name = {"a", 1}, .is_presence = true, .is_regex = true}};
    static const struct peri_match_field regex[] = {{.name = {"b", 1}, .value = {"x", 1}, .is_regex = true},
                                                    {.name = {"a", 1}, .value = {"[", 1}, .is_regex = true}};
    assert_add_refused((struct peri_match){.methods = method, .method_count = 1}, "'GE T' is not a token");
    assert_add_refused((struct peri_match){.headers = bad_name, .header_count = 1}, "'x a' is not a header name");
    assert_add_refused((struct peri_match){.query = no_name, .query_count = 1}, "no name");
    assert_add_refused((struct peri_match){.query = both, .query_count = 1}, "exclude each other");
    assert_add_refused((struct peri_match){.headers = regex, .header_count = 2}, "'a': regex '['");
}

static void a_refused_match_leaves_the_table_usable(void **state)
{
    (void)state;
    add_path("/a");
    assert_add_refused((struct peri_match){.path = PERI_SLICE("b")}, "begins");
    add_path("/c");
    seal();
    assert_found("/a", "/a");
    assert_found("/c", "/c");
}

// ---------------------------------------------------------------- explaining

static void note(void *data, const void *route, const char *reason)
{
    char *text = data;
    snprintf(text + strlen(text), 1000 - strlen(text), "%s: %s\n", (const char *)route, reason ? reason : "chosen");
}

static void explain_gives_the_first_reason_of_every_route_in_order_of_precedence(void **state)
{
    (void)state;
    static const struct peri_slice post[] = {{"POST", 4}};
    static const struct peri_match_field field[] = {{.name = {"a", 1}, .is_presence = true}};
    char text[1000] = "";
    add("any", (struct peri_match){0});
    add("prefix", (struct peri_match){.path = PERI_SLICE("/a/*")});
    add("query", (struct peri_match){.path = PERI_SLICE("/a"), .query = field, .query_count = 1});
    add("header", (struct peri_match){.path = PERI_SLICE("/a"), .headers = field, .header_count = 1});
    add("post", (struct peri_match){.path = PERI_SLICE("/a"), .methods = post, .method_count = 1});
    add("other path", (struct peri_match){.path = PERI_SLICE("/b")});
    add("wildcard", (struct peri_match){.host = PERI_SLICE("*.h.example"), .path = PERI_SLICE("/a")});
    add("exact", (struct peri_match){.host = PERI_SLICE("www.example")});
    seal();
    assert_found("/a", "prefix");
    peri_route_table_explain(fx.table, &fx.x, note, text);
    assert_string_equal(text,
                        "exact: host\nwildcard: host\npost: method\nheader: header\nquery: query\nother path: path\n"
                        "prefix: chosen\nany: a route before it matched\n");
}

static void explain_names_the_route_that_could_not_be_tested(void **state)
{
    (void)state;
    static char path[40000];
    char text[1000] = "";
    add_regex("^/(?:a+)+$");
    add("lax", (struct peri_match){0});
    seal();
    memset(path, 'a', sizeof path - 1);
    path[0] = '/';
    path[sizeof path - 2] = '!';
    assert_found(path, NULL);
    peri_route_table_explain(fx.table, &fx.x, note, text);
    assert_string_equal(text, "^/(?:a+)+$: could not be tested\nlax: a route before it could not be tested\n");
}

// ---------------------------------------------------------------- generated tables

static uint32_t seed;

static uint32_t next_random(uint32_t bound)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 16) % bound;
}

/// A path of up to five segments from few words; as a pattern with captures and a wildcard.
static void random_path(char *out, bool is_pattern)
{
    static const char *const words[] = {"a", "b", "ab", "long-enough-for-two-words"};
    unsigned count = next_random(5);
    for (unsigned i = 0; i < count; i++) {
        bool is_capture = is_pattern && next_random(3) == 0;
        out += is_capture ? sprintf(out, "/{c%u}", i) : sprintf(out, "/%s", words[next_random(4)]);
    }
    if (count == 0 || next_random(4) == 0)
        out += sprintf(out, "/");
    if (is_pattern && next_random(3) == 0)
        strcpy(out, out[-1] == '/' ? "*" : "/*");
}

static void note_chosen(void *data, const void *route, const char *reason)
{
    if (!reason)
        *(const void **)data = route;
}

static void the_search_finds_what_the_walk_through_all_routes_finds(void **state)
{
    static const char *const hosts[] = {"", "", "*.example", "*.h.example", "h.example", "x.h.example"};
    static const char *const methods[] = {"GET", "POST"};
    static const char *const regexes[] = {"^/a", "b/$", "^/(a|b)/", "/ab/"};
    for (seed = 1; seed < 400; seed++) {
        uint32_t kept = seed;
        char names[40][8];
        close_fixture(state);
        open_fixture(state);
        for (int i = 0; i < 40; i++) {
            char path[256];
            struct peri_slice method = peri_slice_from(methods[next_random(2)]);
            struct peri_match match = {.host = peri_slice_from(hosts[next_random(6)]), .methods = &method};
            random_path(path, true);
            match.method_count = next_random(3) == 0;
            if (next_random(8) == 0)
                match.path_regex = peri_slice_from(regexes[next_random(4)]);
            else if (next_random(16) != 0)
                match.path = peri_slice_from(path);
            sprintf(names[i], "r%d", i);
            add(names[i], match);
        }
        seal();
        for (int i = 0; i < 200; i++) {
            char path[256];
            const void *expected = NULL;
            random_path(path, false);
            set_method(methods[next_random(2)]);
            const char *found = find(next_random(2) ? "x.h.example" : "y.example", path);
            peri_route_table_explain(fx.table, &fx.x, note_chosen, &expected);
            if (found != expected)
                fail_msg("seed %u: %s takes %s, not %s", kept, path, found, (const char *)expected);
        }
        seed = kept;
    }
}

/// Every combination of literal and capture over twelve segments: the most branches a path can have.
static void a_path_that_fits_every_branch_is_found_in_the_end(void **state)
{
    (void)state;
    char path[128], name[128] = "";
    for (unsigned bits = 0; bits < 1u << 12; bits++) {
        char *out = path;
        for (unsigned i = 0; i < 12; i++)
            out += bits >> i & 1 ? sprintf(out, "/{c%u}", i) : sprintf(out, "/a");
        strcpy(out, "/end/{e}");
        add("end", (struct peri_match){.path = peri_slice_from(path)});
    }
    seal();
    for (unsigned i = 0; i < 12; i++)
        strcat(name, "/a");
    assert_found(name, NULL);
    strcat(name, "/end/x");
    assert_found(name, "end");
}

static void many_segments_beyond_the_deepest_pattern_cost_nothing(void **state)
{
    (void)state;
    static char path[16001];
    add_path("/{a}/{b}");
    add_path("/{a}/*");
    seal();
    for (size_t i = 0; i < 16000; i += 2)
        memcpy(path + i, "/a", 2);
    assert_found(path, "/{a}/*");
}

static void thousands_of_routes_are_found_each(void **state)
{
    (void)state;
    static char paths[5000][32];
    for (int i = 0; i < 5000; i++) {
        sprintf(paths[i], i % 2 ? "/svc-%d/{id}" : "/svc-%d", i);
        add_path(paths[i]);
    }
    seal();
    for (int i = 0; i < 5000; i++) {
        char path[32];
        sprintf(path, i % 2 ? "/svc-%d/x" : "/svc-%d", i);
        assert_found(path, paths[i]);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_fixture, close_fixture)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_empty_table_finds_nothing),
        TEST(exact_paths_match_themselves_only),
        TEST(a_prefix_matches_its_segment_and_all_below),
        TEST(the_root_prefix_matches_every_path),
        TEST(a_route_without_a_path_matches_every_path_and_the_asterisk),
        TEST(captures_take_one_segment_that_is_not_empty),
        TEST(a_prefix_may_hold_captures),
        TEST(literals_beat_captures_at_each_level_with_backtracking),
        TEST(exact_beats_captures_beats_longest_prefix_beats_regex_beats_none),
        TEST(a_complete_pattern_beats_a_longer_literal_prefix),
        TEST(the_longest_prefix_wins_whatever_branch_it_is_on),
        TEST(regexes_are_tried_in_order_and_give_their_groups),
        TEST(the_literal_in_front_of_a_regex_never_changes_what_matches),
        TEST(patterns_are_normalised_as_requests_are),
        TEST(exact_hosts_beat_the_longest_wildcard_beats_none),
        TEST(a_host_without_a_matching_path_leaves_the_request_to_less_specific_hosts),
        TEST(hosts_are_compared_in_normal_form),
        TEST(routes_with_methods_go_before_those_without),
        TEST(a_route_of_another_method_does_not_hide_a_less_specific_path),
        TEST(more_headers_then_more_query_then_order_decide),
        TEST(a_repeated_header_matches_when_one_line_does),
        TEST(query_conditions_see_decoded_names_and_values),
        TEST(a_condition_that_cannot_be_tested_finds_no_laxer_route),
        TEST(a_condition_that_cannot_be_tested_does_not_hide_a_better_route),
        TEST(malformed_paths_are_refused_with_a_sentence),
        TEST(the_number_of_segments_is_bounded),
        TEST(malformed_regexes_are_refused_with_a_sentence),
        TEST(malformed_hosts_are_refused_with_a_sentence),
        TEST(malformed_conditions_are_refused_with_a_sentence),
        TEST(a_refused_match_leaves_the_table_usable),
        TEST(explain_gives_the_first_reason_of_every_route_in_order_of_precedence),
        TEST(explain_names_the_route_that_could_not_be_tested),
        TEST(the_search_finds_what_the_walk_through_all_routes_finds),
        TEST(a_path_that_fits_every_branch_is_found_in_the_end),
        TEST(many_segments_beyond_the_deepest_pattern_cost_nothing),
        TEST(thousands_of_routes_are_found_each),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
