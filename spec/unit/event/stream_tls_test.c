// SPDX-License-Identifier: MIT
// TLS over a memory pair: who is believed, which certificate is shown, what resumes, and that bytes and ends arrive whole.
#include "event/tls.h"

#include <openssl/ssl.h>

#include "certificates.h"
#include "event/stream_internal.h"
#include "event/tls_tickets.h"
#include "memory_peer.h"

struct side {
    struct memory_peer peer; // first: its events see a memory peer
    bool is_connected;
    peri_err_t outcome;
};

static struct peri_loop *loop;
static struct issued authority, other_authority, plain_leaf, rsa_leaf, wild_leaf, client_leaf;
static struct side server_side, client_side;
static struct peri_tls_ticket_keys tickets;
static char why[PERI_TLS_WHY];
static unsigned lack_at; ///< which allocation of the next handshakes fails; 0: none

static void on_connect(struct peri_stream *stream, peri_err_t err)
{
    struct side *side = peri_stream_data(stream);
    assert_false(side->is_connected);
    side->is_connected = true;
    side->outcome = err;
    if (err == PERI_OK)
        peri_stream_read_start(stream);
}

static const struct peri_stream_events side_events = {
    .on_connect = on_connect,
    .on_read = memory_peer_on_read,
    .on_end = memory_peer_on_end,
    .on_drain = memory_peer_on_drain,
    .on_close = memory_peer_on_close,
};

static int issue_all(void **state)
{
    (void)state;
    authority = issue(NULL, "authority", NULL);
    other_authority = issue(NULL, "other authority", NULL);
    plain_leaf = issue(&authority, "shop", "DNS:shop.test,IP:127.0.0.1");
    rsa_leaf = issue_for(&authority, "shop", "DNS:shop.test,IP:127.0.0.1", true, -60, 3600);
    wild_leaf = issue(&authority, "wild", "DNS:*.wild.test");
    client_leaf = issue(&authority, "client", "URI:spiffe://shop.test/ns/default/orders");
    return 0;
}

static int free_all(void **state)
{
    (void)state;
    struct issued *all[] = {&authority, &other_authority, &plain_leaf, &rsa_leaf, &wild_leaf, &client_leaf};
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
        issued_free(all[i]);
    return 0;
}

static int open_loop(void **state)
{
    (void)state;
    loop = peri_loop_new(true);
    tickets = (struct peri_tls_ticket_keys){0};
    return peri_tls_ticket_keys_rotate(&tickets) == PERI_OK ? 0 : -1;
}

static int close_loop(void **state)
{
    (void)state;
    assert_int_equal(peri_loop_streams(loop), 0);
    assert_int_equal(peri_loop_timers(loop), 0);
    peri_loop_free(loop);
    return 0;
}

static struct peri_tls_certificate certificate(const struct issued *leaf)
{
    return (struct peri_tls_certificate){.cert = leaf->cert_pem, .key = leaf->key_pem};
}

static struct peri_tls_server *new_server(const struct peri_tls_certificate *certificates, size_t count)
{
    struct peri_tls_server_options options = {
        .certificates = certificates, .certificate_count = count, .tickets = &tickets, .has_h1 = true, .has_h2 = true};
    struct peri_tls_server *server = peri_tls_server_new(&options, why);
    if (!server)
        fail_msg("%s", why);
    return server;
}

static struct peri_tls_server *plain_server(void)
{
    struct peri_tls_certificate shown = certificate(&plain_leaf);
    return new_server(&shown, 1);
}

static struct peri_tls_server *client_checking_server(const struct issued *ca, enum peri_tls_client_auth auth)
{
    struct peri_tls_certificate shown = certificate(&plain_leaf);
    struct peri_tls_server_options options = {.certificates = &shown,
                                              .certificate_count = 1,
                                              .tickets = &tickets,
                                              .client_ca = ca->cert_pem,
                                              .client_auth = auth};
    struct peri_tls_server *server = peri_tls_server_new(&options, why);
    if (!server)
        fail_msg("%s", why);
    return server;
}

