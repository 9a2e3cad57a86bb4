// SPDX-License-Identifier: MIT
// Answers that the proxy itself makes: problem documents (RFC 9457), redirects and fixed replies, into x->res and x->res_body.
#ifndef PERI_PROXY_REPLY_H
#define PERI_PROXY_REPLY_H

#include "base/err.h"
#include "base/slice.h"

struct peri_exchange;
struct peri_loop;
struct peri_route;

/// Makes the problem document of `err` the response. PERI_ERR_NOMEM.
peri_err_t peri_reply_error(struct peri_exchange *x, peri_err_t err);

/// Makes `body` (copied) of the media type `type` (borrowed until the response is sent) the response. PERI_ERR_NOMEM.
peri_err_t peri_reply_document(struct peri_exchange *x, int status, struct peri_slice type, struct peri_slice body);

/// Makes the route's redirect or fixed reply the response. `{name}`s are not filled in. PERI_ERR_NOMEM.
peri_err_t peri_reply_plan(struct peri_exchange *x, const struct peri_route *route);

/// Empties the response: no headers, no body, status 0.
void peri_reply_reset(struct peri_exchange *x);

/// Adds a Date field when there is none (RFC 9110 6.6.1). The text is made once a second.
void peri_reply_add_date(struct peri_loop *loop, struct peri_exchange *x);

#endif
