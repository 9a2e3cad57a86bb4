// SPDX-License-Identifier: MIT
// Answers with SRV records as they come: which targets are kept, for how long, and what is refused.
#include "event/dns_srv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "event/dns.h"
#include "event/loop.h"

static unsigned char bytes[16384];
static size_t len;
static struct peri_dns_service service;

static void put(const void *data, size_t size)
{
    memcpy(bytes + len, data, size);
    len += size;
}

static void put16(unsigned value)
{
    put((unsigned char[]){(unsigned char)(value >> 8), (unsigned char)value}, 2);
}

static void put_name(const char *name)
{
    while (*name) {
        size_t label = strcspn(name, ".");
        put((unsigned char[]){(unsigned char)label}, 1);
        put(name, label);
        name += label + (name[label] == '.');
    }
    put("", 1);
}

// A header, and the question, whose name stands at 12.
static void begin(unsigned answers)
{
    len = 0;
    put16(7);
    put16(0x8180);
    put16(1);
    put16(answers);
    put16(0);
    put16(0);
    put_name("_http._tcp.orders.internal");
    put16(33);
    put16(1);
}

static void put_record(unsigned type, unsigned ttl_s, unsigned size)
{
    put16(0xc00c);
    put16(type);
    put16(1);
    put16(ttl_s >> 16);
    put16(ttl_s & 0xffff);
    put16(size);
}

static void put_srv(unsigned ttl_s, unsigned priority, unsigned weight, unsigned port, const char *host)
{
    put_record(33, ttl_s, (unsigned)(6 + strlen(host) + (*host ? 2 : 1)));
    put16(priority);
    put16(weight);
    put16(port);
    put_name(host);
}

static void assert_reads(void)
{
    assert_int_equal(peri_dns_srv_read(bytes, len, &service), PERI_OK);
}

static void assert_refuses(void)
{
    assert_int_equal(peri_dns_srv_read(bytes, len, &service), PERI_ERR_INVALID);
}

static void assert_target(unsigned i, const char *host, unsigned port, unsigned priority, unsigned weight)
{
    assert_true(i < service.count);
    assert_string_equal(service.targets[i].host, host);
    assert_int_equal(service.targets[i].port, port);
    assert_int_equal(service.targets[i].priority, priority);
    assert_int_equal(service.targets[i].weight, weight);
}

static void reads_targets_in_the_order_of_priority_and_name(void **state)
{
    (void)state;
    begin(3);
    put_srv(60, 20, 1, 8080, "b.internal");
    put_srv(30, 10, 0, 8081, "B.Internal");
    put_srv(90, 10, 65535, 8080, "a.internal");
    assert_reads();
    assert_int_equal(service.count, 3);
    assert_target(0, "a.internal", 8080, 10, 65535);
    assert_target(1, "b.internal", 8081, 10, 0);
    assert_target(2, "b.internal", 8080, 20, 1);
    assert_int_equal(service.ttl_ms, 30000);
}

static void keeps_the_time_within_bounds_and_counts_that_of_an_alias(void **state)
{
    (void)state;
    begin(1);
    put_srv(0, 0, 0, 1, "a");
    assert_reads();
    assert_int_equal(service.ttl_ms, 1000);
    begin(1);
    put_srv(0xffffffff, 0, 0, 1, "a");
    assert_reads();
    assert_int_equal(service.ttl_ms, 300000);
    begin(2);
    put_record(5, 7, 3);
    put_name("x");
    put_srv(60, 0, 0, 1, "a");
    assert_reads();
    assert_int_equal(service.ttl_ms, 7000);
}

static void finds_no_targets_where_the_answer_is_that_there_is_no_service(void **state)
{
    (void)state;
    begin(1);
    put_srv(60, 0, 0, 0, "");
    assert_reads();
    assert_int_equal(service.count, 0);
}

static void keeps_the_first_64_whatever_the_order_of_the_answer_is(void **state)
{
    (void)state;
    for (int turn = 0; turn < 2; turn++) {
        begin(100);
        for (unsigned i = 0; i < 100; i++)
            put_srv(60, turn ? i : 99 - i, 0, 1, "a");
        assert_reads();
        assert_int_equal(service.count, PERI_DNS_TARGETS);
        assert_target(0, "a", 1, 0, 0);
        assert_target(63, "a", 1, 63, 0);
    }
    begin(2);
    put_srv(60, 0, 0, 1, "a");
    put_srv(60, 0, 9, 1, "A");
    assert_reads();
    assert_int_equal(service.count, 1);
}

