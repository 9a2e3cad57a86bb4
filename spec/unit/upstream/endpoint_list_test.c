// SPDX-License-Identifier: MIT
// Lists of endpoints from outside: what is taken, in which form, and what refuses the whole list.
#include "upstream/endpoint_list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/attr.h"
#include "codec/json.h"

static char problem[128];

static void assert_reads(const char *text, const char *normalised)
{
    struct peri_json *list = peri_endpoint_list_read(peri_slice_from(text), problem, sizeof(problem));
    if (!list)
        fail_msg("%s was refused: %s", text, problem);
    char *written = peri_json_format(list, false);
    assert_string_equal(written, normalised);
    free(written);
    peri_json_free(list);
}

static void assert_refuses(const char *text, const char *why)
{
    struct peri_json *list = peri_endpoint_list_read(peri_slice_from(text), problem, sizeof(problem));
    if (list)
        fail_msg("%s was taken", text);
    if (!strstr(problem, why))
        fail_msg("%s: '%s' does not say '%s'", text, problem, why);
}

static void reads_addresses_and_objects_in_the_order_of_their_addresses(void **state)
{
    (void)state;
    assert_reads("[]", "[]");
    assert_reads("[\"b.internal:80\", \"10.0.0.1:80\", \"[::1]:80\", \"unix:/run/a\"]",
                 "[{\"address\":\"10.0.0.1:80\",\"weight\":1},{\"address\":\"[::1]:80\",\"weight\":1},"
                 "{\"address\":\"b.internal:80\",\"weight\":1},{\"address\":\"unix:/run/a\",\"weight\":1}]");
    assert_reads("[{\"labels\":{\"v\":\"2\"},\"priority\":3,\"zone\":\"a\",\"weight\":65535,\"address\":\"a:1\"}]",
                 "[{\"address\":\"a:1\",\"weight\":65535,\"zone\":\"a\",\"priority\":3,\"labels\":{\"v\":\"2\"}}]");
}

static void gives_equal_sets_equal_texts(void **state)
{
    (void)state;
    const char *text = "[{\"address\":\"a:1\",\"weight\":1},{\"address\":\"b:1\",\"weight\":1}]";
    assert_reads("[\"b:1\", {\"priority\": 0, \"address\": \"a:1\"}]", text);
    assert_reads("[{\"weight\": 1, \"address\": \"a:1\"}, \"b:1\"]", text);
}

static void refuses_the_whole_list_for_one_bad_item(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "\"\"",       "\"a\"",     "\"a:\"",      "\":80\"",    "\"a:0\"",   "\"a:65536\"",     "\"a:000080\"",
        "\"a b:80\"", "\"a:80x\"", "\"[::g]:8\"", "\"::1:80\"", "\"unix:\"", "\"unix:/\"",      "\"a\\u0000:80\"",
        "\"a/b:80\"", "1",         "null",        "[]",         "{}",        "{\"address\":1}",
    };
    char text[128];
    for (unsigned i = 0; i < PERI_COUNT(bad); i++) {
        snprintf(text, sizeof(text), "[\"a:1\", %s]", bad[i]);
        assert_refuses(text, "endpoint 2: ");
    }
}

static void says_which_member_is_wrong(void **state)
{
    (void)state;
    assert_refuses("[{\"address\":\"a:1\",\"weight\":0}]", "endpoint 1, weight");
    assert_refuses("[{\"address\":\"a:1\",\"weight\":65536}]", "endpoint 1, weight");
    assert_refuses("[{\"address\":\"a:1\",\"weight\":1.5}]", "endpoint 1, weight");
    assert_refuses("[{\"address\":\"a:1\",\"priority\":16}]", "endpoint 1, priority");
    assert_refuses("[{\"address\":\"a:1\",\"priority\":-1}]", "endpoint 1, priority");
    assert_refuses("[{\"address\":\"a:1\",\"zone\":\"\"}]", "endpoint 1, zone");
    assert_refuses("[{\"address\":\"a:1\",\"labels\":[]}]", "endpoint 1, labels");
    assert_refuses("[{\"address\":\"a:1\",\"labels\":{\"v\":2}}]", "endpoint 1, labels");
    assert_refuses("[{\"address\":\"a:1\",\"wieght\":2}]", "none of address, weight");
}

static void refuses_what_is_no_list_or_too_long(void **state)
{
    (void)state;
    char *text = malloc(16 * (PERI_ENDPOINT_LIST_MAX + 1));
    size_t len = 0;
    for (unsigned i = 0; i <= PERI_ENDPOINT_LIST_MAX; i++)
        len += (size_t)sprintf(text + len, "%c\"a:%u\"", i == 0 ? '[' : ',', i + 1);
    strcpy(text + len, "]");
    assert_refuses(text, "at most 1000");
    free(text);
    assert_refuses("{}", "expected a list");
    assert_refuses("\"a:1\"", "expected a list");
    assert_refuses("[\"a:1\"", "line 1");
    assert_refuses("", "line 1");
    assert_refuses("[\"a:1\", \"b:1\", \"a:1\"]", "a:1 is there twice");
}

static void makes_lists_of_addresses_that_are_there_once_where_they_are_asked_first(void **state)
{
    (void)state;
    struct peri_endpoint_item items[] = {
        {"10.0.0.2:80", 1, 0}, {"10.0.0.1:80", 5, 1}, {"10.0.0.1:80", 9, 2}, {"10.0.0.1:80", 7, 1}};
    struct peri_json *list = peri_endpoint_list_make(items, 4);
    char *written = peri_json_format(list, false);
    assert_string_equal(written, "[{\"address\":\"10.0.0.1:80\",\"weight\":7,\"priority\":1},"
                                 "{\"address\":\"10.0.0.2:80\",\"weight\":1}]");
    free(written);
    peri_json_free(list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_addresses_and_objects_in_the_order_of_their_addresses),
        cmocka_unit_test(gives_equal_sets_equal_texts),
        cmocka_unit_test(refuses_the_whole_list_for_one_bad_item),
        cmocka_unit_test(says_which_member_is_wrong),
        cmocka_unit_test(refuses_what_is_no_list_or_too_long),
        cmocka_unit_test(makes_lists_of_addresses_that_are_there_once_where_they_are_asked_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
