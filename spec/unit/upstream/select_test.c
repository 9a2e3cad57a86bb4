// SPDX-License-Identifier: MIT
// Which endpoints are asked at all: health, panic, priorities, labels, zones, slow start, sticky clients, and what a new generation
// keeps.
#include "upstream/select.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "event/loop.h"
#include "upstream/upstream.h"

#define MS 1000000ull
#define MOST 12

static struct peri_loop *loop;
static struct peri_pools *pools;
static struct peri_upstream *upstream;
static uint64_t now_ms;
static uint32_t ill[MOST];
static unsigned counts[MOST];

static int open_upstream(void **state)
{
    (void)state;
    now_ms = 1000;
    loop = peri_loop_new(true);
    pools = peri_pools_new(&(struct peri_pools_options){.loop = loop});
    upstream = peri_upstream_new(PERI_SLICE("users"));
    upstream->random = 42;
    for (unsigned i = 0; i < MOST; i++)
        ill[i] = 0;
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

static struct peri_endpoint *add_to(struct peri_upstream *to, unsigned number, uint32_t weight)
{
    char address[32];
    static const struct peri_pool_settings settings = {.max_idle = 1};
    snprintf(address, sizeof(address), "10.0.0.%u:80", number);
    assert_int_equal(peri_upstream_add(to, pools, peri_slice_from(address), weight, &settings), PERI_OK);
    to->endpoints[to->count - 1].health = &ill[number];
    return &to->endpoints[to->count - 1];
}

static void add(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        add_to(upstream, upstream->count, 1);
}

static void seal(void)
{
    assert_int_equal(peri_upstream_seal(upstream), PERI_OK);
}

static struct peri_pick now(void)
{
    return (struct peri_pick){.now_ns = now_ms * MS};
}

static void count_picks(unsigned total, struct peri_pick question)
{
    for (unsigned i = 0; i < MOST; i++)
        counts[i] = 0;
    for (unsigned i = 0; i < total; i++)
        counts[peri_upstream_pick(upstream, &question) - upstream->endpoints]++;
}

static void passes_over_who_cannot_be_used(void **state)
{
    (void)state;
    add(4);
    seal();
    count_picks(8, now());
    assert_true(counts[0] == 2 && counts[1] == 2 && counts[2] == 2 && counts[3] == 2);
    ill[2] = 1;
    now_ms++;
    count_picks(9, now());
    assert_true(counts[0] == 3 && counts[1] == 3 && counts[2] == 0 && counts[3] == 3);
    ill[2] = 0;
    now_ms++;
    count_picks(8, now());
    assert_int_equal(counts[2], 2);
}

static void looks_at_once_after_a_failure(void **state)
{
    (void)state;
    add(3);
    seal();
    count_picks(3, now());
    ill[0] = 1;
    peri_endpoint_report(upstream, &upstream->endpoints[0], &(struct peri_result){.err = PERI_ERR_CONNECT});
    count_picks(4, now()); // the clock stands still
    assert_true(counts[0] == 0 && counts[1] == 2 && counts[2] == 2);
}

static void uses_all_in_panic(void **state)
{
    (void)state;
    add(4);
    seal();
    ill[0] = ill[1] = 1;
    count_picks(4, now());
    assert_true(counts[0] == 0 && counts[1] == 0);
    ill[2] = 1;
    now_ms++;
    count_picks(8, now());
    assert_true(counts[0] == 2 && counts[1] == 2 && counts[2] == 2 && counts[3] == 2);
}

static void has_nobody_when_panic_is_off(void **state)
{
    (void)state;
    struct peri_pick question = now();
    add(2);
    upstream->balance.panic_percent = 0;
    seal();
    ill[0] = ill[1] = 1;
    assert_null(peri_upstream_pick(upstream, &question));
    ill[1] = 0;
    question.now_ns += MS;
    assert_ptr_equal(peri_upstream_pick(upstream, &question), &upstream->endpoints[1]);
}

static void fails_over_to_the_next_priority(void **state)
{
    (void)state;
    add(8);
    for (unsigned i = 4; i < 8; i++)
        upstream->endpoints[i].priority = 1;
    seal();
    count_picks(100, now());
    assert_int_equal(counts[0] + counts[1] + counts[2] + counts[3], 100);
    ill[0] = ill[1] = 1; // 50 % * 1.4 = 70 %
    now_ms++;
    count_picks(10000, now());
    assert_int_equal(counts[0] + counts[1], 0);
    assert_in_range(counts[2] + counts[3], 6800, 7200);
    ill[2] = ill[3] = 1;
    now_ms++;
    count_picks(100, now());
    assert_int_equal(counts[4] + counts[5] + counts[6] + counts[7], 100);
}

static void asks_only_endpoints_with_the_labels(void **state)
{
    (void)state;
    static const struct peri_label v1 = {{"version", 7}, {"v1", 2}}, v3 = {{"version", 7}, {"v3", 2}};
    static const struct peri_label v2[] = {{{"version", 7}, {"v2", 2}}, {{"tier", 4}, {"gold", 4}}};
    static const struct peri_labels wants_v2 = {v2, 1}, wants_gold = {v2, 2}, wants_v3 = {&v3, 1};
    add(4);
    upstream->endpoints[0].labels = upstream->endpoints[1].labels = (struct peri_labels){&v1, 1};
    upstream->endpoints[2].labels = (struct peri_labels){v2, 1};
    upstream->endpoints[3].labels = (struct peri_labels){v2, 2};
    seal();
    struct peri_pick question = now();
    question.labels = &wants_v2;
    count_picks(10, question);
    assert_true(counts[2] == 5 && counts[3] == 5);
    question.labels = &wants_gold;
    count_picks(10, question);
    assert_int_equal(counts[3], 10);
    ill[3] = 1; // the only one: 0 % available is panic, among those with the labels
    question.now_ns += MS;
    count_picks(10, question);
    assert_int_equal(counts[3], 10);
    question.labels = &wants_v3;
    assert_null(peri_upstream_pick(upstream, &question));
    question.labels = NULL;
    count_picks(9, question);
    assert_true(counts[0] == 3 && counts[1] == 3 && counts[2] == 3);
}

static void prefers_its_own_zone(void **state)
{
    (void)state;
    add(6);
    for (unsigned i = 0; i < 6; i++)
        upstream->endpoints[i].zone = i % 2;
    upstream->balance.zone_count = 2;
    upstream->balance.zone = 1;
    seal();
    count_picks(30, now());
    assert_true(counts[1] == 10 && counts[3] == 10 && counts[5] == 10);
    ill[1] = 1; // 2 of 5 are here, and fewer than 6 are left: no zones
    now_ms++;
    count_picks(50, now());
    assert_true(counts[0] == 10 && counts[1] == 0 && counts[2] == 10 && counts[3] == 10);
}

static void leaves_its_zone_as_far_as_that_is_too_small(void **state)
{
    (void)state;
    add(8);
    for (unsigned i = 0; i < 8; i++)
        upstream->endpoints[i].zone = i < 2;
    upstream->balance.zone_count = 2;
    upstream->balance.zone = 1;
    seal();
    count_picks(10000, now()); // a quarter of the endpoints where half would do: half stays
    assert_in_range(counts[0] + counts[1], 4800, 5200);
}

static void lets_who_was_away_start_slowly(void **state)
{
    (void)state;
    add(2);
    upstream->balance.slow_start_ms = 10000;
    seal();
    ill[1] = 1;
    count_picks(10, now());
    assert_int_equal(counts[1], 0);
    ill[1] = 0;
    now_ms += 1000;
    count_picks(1100, now());
    assert_in_range(counts[1], 98, 102); // 10 % of a weight against 1
    now_ms += 5000;
    count_picks(1500, now());
    assert_in_range(counts[1], 495, 505); // 50 %
    now_ms += 5000;
    count_picks(1000, now());
    assert_in_range(counts[1], 495, 505);
}

static void passes_on_what_it_learned_and_starts_new_ones_slowly(void **state)
{
    (void)state;
    struct peri_upstream *old = upstream;
    add(2);
    seal();
    old->endpoints[1].load = (struct peri_ewma){.ns = 77.0, .at_ns = 5};
    upstream = peri_upstream_new(PERI_SLICE("users"));
    upstream->balance.slow_start_ms = 10000;
    add_to(upstream, 1, 1);
    add_to(upstream, 7, 1);
    seal();
    peri_upstream_inherit(upstream, old, now_ms);
    peri_upstream_free(old);
    assert_true(upstream->endpoints[0].load.ns == 77.0);
    count_picks(1100, now());
    assert_in_range(counts[1], 98, 102);
}

static void brings_a_client_back_to_its_endpoint(void **state)
{
    (void)state;
    struct peri_pick question = now();
    add(3);
    for (unsigned i = 0; i < 3; i++)
        upstream->endpoints[i].token = ((const struct peri_slice[]){{"aa", 2}, {"bb", 2}, {"cc", 2}})[i];
    seal();
    question.token = PERI_SLICE("bb");
    count_picks(10, question);
    assert_int_equal(counts[1], 10);
    question.token = PERI_SLICE("zz"); // nobody's
    count_picks(9, question);
    assert_true(counts[0] == 3 && counts[1] == 3 && counts[2] == 3);
    ill[1] = 1;
    question = (struct peri_pick){.now_ns = (now_ms + 1) * MS, .token = PERI_SLICE("bb")};
    count_picks(10, question);
    assert_true(counts[0] == 5 && counts[1] == 0 && counts[2] == 5);
    question.token = PERI_SLICE("cc");
    question.except = &upstream->endpoints[2];
    count_picks(10, question);
    assert_int_equal(counts[0], 10);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_upstream, close_upstream)
    const struct CMUnitTest tests[] = {
        TEST(passes_over_who_cannot_be_used),
        TEST(looks_at_once_after_a_failure),
        TEST(uses_all_in_panic),
        TEST(has_nobody_when_panic_is_off),
        TEST(fails_over_to_the_next_priority),
        TEST(asks_only_endpoints_with_the_labels),
        TEST(prefers_its_own_zone),
        TEST(leaves_its_zone_as_far_as_that_is_too_small),
        TEST(lets_who_was_away_start_slowly),
        TEST(passes_on_what_it_learned_and_starts_new_ones_slowly),
        TEST(brings_a_client_back_to_its_endpoint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
