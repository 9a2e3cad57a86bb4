// SPDX-License-Identifier: MIT
// SipHash-1-3 against values of other implementations, and the length of UTF-8 characters.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "shared/hash.h"
#include "shared/utf8.h"

static uint64_t hash_zero(const char *text)
{
    uint64_t secret[2] = {0, 0};
    return peri_hash(secret, peri_slice_from(text));
}

// CPython 3.11 hashes bytes with SipHash-1-3; PYTHONHASHSEED=0 makes the secret zero.
static void agrees_with_another_implementation(void **state)
{
    (void)state;
    assert_int_equal(hash_zero("a"), 0x407448d2b89b1813u);
    assert_int_equal(hash_zero("abcdefg"), 0x6db12aae9070f506u);
    assert_int_equal(hash_zero("abcdefgh"), 0x3f7b849c0b8e35eau);
    assert_int_equal(hash_zero("abcdefghi"), 0xf89b34a3d11eb6e5u);
    assert_int_equal(hash_zero("perigee shares memory"), 0xc75cb1ba2cc3b567u);
}

static void gives_the_published_value_for_the_key_of_the_paper(void **state)
{
    (void)state;
    uint64_t secret[2] = {0x0706050403020100u, 0x0f0e0d0c0b0a0908u};
    assert_int_equal(peri_hash(secret, PERI_SLICE("")), 0xabac0158050fc4dcu);
}

static void depends_on_the_secret(void **state)
{
    (void)state;
    uint64_t one[2] = {1, 2}, other[2] = {1, 3};
    assert_int_not_equal(peri_hash(one, PERI_SLICE("key")), peri_hash(other, PERI_SLICE("key")));
}

static void measures_one_character_of_each_length(void **state)
{
    (void)state;
    assert_int_equal(peri_utf8_len(PERI_SLICE("a")), 1);
    assert_int_equal(peri_utf8_len(PERI_SLICE("\xc3\xa9x")), 2);
    assert_int_equal(peri_utf8_len(PERI_SLICE("\xe2\x82\xac")), 3);
    assert_int_equal(peri_utf8_len(PERI_SLICE("\xf0\x9f\x8c\x99")), 4);
    assert_int_equal(peri_utf8_len(PERI_SLICE("\xf4\x8f\xbf\xbf")), 4);
}

static void refuses_what_is_no_character(void **state)
{
    (void)state;
    assert_int_equal(peri_utf8_len(PERI_SLICE("\x80")), 0);
    assert_int_equal(peri_utf8_len(PERI_SLICE("\xc0\xaf")), 0);         // overlong
    assert_int_equal(peri_utf8_len(PERI_SLICE("\xe0\x80\xaf")), 0);     // overlong
    assert_int_equal(peri_utf8_len(PERI_SLICE("\xf0\x80\x80\xaf")), 0); // overlong
    assert_int_equal(peri_utf8_len(PERI_SLICE("\xed\xa0\x80")), 0);     // surrogate
    assert_int_equal(peri_utf8_len(PERI_SLICE("\xf4\x90\x80\x80")), 0); // beyond U+10FFFF
    assert_int_equal(peri_utf8_len(PERI_SLICE("\xf5\x80\x80\x80")), 0);
    assert_int_equal(peri_utf8_len(PERI_SLICE("\xe2\x82")), 0); // cut
    assert_int_equal(peri_utf8_len(PERI_SLICE("\xe2\x28\xa1")), 0);
    assert_int_equal(peri_utf8_len(PERI_SLICE("\xf0\x9f\x8c\x29")), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_another_implementation),
        cmocka_unit_test(gives_the_published_value_for_the_key_of_the_paper),
        cmocka_unit_test(depends_on_the_secret),
        cmocka_unit_test(measures_one_character_of_each_length),
        cmocka_unit_test(refuses_what_is_no_character),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
