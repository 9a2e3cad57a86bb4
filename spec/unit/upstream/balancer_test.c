// SPDX-License-Identifier: MIT
// The algorithms that remember or place: peak-EWMA, ring hash, Maglev. Random numbers begin at a fixed seed.
#include "upstream/balancer.h"

#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/xxh64.h"
#include "codec/message.h"
#include "event/loop.h"
#include "fail_alloc.h"
#include "upstream/upstream.h"

#define MS 1000000ull
#define KEYS 20000

static struct peri_loop *loop;
static struct peri_pools *pools;
static struct peri_upstream *upstream;
static uint64_t now_ns;

static void make_upstream(void)
{
    upstream = peri_upstream_new(PERI_SLICE("users"));
    upstream->random = 42;
}

static int open_upstream(void **state)
{
    (void)state;
    now_ns = 1000ull * MS;
    loop = peri_loop_new(true);
    pools = peri_pools_new(&(struct peri_pools_options){.loop = loop});
    make_upstream();
    return 0;
}

static int close_upstream(void **state)
{
    (void)state;
    peri_upstream_free(upstream);
    peri_pools_free(pools);
    peri_loop_free(loop);
    return 0;
}

static void add(unsigned number, uint32_t weight)
{
    char address[32];
    snprintf(address, sizeof(address), "10.0.0.%u:80", number);
    static const struct peri_pool_settings settings = {.max_idle = 1};
    assert_int_equal(peri_upstream_add(upstream, pools, peri_slice_from(address), weight, &settings), PERI_OK);
}

static void add_many(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        add(i, 1);
}

static void seal(const struct peri_balancer_type *type)
{
    upstream->balance.type = type;
    assert_int_equal(peri_upstream_seal(upstream), PERI_OK);
}

static unsigned pick(void)
{
    return (unsigned)(peri_upstream_pick(upstream, &(struct peri_pick){.now_ns = now_ns}) - upstream->endpoints);
}

static unsigned pick_key(unsigned key)
{
    uint64_t hash = peri_xxh64(peri_slice((const char *)&key, sizeof(key)), 0);
    struct peri_pick question = {.now_ns = now_ns, .hash = hash, .has_hash = true};
    return (unsigned)(peri_upstream_pick(upstream, &question) - upstream->endpoints);
}

static void report(unsigned number, peri_err_t err, int status, uint64_t latency_ms, const char *retry_after)
{
    struct peri_arena arena;
    struct peri_response res = {.status = status};
    peri_arena_init(&arena, 65536);
    peri_headers_init(&res.headers, &arena);
    if (retry_after)
        peri_headers_add(&res.headers, PERI_SLICE("retry-after"), peri_slice_from(retry_after));
    struct peri_result result = {
        .err = err, .res = err == PERI_OK ? &res : NULL, .latency_ns = latency_ms * MS, .now_ns = now_ns};
    peri_endpoint_report(upstream, &upstream->endpoints[number], &result);
    peri_arena_close(&arena);
}

static double load_ms(unsigned number)
{
    return upstream->endpoints[number].load.ns / MS;
}

// ---- ewma ----

static void ewma_gives_a_slow_endpoint_little(void **state)
{
    (void)state;
    unsigned counts[3] = {0};
    add_many(3);
    seal(&peri_balancer_ewma);
    for (unsigned i = 0; i < 10000; i++) {
        unsigned number = pick();
        counts[number]++;
        now_ns += MS;
        report(number, PERI_OK, 200, number == 2 ? 500 : 10, NULL);
    }
    assert_in_range(counts[2], 1, 100); // below 1 %, but it is tried again
    assert_in_range(counts[0], 3500, 6500);
    assert_in_range(counts[1], 3500, 6500);
}

static void ewma_counts_what_is_under_way(void **state)
{
    (void)state;
    add_many(2);
    seal(&peri_balancer_ewma);
    report(0, PERI_OK, 200, 10, NULL);
    report(1, PERI_OK, 200, 15, NULL);
    assert_int_equal(pick(), 0);
    *upstream->endpoints[0].active = 1; // 10 * 2 against 15
    assert_int_equal(pick(), 1);
}

static void ewma_gives_more_to_more_weight(void **state)
{
    (void)state;
    add(0, 1);
    add(1, 3);
    seal(&peri_balancer_ewma);
    report(0, PERI_OK, 200, 10, NULL);
    report(1, PERI_OK, 200, 20, NULL); // 20 / 3 against 10
    assert_int_equal(pick(), 1);
}