static struct peri_tls_client *new_client(struct peri_tls_client_options options)
{
    if (options.ca.len == 0 && !options.is_unverified)
        options.ca = authority.cert_pem;
    struct peri_tls_client *client = peri_tls_client_new(&options, why);
    if (!client)
        fail_msg("%s", why);
    return client;
}

// Joins both sides and turns the loop until nothing happens any more. The references are taken.
static void join(struct peri_tls_server *server, struct peri_tls_client *client, const char *host,
                 struct peri_tls_session *session)
{
    struct peri_stream *pair[2];
    peri_err_t err;
    assert_true(peri_stream_open_pair(loop, pair));
    server_side = client_side = (struct side){0};
    server_side.peer.loop = client_side.peer.loop = loop;
    server_side.peer.stream = peri_stream_accept_tls(pair[1], server, 10000, &side_events, &server_side);
    client_side.peer.stream =
        peri_stream_connect_tls(pair[0], client, peri_slice_from(host), session, &side_events, &client_side, &err);
    if (lack_at > 0)
        fail_alloc_at(lack_at);
    pair[0]->events->on_connect(pair[0], PERI_OK);
    assert_non_null(server_side.peer.stream);
    assert_non_null(client_side.peer.stream);
    peri_tls_server_unref(server);
    peri_tls_client_unref(client);
    settle(loop);
}

static void part(void)
{
    memory_peer_free(&client_side.peer);
    memory_peer_free(&server_side.peer);
    settle(loop);
}

static void join_plain(void)
{
    join(plain_server(), new_client((struct peri_tls_client_options){.has_h1 = true}), "shop.test", NULL);
    assert_int_equal(client_side.outcome, PERI_OK);
    assert_int_equal(server_side.outcome, PERI_OK);
}

// Common name of the certificate that the client sees for `host`; it believes anything.
static void assert_shown(const struct peri_tls_certificate *certificates, size_t count, const char *host,
                         const char *fingerprint_of)
{
    (void)fingerprint_of;
    struct peri_slice name = peri_slice_from(host);
    join(new_server(certificates, count), new_client((struct peri_tls_client_options){.names = &name, .name_count = 1}),
         host, NULL);
}

static void carries_bytes_both_ways(void **state)
{
    (void)state;
    join_plain();
    memory_peer_send(&client_side.peer, "question");
    memory_peer_send(&server_side.peer, "answer");
    assert_string_equal(memory_peer_text(&server_side.peer), "question");
    assert_string_equal(memory_peer_text(&client_side.peer), "answer");
    part();
}

static void agrees_on_the_first_protocol_that_both_offer(void **state)
{
    (void)state;
    join(plain_server(), new_client((struct peri_tls_client_options){.has_h1 = true, .has_h2 = true}), "shop.test",
         NULL);
    assert_string_equal(peri_stream_tls(server_side.peer.stream)->alpn, "h2");
    assert_string_equal(peri_stream_tls(client_side.peer.stream)->alpn, "h2");
    assert_string_equal(peri_stream_tls(client_side.peer.stream)->version, "TLSv1.3");
    assert_string_equal(peri_stream_tls(server_side.peer.stream)->server_name, "shop.test");
    part();
    join(plain_server(), new_client((struct peri_tls_client_options){.has_h1 = true}), "shop.test", NULL);
    assert_string_equal(peri_stream_tls(server_side.peer.stream)->alpn, "http/1.1");
    part();
}

static void refuses_a_certificate_of_a_stranger(void **state)
{
    (void)state;
    join(plain_server(), new_client((struct peri_tls_client_options){.ca = other_authority.cert_pem}), "shop.test",
         NULL);
    assert_int_equal(client_side.outcome, PERI_ERR_TLS);
    assert_non_null(strstr(peri_stream_tls_failure(client_side.peer.stream), "unable to get local issuer"));
    assert_int_equal(server_side.outcome, PERI_ERR_TLS);
    part();
}

