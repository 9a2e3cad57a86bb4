// SPDX-License-Identifier: MIT
// JSON trees: reading with fallbacks, refusing what is deep, doubled or malformed, and writing.
#include "codec/json.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/attr.h"

static struct peri_json *parse(const char *text)
{
    char message[256] = "";
    struct peri_json *json = peri_json_parse(peri_slice_from(text), false, message, sizeof message);
    if (!json)
        fail_msg("%s: %s", text, message);
    return json;
}

static void assert_refused(struct peri_slice text, const char *part)
{
    char message[256] = "";
    assert_null(peri_json_parse(text, false, message, sizeof message));
    if (!strstr(message, part))
        fail_msg("'%s' does not say '%s'", message, part);
    assert_null(peri_json_parse(text, false, NULL, 0));
}

static void reads_members_of_every_type(void **state)
{
    (void)state;
    struct peri_json *json =
        parse("{\"s\":\"x\\u0000y\",\"i\":-7,\"r\":2.5,\"t\":true,\"f\":false,\"n\":null,\"a\":[1,2],\"o\":{}}");
    assert_int_equal(peri_json_type(json), PERI_JSON_OBJECT);
    assert_int_equal(peri_json_count(json), 8);
    assert_int_equal(peri_json_get_string(json, "s").len, 3);
    assert_memory_equal(peri_json_get_string(json, "s").ptr, "x\0y", 4);
    assert_int_equal(peri_json_get_integer(json, "i", 0), -7);
    assert_true(peri_json_number(peri_json_get(json, "r"), 0) == 2.5);
    assert_true(peri_json_get_bool(json, "t", false));
    assert_false(peri_json_get_bool(json, "f", true));
    assert_int_equal(peri_json_type(peri_json_get(json, "n")), PERI_JSON_NULL);
    assert_int_equal(peri_json_count(peri_json_get(json, "a")), 2);
    assert_int_equal(peri_json_integer(peri_json_at(peri_json_get(json, "a"), 1), 0), 2);
    assert_int_equal(peri_json_type(peri_json_get(json, "o")), PERI_JSON_OBJECT);
    peri_json_free(json);
}

static void gives_the_fallback_for_what_is_missing_or_of_another_type(void **state)
{
    (void)state;
    struct peri_json *json = parse("{\"s\":\"x\",\"r\":2.5}");
    assert_int_equal(peri_json_type(peri_json_get(json, "none")), PERI_JSON_NONE);
    assert_null(peri_json_get_string(json, "none").ptr);
    assert_null(peri_json_get_string(json, "r").ptr);
    assert_int_equal(peri_json_get_integer(json, "s", 9), 9);
    assert_int_equal(peri_json_get_integer(json, "r", 9), 9);
    assert_true(peri_json_get_bool(json, "s", true));
    assert_null(peri_json_get(peri_json_get(json, "s"), "deeper"));
    assert_null(peri_json_at(json, 0));
    assert_int_equal(peri_json_count(NULL), 0);
    peri_json_free(json);
}

static void an_integer_written_as_a_real_is_an_integer(void **state)
{
    (void)state;
    struct peri_json *json = parse("[3.0,1e3,1e300,-9.3e18,3.5]");
    assert_int_equal(peri_json_integer(peri_json_at(json, 0), -1), 3);
    assert_int_equal(peri_json_integer(peri_json_at(json, 1), -1), 1000);
    for (size_t i = 2; i < 5; i++)
        assert_int_equal(peri_json_integer(peri_json_at(json, i), -1), -1);
    peri_json_free(json);
}

static void integers_can_be_read_as_reals(void **state)
{
    (void)state;
    struct peri_slice text = PERI_SLICE("123456789012345678901234567890");
    assert_refused(text, "too big");
    struct peri_json *json = peri_json_parse(text, true, NULL, 0);
    assert_int_equal(peri_json_type(json), PERI_JSON_REAL);
    peri_json_free(json);
}

static void walks_an_object_in_its_order(void **state)
{
    (void)state;
    struct peri_json *json = parse("{\"z\":1,\"a\":2,\"m\":3}");
    const struct peri_json *value;
    struct peri_slice name;
    char names[4] = "";
    int64_t sum = 0;
    size_t count = 0;
    for (void *cursor = NULL; peri_json_next(json, &cursor, &name, &value); count++) {
        assert_int_equal(name.len, 1);
        names[count] = name.ptr[0];
        sum += peri_json_integer(value, 0);
    }
    assert_string_equal(names, "zam");
    assert_int_equal(sum, 6);
    void *cursor = NULL;
    assert_false(peri_json_next(peri_json_get(json, "z"), &cursor, &name, &value));
    peri_json_free(json);
}

static void accepts_128_levels_and_refuses_129(void **state)
{
    (void)state;
    char text[2 * 129];
    memset(text, '[', 128);
    memset(text + 128, ']', 128);
    struct peri_json *json = peri_json_parse(peri_slice(text, 256), false, NULL, 0);
    assert_non_null(json);
    peri_json_free(json);
    memset(text, '[', 129);
    memset(text + 129, ']', 129);
    assert_refused(peri_slice(text, 258), "deeper than 128");
}

