// SPDX-License-Identifier: MIT
// Streams over a memory pair: bytes in order, bounds in both directions, an orderly end.
#include "event/stream.h"

#include "memory_peer.h"

static struct peri_loop *loop;
static struct memory_peer left, right;

static int open_pair(void **state)
{
    (void)state;
    struct peri_stream *pair[2];
    loop = peri_loop_new(true);
    if (!loop || !peri_stream_open_pair(loop, pair))
        return -1;
    memory_peer_open(&left, loop, pair[0]);
    memory_peer_open(&right, loop, pair[1]);
    return 0;
}

static int close_pair(void **state)
{
    (void)state;
    memory_peer_free(&left);
    memory_peer_free(&right);
    assert_int_equal(peri_loop_streams(loop), 0);
    assert_int_equal(peri_loop_timers(loop), 0);
    peri_loop_free(loop);
    return 0;
}

static char pattern(size_t at)
{
    return (char)('0' + at * 31 % 64);
}

static void assert_pattern(const struct memory_peer *peer, size_t len)
{
    assert_int_equal(peer->len, len);
    for (size_t i = 0; i < len; i++)
        if (peer->in[i] != pattern(i))
            fail_msg("byte %zu of %zu is wrong", i, len);
}

static char *make_pattern(size_t from, size_t len)
{
    char *text = malloc(len);
    for (size_t i = 0; i < len; i++)
        text[i] = pattern(from + i);
    return text;
}

static void carries_bytes_both_ways(void **state)
{
    (void)state;
    memory_peer_send(&left, "hello");
    memory_peer_send(&right, "hi");
    memory_peer_send(&left, ", you");
    assert_string_equal(memory_peer_text(&right), "hello, you");
    assert_string_equal(memory_peer_text(&left), "hi");
}

static void joins_small_writes_of_one_turn(void **state)
{
    (void)state;
    peri_stream_write(left.stream, PERI_SLICE("a"));
    peri_stream_write(left.stream, PERI_SLICE("b"));
    assert_int_equal(peri_stream_pending(left.stream), 2);
    assert_int_equal(right.len, 0);
    settle(loop);
    assert_string_equal(memory_peer_text(&right), "ab");
    assert_int_equal(peri_stream_pending(left.stream), 0);
}

static void keeps_the_order_whatever_the_sizes(void **state)
{
    (void)state;
    size_t sent = 0;
    for (size_t round = 0; round < 300; round++) {
        size_t len = 1 + round * 7919 % 9000;
        char *text = make_pattern(sent, len);
        peri_stream_write(left.stream, peri_slice(text, len));
        free(text);
        sent += len;
        if (round % 7 == 0)
            peri_loop_turn(loop);
        if (round % 11 == 0)
            peri_stream_flush(left.stream);
    }
    settle(loop);
    assert_pattern(&right, sent);
}

static void lets_reserved_room_be_filled_in_place(void **state)
{
    (void)state;
    size_t sent = 0;
    for (size_t round = 0; round < 40; round++) {
        size_t len = 1 + round * 613 % PERI_STREAM_RESERVE;
        char *room = peri_stream_reserve(left.stream, len);
        if (!room) {
            settle(loop);
            room = peri_stream_reserve(left.stream, len);
        }
        assert_non_null(room);
        for (size_t i = 0; i < len; i++)
            room[i] = pattern(sent + i);
        peri_stream_commit(left.stream, len);
        sent += len;
    }
    settle(loop);
    assert_pattern(&right, sent);
}

static void queues_what_a_slow_reader_leaves_and_tells_when_it_drained(void **state)
{
    (void)state;
    size_t total = 300000;
    char *text = make_pattern(0, total);
    peri_stream_read_stop(right.stream);
    peri_stream_write(left.stream, peri_slice(text, total));
    free(text);
    settle(loop);
    assert_true(peri_stream_pending(left.stream) >= PERI_STREAM_HIGH);
    assert_true(peri_stream_pending(left.stream) < total);
    assert_null(peri_stream_reserve(left.stream, 10));
    assert_int_equal(left.drains, 0);
    assert_int_equal(right.len, 0);
    peri_stream_read_start(right.stream);
    settle(loop);
    assert_int_equal(left.drains, 1);
    assert_pattern(&right, total);
}

