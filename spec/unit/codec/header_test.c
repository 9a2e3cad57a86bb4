// SPDX-License-Identifier: MIT
// Header lists: known names by one look, order kept, bad names and values refused.
#include "codec/header.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "fail_alloc.h"

static struct peri_arena arena;
static struct peri_headers headers;

static int open_list(void **state)
{
    (void)state;
    peri_arena_init(&arena, 4 << 20);
    peri_headers_init(&headers, &arena);
    return 0;
}

static int close_list(void **state)
{
    (void)state;
    peri_arena_close(&arena);
    return 0;
}

static const char *const known[] = {
#define X(id, name) name,
    PERI_HEADER_TABLE(X)
#undef X
};

static bool is_known(const char *name, size_t len)
{
    for (unsigned i = 0; i < PERI_COUNT(known); i++)
        if (strlen(known[i]) == len && memcmp(known[i], name, len) == 0)
            return true;
    return false;
}

static void finds_every_known_name(void **state)
{
    (void)state;
    for (unsigned id = 1; id < PERI_H_COUNT; id++) {
        struct peri_slice name = peri_header_name((uint16_t)id);
        assert_string_equal(name.ptr, known[id - 1]);
        if (peri_header_id(name.ptr, name.len) != id)
            fail_msg("%s is not found: its hash is another one's", name.ptr);
    }
}

static void knows_no_other_name(void **state)
{
    (void)state;
    assert_int_equal(peri_header_id("", 0), PERI_H_OTHER);
    assert_int_equal(peri_header_id("Host", 4), PERI_H_OTHER);
    assert_int_equal(peri_header_id("host\0", 5), PERI_H_OTHER);
    for (unsigned i = 0; i < PERI_COUNT(known); i++) { // one byte changed, added or missing
        char name[64];
        size_t len = strlen(known[i]);
        memcpy(name, known[i], len + 1);
        assert_int_equal(peri_header_id(name, len - 1), is_known(name, len - 1) ? i + 1 : PERI_H_OTHER);
        name[len] = 's';
        assert_int_equal(peri_header_id(name, len + 1), PERI_H_OTHER);
        for (size_t at = 0; at < len; at++) {
            for (int c = 1; c < 256; c++) {
                name[at] = (char)c;
                bool is_same = c == (unsigned char)known[i][at];
                if (!is_same && !is_known(name, len))
                    assert_int_equal(peri_header_id(name, len), PERI_H_OTHER);
            }
            name[at] = known[i][at];
        }
    }
}

static void knows_no_random_name(void **state)
{
    (void)state;
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz-0123456789";
    uint64_t seed = 88172645463325252ull;
    for (unsigned round = 0; round < 300000; round++) {
        char name[24];
        size_t len = 1 + round % 20;
        for (size_t i = 0; i < len; i++) {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            name[i] = letters[seed % (sizeof(letters) - 1)];
        }
        if (!is_known(name, len))
            assert_int_equal(peri_header_id(name, len), PERI_H_OTHER);
    }
}

static void tells_names_from_what_is_none(void **state)
{
    (void)state;
    static const char tokens[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for (int c = 0; c < 256; c++) {
        char byte = (char)c;
        bool is_token = c != 0 && strchr(tokens, c) != NULL;
        assert_int_equal(peri_header_is_name(peri_slice(&byte, 1)), is_token);
    }
    assert_false(peri_header_is_name(PERI_SLICE("")));
    assert_false(peri_header_is_name(PERI_SLICE("a b")));
    assert_false(peri_header_is_name(PERI_SLICE("a:")));
    assert_true(peri_header_is_name(PERI_SLICE("X-Any.thing")));
}

static void tells_values_from_what_would_break_a_line(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        char byte = (char)c;
        bool is_good = c == '\t' || (c >= 0x20 && c != 0x7f);
        assert_int_equal(peri_header_is_value(peri_slice(&byte, 1)), is_good);
    }
    assert_true(peri_header_is_value(peri_slice(NULL, 0)));
    assert_false(peri_header_is_value(PERI_SLICE("a\r\nset-cookie: x=1")));
}

static void add(const char *name, const char *value)
{
    assert_int_equal(peri_headers_add(&headers, peri_slice_from(name), peri_slice_from(value)), PERI_OK);
}

static const char *list_text(void)
{
    static char text[4096];
    size_t len = 0;
    text[0] = 0;
    for (unsigned i = 0; i < headers.count; i++) {
        const struct peri_header *h = &headers.items[i];
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%.*s=%.*s;", (int)h->name_len, h->name,
                                (int)h->value_len, h->value);
    }
    return text;
}

static void keeps_fields_in_order_with_lower_case_names(void **state)
{
    (void)state;
    add("X-B", "1");
    add("Accept", "text/html");
    add("x-b", "2");
    assert_string_equal(list_text(), "x-b=1;accept=text/html;x-b=2;");
    assert_int_equal(headers.items[1].id, PERI_H_ACCEPT);
    assert_true(peri_slice_eq(peri_headers_get(&headers, PERI_H_ACCEPT), PERI_SLICE("text/html")));
    assert_null(peri_headers_get(&headers, PERI_H_HOST).ptr);
}

