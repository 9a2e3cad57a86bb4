// SPDX-License-Identifier: MIT
// Rows of upstreams and endpoints: who holds them, what lives on, and what happens when there are too many.
#include "shared/endpoints.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <sys/wait.h>
#include <unistd.h>

#include "shared/metrics.h"
#include "shared/shm.h"

static struct peri_shm *shm;
static struct peri_metrics_page *pages[2];

static int open_memory(void **state)
{
    (void)state;
    shm = peri_shm_create(&(struct peri_shm_options){2, 0});
    pages[0] = peri_shm_metrics(shm, 0);
    pages[1] = peri_shm_metrics(shm, 1);
    return 0;
}

static int close_memory(void **state)
{
    (void)state;
    peri_shm_close(shm);
    return 0;
}

static int32_t hold(struct peri_metrics_page *page, int32_t upstream, unsigned number)
{
    char address[32];
    snprintf(address, sizeof(address), "10.0.0.1:%u", number);
    return peri_endpoints_hold(shm, page, upstream, peri_slice_from(address));
}

// ---- names

static void rows_are_found_by_name(void **state)
{
    (void)state;
    int32_t users = peri_endpoints_hold_upstream(shm, pages[0], PERI_SLICE("users"));
    int32_t orders = peri_endpoints_hold_upstream(shm, pages[0], PERI_SLICE("orders"));
    assert_true(users >= 0 && orders >= 0 && users != orders);
    assert_int_equal(peri_endpoints_hold_upstream(shm, pages[1], PERI_SLICE("users")), users);
    int32_t row = hold(pages[0], users, 1);
    assert_int_equal(hold(pages[1], users, 1), row);
    assert_int_not_equal(hold(pages[0], orders, 1), row);
    assert_int_equal(peri_endpoints_find_upstream(shm, PERI_SLICE("orders")), orders);
    assert_int_equal(peri_endpoints_find(shm, users, PERI_SLICE("10.0.0.1:1")), row);
    assert_int_equal(peri_endpoints_find(shm, users, PERI_SLICE("10.0.0.1:2")), -1);
    assert_int_equal(peri_endpoints_find_upstream(shm, PERI_SLICE("nobody")), -1);
}

static void names_that_are_too_long_or_empty_are_refused(void **state)
{
    (void)state;
    char text[PERI_ENDPOINT_TEXT + 1];
    memset(text, 'x', sizeof(text));
    assert_int_equal(peri_endpoints_hold_upstream(shm, pages[0], peri_slice(text, sizeof(text))), -1);
    assert_int_equal(peri_endpoints_hold_upstream(shm, pages[0], PERI_SLICE("")), -1);
    assert_true(peri_endpoints_hold_upstream(shm, pages[0], peri_slice(text, sizeof(text) - 1)) >= 0);
}

static void what_a_row_says_lives_on_when_nobody_holds_it(void **state)
{
    (void)state;
    int32_t users = peri_endpoints_hold_upstream(shm, pages[0], PERI_SLICE("users"));
    int32_t row = hold(pages[0], users, 1);
    peri_endpoints_row(shm, row)->flags = PERI_ENDPOINT_EJECTED;
    pages[0]->endpoints[row].total = 7;
    peri_endpoints_drop(pages[0], row);
    peri_endpoints_drop_upstream(pages[0], users);
    assert_int_equal(peri_endpoints_hold_upstream(shm, pages[1], PERI_SLICE("users")), users);
    assert_int_equal(hold(pages[1], users, 1), row);
    assert_int_equal(peri_endpoints_row(shm, row)->flags, PERI_ENDPOINT_EJECTED);
    assert_int_equal(pages[0]->endpoints[row].total, 7);
}

static void a_full_table_refuses_while_every_row_is_held(void **state)
{
    (void)state;
    int32_t users = peri_endpoints_hold_upstream(shm, pages[0], PERI_SLICE("users"));
    for (unsigned i = 0; i < PERI_ENDPOINT_ROWS; i++)
        assert_true(hold(pages[0], users, i) >= 0);
    assert_int_equal(hold(pages[0], users, PERI_ENDPOINT_ROWS), -1);
    assert_int_equal(hold(pages[1], users, 17), 17);
}

static void a_row_that_nobody_holds_gives_way_when_the_table_is_full(void **state)
{
    (void)state;
    int32_t users = peri_endpoints_hold_upstream(shm, pages[0], PERI_SLICE("users"));
    for (unsigned i = 0; i < PERI_ENDPOINT_ROWS; i++)
        hold(pages[0], users, i);
    hold(pages[1], users, 17);
    peri_endpoints_row(shm, 17)->flags = PERI_ENDPOINT_EJECTED;
    pages[1]->endpoints[17].total = 5;
    peri_endpoints_drop(pages[0], 17);
    assert_int_equal(hold(pages[0], users, 9999), -1); // worker 1 holds it still
    peri_endpoints_drop(pages[1], 17);
    assert_int_equal(hold(pages[0], users, 9999), 17);
    assert_int_equal(peri_endpoints_row(shm, 17)->flags, 0);
    assert_int_equal(pages[1]->endpoints[17].total, 0);
    assert_int_equal(peri_endpoints_find(shm, users, PERI_SLICE("10.0.0.1:17")), -1);
}

