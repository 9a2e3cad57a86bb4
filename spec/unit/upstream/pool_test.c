// SPDX-License-Identifier: MIT
// Pools: which addresses there are, which connections are kept, for how long, and what happens when the pool goes first.
#include "upstream_world.h"

#include "event/dns.h"

#define OK "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx"

static struct try tries[6];

static int open_world(void **state)
{
    world_open(state);
    for (unsigned i = 0; i < 6; i++)
        try_open(&tries[i]);
    return 0;
}

static int close_world(void **state)
{
    for (unsigned i = 0; i < 6; i++)
        try_free(&tries[i]);
    return world_close(state);
}

/// Starts try `i`, whose connection becomes origin `i`, and answers it when `is_answered`.
static void run(unsigned i, bool is_answered)
{
    unsigned before = world.count;
    try_start(&tries[i]);
    assert_int_equal(world.count, before + 1);
    if (is_answered)
        memory_peer_send(&world.origins[before], OK);
}

static void reuses_the_connection_that_was_used_last(void **state)
{
    (void)state;
    run(0, false);
    run(1, false);
    memory_peer_send(&world.origins[1], OK);
    memory_peer_send(&world.origins[0], OK);
    assert_int_equal(peri_pool_idle(world.pool), 2);
    try_start(&tries[2]);
    assert_string_equal(tries[2].log, "ready(reused) ");
    assert_string_equal(memory_peer_text(&world.origins[0]), GET_LINES GET_LINES);
    assert_string_equal(memory_peer_text(&world.origins[1]), GET_LINES);
    assert_int_equal(world.gauge, 2);
}

static void opens_a_new_one_when_a_fresh_one_is_wanted(void **state)
{
    (void)state;
    run(0, true);
    tries[1].attempt.wants_fresh = true;
    run(1, true);
    assert_string_equal(tries[1].log, "ready head(200,1) end ");
    assert_int_equal(peri_pool_idle(world.pool), 2);
}

static void keeps_no_more_than_its_bound(void **state)
{
    (void)state;
    run(0, false);
    run(1, false);
    run(2, false);
    for (unsigned i = 0; i < 3; i++)
        memory_peer_send(&world.origins[i], OK);
    assert_int_equal(peri_pool_idle(world.pool), 2);
    assert_true(world.origins[2].is_ended);
    assert_int_equal(world.gauge, 2);
}

static void closes_idle_connections_after_their_time(void **state)
{
    (void)state;
    run(0, true);
    peri_loop_advance(world.loop, 999);
    assert_int_equal(peri_pool_idle(world.pool), 1);
    try_start(&tries[1]); // in use: the time does not run
    assert_string_equal(tries[1].log, "ready(reused) ");
    peri_loop_advance(world.loop, 5000);
    assert_false(world.origins[0].is_ended);
    memory_peer_send(&world.origins[0], OK);
    peri_loop_advance(world.loop, 999);
    assert_int_equal(peri_pool_idle(world.pool), 1);
    peri_loop_advance(world.loop, 1);
    assert_int_equal(peri_pool_idle(world.pool), 0);
    assert_true(world.origins[0].is_ended);
}

static void closes_a_connection_after_its_last_request(void **state)
{
    (void)state;
    struct peri_pool_settings settings = world_settings();
    settings.max_requests = 2;
    struct peri_pool *pool = peri_pools_get(world.pools, PERI_SLICE("origin:80"), &settings);
    for (unsigned i = 0; i < 3; i++) {
        tries[i].attempt.pool = pool;
        try_start(&tries[i]);
        memory_peer_send(&world.origins[i / 2], OK);
    }
    assert_int_equal(world.count, 2);
    assert_true(world.origins[0].is_ended);
    assert_int_equal(peri_pool_idle(pool), 1);
    peri_pool_release(pool);
}

static void sees_that_an_idle_connection_was_closed(void **state)
{
    (void)state;
    run(0, true);
    memory_peer_close(&world.origins[0]);
    assert_int_equal(peri_pool_idle(world.pool), 0);
    run(1, true);
    assert_string_equal(tries[1].log, "ready head(200,1) end ");
}

static void trusts_no_connection_that_sends_unasked(void **state)
{
    (void)state;
    run(0, true);
    memory_peer_send(&world.origins[0], OK); // a response for the next request, whoever that is
    assert_int_equal(peri_pool_idle(world.pool), 0);
    assert_true(world.origins[0].is_ended);
    run(1, true);
    assert_string_equal(tries[1].body, "x");
}

