// SPDX-License-Identifier: MIT
// Compares, and guesses where there is no preface.
#include "downstream/preface.h"

#include "base/assert.h"
#include "codec/h2.h"

// Does the first line look like one of HTTP/1.x, which has a version if not a path? Whoever speaks something else could not read an
// answer; a client of HTTP/2 with a wrong preface would take it for frames.
static bool is_http1(struct peri_slice data)
{
    const char *end = memchr(data.ptr, '\n', data.len);
    return !end || end - data.ptr < 2 || memchr(data.ptr, '/', (size_t)(end - data.ptr));
}

enum peri_preface peri_preface_look(size_t seen, struct peri_slice data, size_t *used)
{
    static const char preface[] = PERI_H2_PREFACE;
    size_t left = sizeof(preface) - 1 - seen;
    peri_debug_assert(seen < sizeof(preface) - 1);
    *used = data.len < left ? data.len : left;
    if (memcmp(data.ptr, preface + seen, *used) != 0)
        return is_http1(data) ? PERI_PREFACE_HTTP1 : PERI_PREFACE_NO_HTTP;
    return *used == left ? PERI_PREFACE_HTTP2 : PERI_PREFACE_PART;
}