static void refuses_a_certificate_for_another_name(void **state)
{
    (void)state;
    join(plain_server(), new_client((struct peri_tls_client_options){0}), "other.test", NULL);
    assert_int_equal(client_side.outcome, PERI_ERR_TLS);
    assert_non_null(strstr(peri_stream_tls_failure(client_side.peer.stream), "ostname mismatch"));
    part();
}

static void compares_addresses_as_addresses(void **state)
{
    (void)state;
    join(plain_server(), new_client((struct peri_tls_client_options){0}), "127.0.0.1", NULL);
    assert_int_equal(client_side.outcome, PERI_OK);
    assert_string_equal(peri_stream_tls(server_side.peer.stream)->server_name, "");
    part();
    join(plain_server(), new_client((struct peri_tls_client_options){0}), "127.0.0.2", NULL);
    assert_int_equal(client_side.outcome, PERI_ERR_TLS);
    part();
}

static void refuses_an_expired_certificate(void **state)
{
    (void)state;
    struct issued old = issue_for(&authority, "shop", "DNS:shop.test", false, -7200, -3600);
    struct peri_tls_certificate shown = certificate(&old);
    join(new_server(&shown, 1), new_client((struct peri_tls_client_options){0}), "shop.test", NULL);
    assert_int_equal(client_side.outcome, PERI_ERR_TLS);
    assert_non_null(strstr(peri_stream_tls_failure(client_side.peer.stream), "expired"));
    part();
    issued_free(&old);
}

static void believes_anybody_only_when_told_to(void **state)
{
    (void)state;
    join(plain_server(), new_client((struct peri_tls_client_options){.is_unverified = true}), "other.test", NULL);
    assert_int_equal(client_side.outcome, PERI_OK);
    assert_false(peri_stream_tls(client_side.peer.stream)->is_peer_verified);
    part();
}

static void wants_one_of_the_pinned_names(void **state)
{
    (void)state;
    struct peri_slice right[] = {PERI_SLICE("spiffe://shop.test/other"), PERI_SLICE("shop.test")};
    struct peri_slice wrong[] = {PERI_SLICE("spiffe://shop.test/other"), PERI_SLICE("pay.test")};
    join(plain_server(), new_client((struct peri_tls_client_options){.names = right, .name_count = 2}), "10.0.0.1",
         NULL);
    assert_int_equal(client_side.outcome, PERI_OK);
    part();
    join(plain_server(), new_client((struct peri_tls_client_options){.names = wrong, .name_count = 2}), "shop.test",
         NULL);
    assert_int_equal(client_side.outcome, PERI_ERR_TLS);
    part();
}

static void chooses_the_certificate_by_server_name(void **state)
{
    (void)state;
    struct peri_tls_certificate both[] = {certificate(&plain_leaf), certificate(&wild_leaf)};
    const char *good[] = {"shop.test", "a.wild.test", "SHOP.test"};
    for (size_t i = 0; i < 3; i++) {
        assert_shown(both, 2, good[i], NULL);
        assert_int_equal(client_side.outcome, PERI_OK);
        part();
    }
    const char *bad[] = {"wild.test", "a.b.wild.test", "unknown.test"}; // the default is shown, and not believed
    for (size_t i = 0; i < 3; i++) {
        assert_shown(both, 2, bad[i], NULL);
        assert_int_equal(client_side.outcome, PERI_ERR_TLS);
        part();
    }
}

static void gives_names_of_the_configuration_precedence_over_those_inside(void **state)
{
    (void)state;
    struct peri_slice host = PERI_SLICE("renamed.test");
    struct peri_tls_certificate both[] = {certificate(&plain_leaf), certificate(&wild_leaf)};
    struct peri_slice pinned = PERI_SLICE("x.wild.test");
    both[1].hosts = &host;
    both[1].host_count = 1;
    join(new_server(both, 2), new_client((struct peri_tls_client_options){.names = &pinned, .name_count = 1}),
         "renamed.test", NULL);
    assert_int_equal(client_side.outcome, PERI_OK);
    part();
}

