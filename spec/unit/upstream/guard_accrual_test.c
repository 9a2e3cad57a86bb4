// SPDX-License-Identifier: MIT
// Failure accrual where it is used: an endpoint that is shut gets nothing from any worker, and of all workers one sends the request of
// its probation.
#include "upstream/guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/log.h"
#include "codec/message.h"
#include "event/loop.h"
#include "shared/metrics.h"
#include "shared/shm.h"
#include "upstream/upstream.h"

#define WORKERS 2
#define ENDPOINTS 3
#define SECOND 1000000000ull

static struct peri_loop *loop;
static struct peri_pools *pools;
static struct peri_shm *shm;
static struct peri_upstream *upstreams[WORKERS];
static uint64_t now_ns;

static void ignore_line(void *data, enum peri_log_level level, const char *line, size_t len)
{
    (void)data, (void)level, (void)line, (void)len;
}

static struct peri_upstream *new_upstream(uint32_t worker)
{
    static const struct peri_pool_settings pool_settings = {.max_idle = 1};
    struct peri_upstream *upstream = peri_upstream_new(PERI_SLICE("users"));
    struct peri_accrual_settings accrual;
    struct peri_guard_settings settings = {.accrual = &accrual};
    peri_accrual_defaults(&accrual);
    accrual.jitter = 0;
    for (unsigned i = 0; i < ENDPOINTS; i++) {
        char address[16];
        snprintf(address, sizeof(address), "10.0.0.%u:1", i + 1);
        assert_int_equal(peri_upstream_add(upstream, pools, peri_slice_from(address), 1, &pool_settings), PERI_OK);
    }
    assert_int_equal(peri_guard_new(upstream, &settings, shm, peri_shm_metrics(shm, worker)), PERI_OK);
    assert_int_equal(peri_upstream_seal(upstream), PERI_OK);
    return upstream;
}

static int open_workers(void **state)
{
    (void)state;
    peri_log_set_sink(ignore_line, NULL);
    loop = peri_loop_new(true);
    pools = peri_pools_new(&(struct peri_pools_options){.loop = loop});
    shm = peri_shm_create(&(struct peri_shm_options){WORKERS, 0});
    for (uint32_t i = 0; i < WORKERS; i++)
        upstreams[i] = new_upstream(i);
    now_ns = 1000 * SECOND;
    return 0;
}

static int close_workers(void **state)
{
    (void)state;
    for (unsigned i = 0; i < WORKERS; i++)
        peri_upstream_free(upstreams[i]);
    peri_pools_free(pools);
    peri_shm_close(shm);
    peri_loop_free(loop);
    return 0;
}

static unsigned pick(unsigned worker, bool is_idle)
{
    struct peri_pick question = {.now_ns = now_ns, .is_idle = is_idle};
    const struct peri_endpoint *endpoint = peri_upstream_pick(upstreams[worker], &question);
    assert_non_null(endpoint);
    return (unsigned)(endpoint - upstreams[worker]->endpoints);
}

static void report(unsigned worker, unsigned index, peri_err_t err, int status)
{
    struct peri_response res = {.status = status};
    struct peri_result result = {.err = err, .res = err == PERI_OK ? &res : NULL, .now_ns = now_ns};
    peri_headers_init(&res.headers, NULL);
    peri_endpoint_report(upstreams[worker], &upstreams[worker]->endpoints[index], &result);
}

// ---- gRPC

static struct {
    struct peri_arena arena;
    struct peri_response res;
} call;

static void open_call(const char *type, const char *status)
{
    peri_arena_init(&call.arena, 4096);
    call.res = (struct peri_response){.status = 200};
    peri_headers_init(&call.res.headers, &call.arena);
    peri_headers_init(&call.res.trailers, &call.arena);
    peri_headers_append(&call.res.headers, PERI_SLICE("content-type"), peri_slice_from(type));
    if (status)
        peri_headers_append(&call.res.headers, PERI_SLICE("grpc-status"), peri_slice_from(status));
}

// Does the endpoint 0 hear a head with this grpc-status (NULL: none) and want to hear more?
static bool begin_call(const char *type, const char *status, bool goes_on)
{
    open_call(type, status);
    struct peri_result result = {.res = &call.res, .now_ns = now_ns, .goes_on = goes_on};
    bool is_open = peri_endpoint_report(upstreams[0], &upstreams[0]->endpoints[0], &result);
    if (!is_open)
        peri_arena_close(&call.arena);
    return is_open;
}

// `status` in the trailers of the call that was begun; NULL: none.
static void end_call(peri_err_t err, const char *status)
{
    struct peri_result result = {.err = err, .res = err == PERI_OK ? &call.res : NULL, .now_ns = now_ns};
    if (status)
        peri_headers_append(&call.res.trailers, PERI_SLICE("grpc-status"), peri_slice_from(status));
    peri_endpoint_conclude(upstreams[0], &upstreams[0]->endpoints[0], &result);
    peri_arena_close(&call.arena);
}

static void call_once(peri_err_t err, const char *status)
{
    assert_true(begin_call("application/grpc", NULL, true));
    end_call(err, status);
}