static void ewma_penalises_what_fails_quickly(void **state)
{
    (void)state;
    add_many(6);
    seal(&peri_balancer_ewma);
    report(0, PERI_OK, 503, 1, NULL);
    report(1, PERI_OK, 429, 1, "20");
    report(2, PERI_OK, 429, 1, "1000000000000000000000");
    report(3, PERI_OK, 500, 1, "Wed, 21 Oct 2026 07:28:00 GMT");
    report(4, PERI_ERR_CONNECT, 0, 1, NULL);
    report(5, PERI_OK, 404, 1, "20");
    assert_true(load_ms(0) == 5000);
    assert_true(load_ms(1) == 20000);
    assert_true(load_ms(2) == 300000);
    assert_true(load_ms(3) == 5000);
    assert_true(load_ms(4) == 5000);
    assert_true(load_ms(5) == 1);
}

static void ewma_takes_what_nobody_waited_for_as_it_was(void **state)
{
    (void)state;
    add_many(2);
    seal(&peri_balancer_ewma);
    report(0, PERI_ERR_CLIENT_GONE, 0, 700, NULL);
    assert_true(load_ms(0) == 700);
}

static void ewma_sees_what_grpc_says_behind_200(void **state)
{
    (void)state;
    static const struct {
        const char *status, *pushback;
        unsigned ms;
    } cases[] = {{"14", "9000", 9000}, {"8", "-1", 5000}, {"0", NULL, 3}, {"5", "9000", 3}, {"x", NULL, 3}};
    struct peri_arena arena;
    add_many(5);
    seal(&peri_balancer_ewma);
    peri_arena_init(&arena, 65536);
    for (unsigned i = 0; i < 5; i++) {
        struct peri_response res = {.status = 200};
        peri_headers_init(&res.headers, &arena);
        peri_headers_add(&res.headers, PERI_SLICE("content-type"), PERI_SLICE("application/grpc"));
        peri_headers_add(&res.headers, PERI_SLICE("grpc-status"), peri_slice_from(cases[i].status));
        if (cases[i].pushback)
            peri_headers_add(&res.headers, PERI_SLICE("grpc-retry-pushback-ms"), peri_slice_from(cases[i].pushback));
        struct peri_result result = {.res = &res, .latency_ns = 3 * MS, .now_ns = now_ns};
        peri_endpoint_report(upstream, &upstream->endpoints[i], &result);
        assert_int_equal((unsigned)load_ms(i), cases[i].ms);
    }
    peri_arena_close(&arena);
}

// ---- placing by hash ----

static const struct peri_balancer_type *const keyed[] = {&peri_balancer_ring_hash, &peri_balancer_maglev};

static void keyed_balancers_keep_a_key_where_it_is(void **state)
{
    for (unsigned n = 0; n < 2; n++) {
        add_many(5);
        seal(keyed[n]);
        for (unsigned key = 0; key < 100; key++) {
            unsigned first = pick_key(key);
            now_ns += 5 * MS;
            assert_int_equal(pick_key(key), first);
        }
        close_upstream(state);
        open_upstream(state);
    }
}

static void keyed_balancers_spread_keys_by_weight(void **state)
{
    static const double tolerance[] = {0.15, 0.03}; // Maglev is the evener one
    for (unsigned n = 0; n < 2; n++) {
        double counts[4] = {0};
        for (unsigned i = 0; i < 4; i++)
            add(i, i + 1);
        seal(keyed[n]);
        for (unsigned key = 0; key < KEYS; key++)
            counts[pick_key(key)]++;
        for (unsigned i = 0; i < 4; i++) {
            double expected = KEYS * (i + 1) / 10.0;
            assert_true(counts[i] > expected * (1 - tolerance[n]) && counts[i] < expected * (1 + tolerance[n]));
        }
        close_upstream(state);
        open_upstream(state);
    }
}

static void keyed_balancers_spread_requests_without_a_key(void **state)
{
    for (unsigned n = 0; n < 2; n++) {
        unsigned counts[3] = {0};
        add_many(3);
        seal(keyed[n]);
        for (unsigned i = 0; i < 3000; i++)
            counts[pick()]++;
        for (unsigned i = 0; i < 3; i++)
            assert_in_range(counts[i], 800, 1200);
        close_upstream(state);
        open_upstream(state);
    }
}

// How many of the keys that the first `count - 1` of `count` endpoints had go elsewhere when the last one is gone.
static unsigned count_moved(const struct peri_balancer_type *type, unsigned count)
{
    static unsigned char before[KEYS];
    unsigned moved = 0;
    add_many(count);
    seal(type);
    for (unsigned key = 0; key < KEYS; key++)
        before[key] = (unsigned char)pick_key(key);
    peri_upstream_free(upstream);
    make_upstream();
    add_many(count - 1);
    seal(type);
    for (unsigned key = 0; key < KEYS; key++)
        moved += before[key] < count - 1 && pick_key(key) != before[key];
    return moved;
}

static void ring_hash_moves_only_the_keys_of_the_endpoint_that_is_gone(void **state)
{
    assert_int_equal(count_moved(&peri_balancer_ring_hash, 10), 0);
    close_upstream(state);
    open_upstream(state);
    assert_int_equal(count_moved(&peri_balancer_ring_hash, 3), 0);
}

