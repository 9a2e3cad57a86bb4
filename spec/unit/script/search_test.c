// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "exchange/exchange.h"
#include "script/script_types.h"
#include "script/search.h"
#include "script/slot.h"

static struct peri_search search;

// End of the match of `text` at the beginning of `subject`; -1 when there is none.
static long match(const char *subject, const char *text)
{
    search = (struct peri_search){.subject = subject, .end = subject + strlen(subject), .steps = PERI_SEARCH_STEPS};
    const char *end = peri_search_match(&search, subject, text);
    return end ? end - subject : -1;
}

static void items_match_bytes(void **state)
{
    (void)state;
    assert_int_equal(match("abc", "abc"), 3);
    assert_int_equal(match("abc", "a.%a"), 3);
    assert_int_equal(match("abc", "[a-c]*"), 3);
    assert_int_equal(match("abc", "[^x]-c$"), 3);
    assert_int_equal(match("abc", "b"), -1);
    assert_int_equal(match("", ""), 0);
    assert_int_equal(match("(a(b)c)d", "%b()"), 7);
    assert_null(search.problem);
}

static void captures_are_where_they_match(void **state)
{
    (void)state;
    assert_int_equal(match("key=value", "(%w+)=()(%w*)"), 9);
    assert_int_equal(search.count, 3);
    assert_ptr_equal(search.captures[0].at, search.subject);
    assert_int_equal(search.captures[0].len, 3);
    assert_int_equal(search.captures[1].len, PERI_SEARCH_POSITION);
    assert_ptr_equal(search.captures[2].at, search.subject + 4);
}

static void malformed_patterns_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *text, *problem;
    } cases[] = {
        {"%", "malformed pattern (ends with '%')"},
        {"[a", "malformed pattern (missing ']')"},
        {"[]", "malformed pattern (missing ']')"},
        {"a)", "invalid pattern capture"},
        {"%1", "invalid capture index"},
        {"%b(", "unbalanced pattern"},
        {"%fa", "missing '[' after '%f' in pattern"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(match("aa", cases[i].text), -1);
        assert_string_equal(search.problem, cases[i].problem);
    }
}

static void a_search_stops_when_its_steps_are_spent(void **state)
{
    (void)state;
    char subject[4001];
    memset(subject, 'a', sizeof(subject) - 1);
    subject[sizeof(subject) - 1] = 0;
    assert_int_equal(match(subject, ".-.-.-.-b"), -1);
    assert_string_equal(search.problem, "pattern too costly: more than 3000000 steps");
    assert_int_equal(search.steps, 0);
    assert_int_equal(match(subject, ".-.-b"), -1); // costs 8 million
    assert_non_null(search.problem);
    assert_int_equal(match(subject, ".*a"), 4000);
    assert_null(search.problem);
}

static void too_deep_a_pattern_is_refused(void **state)
{
    (void)state;
    char text[2 * 300 + 1] = "";
    for (int i = 0; i < 300; i++)
        strcat(text, "a?");
    char subject[301];
    memset(subject, 'a', 300);
    subject[300] = 0;
    assert_int_equal(match(subject, text), -1);
    assert_string_equal(search.problem, "pattern too complex");
}

static void generations_of_slots_do_not_follow_each_other(void **state)
{
    (void)state;
    struct peri_exchange x = {0};
    double last = 0, seen[64];
    int near = 0;
    for (int i = 0; i < 64; i++) {
        struct peri_slot *slot = peri_slot_acquire(&x, NULL);
        assert_non_null(slot);
        seen[i] = slot->ffi.gen;
        assert_true(seen[i] >= 0 && seen[i] < 9007199254740992.0);
        near += seen[i] - last < 1e9 && last - seen[i] < 1e9;
        for (int j = 0; j < i; j++)
            assert_true(seen[j] != seen[i]);
        last = seen[i];
        peri_slot_release(slot);
    }
    assert_true(near <= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(items_match_bytes),
        cmocka_unit_test(captures_are_where_they_match),
        cmocka_unit_test(malformed_patterns_are_named),
        cmocka_unit_test(a_search_stops_when_its_steps_are_spent),
        cmocka_unit_test(too_deep_a_pattern_is_refused),
        cmocka_unit_test(generations_of_slots_do_not_follow_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
