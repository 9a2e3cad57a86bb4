// SPDX-License-Identifier: MIT
// Both readers judge every byte as soon as it is there, so that a peer that sends something else is refused at once, and the
// verdict over some bytes never changes with what follows them.
//
//   version 1   PROXY TCP4 192.0.2.1 198.51.100.7 51234 443 CR LF           (or TCP6, or UNKNOWN and anything)
//   version 2   12 bytes of signature | version, command | family, transport | length (2) | addresses | TLVs
//
// Addresses of unix sockets and of datagrams tell nothing that HTTP or TCP could use: valid, and read as "unknown", which
// the specification allows. TLVs are not used; their lengths still have to fit, because a sender that gets them wrong cannot be
// trusted with the addresses either. What follows the command LOCAL or the family UNSPEC is skipped unread, as the specification
// wants it.
#include "codec/proxy_protocol.h"

#include <stdio.h>

#include "base/assert.h"

#define LINE_MAX_BYTES 107 // of version 1, CR LF included
#define FIXED_BYTES 16     // of version 2, up to the addresses

static const char signature[12] = {'\r', '\n', '\r', '\n', '\0', '\r', '\n', 'Q', 'U', 'I', 'T', '\n'};

enum command { COMMAND_LOCAL = 0x20, COMMAND_PROXY = 0x21 };

enum family { FAMILY_UNSPEC = 0x00, FAMILY_TCP4 = 0x11, FAMILY_TCP6 = 0x21 };

static uint16_t get_u16(const char *at)
{
    return (uint16_t)((uint8_t)at[0] << 8 | (uint8_t)at[1]);
}

// Is `data` the begin of `text`, or the other way round?
static bool agrees(struct peri_slice data, struct peri_slice text)
{
    size_t len = data.len < text.len ? data.len : text.len;
    return memcmp(data.ptr, text.ptr, len) == 0;
}

// ---- version 1 ----

// The next word of the line; words are separated by exactly one space.
static struct peri_slice next_word(struct peri_slice *line)
{
    const char *space = line->len > 0 ? memchr(line->ptr, ' ', line->len) : NULL;
    struct peri_slice word = peri_slice(line->ptr, space ? (size_t)(space - line->ptr) : line->len);
    size_t used = word.len + (space ? 1 : 0);
    *line = peri_slice(line->ptr + used, line->len - used);
    return word;
}

static bool parse_port(struct peri_slice word, uint16_t *port)
{
    uint32_t value = 0;
    if (word.len == 0 || word.len > 5 || (word.len > 1 && word.ptr[0] == '0'))
        return false;
    for (size_t i = 0; i < word.len; i++) {
        if (word.ptr[i] < '0' || word.ptr[i] > '9')
            return false;
        value = value * 10 + (uint32_t)(word.ptr[i] - '0');
    }
    *port = (uint16_t)value;
    return value <= UINT16_MAX;
}

// An address of the family that the line names.
static bool parse_address(struct peri_slice word, bool is_v6, struct peri_ip *ip)
{
    bool has_colon = word.len > 0 && memchr(word.ptr, ':', word.len);
    return has_colon == is_v6 && peri_ip_parse(word, ip) == PERI_OK;
}

// What stands between "PROXY " and CR LF.
static bool parse_line(struct peri_slice line, struct peri_proxy_protocol *header)
{
    bool has_rest = memchr(line.ptr, ' ', line.len) != NULL;
    struct peri_slice protocol = next_word(&line);
    if (peri_slice_eq(protocol, PERI_SLICE("UNKNOWN")))
        return true;
    bool is_v6 = peri_slice_eq(protocol, PERI_SLICE("TCP6"));
    if (!has_rest || (!is_v6 && !peri_slice_eq(protocol, PERI_SLICE("TCP4"))))
        return false;
    header->has_addresses = true;
    if (!parse_address(next_word(&line), is_v6, &header->source) ||
        !parse_address(next_word(&line), is_v6, &header->destination) ||
        !parse_port(next_word(&line), &header->source_port))
        return false;
    return parse_port(line, &header->destination_port); // the rest: no space may follow
}

