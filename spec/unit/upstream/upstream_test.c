// SPDX-License-Identifier: MIT
// The choice among endpoints: by weight, evenly, never the one that just failed when there is another.
#include "upstream/upstream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "event/loop.h"
#include "fail_alloc.h"

static struct peri_loop *loop;
static struct peri_pools *pools;
static struct peri_upstream *upstream;
static const struct peri_pool_settings settings = {.max_idle = 1};

static int open_upstream(void **state)
{
    (void)state;
    loop = peri_loop_new(true);
    pools = peri_pools_new(&(struct peri_pools_options){.loop = loop});
    upstream = peri_upstream_new(PERI_SLICE("users"));
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

static void add(const char *address, uint32_t weight)
{
    assert_int_equal(peri_upstream_add(upstream, pools, peri_slice_from(address), weight, &settings), PERI_OK);
}

static void seal(const struct peri_balancer_type *type)
{
    upstream->balance.type = type;
    upstream->random = 42;
    assert_int_equal(peri_upstream_seal(upstream), PERI_OK);
}

static struct peri_endpoint *pick(const struct peri_endpoint *except)
{
    return peri_upstream_pick(upstream, &(struct peri_pick){.now_ns = 1000000000, .except = except});
}

static unsigned index_of(const struct peri_endpoint *endpoint)
{
    return (unsigned)(endpoint - upstream->endpoints);
}

static void has_nobody_to_pick_at_first(void **state)
{
    (void)state;
    seal(&peri_balancer_round_robin);
    assert_null(pick(NULL));
    assert_true(peri_slice_eq(upstream->name, PERI_SLICE("users")));
}

static void finds_endpoints_by_their_address(void **state)
{
    (void)state;
    add("a:1", 0);
    add("b:1", 2);
    assert_int_equal(index_of(peri_upstream_find(upstream, PERI_SLICE("b:1"))), 1);
    assert_null(peri_upstream_find(upstream, PERI_SLICE("b:2")));
    assert_int_equal(upstream->endpoints[0].weight, 1);
    assert_int_equal(peri_upstream_add(upstream, pools, PERI_SLICE("bad"), 1, &settings), PERI_ERR_INVALID);
    assert_int_equal(upstream->count, 2);
}

static void spreads_by_weight_smoothly(void **state)
{
    (void)state;
    char order[32] = "";
    add("a:1", 5);
    add("b:1", 1);
    add("c:1", 1);
    seal(&peri_balancer_round_robin);
    for (unsigned i = 0; i < 14; i++)
        sprintf(order + i, "%c", 'a' + index_of(pick(NULL)));
    assert_string_equal(order, "aabacaaaabacaa");
}

static void spreads_at_random_by_weight(void **state)
{
    (void)state;
    unsigned counts[3] = {0};
    add("a:1", 6);
    add("b:1", 3);
    add("c:1", 1);
    seal(&peri_balancer_random);
    for (unsigned i = 0; i < 20000; i++)
        counts[index_of(pick(NULL))]++;
    assert_in_range(counts[0], 11000, 13000);
    assert_in_range(counts[1], 5000, 7000);
    assert_in_range(counts[2], 1500, 2500);
}

static void prefers_the_less_loaded_one(void **state)
{
    (void)state;
    unsigned counts[4] = {0};
    for (unsigned i = 0; i < 4; i++)
        add(((const char *[]){"a:1", "b:1", "c:1", "d:1"})[i], 1);
    seal(&peri_balancer_least_request);
    *upstream->endpoints[2].active = 100;
    for (unsigned i = 0; i < 1000; i++)
        counts[index_of(pick(NULL))]++;
    assert_in_range(counts[2], 0, 150); // only when both looks fall on it
    assert_true(counts[0] > 200 && counts[1] > 200 && counts[3] > 200);
}

static void keeps_the_load_level(void **state)
{
    (void)state;
    add("a:1", 1);
    add("b:1", 1);
    add("c:1", 1);
    seal(&peri_balancer_least_request);
    for (unsigned i = 0; i < 3000; i++)
        ++*pick(NULL)->active;
    for (unsigned i = 0; i < 3; i++)
        assert_in_range(*upstream->endpoints[i].active, 980, 1020);
}

// Envoy: weight / (active + 1).
static void takes_a_weight_down_by_the_load(void **state)
{
    (void)state;
    unsigned counts[2] = {0};
    add("a:1", 2);
    add("b:1", 1);
    seal(&peri_balancer_least_request);
    for (unsigned i = 0; i < 300; i++)
        counts[index_of(pick(NULL))]++;
    assert_in_range(counts[0], 199, 201);
    *upstream->endpoints[0].active = 4; // 2 / 5 against 1
    counts[0] = counts[1] = 0;
    for (unsigned i = 0; i < 700; i++)
        counts[index_of(pick(NULL))]++;
    assert_in_range(counts[0], 199, 201);
}

static void does_not_pick_the_excepted_one_unless_it_is_alone(void **state)
{
    static const char *const names[] = {"round_robin", "random", "least_request", "ewma", "ring_hash", "maglev"};
    for (unsigned n = 0; n < 6; n++) {
        bool has_picked[3] = {false};
        add("a:1", 1);
        add("b:1", 1000);
        add("c:1", 1);
        seal(peri_balancer_find(peri_slice_from(names[n])));
        for (unsigned i = 0; i < 300; i++)
            has_picked[index_of(pick(&upstream->endpoints[1]))] = true;
        assert_true(has_picked[0] && has_picked[2] && !has_picked[1]);
        close_upstream(state);
        open_upstream(state);
    }
    add("a:1", 1);
    seal(&peri_balancer_round_robin);
    assert_int_equal(index_of(pick(&upstream->endpoints[0])), 0);
}

static void says_so_when_memory_is_out(void **state)
{
    (void)state;
    for (unsigned n = 1; n <= 2; n++) {
        fail_alloc_at(n);
        struct peri_upstream *other = peri_upstream_new(PERI_SLICE("x"));
        fail_alloc_stop();
        assert_null(other);
    }
    for (unsigned n = 1; n <= 4; n++) {
        fail_alloc_at(n);
        peri_err_t err = peri_upstream_add(upstream, pools, PERI_SLICE("a:1"), 1, &settings);
        fail_alloc_stop();
        assert_int_not_equal(err, PERI_OK);
        assert_int_equal(upstream->count, 0);
    }
    add("a:1", 1);
    for (unsigned n = 1; n <= 2; n++) {
        fail_alloc_at(n);
        peri_err_t err = peri_upstream_seal(upstream);
        fail_alloc_stop();
        assert_int_equal(err, PERI_ERR_NOMEM);
        assert_null(upstream->balancer);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_upstream, close_upstream)
    const struct CMUnitTest tests[] = {
        TEST(has_nobody_to_pick_at_first),     TEST(finds_endpoints_by_their_address),
        TEST(spreads_by_weight_smoothly),      TEST(spreads_at_random_by_weight),
        TEST(prefers_the_less_loaded_one),     TEST(keeps_the_load_level),
        TEST(takes_a_weight_down_by_the_load), TEST(does_not_pick_the_excepted_one_unless_it_is_alone),
        TEST(says_so_when_memory_is_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