static void an_upstream_that_gives_way_takes_its_endpoints_with_it(void **state)
{
    (void)state;
    char name[16];
    int32_t first = peri_endpoints_hold_upstream(shm, pages[0], PERI_SLICE("u0"));
    int32_t row = hold(pages[0], first, 1);
    peri_endpoints_row(shm, row)->flags = PERI_ENDPOINT_UNHEALTHY;
    for (unsigned i = 1; i < PERI_ENDPOINT_UPSTREAMS; i++) {
        snprintf(name, sizeof(name), "u%u", i);
        peri_endpoints_hold_upstream(shm, pages[0], peri_slice_from(name));
    }
    assert_int_equal(peri_endpoints_hold_upstream(shm, pages[0], PERI_SLICE("more")), -1);
    peri_endpoints_drop(pages[0], row);
    peri_endpoints_drop_upstream(pages[0], first);
    assert_int_equal(peri_endpoints_hold_upstream(shm, pages[0], PERI_SLICE("more")), first);
    int32_t fresh = hold(pages[0], first, 1);
    assert_int_equal(peri_endpoints_row(shm, fresh)->flags, 0);
}

// ---- workers

static void a_worker_that_ends_holds_nothing(void **state)
{
    (void)state;
    int32_t users = peri_endpoints_hold_upstream(shm, pages[0], PERI_SLICE("users"));
    for (unsigned i = 0; i < PERI_ENDPOINT_ROWS; i++)
        hold(pages[0], users, i);
    assert_int_equal(hold(pages[1], users, 9999), -1);
    peri_shm_worker_end(shm, 0);
    assert_int_equal(hold(pages[1], users, 9999), 0);
}

static void results_are_summed_over_workers_and_outlive_them(void **state)
{
    (void)state;
    uint64_t total, success;
    int32_t users = peri_endpoints_hold_upstream(shm, pages[0], PERI_SLICE("users"));
    int32_t row = hold(pages[0], users, 1);
    pages[0]->endpoints[row].total = 10;
    pages[0]->endpoints[row].success = 9;
    pages[1]->endpoints[row].total = 5;
    pages[1]->endpoints[row].success = 1;
    peri_shm_worker_end(shm, 1);
    peri_endpoints_sum(shm, row, &total, &success);
    assert_int_equal(total, 15);
    assert_int_equal(success, 10);
}

static void a_process_that_is_killed_while_it_holds_the_lock_stops_nobody(void **state)
{
    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        peri_endpoints_acquire(shm);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_true(peri_endpoints_hold_upstream(shm, pages[0], PERI_SLICE("users")) >= 0);
}

static void a_reset_forgets_states_and_keeps_names(void **state)
{
    (void)state;
    int32_t users = peri_endpoints_hold_upstream(shm, pages[0], PERI_SLICE("users"));
    int32_t row = hold(pages[0], users, 1);
    peri_endpoints_row(shm, row)->flags = PERI_ENDPOINT_EJECTED;
    peri_endpoints_upstream(shm, users)->overflows = 3;
    peri_shm_reset(shm);
    assert_int_equal(peri_endpoints_row(shm, row)->flags, 0);
    assert_int_equal(peri_endpoints_upstream(shm, users)->overflows, 0);
    assert_int_equal(peri_endpoints_find(shm, users, PERI_SLICE("10.0.0.1:1")), row);
    peri_endpoints_drop(pages[0], row);
}

// ---- the lease

static void one_worker_at_a_time_has_the_lease(void **state)
{
    (void)state;
    struct peri_lease *lease = peri_endpoints_lease(shm);
    assert_true(peri_lease_take(lease, 0, 1000, 500));
    assert_false(peri_lease_take(lease, 1, 1499, 500));
    assert_true(peri_lease_take(lease, 0, 1400, 500)); // renewed
    assert_false(peri_lease_take(lease, 1, 1500, 500));
    assert_true(peri_lease_take(lease, 1, 1900, 500));
    assert_false(peri_lease_take(lease, 0, 1900, 500));
}

static void the_lease_of_a_dead_worker_is_free_at_once(void **state)
{
    (void)state;
    struct peri_lease *lease = peri_endpoints_lease(shm);
    assert_true(peri_lease_take(lease, 0, 1000, 500));
    peri_shm_worker_end(shm, 1); // another one
    assert_false(peri_lease_take(lease, 1, 1001, 500));
    peri_shm_worker_end(shm, 0);
    assert_true(peri_lease_take(lease, 1, 1001, 500));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_memory, close_memory)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(rows_are_found_by_name),
        CASE(names_that_are_too_long_or_empty_are_refused),
        CASE(what_a_row_says_lives_on_when_nobody_holds_it),
        CASE(a_full_table_refuses_while_every_row_is_held),
        CASE(a_row_that_nobody_holds_gives_way_when_the_table_is_full),
        CASE(an_upstream_that_gives_way_takes_its_endpoints_with_it),
        CASE(a_worker_that_ends_holds_nothing),
        CASE(results_are_summed_over_workers_and_outlive_them),
        CASE(a_process_that_is_killed_while_it_holds_the_lock_stops_nobody),
        CASE(a_reset_forgets_states_and_keeps_names),
        CASE(one_worker_at_a_time_has_the_lease),
        CASE(the_lease_of_a_dead_worker_is_free_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
