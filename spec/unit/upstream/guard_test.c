// SPDX-License-Identifier: MIT
// Who watches over an upstream: results become ejections that every worker sees, limits become refusals, and one worker sweeps.
#include "upstream/guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/log.h"
#include "codec/message.h"
#include "event/loop.h"
#include "fail_alloc.h"
#include "shared/metrics.h"
#include "shared/shm.h"
#include "upstream/keeper.h"
#include "upstream/upstream.h"

#define WORKERS 2

static struct peri_loop *loop;
static struct peri_pools *pools;
static struct peri_shm *shm;
static struct peri_upstream *upstreams[WORKERS];
static struct peri_keeper *keepers[WORKERS];
static struct peri_outlier_settings outlier;
static const struct peri_retry_settings retries = {
    .attempts = 1,
    .model = PERI_RETRY_BY_CONCURRENCY,
    .concurrency = {.percent = 0, .min_concurrency = 2},
    .rate = {.ttl_ms = 1000, .ratio = 1},
};
static const struct peri_pool_settings pool_settings = {.max_idle = 1};

static void ignore_line(void *data, enum peri_log_level level, const char *line, size_t len)
{
    (void)data, (void)level, (void)line, (void)len;
}

static struct peri_upstream *new_upstream(unsigned endpoints)
{
    struct peri_upstream *upstream = peri_upstream_new(PERI_SLICE("users"));
    for (unsigned i = 0; i < endpoints; i++) {
        char address[16];
        snprintf(address, sizeof(address), "10.0.0.%u:1", i + 1);
        assert_int_equal(peri_upstream_add(upstream, pools, peri_slice_from(address), 1, &pool_settings), PERI_OK);
    }
    return upstream;
}

// One upstream of three endpoints in two workers.
static int open_workers(void **state)
{
    (void)state;
    static const uint32_t limits[PERI_BREAKER_GAUGES] = {10, 2, 3, 1, 12, 2, 1, 1};
    peri_log_set_sink(ignore_line, NULL);
    loop = peri_loop_new(true);
    pools = peri_pools_new(&(struct peri_pools_options){.loop = loop});
    shm = peri_shm_create(&(struct peri_shm_options){WORKERS, 0});
    peri_outlier_defaults(&outlier);
    outlier.max_ejection_percent = 50;
    struct peri_guard_settings settings = {.outlier = &outlier, .limits = limits, .retries = &retries};
    for (uint32_t i = 0; i < WORKERS; i++) {
        upstreams[i] = new_upstream(3);
        assert_int_equal(peri_guard_new(upstreams[i], &settings, shm, peri_shm_metrics(shm, i)), PERI_OK);
        keepers[i] = peri_keeper_new(loop, NULL, shm, i);
    }
    return 0;
}

static int close_workers(void **state)
{
    (void)state;
    for (unsigned i = 0; i < WORKERS; i++) {
        peri_keeper_free(keepers[i]);
        peri_upstream_free(upstreams[i]);
    }
    peri_pools_free(pools);
    peri_shm_close(shm);
    peri_loop_free(loop);
    return 0;
}

static void report(unsigned worker, unsigned index, peri_err_t err, int status)
{
    struct peri_response res = {.status = status};
    struct peri_result result = {.err = err, .res = status ? &res : NULL, .now_ns = peri_loop_now_ns(loop)};
    peri_endpoint_report(upstreams[worker], &upstreams[worker]->endpoints[index], &result);
}

static bool is_available(unsigned worker, unsigned index)
{
    return peri_endpoint_is_available(&upstreams[worker]->endpoints[index]);
}

static void keep_both(void)
{
    for (unsigned i = 0; i < WORKERS; i++)
        peri_keeper_set(keepers[i], &upstreams[i], 1);
    peri_loop_advance(loop, 1);
}

// ---- results