static void refuses_a_hundred_thousand_levels_of_either_kind(void **state)
{
    (void)state;
    size_t count = 100000;
    char *text = malloc(5 * count);
    for (size_t i = 0; i < count; i++)
        memcpy(text + 5 * i, "{\"a\":", 5);
    assert_refused(peri_slice(text, 5 * count), "deeper than 128");
    memset(text, '[', count);
    assert_refused(peri_slice(text, count), "deeper than 128");
    free(text);
}

static void brackets_in_strings_are_not_levels(void **state)
{
    (void)state;
    char text[600] = "[\"\\\"";
    memset(text + 4, '[', 500);
    strcpy(text + 504, "\\\\\"]");
    peri_json_free(parse(text));
}

static void refuses_what_is_not_json(void **state)
{
    (void)state;
    const char *const texts[] = {"",      " ",          "{",      "[1,]",        "{\"a\"}", "{'a':1}", "[1] 2",
                                 "nul",   "\"\\x\"",    "\"a",    "01",          "+1",      ".5",      "NaN",
                                 "[1 2]", "{\"a\":1,}", "/*c*/1", "\"\\ud800\"", "1e999",   "\"\x01\""};
    for (size_t i = 0; i < PERI_COUNT(texts); i++)
        assert_refused(peri_slice_from(texts[i]), "line 1: ");
    assert_refused(PERI_SLICE("\"\xff\""), "line 1: ");
    assert_refused(PERI_SLICE("\"\xc0\x80\""), "line 1: ");
    assert_refused(PERI_SLICE("{\n\"a\":1,\n\"a\":2}"), "line 3: ");
    assert_refused(PERI_SLICE("{\"a\\u0000b\":1}"), "line 1: ");
}

static void refuses_a_zero_byte_anywhere(void **state)
{
    (void)state;
    assert_refused(PERI_SLICE("1\0002"), "zero byte");
    assert_refused(PERI_SLICE("1\000"), "zero byte");
    assert_refused(PERI_SLICE("\0001"), "zero byte");
    assert_refused(PERI_SLICE("\"\000\""), "zero byte");
}

static void writes_a_tree_in_the_order_it_was_made(void **state)
{
    (void)state;
    struct peri_json *json = peri_json_new_object(), *list = peri_json_new_array();
    assert_true(peri_json_append(list, peri_json_new_integer(-1)));
    assert_true(peri_json_append(list, peri_json_new_real(0.5)));
    assert_true(peri_json_append(list, peri_json_new_null()));
    assert_true(peri_json_set(json, "z", list));
    assert_true(peri_json_set(json, "a", peri_json_new_bool(true)));
    assert_true(peri_json_set(json, "s", peri_json_new_string(PERI_SLICE("\"\n\0"))));
    char *text = peri_json_format(json, false);
    assert_string_equal(text, "{\"z\":[-1,0.5,null],\"a\":true,\"s\":\"\\\"\\n\\u0000\"}");
    free(text);
    text = peri_json_format(json, true);
    assert_non_null(strstr(text, "\n  \"a\": true"));
    free(text);
    peri_json_free(json);
}

static void a_value_that_could_not_be_made_fails_where_it_is_put(void **state)
{
    (void)state;
    struct peri_json *json = peri_json_new_object();
    assert_null(peri_json_new_real(NAN));
    assert_null(peri_json_new_real(INFINITY));
    assert_false(peri_json_set(json, "x", peri_json_new_real(NAN)));
    assert_false(peri_json_set(NULL, "x", peri_json_new_integer(1)));
    assert_false(peri_json_append(NULL, peri_json_new_integer(1)));
    peri_json_free(json);
}

static void bytes_that_are_not_utf8_are_written_as_replacement_characters(void **state)
{
    (void)state;
    struct peri_json *json = peri_json_new_string(PERI_SLICE("a\xff\xc3z"));
    assert_string_equal(peri_json_string(json).ptr, "a\xef\xbf\xbd\xef\xbf\xbdz");
    peri_json_free(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_members_of_every_type),
        cmocka_unit_test(gives_the_fallback_for_what_is_missing_or_of_another_type),
        cmocka_unit_test(an_integer_written_as_a_real_is_an_integer),
        cmocka_unit_test(integers_can_be_read_as_reals),
        cmocka_unit_test(walks_an_object_in_its_order),
        cmocka_unit_test(accepts_128_levels_and_refuses_129),
        cmocka_unit_test(refuses_a_hundred_thousand_levels_of_either_kind),
        cmocka_unit_test(brackets_in_strings_are_not_levels),
        cmocka_unit_test(refuses_what_is_not_json),
        cmocka_unit_test(refuses_a_zero_byte_anywhere),
        cmocka_unit_test(writes_a_tree_in_the_order_it_was_made),
        cmocka_unit_test(a_value_that_could_not_be_made_fails_where_it_is_put),
        cmocka_unit_test(bytes_that_are_not_utf8_are_written_as_replacement_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
