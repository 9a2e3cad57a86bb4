// SPDX-License-Identifier: MIT
// What the target of a request and its Host field say, for every version of HTTP.
#include "codec/url.h"
#include "downstream/connection.h"
#include "exchange/exchange.h"

peri_err_t peri_connection_read_target(struct peri_exchange *x)
{
    struct peri_request *req = &x->req;
    struct peri_url url;
    uint16_t port;
    peri_err_t err = peri_url_parse_target(&x->arena, req->target, &url);
    if (err != PERI_OK)
        return err;
    if (url.path.len == 1 && url.path.ptr[0] == '*' && req->method != PERI_METHOD_OPTIONS)
        return PERI_ERR_BAD_PATH;
    req->path = url.path;
    req->query = url.query;
    if (url.authority.len >
        0) { // absolute form wins over Host, which everybody behind us sees replaced (RFC 9112 3.2.2)
        req->authority = url.authority;
        err = peri_headers_set(&req->headers, PERI_SLICE("host"), url.authority);
        if (err != PERI_OK)
            return err;
    }
    if (req->authority.len == 0)
        return req->version >= 11 ? PERI_ERR_BAD_HOST : PERI_OK;
    return peri_url_parse_authority(&x->arena, req->authority, &req->host, &port);
}
