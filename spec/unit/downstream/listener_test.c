// SPDX-License-Identifier: MIT
// The listener: how many connections, which settings, and what a connection makes of X-Forwarded-*.
#include "downstream_world.h"

#include "downstream/forwarded.h"

#define GET "GET / HTTP/1.1\r\nhost: a\r\n\r\n"

static void has_the_safe_defaults(void **state)
{
    (void)state;
    struct peri_listener_settings s = peri_listener_defaults();
    assert_int_equal(s.header_bytes, 60 * 1024);
    assert_int_equal(s.headers, 100);
    assert_int_equal(s.connections, 10000);
    assert_int_equal(s.headers_ms, 10000);
    assert_int_equal(s.request_ms, 300000);
    assert_int_equal(s.stream_idle_ms, 300000);
    assert_int_equal(s.trusted_hops, 0);
    assert_false(s.allow_underscores);
    assert_int_not_equal(s.idle_ms, 0);
}

static void closes_connections_beyond_its_bound_at_once(void **state)
{
    (void)state;
    struct peri_listener_settings settings = *peri_listener_get(world.listener);
    struct memory_peer second, third;
    settings.connections = 2;
    peri_listener_set(world.listener, &settings);
    world.on_body_end = answer_ok;
    world_connect(&second);
    world_connect(&third);
    assert_int_equal(peri_listener_connections(world.listener), 2);
    assert_true(third.is_ended);
    memory_peer_send(&second, GET);
    assert_false(second.is_ended);
    memory_peer_free(&third);
    memory_peer_close(&second);
    assert_int_equal(peri_listener_connections(world.listener), 1);
    world_connect(&third);
    assert_false(third.is_ended);
    memory_peer_free(&second);
    memory_peer_free(&third);
}

static void keeps_its_connections_apart(void **state)
{
    (void)state;
    struct memory_peer second;
    world_connect(&second);
    memory_peer_send(&world.client, "GET /1 HTTP/1.1\r\nhost: a\r\n\r\n");
    memory_peer_send(&second, "GET /2 HTTP/1.1\r\nhost: a\r\n\r\n");
    answer_path(&world.seen[1]);
    memory_peer_send(&world.client, "");
    assert_got("");
    assert_non_null(strstr(memory_peer_text(&second), "/2"));
    memory_peer_close(&second);
    assert_int_equal(world.seen[0].aborts, 0);
    answer_path(&world.seen[0]);
    settle(world.loop);
    assert_non_null(strstr(memory_peer_text(&world.client), "/1"));
    memory_peer_free(&second);
}

static void frees_itself_when_it_is_closed_without_connections(void **state)
{
    (void)state;
    memory_peer_close(&world.client);
    peri_listener_close(world.listener);
    world.listener = NULL;
}

static void survives_an_allocation_that_fails_for_a_connection(void **state)
{
    (void)state;
    struct peri_stream *pair[2];
    struct memory_peer client;
    assert_true(peri_stream_open_pair(world.loop, pair));
    memory_peer_open(&client, world.loop, pair[0]);
    peri_stream_set_owner(pair[1], &memory_peer_events, &client);
    fail_alloc_at(1);
    peri_listener_adopt(world.listener, pair[1]);
    fail_alloc_stop();
    settle(world.loop);
    assert_int_equal(peri_listener_connections(world.listener), 1);
    assert_true(client.is_ended);
    client.stream = pair[0];
    memory_peer_close(&client);
    free(client.in);
}

// ---- X-Forwarded-* ----

static struct peri_exchange *forwarded(const char *headers, uint32_t hops)
{
    struct peri_exchange *x = peri_exchange_new();
    char line[256];
    strcpy(x->peer.ip, "192.0.2.1");
    x->peer.ip_len = 9;
    x->req.scheme = PERI_SLICE("http");
    x->req.authority = PERI_SLICE("shop.example");
    while (*headers) {
        size_t len = strcspn(headers, "\n");
        snprintf(line, sizeof(line), "%.*s", (int)len, headers);
        char *colon = strchr(line, ':');
        *colon = 0;
        assert_int_equal(peri_headers_add(&x->req.headers, peri_slice_from(line), peri_slice_from(colon + 2)), PERI_OK);
        headers += len + (headers[len] == '\n');
    }
    assert_int_equal(peri_forwarded_apply(x, &(struct peri_listener_settings){.trusted_hops = hops}), PERI_OK);
    return x;
}

