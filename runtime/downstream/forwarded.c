// SPDX-License-Identifier: MIT
// X-Forwarded-*: believed as far as the operator says, never further.
#include "downstream/forwarded.h"

#include "downstream/listener.h"
#include "exchange/exchange.h"

#define DEADLINE_DIGITS 10 ///< a client that waits for longer than 115 days waits for ever

// The N-th member from the right of the list; the leftmost when there are fewer.
static struct peri_slice nth_from_right(struct peri_slice list, uint32_t n)
{
    struct peri_slice member = {NULL, 0};
    while (n-- > 0 && list.len > 0) {
        size_t at = list.len;
        while (at > 0 && list.ptr[at - 1] != ',')
            at--;
        member = peri_slice_trim(peri_slice(list.ptr + at, list.len - at));
        list.len = at > 0 ? at - 1 : 0;
    }
    return member;
}

// Is it something that looks like an address, so that policies may rely on the form?
static bool is_address(struct peri_slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = peri_ascii_lower(text.ptr[i]);
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || c == '.' || c == ':'))
            return false;
    }
    return text.len >= 2 && text.len <= 45;
}

// Joins repeated fields into one list (RFC 9110 5.3), appends the peer, and leaves one field.
static peri_err_t append_peer(struct peri_exchange *x, struct peri_slice *list)
{
    struct peri_headers *headers = &x->req.headers;
    struct peri_slice name = peri_header_name(PERI_H_X_FORWARDED_FOR);
    struct peri_slice joined = {NULL, 0};
    unsigned at = 0;
    for (struct peri_header *h; (h = peri_headers_find_name(headers, name, at, &at)); at++) {
        joined = joined.len == 0 ? peri_slice(h->value, h->value_len)
                                 : peri_arena_printf(&x->arena, "%.*s, %.*s", (int)joined.len, joined.ptr,
                                                     (int)h->value_len, h->value);
        if (!joined.ptr)
            return PERI_ERR_NOMEM;
    }
    *list = joined;
    peri_headers_remove(headers, name);
    struct peri_slice all = peri_slice(x->peer.ip, x->peer.ip_len);
    if (joined.len > 0)
        all = peri_arena_printf(&x->arena, "%.*s, %s", (int)joined.len, joined.ptr, x->peer.ip);
    return all.ptr ? peri_headers_append_known(headers, PERI_H_X_FORWARDED_FOR, all) : PERI_ERR_NOMEM;
}

static peri_err_t put_once(struct peri_exchange *x, uint16_t id, struct peri_slice value, bool keep)
{
    struct peri_headers *headers = &x->req.headers;
    struct peri_header *known = peri_headers_find(headers, id);
    if (known && keep)
        return PERI_OK;
    if (known)
        peri_headers_remove(headers, peri_header_name(id));
    return value.len > 0 ? peri_headers_append_known(headers, id, value) : PERI_OK;
}

// How long the client waits: a number of milliseconds. What is none, or 0, says nothing, as with Envoy.
static void read_deadline(struct peri_exchange *x, struct peri_slice name)
{
    const struct peri_header *header = peri_headers_find_name(&x->req.headers, name, 0, NULL);
    uint64_t ms = 0;
    if (!header || header->value_len > DEADLINE_DIGITS)
        return;
    for (uint32_t i = 0; i < header->value_len; i++) {
        if (header->value[i] < '0' || header->value[i] > '9')
            return;
        ms = ms * 10 + (uint64_t)(header->value[i] - '0');
    }
    if (ms > 0)
        x->facts.deadline_ns = x->facts.start_ns + ms * 1000000;
}

peri_err_t peri_forwarded_apply(struct peri_exchange *x, const struct peri_listener_settings *settings)
{
    uint32_t trusted_hops = settings->trusted_hops;
    if (PERI_UNLIKELY(settings->deadline_header[0] != 0))
        read_deadline(x, peri_slice_from(settings->deadline_header));
    struct peri_slice peer = peri_slice(x->peer.ip, x->peer.ip_len);
    struct peri_slice list = {NULL, 0};
    bool trusts = trusted_hops > 0;
    peri_err_t err = trusts ? append_peer(x, &list) : put_once(x, PERI_H_X_FORWARDED_FOR, peer, false);
    struct peri_slice claimed = trusts ? nth_from_right(list, trusted_hops) : list;
    x->client_ip = is_address(claimed) ? claimed : peer;
    if (err == PERI_OK)
        err = put_once(x, PERI_H_X_FORWARDED_PROTO, x->req.scheme, trusts);
    if (err == PERI_OK)
        err = put_once(x, PERI_H_X_FORWARDED_HOST, x->req.authority, trusts);
    return err;
}