static void serves_rsa_and_ecdsa_for_the_same_names_side_by_side(void **state)
{
    (void)state;
    struct peri_tls_certificate both[] = {certificate(&rsa_leaf), certificate(&plain_leaf)};
    join(new_server(both, 2), new_client((struct peri_tls_client_options){0}), "shop.test", NULL);
    assert_int_equal(client_side.outcome, PERI_OK);
    part();
}

static void refuses_a_key_that_does_not_fit(void **state)
{
    (void)state;
    struct peri_tls_certificate mixed = {.cert = plain_leaf.cert_pem, .key = wild_leaf.key_pem};
    struct peri_tls_certificate nothing = {.cert = PERI_SLICE("hello"), .key = wild_leaf.key_pem};
    struct peri_tls_certificate keyless = {.cert = plain_leaf.cert_pem, .key = PERI_SLICE("-----BEGIN")};
    struct peri_tls_server_options options = {.certificates = &mixed, .certificate_count = 1};
    assert_null(peri_tls_server_new(&options, why));
    assert_non_null(strstr(why, "the key does not fit the certificate"));
    options.certificates = &nothing;
    assert_null(peri_tls_server_new(&options, why));
    assert_non_null(strstr(why, "the certificate cannot be read"));
    options.certificates = &keyless;
    assert_null(peri_tls_server_new(&options, why));
    assert_non_null(strstr(why, "the key cannot be read"));
}

static struct peri_tls_client *client_with(const struct issued *leaf)
{
    return new_client((struct peri_tls_client_options){.cert = leaf->cert_pem, .key = leaf->key_pem});
}

static void knows_the_client_by_its_certificate(void **state)
{
    (void)state;
    join(client_checking_server(&authority, PERI_TLS_CLIENT_REQUIRED), client_with(&client_leaf), "shop.test", NULL);
    assert_int_equal(server_side.outcome, PERI_OK);
    const struct peri_tls_info *info = peri_stream_tls(server_side.peer.stream);
    assert_true(info->is_peer_verified);
    assert_string_equal(info->spiffe_id, "spiffe://shop.test/ns/default/orders");
    assert_string_equal(info->subject, "CN=client");
    assert_string_equal(info->issuer, "CN=authority");
    assert_string_equal(info->sans, "spiffe://shop.test/ns/default/orders");
    assert_int_equal(strlen(info->fingerprint), 64);
    part();
}

static void lists_the_names_that_mean_one_thing(void **state)
{
    (void)state;
    struct issued leaf =
        issue(&authority, "client",
              "DNS:a.test,DNS:spiffe://b.test/x,email:c@d.test,IP:192.0.2.1,IP:2001:db8::1,URI:no-scheme,"
              "RID:1.2.3,URI:urn:e,DNS:*.f.test");
    static const char expected[] = "a.test\0c@d.test\000192.0.2.1\0002001:db8::1\0urn:e\0*.f.test\0";
    join(client_checking_server(&authority, PERI_TLS_CLIENT_REQUIRED), client_with(&leaf), "shop.test", NULL);
    assert_int_equal(server_side.outcome, PERI_OK);
    assert_memory_equal(peri_stream_tls(server_side.peer.stream)->sans, expected, sizeof(expected));
    part();
    issued_free(&leaf);
}

static void requires_a_client_certificate_when_told_to(void **state)
{
    (void)state;
    join(client_checking_server(&authority, PERI_TLS_CLIENT_REQUIRED), new_client((struct peri_tls_client_options){0}),
         "shop.test", NULL);
    assert_int_equal(server_side.outcome, PERI_ERR_TLS);
    part();
    join(client_checking_server(&authority, PERI_TLS_CLIENT_OPTIONAL), new_client((struct peri_tls_client_options){0}),
         "shop.test", NULL);
    assert_int_equal(server_side.outcome, PERI_OK);
    assert_false(peri_stream_tls(server_side.peer.stream)->is_peer_verified);
    part();
    join(client_checking_server(&other_authority, PERI_TLS_CLIENT_OPTIONAL), client_with(&client_leaf), "shop.test",
         NULL);
    assert_int_equal(server_side.outcome, PERI_ERR_TLS);
    part();
}

