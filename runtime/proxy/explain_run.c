// SPDX-License-Identifier: MIT
// The request goes through the real parser, the real table and the real chain as an exchange that never leaves: a client in memory asks,
// and the pipeline stops where the upstream would be. So the answer cannot differ from that under traffic.
#include "proxy/explain.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "codec/json.h"
#include "event/loop.h"
#include "event/timer.h"
#include "exchange/exchange.h"
#include "proxy/generation.h"
#include "proxy/pipeline.h"
#include "proxy/server_internal.h"
#include "proxy/trace.h"

#define BODY_SHOWN 1024 ///< bytes of an answer's body that are shown

struct peri_explain {
    struct peri_exchange *x;
    struct peri_generation *generation; ///< referenced
    struct peri_timer timer;
    struct peri_defer done;
    struct peri_explain_answer answer;
    bool is_answered;
    bool is_late;
    bool is_over; ///< released by the pipeline
    void (*on_done)(void *data, struct peri_json *view);
    void *data;
    char body[BODY_SHOWN];
};

// ---- the client ----

static void send_interim(struct peri_exchange *x, int status, const struct peri_headers *headers)
{
    PERI_UNUSED(x);
    PERI_UNUSED(status);
    PERI_UNUSED(headers);
}

static void send_head(struct peri_exchange *x, bool ends)
{
    struct peri_explain *explain = x->client_data;
    PERI_UNUSED(ends);
    explain->is_answered = true;
}

static bool send_body(struct peri_exchange *x, struct peri_slice data)
{
    struct peri_explain *explain = x->client_data;
    struct peri_slice *body = &explain->answer.body;
    size_t room = sizeof(explain->body) - body->len;
    size_t len = data.len < room ? data.len : room;
    if (len > 0)
        memcpy(explain->body + body->len, data.ptr, len);
    *body = peri_slice(explain->body, body->len + len);
    explain->answer.is_cut |= len < data.len;
    return true;
}

static void send_end(struct peri_exchange *x)
{
    PERI_UNUSED(x);
}

static void pause_body(struct peri_exchange *x, bool paused)
{
    PERI_UNUSED(x);
    PERI_UNUSED(paused);
}

static void reset(struct peri_exchange *x, peri_err_t err)
{
    PERI_UNUSED(x);
    PERI_UNUSED(err);
}

static void release(struct peri_exchange *x)
{
    struct peri_explain *explain = x->client_data;
    explain->is_over = true;
    peri_timer_stop(&explain->timer);
    peri_defer_schedule(explain->generation->server->loop, &explain->done);
}

static const struct peri_client_ops client = {
    .send_interim = send_interim,
    .send_head = send_head,
    .send_body = send_body,
    .send_end = send_end,
    .pause_body = pause_body,
    .reset = reset,
    .release = release,
};

// ---- the run ----

static void explain_free(struct peri_explain *explain)
{
    peri_timer_stop(&explain->timer);
    peri_defer_cancel(&explain->done);
    if (explain->x)
        peri_exchange_free(explain->x);
    if (explain->generation)
        peri_generation_unref(explain->generation);
    free(explain);
}

static void on_end(struct peri_defer *defer)
{
    struct peri_explain *explain = PERI_CONTAINER(defer, struct peri_explain, done);
    struct peri_json *view = peri_explain_view(explain->generation, explain->x,
                                               explain->is_answered ? &explain->answer : NULL, explain->is_late);
    explain->on_done(explain->data, view);
    peri_json_free(view);
    explain_free(explain);
}

static void on_late(struct peri_timer *timer)
{
    struct peri_explain *explain = PERI_CONTAINER(timer, struct peri_explain, timer);
    explain->is_late = true;
    explain->x->owner->on_abort(explain->x, PERI_ERR_REQUEST_TIMEOUT);
}

static struct peri_explain *explain_new(struct peri_server *server)
{
    struct peri_explain *explain = calloc(1, sizeof(*explain));
    if (!explain)
        return NULL;
    peri_timer_init(&explain->timer, on_late);
    peri_defer_init(&explain->done, on_end);
    explain->x = peri_exchange_new();
    if (explain->x && peri_trace_begin(explain->x, true) == PERI_OK) {
        explain->x->client = &client;
        explain->x->client_data = explain;
        explain->x->owner = &peri_pipeline_owner;
        explain->x->owner_data = server;
        explain->x->facts.start_ns = peri_loop_now_ns(server->loop);
        return explain;
    }
    explain_free(explain);
    return NULL;
}

struct peri_explain *peri_explain_start(struct peri_server *server, const struct peri_explain_request *request,
                                        void (*on_done)(void *data, struct peri_json *view), void *data, char *message,
                                        size_t size)
{
    peri_assert(server->current);
    struct peri_explain *explain = explain_new(server);
    if (!explain) {
        snprintf(message, size, "the proxy is out of memory");
        return NULL;
    }
    struct peri_exchange *x = explain->x;
    if (peri_explain_read(x, request, message, size) != PERI_OK) {
        explain_free(explain);
        return NULL;
    }
    explain->generation = peri_generation_ref(server->current);
    explain->on_done = on_done;
    explain->data = data;
    peri_timer_start(server->loop, &explain->timer, PERI_EXPLAIN_MS);
    peri_exchange_set_state(x, PERI_X_REQUEST);
    x->owner->on_request(x);
    return explain;
}

void peri_explain_cancel(struct peri_explain *explain)
{
    if (!explain->is_over)
        explain->x->owner->on_abort(explain->x, PERI_ERR_CLIENT_GONE);
    explain_free(explain);
}
