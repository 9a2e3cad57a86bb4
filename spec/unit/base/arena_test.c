// SPDX-License-Identifier: MIT
// The arena: aligned bytes up to a limit, one release, hooks newest first.
#include "base/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "fail_alloc.h"

#define FIRST_BLOCK 4096

static char order[16];

static void note(void *data)
{
    strcat(order, data);
}

static void gives_aligned_bytes_that_do_not_overlap(void **state)
{
    (void)state;
    struct peri_arena arena;
    unsigned char *given[200];
    peri_arena_init(&arena, 1 << 20);
    for (unsigned i = 1; i < 200; i++) {
        given[i] = peri_arena_alloc(&arena, i);
        assert_non_null(given[i]);
        assert_int_equal((uintptr_t)given[i] % 8, 0);
        memset(given[i], (int)i, i);
    }
    for (unsigned i = 1; i < 200; i++)
        for (unsigned k = 0; k < i; k++)
            assert_int_equal(given[i][k], i);
    peri_arena_close(&arena);
}

static void gives_one_allocation_that_is_larger_than_any_block(void **state)
{
    (void)state;
    struct peri_arena arena;
    peri_arena_init(&arena, 1 << 20);
    char *large = peri_arena_alloc(&arena, 300000);
    assert_non_null(large);
    memset(large, 1, 300000);
    char *small = peri_arena_alloc(&arena, 8);
    assert_non_null(small);
    assert_true(small < large || small >= large + 300000);
    peri_arena_close(&arena);
}

static void refuses_what_is_beyond_its_limit(void **state)
{
    (void)state;
    struct peri_arena arena;
    peri_arena_init(&arena, 64 * 1024);
    assert_null(peri_arena_alloc(&arena, 64 * 1024 + 1));
    assert_non_null(peri_arena_alloc(&arena, 100));
    size_t given = 0;
    while (peri_arena_alloc(&arena, 1024))
        given += 1024;
    assert_in_range(given, 32 * 1024, 2 * 64 * 1024);
    peri_arena_reset(&arena);
    assert_non_null(peri_arena_alloc(&arena, 1024));
    peri_arena_close(&arena);
}

static void refuses_sizes_that_wrap_around(void **state)
{
    (void)state;
    struct peri_arena arena;
    peri_arena_init(&arena, 64 * 1024);
    assert_non_null(peri_arena_alloc(&arena, 40));
    for (size_t back = 0; back < 64; back++)
        assert_null(peri_arena_alloc(&arena, SIZE_MAX - back));
    assert_null(peri_arena_alloc(&arena, SIZE_MAX / 2));
    peri_arena_close(&arena);
}

static void gives_zeroed_bytes_also_after_a_reset(void **state)
{
    (void)state;
    struct peri_arena arena;
    peri_arena_init(&arena, 1 << 20);
    memset(peri_arena_alloc(&arena, 512), 0xff, 512);
    peri_arena_reset(&arena);
    const char *zeroed = peri_arena_zalloc(&arena, 512);
    for (unsigned i = 0; i < 512; i++)
        assert_int_equal(zeroed[i], 0);
    peri_arena_close(&arena);
}

static void keeps_its_first_block_across_resets_and_frees_the_others(void **state)
{
    (void)state;
    struct peri_arena arena;
    peri_arena_init(&arena, 1 << 20);
    void *first = peri_arena_alloc(&arena, 16);
    for (unsigned i = 0; i < 20; i++)
        assert_non_null(peri_arena_alloc(&arena, FIRST_BLOCK));
    peri_arena_reset(&arena);
    fail_alloc_at(0);
    void *again = peri_arena_alloc(&arena, 16);
    unsigned calls = fail_alloc.calls;
    fail_alloc_stop();
    assert_ptr_equal(again, first);
    assert_int_equal(calls, 0);
    peri_arena_close(&arena);
}

static void keeps_no_large_block(void **state)
{
    (void)state;
    struct peri_arena arena;
    peri_arena_init(&arena, 1 << 20);
    assert_non_null(peri_arena_alloc(&arena, 60000));
    peri_arena_reset(&arena);
    fail_alloc_at(0);
    char *small = peri_arena_alloc(&arena, 16);
    unsigned calls = fail_alloc.calls;
    fail_alloc_stop();
    assert_int_equal(calls, 1);
    memset(small, 1, 16);
    peri_arena_close(&arena);
}

static void runs_its_hooks_once_newest_first(void **state)
{
    (void)state;
    struct peri_arena arena;
    order[0] = 0;
    peri_arena_init(&arena, 1 << 20);
    assert_true(peri_arena_on_reset(&arena, note, "a"));
    assert_true(peri_arena_on_reset(&arena, note, "b"));
    peri_arena_alloc(&arena, 3 * FIRST_BLOCK);
    assert_true(peri_arena_on_reset(&arena, note, "c"));
    peri_arena_reset(&arena);
    assert_string_equal(order, "cba");
    peri_arena_reset(&arena);
    assert_true(peri_arena_on_reset(&arena, note, "d"));
    peri_arena_close(&arena);
    peri_arena_close(&arena);
    assert_string_equal(order, "cbad");
}

static void copies_and_formats_texts_with_a_nul_behind(void **state)
{
    (void)state;
    struct peri_arena arena;
    peri_arena_init(&arena, 1 << 20);
    struct peri_slice copy = peri_arena_copy(&arena, peri_slice("one two", 3));
    assert_int_equal(copy.len, 3);
    assert_string_equal(copy.ptr, "one");
    struct peri_slice empty = peri_arena_copy(&arena, peri_slice(NULL, 0));
    assert_non_null(empty.ptr);
    assert_int_equal(empty.len, 0);
    struct peri_slice text = peri_arena_printf(&arena, "%s-%d", "x", 7);
    assert_int_equal(text.len, 3);
    assert_string_equal(text.ptr, "x-7");
    struct peri_slice long_text = peri_arena_printf(&arena, "%0*d", 10000, 1);
    assert_int_equal(long_text.len, 10000);
    peri_arena_close(&arena);
}

static void says_so_when_memory_is_out(void **state)
{
    (void)state;
    struct peri_arena arena;
    peri_arena_init(&arena, 1 << 20);
    fail_alloc_all();
    bool has_refused = !peri_arena_alloc(&arena, 8) && !peri_arena_zalloc(&arena, 8) &&
                       !peri_arena_copy(&arena, PERI_SLICE("x")).ptr && !peri_arena_printf(&arena, "%d", 1).ptr &&
                       !peri_arena_on_reset(&arena, note, "never");
    fail_alloc_stop();
    assert_true(has_refused);
    order[0] = 0;
    assert_non_null(peri_arena_alloc(&arena, 8));
    peri_arena_close(&arena);
    assert_string_equal(order, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_aligned_bytes_that_do_not_overlap),
        cmocka_unit_test(gives_one_allocation_that_is_larger_than_any_block),
        cmocka_unit_test(refuses_what_is_beyond_its_limit),
        cmocka_unit_test(refuses_sizes_that_wrap_around),
        cmocka_unit_test(gives_zeroed_bytes_also_after_a_reset),
        cmocka_unit_test(keeps_its_first_block_across_resets_and_frees_the_others),
        cmocka_unit_test(keeps_no_large_block),
        cmocka_unit_test(runs_its_hooks_once_newest_first),
        cmocka_unit_test(copies_and_formats_texts_with_a_nul_behind),
        cmocka_unit_test(says_so_when_memory_is_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
