// SPDX-License-Identifier: MIT
// The queue of bytes: what goes in comes out, in order, and stays in place until it is taken.
#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "fail_alloc.h"

static char pattern(size_t at)
{
    return (char)('a' + at * 7 % 26);
}

static void put_pattern(struct peri_buf *buf, size_t from, size_t len)
{
    char *text = malloc(len + 1);
    for (size_t i = 0; i < len; i++)
        text[i] = pattern(from + i);
    assert_int_equal(peri_buf_put(buf, peri_slice(text, len)), PERI_OK);
    free(text);
}

static void gives_back_what_was_put_whatever_the_sizes(void **state)
{
    (void)state;
    struct peri_buf buf;
    size_t in = 0, out = 0;
    peri_buf_init(&buf);
    for (size_t round = 1; round < 200; round++) {
        size_t len = round * 977 % 30000;
        put_pattern(&buf, in, len);
        in += len;
        assert_int_equal(buf.len, in - out);
        for (size_t take = round * 613 % 25000; take > 0 && buf.len > 0;) {
            struct peri_slice run = peri_buf_peek(&buf);
            size_t part = run.len < take ? run.len : take;
            assert_true(run.len > 0);
            for (size_t i = 0; i < part; i++)
                assert_int_equal(run.ptr[i], pattern(out + i));
            peri_buf_take(&buf, part);
            out += part;
            take -= part;
        }
    }
    peri_buf_take(&buf, buf.len);
    assert_int_equal(buf.len, 0);
    assert_int_equal(peri_buf_peek(&buf).len, 0);
    peri_buf_close(&buf);
}

static void leaves_peeked_bytes_in_place_while_more_is_put(void **state)
{
    (void)state;
    struct peri_buf buf;
    peri_buf_init(&buf);
    put_pattern(&buf, 0, 100);
    struct peri_slice run = peri_buf_peek(&buf);
    for (size_t i = 0; i < 50; i++)
        put_pattern(&buf, 100 + i * 1000, 1000);
    assert_ptr_equal(peri_buf_peek(&buf).ptr, run.ptr);
    for (size_t i = 0; i < run.len; i++)
        assert_int_equal(run.ptr[i], pattern(i));
    peri_buf_close(&buf);
}

static void shows_its_runs_and_copies_them_all(void **state)
{
    (void)state;
    struct peri_buf buf;
    struct peri_slice runs[8];
    peri_buf_init(&buf);
    assert_int_equal(peri_buf_peek_many(&buf, runs, 8), 0);
    put_pattern(&buf, 0, 100000);
    put_pattern(&buf, 100000, 20000);
    unsigned count = peri_buf_peek_many(&buf, runs, 8);
    size_t sum = 0;
    for (unsigned i = 0; i < count; i++)
        sum += runs[i].len;
    assert_int_equal(sum, 120000);
    assert_int_equal(peri_buf_peek_many(&buf, runs, 1), 1);
    peri_buf_take(&buf, 30000);
    char *copy = malloc(buf.len);
    peri_buf_copy(&buf, copy);
    for (size_t i = 0; i < 90000; i++)
        assert_int_equal(copy[i], pattern(30000 + i));
    free(copy);
    peri_buf_close(&buf);
    assert_int_equal(buf.len, 0);
}

static void shows_the_run_at_any_place(void **state)
{
    (void)state;
    struct peri_buf buf;
    peri_buf_init(&buf);
    for (size_t i = 0; i < 40; i++)
        put_pattern(&buf, i * 8200, 8200);
    peri_buf_take(&buf, 5);
    size_t at = 0;
    unsigned runs = 0;
    for (struct peri_slice run; (run = peri_buf_peek_at(&buf, at)).len > 0; at += run.len, runs++)
        for (size_t i = 0; i < run.len; i++)
            assert_int_equal(run.ptr[i], pattern(5 + at + i));
    assert_int_equal(at, buf.len);
    assert_true(runs > 20);
    assert_int_equal(*peri_buf_peek_at(&buf, 10000).ptr, pattern(10005));
    peri_buf_close(&buf);
}

static void puts_nothing_for_nothing(void **state)
{
    (void)state;
    struct peri_buf buf;
    peri_buf_init(&buf);
    assert_int_equal(peri_buf_put(&buf, peri_slice(NULL, 0)), PERI_OK);
    assert_null(buf.first);
    peri_buf_close(&buf);
}

static void stays_whole_when_memory_is_out(void **state)
{
    (void)state;
    struct peri_buf buf;
    static char large[40000];
    char copy[8];
    peri_buf_init(&buf);
    fail_alloc_all();
    peri_err_t first = peri_buf_put(&buf, PERI_SLICE("x"));
    fail_alloc_stop();
    assert_int_equal(first, PERI_ERR_NOMEM);
    assert_int_equal(peri_buf_put(&buf, PERI_SLICE("abc")), PERI_OK);
    fail_alloc_all();
    peri_err_t second = peri_buf_put(&buf, peri_slice(large, sizeof(large)));
    fail_alloc_stop();
    assert_int_equal(second, PERI_ERR_NOMEM);
    assert_int_equal(buf.len, 3);
    peri_buf_copy(&buf, copy);
    assert_memory_equal(copy, "abc", 3);
    peri_buf_close(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_back_what_was_put_whatever_the_sizes),
        cmocka_unit_test(leaves_peeked_bytes_in_place_while_more_is_put),
        cmocka_unit_test(shows_its_runs_and_copies_them_all),
        cmocka_unit_test(shows_the_run_at_any_place),
        cmocka_unit_test(puts_nothing_for_nothing),
        cmocka_unit_test(stays_whole_when_memory_is_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
