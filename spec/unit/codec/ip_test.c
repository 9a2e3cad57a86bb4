// SPDX-License-Identifier: MIT
// Addresses and sets of networks: strict text, families apart, mapped addresses together.
#include "codec/ip.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/attr.h"

static void assert_ip(const char *text, const char *canonical, int version)
{
    struct peri_ip ip;
    char out[PERI_IP_TEXT];
    assert_int_equal(peri_ip_parse(peri_slice_from(text), &ip), PERI_OK);
    peri_ip_format(&ip, out);
    assert_string_equal(out, canonical);
    assert_int_equal(ip.version, version);
}

static void reads_addresses_and_writes_them_canonically(void **state)
{
    (void)state;
    assert_ip("10.0.0.1", "10.0.0.1", 4);
    assert_ip("255.255.255.255", "255.255.255.255", 4);
    assert_ip("2001:DB8:0:0:0:0:0:1", "2001:db8::1", 6);
    assert_ip("::", "::", 6);
    assert_ip("::ffff:10.0.0.1", "10.0.0.1", 4);
    assert_ip("::FFFF:0a00:0001", "10.0.0.1", 4);
}

static void refuses_what_is_not_exactly_an_address(void **state)
{
    (void)state;
    const char *const texts[] = {"",
                                 "10.0.0",
                                 "10.0.0.256",
                                 "010.0.0.1",
                                 "0x0a.0.0.1",
                                 "167772161",
                                 " 10.0.0.1",
                                 "10.0.0.1 ",
                                 "10.0.0.1:80",
                                 "[::1]",
                                 "::1%eth0",
                                 ":::",
                                 "1::2::3",
                                 "2001:db8",
                                 "example.com",
                                 "1111:2222:3333:4444:5555:6666:7777:8888:9999",
                                 "1111111111111111111111111111111111111111111111"};
    struct peri_ip ip;
    for (size_t i = 0; i < PERI_COUNT(texts); i++)
        if (peri_ip_parse(peri_slice_from(texts[i]), &ip) == PERI_OK)
            fail_msg("'%s' was taken for an address", texts[i]);
    assert_int_equal(peri_ip_parse(PERI_SLICE("10.0.0.1\0"), &ip), PERI_ERR_INVALID);
}

static struct peri_ip_set *make_set(const char *const *entries, size_t count)
{
    struct peri_ip_set *set = peri_ip_set_new();
    char message[256] = "";
    for (size_t i = 0; i < count; i++)
        if (peri_ip_set_add(set, peri_slice_from(entries[i]), message, sizeof message) != PERI_OK)
            fail_msg("%s", message);
    return set;
}

static bool contains(struct peri_ip_set *set, const char *text)
{
    struct peri_ip ip;
    assert_int_equal(peri_ip_parse(peri_slice_from(text), &ip), PERI_OK);
    return peri_ip_set_contains(set, &ip);
}

static void holds_the_first_and_last_address_of_a_network_and_none_beside(void **state)
{
    (void)state;
    const char *const entries[] = {"10.0.0.0/8", "192.168.1.128/25", "172.16.0.1", "2001:db8::/33", "fe80::1"};
    struct peri_ip_set *set = make_set(entries, PERI_COUNT(entries));
    const char *const inside[] = {"10.0.0.0",
                                  "10.255.255.255",
                                  "192.168.1.128",
                                  "192.168.1.255",
                                  "172.16.0.1",
                                  "2001:db8::",
                                  "2001:db8:7fff:ffff:ffff:ffff:ffff:ffff",
                                  "fe80::1",
                                  "::ffff:10.1.2.3"};
    const char *const outside[] = {
        "9.255.255.255", "11.0.0.0",   "192.168.1.127",   "192.168.2.0",
        "172.16.0.0",    "172.16.0.2", "2001:db8:8000::", "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff",
        "fe80::",        "fe80::2"};
    for (size_t i = 0; i < PERI_COUNT(inside); i++)
        if (!contains(set, inside[i]))
            fail_msg("%s is missing", inside[i]);
    for (size_t i = 0; i < PERI_COUNT(outside); i++)
        if (contains(set, outside[i]))
            fail_msg("%s is too much", outside[i]);
    peri_ip_set_free(set);
}

