// SPDX-License-Identifier: MIT
// Clients of listeners that pass TCP on, until they are their owner's: the look at the ClientHello, and every way it may end.
#include "downstream/tcp.h"

#include "downstream_world.h"

#include "codec/client_hello.h"
#include "event/tls.h"

// Asks for "A.Test" and offers "h2".
#define HELLO                                                                                                          \
    "\x16\x03\x01\0\x47\x01\0\0\x43\x03\x03rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrr\0\0\x02\x13\x01\x01\0\0\x18"               \
    "\0\0\0\x0b\0\x09\0\0\x06"                                                                                         \
    "A.Test\0\x10\0\x05\0\x03\x02h2"

static struct {
    struct peri_tcp *tcp; ///< the client that the owner has; NULL once it is over
    unsigned clients, drains, closes;
    peri_err_t err;
    bool refuses;
} owner;

static void on_stream_close(struct peri_stream *stream)
{
    struct peri_tcp *tcp = peri_stream_data(stream);
    assert_ptr_equal(tcp, owner.tcp);
    owner.tcp = NULL;
    peri_tcp_end(tcp);
}

static const struct peri_stream_events stream_events = {.on_close = on_stream_close};

static bool on_client(struct peri_tcp *tcp)
{
    assert_true(tcp->is_owned);
    owner.clients++;
    if (owner.refuses)
        return false;
    owner.tcp = tcp;
    peri_stream_set_owner(tcp->stream, &stream_events, tcp);
    return true;
}

static void on_drain_asked(struct peri_tcp *tcp)
{
    assert_ptr_equal(tcp, owner.tcp);
    owner.drains++;
}

static void on_close_asked(struct peri_tcp *tcp, peri_err_t err)
{
    owner.closes++;
    owner.err = err;
    peri_stream_close(tcp->stream);
}

static const struct peri_tcp_owner owner_ops = {
    .on_client = on_client, .drain = on_drain_asked, .close = on_close_asked};

static void open_listener(bool looks)
{
    struct peri_listener_settings settings = peri_listener_defaults();
    memset(&owner, 0, sizeof(owner));
    world_open_with(&settings);
    memory_peer_free(&world.client);
    peri_listener_set_tcp(world.listener, &owner_ops, NULL, looks);
    world_connect(&world.client);
}

static int open_looking(void **state)
{
    (void)state;
    open_listener(true);
    return 0;
}

static int open_plain(void **state)
{
    (void)state;
    open_listener(false);
    return 0;
}

static int close_tcp(void **state)
{
    world_close(state);
    assert_null(owner.tcp);
    return 0;
}

static void send_bytes(struct peri_slice data)
{
    memory_peer_put(&world.client, data);
    settle(world.loop);
}

static void assert_closed(void)
{
    assert_true(world.client.is_ended);
    assert_got("");
    assert_int_equal(peri_listener_connections(world.listener), 0);
    assert_int_equal(peri_loop_timers(world.loop), 0);
}

// What was read of the client is `data`, in one piece.
static void assert_seen(struct peri_slice data)
{
    char seen[1024];
    assert_non_null(owner.tcp);
    assert_int_equal(owner.tcp->seen.len, data.len);
    peri_buf_copy(&owner.tcp->seen, seen);
    assert_memory_equal(seen, data.ptr, data.len);
}

// ---- before the owner has it ----

static void a_client_that_says_nothing_is_given_up_in_time(void **state)
{
    (void)state;
    peri_loop_advance(world.loop, 9999);
    settle(world.loop);
    assert_false(world.client.is_ended);
    peri_loop_advance(world.loop, 1);
    settle(world.loop);
    assert_closed();
    assert_int_equal(owner.clients, 0);
}

static void a_client_that_goes_in_its_hello_leaves_nothing(void **state)
{
    (void)state;
    send_bytes(peri_slice(HELLO, 40));
    memory_peer_end(&world.client);
    assert_closed();
    assert_int_equal(owner.clients, 0);
}

static void a_client_that_breaks_off_in_its_hello_leaves_nothing(void **state)
{
    (void)state;
    send_bytes(peri_slice(HELLO, 40));
    memory_peer_reset(&world.client);
    assert_int_equal(peri_listener_connections(world.listener), 0);
    assert_int_equal(owner.clients, 0);
}

static void a_drain_and_the_end_close_what_is_looked_at(void **state)
{
    (void)state;
    send_bytes(peri_slice(HELLO, 40));
    peri_listener_drain(world.listener, NULL, NULL);
    settle(world.loop);
    assert_closed();
    assert_int_equal(owner.clients + owner.drains, 0);
}

static void the_end_of_the_listener_closes_what_is_looked_at(void **state)
{
    (void)state;
    send_bytes(peri_slice(HELLO, 40));
    peri_listener_close(world.listener);
    world.listener = NULL;
    settle(world.loop);
    assert_true(world.client.is_ended);
    assert_int_equal(owner.clients + owner.closes, 0);
}

static void an_owner_that_does_not_want_it_has_nothing_to_close(void **state)
{
    (void)state;
    owner.refuses = true;
    send_bytes(PERI_SLICE(HELLO));
    assert_int_equal(owner.clients, 1);
    assert_closed();
}

