// SPDX-License-Identifier: MIT
// gRPC calls in the pipeline: deadlines, errors and statuses.
#include "proxy/grpc.h"

#include <stdio.h>

#include "codec/grpc.h"
#include "codec/json.h"
#include "event/loop.h"
#include "exchange/exchange.h"
#include "proxy/forward.h"
#include "proxy/pipeline.h"
#include "proxy/plan.h"
#include "proxy/server_internal.h"
#include "shared/metrics.h"

#define DOCUMENT_MAX 16384 ///< bytes of the longest body that a message is taken from

static const struct peri_slice status_name = {"grpc-status", 11};
static const struct peri_slice message_name = {"grpc-message", 12};
static const struct peri_slice timeout_name = {"grpc-timeout", 12};

static struct peri_slice find(const struct peri_headers *headers, struct peri_slice name)
{
    const struct peri_header *header = peri_headers_find_name(headers, name, 0, NULL);
    return header ? peri_slice(header->value, header->value_len) : peri_slice(NULL, 0);
}

// ---- the deadline ----

static void read_deadline(struct peri_exchange *x)
{
    uint64_t timeout;
    if (peri_grpc_timeout_parse(find(&x->req.headers, timeout_name), &timeout) != PERI_OK)
        return; // none, or one that the server will refuse
    if (x->facts.deadline_ns == 0 || x->facts.start_ns + timeout < x->facts.deadline_ns)
        x->facts.deadline_ns = x->facts.start_ns + timeout;
}

peri_err_t peri_grpc_attach(struct peri_exchange *x)
{
    const struct peri_header *type = peri_headers_find(&x->req.headers, PERI_H_CONTENT_TYPE);
    enum peri_grpc_kind kind = type ? peri_grpc_kind(peri_slice(type->value, type->value_len)) : PERI_GRPC_NONE;
    if (kind == PERI_GRPC_NONE)
        return PERI_OK;
    struct peri_grpc *grpc = peri_arena_zalloc(&x->arena, sizeof(*grpc));
    if (!grpc)
        return PERI_ERR_NOMEM;
    grpc->type = peri_grpc_type(kind);
    grpc->status = -1;
    x->facts.grpc = grpc;
    return PERI_OK;
}

bool peri_grpc_begin(struct peri_exchange *x)
{
    peri_err_t err = peri_grpc_attach(x);
    if (err != PERI_OK) {
        peri_pipeline_fail(x, err);
        return false;
    }
    if (!x->facts.grpc)
        return true;
    x->req.wants_trailers = true; // servers may ask for it: without trailers there is no status
    read_deadline(x);
    return true;
}

bool peri_grpc_send_on(struct peri_exchange *x)
{
    uint64_t now = peri_loop_now_ns(x->forward->server->loop), asked;
    if (x->facts.deadline_ns == 0)
        return true;
    if (x->facts.deadline_ns <= now)
        return false;
    uint64_t left = x->facts.deadline_ns - now;
    struct peri_slice header = find(&x->req.headers, timeout_name);
    char text[PERI_GRPC_TIMEOUT_TEXT];
    if (!header.ptr)
        return true; // a policy took it out
    if (peri_grpc_timeout_parse(header, &asked) == PERI_OK && asked < left)
        left = asked;
    struct peri_slice value = peri_slice(text, peri_grpc_timeout_format(left, text));
    return peri_headers_set(&x->req.headers, timeout_name, value) == PERI_OK;
}

// ---- the status ----

void peri_grpc_note(struct peri_exchange *x)
{
    int status = peri_grpc_status_parse(find(&x->res.trailers, status_name));
    if (status < 0)
        status = peri_grpc_status_parse(find(&x->res.headers, status_name));
    if (status >= 0)
        x->facts.grpc->status = status;
}

int peri_grpc_status(const struct peri_exchange *x)
{
    return x->facts.grpc ? x->facts.grpc->status : -1;
}