static void forwards(const char *headers, uint32_t hops, const char *client, const char *expected)
{
    struct peri_exchange *x = forwarded(headers, hops);
    char text[1024];
    seen_fields(text, sizeof(text), &x->req.headers);
    assert_string_equal(text, expected);
    assert_true(peri_slice_eq(x->client_ip, peri_slice_from(client)));
    peri_exchange_free(x);
}

// ---- while there is too much to do

static unsigned refused;

static void on_refused_request(struct peri_exchange *x)
{
    refused++;
    world_owner.on_request(x);
}

static struct peri_owner_ops refuser;

static void refuse(enum peri_refused whom)
{
    refuser = world_owner;
    refuser.on_request = on_refused_request;
    peri_listener_refuse(world.listener, whom, &refuser);
    settle(world.loop);
}

// How many of the requests of this client are refused: 0 or 1. It must be answered.
static unsigned ask(struct memory_peer *client)
{
    unsigned before = refused;
    world.on_body_end = answer_ok;
    memory_peer_send(client, GET);
    assert_non_null(strstr(memory_peer_text(client), "200"));
    return refused - before;
}

static void refuses_newcomers_and_serves_those_who_are_there(void **state)
{
    (void)state;
    struct memory_peer second, third;
    refuse(PERI_REFUSED_NEWCOMERS);
    world_connect(&second);
    refuse(PERI_REFUSED_NEWCOMERS); // said again, it changes nothing
    assert_int_equal(ask(&second), 1);
    assert_int_equal(ask(&world.client), 0);
    assert_true(second.is_ended && world.client.is_ended); // keep-alive is off
    world_connect(&third);
    refuse(PERI_REFUSED_NONE);
    assert_int_equal(ask(&third), 0);
    assert_false(third.is_ended);
    memory_peer_free(&second);
    memory_peer_free(&third);
}

static void refuses_all_and_serves_all_again(void **state)
{
    (void)state;
    struct memory_peer second;
    world_connect(&second);
    refuse(PERI_REFUSED_ALL);
    assert_int_equal(ask(&second), 1);
    refuse(PERI_REFUSED_NEWCOMERS);
    assert_int_equal(ask(&world.client), 0);
    memory_peer_free(&second);
    world_connect(&second);
    refuse(PERI_REFUSED_NONE);
    assert_int_equal(ask(&second), 0);
    assert_int_equal(ask(&second), 0);
    memory_peer_free(&second);
}

static void closes_idle_connections_but_not_those_that_just_came(void **state)
{
    (void)state;
    struct memory_peer fresh;
    assert_int_equal(ask(&world.client), 0);
    assert_false(world.client.is_ended);
    world_connect(&fresh);
    refuse(PERI_REFUSED_NEWCOMERS);
    assert_true(world.client.is_ended);
    assert_false(fresh.is_ended);
    assert_int_equal(ask(&fresh), 0);
    memory_peer_free(&fresh);
}

static unsigned changes;

static void on_count(void *data)
{
    assert_ptr_equal(data, &changes);
    changes++;
}

static void tells_of_connections_that_come_and_go(void **state)
{
    (void)state;
    struct memory_peer second;
    peri_listener_watch(world.listener, on_count, &changes);
    world_connect(&second);
    assert_int_equal(changes, 1);
    memory_peer_close(&second);
    assert_int_equal(changes, 2);
    memory_peer_free(&second);
}

// ---- X-Forwarded-For

static void believes_nobody_by_default(void **state)
{
    (void)state;
    const char *const own = "x-forwarded-for: 192.0.2.1\nx-forwarded-proto: http\nx-forwarded-host: shop.example\n";
    forwards("", 0, "192.0.2.1", own);
    forwards("X-Forwarded-For: 10.0.0.1\nX-Forwarded-For: 10.0.0.2\nX-Forwarded-Proto: https\nX-Forwarded-Host: evil\n"
             "X-Forwarded-Proto: https",
             0, "192.0.2.1", own);
}

