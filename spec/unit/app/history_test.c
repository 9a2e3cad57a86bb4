// SPDX-License-Identifier: MIT
// Generations that are kept, and which of them a rollback brings back; lists of errors.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "app/config.h"
#include "app/errors.h"
#include "app/history.h"
#include "app/memfd.h"
#include "app/snapshot.h"
#include "app/snapshot_format.h"

static struct peri_history history;

static int open_history(void **state)
{
    (void)state;
    peri_history_init(&history);
    return 0;
}

static int close_history(void **state)
{
    (void)state;
    peri_history_close(&history);
    return 0;
}

// A snapshot without files whose digest depends on `name`.
static struct peri_snapshot *make_snapshot(const char *name)
{
    struct peri_snapshot *snapshot;
    struct peri_recorder *recorder = peri_recorder_new("/");
    assert_int_equal(peri_snapshot_open(peri_recorder_finish(recorder, peri_slice_from(name)), &snapshot), PERI_OK);
    peri_recorder_free(recorder);
    return snapshot;
}

static struct peri_edition *add(const char *name, uint64_t origin)
{
    char *errors;
    struct peri_edition *edition = peri_edition_new(&history, make_snapshot(name), strdup("{\"workers\":1}"), &errors);
    assert_non_null(edition);
    edition->origin = origin;
    peri_history_add(&history, edition, 3);
    return edition;
}

static uint64_t number_of(const struct peri_edition *edition)
{
    return edition ? edition->number : 0;
}

static void the_newest_is_current_and_numbers_only_grow(void **state)
{
    (void)state;
    assert_null(peri_history_current(&history));
    add("a", 0);
    assert_int_equal(peri_history_current(&history)->number, 1);
    add("b", 0);
    assert_int_equal(peri_history_current(&history)->number, 2);
}

static void a_number_that_was_given_to_a_refused_candidate_is_not_given_again(void **state)
{
    (void)state;
    char *errors;
    add("a", 0);
    peri_edition_free(peri_edition_new(&history, make_snapshot("b"), strdup("{}"), &errors));
    assert_int_equal(add("c", 0)->number, 3);
}

static void keeps_only_as_many_as_it_is_told(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++)
        add((const char[]){(char)('a' + i), '\0'}, 0);
    assert_null(peri_history_find(&history, 6));
    assert_int_equal(number_of(peri_history_find(&history, 7)), 7);
    assert_int_equal(number_of(peri_history_find(&history, 10)), 10);
}

static void a_rollback_goes_to_the_one_before_and_the_next_one_further_back(void **state)
{
    (void)state;
    add("a", 0);
    assert_null(peri_history_find(&history, 0));
    add("b", 0);
    add("c", 0);
    assert_int_equal(number_of(peri_history_find(&history, 0)), 2);
    add("b", 2);
    assert_int_equal(number_of(peri_history_find(&history, 0)), 1);
}

static void a_rollback_skips_generations_of_the_same_bytes(void **state)
{
    (void)state;
    add("a", 0);
    add("b", 0);
    add("b", 0);
    assert_int_equal(number_of(peri_history_find(&history, 0)), 1);
}

static void a_configuration_that_cannot_be_used_makes_no_edition(void **state)
{
    (void)state;
    char *errors;
    assert_null(peri_edition_new(&history, make_snapshot("a"), strdup("{\"workers\":9999}"), &errors));
    assert_non_null(errors);
    free(errors);
}

static void assert_printed(const char *prefix, const char *errors, const char *expected)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    peri_errors_print(out, prefix, errors);
    fclose(out);
    assert_string_equal(text, expected);
    free(text);
}

static void errors_are_printed_with_their_place(void **state)
{
    (void)state;
    assert_printed(
        "conf/",
        "[{\"file\":\"g.lua\",\"line\":3,\"path\":\"routes[1]\",\"message\":\"no target\"},{\"message\":\"x\"}]",
        "conf/g.lua:3: routes[1]: no target\nx\n");
    assert_printed("conf/", "[{\"file\":\"/etc/g.lua\",\"message\":\"a\\u001b[2Jb\\nc\"}]",
                   "/etc/g.lua: a\\x1b[2Jb\nc\n");
    assert_printed("", NULL, "the reason is not known (out of memory?)\n");
}

static void an_error_that_is_made_here_is_valid_json(void **state)
{
    (void)state;
    char *errors = peri_errors_new("admin", "a \"quote\" and %d", 7);
    assert_string_equal(errors, "[{\"path\":\"admin\",\"message\":\"a \\\"quote\\\" and 7\"}]");
    free(errors);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_history, close_history)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_newest_is_current_and_numbers_only_grow),
        TEST(a_number_that_was_given_to_a_refused_candidate_is_not_given_again),
        TEST(keeps_only_as_many_as_it_is_told),
        TEST(a_rollback_goes_to_the_one_before_and_the_next_one_further_back),
        TEST(a_rollback_skips_generations_of_the_same_bytes),
        TEST(a_configuration_that_cannot_be_used_makes_no_edition),
        TEST(errors_are_printed_with_their_place),
        TEST(an_error_that_is_made_here_is_valid_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
