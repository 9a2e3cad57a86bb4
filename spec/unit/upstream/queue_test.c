// SPDX-License-Identifier: MIT
// The queue before an upstream: who gets the next place, in one worker and between two, and who goes without.
#include "upstream/queue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/log.h"
#include "event/loop.h"
#include "shared/metrics.h"
#include "shared/shm.h"
#include "upstream/guard.h"
#include "upstream/upstream.h"

#define WORKERS 2
#define PLACES 2  // among the requests, for both workers together
#define WAITERS 3 // that may wait
#define WAIT_MS 1000

static struct peri_loop *loop;
static struct peri_pools *pools;
static struct peri_shm *shm;
static struct peri_upstream *upstreams[WORKERS];
static char order[64]; ///< who was served or gave up, in order

/// Somebody who wants a place.
struct guest {
    struct peri_ticket ticket;
    struct peri_queue_place place;
    char name;
};

static void note(char what)
{
    size_t len = strlen(order);
    assert_true(len + 1 < sizeof(order));
    order[len] = what;
    order[len + 1] = '\0';
}

static struct peri_guard *guard_of(unsigned worker)
{
    return upstreams[worker]->guard;
}

static void on_turn(struct peri_queue_place *place)
{
    struct guest *guest = PERI_CONTAINER(place, struct guest, place);
    if (peri_queue_enter(guest->ticket.guard, &guest->ticket))
        note(guest->name);
}

static void on_timeout(struct peri_queue_place *place)
{
    struct guest *guest = PERI_CONTAINER(place, struct guest, place);
    assert_null(guest->ticket.place);
    note((char)(guest->name - 'A' + 'a'));
}

// Enters, or waits. False when neither is possible.
static bool come(struct guest *guest, unsigned worker, char name)
{
    *guest = (struct guest){.name = name, .place = {.on_turn = on_turn, .on_timeout = on_timeout}};
    if (!peri_queue_enter(guard_of(worker), &guest->ticket))
        return peri_queue_join(guard_of(worker), &guest->ticket, &guest->place) == PERI_OK;
    note(name);
    return true;
}

static void go(struct guest *guest)
{
    peri_guard_leave(&guest->ticket);
}

static int64_t gauge(enum peri_breaker_gauge which)
{
    return peri_endpoints_gauge(shm, upstreams[0]->guard->row, which);
}

static uint64_t queued(enum peri_queue_result result)
{
    return peri_endpoints_queued(shm, upstreams[0]->guard->row, result);
}

static void ignore_line(void *data, enum peri_log_level level, const char *line, size_t len)
{
    (void)data, (void)level, (void)line, (void)len;
}

// The upstream in one worker, made for the first time or, as a reload or a discovered set does, once more.
static struct peri_upstream *make(uint32_t worker)
{
    static const struct peri_pool_settings pool_settings = {.max_idle = 1};
    static const uint32_t limits[PERI_BREAKER_GAUGES] = {
        [PERI_BREAKER_CONNECTIONS] = 10, [PERI_BREAKER_PENDING] = 10,    [PERI_BREAKER_REQUESTS] = PLACES,
        [PERI_BREAKER_RETRIES] = 1,      [PERI_BREAKER_QUEUE] = WAITERS,
    };
    static const struct peri_guard_settings settings = {.limits = limits, .queue_ms = WAIT_MS};
    struct peri_upstream *upstream = peri_upstream_new(PERI_SLICE("users"));
    assert_int_equal(peri_upstream_add(upstream, pools, PERI_SLICE("10.0.0.1:1"), 1, &pool_settings), PERI_OK);
    assert_int_equal(peri_guard_new(upstream, &settings, shm, peri_shm_metrics(shm, worker)), PERI_OK);
    return upstream;
}

static int open_workers(void **state)
{
    (void)state;
    peri_log_set_sink(ignore_line, NULL);
    order[0] = '\0';
    loop = peri_loop_new(true);
    pools = peri_pools_new(&(struct peri_pools_options){.loop = loop});
    shm = peri_shm_create(&(struct peri_shm_options){WORKERS, 0});
    for (uint32_t i = 0; i < WORKERS; i++)
        upstreams[i] = make(i);
    return 0;
}

static int close_workers(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PERI_BREAKER_GAUGES; i++)
        assert_int_equal(gauge((enum peri_breaker_gauge)i), 0);
    for (unsigned i = 0; i < WORKERS; i++)
        peri_upstream_free(upstreams[i]);
    assert_int_equal(peri_loop_timers(loop), 0);
    peri_pools_free(pools);
    peri_shm_close(shm);
    peri_loop_free(loop);
    return 0;
}

static void serves_in_the_order_of_coming(void **state)
{
    (void)state;
    struct guest g[5];
    for (unsigned i = 0; i < 5; i++)
        assert_true(come(&g[i], 0, (char)('A' + i)));
    assert_string_equal(order, "AB");
    assert_int_equal(gauge(PERI_BREAKER_QUEUE), 3);
    go(&g[0]);
    assert_string_equal(order, "AB"); // not from inside the call
    peri_loop_advance(loop, 0);
    assert_string_equal(order, "ABC");
    go(&g[1]);
    go(&g[2]);
    peri_loop_advance(loop, 0);
    assert_string_equal(order, "ABCDE");
    assert_int_equal(queued(PERI_QUEUE_SERVED), 3);
    assert_int_equal(peri_endpoints_overflows(shm, upstreams[0]->guard->row, PERI_BREAKER_REQUESTS), 0);
    go(&g[3]);
    go(&g[4]);
}

