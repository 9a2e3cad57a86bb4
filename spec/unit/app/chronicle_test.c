// SPDX-License-Identifier: MIT
// What was tried and what became of it, over snapshots of files in a folder of the test.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "app/chronicle.h"
#include "app/snapshot.h"
#include "app/spec_files.h"
#include "codec/json.h"
#include "script/vm.h"

static struct peri_chronicle chronicle;
static char folder[] = "/tmp/perigee-chronicle-XXXXXX";
static const char *const names[] = {"gateway.lua", "key.txt", "more.lua"};

static int open_all(void **state)
{
    (void)state;
    strcpy(strrchr(folder, '-') + 1, "XXXXXX");
    assert_non_null(mkdtemp(folder));
    peri_chronicle_init(&chronicle);
    return 0;
}

static int close_all(void **state)
{
    char command[128];
    (void)state;
    peri_chronicle_close(&chronicle);
    snprintf(command, sizeof(command), "rm -r '%s'", folder);
    return system(command);
}

static void write_file(const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void make_folder(const char *name)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    assert_int_equal(mkdir(path, 0700), 0);
}

// A snapshot of the three files as they are now; key.txt is a secret.
static struct peri_snapshot *record(void)
{
    struct peri_snapshot *snapshot;
    struct peri_slice bytes;
    struct peri_recorder *recorder = peri_recorder_new(folder);
    const struct peri_source *source = peri_recorder_source(recorder);
    for (unsigned i = 0; i < 3; i++)
        source->read(source->data, peri_slice_from(names[i]), &bytes);
    source->mark_secret(source->data, PERI_SLICE("key.txt"));
    int fd = peri_recorder_finish(recorder, PERI_SLICE("gateway.lua"));
    assert_int_equal(peri_snapshot_open(fd, &snapshot), PERI_OK);
    peri_recorder_free(recorder);
    return snapshot;
}

static void changes_are_listed_by_file_and_secrets_by_name_only(void **state)
{
    (void)state;
    write_file("gateway.lua", "one\ntwo\n");
    write_file("key.txt", "hush");
    struct peri_snapshot *from = record();
    write_file("gateway.lua", "one\n2\n");
    write_file("key.txt", "quiet");
    write_file("more.lua", "new\n");
    struct peri_snapshot *to = record();
    struct peri_chronicle_entry *entry = peri_chronicle_add(&chronicle, 1, from, to);
    char *files = peri_json_format(entry->changes.files, false);
    assert_string_equal(files, "[{\"file\":\"gateway.lua\",\"change\":\"changed\",\"added\":1,\"removed\":1},"
                               "{\"file\":\"key.txt\",\"change\":\"changed\",\"is_secret\":true},"
                               "{\"file\":\"more.lua\",\"change\":\"added\",\"added\":1,\"removed\":0}]");
    assert_string_equal(entry->changes.diff, "--- a/gateway.lua\n+++ b/gateway.lua\n@@ -1,2 +1,2 @@\n one\n-two\n+2\n"
                                             "Secret file key.txt differs\n"
                                             "--- /dev/null\n+++ b/more.lua\n@@ -0,0 +1,1 @@\n+new\n");
    free(files);
    peri_snapshot_unref(from);
    peri_snapshot_unref(to);
}

static void a_diff_that_is_too_long_is_cut_between_files(void **state)
{
    (void)state;
    struct peri_snapshot *from = record();
    char *large = calloc(1, PERI_CHANGES_DIFF + 1);
    memset(large, 'a', PERI_CHANGES_DIFF);
    write_file("gateway.lua", "small\n");
    write_file("more.lua", large);
    struct peri_snapshot *to = record();
    struct peri_chronicle_entry *entry = peri_chronicle_add(&chronicle, 1, from, to);
    assert_non_null(strstr(entry->changes.diff, "+small\n(what follows is left out"));
    assert_null(strstr(entry->changes.diff, "aaaa"));
    assert_int_equal(peri_json_count(entry->changes.files), 2);
    free(large);
    peri_snapshot_unref(from);
    peri_snapshot_unref(to);
}

static void the_first_entry_has_no_changes(void **state)
{
    (void)state;
    struct peri_snapshot *snapshot = record();
    struct peri_chronicle_entry *entry = peri_chronicle_add(&chronicle, 0, NULL, snapshot);
    assert_null(entry->changes.files);
    assert_int_equal(strlen(entry->digest), PERI_DIGEST_TEXT);
    peri_snapshot_unref(snapshot);
}

static struct peri_chronicle_entry *add(uint64_t number)
{
    struct peri_chronicle_entry *entry = peri_chronicle_add(&chronicle, number - 1, NULL, NULL);
    entry->number = number;
    return entry;
}