static void tells_a_stale_connection_from_a_broken_one(void **state)
{
    (void)state;
    run(0, true);
    peri_attempt_start(&tries[1].attempt); // in the same turn in which the origin closes
    peri_stream_close(world.origins[0].stream);
    settle(world.loop);
    assert_string_equal(tries[1].log, "ready(reused) error(upstream_reset) ");
    assert_true(tries[1].attempt.is_reused);
    assert_false(tries[1].attempt.has_bytes);
}

static void closes_its_idle_connections_when_nobody_holds_it_any_more(void **state)
{
    (void)state;
    run(0, true);
    tries[1].attempt.wants_fresh = true;
    run(1, false);
    peri_pool_release(world.pool);
    world.pool = NULL;
    settle(world.loop);
    assert_true(world.origins[0].is_ended);
    assert_false(world.origins[1].is_ended); // its attempt goes on
    memory_peer_send(&world.origins[1], OK);
    assert_true(tries[1].is_over && tries[1].err == PERI_OK);
    assert_true(world.origins[1].is_ended);
    assert_int_equal(world.gauge, 0);
}

static void may_be_freed_while_connections_are_still_open(void **state)
{
    (void)state;
    struct peri_pools *pools = world.pools;
    run(0, false);
    peri_pool_release(world.pool);
    world.pool = NULL;
    peri_pools_free(pools);
    world.pools =
        peri_pools_new(&(struct peri_pools_options){.loop = world.loop, .connect = world_connect, .data = &world});
    memory_peer_send(&world.origins[0], OK);
    assert_string_equal(tries[0].log, "ready head(200,1) end ");
}

static void is_found_again_while_its_last_connection_closes(void **state)
{
    (void)state;
    struct peri_pool_settings settings = world_settings();
    run(0, true);
    peri_pool_release(world.pool);
    struct peri_pool *again = peri_pools_get(world.pools, PERI_SLICE("origin:80"), &settings);
    assert_ptr_equal(again, world.pool);
    settle(world.loop);
    tries[1].attempt.pool = again;
    run(1, true);
    assert_int_equal(peri_pool_idle(again), 1);
}

static void is_shared_by_those_who_agree(void **state)
{
    (void)state;
    struct peri_pool_settings settings = world_settings();
    struct peri_pool *same = peri_pools_get(world.pools, PERI_SLICE("origin:80"), &settings);
    settings.idle_ms++;
    struct peri_pool *other = peri_pools_get(world.pools, PERI_SLICE("origin:80"), &settings);
    assert_ptr_equal(same, world.pool);
    assert_ptr_not_equal(other, world.pool);
    assert_true(peri_slice_eq(peri_pool_address(other), PERI_SLICE("origin:80")));
    peri_pool_release(same);
    peri_pool_release(other);
}

static void counts_the_attempts_of_an_upstream_under_whatever_settings(void **state)
{
    (void)state;
    int64_t ours = 0, theirs = 0;
    struct peri_pool_settings settings = world_settings(), changed = settings, foreign = settings;
    settings.open = changed.open = &ours;
    changed.idle_ms++;
    foreign.open = &theirs;
    struct peri_pool *before = peri_pools_get(world.pools, PERI_SLICE("other:80"), &settings);
    ++*peri_pool_active(before);
    struct peri_pool *after = peri_pools_get(world.pools, PERI_SLICE("other:80"), &changed);
    struct peri_pool *elsewhere = peri_pools_get(world.pools, PERI_SLICE("other:81"), &settings);
    struct peri_pool *apart = peri_pools_get(world.pools, PERI_SLICE("other:80"), &foreign);
    assert_ptr_not_equal(before, after);
    assert_int_equal(*peri_pool_active(after), 1);
    assert_int_equal(*peri_pool_active(elsewhere), 0);
    assert_int_equal(*peri_pool_active(apart), 0);
    peri_pool_release(before);
    assert_int_equal(*peri_pool_active(after), 1);
    before = peri_pools_get(world.pools, PERI_SLICE("other:80"), &settings);
    assert_int_equal(*peri_pool_active(before), 1);
    peri_pool_release(before);
    peri_pool_release(after);
    peri_pool_release(elsewhere);
    peri_pool_release(apart);
}

