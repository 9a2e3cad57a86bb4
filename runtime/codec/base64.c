// SPDX-License-Identifier: MIT
// Base64 and hex over tables. Decoding looks at every character even behind a bad one and checks once at the end.

#include "codec/base64.h"

#include <stdint.h>

static const char alphabets[2][65] = {
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
};

// Bits of each character, with marks for a character that an alphabet does not have; neither has those with both marks.
#define NOT_STANDARD 0x40
#define NOT_URL 0x80
static const uint8_t values[256] = {
    0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0,
    0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0,
    0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xbe, 0xc0, 0x7e, 0xc0, 0xbf, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3a, 0x3b, 0x3c,
    0x3d, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a,
    0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0xc0, 0xc0, 0xc0, 0xc0,
    0x7f, 0xc0, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f, 0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2a,
    0x2b, 0x2c, 0x2d, 0x2e, 0x2f, 0x30, 0x31, 0x32, 0x33, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0,
    0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0,
    0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0,
    0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0,
    0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0,
    0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0,
    0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0,
    0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0,
};

static uint32_t value_of(char c);
static int hex_value(char c);

size_t peri_base64_encode(struct peri_slice data, bool is_url, char *out)
{
    const char *alphabet = alphabets[is_url];
    const uint8_t *in = (const uint8_t *)data.ptr;
    char *start = out;
    size_t i = 0;
    for (; i + 3 <= data.len; i += 3) {
        uint32_t bits = (uint32_t)in[i] << 16 | (uint32_t)in[i + 1] << 8 | in[i + 2];
        *out++ = alphabet[bits >> 18];
        *out++ = alphabet[bits >> 12 & 63];
        *out++ = alphabet[bits >> 6 & 63];
        *out++ = alphabet[bits & 63];
    }
    size_t rest = data.len - i;
    if (rest > 0) {
        uint32_t bits = (uint32_t)in[i] << 16 | (rest == 2 ? (uint32_t)in[i + 1] << 8 : 0);
        *out++ = alphabet[bits >> 18];
        *out++ = alphabet[bits >> 12 & 63];
        if (rest == 2)
            *out++ = alphabet[bits >> 6 & 63];
        for (size_t pad = rest; pad < 3 && !is_url; pad++)
            *out++ = '=';
    }
    return (size_t)(out - start);
}

bool peri_base64_decode(struct peri_slice text, bool is_url, char *out, size_t *len)
{
    size_t size = text.len;
    if (!is_url) {
        if (size % 4 != 0)
            return false;
        size -= size > 0 && text.ptr[size - 1] == '=';
        size -= size > 0 && size < text.len && text.ptr[size - 1] == '=';
    }
    size_t rest = size % 4, i = 0;
    uint32_t marks = 0, unused = rest == 1;
    char *start = out;
    for (; i + 4 <= size; i += 4) {
        uint32_t a = value_of(text.ptr[i]), b = value_of(text.ptr[i + 1]);
        uint32_t c = value_of(text.ptr[i + 2]), d = value_of(text.ptr[i + 3]);
        uint32_t bits = (a & 63) << 18 | (b & 63) << 12 | (c & 63) << 6 | (d & 63);
        marks |= a | b | c | d;
        *out++ = (char)(bits >> 16);
        *out++ = (char)(bits >> 8);
        *out++ = (char)bits;
    }
    if (rest >= 2) {
        uint32_t a = value_of(text.ptr[i]), b = value_of(text.ptr[i + 1]);
        uint32_t c = rest == 3 ? value_of(text.ptr[i + 2]) : 0;
        uint32_t bits = (a & 63) << 18 | (b & 63) << 12 | (c & 63) << 6;
        marks |= a | b | c;
        unused |= bits & (rest == 3 ? 0xffu : 0xffffu);
        *out++ = (char)(bits >> 16);
        if (rest == 3)
            *out++ = (char)(bits >> 8);
    }
    *len = (size_t)(out - start);
    return unused == 0 && (marks & (is_url ? NOT_URL : NOT_STANDARD)) == 0;
}

static uint32_t value_of(char c)
{
    return values[(uint8_t)c];
}

void peri_hex_encode(struct peri_slice data, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < data.len; i++) {
        out[2 * i] = digits[(uint8_t)data.ptr[i] >> 4];
        out[2 * i + 1] = digits[(uint8_t)data.ptr[i] & 15];
    }
}

bool peri_hex_decode(struct peri_slice text, char *out)
{
    int bad = (int)(text.len % 2);
    for (size_t i = 0; i + 2 <= text.len; i += 2) {
        int high = hex_value(text.ptr[i]), low = hex_value(text.ptr[i + 1]);
        bad |= (high | low) < 0;
        out[i / 2] = (char)((unsigned)high << 4 | (unsigned)low);
    }
    return bad == 0;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = peri_ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}
