// SPDX-License-Identifier: MIT
// Routes admin requests by a table and answers them. Requests of a browser on another site are refused: the Host must name
// this machine (DNS rebinding), and what changes something must not come from another origin (request forgery).
#include "app/admin.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "app/admin_record.h"
#include "app/admin_views.h"
#include "app/listening.h"
#include "app/supervisor.h"
#include "codec/json.h"
#include "codec/url.h"
#include "downstream/listener.h"
#include "exchange/exchange.h"
#include "proxy/reply.h"
#include "shared/prometheus.h"
#include "shared/text.h"

#define BODY_LIMIT 65536 ///< bytes of a request body
#define CONNECTIONS 64

struct peri_admin {
    struct peri_supervisor *supervisor;
    struct peri_loop *loop;
    struct peri_listener *listener;
    struct peri_list waiting;    ///< requests that wait for a reload
    struct peri_list explaining; ///< requests for an explanation
    struct peri_admin_record record;
};

// A request for an explanation; in the arena of its exchange, which queues its body.
struct explaining {
    struct peri_list link;
    struct peri_explain_waiter waiter;
    struct peri_exchange *x;
    bool is_asked; ///< a worker was
};

// A request that waits for the end of a reload; in the arena of its exchange.
struct waiting {
    struct peri_list link;
    struct peri_reload_waiter waiter;
    struct peri_exchange *x;
};

static struct peri_admin *admin_of(const struct peri_exchange *x)
{
    return x->owner_data;
}

// ---- answering ----

static void finish(struct peri_exchange *x)
{
    peri_exchange_set_state(x, PERI_X_LOG);
    peri_exchange_set_state(x, PERI_X_DONE);
    x->client->release(x);
}

static void answer(struct peri_exchange *x, int status, const char *type, struct peri_slice body)
{
    x->res.status = status;
    x->res.content_length = (int64_t)body.len;
    peri_headers_append(&x->res.headers, PERI_SLICE("content-type"), peri_slice_from(type));
    peri_headers_append(&x->res.headers, PERI_SLICE("cache-control"), PERI_SLICE("no-store"));
    peri_headers_append(&x->res.headers, PERI_SLICE("x-content-type-options"), PERI_SLICE("nosniff"));
    peri_reply_add_date(admin_of(x)->loop, x);
    peri_exchange_set_state(x, PERI_X_RESPONSE);
    peri_exchange_set_state(x, PERI_X_SENDING);
    bool has_body = x->req.method != PERI_METHOD_HEAD && body.len > 0;
    x->client->send_head(x, !has_body);
    if (has_body)
        x->client->send_body(x, body);
    x->client->send_end(x);
    finish(x);
}

// Answers with a JSON value (taken).
static void answer_json(struct peri_exchange *x, int status, const char *type, struct peri_json *json)
{
    char *text = json ? peri_json_format(json, true) : NULL;
    peri_json_free(json);
    if (text)
        answer(x, status, type, peri_slice_from(text));
    else
        answer(x, 503, "text/plain", PERI_SLICE("out of memory\n"));
    free(text);
}

static struct peri_json *new_problem(int status, const char *detail)
{
    struct peri_json *problem = peri_json_new_object();
    peri_json_set(problem, "type", peri_json_new_string(PERI_SLICE("about:blank")));
    peri_json_set(problem, "title", peri_json_new_string(peri_slice_from(peri_status_text(status))));
    peri_json_set(problem, "status", peri_json_new_integer(status));
    peri_json_set(problem, "detail", peri_json_new_string(peri_slice_from(detail)));
    return problem;
}

static void answer_problem(struct peri_exchange *x, int status, const char *detail)
{
    answer_json(x, status, "application/problem+json", new_problem(status, detail));
}

static void answer_view(struct peri_exchange *x, struct peri_json *view)
{
    answer_json(x, 200, "application/json", view);
}

// ---- what can be read ----

