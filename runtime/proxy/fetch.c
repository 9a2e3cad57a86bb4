// SPDX-License-Identifier: MIT
// The client side of a fetch: collects what the pipeline sends.
#include "proxy/fetch.h"

#include <stdlib.h>

#include "base/assert.h"
#include "codec/url.h"
#include "event/loop.h"
#include "event/timer.h"
#include "exchange/exchange.h"
#include "proxy/generation.h"
#include "proxy/pipeline.h"
#include "proxy/server_internal.h"
#include "script/fetch.h"
#include "upstream/upstream.h"

#define PERI_FETCH_TIMEOUT_MS 10000
#define PERI_FETCH_BODY (1024 * 1024)

struct peri_fetch {
    struct peri_exchange *x;
    struct peri_loop *loop;
    struct peri_buf body;
    struct peri_timer timer;
    struct peri_defer done;
    uint64_t max_body;
    peri_err_t err;
    bool is_cancelled;
    void (*on_done)(void *data, const struct peri_fetch_result *result);
    void *data;
};

static void fetch_free(struct peri_fetch *fetch)
{
    peri_timer_stop(&fetch->timer);
    peri_defer_cancel(&fetch->done);
    peri_buf_close(&fetch->body);
    peri_exchange_free(fetch->x);
    free(fetch);
}

static void on_done(struct peri_defer *defer)
{
    struct peri_fetch *fetch = PERI_CONTAINER(defer, struct peri_fetch, done);
    struct peri_exchange *x = fetch->x;
    peri_debug_assert(x->state == PERI_X_DONE && !x->slot);
    if (!fetch->is_cancelled) {
        char *text = malloc(fetch->body.len + 1); // not from the arena, whose bound may be less than max_body
        if (!text)
            fetch->err = PERI_ERR_NOMEM;
        else
            peri_buf_copy(&fetch->body, text);
        struct peri_fetch_result result = {
            .err = fetch->err,
            .status = x->res.status,
            .headers = &x->res.headers,
            .trailers = &x->res.trailers,
            .body = peri_slice(text, text ? fetch->body.len : 0),
        };
        fetch->on_done(fetch->data, &result);
        free(text);
    }
    fetch_free(fetch);
}

static void on_timeout(struct peri_timer *timer)
{
    struct peri_fetch *fetch = PERI_CONTAINER(timer, struct peri_fetch, timer);
    fetch->x->owner->on_abort(fetch->x, PERI_ERR_UPSTREAM_TIMEOUT);
}

static void fetch_send_interim(struct peri_exchange *x, int status, const struct peri_headers *headers)
{
    PERI_UNUSED(x);
    PERI_UNUSED(status);
    PERI_UNUSED(headers);
}

static void fetch_send_head(struct peri_exchange *x, bool ends)
{
    PERI_UNUSED(x);
    PERI_UNUSED(ends);
}

static bool fetch_send_body(struct peri_exchange *x, struct peri_slice data)
{
    struct peri_fetch *fetch = x->client_data;
    if (fetch->err != PERI_OK)
        return true;
    if (fetch->body.len + data.len > fetch->max_body)
        fetch->err = PERI_ERR_RESPONSE_TOO_LARGE;
    else if (peri_buf_put(&fetch->body, data) != PERI_OK)
        fetch->err = PERI_ERR_NOMEM;
    if (fetch->err != PERI_OK) // ended from the loop: the pipeline is in the middle of a call
        peri_timer_start(fetch->loop, &fetch->timer, 0);
    return true;
}

static void fetch_end(struct peri_exchange *x)
{
    PERI_UNUSED(x);
}

static void fetch_pause_body(struct peri_exchange *x, bool paused)
{
    PERI_UNUSED(x);
    PERI_UNUSED(paused);
}

static void fetch_reset(struct peri_exchange *x, peri_err_t err)
{
    struct peri_fetch *fetch = x->client_data;
    fetch->err = err;
}

static void fetch_release(struct peri_exchange *x)
{
    struct peri_fetch *fetch = x->client_data;
    peri_debug_assert(peri_list_is_empty(&fetch->done.link));
    peri_timer_stop(&fetch->timer);
    if (fetch->err == PERI_OK)
        fetch->err = x->facts.err;
    peri_defer_schedule(fetch->loop, &fetch->done);
}

static const struct peri_client_ops fetch_client = {
    .send_interim = fetch_send_interim,
    .send_head = fetch_send_head,
    .send_body = fetch_send_body,
    .send_end = fetch_end,
    .pause_body = fetch_pause_body,
    .reset = fetch_reset,
    .release = fetch_release,
};

// ---- the request ----

static peri_err_t read_url(struct peri_exchange *x, struct peri_slice text, struct peri_url *url)
{
    struct peri_slice own = peri_arena_copy(&x->arena, text);
    if (!own.ptr)
        return PERI_ERR_NOMEM;
    peri_err_t err = peri_url_parse_target(&x->arena, own, url);
    if (err != PERI_OK)
        return err;
    if (!peri_slice_eq(url->scheme, PERI_SLICE("http")) || url->host.len == 0)
        return PERI_ERR_INVALID;
    x->req.target = own;
    x->req.scheme = PERI_SLICE("http");
    x->req.authority = url->authority;
    x->req.host = url->host;
    x->req.path = url->path;
    x->req.query = url->query;
    return PERI_OK;
}

