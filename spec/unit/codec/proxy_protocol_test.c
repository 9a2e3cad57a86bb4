// SPDX-License-Identifier: MIT
// The PROXY protocol: both versions byte by byte, what is refused and when, and headers that are written and read again.
#include "codec/proxy_protocol.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/attr.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define V4_BLOCK "\xc0\x00\x02\x01\xc6\x33\x64\x07\xc8\x22\x01\xbb" // 192.0.2.1:51234 to 198.51.100.7:443
#define V6_BLOCK                                                                                                       \
    "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"                                                                       \
    "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02\xc8\x22\x01\xbb"

// The bytes in a block of their exact size, so that a sanitizer sees a read past the end.
static peri_err_t parse(struct peri_slice data, struct peri_proxy_protocol *header, size_t *len)
{
    char *copy = malloc(data.len ? data.len : 1);
    assert_non_null(copy);
    memcpy(copy, data.ptr, data.len);
    peri_err_t err = peri_proxy_protocol_parse(peri_slice(copy, data.len), header, len);
    free(copy);
    return err;
}

// Reads `data` behind every number of bytes: more is wanted until the header is whole, and what follows it changes nothing.
static struct peri_proxy_protocol accept_header(struct peri_slice data)
{
    struct peri_proxy_protocol header, again;
    char longer[PERI_PROXY_PROTOCOL_MAX + 4];
    size_t len;
    for (size_t i = 0; i < data.len; i++)
        if (parse(peri_slice(data.ptr, i), &header, &len) != PERI_ERR_AGAIN)
            fail_msg("did not wait for more after %zu of %zu bytes", i, data.len);
    assert_int_equal(parse(data, &header, &len), PERI_OK);
    assert_int_equal(len, data.len);
    memcpy(longer, data.ptr, data.len);
    memcpy(longer + data.len, "GET ", 4);
    assert_int_equal(parse(peri_slice(longer, data.len + 4), &again, &len), PERI_OK);
    assert_int_equal(len, data.len);
    assert_memory_equal(&header, &again, sizeof header);
    return header;
}

// `data` is refused with `err` by its byte `at` (the first is 0), and not before.
static void assert_refused(struct peri_slice data, size_t at, peri_err_t err)
{
    struct peri_proxy_protocol header;
    size_t len;
    for (size_t i = 0; i <= data.len; i++) {
        peri_err_t got = parse(peri_slice(data.ptr, i), &header, &len);
        if (got != (i <= at ? PERI_ERR_AGAIN : err))
            fail_msg("%zu bytes of '%.*s': %s", i, (int)data.len, data.ptr, peri_err_info(got)->name);
    }
}

static void assert_addresses(struct peri_proxy_protocol header, const char *source, const char *destination)
{
    char text[PERI_IP_TEXT];
    assert_true(header.has_addresses);
    peri_ip_format(&header.source, text);
    assert_string_equal(text, source);
    peri_ip_format(&header.destination, text);
    assert_string_equal(text, destination);
    assert_int_equal(header.source_port, 51234);
    assert_int_equal(header.destination_port, 443);
}

// ---- version 1 ----

static void reads_the_text_form(void **state)
{
    (void)state;
    struct peri_proxy_protocol header = accept_header(PERI_SLICE("PROXY TCP4 192.0.2.1 198.51.100.7 51234 443\r\n"));
    assert_int_equal(header.version, 1);
    assert_addresses(header, "192.0.2.1", "198.51.100.7");
    header = accept_header(PERI_SLICE("PROXY TCP6 2001:DB8::1 2001:db8::2 51234 443\r\n"));
    assert_addresses(header, "2001:db8::1", "2001:db8::2");
    header = accept_header(PERI_SLICE("PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 51234 443\r\n"));
    assert_addresses(header, "192.0.2.1", "2001:db8::2");
}

