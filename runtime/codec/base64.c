// SPDX-License-Identifier: MIT
// Base64 and hex over tables. Decoding looks at every character even behind a bad one and checks once at the end.

#include "codec/base64.h"

#include <stdint.h>

static const char alphabets[2][65] = {
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
};

// Value of a character + 1; 0 for a character of neither alphabet. '+' '/' and '-' '_' are told apart by the caller.
static const uint8_t values[256] = {
    ['A'] = 1,  ['B'] = 2,  ['C'] = 3,  ['D'] = 4,  ['E'] = 5,  ['F'] = 6,  ['G'] = 7,  ['H'] = 8,  ['I'] = 9,
    ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16, ['Q'] = 17, ['R'] = 18,
    ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24, ['Y'] = 25, ['Z'] = 26, ['a'] = 27,
    ['b'] = 28, ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32, ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36,
    ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40, ['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44, ['s'] = 45,
    ['t'] = 46, ['u'] = 47, ['v'] = 48, ['w'] = 49, ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54,
    ['2'] = 55, ['3'] = 56, ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62,
};

static uint32_t value_of(char c, bool is_url);
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
    uint32_t bad = rest == 1;
    char *start = out;
    for (; i + 4 <= size; i += 4) {
        uint32_t a = value_of(text.ptr[i], is_url), b = value_of(text.ptr[i + 1], is_url);
        uint32_t c = value_of(text.ptr[i + 2], is_url), d = value_of(text.ptr[i + 3], is_url);
        bad |= (a | b | c | d) >> 6;
        uint32_t bits = a << 18 | b << 12 | c << 6 | d;
        *out++ = (char)(bits >> 16);
        *out++ = (char)(bits >> 8);
        *out++ = (char)bits;
    }
    if (rest >= 2) {
        uint32_t a = value_of(text.ptr[i], is_url), b = value_of(text.ptr[i + 1], is_url);
        uint32_t c = rest == 3 ? value_of(text.ptr[i + 2], is_url) : 0;
        uint32_t bits = a << 18 | b << 12 | c << 6;
        bad |= (a | b | c) >> 6 | (bits & (rest == 3 ? 0xffu : 0xffffu));
        *out++ = (char)(bits >> 16);
        if (rest == 3)
            *out++ = (char)(bits >> 8);
    }
    *len = (size_t)(out - start);
    return bad == 0;
}

/// 0 … 63, or 64 for a character outside the alphabet.
static uint32_t value_of(char c, bool is_url)
{
    uint32_t value = values[(uint8_t)c];
    if (value > 0)
        return value - 1;
    if (c == (is_url ? '-' : '+'))
        return 62;
    return c == (is_url ? '_' : '/') ? 63 : 64;
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