static void does_not_speak_of_draining_below_the_high_mark(void **state)
{
    (void)state;
    char *text = make_pattern(0, 100000);
    peri_stream_read_stop(right.stream);
    peri_stream_write(left.stream, peri_slice(text, 100000)); // 64 KiB are in flight, the rest is below the mark
    free(text);
    settle(loop);
    assert_in_range(peri_stream_pending(left.stream), 1, PERI_STREAM_HIGH - 1);
    peri_stream_read_start(right.stream);
    settle(loop);
    assert_int_equal(left.drains, 0);
    assert_pattern(&right, 100000);
}

static void reads_nothing_while_it_is_stopped_not_even_the_end(void **state)
{
    (void)state;
    peri_stream_read_stop(right.stream);
    memory_peer_send(&left, "late");
    memory_peer_end(&left);
    assert_int_equal(right.len, 0);
    assert_false(right.is_ended);
    peri_stream_read_start(right.stream);
    settle(loop);
    assert_string_equal(memory_peer_text(&right), "late");
    assert_true(right.is_ended);
    assert_int_equal(right.end, PERI_OK);
}

static void ends_one_direction_after_everything_was_sent(void **state)
{
    (void)state;
    char *text = make_pattern(0, 200000);
    peri_stream_write(left.stream, peri_slice(text, 200000));
    free(text);
    peri_stream_shutdown(left.stream);
    settle(loop);
    assert_pattern(&right, 200000);
    assert_true(right.is_ended);
    assert_int_equal(right.end, PERI_OK);
    memory_peer_send(&right, "still here");
    assert_string_equal(memory_peer_text(&left), "still here");
    assert_false(left.is_ended);
}

static void tells_a_close_from_an_abrupt_end(void **state)
{
    (void)state;
    memory_peer_send(&left, "bye");
    memory_peer_close(&left);
    assert_string_equal(memory_peer_text(&right), "bye");
    assert_int_equal(right.end, PERI_OK);
    assert_null(left.stream);
}

static void reports_a_reset_as_broken(void **state)
{
    (void)state;
    peri_stream_reset(left.stream);
    settle(loop);
    assert_true(right.is_ended);
    assert_int_equal(right.end, PERI_ERR_CLOSED);
}

static void breaks_when_the_peer_left_bytes_unread(void **state)
{
    (void)state;
    peri_stream_read_stop(left.stream);
    memory_peer_send(&right, "never read");
    memory_peer_close(&left);
    assert_true(right.is_ended);
    assert_int_equal(right.end, PERI_ERR_CLOSED);
}

static void reports_a_write_to_nobody_once_from_the_loop(void **state)
{
    (void)state;
    peri_stream_read_stop(left.stream);
    memory_peer_close(&right);
    assert_int_equal(peri_stream_write(left.stream, PERI_SLICE("x")), PERI_OK);
    assert_false(left.is_ended);
    settle(loop);
    assert_true(left.is_ended);
    assert_int_equal(left.end, PERI_ERR_CLOSED);
    assert_int_equal(peri_stream_write(left.stream, PERI_SLICE("y")), PERI_OK);
    peri_stream_shutdown(left.stream);
    settle(loop);
    assert_int_equal(peri_stream_pending(left.stream), 0);
}

static void reports_that_it_broke_after_its_peer_had_ended_its_direction(void **state)
{
    (void)state;
    memory_peer_end(&right);
    assert_int_equal(left.end, PERI_OK);
    memory_peer_reset(&right);
    peri_stream_write(left.stream, PERI_SLICE("x"));
    settle(loop);
    assert_int_equal(left.end, PERI_ERR_CLOSED);
}

static void drops_what_is_pending_when_it_is_closed_and_may_be_closed_twice(void **state)
{
    (void)state;
    peri_stream_write(left.stream, PERI_SLICE("lost"));
    peri_stream_close(left.stream);
    peri_stream_close(left.stream);
    peri_stream_close_gently(left.stream, 1000, true);
    assert_non_null(left.stream); // on_close comes from the loop
    settle(loop);
    assert_null(left.stream);
    assert_int_equal(right.len, 0);
    assert_true(right.is_ended);
}

