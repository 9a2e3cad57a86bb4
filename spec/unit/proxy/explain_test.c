// SPDX-License-Identifier: MIT
// How a request that a person wrote down is read, before its way is told.
#include "proxy/explain.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "exchange/exchange.h"

static struct peri_exchange *x;
static char message[128];

static int open_world(void **state)
{
    (void)state;
    x = peri_exchange_new();
    message[0] = '\0';
    return x ? 0 : -1;
}

static int close_world(void **state)
{
    (void)state;
    peri_exchange_free(x);
    peri_exchange_pool_close();
    return 0;
}

static peri_err_t read_one(const char *method, const char *url, const char *header)
{
    struct peri_slice line = header ? peri_slice_from(header) : peri_slice(NULL, 0);
    struct peri_explain_request request = {
        .method = peri_slice_from(method),
        .url = peri_slice_from(url),
        .headers = &line,
        .header_count = header != NULL,
    };
    return peri_explain_read(x, &request, message, sizeof(message));
}

static void assert_text(struct peri_slice got, const char *expected)
{
    assert_int_equal(got.len, strlen(expected));
    assert_memory_equal(got.ptr, expected, got.len);
}

static void takes_host_path_and_query_from_a_url(void **state)
{
    (void)state;
    assert_int_equal(read_one("GET", "http://Shop.example:8080/a/../b%41?q=1", NULL), PERI_OK);
    assert_text(x->req.host, "shop.example");
    assert_text(x->req.path, "/bA");
    assert_text(x->req.query, "q=1");
    assert_text(x->req.method_name, "GET");
    assert_int_equal(x->req.version, 11);
}

static void takes_the_host_from_a_header(void **state)
{
    (void)state;
    assert_int_equal(read_one("DELETE", "/cart", "host:  shop.example "), PERI_OK);
    assert_text(x->req.host, "shop.example");
    assert_int_equal(x->req.method, PERI_METHOD_DELETE);
}

static void lets_the_url_win_over_the_header(void **state)
{
    (void)state;
    assert_int_equal(read_one("GET", "http://url.example/", "Host: header.example"), PERI_OK);
    assert_text(x->req.host, "url.example");
}

static void needs_no_host(void **state)
{
    (void)state;
    assert_int_equal(read_one("GET", "/anywhere", NULL), PERI_OK);
    assert_int_equal(x->req.host.len, 0);
    assert_int_equal(x->req.version, 10);
}

static void gives_headers_to_the_request(void **state)
{
    (void)state;
    assert_int_equal(read_one("GET", "/", "X-Version: 2"), PERI_OK);
    unsigned at;
    const struct peri_header *field = peri_headers_find_name(&x->req.headers, PERI_SLICE("x-version"), 0, &at);
    assert_non_null(field);
    assert_text(peri_slice(field->value, field->value_len), "2");
}

static void answers_what_a_listener_would_answer(void **state)
{
    (void)state;
    assert_int_equal(read_one("GET", "/a/../../b", NULL), PERI_ERR_BAD_PATH);
    assert_string_equal(message,
                        "such a request reaches no route; the answer is 400 bad_path: The request path is malformed.");
}

static void knows_the_asterisk_only_of_options(void **state)
{
    (void)state;
    assert_int_equal(read_one("OPTIONS", "*", NULL), PERI_OK);
}

static void says_what_no_client_can_send(void **state)
{
    (void)state;
    static const struct {
        const char *method, *url, *header, *message;
    } rows[] = {
        {"GE T", "/", NULL, "'GE T' is no method"},
        {"", "/", NULL, "'' is no method"},
        {"GET", "", NULL, "'' is no URL"},
        {"GET", "/a b", NULL, "'/a b' is no URL: it has a space or a control byte in it"},
        {"GET", "/\r\nX: 1", NULL, "'/\r\nX: 1' is no URL: it has a space or a control byte in it"},
        {"GET", "/", "no colon", "'no colon' is no header: expected 'Name: value'"},
        {"GET", "/", "a b: c", "'a b: c' is no header: expected 'Name: value'"},
        {"GET", "/", ": c", "': c' is no header: expected 'Name: value'"},
        {"GET", "/", "", "'' is no header: expected 'Name: value'"},
        {"GET", "/", "a: b\r\nc: d", "'a: b\r\nc: d' is no header: expected 'Name: value'"},
    };
    for (size_t i = 0; i < PERI_COUNT(rows); i++) {
        assert_int_equal(read_one(rows[i].method, rows[i].url, rows[i].header), PERI_ERR_INVALID);
        assert_string_equal(message, rows[i].message);
    }
}

static void cuts_a_message_that_is_too_long(void **state)
{
    (void)state;
    char url[1000];
    memset(url, ' ', sizeof(url) - 1);
    url[sizeof(url) - 1] = '\0';
    assert_int_equal(read_one("GET", url, NULL), PERI_ERR_INVALID);
    assert_int_equal(strlen(message), sizeof(message) - 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)
    const struct CMUnitTest tests[] = {
        TEST(takes_host_path_and_query_from_a_url), TEST(takes_the_host_from_a_header),
        TEST(lets_the_url_win_over_the_header),     TEST(needs_no_host),
        TEST(gives_headers_to_the_request),         TEST(answers_what_a_listener_would_answer),
        TEST(knows_the_asterisk_only_of_options),   TEST(says_what_no_client_can_send),
        TEST(cuts_a_message_that_is_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
