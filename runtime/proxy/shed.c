// SPDX-License-Identifier: MIT
// An exchange begins and ends within one call, so that refusing costs as little as it can: nothing of the pipeline is made for it.
#include "proxy/shed.h"

#include "base/assert.h"
#include "event/loop.h"
#include "exchange/exchange.h"
#include "proxy/accesslog.h"
#include "proxy/grpc.h"
#include "proxy/pipeline.h"
#include "proxy/reply.h"
#include "proxy/server_internal.h"
#include "shared/metrics.h"

#define RETRY_AFTER "1" // seconds

// Makes the answer in x->res.
static peri_err_t shed_prepare(struct peri_server *server, struct peri_exchange *x)
{
    peri_err_t err = peri_reply_error(x, PERI_ERR_OVERLOADED);
    if (err == PERI_OK)
        err = peri_headers_append_known(&x->res.headers, PERI_H_RETRY_AFTER, PERI_SLICE(RETRY_AFTER));
    if (err == PERI_OK)
        err = peri_grpc_attach(x);
    if (err == PERI_OK && x->facts.grpc)
        peri_grpc_finish_response(x);
    peri_reply_add_date(server->loop, x);
    return err;
}

static void shed_send(struct peri_exchange *x)
{
    bool has_body = x->req.method != PERI_METHOD_HEAD && x->res_body.queue.len > 0;
    peri_exchange_set_state(x, PERI_X_SENDING);
    x->client->send_head(x, !has_body);
    while (has_body && x->res_body.queue.len > 0) {
        struct peri_slice run = peri_body_peek(&x->res_body);
        x->client->send_body(x, run);
        peri_body_take(&x->res_body, run.len);
    }
    x->client->send_end(x);
}

static void shed_note(struct peri_server *server, struct peri_exchange *x)
{
    uint64_t ns = peri_loop_now_ns(server->loop) - x->facts.start_ns;
    server->page->overload.requests++;
    peri_metrics_request(server->page, 0, x->res.status, ns);
    if (x->facts.grpc)
        peri_metrics_call(server->page, 0, x->facts.grpc->status);
    if (server->log)
        peri_accesslog_add(server->log, x, x->res.status, ns);
    else if (server->dev)
        server->dev->on_end(server->dev->data, x, x->res.status);
}

static void on_request(struct peri_exchange *x)
{
    struct peri_server *server = x->owner_data;
    peri_debug_assert(x->state == PERI_X_REQUEST && !x->forward);
    x->facts.err = PERI_ERR_OVERLOADED;
    peri_exchange_set_state(x, PERI_X_RESPONSE);
    if (shed_prepare(server, x) == PERI_OK)
        shed_send(x);
    else
        x->client->reset(x, PERI_ERR_NOMEM);
    peri_exchange_set_state(x, PERI_X_LOG);
    shed_note(server, x);
    peri_exchange_set_state(x, PERI_X_DONE);
    x->client->release(x);
}

static void on_refused(struct peri_exchange *x, peri_err_t err)
{
    peri_pipeline_owner.on_refused(x, err);
}

// The exchange is over before any of these: nobody is told more of a request that was answered.
static void on_nothing(struct peri_exchange *x)
{
    PERI_UNUSED(x);
}

static void on_body(struct peri_exchange *x, struct peri_slice data)
{
    PERI_UNUSED(data);
    on_nothing(x);
}

static void on_abort(struct peri_exchange *x, peri_err_t err)
{
    PERI_UNUSED(err);
    on_nothing(x);
}

const struct peri_owner_ops peri_shed_owner = {
    .on_request = on_request,
    .on_body = on_body,
    .on_body_end = on_nothing,
    .on_client_drain = on_nothing,
    .on_refused = on_refused,
    .on_abort = on_abort,
};
