// SPDX-License-Identifier: MIT
// Snapshots: what a recorder read from disk comes back from memory, and nothing else does.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/memfd.h"
#include "app/snapshot.h"
#include "app/snapshot_format.h"
#include "script/vm.h"

static char directory[] = "/tmp/perigee-snapshot-XXXXXX";

static void write_file(const char *name, const void *bytes, size_t len)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), len);
    close(fd);
}

static void remove_file(const char *name)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    assert_int_equal(remove(path), 0);
}

static int make_directory(void **state)
{
    char path[256];
    (void)state;
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/policies", directory);
    assert_int_equal(mkdir(path, 0700), 0);
    write_file("gateway.lua", "return {}", 9);
    write_file("policies/a.lua", "a\0b", 3);
    write_file("empty", "", 0);
    return 0;
}

static int remove_directory(void **state)
{
    (void)state;
    remove_file("gateway.lua");
    remove_file("policies/a.lua");
    remove_file("empty");
    remove_file("policies");
    return rmdir(directory);
}

static peri_err_t read_path(const struct peri_source *source, const char *path, struct peri_slice *bytes)
{
    return source->read(source->data, peri_slice_from(path), bytes);
}

static struct peri_snapshot *finish(struct peri_recorder *recorder)
{
    struct peri_snapshot *snapshot;
    int fd = peri_recorder_finish(recorder, PERI_SLICE("gateway.lua"));
    assert_true(fd >= 0);
    assert_int_equal(peri_snapshot_open(fd, &snapshot), PERI_OK);
    peri_recorder_free(recorder);
    return snapshot;
}

static struct peri_snapshot *record(const char *const *paths)
{
    struct peri_slice bytes;
    struct peri_recorder *recorder = peri_recorder_new(directory);
    assert_non_null(recorder);
    for (; *paths; paths++)
        read_path(peri_recorder_source(recorder), *paths, &bytes);
    return finish(recorder);
}

static void gives_back_every_file_that_was_read(void **state)
{
    (void)state;
    struct peri_slice bytes;
    struct peri_snapshot *snapshot = record((const char *[]){"gateway.lua", "policies/a.lua", "empty", NULL});
    const struct peri_source *source = peri_snapshot_source(snapshot);
    assert_int_equal(read_path(source, "gateway.lua", &bytes), PERI_OK);
    assert_true(peri_slice_eq(bytes, PERI_SLICE("return {}")));
    assert_int_equal(read_path(source, "policies/a.lua", &bytes), PERI_OK);
    assert_true(peri_slice_eq(bytes, PERI_SLICE("a\0b")));
    assert_int_equal(read_path(source, "empty", &bytes), PERI_OK);
    assert_int_equal(bytes.len, 0);
    assert_true(peri_slice_eq(peri_snapshot_entry(snapshot), PERI_SLICE("gateway.lua")));
    peri_snapshot_unref(snapshot);
}

static void a_file_that_was_absent_stays_absent(void **state)
{
    (void)state;
    struct peri_slice bytes;
    struct peri_snapshot *snapshot = record((const char *[]){"later.lua", NULL});
    write_file("later.lua", "x", 1);
    assert_int_equal(read_path(peri_snapshot_source(snapshot), "later.lua", &bytes), PERI_ERR_NOT_FOUND);
    assert_int_equal(peri_snapshot_count(snapshot), 1);
    remove_file("later.lua");
    peri_snapshot_unref(snapshot);
}

static void a_file_that_was_not_asked_for_is_not_there(void **state)
{
    (void)state;
    struct peri_slice bytes;
    struct peri_snapshot *snapshot = record((const char *[]){"gateway.lua", NULL});
    assert_int_equal(read_path(peri_snapshot_source(snapshot), "empty", &bytes), PERI_ERR_NOT_FOUND);
    peri_snapshot_unref(snapshot);
}

static void a_recorder_gives_the_same_bytes_again_after_the_file_changed(void **state)
{
    (void)state;
    struct peri_slice bytes;
    struct peri_recorder *recorder = peri_recorder_new(directory);
    write_file("changing", "old", 3);
    read_path(peri_recorder_source(recorder), "changing", &bytes);
    write_file("changing", "newer", 5);
    assert_int_equal(read_path(peri_recorder_source(recorder), "changing", &bytes), PERI_OK);
    assert_true(peri_slice_eq(bytes, PERI_SLICE("old")));
    remove_file("changing");
    peri_recorder_free(recorder);
}