static peri_err_t parse_v1(struct peri_slice data, struct peri_proxy_protocol *header, size_t *len)
{
    const struct peri_slice begin = PERI_SLICE("PROXY ");
    struct peri_slice seen = peri_slice(data.ptr, data.len < LINE_MAX_BYTES ? data.len : LINE_MAX_BYTES);
    if (!agrees(data, begin))
        return PERI_ERR_INVALID;
    const char *lf = memchr(seen.ptr, '\n', seen.len);
    const char *cr = memchr(seen.ptr, '\r', seen.len);
    if (lf ? !cr || lf != cr + 1 : cr && cr + 1 < seen.ptr + seen.len)
        return PERI_ERR_INVALID;
    if (!lf)
        return seen.len < LINE_MAX_BYTES ? PERI_ERR_AGAIN : PERI_ERR_LIMIT;
    header->version = 1;
    *len = (size_t)(lf + 1 - data.ptr);
    struct peri_slice line = peri_slice(data.ptr + begin.len, *len - begin.len - 2);
    return line.len > 0 && parse_line(line, header) ? PERI_OK : PERI_ERR_INVALID;
}

// ---- version 2 ----

// What `transport` (family and transport in one byte) carries: bytes of addresses, or -1 when the value is not defined.
static int address_bytes(uint8_t transport)
{
    switch (transport) {
    case FAMILY_UNSPEC: return 0;
    case FAMILY_TCP4:
    case 0x12: return 12;
    case FAMILY_TCP6:
    case 0x22: return 36;
    case 0x31:
    case 0x32: return 216;
    default: return -1;
    }
}

static bool are_tlvs(struct peri_slice rest)
{
    while (rest.len >= 3) {
        size_t used = 3 + (size_t)get_u16(rest.ptr + 1);
        if (used > rest.len)
            return false;
        rest = peri_slice(rest.ptr + used, rest.len - used);
    }
    return rest.len == 0;
}

static struct peri_ip read_ip(const char *at, uint8_t version)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    struct peri_ip ip = {.version = version};
    if (version == 6 && memcmp(at, mapped, sizeof mapped) == 0) {
        ip.version = 4;
        at += sizeof mapped;
    }
    memcpy(ip.bytes, at, ip.version == 6 ? 16 : 4);
    return ip;
}

static void read_addresses(const char *at, uint8_t version, struct peri_proxy_protocol *header)
{
    size_t size = version == 6 ? 16 : 4;
    header->has_addresses = true;
    header->source = read_ip(at, version);
    header->destination = read_ip(at + size, version);
    header->source_port = get_u16(at + 2 * size);
    header->destination_port = get_u16(at + 2 * size + 2);
}

// The bytes behind the signature, as far as they are there.
static peri_err_t check_fixed(struct peri_slice data)
{
    uint8_t command = data.len > 12 ? (uint8_t)data.ptr[12] : COMMAND_LOCAL;
    if (command != COMMAND_LOCAL && command != COMMAND_PROXY)
        return PERI_ERR_INVALID;
    if (data.len > 13 && command == COMMAND_PROXY && address_bytes((uint8_t)data.ptr[13]) < 0)
        return PERI_ERR_INVALID;
    if (data.len < FIXED_BYTES)
        return PERI_ERR_AGAIN;
    size_t len = get_u16(data.ptr + 14);
    if (command == COMMAND_PROXY && len < (size_t)address_bytes((uint8_t)data.ptr[13]))
        return PERI_ERR_INVALID;
    if (FIXED_BYTES + len > PERI_PROXY_PROTOCOL_MAX)
        return PERI_ERR_LIMIT;
    return data.len < FIXED_BYTES + len ? PERI_ERR_AGAIN : PERI_OK;
}