// Fields that the codec writes itself are not the script's to set.
static bool is_framing(struct peri_slice name)
{
    static const char *const names[] = {"connection", "content-length",    "host",    "keep-alive",
                                        "te",         "transfer-encoding", "trailer", "upgrade",
                                        "expect",     "proxy-connection"};
    for (unsigned i = 0; i < PERI_COUNT(names); i++)
        if (peri_slice_ieq(name, peri_slice_from(names[i])))
            return true;
    return false;
}

static peri_err_t read_headers(struct peri_exchange *x, const struct peri_fetch_request *request)
{
    peri_err_t err = PERI_OK;
    for (uint32_t i = 0; i < request->header_count && err == PERI_OK; i++) {
        struct peri_slice name = request->header_pairs[2 * i];
        struct peri_slice value = request->header_pairs[2 * i + 1];
        if (peri_slice_ieq(name, PERI_SLICE("host"))) {
            if (!peri_header_is_value(value))
                return PERI_ERR_INVALID;
            x->req.authority = peri_arena_copy(&x->arena, value);
        } else if (!is_framing(name)) {
            err = peri_headers_add(&x->req.headers, name, value);
        }
    }
    return err;
}

static peri_err_t read_request(struct peri_exchange *x, const struct peri_fetch_request *request, struct peri_url *url)
{
    peri_err_t err = read_url(x, request->url, url);
    if (err == PERI_OK && !peri_header_is_name(request->method))
        err = PERI_ERR_INVALID;
    if (err == PERI_OK)
        err = read_headers(x, request);
    if (err != PERI_OK)
        return err;
    x->req.version = 11;
    x->req.method_name = peri_arena_copy(&x->arena, request->method);
    x->req.method = peri_method_parse(x->req.method_name);
    x->req.content_length = request->body.len > 0 ? (int64_t)request->body.len : PERI_LENGTH_NONE;
    x->client_ip = PERI_SLICE("internal");
    return peri_body_set(&x->req_body, request->body);
}

static struct peri_upstream *find_upstream(struct peri_generation *generation, struct peri_arena *arena,
                                           const struct peri_url *url)
{
    struct peri_upstream *named = url->port == 0 ? peri_generation_find_upstream(generation, url->host) : NULL;
    if (named)
        return named;
    struct peri_slice address =
        peri_arena_printf(arena, "%.*s:%u", (int)url->host.len, url->host.ptr, url->port ? url->port : 80u);
    return address.ptr ? peri_generation_direct(generation, address) : NULL;
}

static struct peri_fetch *fetch_new(struct peri_server *server, const struct peri_fetch_request *request)
{
    struct peri_fetch *fetch = calloc(1, sizeof(*fetch));
    struct peri_exchange *x = peri_exchange_new();
    if (!fetch || !x) {
        free(fetch);
        if (x)
            peri_exchange_free(x);
        return NULL;
    }
    fetch->x = x;
    fetch->loop = server->loop;
    fetch->max_body = request->max_body ? request->max_body : PERI_FETCH_BODY;
    fetch->on_done = request->on_done;
    fetch->data = request->data;
    peri_buf_init(&fetch->body);
    peri_timer_init(&fetch->timer, on_timeout);
    peri_defer_init(&fetch->done, on_done);
    x->client = &fetch_client;
    x->client_data = fetch;
    x->owner = &peri_pipeline_owner;
    x->owner_data = server;
    x->facts.start_ns = peri_loop_now_ns(server->loop);
    return fetch;
}

struct peri_fetch *peri_fetch_start(struct peri_fetch_request *request, peri_err_t *err)
{
    return peri_fetch_start_at(request, NULL, err);
}

struct peri_fetch *peri_fetch_start_at(struct peri_fetch_request *request, struct peri_upstream *upstream,
                                       peri_err_t *err)
{
    struct peri_generation *generation = request->generation;
    struct peri_server *server = generation->server;
    struct peri_url url;
    struct peri_fetch *fetch = fetch_new(server, request);
    *err = fetch ? read_request(fetch->x, request, &url) : PERI_ERR_NOMEM;
    if (*err == PERI_OK && !upstream)
        upstream = find_upstream(generation, &fetch->x->arena, &url);
    if (*err == PERI_OK && !upstream)
        *err = PERI_ERR_NOT_FOUND;
    if (*err != PERI_OK) {
        if (fetch)
            fetch_free(fetch);
        return NULL;
    }
    uint64_t timeout_ms = request->timeout_ms ? request->timeout_ms : PERI_FETCH_TIMEOUT_MS;
    fetch->x->generation = generation;
    fetch->x->facts.deadline_ns = fetch->x->facts.start_ns + timeout_ms * 1000000; // for retries, and for who is asked
    peri_timer_start(server->loop, &fetch->timer, timeout_ms);
    peri_exchange_set_state(fetch->x, PERI_X_REQUEST);
    peri_pipeline_fetch(server, fetch->x, upstream);
    return fetch;
}

void peri_fetch_cancel(struct peri_fetch *fetch)
{
    peri_debug_assert(!fetch->is_cancelled);
    fetch->is_cancelled = true;
    fetch->x->owner->on_abort(fetch->x, PERI_ERR_CLIENT_GONE);
}
