// SPDX-License-Identifier: MIT
// What the system says of memory and descriptors.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <stdlib.h>
#include <unistd.h>

#include "base/footprint.h"

#define MIB (1024u * 1024)

static void assert_path(const char *text, const char *path)
{
    struct peri_slice found = peri_footprint_cgroup_path(peri_slice_from(text));
    assert_int_equal(found.len, strlen(path));
    assert_memory_equal(found.ptr, path, found.len);
}

static void finds_its_cgroup_among_those_of_both_versions(void **state)
{
    (void)state;
    assert_path("0::/\n", "/");
    assert_path("0::/system.slice/perigee.service\n", "/system.slice/perigee.service");
    assert_path("4:memory:/old\n1:name=systemd:/x\n0::/new", "/new");
    assert_path("4:memory:/0::/no\n", "");
    assert_path("", "");
}

static void finds_a_number_by_its_whole_name(void **state)
{
    (void)state;
    const struct peri_slice text = PERI_SLICE("anon 12\ninactive_file_x 7\ninactive_file 4096\nempty\nlast 9");
    assert_int_equal(peri_footprint_stat(text, PERI_SLICE("inactive_file")), 4096);
    assert_int_equal(peri_footprint_stat(text, PERI_SLICE("anon")), 12);
    assert_int_equal(peri_footprint_stat(text, PERI_SLICE("last")), 9);
    assert_int_equal(peri_footprint_stat(text, PERI_SLICE("file")), 0);
    assert_int_equal(peri_footprint_stat(text, PERI_SLICE("empty")), 0);
    assert_int_equal(peri_footprint_stat(peri_slice("", 0), PERI_SLICE("anon")), 0);
}

static void sees_memory_that_is_used_even_without_a_descriptor_to_open_a_file_with(void **state)
{
    (void)state;
    struct peri_footprint footprint;
    int fds[4096], count = 0;
    peri_footprint_open(&footprint);
    uint64_t before = peri_footprint_memory(&footprint);
    while (count < 4096 && (fds[count] = dup(0)) >= 0)
        count++;
    char *block = malloc(64 * MIB);
    assert_non_null(block);
    memset(block, 1, 64 * MIB);
    uint64_t after = peri_footprint_memory(&footprint);
    while (count > 0)
        close(fds[--count]);
    assert_true(after >= before + 60 * MIB + block[0]);
    free(block);
    peri_footprint_close(&footprint);
}

static void counts_its_descriptors(void **state)
{
    (void)state;
    uint32_t before = peri_footprint_descriptors();
    assert_in_range(before, 3, peri_footprint_descriptor_limit());
    int fd = dup(0);
    assert_int_equal(peri_footprint_descriptors(), before + 1);
    close(fd);
    assert_int_equal(peri_footprint_descriptors(), before);
}

static void may_have_as_many_descriptors_as_the_system_allows(void **state)
{
    (void)state;
    uint32_t before = peri_footprint_descriptor_limit();
    peri_footprint_raise_descriptor_limit();
    assert_true(peri_footprint_descriptor_limit() >= before);
    uint32_t raised = peri_footprint_descriptor_limit();
    peri_footprint_raise_descriptor_limit();
    assert_int_equal(peri_footprint_descriptor_limit(), raised);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_its_cgroup_among_those_of_both_versions),
        cmocka_unit_test(finds_a_number_by_its_whole_name),
        cmocka_unit_test(sees_memory_that_is_used_even_without_a_descriptor_to_open_a_file_with),
        cmocka_unit_test(counts_its_descriptors),
        cmocka_unit_test(may_have_as_many_descriptors_as_the_system_allows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
