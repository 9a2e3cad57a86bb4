// SPDX-License-Identifier: MIT
// Which failures are worth a retry, which retries are safe, and how long they wait.
#include "upstream/retry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/attr.h"
#include "codec/message.h"
#include "upstream/attempt.h"

static struct peri_retry_settings on(const char *word)
{
    struct peri_retry_settings settings = {.base_ms = 25, .max_ms = 250};
    assert_true(peri_retry_add(&settings, peri_slice_from(word)));
    return settings;
}

static bool wants_status(const char *word, int status)
{
    struct peri_retry_settings settings = on(word);
    struct peri_response res = {.status = status};
    return peri_retry_wants_response(&settings, &res);
}

static void statuses_are_matched_by_conditions(void **state)
{
    (void)state;
    assert_true(wants_status("5xx", 500));
    assert_true(wants_status("5xx", 599));
    assert_false(wants_status("5xx", 499));
    assert_true(wants_status("gateway-error", 502));
    assert_true(wants_status("gateway-error", 504));
    assert_false(wants_status("gateway-error", 500));
    assert_false(wants_status("gateway-error", 505));
    assert_true(wants_status("retriable-4xx", 409));
    assert_false(wants_status("retriable-4xx", 408));
    assert_true(wants_status("429", 429));
    assert_false(wants_status("429", 430));
    assert_true(wants_status("599", 599));
    assert_false(wants_status("reset", 503));
    assert_false(wants_status("5xx", 200));
}

static void words_that_mean_nothing_are_refused(void **state)
{
    (void)state;
    static const char *const words[] = {"", "5x", "5xxx", "99", "600", "1000", "+50", "unknown", "50 "};
    struct peri_retry_settings settings = {0};
    for (size_t i = 0; i < PERI_COUNT(words); i++)
        assert_false(peri_retry_add(&settings, peri_slice_from(words[i])));
}

static bool wants_grpc(const char *word, const char *type, const char *status)
{
    struct peri_arena arena;
    struct peri_response res = {.status = 200};
    struct peri_retry_settings settings = on(word);
    peri_arena_init(&arena, 1 << 20);
    peri_headers_init(&res.headers, &arena);
    peri_headers_add(&res.headers, PERI_SLICE("content-type"), peri_slice_from(type));
    peri_headers_add(&res.headers, PERI_SLICE("grpc-status"), peri_slice_from(status));
    bool wants = peri_retry_wants_response(&settings, &res);
    peri_arena_close(&arena);
    return wants;
}

static void grpc_statuses_count_in_grpc_responses_only(void **state)
{
    (void)state;
    assert_true(wants_grpc("unavailable", "application/grpc", "14"));
    assert_true(wants_grpc("cancelled", "application/grpc+proto", "1"));
    assert_true(wants_grpc("deadline-exceeded", "application/grpc", "4"));
    assert_true(wants_grpc("resource-exhausted", "application/grpc", "8"));
    assert_true(wants_grpc("internal", "application/grpc", "13"));
    assert_false(wants_grpc("unavailable", "application/grpc", "13"));
    assert_false(wants_grpc("unavailable", "application/json", "14"));
    assert_false(wants_grpc("unavailable", "application/grpc", "4294967310"));
    assert_false(wants_grpc("unavailable", "application/grpc", "-14"));
}

static bool wants_error(const char *word, enum peri_method method, bool is_ready, bool is_refused, peri_err_t err)
{
    struct peri_retry_settings settings = on(word);
    struct peri_request req = {.method = method};
    struct peri_attempt attempt = {.req = &req, .is_ready = is_ready, .is_refused = is_refused};
    return peri_retry_wants_error(&settings, &attempt, err);
}

static void an_attempt_without_an_answer_counts_as_what_it_would_be_answered_with(void **state)
{
    (void)state;
    static const char *const words[] = {"5xx", "gateway-error", "reset"};
    for (size_t i = 0; i < PERI_COUNT(words); i++) {
        assert_true(wants_error(words[i], PERI_METHOD_GET, true, false, PERI_ERR_UPSTREAM_RESET));
        assert_true(wants_error(words[i], PERI_METHOD_GET, true, false, PERI_ERR_UPSTREAM_TIMEOUT));
        assert_true(wants_error(words[i], PERI_METHOD_GET, false, false, PERI_ERR_CONNECT));
        assert_false(wants_error(words[i], PERI_METHOD_GET, true, false, PERI_ERR_NOMEM));
    }
    assert_true(wants_error("connect-failure", PERI_METHOD_GET, false, false, PERI_ERR_CONNECT_TIMEOUT));
    assert_true(wants_error("connect-failure", PERI_METHOD_GET, false, false, PERI_ERR_TLS));
    assert_false(wants_error("connect-failure", PERI_METHOD_GET, true, false, PERI_ERR_UPSTREAM_RESET));
    assert_false(wants_error("503", PERI_METHOD_GET, false, false, PERI_ERR_CONNECT));
}

static void requests_that_may_have_been_acted_on_are_not_sent_again(void **state)
{
    (void)state;
    assert_false(wants_error("reset", PERI_METHOD_POST, true, false, PERI_ERR_UPSTREAM_RESET));
    assert_true(wants_error("reset", PERI_METHOD_PUT, true, false, PERI_ERR_UPSTREAM_RESET));
    assert_true(wants_error("connect-failure", PERI_METHOD_POST, false, false, PERI_ERR_CONNECT));
    assert_true(wants_error("refused-stream", PERI_METHOD_POST, true, true, PERI_ERR_UPSTREAM_RESET));
    assert_false(wants_error("refused-stream", PERI_METHOD_GET, true, false, PERI_ERR_UPSTREAM_RESET));
    struct peri_retry_settings settings = on("reset");
    struct peri_request req = {.method = PERI_METHOD_POST};
    struct peri_attempt attempt = {.req = &req, .is_ready = true};
    settings.has_non_idempotent = true;
    assert_true(peri_retry_wants_error(&settings, &attempt, PERI_ERR_UPSTREAM_RESET));
}

static void a_pushback_is_waited_for_and_up_to_half_of_it_more(void **state)
{
    (void)state;
    struct peri_retry_settings settings = on("5xx");
    uint64_t random = 5, least = UINT64_MAX, most = 0;
    for (unsigned i = 0; i < 20000; i++) {
        uint64_t ms = peri_retry_delay_ms(&settings, 1, 2000, &random);
        least = ms < least ? ms : least;
        most = ms > most ? ms : most;
    }
    assert_in_range(least, 2000, 2005);
    assert_in_range(most, 2995, 3000);
    assert_true(peri_retry_delay_ms(&settings, 1, 0, &random) < 25);
    settings.base_ms = 0;
    assert_int_equal(peri_retry_delay_ms(&settings, 3, 0, &random), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statuses_are_matched_by_conditions),
        cmocka_unit_test(words_that_mean_nothing_are_refused),
        cmocka_unit_test(grpc_statuses_count_in_grpc_responses_only),
        cmocka_unit_test(an_attempt_without_an_answer_counts_as_what_it_would_be_answered_with),
        cmocka_unit_test(requests_that_may_have_been_acted_on_are_not_sent_again),
        cmocka_unit_test(a_pushback_is_waited_for_and_up_to_half_of_it_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
