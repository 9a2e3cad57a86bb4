// SPDX-License-Identifier: MIT
// Slices and lists: the small words that everything else is written in.
#include "base/slice.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/list.h"

static void compares_bytes_and_letters_without_case(void **state)
{
    (void)state;
    assert_true(peri_slice_eq(peri_slice(NULL, 0), PERI_SLICE("")));
    assert_true(peri_slice_eq(PERI_SLICE("a\0b"), PERI_SLICE("a\0b")));
    assert_false(peri_slice_eq(PERI_SLICE("a\0b"), PERI_SLICE("a\0c")));
    assert_false(peri_slice_eq(PERI_SLICE("ab"), PERI_SLICE("abc")));
    assert_true(peri_slice_ieq(PERI_SLICE("Chunked"), PERI_SLICE("cHUNKED")));
    assert_false(peri_slice_ieq(PERI_SLICE("@"), PERI_SLICE("`")));
    assert_false(peri_slice_ieq(PERI_SLICE("[\x80"), PERI_SLICE("{\xa0")));
    assert_true(peri_slice_starts(PERI_SLICE("unix:/x"), PERI_SLICE("unix:")));
    assert_false(peri_slice_starts(PERI_SLICE("uni"), PERI_SLICE("unix:")));
    assert_true(peri_slice_starts(peri_slice(NULL, 0), PERI_SLICE("")));
}

static void trims_spaces_and_tabs_only(void **state)
{
    (void)state;
    assert_true(peri_slice_eq(peri_slice_trim(PERI_SLICE(" \t a b\t ")), PERI_SLICE("a b")));
    assert_true(peri_slice_eq(peri_slice_trim(PERI_SLICE("\ra\n")), PERI_SLICE("\ra\n")));
    assert_int_equal(peri_slice_trim(PERI_SLICE(" \t ")).len, 0);
}

static void walks_the_members_of_a_list(void **state)
{
    (void)state;
    struct peri_slice rest = PERI_SLICE(" , a,b ,,\tc d\t, ");
    struct peri_slice member;
    assert_true(peri_slice_next(&rest, &member));
    assert_true(peri_slice_eq(member, PERI_SLICE("a")));
    assert_true(peri_slice_next(&rest, &member));
    assert_true(peri_slice_eq(member, PERI_SLICE("b")));
    assert_true(peri_slice_next(&rest, &member));
    assert_true(peri_slice_eq(member, PERI_SLICE("c d")));
    assert_false(peri_slice_next(&rest, &member));
    assert_false(peri_slice_next(&rest, &member));
}

struct item {
    int number;
    struct peri_list link;
};

static int sum_in_order(const struct peri_list *head)
{
    int digits = 0;
    for (const struct peri_list *link = head->next; link != head; link = link->next)
        digits = digits * 10 + PERI_CONTAINER(link, const struct item, link)->number;
    return digits;
}

static void keeps_nodes_in_order_and_takes_them_out_twice(void **state)
{
    (void)state;
    struct peri_list head;
    struct item items[3] = {{.number = 1}, {.number = 2}, {.number = 3}};
    peri_list_init(&head);
    for (unsigned i = 0; i < 3; i++)
        peri_list_init(&items[i].link);
    assert_true(peri_list_is_empty(&head));
    peri_list_append(&head, &items[1].link);
    peri_list_append(&head, &items[2].link);
    peri_list_prepend(&head, &items[0].link);
    assert_int_equal(sum_in_order(&head), 123);
    peri_list_remove(&items[1].link);
    peri_list_remove(&items[1].link);
    assert_true(peri_list_is_empty(&items[1].link));
    assert_int_equal(sum_in_order(&head), 13);
    peri_list_remove(&items[0].link);
    peri_list_remove(&items[2].link);
    assert_true(peri_list_is_empty(&head));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compares_bytes_and_letters_without_case),
        cmocka_unit_test(trims_spaces_and_tabs_only),
        cmocka_unit_test(walks_the_members_of_a_list),
        cmocka_unit_test(keeps_nodes_in_order_and_takes_them_out_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
