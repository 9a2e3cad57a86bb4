// SPDX-License-Identifier: MIT
// The path that goes upstream: by prefix, by template, by expression; always a normal path, or an error.
#include "route/rewrite.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "exchange/exchange.h"
#include "route/match.h"
#include "route/table.h"

static struct peri_exchange x;

static int open_exchange(void **state)
{
    (void)state;
    memset(&x, 0, sizeof x);
    peri_arena_init(&x.arena, 1 << 20);
    peri_headers_init(&x.req.headers, &x.arena);
    return 0;
}

static int close_exchange(void **state)
{
    (void)state;
    peri_arena_close(&x.arena);
    return 0;
}

/// Fills the captures as a table with the one route does.
static void find(const struct peri_match *match, const char *path)
{
    struct peri_route_table *table = peri_route_table_new();
    assert_int_equal(peri_route_table_add(table, match, "r", NULL, 0), PERI_OK);
    assert_int_equal(peri_route_table_seal(table), PERI_OK);
    x.req.path = peri_slice_from(path);
    if (!peri_route_table_find(table, &x))
        fail_msg("'%s' does not match", path);
    peri_route_table_free(table);
}

static struct peri_rewrite *compile(const struct peri_rewrite_rule *rule, const struct peri_match *match)
{
    char message[256] = "";
    struct peri_rewrite *rewrite;
    if (peri_rewrite_new(rule, match, &rewrite, message, sizeof message) != PERI_OK)
        fail_msg("%s", message);
    return rewrite;
}

static void assert_rewritten(struct peri_rewrite_rule rule, struct peri_match match, const char *from, const char *to)
{
    struct peri_slice path;
    struct peri_rewrite *rewrite = compile(&rule, &match);
    find(&match, from);
    if (peri_rewrite_apply(rewrite, &x, &path) != PERI_OK)
        fail_msg("'%s' is refused", from);
    if (!peri_slice_eq(path, peri_slice_from(to)))
        fail_msg("'%s' becomes '%.*s', not '%s'", from, (int)path.len, path.ptr, to);
    peri_rewrite_free(rewrite);
}

static void assert_prefix(const char *match, const char *prefix, const char *from, const char *to)
{
    assert_rewritten((struct peri_rewrite_rule){.kind = PERI_REWRITE_PREFIX, .text = peri_slice_from(prefix)},
                     (struct peri_match){.path = peri_slice_from(match)}, from, to);
}

static void assert_template(const char *match, const char *text, const char *from, const char *to)
{
    assert_rewritten((struct peri_rewrite_rule){.kind = PERI_REWRITE_PATH, .text = peri_slice_from(text)},
                     (struct peri_match){.path = peri_slice_from(match)}, from, to);
}

static void assert_regex(const char *regex, const char *by, const char *from, const char *to)
{
    assert_rewritten((struct peri_rewrite_rule){PERI_REWRITE_REGEX, peri_slice_from(regex), peri_slice_from(by)},
                     (struct peri_match){0}, from, to);
}

// ---------------------------------------------------------------- prefix

static void a_prefix_replaces_what_the_match_begins_with(void **state)
{
    (void)state;
    assert_prefix("/orders/*", "/v2", "/orders/7", "/v2/7");
    assert_prefix("/orders/*", "/v2", "/orders/", "/v2/");
    assert_prefix("/orders/*", "/v2", "/orders", "/v2");
    assert_prefix("/orders/*", "/v2/", "/orders/7", "/v2/7");
    assert_prefix("/orders/*", "/v2/x", "/orders/7/8", "/v2/x/7/8");
    assert_prefix("/a/b/*", "/c", "/a/b/d", "/c/d");
}

static void the_root_as_prefix_takes_the_prefix_away(void **state)
{
    (void)state;
    assert_prefix("/orders/*", "/", "/orders/7", "/7");
    assert_prefix("/orders/*", "/", "/orders/", "/");
    assert_prefix("/orders/*", "/", "/orders", "/");
}

static void a_match_without_a_literal_prefix_gets_the_prefix_in_front(void **state)
{
    (void)state;
    assert_prefix("/*", "/v2", "/a", "/v2/a");
    assert_prefix("/*", "/v2", "/", "/v2/");
    assert_prefix("", "/v2", "/a/b", "/v2/a/b");
    assert_prefix("/{x}/b", "/v2", "/a/b", "/v2/a/b");
}

static void a_prefix_ends_before_the_first_capture(void **state)
{
    (void)state;
    assert_prefix("/users/{id}", "/v2", "/users/7", "/v2/7");
    assert_prefix("/t/{tenant}/*", "/x", "/t/a/b", "/x/a/b");
}

static void an_exact_match_is_replaced_as_a_whole(void **state)
{
    (void)state;
    assert_prefix("/a", "/b", "/a", "/b");
    assert_prefix("/a/", "/b", "/a/", "/b");
    assert_prefix("/", "/b", "/", "/b");
}

