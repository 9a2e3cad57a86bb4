// SPDX-License-Identifier: MIT
// Two streams joined: bytes, back-pressure, ends of one direction and of both, breaks, and time. Both far ends are the test's.
#include "proxy/relay.h"

#include "memory_peer.h"

static struct {
    struct peri_loop *loop;
    struct memory_peer far[2]; ///< by side
    struct peri_relay relay;
    uint64_t counts[2];
    unsigned overs;
    peri_err_t err;
    unsigned closes;
} world;

static void on_over(struct peri_relay *relay, peri_err_t err)
{
    assert_ptr_equal(relay, &world.relay);
    assert_int_equal(world.closes, 0);
    world.overs++;
    world.err = err;
}

static void on_closed(struct peri_relay *relay, int side)
{
    assert_null(relay->sides[side].stream);
    world.closes++;
}

static const struct peri_relay_events events = {.on_over = on_over, .on_closed = on_closed};

static int open_world(void **state)
{
    (void)state;
    struct peri_stream *pairs[2][2];
    memset(&world, 0, sizeof(world));
    world.loop = peri_loop_new(true);
    for (int i = 0; i < 2; i++) {
        assert_true(peri_stream_open_pair(world.loop, pairs[i]));
        memory_peer_open(&world.far[i], world.loop, pairs[i][0]);
        world.relay.sides[i].count = &world.counts[i];
    }
    peri_relay_start(&world.relay, world.loop, &events, pairs[PERI_RELAY_CLIENT][1], pairs[PERI_RELAY_UPSTREAM][1],
                     1000);
    return 0;
}

static int close_world(void **state)
{
    (void)state;
    peri_relay_close(&world.relay);
    settle(world.loop);
    assert_int_equal(world.closes, 2);
    for (int i = 0; i < 2; i++)
        memory_peer_free(&world.far[i]);
    assert_int_equal(peri_loop_timers(world.loop), 0);
    peri_loop_free(world.loop);
    return 0;
}

static struct memory_peer *client(void)
{
    return &world.far[PERI_RELAY_CLIENT];
}

static struct memory_peer *upstream(void)
{
    return &world.far[PERI_RELAY_UPSTREAM];
}

static void passes_and_counts_bytes_in_both_directions(void **state)
{
    (void)state;
    memory_peer_send(client(), "question");
    memory_peer_send(upstream(), "answer");
    assert_string_equal(memory_peer_text(upstream()), "question");
    assert_string_equal(memory_peer_text(client()), "answer");
    assert_int_equal(world.counts[PERI_RELAY_CLIENT], 8);
    assert_int_equal(world.relay.sides[PERI_RELAY_UPSTREAM].bytes, 6);
    assert_int_equal(world.overs, 0);
}

static void puts_what_was_read_before_in_front(void **state)
{
    (void)state;
    peri_relay_put(&world.relay, PERI_RELAY_CLIENT, PERI_SLICE("early "));
    memory_peer_send(client(), "late");
    assert_string_equal(memory_peer_text(upstream()), "early late");
    assert_int_equal(world.counts[PERI_RELAY_CLIENT], 10);
}

static void passes_the_end_of_one_direction_and_leaves_the_other_open(void **state)
{
    (void)state;
    memory_peer_put(client(), PERI_SLICE("last"));
    memory_peer_end(client());
    assert_string_equal(memory_peer_text(upstream()), "last");
    assert_true(upstream()->is_ended);
    assert_int_equal(upstream()->end, PERI_OK);
    assert_false(client()->is_ended);
    memory_peer_send(upstream(), "still here");
    assert_string_equal(memory_peer_text(client()), "still here");
    assert_int_equal(world.overs, 0);
}

static void is_over_when_both_have_ended(void **state)
{
    (void)state;
    memory_peer_end(upstream());
    memory_peer_put(client(), PERI_SLICE("last"));
    memory_peer_end(client());
    assert_string_equal(memory_peer_text(upstream()), "last");
    assert_int_equal(world.overs, 1);
    assert_int_equal(world.err, PERI_OK);
    assert_int_equal(world.closes, 2);
    assert_int_equal(client()->end, PERI_OK);
}

static void a_break_of_one_side_is_a_break_of_the_other(void **state)
{
    (void)state;
    memory_peer_reset(client());
    assert_int_equal(world.overs, 1);
    assert_int_equal(world.err, PERI_ERR_CLIENT_GONE);
    assert_true(upstream()->is_ended);
    assert_int_equal(upstream()->end, PERI_ERR_CLOSED);
}

static void a_break_of_the_upstream_is_named_so(void **state)
{
    (void)state;
    memory_peer_reset(upstream());
    assert_int_equal(world.err, PERI_ERR_UPSTREAM_RESET);
    assert_int_equal(client()->end, PERI_ERR_CLOSED);
}

static void a_break_after_the_end_of_the_other_direction_is_seen(void **state)
{
    (void)state;
    memory_peer_end(client());
    memory_peer_reset(upstream());
    assert_int_equal(world.overs, 1);
    assert_int_equal(world.err, PERI_ERR_UPSTREAM_RESET);
}

static void a_side_that_takes_nothing_stops_the_other(void **state)
{
    (void)state;
    static char block[16 * 1024];
    size_t sent = 0;
    peri_stream_read_stop(client()->stream);
    memset(block, 'x', sizeof(block));
    while (peri_stream_pending(upstream()->stream) == 0) {
        memory_peer_put(upstream(), peri_slice(block, sizeof(block)));
        sent += sizeof(block);
        settle(world.loop);
        assert_true(sent < 1024 * 1024);
    }
    assert_true(world.relay.sides[PERI_RELAY_UPSTREAM].is_stopped);
    assert_true(peri_stream_pending(world.relay.sides[PERI_RELAY_CLIENT].stream) <= 2 * PERI_STREAM_HIGH);
    peri_stream_read_start(client()->stream);
    settle(world.loop);
    assert_int_equal(client()->len, sent);
    assert_false(world.relay.sides[PERI_RELAY_UPSTREAM].is_stopped);
}

static void bytes_in_either_direction_put_the_idle_time_off(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        peri_loop_advance(world.loop, 900);
        memory_peer_send(i % 2 ? client() : upstream(), "x");
    }
    assert_int_equal(world.overs, 0);
    peri_loop_advance(world.loop, 1100);
    settle(world.loop);
    assert_int_equal(world.overs, 1);
    assert_int_equal(world.err, PERI_ERR_IDLE_TIMEOUT);
    assert_int_equal(client()->end, PERI_ERR_CLOSED);
    assert_int_equal(upstream()->end, PERI_ERR_CLOSED);
}

static void says_nothing_when_it_is_closed_by_its_owner(void **state)
{
    (void)state;
    peri_relay_close(&world.relay);
    settle(world.loop);
    assert_int_equal(world.overs, 0);
    assert_int_equal(world.closes, 2);
    assert_int_equal(client()->end, PERI_ERR_CLOSED);
}

#define test(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(passes_and_counts_bytes_in_both_directions),
        test(puts_what_was_read_before_in_front),
        test(passes_the_end_of_one_direction_and_leaves_the_other_open),
        test(is_over_when_both_have_ended),
        test(a_break_of_one_side_is_a_break_of_the_other),
        test(a_break_of_the_upstream_is_named_so),
        test(a_break_after_the_end_of_the_other_direction_is_seen),
        test(a_side_that_takes_nothing_stops_the_other),
        test(bytes_in_either_direction_put_the_idle_time_off),
        test(says_nothing_when_it_is_closed_by_its_owner),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