static void get_healthz(struct peri_exchange *x)
{
    answer(x, 200, "application/json", PERI_SLICE("{\"status\":\"ok\"}\n"));
}

static void get_readyz(struct peri_exchange *x)
{
    enum peri_supervisor_state state = peri_supervisor_state(admin_of(x)->supervisor);
    char detail[64];
    if (state == PERI_SUPERVISOR_SERVING) {
        answer(x, 200, "application/json", PERI_SLICE("{\"status\":\"ready\"}\n"));
        return;
    }
    snprintf(detail, sizeof(detail), "The proxy is %s.", peri_supervisor_state_name(state));
    answer_problem(x, 503, detail);
}

static void get_metrics(struct peri_exchange *x)
{
    struct peri_text text;
    peri_text_init(&text);
    if (peri_metrics_write(peri_supervisor_shm(admin_of(x)->supervisor), &text) == PERI_OK)
        answer(x, 200, PERI_PROMETHEUS_TYPE, peri_slice(text.data, text.len));
    else
        answer_problem(x, 503, "Out of memory.");
    peri_text_close(&text);
}

static void get_status(struct peri_exchange *x)
{
    answer_view(x, peri_admin_status(admin_of(x)->supervisor));
}

static void get_generations(struct peri_exchange *x)
{
    answer_view(x, peri_admin_generations(admin_of(x)->supervisor));
}

static bool parse_number(struct peri_slice text, uint64_t *number)
{
    *number = 0;
    if (text.len == 0 || text.len > 18)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return false;
        *number = *number * 10 + (uint64_t)(text.ptr[i] - '0');
    }
    return *number > 0;
}

static void get_diff(struct peri_exchange *x)
{
    struct peri_slice text;
    uint64_t number;
    if (!peri_url_find_query(x->req.query, PERI_SLICE("generation"), &text) || !parse_number(text, &number)) {
        answer_problem(x, 400, "Which generation? Ask for /generations/diff?generation=N.");
        return;
    }
    const char *diff = peri_admin_diff(admin_of(x)->supervisor, number);
    if (diff)
        answer(x, 200, "text/plain; charset=utf-8", peri_slice_from(diff));
    else
        answer_problem(x, 404, "There is no diff of this generation; GET /generations lists those that have changes.");
}

static void get_routes(struct peri_exchange *x)
{
    answer_view(x, peri_admin_routes(admin_of(x)->supervisor));
}

static void get_upstreams(struct peri_exchange *x)
{
    answer_view(x, peri_admin_upstreams(admin_of(x)->supervisor));
}

static void get_policies(struct peri_exchange *x)
{
    answer_view(x, peri_admin_policies(admin_of(x)->supervisor));
}

// ---- what can be changed ----

static void answer_outcome(struct peri_exchange *x, const struct peri_reload_outcome *outcome)
{
    struct peri_json *body;
    int status = outcome->errors ? 422 : outcome->canary ? 202 : 200;
    if (outcome->errors) {
        body = new_problem(status, "The change was refused; the generation that served before goes on.");
        peri_json_set(body, "errors", peri_json_parse(peri_slice_from(outcome->errors), false, NULL, 0));
    } else {
        body = peri_json_new_object();
    }
    peri_json_set(body, "generation", peri_json_new_integer((int64_t)outcome->generation));
    if (outcome->canary)
        peri_json_set(body, "canary", peri_json_new_integer((int64_t)outcome->canary));
    answer_json(x, status, outcome->errors ? "application/problem+json" : "application/json", body);
}

static void on_done(struct peri_reload_waiter *waiter, const struct peri_reload_outcome *outcome)
{
    struct waiting *waiting = PERI_CONTAINER(waiter, struct waiting, waiter);
    peri_list_remove(&waiting->link);
    answer_outcome(waiting->x, outcome);
}

static struct waiting *wait_for_reload(struct peri_exchange *x)
{
    struct waiting *waiting = peri_arena_zalloc(&x->arena, sizeof(*waiting));
    if (!waiting)
        return NULL;
    waiting->x = x;
    waiting->waiter.on_done = on_done;
    peri_list_append(&admin_of(x)->waiting, &waiting->link);
    return waiting;
}

