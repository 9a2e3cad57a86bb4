// SPDX-License-Identifier: MIT
// Looks a request's key up.
#include "upstream/request_key.h"

#include "exchange/exchange.h"

static struct peri_slice find_header(const struct peri_headers *headers, struct peri_slice name)
{
    const struct peri_header *h = peri_headers_find_name(headers, name, 0, NULL);
    return h ? peri_slice(h->value, h->value_len) : peri_slice(NULL, 0);
}

struct peri_slice peri_request_key(const struct peri_exchange *x, const struct peri_key_source *source)
{
    if (x->wish && x->wish->key.ptr)
        return x->wish->key;
    switch (source->kind) {
    case PERI_KEY_HEADER: return find_header(&x->req.headers, source->name);
    case PERI_KEY_COOKIE: return peri_headers_find_cookie(&x->req.headers, source->name);
    case PERI_KEY_CLIENT: return x->client_ip;
    case PERI_KEY_PATH: return x->req.path;
    default: return peri_slice(NULL, 0);
    }
}
