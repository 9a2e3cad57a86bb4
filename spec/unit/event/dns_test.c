// SPDX-License-Identifier: MIT
// The resolver as far as it goes without a network: literals, names from the hosts file, names that cannot be.
#include "event/dns.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "event/loop.h"

static void assert_literal(const char *text, uint16_t port, const char *canonical)
{
    struct sockaddr_storage address;
    char ip[64];
    assert_true(peri_dns_parse_literal(peri_slice_from(text), port, &address));
    if (address.ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&address;
        inet_ntop(AF_INET6, &v6->sin6_addr, ip, sizeof(ip));
        assert_int_equal(ntohs(v6->sin6_port), port);
    } else {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)&address;
        inet_ntop(AF_INET, &v4->sin_addr, ip, sizeof(ip));
        assert_int_equal(ntohs(v4->sin_port), port);
    }
    assert_string_equal(ip, canonical);
}

static void reads_literals(void **state)
{
    (void)state;
    assert_literal("127.0.0.1", 80, "127.0.0.1");
    assert_literal("::1", 65535, "::1");
    assert_literal("[2001:DB8::1]", 443, "2001:db8::1");
}

static void tells_names_from_literals(void **state)
{
    (void)state;
    static const char *const names[] = {"localhost", "",          "[",   "[]",        "127.0.0.1.example",
                                        "127.1",     "1.2.3.4.5", "::g", "[127.0.0.1"};
    struct sockaddr_storage address;
    char huge[200];
    for (unsigned i = 0; i < PERI_COUNT(names); i++)
        if (peri_dns_parse_literal(peri_slice_from(names[i]), 80, &address))
            fail_msg("'%s' was taken for an address", names[i]);
    memset(huge, '1', sizeof(huge));
    assert_false(peri_dns_parse_literal(peri_slice(huge, sizeof(huge)), 80, &address));
}

struct answer {
    struct peri_dns_query query;
    unsigned count;
    peri_err_t err;
    unsigned calls;
};

static void on_done(struct peri_dns_query *query, peri_err_t err, const struct sockaddr_storage *addresses,
                    unsigned count)
{
    struct answer *answer = PERI_CONTAINER(query, struct answer, query);
    (void)addresses;
    answer->calls++;
    answer->err = err;
    answer->count = count;
}

static void finds_names_of_the_hosts_file_in_a_later_turn_and_remembers_them(void **state)
{
    (void)state;
    struct peri_loop *loop = peri_loop_new(false);
    struct peri_dns *dns = peri_dns_new(loop);
    struct answer answers[3] = {{.query.on_done = on_done}, {.query.on_done = on_done}, {.query.on_done = on_done}};
    assert_non_null(dns);
    peri_dns_resolve(dns, PERI_SLICE("localhost"), &answers[0].query);
    peri_dns_resolve(dns, PERI_SLICE("LOCALHOST"), &answers[1].query);
    peri_dns_resolve(dns, PERI_SLICE("localhost"), &answers[2].query);
    peri_dns_cancel(&answers[2].query);
    assert_int_equal(answers[0].calls, 0);
    for (unsigned i = 0; i < 1000 && answers[0].calls + answers[1].calls < 2; i++)
        peri_loop_wait(loop, 10);
    assert_int_equal(answers[0].calls, 1);
    assert_int_equal(answers[1].calls, 1);
    assert_int_equal(answers[2].calls, 0);
    assert_int_equal(answers[0].err, PERI_OK);
    assert_in_range(answers[0].count, 1, PERI_DNS_ADDRESSES);
    peri_dns_resolve(dns, PERI_SLICE("localhost"), &answers[2].query);
    assert_int_equal(answers[2].calls, 0);
    peri_loop_turn(loop);
    peri_loop_turn(loop);
    assert_int_equal(answers[2].calls, 1);
    peri_dns_free(dns);
    peri_loop_free(loop);
}

static void refuses_a_name_that_is_too_long(void **state)
{
    (void)state;
    char name[300];
    struct peri_loop *loop = peri_loop_new(true);
    struct peri_dns *dns = peri_dns_new(loop);
    struct answer answer = {.query.on_done = on_done};
    memset(name, 'n', sizeof(name));
    peri_dns_resolve(dns, peri_slice(name, sizeof(name)), &answer.query);
    while (peri_loop_turn(loop))
        ;
    assert_int_equal(answer.calls, 1);
    assert_int_equal(answer.err, PERI_ERR_RESOLVE);
    peri_dns_free(dns);
    peri_loop_free(loop);
}

static void is_not_asked_without_descriptors_and_says_so(void **state)
{
    (void)state;
    struct peri_loop *loop = peri_loop_new(false);
    struct peri_dns *dns = peri_dns_new(loop);
    struct answer answer = {.query.on_done = on_done};
    struct rlimit before, none;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    peri_dns_resolve(dns, PERI_SLICE("localhost"), &answer.query);
    for (unsigned i = 0; i < 1000 && answer.calls == 0; i++)
        peri_loop_wait(loop, 10);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(answer.err, PERI_ERR_OVERLOADED);
    peri_dns_free(dns);
    peri_loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_literals),
        cmocka_unit_test(tells_names_from_literals),
        cmocka_unit_test(finds_names_of_the_hosts_file_in_a_later_turn_and_remembers_them),
        cmocka_unit_test(refuses_a_name_that_is_too_long),
        cmocka_unit_test(is_not_asked_without_descriptors_and_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
