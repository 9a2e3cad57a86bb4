// SPDX-License-Identifier: MIT
// Base64 and hex: the vectors of RFC 4648, and that nothing decodes but what encoding writes.
#include "codec/base64.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/attr.h"

static void assert_encoded(const char *plain, const char *standard, const char *url)
{
    char out[64];
    struct peri_slice data = peri_slice_from(plain);
    size_t len = peri_base64_encode(data, false, out);
    assert_int_equal(len, strlen(standard));
    assert_memory_equal(out, standard, len);
    len = peri_base64_encode(data, true, out);
    assert_int_equal(len, strlen(url));
    assert_memory_equal(out, url, len);
    assert_true(peri_base64_decode(peri_slice_from(standard), false, out, &len));
    assert_int_equal(len, data.len);
    assert_memory_equal(out, plain, len);
    assert_true(peri_base64_decode(peri_slice_from(url), true, out, &len));
    assert_int_equal(len, data.len);
    assert_memory_equal(out, plain, len);
}

static void encodes_and_decodes_the_vectors_of_the_rfc(void **state)
{
    (void)state;
    assert_encoded("", "", "");
    assert_encoded("f", "Zg==", "Zg");
    assert_encoded("fo", "Zm8=", "Zm8");
    assert_encoded("foo", "Zm9v", "Zm9v");
    assert_encoded("foob", "Zm9vYg==", "Zm9vYg");
    assert_encoded("fooba", "Zm9vYmE=", "Zm9vYmE");
    assert_encoded("foobar", "Zm9vYmFy", "Zm9vYmFy");
    assert_encoded("\xfb\xef\xff", "++//", "--__");
}

static void refuses_every_other_text(void **state)
{
    (void)state;
    const char *const standard[] = {
        "Zg",     "Zg=",  "Zg===", "Z",       "=",    "==",   "====",     "Zg==Zg==", "Zm8", "Zm 8",
        "Zm8=\n", "Zm9-", "Zm9_",  "Zm\x80w", "Zh==", "Zm9=", "Zm9v====", "Zm9v=",    "=m9v"};
    const char *const url[] = {"Zg==", "Zm8=", "Z",     "Zm9v ",     "Zm9+",    "Zm9/",
                               "Zh",   "Zm9",  "Zm9vY", "Zm9\xffYg", "Zm9vYmF="};
    char out[64];
    size_t len;
    for (size_t i = 0; i < PERI_COUNT(standard); i++)
        if (peri_base64_decode(peri_slice_from(standard[i]), false, out, &len))
            fail_msg("standard: '%s' was accepted", standard[i]);
    for (size_t i = 0; i < PERI_COUNT(url); i++)
        if (peri_base64_decode(peri_slice_from(url[i]), true, out, &len))
            fail_msg("url: '%s' was accepted", url[i]);
}

static void every_accepted_text_is_the_only_one_for_its_bytes(void **state)
{
    (void)state;
    char text[4], bytes[4], again[8];
    size_t len, accepted = 0;
    for (uint32_t i = 0; i < 256 * 256; i++) {
        text[0] = (char)i, text[1] = (char)(i >> 8);
        if (!peri_base64_decode(peri_slice(text, 2), true, bytes, &len))
            continue;
        accepted++;
        assert_int_equal(len, 1);
        assert_int_equal(peri_base64_encode(peri_slice(bytes, len), true, again), 2);
        assert_memory_equal(again, text, 2);
    }
    assert_int_equal(accepted, 256);
}

static void random_bytes_come_back(void **state)
{
    (void)state;
    char data[300], text[400], back[400];
    uint32_t seed = 1;
    size_t len;
    for (size_t size = 0; size < sizeof data; size++) {
        for (size_t i = 0; i < size; i++)
            data[i] = (char)((seed = seed * 1664525 + 1013904223) >> 24);
        for (int is_url = 0; is_url < 2; is_url++) {
            size_t text_len = peri_base64_encode(peri_slice(data, size), is_url, text);
            assert_true(text_len <= PERI_BASE64_ROOM(size));
            assert_true(peri_base64_decode(peri_slice(text, text_len), is_url, back, &len));
            assert_int_equal(len, size);
            assert_memory_equal(back, data, size);
        }
    }
}

static void hex_is_written_in_lower_case_and_read_in_either(void **state)
{
    (void)state;
    char out[8];
    peri_hex_encode(PERI_SLICE("\x00\x9a\xff"), out);
    assert_memory_equal(out, "009aff", 6);
    assert_true(peri_hex_decode(PERI_SLICE("009AfF"), out));
    assert_memory_equal(out, "\x00\x9a\xff", 3);
    assert_true(peri_hex_decode(PERI_SLICE(""), out));
    const char *const bad[] = {"0",
                               "0g",
                               "g0",
                               "0x",
                               " 0",
                               "00 ",
                               "\xff"
                               "0"};
    for (size_t i = 0; i < PERI_COUNT(bad); i++)
        assert_false(peri_hex_decode(peri_slice_from(bad[i]), out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encodes_and_decodes_the_vectors_of_the_rfc),        cmocka_unit_test(refuses_every_other_text),
        cmocka_unit_test(every_accepted_text_is_the_only_one_for_its_bytes), cmocka_unit_test(random_bytes_come_back),
        cmocka_unit_test(hex_is_written_in_lower_case_and_read_in_either),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
