// SPDX-License-Identifier: MIT
// Diffs of texts: known ones, and random ones that are applied again.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "app/diff.h"
#include "shared/text.h"

static struct peri_text out;
static struct peri_diff counts;

static int close_text(void **state)
{
    (void)state;
    peri_text_close(&out);
    return 0;
}

static const char *diff(const char *from, const char *to)
{
    peri_text_close(&out);
    assert_true(peri_diff_make(peri_slice_from(from), peri_slice_from(to), &out, &counts));
    return out.data ? out.data : "";
}

static void expect_counts(uint32_t added, uint32_t removed)
{
    assert_int_equal(counts.added, added);
    assert_int_equal(counts.removed, removed);
}

static void equal_texts_have_no_hunks(void **state)
{
    (void)state;
    assert_string_equal(diff("a\nb\n", "a\nb\n"), "");
    expect_counts(0, 0);
    assert_string_equal(diff("", ""), "");
}

static void a_changed_line_is_shown_with_its_neighbours(void **state)
{
    (void)state;
    assert_string_equal(diff("1\n2\n3\n4\nold\n6\n7\n8\n9\n", "1\n2\n3\n4\nnew\n6\n7\n8\n9\n"),
                        "@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-old\n+new\n 6\n 7\n 8\n");
    expect_counts(1, 1);
}

static void a_new_text_is_all_added_and_an_empty_one_all_removed(void **state)
{
    (void)state;
    assert_string_equal(diff("", "a\nb\n"), "@@ -0,0 +1,2 @@\n+a\n+b\n");
    expect_counts(2, 0);
    assert_string_equal(diff("a\nb\n", ""), "@@ -1,2 +0,0 @@\n-a\n-b\n");
    expect_counts(0, 2);
}

static void a_missing_line_end_is_told(void **state)
{
    (void)state;
    assert_string_equal(diff("a\nb", "a\nb\n"), "@@ -1,2 +1,2 @@\n a\n-b\n\\ No newline at end of file\n+b\n");
}

static void changes_that_are_near_share_a_hunk_and_others_do_not(void **state)
{
    (void)state;
    assert_string_equal(diff("x\n1\n2\n3\n4\n5\n6\ny\n", "X\n1\n2\n3\n4\n5\n6\nY\n"),
                        "@@ -1,8 +1,8 @@\n-x\n+X\n 1\n 2\n 3\n 4\n 5\n 6\n-y\n+Y\n");
    assert_string_equal(diff("x\n1\n2\n3\n4\n5\n6\n7\ny\n", "X\n1\n2\n3\n4\n5\n6\n7\nY\n"),
                        "@@ -1,4 +1,4 @@\n-x\n+X\n 1\n 2\n 3\n@@ -6,4 +6,4 @@\n 5\n 6\n 7\n-y\n+Y\n");
}

static void the_shortest_way_is_found(void **state)
{
    (void)state;
    diff("a\nb\nc\na\nb\nb\na\n", "c\nb\na\nb\na\nc\n"); // the example of the paper: 5 edits
    assert_int_equal(counts.added + counts.removed, 5);
}

static void what_is_no_text_or_too_long_is_not_compared(void **state)
{
    (void)state;
    char *large = calloc(1, PERI_DIFF_BYTES + 1);
    assert_false(peri_diff_make(peri_slice("a\0b", 3), PERI_SLICE("ab"), NULL, &counts));
    memset(large, 'a', PERI_DIFF_BYTES + 1);
    assert_false(peri_diff_make(PERI_SLICE("a"), peri_slice(large, PERI_DIFF_BYTES + 1), NULL, &counts));
    assert_true(peri_diff_make(PERI_SLICE("a"), peri_slice(large, PERI_DIFF_BYTES), NULL, &counts));
    free(large);
}

// Applies the hunks in `patch` to `from`.
static void apply(const char *from, const char *patch, struct peri_text *result)
{
    unsigned line = 1, first;
    while (*patch) {
        if (strncmp(patch, "@@ -", 4) == 0) {
            first = (unsigned)strtoul(patch + 4, NULL, 10);
            unsigned length = (unsigned)strtoul(strchr(patch, ',') + 1, NULL, 10);
            for (; line < first + (length == 0); line++) {
                const char *end = strchr(from, '\n') + 1;
                peri_text_add(result, peri_slice(from, (size_t)(end - from)));
                from = end;
            }
        } else {
            const char *end = strchr(patch, '\n') + 1;
            size_t len = (size_t)(end - patch) - 1;
            if (*patch != '+') {
                assert_memory_equal(from, patch + 1, len);
                from += len;
                line++;
            }
            if (*patch != '-')
                peri_text_add(result, peri_slice(patch + 1, len));
        }
        patch = strchr(patch, '\n') + 1;
    }
    peri_text_add(result, peri_slice_from(from));
}

static void write_lines(struct peri_text *text, unsigned count, unsigned kinds)
{
    for (unsigned i = 0; i < count; i++)
        peri_text_printf(text, "line %u\n", (unsigned)rand() % kinds);
}

static void a_diff_applied_to_the_old_text_gives_the_new_one(void **state)
{
    (void)state;
    srand(7);
    for (unsigned round = 0; round < 400; round++) {
        struct peri_text from = {0}, to = {0}, result = {0};
        unsigned kinds = 1 + (unsigned)rand() % 40, most = round % 40 == 0 ? 2000 : 40;
        write_lines(&from, (unsigned)rand() % most, kinds);
        if (from.data && round % 3 == 0)
            peri_text_add(&to, peri_slice(from.data, from.len));
        write_lines(&to, (unsigned)rand() % most, kinds);
        const char *old = from.data ? from.data : "";
        apply(old, diff(old, to.data ? to.data : ""), &result);
        assert_string_equal(result.data ? result.data : "", to.data ? to.data : "");
        peri_text_close(&from);
        peri_text_close(&to);
        peri_text_close(&result);
    }
}

#define TEST(name) cmocka_unit_test_teardown(name, close_text)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(equal_texts_have_no_hunks),
        TEST(a_changed_line_is_shown_with_its_neighbours),
        TEST(a_new_text_is_all_added_and_an_empty_one_all_removed),
        TEST(a_missing_line_end_is_told),
        TEST(changes_that_are_near_share_a_hunk_and_others_do_not),
        TEST(the_shortest_way_is_found),
        TEST(what_is_no_text_or_too_long_is_not_compared),
        TEST(a_diff_applied_to_the_old_text_gives_the_new_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
