// SPDX-License-Identifier: MIT
// A byte queue with the marks and flags of one direction of an exchange.
#include "exchange/body.h"

#include "base/assert.h"

void peri_body_init(struct peri_body *body)
{
    *body = (struct peri_body){.high = PERI_BODY_HIGH};
}

void peri_body_close(struct peri_body *body)
{
    peri_buf_close(&body->queue);
}

peri_err_t peri_body_put(struct peri_body *body, struct peri_slice data)
{
    peri_debug_assert(!body->is_ended);
    peri_err_t err = peri_buf_put(&body->queue, data);
    if (err == PERI_OK)
        body->total += data.len;
    return err;
}

struct peri_slice peri_body_peek(const struct peri_body *body)
{
    return peri_buf_peek(&body->queue);
}

void peri_body_take(struct peri_body *body, size_t len)
{
    peri_buf_take(&body->queue, len);
}

void peri_body_copy(const struct peri_body *body, char *out)
{
    peri_buf_copy(&body->queue, out);
}

peri_err_t peri_body_set(struct peri_body *body, struct peri_slice data)
{
    struct peri_buf fresh;
    peri_buf_init(&fresh);
    peri_err_t err = peri_buf_put(&fresh, data);
    if (err != PERI_OK)
        return err;
    peri_buf_close(&body->queue);
    body->queue = fresh;
    body->is_ended = true;
    return PERI_OK;
}
