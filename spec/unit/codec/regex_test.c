// SPDX-License-Identifier: MIT
// Expressions: what they find, what they name, and that no subject makes a search cost more than its limits.
#include "codec/regex.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/attr.h"

static struct peri_regex *compile(const char *pattern, uint32_t flags)
{
    char message[128] = "";
    struct peri_regex *regex = peri_regex_new(peri_slice_from(pattern), flags, message, sizeof message);
    if (!regex)
        fail_msg("%s: %s", pattern, message);
    return regex;
}

static peri_err_t match_once(const char *pattern, uint32_t flags, struct peri_slice subject,
                             struct peri_regex_span *spans, uint32_t max)
{
    struct peri_regex *regex = compile(pattern, flags);
    peri_err_t err = peri_regex_match(regex, subject, 0, spans, max);
    peri_regex_free(regex);
    return err;
}

static void assert_span(struct peri_regex_span span, int start, int end)
{
    assert_int_equal(span.start, start);
    assert_int_equal(span.end, end);
}

static void finds_the_match_and_its_groups(void **state)
{
    (void)state;
    struct peri_regex_span spans[4];
    struct peri_slice subject = PERI_SLICE("--ab12--");
    assert_int_equal(match_once("([a-z]+)([0-9]+)(x)?", 0, subject, spans, 4), PERI_OK);
    assert_span(spans[0], 2, 6);
    assert_span(spans[1], 2, 4);
    assert_span(spans[2], 4, 6);
    assert_span(spans[3], -1, -1);
    assert_memory_equal(peri_regex_slice(subject, spans[2]).ptr, "12", 2);
    assert_null(peri_regex_slice(subject, spans[3]).ptr);
}

static void stores_no_more_spans_than_there_is_room_for(void **state)
{
    (void)state;
    struct peri_regex_span spans[2] = {{7, 7}, {7, 7}};
    assert_int_equal(match_once("(a)(b)", 0, PERI_SLICE("ab"), spans, 1), PERI_OK);
    assert_span(spans[0], 0, 2);
    assert_span(spans[1], 7, 7);
    assert_int_equal(match_once("(a)(b)", 0, PERI_SLICE("ab"), NULL, 0), PERI_OK);
}

static void says_not_found_when_nothing_matches(void **state)
{
    (void)state;
    assert_int_equal(match_once("^b", 0, PERI_SLICE("ab"), NULL, 0), PERI_ERR_NOT_FOUND);
    assert_int_equal(match_once("a", 0, peri_slice(NULL, 0), NULL, 0), PERI_ERR_NOT_FOUND);
    assert_int_equal(match_once("^$", 0, peri_slice(NULL, 0), NULL, 0), PERI_OK);
}

static void searches_from_an_offset_and_refuses_one_outside(void **state)
{
    (void)state;
    struct peri_regex_span span;
    struct peri_regex *regex = compile("a", 0);
    assert_int_equal(peri_regex_match(regex, PERI_SLICE("aba"), 1, &span, 1), PERI_OK);
    assert_span(span, 2, 3);
    assert_int_equal(peri_regex_match(regex, PERI_SLICE("aba"), 3, &span, 1), PERI_ERR_NOT_FOUND);
    assert_int_equal(peri_regex_match(regex, PERI_SLICE("aba"), 4, &span, 1), PERI_ERR_INVALID);
    peri_regex_free(regex);
}

static void flags_change_what_matches(void **state)
{
    (void)state;
    assert_int_equal(match_once("AB", PERI_REGEX_CASELESS, PERI_SLICE("ab"), NULL, 0), PERI_OK);
    assert_int_equal(match_once("^b", PERI_REGEX_MULTILINE, PERI_SLICE("a\nb"), NULL, 0), PERI_OK);
    assert_int_equal(match_once("a.b", PERI_REGEX_DOTALL, PERI_SLICE("a\nb"), NULL, 0), PERI_OK);
    assert_int_equal(match_once("a b # c", PERI_REGEX_EXTENDED, PERI_SLICE("ab"), NULL, 0), PERI_OK);
    assert_int_equal(match_once("^.$", PERI_REGEX_UTF, PERI_SLICE("\xc3\xa9"), NULL, 0), PERI_OK);
    assert_int_equal(match_once("^.$", 0, PERI_SLICE("\xc3\xa9"), NULL, 0), PERI_ERR_NOT_FOUND);
}