// How many of `picks` in turns of all workers choose endpoint `index`.
static unsigned count_picks(unsigned index, unsigned picks)
{
    unsigned found = 0;
    for (unsigned i = 0; i < picks; i++)
        found += pick(i % WORKERS, false) == index;
    return found;
}

static const struct peri_endpoint_accrual *accrual_of(unsigned index)
{
    return &peri_endpoints_row(shm, upstreams[0]->guard->rows[index])->accrual;
}

static void shut(unsigned index)
{
    for (unsigned i = 0; i < 7; i++)
        report(i % WORKERS, index, PERI_OK, 500);
    assert_int_equal(accrual_of(index)->state, PERI_ACCRUAL_SHUT);
    now_ns += SECOND / 100; // the next look
}

static void failures_of_all_workers_make_one_run(void **state)
{
    (void)state;
    assert_int_equal(count_picks(0, 30), 10);
    shut(0);
    assert_int_equal(count_picks(0, 30), 0);
    assert_int_equal(peri_endpoints_upstream(shm, upstreams[0]->guard->row)->shuts[PERI_ACCRUAL_BY_RUN], 1);
}

static void errors_are_failures_and_clients_that_leave_are_not(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 6; i++)
        report(0, 0, i % 2 ? PERI_ERR_CONNECT : PERI_ERR_TLS, 0);
    report(0, 0, PERI_ERR_CLIENT_GONE, 0);
    report(0, 0, PERI_ERR_OVERLOADED, 0);
    assert_int_equal(accrual_of(0)->failures, 6);
    report(0, 0, PERI_ERR_UPSTREAM_TIMEOUT, 0);
    assert_int_equal(accrual_of(0)->state, PERI_ACCRUAL_SHUT);
}

static void one_request_of_all_workers_ends_a_probation(void **state)
{
    (void)state;
    shut(0);
    now_ns += SECOND;
    assert_int_equal(count_picks(0, 30), 1);
    now_ns += SECOND / 100;
    assert_int_equal(count_picks(0, 30), 0); // it is not back yet
    report(1, 0, PERI_OK, 200);
    now_ns += SECOND / 100;
    assert_in_range(count_picks(0, 30), 9, 11); // the workers were at different places of their turns
}

static void calls_are_judged_by_their_trailers(void **state)
{
    (void)state;
    static const struct {
        peri_err_t err;
        const char *status;
        unsigned failures; ///< in a row, after four
    } cases[] = {
        {PERI_OK, "14", 5},
        {PERI_OK, "13", 5},
        {PERI_OK, "0", 0},
        {PERI_OK, "5", 0},
        {PERI_OK, NULL, 0},
        {PERI_ERR_UPSTREAM_RESET, NULL, 5},
        {PERI_ERR_UPSTREAM_TIMEOUT, NULL, 5},
        {PERI_ERR_CLIENT_GONE, NULL, 4},
    };
    for (unsigned i = 0; i < PERI_COUNT(cases); i++) {
        report(0, 0, PERI_OK, 200);
        for (unsigned k = 0; k < 4; k++)
            call_once(PERI_OK, "14");
        assert_int_equal(accrual_of(0)->failures, 4);
        assert_true(begin_call("application/grpc+proto", NULL, true));
        assert_int_equal(accrual_of(0)->failures, 4); // nothing is known yet
        call.res.status = 500;                        // what a policy makes of it says nothing about the endpoint
        end_call(cases[i].err, cases[i].status);
        if (accrual_of(0)->failures != cases[i].failures)
            fail_msg("case %u: %u", i, accrual_of(0)->failures);
    }
    call_once(PERI_OK, "0");
    for (unsigned i = 0; i < 7; i++)
        call_once(PERI_OK, "14");
    assert_int_equal(accrual_of(0)->state, PERI_ACCRUAL_SHUT);
    now_ns += SECOND / 100;
    assert_int_equal(count_picks(0, 30), 0);
}

static void responses_whose_head_says_all_are_judged_by_it(void **state)
{
    (void)state;
    assert_false(begin_call("application/grpc", "14", true)); // trailers-only
    assert_int_equal(accrual_of(0)->failures, 1);
    assert_false(begin_call("application/json", NULL, true));
    assert_int_equal(accrual_of(0)->failures, 0);
    assert_false(begin_call("application/grpc", NULL, false)); // nobody will hear of its end
    open_call("application/grpc", NULL);
    call.res.status = 503;
    struct peri_result result = {.res = &call.res, .now_ns = now_ns, .goes_on = true};
    assert_false(peri_endpoint_report(upstreams[0], &upstreams[0]->endpoints[0], &result));
    peri_arena_close(&call.arena);
    assert_int_equal(accrual_of(0)->failures, 1);
    upstreams[0]->guard->has_accrual = false;
    assert_false(begin_call("application/grpc", NULL, true));
    upstreams[0]->guard->has_accrual = true;
}

