// SPDX-License-Identifier: MIT
// Fuzzes everything that takes URLs apart: no input may crash it, and what it gives out keeps the promises of codec/url.h.
#include "codec/url.h"

#include "base/assert.h"

/// The target. Reads exactly `size` bytes at `data`; always returns 0.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_dots(struct peri_slice segment)
{
    return segment.len > 0 && segment.len <= 2 && segment.ptr[0] == '.' && segment.ptr[segment.len - 1] == '.';
}

/// A normal path begins with '/', is printable ASCII without separators of any other kind, has no empty segment but the
/// last, no dot segment, and is its own normal form.
static void check_path(struct peri_arena *arena, struct peri_slice path)
{
    struct peri_slice again, segment = peri_slice(path.ptr + 1, 0);
    peri_assert(path.len > 0 && path.ptr[0] == '/');
    for (size_t i = 1; i <= path.len; i++) {
        if (i == path.len || path.ptr[i] == '/') {
            peri_assert(!is_dots(segment));
            peri_assert(segment.len > 0 || i == path.len);
            segment = peri_slice(path.ptr + i + 1, 0);
            continue;
        }
        segment.len++;
        peri_assert(path.ptr[i] > ' ' && path.ptr[i] < 0x7f && !strchr("\\?#\"<>[]^`{|}", path.ptr[i]));
        peri_assert(path.ptr[i] != '%' || (i + 2 < path.len && memcmp(path.ptr + i, "%2F", 3) != 0 &&
                                           memcmp(path.ptr + i, "%5C", 3) != 0 && memcmp(path.ptr + i, "%00", 3) != 0));
    }
    peri_assert(peri_url_normalize_path(arena, path, &again) == PERI_OK);
    peri_assert(again.ptr == path.ptr && again.len == path.len);
}

static void check_host(struct peri_arena *arena, struct peri_slice host)
{
    struct peri_slice again;
    uint16_t port;
    peri_assert(host.len > 0 && host.len <= 255);
    for (size_t i = 0; i < host.len; i++)
        peri_assert(host.ptr[i] > ' ' && host.ptr[i] < 0x7f && !(host.ptr[i] >= 'A' && host.ptr[i] <= 'Z') &&
                    !strchr("/?#@\\%", host.ptr[i]));
    peri_assert(peri_url_parse_authority(arena, host, &again, &port) == PERI_OK);
    peri_assert(peri_slice_eq(again, host) && port == 0);
}

static void check_query(struct peri_arena *arena, struct peri_slice query)
{
    struct peri_slice rest = query, name, value, plain, found;
    for (int i = 0; i < 64 && peri_url_next_query(&rest, &name, &value); i++)
        if (peri_url_decode(arena, name, true, &plain) == PERI_OK)
            peri_assert(peri_url_find_query(query, plain, &found));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct peri_slice input = peri_slice((const char *)data, size), out;
    struct peri_arena arena;
    struct peri_url url;
    uint16_t port;

    peri_arena_init(&arena, 64 << 20);
    if (peri_url_normalize_path(&arena, input, &out) == PERI_OK)
        check_path(&arena, out);
    if (peri_url_parse_authority(&arena, input, &out, &port) == PERI_OK)
        check_host(&arena, out);
    if (peri_url_parse_target(&arena, input, &url) == PERI_OK) {
        if (!peri_slice_eq(url.path, PERI_SLICE("*")))
            check_path(&arena, url.path);
        if (url.authority.len > 0)
            check_host(&arena, url.host);
    }
    check_query(&arena, input);
    peri_arena_close(&arena);
    return 0;
}