static void maglev_moves_few_other_keys(void **state)
{
    (void)state;
    assert_in_range(count_moved(&peri_balancer_maglev, 10), 0, KEYS / 20);
}

static void keyed_balancers_pass_over_who_cannot_be_used(void **state)
{
    uint32_t ill = 1;
    for (unsigned n = 0; n < 2; n++) {
        unsigned before[500];
        add_many(5);
        seal(keyed[n]);
        for (unsigned key = 0; key < 500; key++)
            before[key] = pick_key(key);
        peri_endpoint_watch(upstream, &upstream->endpoints[3], &ill);
        for (unsigned key = 0; key < 500; key++) {
            unsigned now = pick_key(key);
            assert_int_not_equal(now, 3);
            if (before[key] != 3)
                assert_int_equal(now, before[key]);
        }
        close_upstream(state);
        open_upstream(state);
    }
}

// Mirrokni et al.: nobody has more than ceil(bound * mean).
static void bounds_the_load_of_a_hot_key(void **state)
{
    for (unsigned n = 0; n < 2; n++) {
        add_many(4);
        upstream->balance.settings.load_bound = 125;
        seal(keyed[n]);
        for (unsigned i = 0; i < 100; i++)
            ++*upstream->endpoints[pick_key(7)].active;
        for (unsigned i = 0; i < 4; i++)
            assert_in_range(*upstream->endpoints[i].active, 1, 32); // ceil(1.25 * 100 / 4)
        close_upstream(state);
        open_upstream(state);
    }
}

static void ring_hash_fits_into_its_largest_ring(void **state)
{
    (void)state;
    unsigned counts[2] = {0};
    add(0, 1);
    add(1, 999);
    upstream->balance.settings.ring_min = 1000;
    upstream->balance.settings.ring_max = 1000; // and not half a million
    seal(&peri_balancer_ring_hash);
    for (unsigned key = 0; key < 5000; key++)
        counts[pick_key(key)]++;
    assert_in_range(counts[0], 0, 50);
    uint32_t ill = 1;
    peri_endpoint_watch(upstream, &upstream->endpoints[1], &ill);
    assert_int_equal(pick_key(1), 0); // it has a point all the same
}

// A set of endpoints may come at any time, with any weights: its ring is made while requests wait.
static void ring_hash_is_no_larger_by_default_than_can_be_made_in_a_moment(void **state)
{
    (void)state;
    add(0, 1);
    add(1, 65535); // 512 points for the least weight would be 33 million
    seal(&peri_balancer_ring_hash);
    assert_in_range(malloc_usable_size(upstream->balancer), 1u << 20, 17u << 20); // 16 bytes each
}

static void every_algorithm_is_found_by_its_name_and_says_when_memory_is_out(void **state)
{
    static const char *const names[] = {"round_robin", "random", "least_request", "ewma", "ring_hash", "maglev"};
    (void)state;
    add_many(2);
    struct peri_endpoint *items[] = {&upstream->endpoints[0], &upstream->endpoints[1]};
    struct peri_endpoint_set all = {.items = items, .count = 2, .shares = 2000, .is_even = true};
    for (unsigned i = 0; i < 6; i++) {
        const struct peri_balancer_type *type = peri_balancer_find(peri_slice_from(names[i]));
        assert_string_equal(type->name, names[i]);
        for (unsigned n = 1; n <= (type == &peri_balancer_maglev ? 2 : 1); n++) {
            fail_alloc_at(n);
            struct peri_balancer *balancer = type->create(&peri_balancer_defaults, all);
            fail_alloc_stop();
            assert_null(balancer);
        }
    }
    assert_null(peri_balancer_find(PERI_SLICE("fair")));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_upstream, close_upstream)
    const struct CMUnitTest tests[] = {
        TEST(ewma_gives_a_slow_endpoint_little),
        TEST(ewma_counts_what_is_under_way),
        TEST(ewma_gives_more_to_more_weight),
        TEST(ewma_penalises_what_fails_quickly),
        TEST(ewma_takes_what_nobody_waited_for_as_it_was),
        TEST(ewma_sees_what_grpc_says_behind_200),
        TEST(keyed_balancers_keep_a_key_where_it_is),
        TEST(keyed_balancers_spread_keys_by_weight),
        TEST(keyed_balancers_spread_requests_without_a_key),
        TEST(ring_hash_moves_only_the_keys_of_the_endpoint_that_is_gone),
        TEST(maglev_moves_few_other_keys),
        TEST(keyed_balancers_pass_over_who_cannot_be_used),
        TEST(bounds_the_load_of_a_hot_key),
        TEST(ring_hash_fits_into_its_largest_ring),
        TEST(ring_hash_is_no_larger_by_default_than_can_be_made_in_a_moment),
        TEST(every_algorithm_is_found_by_its_name_and_says_when_memory_is_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