static void refuses_identities_that_are_not_quite_spiffe(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "URI:spiffe://shop.test/a,URI:spiffe://shop.test/b",
        "URI:spiffe://shop.test/a,URI:https://shop.test/",
        "URI:spiffe://SHOP.test/a",
        "URI:spiffe://*.test/a",
        "URI:spiffe://shop.test",
        "URI:spiffe://shop.test/",
        "URI:spiffe://shop.test/a//b",
        "URI:spiffe://shop.test/a/../b",
        "URI:spiffe://shop.test/a?b",
        "URI:spiffe:///a",
        "URI:SPIFFE://shop.test/a",
        "URI:spiffe://user@shop.test/a",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct issued leaf = issue(&authority, "bad", bad[i]);
        join(client_checking_server(&authority, PERI_TLS_CLIENT_REQUIRED), client_with(&leaf), "shop.test", NULL);
        if (server_side.outcome != PERI_ERR_TLS)
            fail_msg("%s was believed", bad[i]);
        part();
        issued_free(&leaf);
    }
}

static void resumes_on_another_server_with_the_same_keys(void **state)
{
    (void)state;
    struct peri_tls_session session = {0};
    for (int round = 0; round < 3; round++) {
        join(plain_server(), new_client((struct peri_tls_client_options){0}), "shop.test", &session);
        assert_int_equal(client_side.outcome, PERI_OK);
        assert_int_equal(peri_stream_tls(server_side.peer.stream)->is_resumed, round > 0);
        part();
        peri_tls_ticket_keys_rotate(&tickets);
    }
    peri_tls_ticket_keys_rotate(&tickets);
    peri_tls_ticket_keys_rotate(&tickets);
    join(plain_server(), new_client((struct peri_tls_client_options){0}), "shop.test", &session);
    assert_false(peri_stream_tls(server_side.peer.stream)->is_resumed);
    part();
    peri_tls_session_close(&session);
}

// Joins with `session`; was it resumed?
static bool resumes(struct peri_tls_session *session)
{
    join(plain_server(), new_client((struct peri_tls_client_options){0}), "shop.test", session);
    assert_int_equal(client_side.outcome, PERI_OK);
    bool is_resumed = peri_stream_tls(server_side.peer.stream)->is_resumed;
    part();
    return is_resumed;
}

static void gives_another_ticket_for_each_that_was_used(void **state)
{
    (void)state;
    struct peri_tls_session session = {0};
    assert_false(resumes(&session));
    for (int round = 0; round < 3; round++) {
        struct peri_tls_session next = {.session = SSL_SESSION_dup(session.session)};
        assert_true(resumes(&next));
        size_t used_len, fresh_len;
        const unsigned char *used, *fresh;
        SSL_SESSION_get0_ticket(session.session, &used, &used_len);
        SSL_SESSION_get0_ticket(next.session, &fresh, &fresh_len);
        assert_true(used_len != fresh_len || memcmp(used, fresh, used_len) != 0);
        peri_tls_session_close(&session);
        session = next;
    }
    peri_tls_session_close(&session);
}

static void changes_the_ticket_key_twice_a_day_and_keeps_three(void **state)
{
    (void)state;
    struct peri_tls_session first = {0};
    struct peri_tls_ticket_rotation rotation;
    struct peri_tls_ticket_keys before = tickets;
    peri_tls_ticket_rotation_init(&rotation);
    peri_tls_ticket_rotation_start(&rotation, loop, &tickets);
    peri_loop_advance(loop, PERI_TLS_TICKET_KEY_MS - 1);
    assert_memory_equal(&tickets, &before, sizeof(tickets));
    assert_false(resumes(&first));
    struct peri_tls_session last = {.session = first.session};
    SSL_SESSION_up_ref(last.session);
    peri_loop_advance(loop, 1);
    assert_int_equal(tickets.newest, 1);
    peri_loop_advance(loop, PERI_TLS_TICKET_KEY_MS);
    assert_int_equal(tickets.newest, 2);
    assert_true(resumes(&first));
    peri_loop_advance(loop, PERI_TLS_TICKET_KEY_MS);
    assert_int_equal(tickets.newest, 0);
    assert_false(resumes(&last));
    peri_tls_ticket_rotation_stop(&rotation);
    peri_loop_advance(loop, 2 * PERI_TLS_TICKET_KEY_MS);
    assert_int_equal(tickets.newest, 0);
    peri_tls_session_close(&first);
    peri_tls_session_close(&last);
}

