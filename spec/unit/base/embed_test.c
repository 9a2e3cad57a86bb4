// SPDX-License-Identifier: MIT
// The table of embedded files: order, lookup, and that a file's bytes can be used as a string.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/embed.h"

static void paths_are_sorted_and_unique(void **state)
{
    (void)state;
    for (size_t i = 1; i < peri_embed_count; i++)
        assert_true(strcmp(peri_embed_files[i - 1].path, peri_embed_files[i].path) < 0);
}

static void every_file_is_found_by_its_path(void **state)
{
    (void)state;
    assert_true(peri_embed_count > 0);
    for (size_t i = 0; i < peri_embed_count; i++)
        assert_ptr_equal(peri_embed_find(peri_embed_files[i].path), &peri_embed_files[i]);
}

static void every_file_ends_in_a_zero_that_is_not_counted(void **state)
{
    (void)state;
    for (size_t i = 0; i < peri_embed_count; i++)
        assert_int_equal(peri_embed_files[i].data[peri_embed_files[i].len], 0);
}

static void an_unknown_path_finds_nothing(void **state)
{
    (void)state;
    assert_null(peri_embed_find(""));
    assert_null(peri_embed_find("lua"));
    assert_null(peri_embed_find("lua/perigee"));
    assert_null(peri_embed_find("zzz"));
}

static void specs_are_left_out(void **state)
{
    (void)state;
    for (size_t i = 0; i < peri_embed_count; i++)
        assert_null(strstr(peri_embed_files[i].path, "_spec.lua"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_are_sorted_and_unique),
        cmocka_unit_test(every_file_is_found_by_its_path),
        cmocka_unit_test(every_file_ends_in_a_zero_that_is_not_counted),
        cmocka_unit_test(an_unknown_path_finds_nothing),
        cmocka_unit_test(specs_are_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