static void knows_addresses_from_what_is_none(void **state)
{
    (void)state;
    static const char *const good[] = {"127.0.0.1:80", "[::1]:65535", "shop.example:1", "unix:/run/a.sock"};
    static const char *const bad[] = {"",     "a",     "a:",   ":80",  "a:0", "a:65536", "a:99999999999999999999",
                                      "a:8x", "a: 80", "a:-1", "unix:"};
    struct peri_pool_settings settings = world_settings();
    for (unsigned i = 0; i < PERI_COUNT(good); i++) {
        struct peri_pool *pool = peri_pools_get(world.pools, peri_slice_from(good[i]), &settings);
        assert_non_null(pool);
        assert_true(peri_slice_eq(peri_pool_address(pool), peri_slice_from(good[i])));
        peri_pool_release(pool);
    }
    for (unsigned i = 0; i < PERI_COUNT(bad); i++)
        if (peri_pools_get(world.pools, peri_slice_from(bad[i]), &settings))
            fail_msg("'%s' was taken for an address", bad[i]);
}

static void reports_a_name_that_cannot_be_resolved_from_the_loop(void **state)
{
    (void)state;
    char address[400];
    struct peri_dns *dns = peri_dns_new(world.loop);
    struct peri_pools *pools = peri_pools_new(&(struct peri_pools_options){.loop = world.loop, .dns = dns});
    struct peri_pool_settings settings = world_settings();
    snprintf(address, sizeof(address), "%0*d.example:80", 300, 0); // longer than any name
    struct peri_pool *pool = peri_pools_get(pools, peri_slice_from(address), &settings);
    tries[0].attempt.pool = tries[1].attempt.pool = pool;
    peri_attempt_start(&tries[0].attempt);
    assert_string_equal(tries[0].log, "");
    settle(world.loop);
    assert_string_equal(tries[0].log, "error(resolve_failed) ");
    peri_attempt_start(&tries[1].attempt);
    try_cancel(&tries[1]);
    settle(world.loop);
    peri_pool_release(pool);
    peri_pools_free(pools);
    peri_dns_free(dns);
}

static void resolves_no_names_without_a_resolver(void **state)
{
    (void)state;
    struct peri_pools *pools = peri_pools_new(&(struct peri_pools_options){.loop = world.loop});
    struct peri_pool_settings settings = world_settings();
    struct peri_pool *pool = peri_pools_get(pools, PERI_SLICE("shop.example:80"), &settings);
    tries[0].attempt.pool = pool;
    try_start(&tries[0]);
    assert_string_equal(tries[0].log, "error(resolve_failed) ");
    peri_pool_release(pool);
    peri_pools_free(pools);
}

static void says_so_when_memory_is_out(void **state)
{
    (void)state;
    struct peri_pool_settings settings = world_settings();
    fail_alloc_all();
    struct peri_pool *pool = peri_pools_get(world.pools, PERI_SLICE("other:80"), &settings);
    struct peri_pools *pools = peri_pools_new(&(struct peri_pools_options){.loop = world.loop});
    fail_alloc_stop();
    assert_null(pool);
    assert_null(pools);
    for (unsigned n = 1; n <= 3; n++) {
        fail_alloc_at(n);
        pool = peri_pools_get(world.pools, PERI_SLICE("other:80"), &settings);
        fail_alloc_stop();
        assert_null(pool);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)
    const struct CMUnitTest tests[] = {
        TEST(reuses_the_connection_that_was_used_last),
        TEST(opens_a_new_one_when_a_fresh_one_is_wanted),
        TEST(keeps_no_more_than_its_bound),
        TEST(closes_idle_connections_after_their_time),
        TEST(closes_a_connection_after_its_last_request),
        TEST(sees_that_an_idle_connection_was_closed),
        TEST(trusts_no_connection_that_sends_unasked),
        TEST(tells_a_stale_connection_from_a_broken_one),
        TEST(closes_its_idle_connections_when_nobody_holds_it_any_more),
        TEST(may_be_freed_while_connections_are_still_open),
        TEST(is_found_again_while_its_last_connection_closes),
        TEST(is_shared_by_those_who_agree),
        TEST(counts_the_attempts_of_an_upstream_under_whatever_settings),
        TEST(knows_addresses_from_what_is_none),
        TEST(reports_a_name_that_cannot_be_resolved_from_the_loop),
        TEST(resolves_no_names_without_a_resolver),
        TEST(says_so_when_memory_is_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