static void a_prefix_leaves_a_path_alone_that_no_longer_begins_with_it(void **state)
{
    (void)state;
    struct peri_rewrite_rule rule = {.kind = PERI_REWRITE_PREFIX, .text = PERI_SLICE("/v2")};
    struct peri_match match = {.path = PERI_SLICE("/orders/*")};
    struct peri_rewrite *rewrite = compile(&rule, &match);
    struct peri_slice path;
    static const char *const paths[] = {"/ordersx", "/other/7", "/", "*"};
    for (size_t i = 0; i < PERI_COUNT(paths); i++) {
        x.req.path = peri_slice_from(paths[i]);
        assert_int_equal(peri_rewrite_apply(rewrite, &x, &path), PERI_OK);
        assert_ptr_equal(path.ptr, x.req.path.ptr);
        assert_int_equal(path.len, x.req.path.len);
    }
    peri_rewrite_free(rewrite);
}

// ---------------------------------------------------------------- template

static void a_template_is_filled_with_captures(void **state)
{
    (void)state;
    assert_template("/users/{id}", "/u/{id}/profile", "/users/7", "/u/7/profile");
    assert_template("/{a}/{b}/*", "/{b}-{a}/{a}", "/1/2/3", "/2-1/1");
    assert_template("/{a}", "/x", "/1", "/x");
    assert_template("/{a}", "/{a}", "/caf%C3%A9", "/caf%C3%A9");
}

static void a_filled_template_is_normalised(void **state)
{
    (void)state;
    assert_template("/{a}", "//x//./{a}/../y", "/1", "/x/y");
    assert_template("/{a}", "/caf\xc3\xa9/{a}", "/1", "/caf%C3%A9/1");
}

static void a_capture_cannot_climb_above_the_root(void **state)
{
    (void)state;
    struct peri_rewrite_rule rule = {.kind = PERI_REWRITE_PATH, .text = PERI_SLICE("/{a}./{b}")};
    struct peri_match match = {.path = PERI_SLICE("/{a}/{b}")};
    struct peri_rewrite *rewrite = compile(&rule, &match);
    struct peri_slice path;
    x.req.path = PERI_SLICE("/./x");
    x.captures[0] = PERI_SLICE(".");
    x.captures[1] = PERI_SLICE("x");
    assert_int_equal(peri_rewrite_apply(rewrite, &x, &path), PERI_ERR_BAD_PATH);
    peri_rewrite_free(rewrite);
}

// ---------------------------------------------------------------- expression

static void an_expression_replaces_its_first_match(void **state)
{
    (void)state;
    assert_regex("^/old/", "/new/", "/old/old/a", "/new/old/a");
    assert_regex("/v(\\d)/(\\w+)", "/$2/$1", "/a/v1/b/c", "/a/b/1/c");
    assert_regex("(\\w+)\\.php$", "$0.$1", "/a/index.php", "/a/index.php.index");
    assert_regex("a|(b)", "x$1", "/a", "/x");
    assert_regex("$", "/$$1", "/a", "/a/$1");
}

static void an_expression_that_does_not_match_changes_nothing(void **state)
{
    (void)state;
    assert_regex("^/old", "/new", "/a/old", "/a/old");
}

static void the_result_of_an_expression_is_a_path(void **state)
{
    (void)state;
    assert_regex("^/api", "", "/api", "/");
    assert_regex("^/api/(.*)", "$1", "/api/a/b", "/a/b");
    assert_regex("^/api", "//", "/api/a", "/a");
}

static void an_expression_that_costs_too_much_is_an_error(void **state)
{
    (void)state;
    static char text[40000];
    struct peri_rewrite_rule rule = {PERI_REWRITE_REGEX, PERI_SLICE("^/(a+)+$"), PERI_SLICE("/x")};
    struct peri_match match = {0};
    struct peri_rewrite *rewrite = compile(&rule, &match);
    struct peri_slice path;
    memset(text, 'a', sizeof text);
    text[0] = '/';
    text[sizeof text - 1] = '!';
    x.req.path = peri_slice(text, sizeof text);
    assert_int_equal(peri_rewrite_apply(rewrite, &x, &path), PERI_ERR_LIMIT);
    peri_rewrite_free(rewrite);
}

static void the_asterisk_stays(void **state)
{
    (void)state;
    static const struct peri_rewrite_rule rules[] = {{PERI_REWRITE_PREFIX, {"/a", 2}, {NULL, 0}},
                                                     {PERI_REWRITE_PATH, {"/a", 2}, {NULL, 0}},
                                                     {PERI_REWRITE_REGEX, {"^", 1}, {"/a", 2}}};
    for (size_t i = 0; i < PERI_COUNT(rules); i++)
        assert_rewritten(rules[i], (struct peri_match){0}, "*", "*");
}

