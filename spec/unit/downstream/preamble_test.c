// SPDX-License-Identifier: MIT
// PROXY headers in front of connections: whose are read, what the client is then, and what becomes of everything else.
#include "downstream_world.h"

#include "downstream/preamble.h"
#include "shared/metrics.h"

#define GET "GET / HTTP/1.1\r\nhost: a\r\n\r\n"
#define V1 "PROXY TCP4 203.0.113.9 198.51.100.7 51234 443\r\n"
#define V2 "\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xcb\x00\x71\x09\xc6\x33\x64\x07\xc8\x22\x01\xbb"
#define V2_LOCAL "\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00"

static struct peri_metrics_page *page;

static void trust(const char *entry)
{
    struct peri_trusted_proxies *proxies = peri_trusted_proxies_new();
    assert_non_null(proxies);
    assert_int_equal(peri_trusted_proxies_add(proxies, peri_slice_from(entry)), PERI_OK);
    peri_listener_set_proxies(world.listener, proxies);
}

// The test's client comes from `ip`.
static void come_from(const char *ip)
{
    struct peri_stream *pair[2];
    memory_peer_free(&world.client);
    assert_true(peri_stream_open_pair(world.loop, pair));
    assert_int_equal(peri_stream_set_peer(pair[1], peri_slice_from(ip), 4711), PERI_OK);
    memory_peer_open(&world.client, world.loop, pair[0]);
    peri_listener_adopt(world.listener, pair[1]);
    settle(world.loop);
}

// The exchanges so far are answered; the next is the first again.
static void forget_answers(void)
{
    memset(world.seen, 0, sizeof(world.seen));
    world.count = 0;
}

// Answers with the client's address, as the exchange has it.
static void answer_client(struct seen *s)
{
    char text[256];
    snprintf(text, sizeof(text), "%.*s %u", (int)s->x->client_ip.len, s->x->client_ip.ptr, (unsigned)s->x->peer.port);
    answer(s, 200, text);
}

static int open_trusting(void **state)
{
    world_open(state);
    page = calloc(1, sizeof(*page));
    assert_non_null(page);
    memory_peer_free(&world.client);
    peri_listener_set_metrics(world.listener, page);
    trust("10.0.0.0/8");
    come_from("10.1.2.3");
    world.on_body_end = answer_client;
    return 0;
}

static int close_trusting(void **state)
{
    world_close(state);
    assert_int_equal(page->connections, 0);
    free(page);
    return 0;
}

// The client got one response, and this is its body.
static void assert_answer(const char *body)
{
    const char *text = memory_peer_text(&world.client), *end = strstr(text, "\r\n\r\n");
    assert_int_equal(strncmp(text, "HTTP/1.1 200 ", 13), 0);
    assert_non_null(end);
    assert_string_equal(end + 4, body);
}

static void assert_closed_without_a_word(void)
{
    assert_true(world.client.is_ended);
    assert_got("");
    assert_int_equal(world.count, 0);
    assert_int_equal(peri_listener_connections(world.listener), 0);
}

// What came was no request to anybody, whether that was said or not.
static void assert_not_served(void)
{
    const char *text = memory_peer_text(&world.client);
    assert_true(world.client.is_ended);
    assert_true(text[0] == '\0' || strncmp(text, "HTTP/1.1 400 ", 13) == 0);
    assert_int_equal(world.count, 0);
}

static void send_bytes(struct peri_slice data)
{
    memory_peer_put(&world.client, data);
    settle(world.loop);
}

// ---- who the client is ----

static void takes_the_client_from_the_header(void **state)
{
    (void)state;
    send_bytes(PERI_SLICE(V1 GET));
    assert_answer("203.0.113.9 51234");
    assert_non_null(strstr(world.seen[0].headers, "x-forwarded-for: 203.0.113.9\n"));
    come_from("10.1.2.3");
    send_bytes(PERI_SLICE(V2 GET));
    assert_answer("203.0.113.9 51234");
    assert_int_equal(page->preambles_refused, 0);
}

static void reads_a_header_in_pieces_of_any_size(void **state)
{
    (void)state;
    const struct peri_slice inputs[] = {PERI_SLICE(V1 GET), PERI_SLICE(V2 GET)};
    for (unsigned i = 0; i < 2; i++) {
        for (size_t part = 1; part <= inputs[i].len; part += part < 60 ? 1 : 7) {
            forget_answers();
            come_from("10.1.2.3");
            memory_peer_send_split(&world.client, inputs[i], part);
            assert_answer("203.0.113.9 51234");
        }
        memory_peer_close(&world.client);
        assert_int_equal(peri_listener_connections(world.listener), 0);
    }
}