static void closes_gently_after_everything_was_sent(void **state)
{
    (void)state;
    char *text = make_pattern(0, 250000);
    peri_stream_write(left.stream, peri_slice(text, 250000));
    free(text);
    peri_stream_close_gently(left.stream, 1000, false);
    assert_non_null(left.stream);
    settle(loop);
    assert_pattern(&right, 250000);
    assert_int_equal(right.end, PERI_OK);
    assert_null(left.stream);
}

static void closes_gently_at_the_latest_when_its_time_is_over(void **state)
{
    (void)state;
    char *text = make_pattern(0, 250000);
    peri_stream_read_stop(right.stream);
    peri_stream_write(left.stream, peri_slice(text, 250000));
    free(text);
    peri_stream_close_gently(left.stream, 1000, false);
    peri_loop_advance(loop, 999);
    assert_non_null(left.stream);
    peri_loop_advance(loop, 1);
    assert_null(left.stream);
}

static void reads_a_peer_out_before_it_closes(void **state)
{
    (void)state;
    memory_peer_put(&left, PERI_SLICE("answer"));
    peri_stream_close_gently(left.stream, 1000, true);
    settle(loop);
    assert_non_null(left.stream);
    assert_string_equal(memory_peer_text(&right), "answer");
    assert_true(right.is_ended);
    memory_peer_send(&right, "the rest of a request that nobody wants");
    assert_int_equal(left.len, 0);
    assert_non_null(left.stream);
    memory_peer_end(&right);
    assert_null(left.stream);
}

static void waits_for_a_silent_peer_no_longer_than_told(void **state)
{
    (void)state;
    peri_stream_close_gently(left.stream, 2000, true);
    settle(loop);
    peri_loop_advance(loop, 1999);
    assert_non_null(left.stream);
    peri_loop_advance(loop, 1);
    assert_null(left.stream);
}

static void closes_gently_at_once_when_the_peer_has_ended(void **state)
{
    (void)state;
    memory_peer_end(&right);
    assert_true(left.is_ended);
    peri_stream_close_gently(left.stream, 2000, true);
    settle(loop);
    assert_null(left.stream);
}

static void names_its_peer(void **state)
{
    (void)state;
    char ip[46];
    uint16_t port = 9;
    peri_stream_peer(left.stream, ip, &port);
    assert_string_equal(ip, "memory");
    assert_int_equal(port, 0);
    assert_int_equal(peri_stream_set_peer(left.stream, PERI_SLICE("192.0.2.7"), 81), PERI_OK);
    peri_stream_peer(left.stream, ip, &port);
    assert_string_equal(ip, "192.0.2.7");
    assert_int_equal(port, 81);
    const struct peri_slice long_text = PERI_SLICE("1234567890123456789012345678901234567890123456789");
    assert_int_equal(peri_stream_set_peer(left.stream, long_text, 82), PERI_OK);
    peri_stream_peer(left.stream, ip, &port);
    assert_int_equal(strlen(ip), 45);
    assert_int_equal(port, 82);
}

static void names_the_address_that_a_proxy_was_asked_for(void **state)
{
    (void)state;
    char ip[46];
    uint16_t port = 9;
    peri_stream_local(left.stream, ip, &port);
    assert_string_equal(ip, "memory");
    assert_int_equal(port, 0);
    assert_int_equal(peri_stream_set_local(left.stream, PERI_SLICE("198.51.100.7"), 443), PERI_OK);
    peri_stream_local(left.stream, ip, &port);
    assert_string_equal(ip, "198.51.100.7");
    assert_int_equal(port, 443);
    peri_stream_peer(left.stream, ip, &port);
    assert_string_equal(ip, "memory");
}

static void keeps_the_peer_that_it_has_when_memory_is_out(void **state)
{
    (void)state;
    char ip[46];
    uint16_t port;
    fail_alloc_at(1);
    assert_int_equal(peri_stream_set_peer(left.stream, PERI_SLICE("192.0.2.7"), 81), PERI_ERR_NOMEM);
    fail_alloc_stop();
    peri_stream_peer(left.stream, ip, &port);
    assert_string_equal(ip, "memory");
}