static void failures_of_two_workers_make_one_run(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++)
        report(i % 2, 1, PERI_OK, 500);
    assert_true(is_available(0, 1));
    report(0, 1, PERI_OK, 500);
    assert_false(is_available(0, 1));
    assert_false(is_available(1, 1)); // at once
    assert_true(is_available(0, 0) && is_available(1, 2));
}

static void errors_count_with_envoys_codes(void **state)
{
    (void)state;
    static const peri_err_t errors[] = {PERI_ERR_CONNECT, PERI_ERR_CONNECT_TIMEOUT, PERI_ERR_RESOLVE,
                                        PERI_ERR_UPSTREAM_TIMEOUT};
    const struct peri_endpoint_outlier *counts = &peri_endpoints_row(shm, upstreams[0]->guard->rows[0])->outlier;
    for (unsigned i = 0; i < 4; i++)
        report(0, 0, errors[i], 0);
    assert_int_equal(counts->consecutive_gateway, 4);
    assert_int_equal(counts->consecutive_5xx, 4);
    report(0, 0, PERI_OK, 204);
    report(0, 0, PERI_ERR_TLS, 0);
    assert_int_equal(counts->consecutive_gateway, 1);
    report(0, 0, PERI_ERR_UPSTREAM_RESET, 0);
    report(0, 0, PERI_ERR_UPSTREAM_PROTOCOL, 0);
    assert_int_equal(counts->consecutive_gateway, 0);
    assert_int_equal(counts->consecutive_5xx, 3);
}

static void what_says_nothing_about_the_endpoint_is_not_counted(void **state)
{
    (void)state;
    uint64_t total, success;
    for (unsigned i = 0; i < 10; i++) {
        report(0, 0, PERI_ERR_CLIENT_GONE, 0);
        report(0, 0, PERI_ERR_NOMEM, 0);
        report(0, 0, PERI_ERR_OVERLOADED, 0);
    }
    peri_endpoints_sum(shm, upstreams[0]->guard->rows[0], &total, &success);
    assert_int_equal(total, 0);
    assert_true(is_available(0, 0));
}

static void results_are_counted_in_each_worker(void **state)
{
    (void)state;
    uint64_t total, success;
    report(0, 0, PERI_OK, 200);
    report(1, 0, PERI_OK, 404);
    report(1, 0, PERI_OK, 503);
    peri_endpoints_sum(shm, upstreams[0]->guard->rows[0], &total, &success);
    assert_int_equal(total, 3);
    assert_int_equal(success, 2);
}

// ---- the keepers

static void one_keeper_ends_ejections_for_all(void **state)
{
    (void)state;
    keep_both();
    for (unsigned i = 0; i < 5; i++)
        report(0, 0, PERI_OK, 500);
    peri_loop_advance(loop, 29000);
    assert_false(is_available(1, 0));
    peri_loop_advance(loop, 11000);
    assert_true(is_available(0, 0) && is_available(1, 0));
}

static void rates_are_compared_once_for_all_workers(void **state)
{
    (void)state;
    for (unsigned i = 0; i < WORKERS; i++) {
        upstreams[i]->guard->outlier.failure_percentage_minimum_hosts = 1;
        upstreams[i]->guard->outlier.enforcing[PERI_OUTLIER_FAILURE_PERCENTAGE] = 100;
    }
    keep_both();
    for (unsigned i = 0; i < 60; i++)
        report(i % 2, 0, PERI_OK, i % 3 == 0 && i < 12 ? 200 : 500);
    peri_outlier_return(peri_endpoints_row(shm, upstreams[0]->guard->rows[0]), 0); // the run had ejected it
    peri_loop_advance(loop, 10000);
    const struct peri_upstream_row *row = peri_endpoints_upstream(shm, upstreams[0]->guard->row);
    assert_int_equal(row->detected[PERI_OUTLIER_FAILURE_PERCENTAGE], 1);
    assert_false(is_available(1, 0));
}

