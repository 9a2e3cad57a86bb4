// SPDX-License-Identifier: MIT
// XXH64: the same values as everybody else's.
#include "base/xxh64.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

// From the reference implementation (xxhsum -H1) and its specification.
static void has_the_known_values(void **state)
{
    (void)state;
    assert_true(peri_xxh64(PERI_SLICE(""), 0) == 0xef46db3751d8e999u);
    assert_true(peri_xxh64(PERI_SLICE("a"), 0) == 0xd24ec4f1a98c6e5bu);
    assert_true(peri_xxh64(PERI_SLICE("abc"), 0) == 0x44bc2cf5ad770999u);
    assert_true(peri_xxh64(PERI_SLICE("Nobody inspects the spammish repetition"), 0) == 0xfbcea83c8a378bf1u);
}

static void depends_on_every_byte_and_the_seed(void **state)
{
    (void)state;
    char bytes[80] = {0};
    for (size_t len = 1; len <= sizeof(bytes); len++) {
        struct peri_slice slice = peri_slice(bytes, len);
        uint64_t before = peri_xxh64(slice, 0);
        assert_true(before != peri_xxh64(slice, 1));
        assert_true(before != peri_xxh64(peri_slice(bytes, len - 1), 0));
        for (size_t i = 0; i < len; i++) {
            bytes[i] ^= 1;
            assert_true(before != peri_xxh64(slice, 0));
            bytes[i] ^= 1;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(has_the_known_values),
        cmocka_unit_test(depends_on_every_byte_and_the_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