static void the_families_meet_only_in_mapped_addresses(void **state)
{
    (void)state;
    const char *const all6[] = {"::/0"}, *const all4[] = {"0.0.0.0/0"}, *const mapped[] = {"::ffff:10.0.0.0/104"};
    struct peri_ip_set *set6 = make_set(all6, 1), *set4 = make_set(all4, 1), *set = make_set(mapped, 1);
    assert_true(contains(set6, "::1") && contains(set6, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"));
    assert_false(contains(set6, "10.0.0.1"));
    assert_true(contains(set4, "10.0.0.1") && contains(set4, "::ffff:10.0.0.1") && contains(set4, "255.255.255.255"));
    assert_false(contains(set4, "::1"));
    assert_true(contains(set, "10.9.9.9"));
    assert_false(contains(set, "11.0.0.0"));
    peri_ip_set_free(set6);
    peri_ip_set_free(set4);
    peri_ip_set_free(set);
}

static void overlapping_networks_become_one(void **state)
{
    (void)state;
    const char *const entries[] = {"10.1.0.0/16", "10.0.0.0/8", "10.1.1.1", "10.0.0.0/8", "10.128.0.0/9", "12.0.0.0/8"};
    struct peri_ip_set *set = make_set(entries, PERI_COUNT(entries));
    assert_true(contains(set, "10.0.0.0") && contains(set, "10.1.1.1") && contains(set, "10.255.255.255"));
    assert_false(contains(set, "11.0.0.0"));
    assert_true(contains(set, "12.0.0.0"));
    assert_int_equal(peri_ip_set_add(set, PERI_SLICE("11.0.0.0/8"), NULL, 0), PERI_OK);
    assert_true(contains(set, "11.0.0.0"));
    peri_ip_set_free(set);
}

static void agrees_with_a_plain_search_over_many_networks(void **state)
{
    (void)state;
    struct peri_ip_set *set = peri_ip_set_new();
    uint32_t nets[500], seed = 7;
    char text[32];
    for (size_t i = 0; i < PERI_COUNT(nets); i++) {
        seed = seed * 1664525 + 1013904223;
        nets[i] = seed >> 16 << 8; // 0.x.y.0/24
        snprintf(text, sizeof text, "0.%u.%u.0/24", nets[i] >> 16, nets[i] >> 8 & 255);
        assert_int_equal(peri_ip_set_add(set, peri_slice_from(text), NULL, 0), PERI_OK);
    }
    for (uint32_t i = 0; i < 65536; i++) {
        bool wanted = false;
        for (size_t j = 0; j < PERI_COUNT(nets); j++)
            wanted = wanted || nets[j] == i << 8;
        struct peri_ip ip = {4, {0, (uint8_t)(i >> 8), (uint8_t)i, 77}};
        assert_int_equal(peri_ip_set_contains(set, &ip), wanted);
    }
    peri_ip_set_free(set);
}

static void assert_refused(const char *entry, const char *part)
{
    struct peri_ip_set *set = peri_ip_set_new();
    char message[256] = "";
    assert_int_equal(peri_ip_set_add(set, peri_slice_from(entry), message, sizeof message), PERI_ERR_INVALID);
    if (!strstr(message, part) || !strstr(message, entry))
        fail_msg("'%s' does not say '%s' and '%s'", message, entry, part);
    peri_ip_set_free(set);
}

static void a_refused_entry_is_named_with_the_reason(void **state)
{
    (void)state;
    assert_refused("10.0.0.0/33", "0 to 32");
    assert_refused("10.0.0.0/", "0 to 32");
    assert_refused("10.0.0.0/08", "0 to 32");
    assert_refused("10.0.0.0/-1", "0 to 32");
    assert_refused("10.0.0.0/8/8", "0 to 32");
    assert_refused("::/129", "0 to 128");
    assert_refused("::ffff:10.0.0.0/8", "96 to 128");
    assert_refused("localhost", "not an IP address");
    assert_refused("/8", "not an IP address");
    assert_refused("", "not an IP address");
    assert_refused("10.0.0.5/8", "the network is 10.0.0.0/8");
    assert_refused("2001:db8::5/64", "the network is 2001:db8::/64");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_addresses_and_writes_them_canonically),
        cmocka_unit_test(refuses_what_is_not_exactly_an_address),
        cmocka_unit_test(holds_the_first_and_last_address_of_a_network_and_none_beside),
        cmocka_unit_test(the_families_meet_only_in_mapped_addresses),
        cmocka_unit_test(overlapping_networks_become_one),
        cmocka_unit_test(agrees_with_a_plain_search_over_many_networks),
        cmocka_unit_test(a_refused_entry_is_named_with_the_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