static void what_serves_supersedes_what_did(void **state)
{
    (void)state;
    struct peri_chronicle_entry *first = add(1), *second = add(2);
    peri_chronicle_set(&chronicle, first, PERI_CHRONICLE_SERVES, NULL);
    peri_chronicle_set(&chronicle, second, PERI_CHRONICLE_CANARY, NULL);
    assert_int_equal(first->state, PERI_CHRONICLE_SERVES);
    peri_chronicle_set(&chronicle, second, PERI_CHRONICLE_SERVES, NULL);
    assert_int_equal(first->state, PERI_CHRONICLE_SUPERSEDED);
    assert_string_equal(peri_chronicle_state_name(second->state), "serving");
    peri_chronicle_set(&chronicle, NULL, PERI_CHRONICLE_SERVES, NULL);
    assert_int_equal(second->state, PERI_CHRONICLE_SERVES);
}

static void the_reason_is_the_first_error_and_how_many_follow(void **state)
{
    (void)state;
    struct peri_chronicle_entry *one = add(1), *two = add(2);
    peri_chronicle_set(&chronicle, one, PERI_CHRONICLE_REFUSED,
                       "[{\"file\":\"a.lua\",\"line\":7,\"path\":\"routes\",\"message\":\"is odd\"}]");
    assert_string_equal(one->reason, "a.lua:7: routes: is odd");
    peri_chronicle_set(&chronicle, two, PERI_CHRONICLE_FAILED,
                       "[{\"message\":\"x\"},{\"message\":\"y\"},{\"message\":\"z\"}]");
    assert_string_equal(two->reason, "x (and 2 more)");
}

static void old_entries_are_forgotten_but_not_the_one_that_serves(void **state)
{
    (void)state;
    peri_chronicle_set(&chronicle, add(1), PERI_CHRONICLE_SERVES, NULL);
    for (uint64_t number = 2; number <= 200; number++)
        peri_chronicle_set(&chronicle, add(number), PERI_CHRONICLE_REFUSED, NULL);
    assert_non_null(peri_chronicle_find(&chronicle, 1));
    assert_non_null(peri_chronicle_find(&chronicle, 200));
    assert_non_null(peri_chronicle_find(&chronicle, 200 - PERI_CHRONICLE_ENTRIES + 1));
    assert_null(peri_chronicle_find(&chronicle, 200 - PERI_CHRONICLE_ENTRIES));
}

static void specs_are_found_in_two_folders_and_below(void **state)
{
    (void)state;
    struct peri_spec_files files;
    assert_int_equal(peri_spec_files_find(folder, &files), PERI_OK);
    assert_int_equal(files.count, 0);
    peri_spec_files_close(&files);
    make_folder("spec");
    make_folder("spec/deep");
    make_folder("policies");
    make_folder("policies/a");
    make_folder("other");
    write_file("spec/z_spec.lua", "");
    write_file("spec/deep/b_spec.lua", "");
    write_file("spec/helper.lua", "");
    write_file("spec/.hidden_spec.lua", "");
    write_file("spec/_spec.lua", "");
    write_file("policies/a/a_spec.lua", "");
    write_file("other/c_spec.lua", "");
    assert_int_equal(peri_spec_files_find(folder, &files), PERI_OK);
    assert_int_equal(files.count, 3);
    assert_string_equal(files.paths[0], "policies/a/a_spec.lua");
    assert_string_equal(files.paths[1], "spec/deep/b_spec.lua");
    assert_string_equal(files.paths[2], "spec/z_spec.lua");
    peri_spec_files_close(&files);
}

static void folders_that_are_links_are_not_followed(void **state)
{
    (void)state;
    struct peri_spec_files files;
    char path[256];
    make_folder("spec");
    snprintf(path, sizeof(path), "%s/spec/round", folder);
    assert_int_equal(symlink("..", path), 0);
    write_file("spec/a_spec.lua", "");
    assert_int_equal(peri_spec_files_find(folder, &files), PERI_OK);
    assert_int_equal(files.count, 1);
    peri_spec_files_close(&files);
}

static void too_many_folders_below_each_other_are_refused(void **state)
{
    (void)state;
    struct peri_spec_files files;
    char path[128] = "spec";
    for (int i = 0; i <= PERI_SPEC_DEPTH + 1; i++) {
        make_folder(path);
        strcat(path, "/d");
    }
    assert_int_equal(peri_spec_files_find(folder, &files), PERI_ERR_LIMIT);
    peri_spec_files_close(&files);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_all, close_all)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(changes_are_listed_by_file_and_secrets_by_name_only),
        TEST(a_diff_that_is_too_long_is_cut_between_files),
        TEST(the_first_entry_has_no_changes),
        TEST(what_serves_supersedes_what_did),
        TEST(the_reason_is_the_first_error_and_how_many_follow),
        TEST(old_entries_are_forgotten_but_not_the_one_that_serves),
        TEST(specs_are_found_in_two_folders_and_below),
        TEST(folders_that_are_links_are_not_followed),
        TEST(too_many_folders_below_each_other_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