static void another_keeper_takes_over(void **state)
{
    (void)state;
    keep_both();
    for (unsigned i = 0; i < 5; i++)
        report(0, 0, PERI_OK, 500);
    peri_keeper_set(keepers[0], NULL, 0); // whichever of the two it was
    peri_loop_advance(loop, 41000);
    assert_true(is_available(1, 0));
    peri_keeper_set(keepers[0], &upstreams[0], 1);
    peri_keeper_set(keepers[1], NULL, 0);
    for (unsigned i = 0; i < 5; i++)
        report(0, 0, PERI_OK, 500);
    peri_loop_advance(loop, 71000);
    assert_true(is_available(1, 0));
}

static void a_keeper_of_unwatched_upstreams_has_no_timer(void **state)
{
    (void)state;
    struct peri_upstream *plain = new_upstream(1);
    peri_keeper_set(keepers[0], &plain, 1);
    assert_int_equal(peri_loop_timers(loop), 0);
    peri_keeper_set(keepers[0], &upstreams[0], 1);
    assert_int_equal(peri_loop_timers(loop), 1);
    peri_keeper_set(keepers[0], NULL, 0);
    assert_int_equal(peri_loop_timers(loop), 0);
    peri_upstream_free(plain);
}

static void an_ejection_ends_when_nobody_asks_for_it_any_more(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 5; i++)
        report(0, 0, PERI_OK, 500);
    for (unsigned i = 0; i < WORKERS; i++)
        upstreams[i]->guard->has_outlier = false; // as after a reload
    keep_both();
    assert_true(is_available(0, 0));
}

// ---- the breaker

static peri_err_t enter(unsigned worker, bool is_connected, struct peri_ticket *ticket)
{
    *ticket = (struct peri_ticket){0};
    return peri_guard_enter(upstreams[worker]->guard, is_connected ? PERI_POOL_CONNECTED : PERI_POOL_BUSY, ticket);
}

static int64_t gauge(enum peri_breaker_gauge which)
{
    return peri_endpoints_gauge(shm, upstreams[0]->guard->row, which);
}

static void attempts_count_until_they_leave(void **state)
{
    (void)state;
    struct peri_ticket tickets[3], more;
    assert_int_equal(enter(0, false, &tickets[0]), PERI_OK);
    assert_int_equal(enter(1, false, &tickets[1]), PERI_OK);
    assert_int_equal(gauge(PERI_BREAKER_PENDING), 2);
    assert_int_equal(enter(1, false, &more), PERI_ERR_UPSTREAM_OVERFLOW); // two may be pending
    assert_int_equal(gauge(PERI_BREAKER_REQUESTS), 2);
    assert_int_equal(enter(1, true, &tickets[2]), PERI_OK); // this one has a connection
    assert_int_equal(enter(0, true, &more), PERI_ERR_UPSTREAM_OVERFLOW);
    peri_guard_ready(&tickets[0]);
    assert_int_equal(gauge(PERI_BREAKER_PENDING), 1);
    assert_int_equal(gauge(PERI_BREAKER_REQUESTS), 3);
    for (unsigned i = 0; i < 3; i++) {
        peri_guard_leave(&tickets[i]);
        peri_guard_leave(&tickets[i]);
    }
    peri_guard_leave(&more);
    assert_int_equal(gauge(PERI_BREAKER_PENDING), 0);
    assert_int_equal(gauge(PERI_BREAKER_REQUESTS), 0);
}