static void refuses_an_answer_with_anything_malformed_in_it(void **state)
{
    (void)state;
    static const char *const hosts[] = {"a b", "a\001b", "a/b"};
    for (unsigned i = 0; i < PERI_COUNT(hosts); i++) {
        begin(2);
        put_srv(60, 0, 0, 1, "good");
        put_srv(60, 0, 0, 1, hosts[i]);
        assert_refuses();
    }
    begin(1);
    put_srv(60, 0, 0, 0, "a"); // port 0
    assert_refuses();
    begin(1);
    put_record(33, 60, 9); // two bytes of the data are not the name's
    put("\0\0\0\0\0\1\0\0\0", 9);
    assert_refuses();
    begin(1);
    put_record(33, 60, 8); // a name that points to itself
    put16(0);
    put16(0);
    put16(1);
    put16(0xc000 | (unsigned)len);
    assert_refuses();
    begin(0);
    assert_refuses();
    begin(1);
    put_record(1, 60, 4); // an address
    put16(0x7f00);
    put16(1);
    assert_refuses();
}

static void refuses_every_answer_that_is_cut(void **state)
{
    (void)state;
    begin(2);
    put_srv(60, 0, 0, 1, "a.internal");
    put_srv(60, 0, 0, 2, "b.internal");
    size_t whole = len;
    for (len = 0; len < whole; len++) {
        unsigned char *copy = malloc(len + 1); // of its length, so that the sanitizer sees what reads beyond
        memcpy(copy, bytes, len);
        assert_int_equal(peri_dns_srv_read(copy, len, &service), PERI_ERR_INVALID);
        free(copy);
    }
    assert_reads();
}

static unsigned calls;

static void on_done(struct peri_dns_srv_query *query, peri_err_t err, const struct peri_dns_service *found)
{
    assert_null(query->question);
    assert_int_equal(err, PERI_ERR_RESOLVE);
    assert_null(found);
    calls++;
}

static void tells_a_failure_in_a_later_turn_and_nothing_to_who_has_gone(void **state)
{
    (void)state;
    struct peri_loop *loop = peri_loop_new(false);
    struct peri_dns *dns = peri_dns_new(loop);
    struct peri_dns_srv_query waiting = {.on_done = on_done}, gone = {.on_done = on_done}, late = {.on_done = on_done};
    struct peri_slice name = PERI_SLICE("_a._tcp.b");
    assert_int_equal(peri_dns_set_servers(dns, "127.0.0.1:1"), PERI_OK); // nobody is there
    assert_int_equal(peri_dns_srv_ask(dns, name, &waiting), PERI_OK);
    assert_int_equal(peri_dns_srv_ask(dns, name, &gone), PERI_OK);
    assert_int_equal(peri_dns_srv_ask(dns, name, &late), PERI_OK);
    assert_int_equal(calls, 0);
    peri_dns_srv_cancel(&gone);
    peri_dns_set_servers(dns, NULL); // ends all questions; the answers come from the loop
    assert_int_equal(calls, 0);
    peri_dns_srv_cancel(&late);
    while (calls == 0)
        peri_loop_wait(loop, 1000);
    peri_dns_srv_cancel(&waiting);
    assert_int_equal(calls, 1);
    char huge[300];
    memset(huge, 'a', sizeof(huge));
    assert_int_equal(peri_dns_srv_ask(dns, peri_slice(huge, sizeof(huge)), &waiting), PERI_ERR_NOMEM);
    peri_dns_free(dns);
    peri_loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_targets_in_the_order_of_priority_and_name),
        cmocka_unit_test(keeps_the_time_within_bounds_and_counts_that_of_an_alias),
        cmocka_unit_test(finds_no_targets_where_the_answer_is_that_there_is_no_service),
        cmocka_unit_test(keeps_the_first_64_whatever_the_order_of_the_answer_is),
        cmocka_unit_test(refuses_an_answer_with_anything_malformed_in_it),
        cmocka_unit_test(refuses_every_answer_that_is_cut),
        cmocka_unit_test(tells_a_failure_in_a_later_turn_and_nothing_to_who_has_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
