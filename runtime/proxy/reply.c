// SPDX-License-Identifier: MIT
// The proxy's own answers.
#include "proxy/reply.h"

#include <time.h>

#include "event/loop.h"
#include "exchange/exchange.h"
#include "proxy/plan.h"

void peri_reply_reset(struct peri_exchange *x)
{
    x->res = (struct peri_response){.content_length = PERI_LENGTH_NONE};
    peri_headers_init(&x->res.headers, &x->arena);
    peri_headers_init(&x->res.trailers, &x->arena);
    peri_body_close(&x->res_body);
    peri_body_init(&x->res_body);
}

static peri_err_t set_body(struct peri_exchange *x, struct peri_slice body)
{
    x->res.content_length = (int64_t)body.len;
    return peri_body_set(&x->res_body, body);
}

peri_err_t peri_reply_document(struct peri_exchange *x, int status, struct peri_slice type, struct peri_slice body)
{
    peri_reply_reset(x);
    x->res.status = status;
    x->res.is_own = true;
    peri_err_t err = peri_headers_append_known(&x->res.headers, PERI_H_CONTENT_TYPE, type);
    return err == PERI_OK ? set_body(x, body) : err;
}

// A request id may come from a client: only what needs no escaping is shown.
static bool is_plain(struct peri_slice text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] < 0x20 || text.ptr[i] == '"' || text.ptr[i] == '\\' || text.ptr[i] > 0x7e)
            return false;
    return text.len > 0;
}

peri_err_t peri_reply_error(struct peri_exchange *x, peri_err_t err)
{
    const struct peri_err_info *info = peri_err_info(err);
    struct peri_slice id = peri_slice("", 0);
    if (is_plain(x->request_id))
        id = peri_arena_printf(&x->arena, ",\"request_id\":\"%.*s\"", (int)x->request_id.len, x->request_id.ptr);
    struct peri_slice body = peri_arena_printf(
        &x->arena, "{\"type\":\"urn:perigee:%s\",\"title\":\"%s\",\"status\":%d,\"detail\":\"%s\"%.*s}\n", info->name,
        peri_status_text(info->status), info->status, info->text, (int)id.len, id.ptr ? id.ptr : "");
    return body.ptr ? peri_reply_document(x, info->status, PERI_SLICE("application/problem+json"), body)
                    : PERI_ERR_NOMEM;
}

peri_err_t peri_reply_plan(struct peri_exchange *x, const struct peri_route *route)
{
    peri_err_t err = PERI_OK;
    peri_reply_reset(x);
    x->res.status = route->status;
    x->res.is_own = true;
    for (uint32_t i = 0; i < route->field_count && err == PERI_OK; i++)
        err = peri_headers_add(&x->res.headers, route->fields[i].name, route->fields[i].value);
    if (err == PERI_OK && route->location.len > 0)
        err = peri_headers_append_known(&x->res.headers, PERI_H_LOCATION, route->location);
    return err == PERI_OK ? set_body(x, route->body) : err;
}

void peri_reply_add_date(struct peri_loop *loop, struct peri_exchange *x)
{
    static char text[32];
    static uint64_t second;
    static size_t len;
    if (peri_headers_find(&x->res.headers, PERI_H_DATE))
        return;
    uint64_t now = peri_loop_wall_ms(loop) / 1000;
    if (now != second) {
        struct tm utc;
        time_t at = (time_t)now;
        gmtime_r(&at, &utc);
        len = strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &utc);
        second = now;
    }
    struct peri_slice copy = peri_arena_copy(&x->arena, peri_slice(text, len));
    if (copy.ptr)
        peri_headers_append_known(&x->res.headers, PERI_H_DATE, copy);
}