static void believes_as_many_hops_as_told(void **state)
{
    (void)state;
    forwards(
        "x-forwarded-for: 6.6.6.6, 10.0.0.7\nx-forwarded-proto: https\nx-forwarded-host: www.example", 1, "10.0.0.7",
        "x-forwarded-proto: https\nx-forwarded-host: www.example\nx-forwarded-for: 6.6.6.6, 10.0.0.7, 192.0.2.1\n");
    forwards("x-forwarded-for: 6.6.6.6\nx-a: 1\nx-forwarded-for: 10.0.0.7 ,10.0.0.8", 2, "10.0.0.7",
             "x-a: 1\nx-forwarded-for: 6.6.6.6, 10.0.0.7 ,10.0.0.8, 192.0.2.1\nx-forwarded-proto: http\n"
             "x-forwarded-host: shop.example\n");
    forwards("x-forwarded-for: 2001:db8::1", 1, "2001:db8::1",
             "x-forwarded-for: 2001:db8::1, 192.0.2.1\nx-forwarded-proto: http\nx-forwarded-host: shop.example\n");
}

static void takes_the_leftmost_when_there_are_fewer_hops(void **state)
{
    (void)state;
    forwards("x-forwarded-for: 10.0.0.7", 5, "10.0.0.7",
             "x-forwarded-for: 10.0.0.7, 192.0.2.1\nx-forwarded-proto: http\nx-forwarded-host: shop.example\n");
    forwards("", 5, "192.0.2.1",
             "x-forwarded-for: 192.0.2.1\nx-forwarded-proto: http\nx-forwarded-host: shop.example\n");
}

static void takes_nothing_for_an_address_that_does_not_look_like_one(void **state)
{
    (void)state;
    static const char *const values[] = {"unknown",
                                         "_hidden",
                                         "10.0.0.1:80x",
                                         "a\"b",
                                         "",
                                         ",",
                                         "x",
                                         "00000000000000000000000000000000000000000000000000"};
    for (unsigned i = 0; i < PERI_COUNT(values); i++) {
        char header[128];
        snprintf(header, sizeof(header), "x-forwarded-for: %s", values[i]);
        struct peri_exchange *x = forwarded(header, 1);
        assert_true(peri_slice_eq(x->client_ip, PERI_SLICE("192.0.2.1")));
        peri_exchange_free(x);
    }
}

static void reads_a_long_chain_of_hops(void **state)
{
    (void)state;
    static char chain[8192] = "x-forwarded-for: 9.9.9.9";
    struct peri_exchange *x = peri_exchange_new();
    size_t len = strlen(chain);
    for (unsigned i = 0; i < 50; i++)
        len += (size_t)sprintf(chain + len, ", 10.0.0.%u", i);
    strcpy(x->peer.ip, "192.0.2.1");
    x->peer.ip_len = 9;
    assert_int_equal(peri_headers_add(&x->req.headers, PERI_SLICE("x-forwarded-for"), peri_slice_from(chain + 17)),
                     PERI_OK);
    assert_int_equal(peri_forwarded_apply(x, &(struct peri_listener_settings){.trusted_hops = 3}), PERI_OK);
    assert_true(peri_slice_eq(x->client_ip, PERI_SLICE("10.0.0.47")));
    peri_exchange_free(x);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_open, world_close)
    const struct CMUnitTest tests[] = {
        TEST(has_the_safe_defaults),
        TEST(closes_connections_beyond_its_bound_at_once),
        TEST(keeps_its_connections_apart),
        TEST(frees_itself_when_it_is_closed_without_connections),
        TEST(survives_an_allocation_that_fails_for_a_connection),
        TEST(refuses_newcomers_and_serves_those_who_are_there),
        TEST(refuses_all_and_serves_all_again),
        TEST(closes_idle_connections_but_not_those_that_just_came),
        TEST(tells_of_connections_that_come_and_go),
        TEST(believes_nobody_by_default),
        TEST(believes_as_many_hops_as_told),
        TEST(takes_the_leftmost_when_there_are_fewer_hops),
        TEST(takes_nothing_for_an_address_that_does_not_look_like_one),
        TEST(reads_a_long_chain_of_hops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