static void lets_nobody_overtake_those_who_wait(void **state)
{
    (void)state;
    struct guest g[4];
    for (unsigned i = 0; i < 3; i++)
        assert_true(come(&g[i], 0, (char)('A' + i)));
    go(&g[0]); // C's place, although it has not been called yet
    assert_true(come(&g[3], 0, 'D'));
    peri_loop_advance(loop, 0);
    assert_string_equal(order, "ABC");
    for (unsigned i = 1; i < 4; i++)
        go(&g[i]);
}

static void refuses_when_as_many_wait_as_may_in_all_workers(void **state)
{
    (void)state;
    struct guest g[6];
    for (unsigned i = 0; i < 5; i++)
        assert_true(come(&g[i], i % 2, (char)('A' + i)));
    assert_false(come(&g[5], 1, 'F'));
    assert_int_equal(peri_endpoints_overflows(shm, upstreams[0]->guard->row, PERI_BREAKER_QUEUE), 1);
    go(&g[4]); // it went away while it waited
    assert_int_equal(queued(PERI_QUEUE_GONE), 1);
    assert_true(come(&g[5], 1, 'F'));
    for (unsigned i = 0; i < 6; i++)
        go(&g[i]);
}

static void gives_up_after_a_while(void **state)
{
    (void)state;
    struct guest g[4];
    for (unsigned i = 0; i < 3; i++)
        assert_true(come(&g[i], 0, (char)('A' + i)));
    peri_loop_advance(loop, WAIT_MS / 2);
    assert_true(come(&g[3], 0, 'D'));
    peri_loop_advance(loop, WAIT_MS / 2 + 1);
    assert_string_equal(order, "ABc");
    assert_int_equal(queued(PERI_QUEUE_TIMEOUT), 1);
    go(&g[0]);
    peri_loop_advance(loop, 1);
    assert_string_equal(order, "ABcD");
    go(&g[1]);
    go(&g[3]);
}

static void finds_a_place_that_came_free_in_another_worker(void **state)
{
    (void)state;
    struct guest g[3];
    assert_true(come(&g[0], 0, 'A') && come(&g[1], 0, 'B') && come(&g[2], 1, 'C'));
    go(&g[0]);
    peri_loop_advance(loop, 10);
    assert_string_equal(order, "ABC");
    go(&g[1]);
    go(&g[2]);
}

static void leaves_a_place_to_a_worker_whose_first_has_waited_much_longer(void **state)
{
    (void)state;
    struct guest g[4];
    assert_true(come(&g[0], 0, 'A') && come(&g[1], 0, 'B') && come(&g[2], 1, 'C'));
    peri_loop_advance(loop, PERI_QUEUE_GRACE_MS + 1);
    assert_true(come(&g[3], 0, 'D'));
    go(&g[0]);
    peri_loop_advance(loop, 0);
    assert_string_equal(order, "AB"); // not D, who is in the worker that has the place
    peri_loop_advance(loop, 10);
    assert_string_equal(order, "ABC");
    go(&g[1]);
    peri_loop_advance(loop, 10);
    assert_string_equal(order, "ABCD");
    go(&g[2]);
    go(&g[3]);
}

static void forgets_those_of_a_worker_that_ended(void **state)
{
    (void)state;
    struct guest g[3];
    assert_true(come(&g[0], 1, 'A') && come(&g[1], 1, 'B') && come(&g[2], 1, 'C'));
    struct peri_queue_place *place = &g[2].place;
    assert_int_equal(peri_endpoints_waiting_since(shm, upstreams[0]->guard->row, upstreams[0]->guard->breaker.cell),
                     place->since_ms);
    peri_shm_worker_end(shm, 1);
    assert_true(peri_endpoints_waiting_since(shm, upstreams[0]->guard->row, upstreams[0]->guard->breaker.cell) ==
                UINT64_MAX);
    for (unsigned i = 0; i < 3; i++)
        go(&g[i]);
}

static void goes_on_when_the_upstream_is_made_once_more(void **state)
{
    (void)state;
    struct guest g[4];
    for (unsigned i = 0; i < 3; i++)
        assert_true(come(&g[i], 0, (char)('A' + i)));
    struct peri_upstream *before = upstreams[0];
    upstreams[0] = make(0);
    assert_true(come(&g[3], 0, 'D'));
    go(&g[0]);
    peri_loop_advance(loop, 0);
    assert_string_equal(order, "ABC"); // not D, who came to the new one
    go(&g[2]);
    peri_loop_advance(loop, 0);
    assert_string_equal(order, "ABCD");
    go(&g[1]);
    peri_upstream_free(before);
    go(&g[3]);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, open_workers, close_workers)
    const struct CMUnitTest tests[] = {
        CASE(serves_in_the_order_of_coming),
        CASE(lets_nobody_overtake_those_who_wait),
        CASE(refuses_when_as_many_wait_as_may_in_all_workers),
        CASE(gives_up_after_a_while),
        CASE(finds_a_place_that_came_free_in_another_worker),
        CASE(leaves_a_place_to_a_worker_whose_first_has_waited_much_longer),
        CASE(forgets_those_of_a_worker_that_ended),
        CASE(goes_on_when_the_upstream_is_made_once_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