static void keeps_the_address_for_all_requests_of_a_connection(void **state)
{
    (void)state;
    send_bytes(PERI_SLICE(V1 GET));
    memory_peer_forget(&world.client);
    memory_peer_send(&world.client, GET);
    assert_answer("203.0.113.9 51234");
}

static void serves_a_client_that_has_sent_all_and_ended(void **state)
{
    (void)state;
    memory_peer_put(&world.client, PERI_SLICE(V1 GET));
    memory_peer_end(&world.client);
    assert_answer("203.0.113.9 51234");
}

static void leaves_the_address_when_the_header_has_none(void **state)
{
    (void)state;
    const struct peri_slice inputs[] = {PERI_SLICE(V2_LOCAL GET), PERI_SLICE("PROXY UNKNOWN\r\n" GET)};
    for (unsigned i = 0; i < 2; i++) {
        come_from("10.1.2.3");
        send_bytes(inputs[i]);
        assert_answer("10.1.2.3 4711");
    }
}

static void reads_one_header_and_takes_a_second_for_what_it_is(void **state)
{
    (void)state;
    send_bytes(PERI_SLICE(V1 V1 GET));
    assert_not_served();
}

// ---- whom it believes ----

static void believes_no_header_of_others(void **state)
{
    (void)state;
    const struct peri_slice inputs[] = {PERI_SLICE(V1 GET), PERI_SLICE(V2 GET)};
    for (unsigned i = 0; i < 2; i++) {
        come_from("192.0.2.77");
        send_bytes(inputs[i]);
        assert_not_served();
    }
    assert_int_equal(page->preambles_refused, 0);
}

static void serves_others_as_they_are(void **state)
{
    (void)state;
    come_from("192.0.2.77");
    memory_peer_send(&world.client, GET);
    assert_answer("192.0.2.77 4711");
}

static void believes_unix_sockets_only_when_told(void **state)
{
    (void)state;
    come_from("unix");
    send_bytes(PERI_SLICE(V1 GET));
    assert_not_served();
    trust("unix");
    come_from("unix");
    send_bytes(PERI_SLICE(V1 GET));
    assert_answer("203.0.113.9 51234");
    come_from("10.1.2.3");
    memory_peer_send(&world.client, GET);
    assert_answer("10.1.2.3 4711");
}

static void believes_nobody_any_more_when_the_setting_is_gone(void **state)
{
    (void)state;
    peri_listener_set_proxies(world.listener, NULL);
    send_bytes(PERI_SLICE(V1 GET)); // came when it was in force
    assert_answer("203.0.113.9 51234");
    forget_answers();
    come_from("10.1.2.3");
    send_bytes(PERI_SLICE(V1 GET));
    assert_not_served();
}

static void knows_networks_from_what_is_none(void **state)
{
    (void)state;
    struct peri_trusted_proxies *proxies = peri_trusted_proxies_new();
    assert_int_equal(peri_trusted_proxies_add(proxies, PERI_SLICE("10.0.0.1/8")), PERI_ERR_INVALID);
    assert_int_equal(peri_trusted_proxies_add(proxies, PERI_SLICE("proxy.example")), PERI_ERR_INVALID);
    assert_int_equal(peri_trusted_proxies_add(proxies, PERI_SLICE("2001:db8::/32")), PERI_OK);
    peri_trusted_proxies_free(proxies);
}

// ---- what trusted proxies may not do ----

static void closes_a_trusted_proxy_that_sends_no_header(void **state)
{
    (void)state;
    memory_peer_send(&world.client, GET);
    assert_closed_without_a_word();
    assert_int_equal(page->preambles_refused, 1);
}

static void closes_headers_that_are_malformed_or_too_long(void **state)
{
    (void)state;
    char endless[200];
    memset(endless, ' ', sizeof(endless));
    memcpy(endless, "PROXY UNKNOWN", 13);
    const struct peri_slice inputs[] = {
        PERI_SLICE("PROXY TCP4 203.0.113.9 198.51.100.7 51234\r\n" GET),
        PERI_SLICE("\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff\xcb\x00"),
        PERI_SLICE(
            "\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0f\xcb\x00\x71\x09\xc6\x33\x64\x07\xc8\x22\x01\xbb\x04\xff\xff" GET),
        peri_slice(endless, sizeof(endless)),
    };
    for (unsigned i = 0; i < sizeof(inputs) / sizeof(*inputs); i++) {
        for (size_t part = 1; part < 300; part += 149) { // by bytes, in parts, at once
            come_from("10.1.2.3");
            memory_peer_send_split(&world.client, inputs[i], part);
            assert_closed_without_a_word();
        }
    }
    assert_int_equal(page->preambles_refused, 3 * sizeof(inputs) / sizeof(*inputs));
}