static peri_err_t parse_v2(struct peri_slice data, struct peri_proxy_protocol *header, size_t *len)
{
    peri_err_t err = check_fixed(data);
    if (err != PERI_OK)
        return err;
    header->version = 2;
    *len = FIXED_BYTES + (size_t)get_u16(data.ptr + 14);
    uint8_t transport = (uint8_t)data.ptr[13];
    if ((uint8_t)data.ptr[12] == COMMAND_LOCAL || transport == FAMILY_UNSPEC)
        return PERI_OK;
    size_t tlvs = FIXED_BYTES + (size_t)address_bytes(transport);
    if (!are_tlvs(peri_slice(data.ptr + tlvs, *len - tlvs)))
        return PERI_ERR_INVALID;
    if (transport == FAMILY_TCP4 || transport == FAMILY_TCP6)
        read_addresses(data.ptr + FIXED_BYTES, transport == FAMILY_TCP6 ? 6 : 4, header);
    return PERI_OK;
}

peri_err_t peri_proxy_protocol_parse(struct peri_slice data, struct peri_proxy_protocol *header, size_t *len)
{
    const struct peri_slice begin = peri_slice(signature, sizeof signature);
    *header = (struct peri_proxy_protocol){.version = 0};
    *len = 0;
    if (data.len == 0)
        return PERI_ERR_AGAIN;
    if (data.ptr[0] != signature[0])
        return parse_v1(data, header, len);
    return agrees(data, begin) ? parse_v2(data, header, len) : PERI_ERR_INVALID;
}

// ---- writing ----

static char *put_ip(char *at, const struct peri_ip *ip, bool is_v6)
{
    if (is_v6 && ip->version == 4) {
        memset(at, 0, 10);
        memset(at + 10, 0xff, 2);
        at += 12;
    }
    size_t size = ip->version == 6 ? 16 : 4;
    memcpy(at, ip->bytes, size);
    return at + size;
}

static char *put_u16(char *at, size_t value)
{
    at[0] = (char)(value >> 8);
    at[1] = (char)value;
    return at + 2;
}

static size_t format_v2(const struct peri_proxy_protocol *header, bool is_v6, char *text)
{
    char *at = text + sizeof signature;
    memcpy(text, signature, sizeof signature);
    *at++ = header->has_addresses ? COMMAND_PROXY : COMMAND_LOCAL;
    *at++ = !header->has_addresses ? 0 : is_v6 ? FAMILY_TCP6 : FAMILY_TCP4;
    at = put_u16(at, !header->has_addresses ? 0 : is_v6 ? 36 : 12);
    if (!header->has_addresses)
        return (size_t)(at - text);
    at = put_ip(at, &header->source, is_v6);
    at = put_ip(at, &header->destination, is_v6);
    at = put_u16(at, header->source_port);
    at = put_u16(at, header->destination_port);
    return (size_t)(at - text);
}

// The text of an address; an IPv4 address among IPv6 ones in its mapped form.
static void format_ip(const struct peri_ip *ip, bool is_v6, char text[PERI_IP_TEXT + 7])
{
    bool is_mapped = is_v6 && ip->version == 4;
    memcpy(text, "::ffff:", 7);
    peri_ip_format(ip, is_mapped ? text + 7 : text);
}

static size_t format_v1(const struct peri_proxy_protocol *header, bool is_v6, char *text)
{
    char source[PERI_IP_TEXT + 7], destination[PERI_IP_TEXT + 7];
    if (!header->has_addresses) {
        memcpy(text, "PROXY UNKNOWN\r\n", 15);
        return 15;
    }
    format_ip(&header->source, is_v6, source);
    format_ip(&header->destination, is_v6, destination);
    int len = snprintf(text, PERI_PROXY_PROTOCOL_TEXT, "PROXY TCP%c %s %s %u %u\r\n", is_v6 ? '6' : '4', source,
                       destination, (unsigned)header->source_port, (unsigned)header->destination_port);
    peri_assert(len > 0 && len < PERI_PROXY_PROTOCOL_TEXT);
    return (size_t)len;
}

size_t peri_proxy_protocol_format(const struct peri_proxy_protocol *header, char text[PERI_PROXY_PROTOCOL_TEXT])
{
    bool is_v6 = header->source.version == 6 || header->destination.version == 6;
    peri_assert(header->version == 1 || header->version == 2);
    return header->version == 1 ? format_v1(header, is_v6, text) : format_v2(header, is_v6, text);
}
