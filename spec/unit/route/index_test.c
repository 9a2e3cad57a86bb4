// SPDX-License-Identifier: MIT
// The hash index: keys of every length are found, others are not, growing loses nothing.
#include "route/index.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/attr.h"

static void *find(const struct peri_index *index, struct peri_slice key)
{
    return peri_index_find(index, key);
}

static void an_empty_index_finds_nothing(void **state)
{
    (void)state;
    struct peri_index index = {0};
    assert_null(find(&index, PERI_SLICE("a")));
    assert_null(find(&index, peri_slice(NULL, 0)));
}

static void keys_of_every_length_are_told_apart(void **state)
{
    (void)state;
    static char text[64];
    static int values[64];
    struct peri_arena arena;
    struct peri_index index = {0};
    peri_arena_init(&arena, SIZE_MAX);
    memset(text, 'k', sizeof text);
    for (size_t len = 0; len < 64; len++)
        assert_true(peri_index_put(&index, &arena, peri_slice(text, len), &values[len]));
    for (size_t len = 0; len < 64; len++) {
        char *copy = malloc(len + 1);
        memcpy(copy, text, len);
        assert_ptr_equal(find(&index, peri_slice(copy, len)), &values[len]);
        if (len > 0) {
            copy[len / 2] = 'x';
            assert_null(find(&index, peri_slice(copy, len)));
        }
        free(copy);
    }
    peri_arena_close(&arena);
}

static void a_thousand_keys_survive_growing(void **state)
{
    (void)state;
    static char keys[1000][16];
    struct peri_arena arena;
    struct peri_index index = {0};
    peri_arena_init(&arena, SIZE_MAX);
    for (int i = 0; i < 1000; i++) {
        int len = sprintf(keys[i], "/key/%d", i);
        assert_null(find(&index, peri_slice(keys[i], (size_t)len)));
        assert_true(peri_index_put(&index, &arena, peri_slice(keys[i], (size_t)len), keys[i]));
    }
    assert_int_equal(index.count, 1000);
    for (int i = 0; i < 1000; i++)
        assert_ptr_equal(find(&index, peri_slice_from(keys[i])), keys[i]);
    assert_null(find(&index, PERI_SLICE("/key/1000")));
    peri_arena_close(&arena);
}

static void reports_that_memory_is_short(void **state)
{
    (void)state;
    struct peri_arena arena;
    struct peri_index index = {0};
    peri_arena_init(&arena, 0);
    assert_false(peri_index_put(&index, &arena, PERI_SLICE("a"), &index));
    assert_null(find(&index, PERI_SLICE("a")));
    peri_arena_close(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_index_finds_nothing),
        cmocka_unit_test(keys_of_every_length_are_told_apart),
        cmocka_unit_test(a_thousand_keys_survive_growing),
        cmocka_unit_test(reports_that_memory_is_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