static void priorities_have_limits_of_their_own(void **state)
{
    (void)state;
    struct peri_ticket tickets[3], high = {.is_high = true}, more = {.is_high = true};
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(enter(i % WORKERS, true, &tickets[i]), PERI_OK); // all that there may be
    assert_int_equal(peri_guard_enter(upstreams[0]->guard, PERI_POOL_CONNECTED, &high), PERI_OK);
    assert_int_equal(gauge(PERI_BREAKER_REQUESTS), 3);
    assert_int_equal(gauge(PERI_BREAKER_REQUESTS + PERI_BREAKER_HIGH), 1);
    assert_int_equal(peri_guard_enter(upstreams[1]->guard, PERI_POOL_CONNECTED, &more), PERI_ERR_UPSTREAM_OVERFLOW);
    assert_int_equal(peri_endpoints_overflows(shm, upstreams[0]->guard->row, PERI_BREAKER_REQUESTS), 0);
    peri_guard_leave(&high);
    assert_int_equal(peri_guard_enter(upstreams[1]->guard, PERI_POOL_CONNECTED, &more), PERI_OK);
    peri_guard_leave(&more);
    for (unsigned i = 0; i < 3; i++)
        peri_guard_leave(&tickets[i]);
    assert_int_equal(gauge(PERI_BREAKER_REQUESTS), 0);
    assert_int_equal(gauge(PERI_BREAKER_REQUESTS + PERI_BREAKER_HIGH), 0);
}

static void high_priority_may_have_more_connections(void **state)
{
    (void)state;
    struct peri_ticket ticket, high = {.is_high = true};
    peri_shm_metrics(shm, 0)->upstream_connections[upstreams[0]->metrics].connections = 11;
    assert_int_equal(enter(0, false, &ticket), PERI_ERR_UPSTREAM_OVERFLOW); // ten are the limit
    assert_int_equal(peri_guard_enter(upstreams[0]->guard, PERI_POOL_BUSY, &high), PERI_OK);
    peri_guard_leave(&high);
}

static void connections_of_all_workers_count(void **state)
{
    (void)state;
    struct peri_ticket ticket;
    int32_t metrics = upstreams[0]->metrics;
    peri_shm_metrics(shm, 0)->upstream_connections[metrics].connections = 4;
    peri_shm_metrics(shm, 1)->upstream_connections[metrics].connections = 6;
    assert_int_equal(enter(0, false, &ticket), PERI_ERR_UPSTREAM_OVERFLOW);
    assert_int_equal(peri_endpoints_overflows(shm, upstreams[0]->guard->row, PERI_BREAKER_CONNECTIONS), 1);
    assert_int_equal(enter(0, true, &ticket), PERI_OK);
    peri_guard_leave(&ticket);
    ticket = (struct peri_ticket){0}; // another one's connection will carry it too
    assert_int_equal(peri_guard_enter(upstreams[0]->guard, PERI_POOL_CONNECTING, &ticket), PERI_OK);
    assert_int_equal(gauge(PERI_BREAKER_PENDING), 1);
    peri_guard_leave(&ticket);
    assert_int_equal(peri_guard_enter(upstreams[0]->guard, PERI_POOL_EMPTY, &ticket),
                     PERI_OK); // the others' are no excuse
    peri_guard_leave(&ticket);
    peri_shm_metrics(shm, 1)->upstream_connections[metrics].connections = 5;
    assert_int_equal(enter(0, false, &ticket), PERI_OK);
    peri_guard_leave(&ticket);
}

// ---- retries

// An attempt of `worker` begins, fails and wants to be followed by a retry.
static bool fail_and_retry(unsigned worker, struct peri_ticket *ticket)
{
    assert_int_equal(enter(worker, true, ticket), PERI_OK);
    return peri_guard_retry(upstreams[worker]->guard, ticket, peri_loop_now_ns(loop) / 1000000);
}

static void limit_retries(uint32_t limit)
{
    for (unsigned i = 0; i < WORKERS; i++)
        upstreams[i]->guard->breaker.limits[PERI_BREAKER_RETRIES] = limit;
}