static void does_not_resume_past_a_changed_trust_in_clients(void **state)
{
    (void)state;
    struct peri_tls_session session = {0};
    join(client_checking_server(&authority, PERI_TLS_CLIENT_REQUIRED), client_with(&client_leaf), "shop.test",
         &session);
    part();
    join(client_checking_server(&authority, PERI_TLS_CLIENT_REQUIRED), client_with(&client_leaf), "shop.test",
         &session);
    assert_true(peri_stream_tls(server_side.peer.stream)->is_resumed);
    assert_string_equal(peri_stream_tls(server_side.peer.stream)->spiffe_id, "spiffe://shop.test/ns/default/orders");
    part();
    join(client_checking_server(&other_authority, PERI_TLS_CLIENT_REQUIRED), client_with(&client_leaf), "shop.test",
         &session);
    assert_int_equal(server_side.outcome, PERI_ERR_TLS);
    part();
    peri_tls_session_close(&session);
}

static char *make_bytes(size_t len)
{
    char *bytes = malloc(len);
    for (size_t i = 0; i < len; i++)
        bytes[i] = (char)('0' + i * 31 % 64);
    return bytes;
}

static void carries_large_bodies_with_back_pressure(void **state)
{
    (void)state;
    size_t len = 3 * 1024 * 1024 + 7;
    char *bytes = make_bytes(len);
    join_plain();
    peri_stream_read_stop(server_side.peer.stream);
    memory_peer_put(&client_side.peer, peri_slice(bytes, len));
    settle(loop);
    assert_true(server_side.peer.len < 512 * 1024);
    assert_true(peri_stream_pending(client_side.peer.stream) > len - 1024 * 1024);
    peri_stream_read_start(server_side.peer.stream);
    settle(loop);
    assert_int_equal(server_side.peer.len, len);
    assert_memory_equal(server_side.peer.in, bytes, len);
    assert_int_equal(client_side.peer.drains, 1);
    part();
    free(bytes);
}

static void keeps_the_order_of_small_and_large_writes(void **state)
{
    (void)state;
    size_t len = 200000;
    char *bytes = make_bytes(len);
    join_plain();
    for (size_t at = 0, size = 1; at < len; at += size, size = size * 3 % 40961 + 1) {
        size = size < len - at ? size : len - at;
        memory_peer_put(&client_side.peer, peri_slice(bytes + at, size));
        if (at % 5 == 0)
            settle(loop);
    }
    settle(loop);
    assert_int_equal(server_side.peer.len, len);
    assert_memory_equal(server_side.peer.in, bytes, len);
    part();
    free(bytes);
}

static void writes_before_the_handshake_wait_for_it(void **state)
{
    (void)state;
    struct peri_stream *pair[2];
    struct peri_tls_server *server = plain_server();
    assert_true(peri_stream_open_pair(loop, pair));
    server_side = (struct side){.peer.loop = loop};
    server_side.peer.stream = peri_stream_accept_tls(pair[1], server, 10000, &side_events, &server_side);
    memory_peer_put(&server_side.peer, PERI_SLICE("early"));
    settle(loop);
    struct peri_tls_client *client = new_client((struct peri_tls_client_options){0});
    peri_err_t err;
    client_side = (struct side){.peer.loop = loop};
    client_side.peer.stream =
        peri_stream_connect_tls(pair[0], client, PERI_SLICE("shop.test"), NULL, &side_events, &client_side, &err);
    pair[0]->events->on_connect(pair[0], PERI_OK);
    settle(loop);
    assert_string_equal(memory_peer_text(&client_side.peer), "early");
    peri_tls_server_unref(server);
    peri_tls_client_unref(client);
    part();
}

