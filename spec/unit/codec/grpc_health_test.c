// SPDX-License-Identifier: MIT
// The messages of gRPC's health check, byte by byte.
#include "codec/grpc_health.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/attr.h"

#define BODY(text) peri_slice(text, sizeof(text) - 1)

static void asks_for_the_server_with_an_empty_message(void **state)
{
    (void)state;
    char out[PERI_GRPC_HEALTH_REQUEST];
    assert_int_equal(peri_grpc_health_write(PERI_SLICE(""), out), 5);
    assert_memory_equal(out, "\0\0\0\0\0", 5);
}

static void asks_for_a_service_by_its_name(void **state)
{
    (void)state;
    char out[PERI_GRPC_HEALTH_REQUEST];
    assert_int_equal(peri_grpc_health_write(PERI_SLICE("a.B"), out), 10);
    assert_memory_equal(out, "\0\0\0\0\5\n\3a.B", 10);
}

static void writes_long_names_with_a_length_of_two_bytes(void **state)
{
    (void)state;
    char name[PERI_GRPC_HEALTH_SERVICE], out[PERI_GRPC_HEALTH_REQUEST];
    memset(name, 'x', sizeof(name));
    assert_int_equal(peri_grpc_health_write(peri_slice(name, 127), out), 5 + 2 + 127);
    assert_memory_equal(out, "\0\0\0\0\x81\n\x7f", 7);
    assert_int_equal(peri_grpc_health_write(peri_slice(name, 256), out), 5 + 3 + 256);
    assert_memory_equal(out, "\0\0\0\1\3\n\x80\2x", 9);
}

static void reads_the_state(void **state)
{
    (void)state;
    assert_int_equal(peri_grpc_health_read(BODY("\0\0\0\0\2\b\1")), PERI_GRPC_HEALTH_SERVING);
    assert_int_equal(peri_grpc_health_read(BODY("\0\0\0\0\2\b\2")), PERI_GRPC_HEALTH_NOT_SERVING);
    assert_int_equal(peri_grpc_health_read(BODY("\0\0\0\0\2\b\3")), PERI_GRPC_HEALTH_SERVICE_UNKNOWN);
    assert_int_equal(peri_grpc_health_read(BODY("\0\0\0\0\0")), PERI_GRPC_HEALTH_UNKNOWN); // the default is not written
    assert_int_equal(peri_grpc_health_read(BODY("\0\0\0\0\3\b\xac\2")), 300);
    assert_int_equal(peri_grpc_health_read(BODY("\0\0\0\0\4\b\2\b\1")), 1); // the last one counts
}

static void skips_fields_that_it_does_not_know(void **state)
{
    (void)state;
    assert_int_equal(peri_grpc_health_read(BODY("\0\0\0\0\x17"
                                                "\x10\xac\2" // 2: varint
                                                "\x19"
                                                "12345678" // 3: 64 bits
                                                "\x22\2ab" // 4: bytes
                                                "\x2d"
                                                "1234" // 5: 32 bits
                                                "\b\1")),
                     1);
}

static void refuses_what_is_no_such_message(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
    } cases[] = {
        {"", 0},
        {"\0\0\0\0", 4},
        {"\1\0\0\0\2\b\1", 7},                                        // compressed
        {"\0\0\0\0\3\b\1", 7},                                        // cut
        {"\0\0\0\0\1\b\1", 7},                                        // too long
        {"\0\0\0\0\1\b", 6},                                          // a key without a value
        {"\0\0\0\0\2\b\x80", 7},                                      // a number without an end
        {"\0\0\0\0\2\x22\1", 7},                                      // bytes that are not there
        {"\0\0\0\0\2\x22\x7f", 7},                                    //
        {"\0\0\0\0\2\x19\1", 7},                                      // too few for 64 bits
        {"\0\0\0\0\1\x0b", 6},                                        // a group
        {"\0\0\0\0\1\x0e", 6},                                        // no type at all
        {"\0\0\0\0\6\b\xff\xff\xff\xff\x0f", 11},                     // beyond an enum
        {"\0\0\0\0\x0b\b\xff\xff\xff\xff\xff\xff\xff\xff\xff\2", 16}, // beyond 64 bits
    };
    for (unsigned i = 0; i < PERI_COUNT(cases); i++)
        if (peri_grpc_health_read(peri_slice(cases[i].bytes, cases[i].len)) != -1)
            fail_msg("case %u is read as a message", i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asks_for_the_server_with_an_empty_message),
        cmocka_unit_test(asks_for_a_service_by_its_name),
        cmocka_unit_test(writes_long_names_with_a_length_of_two_bytes),
        cmocka_unit_test(reads_the_state),
        cmocka_unit_test(skips_fields_that_it_does_not_know),
        cmocka_unit_test(refuses_what_is_no_such_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