static void a_retry_counts_until_it_has_ended(void **state)
{
    (void)state;
    struct peri_ticket ticket;
    assert_true(fail_and_retry(0, &ticket));
    assert_int_equal(gauge(PERI_BREAKER_RETRIES), 1); // from the decision on, through the wait
    assert_int_equal(gauge(PERI_BREAKER_REQUESTS), 0);
    assert_int_equal(peri_guard_enter(upstreams[0]->guard, PERI_POOL_BUSY, &ticket), PERI_OK);
    assert_int_equal(gauge(PERI_BREAKER_REQUESTS), 1);
    assert_int_equal(gauge(PERI_BREAKER_PENDING), 1);
    peri_guard_leave(&ticket);
    for (unsigned i = 0; i < PERI_BREAKER_GAUGES; i++)
        if (i != PERI_BREAKER_CONNECTIONS)
            assert_int_equal(gauge((enum peri_breaker_gauge)i), 0);
}

static void a_retry_that_fails_leaves_its_place_to_the_next(void **state)
{
    (void)state;
    struct peri_ticket ticket; // at most one at a time
    assert_true(fail_and_retry(0, &ticket));
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(peri_guard_enter(upstreams[0]->guard, PERI_POOL_CONNECTED, &ticket), PERI_OK);
        assert_true(peri_guard_retry(upstreams[0]->guard, &ticket, 0));
        assert_int_equal(gauge(PERI_BREAKER_RETRIES), 1);
    }
    peri_guard_leave(&ticket);
    assert_int_equal(gauge(PERI_BREAKER_RETRIES), 0);
}

static void retries_of_all_workers_count(void **state)
{
    (void)state;
    struct peri_ticket tickets[2];
    assert_true(fail_and_retry(0, &tickets[0]));
    assert_false(fail_and_retry(1, &tickets[1]));
    assert_int_equal(peri_endpoints_overflows(shm, upstreams[0]->guard->row, PERI_BREAKER_RETRIES), 1);
    assert_int_equal(gauge(PERI_BREAKER_REQUESTS),
                     1); // the one that is not retried is passed on, and goes on until then
    peri_guard_leave(&tickets[0]);
    assert_true(peri_guard_retry(upstreams[1]->guard, &tickets[1], 0));
    peri_guard_leave(&tickets[1]);
}

static void the_budget_counts_retries_of_all_workers(void **state)
{
    (void)state;
    struct peri_ticket tickets[3];
    limit_retries(100);
    assert_true(fail_and_retry(0, &tickets[0]));
    assert_true(fail_and_retry(1, &tickets[1]));
    assert_false(fail_and_retry(0, &tickets[2])); // two, whatever is under way
    assert_int_equal(gauge(PERI_BREAKER_RETRIES), 2);
    assert_int_equal(peri_endpoints_upstream(shm, upstreams[0]->guard->row)->budget_overflows, 1);
    for (unsigned i = 0; i < 3; i++)
        peri_guard_leave(&tickets[i]);
}

static void the_budget_grows_with_what_is_under_way(void **state)
{
    (void)state;
    struct peri_ticket tickets[3], other;
    limit_retries(100);
    for (unsigned i = 0; i < WORKERS; i++)
        upstreams[i]->guard->retries.concurrency = (struct peri_retry_concurrency){.percent = 50, .min_concurrency = 0};
    assert_int_equal(enter(1, true, &other), PERI_OK);
    assert_true(fail_and_retry(0, &tickets[0]));  // the first among two
    assert_false(fail_and_retry(0, &tickets[1])); // the second among two
    assert_int_equal(enter(1, true, &tickets[2]), PERI_OK);
    assert_true(peri_guard_retry(upstreams[0]->guard, &tickets[1], 0)); // the second among three
    for (unsigned i = 0; i < 3; i++)
        peri_guard_leave(&tickets[i]);
    peri_guard_leave(&other);
}

static void a_budget_by_rate_is_shared_too(void **state)
{
    (void)state;
    struct peri_ticket tickets[2];
    limit_retries(100);
    for (unsigned i = 0; i < WORKERS; i++)
        upstreams[i]->guard->retries.model = PERI_RETRY_BY_RATE;
    assert_false(fail_and_retry(0, &tickets[0]));
    peri_guard_deposit(upstreams[0]->guard, peri_loop_now_ns(loop) / 1000000);
    assert_true(fail_and_retry(1, &tickets[1]));
    assert_false(peri_guard_retry(upstreams[0]->guard, &tickets[0], peri_loop_now_ns(loop) / 1000000));
    peri_guard_leave(&tickets[0]);
    peri_guard_leave(&tickets[1]);
}

