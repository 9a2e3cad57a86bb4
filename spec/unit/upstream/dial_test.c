// SPDX-License-Identifier: MIT
// Connections that are given away: refused, too slow, called off, without memory, and whole.
#include "upstream/dial.h"

#include "upstream_world.h"

#define origin (&world.origins[0])

static struct {
    struct peri_dial *dial;
    struct peri_stream *stream; ///< that was given; NULL once closed
    unsigned calls;
    peri_err_t err;
} given;

static void on_done(void *data, peri_err_t err, struct peri_stream *stream)
{
    assert_ptr_equal(data, &given);
    assert_true((err == PERI_OK) == (stream != NULL));
    given.calls++;
    given.err = err;
    given.stream = stream;
    if (err != PERI_OK)
        given.dial = NULL;
}

static void start(uint64_t connect_ms)
{
    given.dial = peri_dial_start(world.pool, connect_ms, on_done, &given);
    assert_int_equal(given.calls, 0); // nothing from inside the call
}

static int open_dial(void **state)
{
    memset(&given, 0, sizeof(given));
    return world_open(state);
}

static void on_stream_close(struct peri_stream *stream)
{
    assert_ptr_equal(stream, given.stream);
    given.stream = NULL;
    peri_dial_end(given.dial);
}

static void ignore_end(struct peri_stream *stream, peri_err_t err)
{
    (void)stream;
    (void)err;
}

static const struct peri_stream_events owner = {.on_end = ignore_end, .on_close = on_stream_close};

static void close_stream(void)
{
    peri_stream_set_owner(given.stream, &owner, NULL);
    peri_stream_close(given.stream);
    settle(world.loop);
    assert_null(given.stream);
}

static void a_refused_connection_is_told_and_gone(void **state)
{
    (void)state;
    world.refuses = true;
    start(500);
    assert_non_null(given.dial);
    settle(world.loop);
    assert_int_equal(given.calls, 1);
    assert_int_equal(given.err, PERI_ERR_CONNECT);
    assert_int_equal(peri_loop_timers(world.loop), 0);
}

static void a_connection_that_does_not_come_is_given_up_in_time(void **state)
{
    (void)state;
    world.is_silent = true;
    start(500);
    settle(world.loop);
    peri_loop_advance(world.loop, 499);
    settle(world.loop);
    assert_int_equal(given.calls, 0);
    assert_false(peri_dial_is_done(given.dial));
    peri_loop_advance(world.loop, 1);
    settle(world.loop);
    assert_int_equal(given.calls, 1);
    assert_int_equal(given.err, PERI_ERR_CONNECT_TIMEOUT);
}

static void a_dial_that_is_called_off_tells_nothing(void **state)
{
    (void)state;
    for (unsigned turns = 0; turns < 2; turns++) { // before the loop has turned, and while nothing comes
        world.is_silent = turns == 1;
        start(500);
        if (turns == 1)
            settle(world.loop);
        assert_false(peri_dial_is_done(given.dial));
        peri_dial_cancel(given.dial);
        settle(world.loop);
        peri_loop_advance(world.loop, 1000);
        settle(world.loop);
        assert_int_equal(given.calls, 0);
        assert_int_equal(peri_loop_timers(world.loop), 0);
    }
}

static void without_memory_there_is_no_dial_or_an_error_and_nothing_is_left(void **state)
{
    (void)state;
    for (unsigned n = 1;; n++) {
        memset(&given, 0, sizeof(given));
        fail_alloc_at(n);
        start(500);
        settle(world.loop);
        bool has_failed = fail_alloc_stop();
        if (given.dial && given.calls == 0)
            fail_msg("allocation %u: neither done nor failed", n);
        if (given.stream)
            close_stream();
        assert_int_equal(world.gauge, 0);
        if (!has_failed)
            return;
    }
}

static void a_stream_is_given_away_and_counts_until_its_end(void **state)
{
    (void)state;
    start(0);
    settle(world.loop);
    assert_int_equal(given.calls, 1);
    assert_int_equal(given.err, PERI_OK);
    assert_true(peri_dial_is_done(given.dial));
    assert_int_equal(world.gauge, 1);
    assert_int_equal(peri_loop_timers(world.loop), 0);
    peri_stream_write(given.stream, PERI_SLICE("hello"));
    settle(world.loop);
    assert_string_equal(memory_peer_text(origin), "hello");
    close_stream();
    assert_int_equal(world.gauge, 0);
    assert_int_equal(peri_pool_idle(world.pool), 0); // never kept for another use
}

static void a_stream_outlives_the_pool(void **state)
{
    (void)state;
    start(500);
    settle(world.loop);
    peri_pool_release(world.pool);
    world.pool = NULL;
    settle(world.loop);
    peri_stream_write(given.stream, PERI_SLICE("still"));
    settle(world.loop);
    assert_string_equal(memory_peer_text(origin), "still");
    close_stream();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_dial, world_close)
    const struct CMUnitTest tests[] = {
        TEST(a_refused_connection_is_told_and_gone),
        TEST(a_connection_that_does_not_come_is_given_up_in_time),
        TEST(a_dial_that_is_called_off_tells_nothing),
        TEST(without_memory_there_is_no_dial_or_an_error_and_nothing_is_left),
        TEST(a_stream_is_given_away_and_counts_until_its_end),
        TEST(a_stream_outlives_the_pool),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