static void finds_fields_in_any_case_one_after_the_other(void **state)
{
    (void)state;
    unsigned at = 9;
    add("a", "1");
    add("b", "2");
    add("A", "3");
    assert_string_equal(peri_headers_find_name(&headers, PERI_SLICE("A"), 0, &at)->value, "1");
    assert_int_equal(at, 0);
    assert_string_equal(peri_headers_find_name(&headers, PERI_SLICE("a"), at + 1, &at)->value, "3");
    assert_int_equal(at, 2);
    assert_null(peri_headers_find_name(&headers, PERI_SLICE("a"), at + 1, &at));
    assert_null(peri_headers_find_name(&headers, PERI_SLICE(""), 0, NULL));
}

static void sets_a_field_once_at_its_first_place(void **state)
{
    (void)state;
    add("a", "1");
    add("b", "2");
    add("A", "3");
    add("c", "4");
    add("a", "5");
    assert_int_equal(peri_headers_set(&headers, PERI_SLICE("A"), PERI_SLICE("new")), PERI_OK);
    assert_string_equal(list_text(), "a=new;b=2;c=4;");
    assert_int_equal(peri_headers_set(&headers, PERI_SLICE("D"), PERI_SLICE("")), PERI_OK);
    assert_string_equal(list_text(), "a=new;b=2;c=4;d=;");
}

static void removes_every_field_of_a_name(void **state)
{
    (void)state;
    add("a", "1");
    add("a", "2");
    add("b", "3");
    add("A", "4");
    assert_int_equal(peri_headers_remove(&headers, PERI_SLICE("a")), 3);
    assert_string_equal(list_text(), "b=3;");
    assert_int_equal(peri_headers_remove(&headers, PERI_SLICE("a")), 0);
    peri_headers_remove_at(&headers, 0);
    assert_string_equal(list_text(), "");
}

static void refuses_what_would_break_the_message(void **state)
{
    (void)state;
    assert_int_equal(peri_headers_add(&headers, PERI_SLICE("a b"), PERI_SLICE("1")), PERI_ERR_INVALID);
    assert_int_equal(peri_headers_add(&headers, PERI_SLICE(""), PERI_SLICE("1")), PERI_ERR_INVALID);
    assert_int_equal(peri_headers_add(&headers, PERI_SLICE("a"), PERI_SLICE("1\r\nb: 2")), PERI_ERR_INVALID);
    assert_int_equal(peri_headers_add(&headers, PERI_SLICE("a"), PERI_SLICE("1\0")), PERI_ERR_INVALID);
    assert_int_equal(headers.count, 0);
    add("a", "1");
    assert_int_equal(peri_headers_set(&headers, PERI_SLICE("a"), PERI_SLICE("\n")), PERI_ERR_INVALID);
    assert_int_equal(peri_headers_set(&headers, PERI_SLICE("b\n"), PERI_SLICE("x")), PERI_ERR_INVALID);
    assert_string_equal(list_text(), "a=1;");
}

static void holds_thousands_of_fields(void **state)
{
    (void)state;
    char name[16];
    for (unsigned i = 0; i < 5000; i++) {
        snprintf(name, sizeof(name), "x-%u", i);
        add(name, name);
    }
    assert_int_equal(headers.count, 5000);
    assert_string_equal(peri_headers_find_name(&headers, PERI_SLICE("X-4999"), 0, NULL)->value, "x-4999");
    assert_string_equal(peri_headers_find_name(&headers, PERI_SLICE("x-0"), 0, NULL)->value, "x-0");
}

static void stays_whole_when_memory_is_out(void **state)
{
    (void)state;
    for (unsigned n = 1;; n++) {
        struct peri_arena small;
        peri_arena_init(&small, 1 << 20);
        peri_headers_init(&headers, &small);
        fail_alloc_at(n);
        unsigned kept = 0;
        for (unsigned i = 0; i < 200; i++)
            kept += peri_headers_add(&headers, PERI_SLICE("x-name"), PERI_SLICE("a value of some length")) == PERI_OK;
        bool has_failed = fail_alloc_stop();
        assert_int_equal(headers.count, kept);
        for (unsigned i = 0; i < kept; i++)
            assert_memory_equal(headers.items[i].name, "x-name", 6);
        peri_arena_close(&small);
        if (!has_failed)
            break;
        assert_true(n < 100);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_list, close_list)
    const struct CMUnitTest tests[] = {
        TEST(finds_every_known_name),
        TEST(knows_no_other_name),
        TEST(knows_no_random_name),
        TEST(tells_names_from_what_is_none),
        TEST(tells_values_from_what_would_break_a_line),
        TEST(keeps_fields_in_order_with_lower_case_names),
        TEST(finds_fields_in_any_case_one_after_the_other),
        TEST(sets_a_field_once_at_its_first_place),
        TEST(removes_every_field_of_a_name),
        TEST(refuses_what_would_break_the_message),
        TEST(holds_thousands_of_fields),
        TEST(stays_whole_when_memory_is_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