bool peri_grpc_is_failure(const struct peri_exchange *x)
{
    switch (peri_grpc_status(x)) {
    case PERI_GRPC_UNKNOWN:
    case PERI_GRPC_DEADLINE_EXCEEDED:
    case PERI_GRPC_INTERNAL:
    case PERI_GRPC_UNAVAILABLE:
    case PERI_GRPC_DATA_LOSS: return true;
    default: return false;
    }
}

void peri_grpc_end(struct peri_exchange *x)
{
    const struct peri_forward *f = x->forward;
    if (!f->is_fetch)
        peri_metrics_call(f->server->page, x->route ? x->route->metrics : 0, x->facts.grpc->status);
}

// ---- the proxy's own answers ----

// Detail of a problem document, or its title; empty when there is none.
static struct peri_slice read_problem(struct peri_exchange *x, struct peri_slice text)
{
    struct peri_json *json = peri_json_parse(text, false, NULL, 0);
    struct peri_slice detail = json ? peri_json_get_string(json, "detail") : peri_slice(NULL, 0);
    if (json && detail.len == 0)
        detail = peri_json_get_string(json, "title");
    struct peri_slice copy = peri_arena_copy(&x->arena, detail);
    peri_json_free(json);
    return copy;
}

// What the answer tells people: its text, the detail of its problem, or the phrase of its status.
static struct peri_slice message_of(struct peri_exchange *x)
{
    struct peri_slice type = peri_headers_get(&x->res.headers, PERI_H_CONTENT_TYPE);
    struct peri_slice message = {NULL, x->res_body.queue.len};
    char *text = message.len > 0 && message.len <= DOCUMENT_MAX ? peri_arena_alloc(&x->arena, message.len) : NULL;
    if (text) {
        peri_body_copy(&x->res_body, text);
        message.ptr = text;
    }
    if (text && peri_slice_starts(type, PERI_SLICE("application/problem+json")))
        message = read_problem(x, message);
    else if (!peri_slice_starts(type, PERI_SLICE("text/plain")))
        message.ptr = NULL;
    while (message.ptr && message.len > 0 && message.ptr[message.len - 1] == '\n')
        message.len--;
    return message.ptr && message.len > 0 ? message : peri_slice_from(peri_status_text(x->res.status));
}

static peri_err_t set_message(struct peri_exchange *x, struct peri_slice text)
{
    size_t len = text.len < PERI_GRPC_MESSAGE_MAX ? text.len : PERI_GRPC_MESSAGE_MAX;
    char *out = peri_arena_alloc(&x->arena, len * 3 + 1);
    return out ? peri_headers_append(&x->res.headers, message_name,
                                     peri_slice(out, peri_grpc_message_encode(text, out)))
               : PERI_ERR_NOMEM;
}

// The status that a policy wrote into its answer counts; so does its message.
static void set_status(struct peri_exchange *x)
{
    struct peri_grpc *grpc = x->facts.grpc;
    char text[4];
    grpc->status = peri_grpc_status_parse(find(&x->res.headers, status_name));
    if (grpc->status < 0) {
        grpc->status = peri_grpc_status_from(x->res.status);
        int len = snprintf(text, sizeof(text), "%d", grpc->status);
        peri_headers_set(&x->res.headers, status_name, peri_slice(text, (size_t)len));
    }
    if (!find(&x->res.headers, message_name).ptr && grpc->status != PERI_GRPC_OK)
        set_message(x, message_of(x));
}

void peri_grpc_finish_response(struct peri_exchange *x)
{
    struct peri_slice type = peri_headers_get(&x->res.headers, PERI_H_CONTENT_TYPE);
    if (!x->res.is_own || peri_grpc_kind(type) != PERI_GRPC_NONE) {
        peri_grpc_note(x);
        return;
    }
    set_status(x);
    peri_headers_set(&x->res.headers, peri_header_name(PERI_H_CONTENT_TYPE), x->facts.grpc->type);
    peri_body_close(&x->res_body);
    peri_body_init(&x->res_body);
    x->res_body.is_ended = true;
    x->res.status = 200;
    x->res.content_length = PERI_LENGTH_NONE;
}