static void a_probation_is_taken_until_the_trailers_are_there(void **state)
{
    (void)state;
    shut(0);
    now_ns += SECOND;
    assert_int_equal(count_picks(0, 30), 1);
    assert_true(begin_call("application/grpc", NULL, true));
    now_ns += 10 * SECOND;
    assert_int_equal(count_picks(0, 30), 0);
    struct peri_result failed = {.res = &call.res, .now_ns = now_ns, .latency_ns = 10 * SECOND};
    peri_headers_append(&call.res.trailers, PERI_SLICE("grpc-status"), PERI_SLICE("14"));
    peri_endpoint_conclude(upstreams[0], &upstreams[0]->endpoints[0], &failed);
    peri_arena_close(&call.arena);
    assert_int_equal(accrual_of(0)->state, PERI_ACCRUAL_SHUT);
    assert_int_equal(accrual_of(0)->reason, PERI_ACCRUAL_BY_PROBATION);
}

static void a_stream_of_hours_ends_its_probation_in_time(void **state)
{
    (void)state;
    shut(0);
    now_ns += SECOND;
    assert_int_equal(count_picks(0, 30), 1);
    assert_true(begin_call("application/grpc", NULL, true));
    now_ns += 61 * SECOND;
    assert_in_range(count_picks(0, 30), 9, 11);
    assert_int_equal(accrual_of(0)->state, PERI_ACCRUAL_OPEN);
    end_call(PERI_ERR_UPSTREAM_RESET, NULL);
    assert_int_equal(accrual_of(0)->failures, 1);
}

static void a_probation_that_fails_is_followed_by_a_longer_wait(void **state)
{
    (void)state;
    shut(0);
    now_ns += SECOND;
    assert_int_equal(count_picks(0, 30), 1);
    report(0, 0, PERI_OK, 503);
    now_ns += 19 * SECOND / 10;
    assert_int_equal(count_picks(0, 30), 0);
    now_ns += SECOND / 5;
    assert_int_equal(count_picks(0, 30), 1);
    assert_int_equal(peri_endpoints_upstream(shm, upstreams[0]->guard->row)->shuts[PERI_ACCRUAL_BY_PROBATION], 1);
}

static void an_attempt_that_does_not_begin_leaves_the_probation_to_another(void **state)
{
    (void)state;
    shut(0);
    now_ns += SECOND;
    struct peri_pick question = {.now_ns = now_ns};
    for (unsigned i = 0; i < 3 && !question.is_probe; i++)
        peri_upstream_pick(upstreams[0], &question);
    assert_true(question.is_probe);
    peri_upstream_forgo(upstreams[0], &upstreams[0]->endpoints[0], now_ns);
    now_ns += SECOND / 100;
    assert_int_equal(count_picks(0, 30), 1);
}

static void who_only_asks_ends_no_probation(void **state)
{
    (void)state;
    unsigned found = 0;
    shut(0);
    now_ns += SECOND;
    for (unsigned i = 0; i < 30; i++)
        found += pick(i % WORKERS, true) == 0;
    assert_int_equal(found, 10);
    assert_int_equal(accrual_of(0)->state, PERI_ACCRUAL_PROBATION);
}

static void in_a_panic_everybody_is_used(void **state)
{
    (void)state;
    shut(0);
    shut(1);
    shut(2);
    assert_int_equal(count_picks(0, 30), 10);
    now_ns += SECOND;
    pick(0, false);
    for (unsigned i = 0; i < ENDPOINTS; i++)
        report(0, i, PERI_OK, 200);
    now_ns += SECOND / 100;
    for (unsigned i = 0; i < ENDPOINTS; i++)
        assert_int_equal(accrual_of(i)->state, PERI_ACCRUAL_OPEN);
}

static void an_endpoint_says_why_it_gets_nothing(void **state)
{
    (void)state;
    char text[PERI_GUARD_TEXT];
    assert_false(peri_guard_describe(upstreams[0]->guard, 0, text));
    shut(0);
    assert_true(peri_guard_describe(upstreams[1]->guard, 0, text));
    assert_string_equal(text, "shut (consecutive_failures)");
}

static void everybody_is_open_when_nobody_counts_any_more(void **state)
{
    (void)state;
    shut(0);
    upstreams[0]->guard->has_accrual = false; // as after a reload
    peri_guard_sweep(upstreams[0]->guard, now_ns / 1000000);
    assert_int_equal(count_picks(0, 30), 10);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_workers, close_workers)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(failures_of_all_workers_make_one_run),
        CASE(errors_are_failures_and_clients_that_leave_are_not),
        CASE(one_request_of_all_workers_ends_a_probation),
        CASE(calls_are_judged_by_their_trailers),
        CASE(responses_whose_head_says_all_are_judged_by_it),
        CASE(a_probation_is_taken_until_the_trailers_are_there),
        CASE(a_stream_of_hours_ends_its_probation_in_time),
        CASE(a_probation_that_fails_is_followed_by_a_longer_wait),
        CASE(an_attempt_that_does_not_begin_leaves_the_probation_to_another),
        CASE(who_only_asks_ends_no_probation),
        CASE(in_a_panic_everybody_is_used),
        CASE(an_endpoint_says_why_it_gets_nothing),
        CASE(everybody_is_open_when_nobody_counts_any_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