static void a_hello_without_end_is_passed_on_without_a_name(void **state)
{
    static char data[PERI_CLIENT_HELLO_SEEN + 1];
    (void)state;
    for (size_t at = 0; at < sizeof(data); at += 6) // records of one byte
        memcpy(data + at, "\x16\x03\x01\0\x01\x01", at + 6 <= sizeof(data) ? 6 : sizeof(data) - at);
    memory_peer_send_split(&world.client, peri_slice(data, sizeof(data)), 1000);
    assert_non_null(owner.tcp);
    assert_string_equal(owner.tcp->server_name, "");
    assert_true(owner.tcp->seen.len <= sizeof(data));
}

static void without_memory_a_client_is_closed_and_nothing_is_left(void **state)
{
    (void)state;
    for (unsigned n = 1;; n++) {
        struct memory_peer client;
        struct peri_stream *pair[2];
        assert_true(peri_stream_open_pair(world.loop, pair));
        memory_peer_open(&client, world.loop, pair[0]);
        peri_stream_write(pair[0], PERI_SLICE(HELLO));
        fail_alloc_at(n);
        peri_listener_adopt(world.listener, pair[1]);
        settle(world.loop);
        bool has_failed = fail_alloc_stop();
        if (!client.is_ended && !owner.tcp)
            fail_msg("allocation %u: neither closed nor passed on", n);
        if (owner.tcp)
            peri_stream_close(owner.tcp->stream);
        memory_peer_free(&client);
        assert_int_equal(peri_listener_connections(world.listener), 1); // the world's own client
        if (!has_failed)
            return;
    }
}

// ---- what the owner gets ----

static void without_a_look_a_client_is_the_owners_at_once_and_nothing_is_read(void **state)
{
    (void)state;
    assert_int_equal(owner.clients, 1);
    send_bytes(PERI_SLICE(HELLO));
    assert_seen(PERI_SLICE(""));
    assert_string_equal(owner.tcp->server_name, "");
    assert_int_equal(owner.tcp->alpn_len, 0);
}

static void the_hello_says_the_name_in_lower_case_and_the_protocols(void **state)
{
    (void)state;
    send_bytes(PERI_SLICE(HELLO "more"));
    assert_seen(PERI_SLICE(HELLO "more"));
    assert_string_equal(owner.tcp->server_name, "a.test");
    assert_int_equal(owner.tcp->alpn_len, 3);
    assert_memory_equal(owner.tcp->alpn, "\x02h2", 3);
    assert_int_equal(peri_loop_timers(world.loop), 0);
    send_bytes(PERI_SLICE("later")); // the owner reads when it likes
    assert_seen(PERI_SLICE(HELLO "more"));
}

static void the_hello_may_come_byte_by_byte(void **state)
{
    (void)state;
    memory_peer_send_split(&world.client, PERI_SLICE(HELLO), 1);
    assert_int_equal(owner.clients, 1);
    assert_seen(PERI_SLICE(HELLO));
    assert_string_equal(owner.tcp->server_name, "a.test");
}

static void what_is_no_hello_has_no_name(void **state)
{
    (void)state;
    send_bytes(PERI_SLICE("G"));
    assert_seen(PERI_SLICE("G"));
    assert_string_equal(owner.tcp->server_name, "");
}

static void what_tls_agreed_on_says_the_name_too(void **state)
{
    struct peri_stream *pair[2];
    struct peri_tls_info *tls = calloc(1, sizeof(*tls));
    (void)state;
    tls->server_name = "B.Test";
    memory_peer_free(&world.client);
    settle(world.loop);
    assert_true(peri_stream_open_pair(world.loop, pair));
    memory_peer_open(&world.client, world.loop, pair[0]);
    peri_listener_adopt_agreed(world.listener, pair[1], tls);
    assert_non_null(owner.tcp); // nothing more to look at
    assert_string_equal(owner.tcp->server_name, "b.test");
}

static void a_drain_and_the_end_are_the_owners_matter(void **state)
{
    (void)state;
    peri_listener_drain(world.listener, NULL, NULL);
    settle(world.loop);
    assert_int_equal(owner.drains, 1);
    assert_false(world.client.is_ended);
    peri_listener_close(world.listener);
    world.listener = NULL;
    settle(world.loop);
    assert_int_equal(owner.closes, 1);
    assert_int_equal(owner.err, PERI_ERR_DRAINING);
    assert_true(world.client.is_ended);
}

int main(void)
{
#define LOOKING(name) cmocka_unit_test_setup_teardown(name, open_looking, close_tcp)
#define PLAIN(name) cmocka_unit_test_setup_teardown(name, open_plain, close_tcp)
    const struct CMUnitTest tests[] = {
        LOOKING(a_client_that_says_nothing_is_given_up_in_time),
        LOOKING(a_client_that_goes_in_its_hello_leaves_nothing),
        LOOKING(a_client_that_breaks_off_in_its_hello_leaves_nothing),
        LOOKING(a_drain_and_the_end_close_what_is_looked_at),
        LOOKING(the_end_of_the_listener_closes_what_is_looked_at),
        LOOKING(an_owner_that_does_not_want_it_has_nothing_to_close),
        LOOKING(a_hello_without_end_is_passed_on_without_a_name),
        LOOKING(without_memory_a_client_is_closed_and_nothing_is_left),
        PLAIN(without_a_look_a_client_is_the_owners_at_once_and_nothing_is_read),
        LOOKING(the_hello_says_the_name_in_lower_case_and_the_protocols),
        LOOKING(the_hello_may_come_byte_by_byte),
        LOOKING(what_is_no_hello_has_no_name),
        LOOKING(what_tls_agreed_on_says_the_name_too),
        PLAIN(a_drain_and_the_end_are_the_owners_matter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