static void on_read_and_give_away(struct peri_stream *stream, struct peri_slice data)
{
    peri_stream_set_owner(stream, &memory_peer_events, &left);
    peri_stream_hand_on(stream, peri_slice(data.ptr + 4, data.len - 4));
}

static void on_close_of_nobody(struct peri_stream *stream)
{
    (void)stream;
    fail_msg("the first owner was told of the end");
}

static void hands_bytes_on_to_the_next_owner(void **state)
{
    (void)state;
    static const struct peri_stream_events first = {.on_read = on_read_and_give_away, .on_close = on_close_of_nobody};
    peri_stream_set_owner(left.stream, &first, NULL);
    memory_peer_send(&right, "for us");
    assert_string_equal(memory_peer_text(&left), "us");
    memory_peer_send(&right, " two");
    assert_string_equal(memory_peer_text(&left), "us two");
    peri_stream_set_owner(left.stream, &first, NULL);
    memory_peer_send(&right, "for ");
    assert_string_equal(memory_peer_text(&left), "us two");
}

// A response with a hole in it would be taken for another one: whatever fails, what arrives is a prefix of what was sent.
static void sends_no_bytes_behind_bytes_that_memory_was_out_for(void **state)
{
    for (unsigned n = 1; n < 40; n++) {
        if (n > 1)
            open_pair(state);
        size_t sent = 0;
        peri_stream_read_stop(right.stream);
        char *parts[12];
        for (unsigned i = 0; i < 12; i++) {
            parts[i] = make_pattern(sent, 1000 + 7000 * i);
            sent += 1000 + 7000 * i;
        }
        fail_alloc_at(n);
        for (unsigned i = 0; i < 12; i++) {
            peri_stream_write(left.stream, peri_slice(parts[i], 1000 + 7000 * i));
            peri_loop_turn(loop);
        }
        bool has_failed = fail_alloc_stop();
        for (unsigned i = 0; i < 12; i++)
            free(parts[i]);
        peri_stream_read_start(right.stream);
        settle(loop);
        assert_pattern(&right, right.len);
        assert_true(right.len == sent || (has_failed && left.is_ended));
        if (!has_failed)
            return;
        close_pair(state);
    }
    fail_msg("forty allocations were not enough");
}

static void opens_no_half_pair(void **state)
{
    (void)state;
    for (unsigned n = 1; n <= 2; n++) {
        struct peri_stream *pair[2];
        fail_alloc_at(n);
        bool is_open = peri_stream_open_pair(loop, pair);
        fail_alloc_stop();
        assert_false(is_open);
        assert_int_equal(peri_loop_streams(loop), 2);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_pair, close_pair)
    const struct CMUnitTest tests[] = {
        TEST(carries_bytes_both_ways),
        TEST(joins_small_writes_of_one_turn),
        TEST(keeps_the_order_whatever_the_sizes),
        TEST(lets_reserved_room_be_filled_in_place),
        TEST(queues_what_a_slow_reader_leaves_and_tells_when_it_drained),
        TEST(does_not_speak_of_draining_below_the_high_mark),
        TEST(reads_nothing_while_it_is_stopped_not_even_the_end),
        TEST(ends_one_direction_after_everything_was_sent),
        TEST(tells_a_close_from_an_abrupt_end),
        TEST(reports_a_reset_as_broken),
        TEST(breaks_when_the_peer_left_bytes_unread),
        TEST(reports_a_write_to_nobody_once_from_the_loop),
        TEST(reports_that_it_broke_after_its_peer_had_ended_its_direction),
        TEST(drops_what_is_pending_when_it_is_closed_and_may_be_closed_twice),
        TEST(closes_gently_after_everything_was_sent),
        TEST(closes_gently_at_the_latest_when_its_time_is_over),
        TEST(reads_a_peer_out_before_it_closes),
        TEST(waits_for_a_silent_peer_no_longer_than_told),
        TEST(closes_gently_at_once_when_the_peer_has_ended),
        TEST(names_its_peer),
        TEST(names_the_address_that_a_proxy_was_asked_for),
        TEST(keeps_the_peer_that_it_has_when_memory_is_out),
        TEST(hands_bytes_on_to_the_next_owner),
        TEST(sends_no_bytes_behind_bytes_that_memory_was_out_for),
        TEST(opens_no_half_pair),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
