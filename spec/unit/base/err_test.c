// SPDX-License-Identifier: MIT
// The error table: every row is complete, and fit to be shown to a client as it is.
#include "base/err.h"

#include <ctype.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void names_every_error_once_in_lower_case(void **state)
{
    (void)state;
    for (unsigned err = 0; err < PERI_ERR_COUNT; err++) {
        const char *name = peri_err_info((peri_err_t)err)->name;
        assert_true(strlen(name) >= 2);
        for (const char *p = name; *p; p++)
            assert_true(islower((unsigned char)*p) || *p == '_');
        for (unsigned other = 0; other < err; other++)
            assert_string_not_equal(name, peri_err_info((peri_err_t)other)->name);
    }
}

static void gives_every_error_an_error_status_and_a_sentence(void **state)
{
    (void)state;
    assert_int_equal(peri_err_info(PERI_OK)->status, 200);
    assert_string_equal(peri_err_info(PERI_OK)->flag, "");
    for (unsigned err = 1; err < PERI_ERR_COUNT; err++) {
        const struct peri_err_info *info = peri_err_info((peri_err_t)err);
        size_t len = strlen(info->text);
        if (info->status < 400 || info->status > 599)
            fail_msg("%s has the status %d", info->name, info->status);
        if (len < 10 || len > 120 || !isupper((unsigned char)info->text[0]) || info->text[len - 1] != '.')
            fail_msg("%s has no sentence: %s", info->name, info->text);
        if (strpbrk(info->text, "\"\\\r\n"))
            fail_msg("the text of %s needs escaping in JSON", info->name);
        if (strlen(info->flag) > 5)
            fail_msg("%s has the flag %s", info->name, info->flag);
    }
}

static void lets_only_failures_of_an_upstream_be_retried(void **state)
{
    (void)state;
    for (unsigned err = 0; err < PERI_ERR_COUNT; err++) {
        const struct peri_err_info *info = peri_err_info((peri_err_t)err);
        if (info->is_retryable && (info->status < 502 || info->status > 504 || info->flag[0] != 'U'))
            fail_msg("%s is retryable", info->name);
    }
    assert_true(peri_err_info(PERI_ERR_CONNECT)->is_retryable);
    assert_false(peri_err_info(PERI_ERR_UPSTREAM_PROTOCOL)->is_retryable);
    assert_false(peri_err_info(PERI_ERR_CLIENT_GONE)->is_retryable);
}

static void answers_what_the_security_table_says(void **state)
{
    (void)state;
    static const struct {
        peri_err_t err;
        int status;
    } rows[] = {
        {PERI_ERR_HEADERS_TOO_LARGE, 431},
        {PERI_ERR_URI_TOO_LONG, 414},
        {PERI_ERR_BODY_TOO_LARGE, 413},
        {PERI_ERR_REQUEST_TIMEOUT, 408},
        {PERI_ERR_IDLE_TIMEOUT, 408},
        {PERI_ERR_SMUGGLING, 400},
        {PERI_ERR_BAD_REQUEST, 400},
        {PERI_ERR_METHOD, 501},
        {PERI_ERR_VERSION, 505},
        {PERI_ERR_EXPECTATION, 417},
        {PERI_ERR_CONNECT, 503},
        {PERI_ERR_UPSTREAM_RESET, 502},
        {PERI_ERR_UPSTREAM_PROTOCOL, 502},
        {PERI_ERR_UPSTREAM_TIMEOUT, 504},
        {PERI_ERR_POLICY, 503},
        {PERI_ERR_NOMEM, 503},
        {PERI_ERR_NO_ROUTE, 404},
        {PERI_ERR_BAD_HOST, 400},
    };
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(peri_err_info(rows[i].err)->status, rows[i].status);
}

static void knows_what_is_a_shortage_of_the_system(void **state)
{
    (void)state;
    assert_true(peri_err_is_shortage(EMFILE) && peri_err_is_shortage(ENFILE));
    assert_true(peri_err_is_shortage(ENOBUFS) && peri_err_is_shortage(ENOMEM));
    assert_false(peri_err_is_shortage(0) || peri_err_is_shortage(ECONNREFUSED) || peri_err_is_shortage(ENOENT));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_every_error_once_in_lower_case),
        cmocka_unit_test(gives_every_error_an_error_status_and_a_sentence),
        cmocka_unit_test(lets_only_failures_of_an_upstream_be_retried),
        cmocka_unit_test(answers_what_the_security_table_says),
        cmocka_unit_test(knows_what_is_a_shortage_of_the_system),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