static void never_leaves_the_directory_by_a_relative_path(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "../x", "policies/../gateway.lua", "./gateway.lua", "policies//a.lua", "", "policies/", ".."};
    struct peri_slice bytes;
    struct peri_recorder *recorder = peri_recorder_new(directory);
    for (size_t i = 0; i < PERI_COUNT(bad); i++)
        assert_int_equal(read_path(peri_recorder_source(recorder), bad[i], &bytes), PERI_ERR_INVALID);
    const struct peri_source *source = peri_recorder_source(recorder);
    assert_int_equal(source->read(source->data, PERI_SLICE("a\0b"), &bytes), PERI_ERR_INVALID);
    struct peri_snapshot *snapshot = finish(recorder);
    assert_int_equal(peri_snapshot_count(snapshot), 0);
    assert_int_equal(read_path(peri_snapshot_source(snapshot), "../x", &bytes), PERI_ERR_INVALID);
    peri_snapshot_unref(snapshot);
}

static void directories_and_devices_are_no_files(void **state)
{
    (void)state;
    struct peri_slice bytes;
    struct peri_recorder *recorder = peri_recorder_new(directory);
    assert_int_equal(read_path(peri_recorder_source(recorder), "policies", &bytes), PERI_ERR_NOT_FOUND);
    assert_int_equal(read_path(peri_recorder_source(recorder), "/dev/zero", &bytes), PERI_ERR_NOT_FOUND);
    peri_recorder_free(recorder);
}

static peri_err_t read_names(const struct peri_source *source, const char *path, struct peri_slice *names)
{
    return source->names(source->data, peri_slice_from(path), names);
}

static void the_names_in_a_folder_are_recorded_and_are_no_file(void **state)
{
    (void)state;
    struct peri_slice names;
    struct peri_recorder *recorder = peri_recorder_new(directory);
    const struct peri_source *source = peri_recorder_source(recorder);
    write_file("policies/.hidden", "", 0);
    write_file("policies/0\n1", "", 0);
    write_file("policies/b.lua", "", 0);
    assert_int_equal(read_names(source, "policies", &names), PERI_OK);
    assert_true(peri_slice_eq(names, PERI_SLICE("a.lua\nb.lua\n")));
    remove_file("policies/.hidden");
    remove_file("policies/0\n1");
    remove_file("policies/b.lua");
    assert_int_equal(read_names(source, "absent", &names), PERI_ERR_NOT_FOUND);
    assert_int_equal(read_names(source, "empty", &names), PERI_ERR_NOT_FOUND);
    assert_int_equal(read_names(source, "../x", &names), PERI_ERR_INVALID);
    assert_int_equal(read_names(source, "policies/", &names), PERI_ERR_INVALID);
    assert_int_equal(read_path(source, "policies/", &names), PERI_ERR_INVALID);
    assert_int_equal(read_path(source, "/tmp/", &names), PERI_ERR_INVALID);
    struct peri_snapshot *snapshot = finish(recorder);
    source = peri_snapshot_source(snapshot);
    assert_int_equal(read_names(source, "policies", &names), PERI_OK);
    assert_true(peri_slice_eq(names, PERI_SLICE("a.lua\nb.lua\n")));
    assert_int_equal(read_names(source, "absent", &names), PERI_ERR_NOT_FOUND);
    assert_int_equal(read_names(source, "never", &names), PERI_ERR_NOT_FOUND);
    assert_int_equal(read_path(source, "policies/", &names), PERI_ERR_INVALID);
    assert_int_equal(read_path(source, "policies", &names), PERI_ERR_NOT_FOUND);
    peri_snapshot_unref(snapshot);
}

static void a_file_beyond_the_limit_is_refused(void **state)
{
    (void)state;
    struct peri_slice bytes;
    char path[256];
    struct peri_recorder *recorder = peri_recorder_new(directory);
    snprintf(path, sizeof(path), "%s/large", directory);
    write_file("large", "", 0);
    assert_int_equal(truncate(path, PERI_SNAPSHOT_FILE), 0);
    assert_int_equal(read_path(peri_recorder_source(recorder), "large", &bytes), PERI_OK);
    assert_int_equal(truncate(path, PERI_SNAPSHOT_FILE + 1), 0);
    assert_int_equal(read_path(peri_recorder_source(recorder), path, &bytes), PERI_ERR_LIMIT);
    remove_file("large");
    peri_recorder_free(recorder);
}