static void a_broken_utf8_subject_is_searched_safely(void **state)
{
    (void)state;
    struct peri_regex_span span;
    assert_int_equal(match_once("b", PERI_REGEX_UTF,
                                PERI_SLICE("\xff\xc3"
                                           "b"),
                                &span, 1),
                     PERI_OK);
    assert_span(span, 2, 3);
    assert_int_equal(match_once("^...$", PERI_REGEX_UTF,
                                PERI_SLICE("a\xff"
                                           "b"),
                                NULL, 0),
                     PERI_ERR_NOT_FOUND);
}

static void names_its_groups(void **state)
{
    (void)state;
    struct peri_regex *regex = compile("(?<year>\\d+)-(\\d+)-(?P<day>\\d+)", 0);
    assert_int_equal(peri_regex_groups(regex), 3);
    assert_string_equal(peri_regex_group_name(regex, 1).ptr, "year");
    assert_int_equal(peri_regex_group_name(regex, 2).len, 0);
    assert_string_equal(peri_regex_group_name(regex, 3).ptr, "day");
    assert_int_equal(peri_regex_group_name(regex, 4).len, 0);
    peri_regex_free(regex);
}

static void a_refusal_says_why_and_where(void **state)
{
    (void)state;
    char message[128] = "";
    assert_null(peri_regex_new(PERI_SLICE("a(b"), 0, message, sizeof message));
    assert_non_null(strstr(message, "closing parenthesis"));
    assert_non_null(strstr(message, "offset 3"));
    assert_null(peri_regex_new(PERI_SLICE("a(b"), 0, NULL, 0));
    assert_null(peri_regex_new(PERI_SLICE("(*UTF)a"), 0, message, sizeof message));
    assert_null(peri_regex_new(PERI_SLICE("\\C"), 0, message, sizeof message));
}

static void a_pattern_with_too_many_groups_is_refused(void **state)
{
    (void)state;
    char pattern[3 * 64], message[128] = "";
    for (int i = 0; i < 64; i++)
        memcpy(pattern + 3 * i, "(a)", 3);
    assert_null(peri_regex_new(peri_slice(pattern, 3 * 64), 0, message, sizeof message));
    assert_string_equal(message, "more than 63 groups");
    struct peri_regex *regex = peri_regex_new(peri_slice(pattern, 3 * 63), 0, message, sizeof message);
    assert_non_null(regex);
    peri_regex_free(regex);
}

static char *repeat(char c, size_t count)
{
    char *text = malloc(count);
    assert_non_null(text);
    memset(text, c, count);
    return text;
}

static void catastrophic_backtracking_ends_at_the_limit(void **state)
{
    (void)state;
    char *text = repeat('a', 5000);
    assert_int_equal(match_once("^(a|aa)+[bc]", 0, peri_slice(text, 64), NULL, 0), PERI_ERR_LIMIT);
    assert_int_equal(match_once("(?:(x+x+)+|(a*)*)[yz]", 0, peri_slice(text, 5000), NULL, 0), PERI_ERR_LIMIT);
    assert_int_equal(match_once("^(?:(a+)+)+[cd]", 0, peri_slice(text, 5000), NULL, 0), PERI_ERR_LIMIT);
    free(text);
}

static void a_search_of_quadratic_cost_ends_at_the_budget(void **state)
{
    (void)state;
    size_t len = PERI_REGEX_SUBJECT;
    char *text = repeat('a', len);
    text[len - 1] = 'b'; // so that no scan for a needed byte can end the search early
    assert_int_equal(match_once("a+c|a+d|[ab]+[cd]", 0, peri_slice(text, len), NULL, 0), PERI_ERR_LIMIT);
    free(text);
}