static void reads_the_longest_line_that_there_can_be(void **state)
{
    (void)state;
    struct peri_slice line = PERI_SLICE("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
                                        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n");
    assert_int_equal(line.len, 107);
    assert_false(accept_header(line).has_addresses);
}

static void takes_unknown_with_anything_behind_it(void **state)
{
    (void)state;
    assert_false(accept_header(PERI_SLICE("PROXY UNKNOWN\r\n")).has_addresses);
    assert_false(accept_header(PERI_SLICE("PROXY UNKNOWN \x01 what  ever\r\n")).has_addresses);
}

static void refuses_the_first_byte_that_begins_no_header(void **state)
{
    (void)state;
    assert_refused(PERI_SLICE("GET / HTTP/1.1\r\n"), 0, PERI_ERR_INVALID);
    assert_refused(PERI_SLICE("POST / HTTP/1.1\r\n"), 1, PERI_ERR_INVALID);
    assert_refused(PERI_SLICE("PROXY\r\n"), 5, PERI_ERR_INVALID);
    assert_refused(PERI_SLICE("proxy TCP4"), 0, PERI_ERR_INVALID);
    assert_refused(PERI_SLICE("\x16\x03\x01"), 0, PERI_ERR_INVALID);
    assert_refused(PERI_SLICE("\r\n\r\n\0\r\nQUIX"), 10, PERI_ERR_INVALID);
    assert_refused(PERI_SLICE("\r\nGET / HTTP/1.1\r\n"), 2, PERI_ERR_INVALID);
}

static void refuses_lines_with_a_wrong_word(void **state)
{
    (void)state;
    const char *const lines[] = {
        "PROXY \r\n",
        "PROXY TCP4\r\n",
        "PROXY TCP4 \r\n",
        "PROXY TCP5 192.0.2.1 198.51.100.7 51234 443\r\n",
        "PROXY tcp4 192.0.2.1 198.51.100.7 51234 443\r\n",
        "PROXY UNKNOWNED\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 51234\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 51234 \r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 51234 443 \r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 51234 443 1\r\n",
        "PROXY TCP4  192.0.2.1 198.51.100.7 51234 443\r\n",
        "PROXY TCP4\t192.0.2.1 198.51.100.7 51234 443\r\n",
        "PROXY TCP4 192.0.2.256 198.51.100.7 51234 443\r\n",
        "PROXY TCP4 192.0.2.01 198.51.100.7 51234 443\r\n",
        "PROXY TCP4 2001:db8::1 2001:db8::2 51234 443\r\n",
        "PROXY TCP6 192.0.2.1 198.51.100.7 51234 443\r\n",
        "PROXY TCP6 2001:db8::1%lo 2001:db8::2 51234 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 05123 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 +1234 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 -1 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 65536 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 51234 4294967739\r\n",
    };
    for (size_t i = 0; i < PERI_COUNT(lines); i++)
        assert_refused(peri_slice_from(lines[i]), strlen(lines[i]) - 1, PERI_ERR_INVALID);
    struct peri_slice nul = PERI_SLICE("PROXY TCP4 192.0.2.1\0 198.51.100.7 51234 443\r\n");
    assert_refused(nul, nul.len - 1, PERI_ERR_INVALID);
}

static void refuses_line_ends_that_are_not_cr_lf(void **state)
{
    (void)state;
    assert_refused(PERI_SLICE("PROXY UNKNOWN\nGET /\r\n"), 13, PERI_ERR_INVALID);
    assert_refused(PERI_SLICE("PROXY UNKNOWN\n\r"), 13, PERI_ERR_INVALID);
    assert_refused(PERI_SLICE("PROXY UNKNOWN \r \r\n"), 15, PERI_ERR_INVALID);
    assert_refused(PERI_SLICE("PROXY UNKNOWN\r\r\n"), 14, PERI_ERR_INVALID);
}

static void refuses_a_line_without_end_at_its_107th_byte(void **state)
{
    (void)state;
    char line[200];
    memset(line, 'x', sizeof line);
    memcpy(line, "PROXY UNKNOWN ", 14);
    assert_refused(peri_slice(line, sizeof line), 106, PERI_ERR_LIMIT);
    memcpy(line + 106, "\r\n", 2);
    assert_refused(peri_slice(line, 108), 106, PERI_ERR_LIMIT);
}

// ---- version 2 ----

static void reads_the_binary_form(void **state)
{
    (void)state;
    struct peri_proxy_protocol header = accept_header(PERI_SLICE(SIGNATURE "\x21\x11\x00\x0c" V4_BLOCK));
    assert_int_equal(header.version, 2);
    assert_addresses(header, "192.0.2.1", "198.51.100.7");
    header = accept_header(PERI_SLICE(SIGNATURE "\x21\x21\x00\x24" V6_BLOCK));
    assert_addresses(header, "2001:db8::1", "2001:db8::2");
}

static void takes_a_mapped_address_for_the_ipv4_address_that_it_is(void **state)
{
    (void)state;
    struct peri_proxy_protocol header =
        accept_header(PERI_SLICE(SIGNATURE "\x21\x21\x00\x24\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\x00\x02\x01"
                                           "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02\xc8\x22\x01\xbb"));
    assert_addresses(header, "192.0.2.1", "2001:db8::2");
    assert_int_equal(header.source.version, 4);
}

static void skips_what_follows_the_addresses(void **state)
{
    (void)state;
    struct peri_proxy_protocol header =
        accept_header(PERI_SLICE(SIGNATURE "\x21\x11\x00\x17" V4_BLOCK "\x01\x00\x02h2\x04\x00\x00\x05\x00\x00"));
    assert_addresses(header, "192.0.2.1", "198.51.100.7");
}

static void takes_a_local_header_whatever_it_carries(void **state)
{
    (void)state;
    assert_false(accept_header(PERI_SLICE(SIGNATURE "\x20\x00\x00\x00")).has_addresses);
    assert_false(accept_header(PERI_SLICE(SIGNATURE "\x20\x11\x00\x0c" V4_BLOCK)).has_addresses);
    assert_false(accept_header(PERI_SLICE(SIGNATURE "\x20\xff\x00\x02\x01\xff")).has_addresses);
}

static void takes_families_that_it_has_no_use_for_as_unknown(void **state)
{
    (void)state;
    char text[16 + 216] = SIGNATURE "\x21\x31\x00\xd8";
    assert_false(accept_header(PERI_SLICE(SIGNATURE "\x21\x00\x00\x00")).has_addresses);
    assert_false(accept_header(PERI_SLICE(SIGNATURE "\x21\x00\x00\x02\x01\xff")).has_addresses);
    assert_false(accept_header(PERI_SLICE(SIGNATURE "\x21\x12\x00\x0c" V4_BLOCK)).has_addresses);
    assert_false(accept_header(PERI_SLICE(SIGNATURE "\x21\x22\x00\x24" V6_BLOCK)).has_addresses);
    assert_false(accept_header(peri_slice(text, sizeof text)).has_addresses);
    text[13] = 0x32;
    assert_false(accept_header(peri_slice(text, sizeof text)).has_addresses);
}

static void refuses_values_that_are_not_defined(void **state)
{
    (void)state;
    const struct peri_slice versions[] = {PERI_SLICE("\x11"), PERI_SLICE("\x31"), PERI_SLICE("\x22"),
                                          PERI_SLICE("\x2f"), PERI_SLICE("\x01"), PERI_SLICE("\xff")};
    const struct peri_slice families[] = {PERI_SLICE("\x01"), PERI_SLICE("\x10"), PERI_SLICE("\x13"),
                                          PERI_SLICE("\x30"), PERI_SLICE("\x33"), PERI_SLICE("\x41")};
    char text[] = SIGNATURE "\x21\x11\x00\x0c" V4_BLOCK;
    for (size_t i = 0; i < PERI_COUNT(versions); i++) {
        text[12] = versions[i].ptr[0];
        assert_refused(peri_slice(text, sizeof text - 1), 12, PERI_ERR_INVALID);
    }
    text[12] = 0x21;
    for (size_t i = 0; i < PERI_COUNT(families); i++) {
        text[13] = families[i].ptr[0];
        assert_refused(peri_slice(text, sizeof text - 1), 13, PERI_ERR_INVALID);
    }
}

static void refuses_a_length_that_holds_no_addresses(void **state)
{
    (void)state;
    assert_refused(PERI_SLICE(SIGNATURE "\x21\x11\x00\x0b" V4_BLOCK), 15, PERI_ERR_INVALID);
    assert_refused(PERI_SLICE(SIGNATURE "\x21\x21\x00\x0c" V4_BLOCK), 15, PERI_ERR_INVALID);
    assert_refused(PERI_SLICE(SIGNATURE "\x21\x31\x00\xd7" V4_BLOCK), 15, PERI_ERR_INVALID);
    assert_refused(PERI_SLICE(SIGNATURE "\x21\x11\x00\x00" V4_BLOCK), 15, PERI_ERR_INVALID);
}

static void refuses_a_header_above_the_limit_with_its_length(void **state)
{
    (void)state;
    char text[PERI_PROXY_PROTOCOL_MAX] = SIGNATURE "\x21\x11\x0f\xf0" V4_BLOCK "\x04\x0f\xe1";
    assert_refused(PERI_SLICE(SIGNATURE "\x21\x11\xff\xff" V4_BLOCK), 15, PERI_ERR_LIMIT);
    assert_refused(PERI_SLICE(SIGNATURE "\x20\x00\x0f\xf1"), 15, PERI_ERR_LIMIT);
    assert_addresses(accept_header(peri_slice(text, sizeof text)), "192.0.2.1", "198.51.100.7");
}

static void refuses_tlvs_whose_lengths_do_not_fit(void **state)
{
    (void)state;
    const struct peri_slice tlvs[] = {PERI_SLICE("\x01\x00\x01"), PERI_SLICE("\x01\xff\xff"),
                                      PERI_SLICE("\x04\x00\x00"), PERI_SLICE("\x04\x00\x01")};
    const char *const more[] = {"", "", "\x04", "hh"}; // what follows each inside the header
    for (size_t i = 0; i < PERI_COUNT(tlvs); i++) {
        char text[64] = SIGNATURE "\x21\x11\x00\x00" V4_BLOCK;
        size_t rest = tlvs[i].len + strlen(more[i]), len = 28 + rest;
        text[15] = (char)(12 + rest);
        memcpy(text + 28, tlvs[i].ptr, tlvs[i].len);
        memcpy(text + 28 + tlvs[i].len, more[i], strlen(more[i]));
        assert_refused(peri_slice(text, len), len - 1, PERI_ERR_INVALID);
    }
}

// ---- writing ----

static void assert_round(const char *source, const char *destination)
{
    for (uint8_t version = 1; version <= 2; version++) {
        struct peri_proxy_protocol header = {
            .version = version, .has_addresses = true, .source_port = 51234, .destination_port = 443};
        char text[PERI_PROXY_PROTOCOL_TEXT];
        assert_int_equal(peri_ip_parse(peri_slice_from(source), &header.source), PERI_OK);
        assert_int_equal(peri_ip_parse(peri_slice_from(destination), &header.destination), PERI_OK);
        struct peri_slice written = peri_slice(text, peri_proxy_protocol_format(&header, text));
        struct peri_proxy_protocol again = accept_header(written);
        assert_int_equal(again.version, version);
        assert_addresses(again, source, destination);
    }
}

static void reads_what_it_writes(void **state)
{
    (void)state;
    assert_round("192.0.2.1", "198.51.100.7");
    assert_round("2001:db8::1", "2001:db8::2");
    assert_round("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
    assert_round("255.255.255.255", "2001:db8::2");
    assert_round("2001:db8::1", "255.255.255.255");
}

static void writes_the_bytes_of_the_specification(void **state)
{
    (void)state;
    const struct peri_slice v1 = PERI_SLICE("PROXY TCP4 192.0.2.1 198.51.100.7 51234 443\r\n");
    const struct peri_slice v2 = PERI_SLICE(SIGNATURE "\x21\x11\x00\x0c" V4_BLOCK);
    char text[PERI_PROXY_PROTOCOL_TEXT];
    struct peri_proxy_protocol header = accept_header(v1);
    assert_int_equal(peri_proxy_protocol_format(&header, text), v1.len);
    assert_memory_equal(text, v1.ptr, v1.len);
    header.version = 2;
    assert_int_equal(peri_proxy_protocol_format(&header, text), v2.len);
    assert_memory_equal(text, v2.ptr, v2.len);
}

static void writes_mapped_addresses_among_ipv6_ones(void **state)
{
    (void)state;
    struct peri_proxy_protocol header =
        accept_header(PERI_SLICE("PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 51234 443\r\n"));
    char text[PERI_PROXY_PROTOCOL_TEXT];
    struct peri_slice written = peri_slice(text, peri_proxy_protocol_format(&header, text));
    assert_true(peri_slice_eq(written, PERI_SLICE("PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 51234 443\r\n")));
}

static void says_when_it_knows_no_addresses(void **state)
{
    (void)state;
    struct peri_proxy_protocol header = {.version = 1};
    char text[PERI_PROXY_PROTOCOL_TEXT];
    struct peri_slice written = peri_slice(text, peri_proxy_protocol_format(&header, text));
    assert_true(peri_slice_eq(written, PERI_SLICE("PROXY UNKNOWN\r\n")));
    header.version = 2;
    written.len = peri_proxy_protocol_format(&header, text);
    assert_true(peri_slice_eq(written, PERI_SLICE(SIGNATURE "\x20\x00\x00\x00")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_text_form),
        cmocka_unit_test(reads_the_longest_line_that_there_can_be),
        cmocka_unit_test(takes_unknown_with_anything_behind_it),
        cmocka_unit_test(refuses_the_first_byte_that_begins_no_header),
        cmocka_unit_test(refuses_lines_with_a_wrong_word),
        cmocka_unit_test(refuses_line_ends_that_are_not_cr_lf),
        cmocka_unit_test(refuses_a_line_without_end_at_its_107th_byte),
        cmocka_unit_test(reads_the_binary_form),
        cmocka_unit_test(takes_a_mapped_address_for_the_ipv4_address_that_it_is),
        cmocka_unit_test(skips_what_follows_the_addresses),
        cmocka_unit_test(takes_a_local_header_whatever_it_carries),
        cmocka_unit_test(takes_families_that_it_has_no_use_for_as_unknown),
        cmocka_unit_test(refuses_values_that_are_not_defined),
        cmocka_unit_test(refuses_a_length_that_holds_no_addresses),
        cmocka_unit_test(refuses_a_header_above_the_limit_with_its_length),
        cmocka_unit_test(refuses_tlvs_whose_lengths_do_not_fit),
        cmocka_unit_test(reads_what_it_writes),
        cmocka_unit_test(writes_the_bytes_of_the_specification),
        cmocka_unit_test(writes_mapped_addresses_among_ipv6_ones),
        cmocka_unit_test(says_when_it_knows_no_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