static void more_paths_than_the_limit_are_refused(void **state)
{
    (void)state;
    struct peri_slice bytes;
    char path[32];
    struct peri_recorder *recorder = peri_recorder_new(directory);
    for (unsigned i = 0; i < PERI_SNAPSHOT_FILES; i++) {
        snprintf(path, sizeof(path), "absent-%u", i);
        assert_int_equal(read_path(peri_recorder_source(recorder), path, &bytes), PERI_ERR_NOT_FOUND);
    }
    assert_int_equal(read_path(peri_recorder_source(recorder), "one-more", &bytes), PERI_ERR_LIMIT);
    assert_int_equal(read_path(peri_recorder_source(recorder), "absent-7", &bytes), PERI_ERR_NOT_FOUND);
    peri_recorder_free(recorder);
}

static void the_digest_depends_on_bytes_and_not_on_the_order_of_reading(void **state)
{
    (void)state;
    struct peri_snapshot *a = record((const char *[]){"gateway.lua", "empty", "no", NULL});
    struct peri_snapshot *b = record((const char *[]){"no", "empty", "gateway.lua", "empty", NULL});
    write_file("gateway.lua", "return {1}", 10);
    struct peri_snapshot *c = record((const char *[]){"gateway.lua", "empty", "no", NULL});
    write_file("gateway.lua", "return {}", 9);
    assert_true(peri_slice_eq(peri_snapshot_digest(a), peri_snapshot_digest(b)));
    assert_false(peri_slice_eq(peri_snapshot_digest(a), peri_snapshot_digest(c)));
    assert_int_equal(peri_snapshot_digest(a).len, PERI_DIGEST_TEXT);
    peri_snapshot_unref(a);
    peri_snapshot_unref(b);
    peri_snapshot_unref(c);
}

static void a_descriptor_that_is_not_sealed_is_refused(void **state)
{
    (void)state;
    struct peri_snapshot *snapshot;
    char path[256];
    snprintf(path, sizeof(path), "%s/gateway.lua", directory);
    assert_int_equal(peri_snapshot_open(open(path, O_RDONLY), &snapshot), PERI_ERR_INVALID);
    assert_null(snapshot);
}

// Opens a snapshot whose bytes are cut after `len`, or have byte `at` changed.
static peri_err_t open_damaged(struct peri_slice whole, size_t len, size_t at)
{
    struct peri_snapshot *snapshot;
    char *copy = malloc(whole.len);
    memcpy(copy, whole.ptr, whole.len);
    if (at < whole.len)
        copy[at] = (char)(copy[at] ^ 0xff);
    struct peri_slice part = peri_slice(copy, len);
    int fd = peri_memfd_new("test", &part, 1);
    free(copy);
    peri_err_t err = peri_snapshot_open(fd, &snapshot);
    peri_snapshot_unref(snapshot);
    return err;
}

static void a_damaged_snapshot_is_refused_and_never_read_past_its_end(void **state)
{
    (void)state;
    struct peri_slice whole;
    struct peri_snapshot *snapshot = record((const char *[]){"gateway.lua", "policies/a.lua", "empty", NULL});
    assert_int_equal(peri_memfd_map(peri_snapshot_fd(snapshot), 1 << 20, &whole), PERI_OK);
    assert_int_equal(open_damaged(whole, whole.len, whole.len), PERI_OK);
    for (size_t len = 0; len < whole.len; len++)
        assert_int_equal(open_damaged(whole, len, whole.len), PERI_ERR_INVALID);
    for (size_t at = 0; at < sizeof(struct peri_snapshot_head) - PERI_DIGEST_SIZE; at++)
        assert_int_equal(open_damaged(whole, whole.len, at), PERI_ERR_INVALID);
    for (size_t at = sizeof(struct peri_snapshot_head); at < whole.len; at++)
        open_damaged(whole, whole.len, at); // may be good or not, but must not crash
    peri_memfd_unmap(whole);
    peri_snapshot_unref(snapshot);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_back_every_file_that_was_read),
        cmocka_unit_test(a_file_that_was_absent_stays_absent),
        cmocka_unit_test(a_file_that_was_not_asked_for_is_not_there),
        cmocka_unit_test(a_recorder_gives_the_same_bytes_again_after_the_file_changed),
        cmocka_unit_test(never_leaves_the_directory_by_a_relative_path),
        cmocka_unit_test(directories_and_devices_are_no_files),
        cmocka_unit_test(the_names_in_a_folder_are_recorded_and_are_no_file),
        cmocka_unit_test(a_file_beyond_the_limit_is_refused),
        cmocka_unit_test(more_paths_than_the_limit_are_refused),
        cmocka_unit_test(the_digest_depends_on_bytes_and_not_on_the_order_of_reading),
        cmocka_unit_test(a_descriptor_that_is_not_sealed_is_refused),
        cmocka_unit_test(a_damaged_snapshot_is_refused_and_never_read_past_its_end),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
