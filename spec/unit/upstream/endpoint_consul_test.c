// SPDX-License-Identifier: MIT
// Answers of Consul's health API as endpoints: addresses, weights by the state of the checks, labels, and what is refused.
#include "upstream/endpoint_consul.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "codec/json.h"
#include "upstream/endpoint_list.h"

static char problem[128];

static struct peri_json *convert(const char *text)
{
    struct peri_json *answer = peri_json_parse(peri_slice_from(text), false, problem, sizeof(problem));
    assert_non_null(answer);
    assert_true(peri_endpoint_consul_is(answer));
    struct peri_json *list = peri_endpoint_consul_convert(answer, problem, sizeof(problem));
    peri_json_free(answer);
    return list;
}

static void assert_gives(const char *text, const char *expected)
{
    struct peri_json *list = convert(text);
    assert_non_null(list);
    list = peri_endpoint_list_take(list, problem, sizeof(problem));
    if (!list)
        fail_msg("%s is no list: %s", text, problem);
    char *written = peri_json_format(list, false);
    assert_string_equal(written, expected);
    free(written);
    peri_json_free(list);
}

static void takes_the_address_of_the_service_or_else_of_its_node(void **state)
{
    (void)state;
    assert_gives("[{\"Node\":{\"Address\":\"10.0.0.1\"},\"Service\":{\"Address\":\"\",\"Port\":80}},"
                 "{\"Node\":{\"Address\":\"10.0.0.1\"},\"Service\":{\"Address\":\"10.0.0.2\",\"Port\":81}},"
                 "{\"Service\":{\"Address\":\"2001:db8::1\",\"Port\":82}},"
                 "{\"Service\":{\"Address\":\"10.0.0.2\",\"Port\":81,\"Weights\":{\"Passing\":5}}},"
                 "{\"Service\":{\"Address\":\"a.internal\",\"Port\":83}}]",
                 "[{\"address\":\"10.0.0.1:80\",\"weight\":1},{\"address\":\"10.0.0.2:81\",\"weight\":1},"
                 "{\"address\":\"[2001:db8::1]:82\",\"weight\":1},{\"address\":\"a.internal:83\",\"weight\":1}]");
}

static void weighs_by_the_worst_check_and_leaves_out_who_is_critical(void **state)
{
    (void)state;
#define ITEM(port, checks)                                                                                             \
    "{\"Service\":{\"Address\":\"a\",\"Port\":" port ",\"Weights\":{\"Passing\":9,\"Warning\":2}},\"Checks\":[" checks \
    "]}"
#define CHECK(status) "{\"Status\":\"" status "\"}"
    assert_gives("[" ITEM("1", CHECK("passing")) "," ITEM("2", CHECK("warning") "," CHECK("passing")) "," ITEM(
                     "3", CHECK("warning") "," CHECK("critical")) "," ITEM("4", CHECK("maintenance")) "]",
                 "[{\"address\":\"a:1\",\"weight\":9},{\"address\":\"a:2\",\"weight\":2}]");
    assert_gives("[{\"Service\":{\"Address\":\"a\",\"Port\":1,\"Weights\":{\"Passing\":0}}}]", "[]");
}

static void makes_labels_of_tags_and_metadata(void **state)
{
    (void)state;
    char text[1024], huge[200];
    memset(huge, 'x', sizeof(huge) - 1);
    huge[sizeof(huge) - 1] = '\0';
    snprintf(text, sizeof(text),
             "[{\"Service\":{\"Address\":\"a\",\"Port\":1,\"Tags\":[\"canary\",\"version=v1\",\"=\",\"\",\"%s\",7],"
             "\"Meta\":{\"version\":\"v2\",\"%s\":\"a\",\"empty\":\"\",\"zone\":\"z\"}}}]",
             huge, huge);
    assert_gives(
        text,
        "[{\"address\":\"a:1\",\"weight\":1,\"labels\":{\"canary\":\"true\",\"version\":\"v2\",\"zone\":\"z\"}}]");
}

static void refuses_the_whole_answer_for_an_item_without_a_place(void **state)
{
    (void)state;
    static const char *const items[] = {
        "{}",
        "7",
        "{\"Service\":{}}",
        "{\"Service\":{\"Address\":\"a\"}}",
        "{\"Service\":{\"Address\":\"a\",\"Port\":0}}",
        "{\"Service\":{\"Address\":\"a\",\"Port\":65536}}",
        "{\"Service\":{\"Port\":80}}",
        "{\"Service\":{\"Address\":7,\"Port\":80}}",
        "{\"Service\":{\"Address\":\"a\\u0000b\",\"Port\":80}}",
    };
    char text[256];
    for (unsigned i = 0; i < sizeof(items) / sizeof(items[0]); i++) {
        snprintf(text, sizeof(text), "[{\"Service\":{\"Address\":\"a\",\"Port\":1}},%s]", items[i]);
        assert_null(convert(text));
        assert_string_equal(problem, "item 2: expected a service with an address and a port");
    }
}

static void knows_its_own_answers(void **state)
{
    (void)state;
    static const char *const others[] = {"[]", "{}", "7", "[\"a:1\"]", "[{\"address\":\"a:1\"}]", "{\"Service\":{}}"};
    for (unsigned i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        struct peri_json *answer = peri_json_parse(peri_slice_from(others[i]), false, problem, sizeof(problem));
        assert_false(peri_endpoint_consul_is(answer));
        peri_json_free(answer);
    }
    assert_false(peri_endpoint_consul_is(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_the_address_of_the_service_or_else_of_its_node),
        cmocka_unit_test(weighs_by_the_worst_check_and_leaves_out_who_is_critical),
        cmocka_unit_test(makes_labels_of_tags_and_metadata),
        cmocka_unit_test(refuses_the_whole_answer_for_an_item_without_a_place),
        cmocka_unit_test(knows_its_own_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
