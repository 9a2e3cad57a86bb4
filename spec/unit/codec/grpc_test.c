// SPDX-License-Identifier: MIT
// gRPC's headers: content types, statuses, timeouts and messages.
#include "codec/grpc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/attr.h"

#define SECOND 1000000000ull

static void tells_calls_by_their_content_type(void **state)
{
    (void)state;
    static const struct {
        const char *type;
        enum peri_grpc_kind kind;
    } cases[] = {
        {"application/grpc", PERI_GRPC_NATIVE},
        {"application/grpc+proto", PERI_GRPC_NATIVE},
        {"application/grpc; a=b", PERI_GRPC_NATIVE},
        {"application/grpc ", PERI_GRPC_NATIVE},
        {"APPLICATION/Grpc", PERI_GRPC_NATIVE},
        {"application/grpc-web", PERI_GRPC_WEB},
        {"application/grpc-web+thrift", PERI_GRPC_WEB},
        {"application/grpc-web-text;x", PERI_GRPC_WEB_TEXT},
        {"application/GRPC-web-Text+proto", PERI_GRPC_WEB_TEXT},
        {"application/grpc-web-texts", PERI_GRPC_NONE},
        {"application/grpc-webs", PERI_GRPC_NONE},
        {"application/grpcs", PERI_GRPC_NONE},
        {"application/grp", PERI_GRPC_NONE},
        {"application/json; grpc", PERI_GRPC_NONE},
        {"text/plain+application/grpc", PERI_GRPC_NONE},
        {"", PERI_GRPC_NONE},
    };
    for (unsigned i = 0; i < PERI_COUNT(cases); i++)
        if (peri_grpc_kind(peri_slice_from(cases[i].type)) != cases[i].kind)
            fail_msg("'%s' is of another kind", cases[i].type);
}

static void answers_each_kind_with_its_own_type(void **state)
{
    (void)state;
    for (enum peri_grpc_kind kind = PERI_GRPC_NATIVE; kind <= PERI_GRPC_WEB_TEXT; kind++)
        assert_int_equal(peri_grpc_kind(peri_grpc_type(kind)), kind);
}

static void reads_timeouts_in_every_unit(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t ns;
    } cases[] = {
        {"1n", 1},
        {"2u", 2000},
        {"3m", 3000000},
        {"4S", 4 * SECOND},
        {"5M", 300 * SECOND},
        {"6H", 21600 * SECOND},
        {"0S", 0},
        {"00000001S", SECOND},
        {"99999999n", 99999999},
        {"99999999S", 99999999 * SECOND},
        {"99999999H", PERI_GRPC_TIMEOUT_MAX_NS},
        {"99999999M", PERI_GRPC_TIMEOUT_MAX_NS},
    };
    for (unsigned i = 0; i < PERI_COUNT(cases); i++) {
        uint64_t ns;
        assert_int_equal(peri_grpc_timeout_parse(peri_slice_from(cases[i].text), &ns), PERI_OK);
        if (ns != cases[i].ns)
            fail_msg("'%s' is %llu ns", cases[i].text, (unsigned long long)ns);
    }
}

static void refuses_what_is_no_timeout(void **state)
{
    (void)state;
    static const char *const cases[] = {"",    "S",   "1",    "1s",  "1h",  "123456789S", "-1S",      "+1S",
                                        "1 S", " 1S", "1.0S", "1SS", "S1S", "0x1S",       "1\xc2\xb5"};
    uint64_t ns;
    for (unsigned i = 0; i < PERI_COUNT(cases); i++)
        if (peri_grpc_timeout_parse(peri_slice_from(cases[i]), &ns) != PERI_ERR_INVALID)
            fail_msg("'%s' is a timeout", cases[i]);
}

static void writes_timeouts_in_the_finest_unit_that_holds_them(void **state)
{
    (void)state;
    static const struct {
        uint64_t ns;
        const char *text;
    } cases[] = {
        {0, "0n"},
        {99999999, "99999999n"},
        {100000000, "100000u"},
        {99999999999, "99999999u"},
        {100 * SECOND, "100000m"},
        {100000 * SECOND, "100000S"},
        {100000000 * SECOND, "1666666M"},
        {PERI_GRPC_TIMEOUT_MAX_NS, "50000000M"},
    };
    for (unsigned i = 0; i < PERI_COUNT(cases); i++) {
        char text[PERI_GRPC_TIMEOUT_TEXT];
        size_t len = peri_grpc_timeout_format(cases[i].ns, text);
        if (!peri_slice_eq(peri_slice(text, len), peri_slice_from(cases[i].text)))
            fail_msg("%s became %.*s", cases[i].text, (int)len, text);
    }
}

static void reads_the_statuses_of_grpc_only(void **state)
{
    (void)state;
    assert_int_equal(peri_grpc_status_parse(PERI_SLICE("0")), 0);
    assert_int_equal(peri_grpc_status_parse(PERI_SLICE("16")), 16);
    static const char *const cases[] = {"", "17", "-1", "1 ", "a", "1a", "100", "+1"};
    for (unsigned i = 0; i < PERI_COUNT(cases); i++)
        assert_int_equal(peri_grpc_status_parse(peri_slice_from(cases[i])), -1);
}

static void has_a_status_for_every_answer(void **state)
{
    (void)state;
    for (int http = 200; http < 600; http++)
        assert_in_range(peri_grpc_status_from(http), PERI_GRPC_UNKNOWN, PERI_GRPC_UNAUTHENTICATED);
    assert_int_equal(peri_grpc_status_from(401), PERI_GRPC_UNAUTHENTICATED);
    assert_int_equal(peri_grpc_status_from(418), PERI_GRPC_UNKNOWN);
}

static void encodes_messages(void **state)
{
    (void)state;
    char out[3 * PERI_GRPC_MESSAGE_MAX], text[PERI_GRPC_MESSAGE_MAX + 1];
    size_t len = peri_grpc_message_encode(PERI_SLICE("~ 5%\r\n\xc3\xa9\x7f"), out);
    assert_true(peri_slice_eq(peri_slice(out, len), PERI_SLICE("~ 5%25%0D%0A%C3%A9%7F")));
    memset(text, '%', sizeof(text));
    assert_int_equal(peri_grpc_message_encode(peri_slice(text, sizeof(text)), out), sizeof(out));
    assert_int_equal(peri_grpc_message_encode(peri_slice(NULL, 0), out), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_calls_by_their_content_type),
        cmocka_unit_test(answers_each_kind_with_its_own_type),
        cmocka_unit_test(reads_timeouts_in_every_unit),
        cmocka_unit_test(refuses_what_is_no_timeout),
        cmocka_unit_test(writes_timeouts_in_the_finest_unit_that_holds_them),
        cmocka_unit_test(reads_the_statuses_of_grpc_only),
        cmocka_unit_test(has_a_status_for_every_answer),
        cmocka_unit_test(encodes_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
