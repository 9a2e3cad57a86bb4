// SPDX-License-Identifier: MIT
// The texts of the WebSocket handshake, with the example of RFC 6455.
#include "codec/websocket.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "codec/base64.h"

#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

static void answers_a_key_as_the_standard_does(void **state)
{
    char accept[PERI_WEBSOCKET_ACCEPT];
    (void)state;
    assert_int_equal(peri_websocket_make_accept(PERI_SLICE(KEY), accept), PERI_OK);
    assert_memory_equal(accept, ACCEPT, sizeof(accept));
    assert_true(peri_websocket_is_accepted(PERI_SLICE(KEY), PERI_SLICE(ACCEPT)));
}

static void takes_no_other_answer(void **state)
{
    (void)state;
    assert_false(peri_websocket_is_accepted(PERI_SLICE(KEY), PERI_SLICE("")));
    assert_false(peri_websocket_is_accepted(PERI_SLICE(KEY), PERI_SLICE(ACCEPT "=")));
    assert_false(peri_websocket_is_accepted(PERI_SLICE(KEY), PERI_SLICE("S3pPLMBiTxaQ9kYGzzhZRbK+xOo=")));
    assert_false(peri_websocket_is_accepted(PERI_SLICE(""), PERI_SLICE(ACCEPT)));
    assert_false(peri_websocket_is_accepted(peri_slice(NULL, 0), peri_slice(NULL, 0)));
}

static void refuses_a_key_that_is_too_long_to_be_one(void **state)
{
    char key[65], accept[PERI_WEBSOCKET_ACCEPT];
    (void)state;
    memset(key, 'k', sizeof(key));
    assert_int_equal(peri_websocket_make_accept(peri_slice(key, 65), accept), PERI_ERR_INVALID);
    assert_int_equal(peri_websocket_make_accept(peri_slice(key, 64), accept), PERI_OK);
}

static void makes_another_key_each_time(void **state)
{
    char first[PERI_WEBSOCKET_KEY], second[PERI_WEBSOCKET_KEY], bytes[PERI_WEBSOCKET_KEY];
    size_t len;
    (void)state;
    assert_int_equal(peri_websocket_make_key(first), PERI_OK);
    assert_int_equal(peri_websocket_make_key(second), PERI_OK);
    assert_memory_not_equal(first, second, sizeof(first));
    assert_true(peri_base64_decode(peri_slice(first, sizeof(first)), false, bytes, &len));
    assert_int_equal(len, 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_a_key_as_the_standard_does),
        cmocka_unit_test(takes_no_other_answer),
        cmocka_unit_test(refuses_a_key_that_is_too_long_to_be_one),
        cmocka_unit_test(makes_another_key_each_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
