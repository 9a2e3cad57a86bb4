// SPDX-License-Identifier: MIT
// The second byte is the only one whose range depends on the first (RFC 3629, section 4); all others are 80 to BF.
#include "shared/utf8.h"

size_t peri_utf8_len(struct peri_slice text)
{
    const unsigned char *p = (const unsigned char *)text.ptr;
    unsigned char low = 0x80, high = 0xbf;
    size_t len = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;
    if (len > text.len)
        return 0;
    if (p[0] == 0xe0)
        low = 0xa0;
    else if (p[0] == 0xed)
        high = 0x9f;
    else if (p[0] == 0xf0)
        low = 0x90;
    else if (p[0] == 0xf4)
        high = 0x8f;
    if (len > 1 && (p[1] < low || p[1] > high))
        return 0;
    for (size_t i = 2; i < len; i++) {
        if (p[i] < 0x80 || p[i] > 0xbf)
            return 0;
    }
    return len;
}