static void closes_a_header_that_does_not_come_in_time(void **state)
{
    (void)state;
    send_bytes(PERI_SLICE("PROXY TCP4 "));
    peri_loop_advance(world.loop, 6000);
    send_bytes(PERI_SLICE("203.0.113.9 "));
    peri_loop_advance(world.loop, 3999);
    assert_false(world.client.is_ended);
    peri_loop_advance(world.loop, 1);
    settle(world.loop);
    assert_closed_without_a_word();
    assert_int_equal(page->preambles_refused, 1);
}

static void gives_the_request_its_own_time(void **state)
{
    (void)state;
    peri_loop_advance(world.loop, 9000);
    send_bytes(PERI_SLICE(V1));
    peri_loop_advance(world.loop, 9000);
    send_bytes(PERI_SLICE(GET));
    assert_answer("203.0.113.9 51234");
}

static void says_nothing_of_a_proxy_that_only_looks_whether_we_are_there(void **state)
{
    (void)state;
    memory_peer_end(&world.client);
    assert_closed_without_a_word();
    come_from("10.1.2.3");
    memory_peer_reset(&world.client);
    assert_int_equal(peri_listener_connections(world.listener), 0);
    assert_int_equal(page->preambles_refused, 0);
}

static void closes_a_connection_that_ends_in_its_header(void **state)
{
    (void)state;
    send_bytes(PERI_SLICE("PROXY TCP4 203.0.113.9"));
    memory_peer_end(&world.client);
    assert_closed_without_a_word();
    assert_int_equal(page->preambles_refused, 1);
}

// ---- as one of the listener's connections ----

static void counts_from_the_beginning(void **state)
{
    (void)state;
    assert_int_equal(peri_listener_connections(world.listener), 1);
    assert_int_equal(page->connections, 1);
    send_bytes(PERI_SLICE(V1 GET));
    assert_int_equal(peri_listener_connections(world.listener), 1);
    assert_int_equal(page->connections, 1);
    assert_int_equal(page->accepted, 1);
}

static void on_drained(void *data)
{
    ++*(unsigned *)data;
}

static void ends_with_a_drain(void **state)
{
    (void)state;
    unsigned drains = 0;
    peri_listener_drain(world.listener, on_drained, &drains);
    settle(world.loop);
    assert_int_equal(drains, 1);
    assert_closed_without_a_word();
}

static void ends_with_the_listener(void **state)
{
    (void)state;
    peri_listener_close(world.listener);
    world.listener = NULL;
    settle(world.loop);
    assert_true(world.client.is_ended);
}

static void survives_allocations_that_fail(void **state)
{
    (void)state;
    for (unsigned n = 1; n < 12; n++) {
        forget_answers();
        come_from("10.1.2.3");
        memory_peer_put(&world.client, PERI_SLICE(V1));
        fail_alloc_at(n);
        settle(world.loop);
        fail_alloc_stop(); // the later ones are not reached
        if (!world.client.is_ended) {
            memory_peer_send(&world.client, GET);
            assert_answer("203.0.113.9 51234");
        }
        memory_peer_close(&world.client);
        assert_int_equal(peri_listener_connections(world.listener), 0);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_trusting, close_trusting)
    const struct CMUnitTest tests[] = {
        TEST(takes_the_client_from_the_header),
        TEST(reads_a_header_in_pieces_of_any_size),
        TEST(keeps_the_address_for_all_requests_of_a_connection),
        TEST(serves_a_client_that_has_sent_all_and_ended),
        TEST(leaves_the_address_when_the_header_has_none),
        TEST(reads_one_header_and_takes_a_second_for_what_it_is),
        TEST(believes_no_header_of_others),
        TEST(serves_others_as_they_are),
        TEST(believes_unix_sockets_only_when_told),
        TEST(believes_nobody_any_more_when_the_setting_is_gone),
        TEST(knows_networks_from_what_is_none),
        TEST(closes_a_trusted_proxy_that_sends_no_header),
        TEST(closes_headers_that_are_malformed_or_too_long),
        TEST(closes_a_header_that_does_not_come_in_time),
        TEST(gives_the_request_its_own_time),
        TEST(says_nothing_of_a_proxy_that_only_looks_whether_we_are_there),
        TEST(closes_a_connection_that_ends_in_its_header),
        TEST(counts_from_the_beginning),
        TEST(ends_with_a_drain),
        TEST(ends_with_the_listener),
        TEST(survives_allocations_that_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
