// SPDX-License-Identifier: MIT
// The proxy's own answers: problem documents that are JSON whatever the request id, fixed replies, dates.
#include "proxy/reply.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "codec/json.h"
#include "event/loop.h"
#include "exchange/exchange.h"
#include "fail_alloc.h"
#include "proxy/plan.h"

static struct peri_exchange *x;

static int open_exchange(void **state)
{
    (void)state;
    x = peri_exchange_new();
    return x ? 0 : -1;
}

static int close_exchange(void **state)
{
    (void)state;
    peri_exchange_free(x);
    peri_exchange_pool_close();
    return 0;
}

static struct peri_json *document(void)
{
    struct peri_slice body = peri_body_peek(&x->res_body);
    assert_int_equal(x->res.content_length, body.len);
    assert_true(x->res_body.is_ended);
    struct peri_json *json = peri_json_parse(body, false, NULL, 0);
    if (!json)
        fail_msg("no JSON: %.*s", (int)body.len, body.ptr);
    return json;
}

static void makes_a_problem_document_of_every_error(void **state)
{
    (void)state;
    for (unsigned err = 1; err < PERI_ERR_COUNT; err++) {
        const struct peri_err_info *info = peri_err_info((peri_err_t)err);
        char type[64];
        snprintf(type, sizeof(type), "urn:perigee:%s", info->name);
        assert_int_equal(peri_reply_error(x, (peri_err_t)err), PERI_OK);
        assert_int_equal(x->res.status, info->status);
        assert_true(peri_slice_eq(peri_headers_get(&x->res.headers, PERI_H_CONTENT_TYPE),
                                  PERI_SLICE("application/problem+json")));
        struct peri_json *json = document();
        assert_true(peri_slice_eq(peri_json_get_string(json, "type"), peri_slice_from(type)));
        assert_true(peri_slice_eq(peri_json_get_string(json, "detail"), peri_slice_from(info->text)));
        assert_int_equal(peri_json_get_integer(json, "status", 0), info->status);
        assert_null(peri_json_get(json, "request_id"));
        peri_json_free(json);
    }
}

static void shows_the_request_id_only_when_it_needs_no_escaping(void **state)
{
    (void)state;
    x->request_id = PERI_SLICE("0af7-1");
    assert_int_equal(peri_reply_error(x, PERI_ERR_NO_ROUTE), PERI_OK);
    struct peri_json *json = document();
    assert_true(peri_slice_eq(peri_json_get_string(json, "request_id"), PERI_SLICE("0af7-1")));
    peri_json_free(json);
    static const char *const hostile[] = {"a\"b", "a\\b", "a\nb", "a\x7f", "\xff", "\",\"status\":200,\"x\":\""};
    for (unsigned i = 0; i < PERI_COUNT(hostile); i++) {
        x->request_id = peri_slice_from(hostile[i]);
        assert_int_equal(peri_reply_error(x, PERI_ERR_NO_ROUTE), PERI_OK);
        json = document();
        assert_null(peri_json_get(json, "request_id"));
        peri_json_free(json);
    }
}

static void leaves_nothing_of_an_earlier_response(void **state)
{
    (void)state;
    x->res.status = 200;
    x->res.is_upgrade = true;
    peri_headers_add(&x->res.headers, PERI_SLICE("set-cookie"), PERI_SLICE("secret"));
    peri_headers_add(&x->res.trailers, PERI_SLICE("x-sum"), PERI_SLICE("1"));
    peri_body_put(&x->res_body, PERI_SLICE("secret"));
    assert_int_equal(peri_reply_error(x, PERI_ERR_UPSTREAM_RESET), PERI_OK);
    assert_int_equal(x->res.status, 502);
    assert_false(x->res.is_upgrade);
    assert_int_equal(x->res.headers.count, 1);
    assert_int_equal(x->res.trailers.count, 0);
    peri_json_free(document());
}

static void makes_the_fixed_reply_and_the_redirect_of_a_route(void **state)
{
    (void)state;
    struct peri_field fields[] = {{PERI_SLICE("X-A"), PERI_SLICE("1")}, {PERI_SLICE("x-a"), PERI_SLICE("2")}};
    struct peri_route route = {.status = 418, .body = PERI_SLICE("tea"), .fields = fields, .field_count = 2};
    assert_int_equal(peri_reply_plan(x, &route), PERI_OK);
    assert_int_equal(x->res.status, 418);
    assert_int_equal(x->res.headers.count, 2);
    assert_true(peri_slice_eq(peri_body_peek(&x->res_body), PERI_SLICE("tea")));
    route = (struct peri_route){.status = 308, .location = PERI_SLICE("/new")};
    assert_int_equal(peri_reply_plan(x, &route), PERI_OK);
    assert_int_equal(x->res.headers.count, 1);
    assert_true(peri_slice_eq(peri_headers_get(&x->res.headers, PERI_H_LOCATION), PERI_SLICE("/new")));
    assert_int_equal(x->res.content_length, 0);
}

static void dates_a_response_once(void **state)
{
    (void)state;
    struct peri_loop *loop = peri_loop_new(true);
    peri_reply_add_date(loop, x);
    peri_reply_add_date(loop, x);
    assert_int_equal(x->res.headers.count, 1);
    assert_true(
        peri_slice_eq(peri_headers_get(&x->res.headers, PERI_H_DATE), PERI_SLICE("Thu, 01 Jan 2026 00:00:00 GMT")));
    peri_reply_reset(x);
    peri_loop_advance(loop, 86400999);
    peri_reply_add_date(loop, x);
    assert_true(
        peri_slice_eq(peri_headers_get(&x->res.headers, PERI_H_DATE), PERI_SLICE("Fri, 02 Jan 2026 00:00:00 GMT")));
    peri_loop_free(loop);
}

static void says_so_when_memory_is_out(void **state)
{
    (void)state;
    struct peri_route route = {.status = 200, .body = PERI_SLICE("x")};
    fail_alloc_all();
    peri_err_t error = peri_reply_error(x, PERI_ERR_NO_ROUTE);
    peri_err_t plan = peri_reply_plan(x, &route);
    fail_alloc_stop();
    assert_int_equal(error, PERI_ERR_NOMEM);
    assert_int_equal(plan, PERI_ERR_NOMEM);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_exchange, close_exchange)
    const struct CMUnitTest tests[] = {
        TEST(makes_a_problem_document_of_every_error),
        TEST(shows_the_request_id_only_when_it_needs_no_escaping),
        TEST(leaves_nothing_of_an_earlier_response),
        TEST(makes_the_fixed_reply_and_the_redirect_of_a_route),
        TEST(dates_a_response_once),
        TEST(says_so_when_memory_is_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