static void tells_a_clean_end_from_a_cut_one(void **state)
{
    (void)state;
    join_plain();
    memory_peer_put(&client_side.peer, PERI_SLICE("last words"));
    peri_stream_close_gently(client_side.peer.stream, 1000, false);
    settle(loop);
    assert_string_equal(memory_peer_text(&server_side.peer), "last words");
    assert_true(server_side.peer.is_ended);
    assert_int_equal(server_side.peer.end, PERI_OK);
    part();
    join_plain();
    peri_stream_reset(client_side.peer.stream);
    settle(loop);
    assert_true(server_side.peer.is_ended);
    assert_int_equal(server_side.peer.end, PERI_ERR_CLOSED);
    part();
}

static void ends_a_handshake_that_takes_too_long(void **state)
{
    (void)state;
    struct peri_stream *pair[2];
    struct memory_peer mute;
    struct peri_tls_server *server = plain_server();
    assert_true(peri_stream_open_pair(loop, pair));
    memory_peer_open(&mute, loop, pair[0]);
    server_side = (struct side){.peer.loop = loop};
    server_side.peer.stream = peri_stream_accept_tls(pair[1], server, 10000, &side_events, &server_side);
    peri_tls_server_unref(server);
    peri_loop_advance(loop, 9000);
    assert_false(server_side.is_connected);
    peri_loop_advance(loop, 2000);
    assert_int_equal(server_side.outcome, PERI_ERR_CONNECT_TIMEOUT);
    memory_peer_free(&mute);
    memory_peer_free(&server_side.peer);
    settle(loop);
}

// Opens the client's side towards `host` while the n-th allocation fails (0: none), and closes both. PERI_OK when it could be opened.
static peri_err_t open_client(struct peri_tls_client *client, const char *host, unsigned n)
{
    struct peri_stream *pair[2], *stream;
    struct memory_peer server;
    peri_err_t err;
    assert_true(peri_stream_open_pair(loop, pair));
    memory_peer_open(&server, loop, pair[1]);
    client_side = (struct side){.peer.loop = loop};
    fail_alloc_at(n);
    stream = peri_stream_connect_tls(pair[0], client, peri_slice_from(host), NULL, &side_events, &client_side, &err);
    fail_alloc_stop();
    client_side.peer.stream = stream;
    memory_peer_free(&client_side.peer);
    memory_peer_free(&server);
    settle(loop);
    return stream ? PERI_OK : err;
}

static void tells_a_lack_of_memory_from_a_peer_without_a_name(void **state)
{
    (void)state;
    struct peri_tls_client *client = new_client((struct peri_tls_client_options){0});
    unsigned lacks = 0;
    for (unsigned n = 1; n <= 50; n++) {
        peri_err_t err = open_client(client, "shop.test", n);
        assert_true(err == PERI_OK || err == PERI_ERR_OVERLOADED);
        lacks += err != PERI_OK;
    }
    assert_true(lacks > 3);
    assert_int_equal(open_client(client, "", 0), PERI_ERR_TLS);
    peri_tls_client_unref(client);
}

// OpenSSL does not always say why it failed; mostly it does.
static void a_handshake_without_memory_says_nothing_of_the_peer(void **state)
{
    (void)state;
    unsigned failures = 0, lacks = 0;
    for (lack_at = 1; lack_at <= 1000; lack_at += 7) {
        join(plain_server(), new_client((struct peri_tls_client_options){0}), "shop.test", NULL);
        fail_alloc_stop();
        failures += client_side.outcome != PERI_OK || server_side.outcome != PERI_OK;
        lacks += client_side.outcome == PERI_ERR_OVERLOADED || server_side.outcome == PERI_ERR_OVERLOADED;
        part();
    }
    lack_at = 0;
    assert_true(lacks > 10 && lacks > failures / 3);
}