// The reload has started, or could not: then the request is answered now.
static void settle(struct waiting *waiting, peri_err_t err)
{
    if (err == PERI_OK)
        return;
    peri_list_remove(&waiting->link);
    if (err == PERI_ERR_AGAIN)
        answer_problem(waiting->x, 409,
                       "Another reload is under way; try again when it has ended. A rollback without a number gives "
                       "its canary up.");
    else if (err == PERI_ERR_NOT_FOUND)
        answer_problem(waiting->x, 404, "There is no such generation to go back to; GET /generations lists them.");
    else if (err == PERI_ERR_DRAINING)
        answer_problem(waiting->x, 503, "The proxy is starting or shutting down.");
    else
        answer_problem(waiting->x, 503, "The system gives no process or memory for it.");
}

static void post_reload(struct peri_exchange *x)
{
    struct waiting *waiting = wait_for_reload(x);
    if (waiting)
        settle(waiting, peri_supervisor_reload(admin_of(x)->supervisor, &waiting->waiter));
    else
        answer_problem(x, 503, "Out of memory.");
}

static void post_rollback(struct peri_exchange *x)
{
    struct peri_slice text;
    uint64_t number = 0;
    if (peri_url_find_query(x->req.query, PERI_SLICE("generation"), &text) && !parse_number(text, &number)) {
        answer_problem(x, 400, "The generation is a positive number.");
        return;
    }
    struct waiting *waiting = wait_for_reload(x);
    if (waiting)
        settle(waiting, peri_supervisor_rollback(admin_of(x)->supervisor, number, &waiting->waiter));
    else
        answer_problem(x, 503, "Out of memory.");
}

// ---- explanations ----

static void on_explained(struct peri_explain_waiter *waiter, struct peri_slice answer)
{
    struct explaining *explaining = PERI_CONTAINER(waiter, struct explaining, waiter);
    struct peri_json *json = answer.ptr ? peri_json_parse(answer, false, NULL, 0) : NULL;
    struct peri_slice refused = peri_json_get_string(json, "refused");
    peri_list_remove(&explaining->link);
    if (!json)
        answer_problem(explaining->x, 503, "The worker that was asked has ended, or does not answer.");
    else if (refused.ptr)
        answer_problem(explaining->x, 400, refused.ptr);
    else
        answer_view(explaining->x, peri_json_copy(json));
    peri_json_free(json);
}

static void post_explain(struct peri_exchange *x)
{
    struct explaining *explaining = peri_arena_zalloc(&x->arena, sizeof(*explaining));
    if (!explaining) {
        answer_problem(x, 503, "Out of memory.");
        return;
    }
    explaining->x = x;
    explaining->waiter.on_done = on_explained;
    peri_list_append(&admin_of(x)->explaining, &explaining->link);
}

static struct explaining *find_explaining(const struct peri_exchange *x)
{
    struct peri_admin *admin = admin_of(x);
    for (struct peri_list *node = admin->explaining.next; node != &admin->explaining; node = node->next) {
        struct explaining *explaining = PERI_LIST_ITEM(node, struct explaining, link);
        if (explaining->x == x)
            return explaining;
    }
    return NULL;
}

static void forget_explaining(struct explaining *explaining)
{
    if (explaining->is_asked)
        peri_supervisor_forget_explain(&explaining->waiter);
    peri_list_remove(&explaining->link);
}

// The body is there: a worker is asked.
static void ask(struct explaining *explaining)
{
    struct peri_exchange *x = explaining->x;
    size_t len = x->req_body.queue.len;
    char *text = peri_arena_alloc(&x->arena, len + 1);
    peri_err_t err = PERI_ERR_NOMEM;
    if (text) {
        peri_body_copy(&x->req_body, text);
        err = peri_supervisor_explain(admin_of(x)->supervisor, peri_slice(text, len), &explaining->waiter);
    }
    explaining->is_asked = err == PERI_OK;
    if (err == PERI_OK)
        return;
    forget_explaining(explaining);
    answer_problem(x, 503, err == PERI_ERR_NOMEM ? "Out of memory." : "The proxy is starting or shutting down.");
}