static void a_subject_above_the_limit_is_refused(void **state)
{
    (void)state;
    char *text = repeat('a', PERI_REGEX_SUBJECT + 1);
    assert_int_equal(match_once("^a", 0, peri_slice(text, PERI_REGEX_SUBJECT + 1), NULL, 0), PERI_ERR_LIMIT);
    assert_int_equal(match_once("^a", 0, peri_slice(text, PERI_REGEX_SUBJECT), NULL, 0), PERI_OK);
    free(text);
}

static void a_plain_search_of_the_longest_subject_stays_inside_the_budget(void **state)
{
    (void)state;
    char *text = repeat('x', PERI_REGEX_SUBJECT);
    assert_int_equal(match_once("needle|pin", 0, peri_slice(text, PERI_REGEX_SUBJECT), NULL, 0), PERI_ERR_NOT_FOUND);
    free(text);
}

static void deep_recursion_of_a_pattern_ends_at_the_limit(void **state)
{
    (void)state;
    char *text = repeat('(', 200000);
    assert_int_equal(match_once("^(\\((?1)*[)x])", 0, peri_slice(text, 200000), NULL, 0), PERI_ERR_LIMIT);
    free(text);
}

static void a_match_far_into_a_long_subject_is_found(void **state)
{
    (void)state;
    struct peri_regex_span span;
    size_t len = 100000;
    char *text = repeat('-', len);
    for (size_t at = 1000; at < 5000; at++) { // around every edge of a window
        memcpy(text + at, "needle", 6);
        assert_int_equal(match_once("n[e]{2}dle", 0, peri_slice(text, len), &span, 1), PERI_OK);
        assert_span(span, (int)at, (int)at + 6);
        memset(text + at, '-', 6);
    }
    memcpy(text + len - 6, "needle", 6);
    assert_int_equal(match_once("needle$", 0, peri_slice(text, len), &span, 1), PERI_OK);
    assert_int_equal(match_once("(?<=-)needle\\z", 0, peri_slice(text, len), &span, 1), PERI_OK);
    assert_int_equal(match_once("\\z", 0, peri_slice(text, len), &span, 1), PERI_OK);
    assert_span(span, (int)len, (int)len);
    free(text);
}

static void a_long_utf8_subject_is_searched_by_whole_characters(void **state)
{
    (void)state;
    struct peri_regex_span span;
    size_t count = 2000;
    char *text = malloc(3 * count + 1);
    for (size_t i = 0; i < count; i++)
        memcpy(text + 3 * i, "\xe2\x82\xac", 3);
    text[3 * count] = 'x';
    assert_int_equal(match_once("\xac|x", 0, peri_slice(text, 3 * count + 1), &span, 1), PERI_OK);
    assert_span(span, 2, 3);
    assert_int_equal(match_once("[^\xe2\x82\xac]", PERI_REGEX_UTF, peri_slice(text, 3 * count + 1), &span, 1), PERI_OK);
    assert_span(span, 3 * (int)count, 3 * (int)count + 1);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_match_and_its_groups),
        cmocka_unit_test(stores_no_more_spans_than_there_is_room_for),
        cmocka_unit_test(says_not_found_when_nothing_matches),
        cmocka_unit_test(searches_from_an_offset_and_refuses_one_outside),
        cmocka_unit_test(flags_change_what_matches),
        cmocka_unit_test(a_broken_utf8_subject_is_searched_safely),
        cmocka_unit_test(names_its_groups),
        cmocka_unit_test(a_refusal_says_why_and_where),
        cmocka_unit_test(a_pattern_with_too_many_groups_is_refused),
        cmocka_unit_test(catastrophic_backtracking_ends_at_the_limit),
        cmocka_unit_test(a_search_of_quadratic_cost_ends_at_the_budget),
        cmocka_unit_test(a_subject_above_the_limit_is_refused),
        cmocka_unit_test(a_plain_search_of_the_longest_subject_stays_inside_the_budget),
        cmocka_unit_test(deep_recursion_of_a_pattern_ends_at_the_limit),
        cmocka_unit_test(a_match_far_into_a_long_subject_is_found),
        cmocka_unit_test(a_long_utf8_subject_is_searched_by_whole_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