static void a_deposit_by_concurrency_changes_nothing(void **state)
{
    (void)state;
    const uint64_t *slots = peri_endpoints_upstream(shm, upstreams[0]->guard->row)->budget;
    peri_guard_deposit(upstreams[0]->guard, 1000);
    assert_int_equal(slots[0], 0);
}

// ---- life

static void a_full_table_is_an_error(void **state)
{
    (void)state;
    struct peri_metrics_page *page = peri_shm_metrics(shm, 0);
    for (unsigned i = 0; i < PERI_ENDPOINT_UPSTREAMS - 1; i++) {
        char name[16];
        snprintf(name, sizeof(name), "u%u", i);
        assert_true(peri_endpoints_hold_upstream(shm, page, peri_slice_from(name)) >= 0);
    }
    struct peri_upstream *one = peri_upstream_new(PERI_SLICE("one too many"));
    struct peri_guard_settings settings = {.outlier = &outlier};
    assert_int_equal(peri_guard_new(one, &settings, shm, page), PERI_ERR_LIMIT);
    peri_upstream_free(one);
}

static void out_of_memory_is_an_error(void **state)
{
    (void)state;
    struct peri_guard_settings settings = {.outlier = &outlier};
    for (unsigned n = 1; n <= 3; n++) {
        struct peri_upstream *upstream = new_upstream(2);
        fail_alloc_at(n);
        peri_err_t err = peri_guard_new(upstream, &settings, shm, peri_shm_metrics(shm, 0));
        assert_true(fail_alloc_stop());
        assert_int_equal(err, PERI_ERR_NOMEM);
        peri_upstream_free(upstream);
    }
}

static void a_guard_that_goes_lets_its_rows_go(void **state)
{
    (void)state;
    const struct peri_metrics_page *page = peri_shm_metrics(shm, 0);
    int32_t row = upstreams[0]->guard->row, first = upstreams[0]->guard->rows[0];
    assert_int_equal(page->breakers[row].holders, 1);
    assert_int_equal(page->endpoints[first].holders, 1);
    peri_upstream_free(upstreams[0]);
    assert_int_equal(page->breakers[row].holders, 0);
    assert_int_equal(page->endpoints[first].holders, 0);
    upstreams[0] = new_upstream(1);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_workers, close_workers)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(failures_of_two_workers_make_one_run),
        CASE(errors_count_with_envoys_codes),
        CASE(what_says_nothing_about_the_endpoint_is_not_counted),
        CASE(results_are_counted_in_each_worker),
        CASE(one_keeper_ends_ejections_for_all),
        CASE(rates_are_compared_once_for_all_workers),
        CASE(another_keeper_takes_over),
        CASE(a_keeper_of_unwatched_upstreams_has_no_timer),
        CASE(an_ejection_ends_when_nobody_asks_for_it_any_more),
        CASE(attempts_count_until_they_leave),
        CASE(priorities_have_limits_of_their_own),
        CASE(high_priority_may_have_more_connections),
        CASE(connections_of_all_workers_count),
        CASE(a_retry_counts_until_it_has_ended),
        CASE(a_retry_that_fails_leaves_its_place_to_the_next),
        CASE(retries_of_all_workers_count),
        CASE(the_budget_counts_retries_of_all_workers),
        CASE(the_budget_grows_with_what_is_under_way),
        CASE(a_budget_by_rate_is_shared_too),
        CASE(a_deposit_by_concurrency_changes_nothing),
        CASE(a_full_table_is_an_error),
        CASE(out_of_memory_is_an_error),
        CASE(a_guard_that_goes_lets_its_rows_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