static void post_drain(struct peri_exchange *x)
{
    struct peri_supervisor *supervisor = admin_of(x)->supervisor;
    answer(x, 202, "application/json", PERI_SLICE("{\"status\":\"draining\"}\n"));
    peri_supervisor_drain(supervisor);
}

static void post_record(struct peri_exchange *x)
{
    const char *detail;
    int status = peri_admin_record_start(&admin_of(x)->record, x, &detail);
    if (status != 0)
        answer_problem(x, status, detail);
}

// ---- routing ----

struct endpoint {
    struct peri_slice path;
    enum peri_method method;
    void (*answer)(struct peri_exchange *x);
};

#define PATH(text)                                                                                                     \
    {                                                                                                                  \
        text, sizeof(text) - 1                                                                                         \
    }

static const struct endpoint endpoints[] = {
    {PATH("/healthz"), PERI_METHOD_GET, get_healthz},         {PATH("/readyz"), PERI_METHOD_GET, get_readyz},
    {PATH("/metrics"), PERI_METHOD_GET, get_metrics},         {PATH("/status"), PERI_METHOD_GET, get_status},
    {PATH("/generations"), PERI_METHOD_GET, get_generations}, {PATH("/routes"), PERI_METHOD_GET, get_routes},
    {PATH("/generations/diff"), PERI_METHOD_GET, get_diff},   {PATH("/upstreams"), PERI_METHOD_GET, get_upstreams},
    {PATH("/policies"), PERI_METHOD_GET, get_policies},       {PATH("/reload"), PERI_METHOD_POST, post_reload},
    {PATH("/rollback"), PERI_METHOD_POST, post_rollback},     {PATH("/drain"), PERI_METHOD_POST, post_drain},
    {PATH("/record"), PERI_METHOD_POST, post_record},         {PATH("/explain"), PERI_METHOD_POST, post_explain},
};

// Is the Host a name of this machine's loopback? A site that rebinds its own name to 127.0.0.1 sends its own name.
static bool is_local_host(const struct peri_exchange *x)
{
    struct peri_slice host = x->req.host;
    if (peri_slice_eq(peri_slice_from(x->peer.ip), PERI_SLICE("unix")))
        return true;
    if (peri_slice_eq(host, PERI_SLICE("localhost")) || peri_slice_eq(host, PERI_SLICE("[::1]")) ||
        peri_slice_eq(host, PERI_SLICE("::1")))
        return true;
    if (!peri_slice_starts(host, PERI_SLICE("127.")))
        return false;
    for (size_t i = 0; i < host.len; i++)
        if (host.ptr[i] != '.' && (host.ptr[i] < '0' || host.ptr[i] > '9'))
            return false;
    return true;
}

// Does a browser send this for a page of another site?
static bool is_foreign(const struct peri_exchange *x)
{
    struct peri_slice origin = peri_headers_get(&x->req.headers, PERI_H_ORIGIN);
    struct peri_slice scheme = PERI_SLICE("http://");
    if (!origin.ptr)
        return false;
    return !peri_slice_starts(origin, scheme) ||
           !peri_slice_ieq(peri_slice(origin.ptr + scheme.len, origin.len - scheme.len), x->req.authority);
}

static const struct endpoint *find_endpoint(struct peri_slice path)
{
    for (size_t i = 0; i < PERI_COUNT(endpoints); i++)
        if (peri_slice_eq(endpoints[i].path, path))
            return &endpoints[i];
    return NULL;
}

static bool has_method(const struct endpoint *endpoint, enum peri_method method)
{
    return method == endpoint->method || (method == PERI_METHOD_HEAD && endpoint->method == PERI_METHOD_GET);
}