static void the_result_may_take_the_place_of_the_path(void **state)
{
    (void)state;
    struct peri_rewrite_rule rule = {PERI_REWRITE_REGEX, PERI_SLICE("/b(.)"), PERI_SLICE("/$1$1")};
    struct peri_match match = {0};
    struct peri_rewrite *rewrite = compile(&rule, &match);
    x.req.path = PERI_SLICE("/a/bc/d");
    assert_int_equal(peri_rewrite_apply(rewrite, &x, &x.req.path), PERI_OK);
    assert_true(peri_slice_eq(x.req.path, PERI_SLICE("/a/cc/d")));
    peri_rewrite_free(rewrite);
}

// ---------------------------------------------------------------- refusals and memory

static void malformed_rewrites_are_refused_with_a_sentence(void **state)
{
    (void)state;
    static const struct {
        enum peri_rewrite_kind kind;
        const char *text, *to, *path, *regex, *expected;
    } cases[] = {
        {PERI_REWRITE_PREFIX, "", "", "/a/*", "", "begins with '/'"},
        {PERI_REWRITE_PREFIX, "v2", "", "/a/*", "", "begins with '/'"},
        {PERI_REWRITE_PREFIX, "/v2?x", "", "/a/*", "", "no path"},
        {PERI_REWRITE_PREFIX, "/..", "", "/a/*", "", "no path"},
        {PERI_REWRITE_PREFIX, "/v2", "", "", "^/a", "no prefix"},
        {PERI_REWRITE_PREFIX, "/v2", "", "a", "", "path 'a'"},
        {PERI_REWRITE_PATH, "{id}", "", "/{id}", "", "begins with '/'"},
        {PERI_REWRITE_PATH, "/{ix}", "", "/{id}", "", "no capture {ix}"},
        {PERI_REWRITE_PATH, "/{id", "", "/{id}", "", "no capture {id"},
        {PERI_REWRITE_PATH, "/{}", "", "/{id}", "", "no capture {}"},
        {PERI_REWRITE_PATH, "/{id}#a", "", "/{id}", "", "no path"},
        {PERI_REWRITE_PATH, "/a%2f", "", "/a", "", "no path"},
        {PERI_REWRITE_REGEX, "(", "/", "", "", "rewrite '('"},
        {PERI_REWRITE_REGEX, "(a)", "/$2", "", "", "stands before no group"},
        {PERI_REWRITE_REGEX, "(a)", "/$", "", "", "stands before no group"},
        {PERI_REWRITE_REGEX, "(a)", "/$x", "", "", "stands before no group"},
        {PERI_REWRITE_REGEX, "(a)", "/$1?b", "", "", "no path"},
    };
    for (size_t i = 0; i < PERI_COUNT(cases); i++) {
        char message[256] = "";
        struct peri_rewrite_rule rule = {cases[i].kind, peri_slice_from(cases[i].text), peri_slice_from(cases[i].to)};
        struct peri_match match = {.path = peri_slice_from(cases[i].path),
                                   .path_regex = peri_slice_from(cases[i].regex)};
        struct peri_rewrite *rewrite;
        peri_err_t err = peri_rewrite_new(&rule, &match, &rewrite, message, sizeof message);
        if (err != PERI_ERR_INVALID || !strstr(message, cases[i].expected))
            fail_msg("case %zu: error %d, message '%s' lacks '%s'", i, (int)err, message, cases[i].expected);
        assert_null(rewrite);
    }
}

static void reports_that_memory_is_short(void **state)
{
    (void)state;
    struct peri_rewrite_rule rule = {.kind = PERI_REWRITE_PATH, .text = PERI_SLICE("/b")};
    struct peri_match match = {.path = PERI_SLICE("/a")};
    struct peri_rewrite *rewrite = compile(&rule, &match);
    struct peri_slice path;
    x.req.path = PERI_SLICE("/a");
    x.arena.limit = 0;
    assert_int_equal(peri_rewrite_apply(rewrite, &x, &path), PERI_ERR_NOMEM);
    peri_rewrite_free(rewrite);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_exchange, close_exchange)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_prefix_replaces_what_the_match_begins_with),
        TEST(the_root_as_prefix_takes_the_prefix_away),
        TEST(a_match_without_a_literal_prefix_gets_the_prefix_in_front),
        TEST(a_prefix_ends_before_the_first_capture),
        TEST(an_exact_match_is_replaced_as_a_whole),
        TEST(a_prefix_leaves_a_path_alone_that_no_longer_begins_with_it),
        TEST(a_template_is_filled_with_captures),
        TEST(a_filled_template_is_normalised),
        TEST(a_capture_cannot_climb_above_the_root),
        TEST(an_expression_replaces_its_first_match),
        TEST(an_expression_that_does_not_match_changes_nothing),
        TEST(the_result_of_an_expression_is_a_path),
        TEST(an_expression_that_costs_too_much_is_an_error),
        TEST(the_asterisk_stays),
        TEST(the_result_may_take_the_place_of_the_path),
        TEST(malformed_rewrites_are_refused_with_a_sentence),
        TEST(reports_that_memory_is_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