static void survives_bytes_that_are_not_tls(void **state)
{
    (void)state;
    static const char *const noise[] = {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "\x16\x03\x01\xff\xff",
                                        "\x16\x03\x01\x00\x05hello", "\x15\x03\x03\x00\x02\x02\x28"};
    for (size_t i = 0; i < sizeof(noise) / sizeof(*noise); i++) {
        struct peri_stream *pair[2];
        struct memory_peer stranger;
        struct peri_tls_server *server = plain_server();
        assert_true(peri_stream_open_pair(loop, pair));
        memory_peer_open(&stranger, loop, pair[0]);
        server_side = (struct side){.peer.loop = loop};
        server_side.peer.stream = peri_stream_accept_tls(pair[1], server, 0, &side_events, &server_side);
        peri_tls_server_unref(server);
        memory_peer_put(&stranger, peri_slice(noise[i], i == 1 ? 5 : i == 2 ? 10 : i == 3 ? 7 : strlen(noise[i])));
        memory_peer_end(&stranger);
        settle(loop);
        assert_int_equal(server_side.outcome, PERI_ERR_TLS);
        assert_true(strlen(peri_stream_tls_failure(server_side.peer.stream)) > 0);
        memory_peer_free(&stranger);
        memory_peer_free(&server_side.peer);
        settle(loop);
    }
}

static void staples_nothing_that_is_not_a_response(void **state)
{
    (void)state;
    struct peri_tls_certificate shown = certificate(&plain_leaf);
    struct peri_tls_server_options options = {.certificates = &shown, .certificate_count = 1};
    shown.ocsp = PERI_SLICE("nonsense");
    assert_null(peri_tls_server_new(&options, why));
    assert_non_null(strstr(why, "OCSP"));
}

int main(void)
{
#define TLS_TEST(name) cmocka_unit_test_setup_teardown(name, open_loop, close_loop)
    const struct CMUnitTest tests[] = {
        TLS_TEST(carries_bytes_both_ways),
        TLS_TEST(agrees_on_the_first_protocol_that_both_offer),
        TLS_TEST(refuses_a_certificate_of_a_stranger),
        TLS_TEST(refuses_a_certificate_for_another_name),
        TLS_TEST(compares_addresses_as_addresses),
        TLS_TEST(refuses_an_expired_certificate),
        TLS_TEST(believes_anybody_only_when_told_to),
        TLS_TEST(wants_one_of_the_pinned_names),
        TLS_TEST(chooses_the_certificate_by_server_name),
        TLS_TEST(gives_names_of_the_configuration_precedence_over_those_inside),
        TLS_TEST(serves_rsa_and_ecdsa_for_the_same_names_side_by_side),
        TLS_TEST(refuses_a_key_that_does_not_fit),
        TLS_TEST(knows_the_client_by_its_certificate),
        TLS_TEST(lists_the_names_that_mean_one_thing),
        TLS_TEST(requires_a_client_certificate_when_told_to),
        TLS_TEST(refuses_identities_that_are_not_quite_spiffe),
        TLS_TEST(resumes_on_another_server_with_the_same_keys),
        TLS_TEST(gives_another_ticket_for_each_that_was_used),
        TLS_TEST(changes_the_ticket_key_twice_a_day_and_keeps_three),
        TLS_TEST(does_not_resume_past_a_changed_trust_in_clients),
        TLS_TEST(carries_large_bodies_with_back_pressure),
        TLS_TEST(keeps_the_order_of_small_and_large_writes),
        TLS_TEST(writes_before_the_handshake_wait_for_it),
        TLS_TEST(tells_a_clean_end_from_a_cut_one),
        TLS_TEST(ends_a_handshake_that_takes_too_long),
        TLS_TEST(tells_a_lack_of_memory_from_a_peer_without_a_name),
        TLS_TEST(a_handshake_without_memory_says_nothing_of_the_peer),
        TLS_TEST(survives_bytes_that_are_not_tls),
        TLS_TEST(staples_nothing_that_is_not_a_response),
    };
    return cmocka_run_group_tests(tests, issue_all, free_all);
}