static void on_request(struct peri_exchange *x)
{
    const struct endpoint *endpoint = find_endpoint(x->req.path);
    if (!is_local_host(x)) {
        answer_problem(x, 403, "The Host must be a loopback address or localhost.");
    } else if (!endpoint) {
        answer_problem(x, 404, "There is no such endpoint.");
    } else if (!has_method(endpoint, x->req.method)) {
        bool is_get = endpoint->method == PERI_METHOD_GET;
        peri_headers_append(&x->res.headers, PERI_SLICE("allow"),
                            is_get ? PERI_SLICE("GET, HEAD") : PERI_SLICE("POST"));
        answer_problem(x, 405,
                       is_get ? "This endpoint is read with GET." : "This endpoint changes something: use POST.");
    } else if (is_foreign(x)) {
        answer_problem(x, 403, "Requests of other web sites are refused.");
    } else {
        endpoint->answer(x);
    }
}

static void on_body(struct peri_exchange *x, struct peri_slice data)
{
    struct explaining *explaining = find_explaining(x); // other endpoints want no body; the listener bounds it
    if (!explaining || peri_body_put(&x->req_body, data) == PERI_OK)
        return;
    forget_explaining(explaining);
    answer_problem(x, 503, "Out of memory.");
}

static void on_body_end(struct peri_exchange *x)
{
    struct explaining *explaining = find_explaining(x);
    if (explaining)
        ask(explaining);
}

static void on_client_drain(struct peri_exchange *x)
{
    peri_admin_record_drain(&admin_of(x)->record, x);
}

// Only a recording and a request that waits for a reload or an explanation can be aborted: the others are answered at once.
static void on_abort(struct peri_exchange *x, peri_err_t err)
{
    struct peri_admin *admin = admin_of(x);
    struct explaining *explaining = find_explaining(x);
    PERI_UNUSED(err);
    if (peri_admin_record_abort(&admin->record, x)) {
        finish(x);
        return;
    }
    if (explaining) {
        forget_explaining(explaining);
        finish(x);
        return;
    }
    for (struct peri_list *node = admin->waiting.next; node != &admin->waiting; node = node->next) {
        struct waiting *waiting = PERI_LIST_ITEM(node, struct waiting, link);
        if (waiting->x != x)
            continue;
        peri_supervisor_forget(admin->supervisor, &waiting->waiter);
        peri_list_remove(&waiting->link);
        finish(x);
        return;
    }
}

static const struct peri_owner_ops owner = {
    .on_request = on_request,
    .on_body = on_body,
    .on_body_end = on_body_end,
    .on_client_drain = on_client_drain,
    .on_abort = on_abort,
};

// ---- life ----

struct peri_admin *peri_admin_open(struct peri_loop *loop, const struct peri_listening *listening,
                                   struct peri_supervisor *supervisor)
{
    struct peri_listener_settings settings = peri_listener_defaults();
    struct peri_admin *admin = calloc(1, sizeof(*admin));
    if (!admin)
        return NULL;
    settings.connections = CONNECTIONS;
    settings.body_bytes = BODY_LIMIT;
    admin->supervisor = supervisor;
    admin->loop = loop;
    peri_list_init(&admin->waiting);
    peri_list_init(&admin->explaining);
    peri_admin_record_init(&admin->record, loop, supervisor);
    int fd = fcntl(peri_listening_fd(listening, 0), F_DUPFD_CLOEXEC, 3);
    admin->listener = fd >= 0 ? peri_listener_open(loop, fd, &settings, &owner, admin) : NULL;
    if (!admin->listener) {
        free(admin);
        return NULL;
    }
    return admin;
}

void peri_admin_close(struct peri_admin *admin)
{
    if (!admin)
        return;
    while (!peri_list_is_empty(&admin->explaining))
        forget_explaining(PERI_LIST_ITEM(admin->explaining.next, struct explaining, link));
    peri_listener_close(admin->listener);
    free(admin);
}
