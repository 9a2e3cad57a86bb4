// SPDX-License-Identifier: MIT
// HTTP and gRPC are an attempt on a fresh connection, TCP is a dial:
//
//   start -> attempt: request out, answer in -> judge  | -> finding -> (loop) -> on_done
//         -> dial: connected                           |
//         -> timeout: cut off                          |
#include "upstream/health_check.h"

#include <stdlib.h>

#include "codec/grpc.h"
#include "codec/grpc_health.h"
#include "codec/message.h"
#include "event/loop.h"
#include "event/stream.h"
#include "event/timer.h"
#include "upstream/attempt.h"
#include "upstream/connection.h"
#include "upstream/dial.h"

#define CHECK_MEMORY (128u * 1024) ///< heads of a request and its answer
#define CHECK_BODY (64u * 1024)    ///< bytes of an answer that are waited for
#define CHECK_MESSAGE 64           ///< bytes of a gRPC answer

struct peri_health_check {
    struct peri_health_settings *settings; ///< referenced
    struct peri_pool *pool;                ///< referenced
    struct peri_loop *loop;
    struct peri_arena arena;
    struct peri_request req;
    struct peri_response res;
    struct peri_attempt attempt;
    struct peri_dial *dial; ///< NULL once it is over
    struct peri_timer timer;
    struct peri_defer done;
    size_t body; ///< bytes that came
    char message[CHECK_MESSAGE];
    struct peri_health_finding finding;
    bool is_over;
    void (*on_done)(void *data, const struct peri_health_finding *finding);
    void *data;
};

// ---- the end

static void check_free(struct peri_health_check *check)
{
    peri_timer_stop(&check->timer);
    peri_defer_cancel(&check->done);
    peri_arena_close(&check->arena);
    peri_pool_release(check->pool);
    peri_health_unref(check->settings);
    free(check);
}

static void on_done(struct peri_defer *defer)
{
    struct peri_health_check *check = PERI_CONTAINER(defer, struct peri_health_check, done);
    void (*tell)(void *, const struct peri_health_finding *) = check->on_done;
    struct peri_health_finding finding = check->finding;
    void *data = check->data;
    check_free(check);
    tell(data, &finding);
}

static void check_finish(struct peri_health_check *check, enum peri_health_result result, int status)
{
    if (check->is_over)
        return;
    check->is_over = true;
    check->finding = (struct peri_health_finding){.result = result, .status = status};
    peri_timer_stop(&check->timer);
    peri_defer_schedule(check->loop, &check->done);
}

// What a check needs was not there: nothing is known of the endpoint.
static void check_give_up(struct peri_health_check *check)
{
    if (check->is_over)
        return;
    check_finish(check, PERI_HEALTH_CONNECT, 0);
    check->finding.is_void = true;
}

static void check_cut(struct peri_health_check *check)
{
    if (check->dial)
        peri_dial_cancel(check->dial);
    else if (!check->is_over && check->attempt.pool)
        peri_attempt_cancel(&check->attempt);
    check->dial = NULL;
}

static void on_timeout(struct peri_timer *timer)
{
    struct peri_health_check *check = PERI_CONTAINER(timer, struct peri_health_check, timer);
    check_cut(check);
    check_finish(check, PERI_HEALTH_TIMEOUT, 0);
}

void peri_health_check_cancel(struct peri_health_check *check)
{
    check_cut(check);
    check_free(check);
}

static void check_fail(struct peri_health_check *check, peri_err_t err)
{
    switch (err) {
    case PERI_ERR_OVERLOADED: check_give_up(check); return;
    case PERI_ERR_TLS: check_finish(check, PERI_HEALTH_TLS, 0); return;
    case PERI_ERR_RESOLVE:
    case PERI_ERR_CONNECT: check_finish(check, PERI_HEALTH_CONNECT, 0); return;
    default: check_finish(check, PERI_HEALTH_BROKEN, 0); return;
    }
}

// ---- TCP

static void on_dial_close(struct peri_stream *stream)
{
    peri_dial_end(peri_stream_data(stream));
}

static const struct peri_stream_events dialed_events = {.on_close = on_dial_close};

static void on_dialed(void *data, peri_err_t err, struct peri_stream *stream)
{
    struct peri_health_check *check = data;
    struct peri_dial *dial = check->dial;
    check->dial = NULL;
    if (err != PERI_OK) {
        check_fail(check, err);
        return;
    }
    peri_stream_set_owner(stream, &dialed_events, dial); // which outlives the check
    peri_stream_close(stream);
    check_finish(check, PERI_HEALTH_SUCCESS, 0);
}

static bool check_dial(struct peri_health_check *check)
{
    check->dial = peri_dial_start(check->pool, 0, on_dialed, check);
    return check->dial != NULL;
}

// ---- what comes of an attempt

static void on_ready(struct peri_attempt *attempt)
{
    const struct peri_health_check *check = attempt->data;
    char frame[PERI_GRPC_HEALTH_REQUEST];
    if (attempt->has_no_body)
        return;
    peri_attempt_send_body(attempt, peri_slice(frame, peri_grpc_health_write(check->settings->service, frame)));
    peri_attempt_send_end(attempt, NULL);
}

static void on_interim(struct peri_attempt *attempt, int status, const struct peri_headers *headers)
{
    PERI_UNUSED(attempt);
    PERI_UNUSED(status);
    PERI_UNUSED(headers);
}

static void on_head(struct peri_attempt *attempt)
{
    PERI_UNUSED(attempt); // judged when the answer is whole
}

static void judge_http(struct peri_health_check *check)
{
    int status = check->res.status;
    bool is_good = peri_health_is_expected(check->settings, status);
    check_finish(check, is_good ? PERI_HEALTH_SUCCESS : PERI_HEALTH_STATUS, status);
}

// -1 when the answer does not say.
static int grpc_status(const struct peri_response *res)
{
    const struct peri_slice name = PERI_SLICE("grpc-status");
    const struct peri_header *h = peri_headers_find_name(&res->trailers, name, 0, NULL);
    h = h ? h : peri_headers_find_name(&res->headers, name, 0, NULL);
    return h ? peri_grpc_status_parse(peri_slice(h->value, h->value_len)) : -1;
}

static void judge_grpc(struct peri_health_check *check)
{
    struct peri_slice type = peri_headers_get(&check->res.headers, PERI_H_CONTENT_TYPE);
    int status = grpc_status(&check->res);
    if (check->res.status != 200) {
        check_finish(check, PERI_HEALTH_STATUS, check->res.status);
        return;
    }
    if (peri_grpc_kind(type) != PERI_GRPC_NATIVE || status < 0 || check->body > CHECK_MESSAGE) {
        check_finish(check, PERI_HEALTH_BROKEN, 0);
        return;
    }
    if (status != PERI_GRPC_OK) {
        check_finish(check, PERI_HEALTH_GRPC, status);
        return;
    }
    int health = peri_grpc_health_read(peri_slice(check->message, check->body));
    if (health == PERI_GRPC_HEALTH_SERVING)
        check_finish(check, PERI_HEALTH_SUCCESS, 0);
    else
        check_finish(check, health >= 0 ? PERI_HEALTH_NOT_SERVING : PERI_HEALTH_BROKEN, 0);
}

static void check_judge(struct peri_health_check *check)
{
    if (check->settings->type == PERI_HEALTH_BY_GRPC)
        judge_grpc(check);
    else
        judge_http(check);
}

// Of a long body no more is wanted than its beginning.
static void on_body(struct peri_attempt *attempt, struct peri_slice data)
{
    struct peri_health_check *check = attempt->data;
    size_t room = check->body < CHECK_MESSAGE ? CHECK_MESSAGE - check->body : 0;
    memcpy(check->message + check->body, data.ptr, data.len < room ? data.len : room);
    check->body += data.len;
    if (check->body <= CHECK_BODY)
        return;
    peri_attempt_cancel(attempt);
    check_judge(check);
}

static void on_end(struct peri_attempt *attempt)
{
    check_judge(attempt->data);
}

static void on_error(struct peri_attempt *attempt, peri_err_t err)
{
    check_fail(attempt->data, err);
}

static void on_drain(struct peri_attempt *attempt)
{
    PERI_UNUSED(attempt); // one small message is never too much
}

static const struct peri_attempt_events attempt_events = {
    .on_ready = on_ready,
    .on_interim = on_interim,
    .on_head = on_head,
    .on_body = on_body,
    .on_end = on_end,
    .on_error = on_error,
    .on_drain = on_drain,
};

// ---- the request

static void set_target(struct peri_request *req, struct peri_slice path)
{
    const char *mark = memchr(path.ptr, '?', path.len);
    req->path = mark ? peri_slice(path.ptr, (size_t)(mark - path.ptr)) : path;
    if (mark)
        req->query = peri_slice(mark + 1, path.len - req->path.len - 1);
}

static void set_http(struct peri_request *req, const struct peri_health_target *target)
{
    req->method = PERI_METHOD_GET;
    req->method_name = PERI_SLICE("GET");
    req->content_length = PERI_LENGTH_NONE;
    set_target(req, target->path);
}

static peri_err_t set_grpc(struct peri_request *req, const struct peri_health_settings *settings,
                           struct peri_arena *arena)
{
    char text[PERI_GRPC_TIMEOUT_TEXT];
    size_t len = peri_grpc_timeout_format(settings->timeout_ms * 1000000, text);
    struct peri_slice timeout = peri_arena_copy(arena, peri_slice(text, len));
    req->method = PERI_METHOD_POST;
    req->method_name = PERI_SLICE("POST");
    req->content_length = PERI_LENGTH_UNKNOWN;
    req->wants_trailers = true;
    req->path = PERI_SLICE("/grpc.health.v1.Health/Check");
    peri_err_t err =
        timeout.ptr ? peri_headers_append(&req->headers, PERI_SLICE("grpc-timeout"), timeout) : PERI_ERR_NOMEM;
    return err == PERI_OK
               ? peri_headers_append_known(&req->headers, PERI_H_CONTENT_TYPE, PERI_SLICE("application/grpc"))
               : err;
}

static peri_err_t set_headers(struct peri_request *req, const struct peri_health_settings *settings)
{
    peri_err_t err = peri_headers_append_known(&req->headers, PERI_H_USER_AGENT, PERI_SLICE("perigee-health-check"));
    for (uint32_t i = 0; i < settings->header_count && err == PERI_OK; i++)
        err = peri_headers_set(&req->headers, settings->headers[i].name, settings->headers[i].value);
    return err;
}

// Of a unix socket there is no name that a server would know.
static struct peri_slice authority_of(const struct peri_health_settings *settings,
                                      const struct peri_health_target *target)
{
    if (settings->host.len > 0)
        return settings->host;
    return peri_slice_starts(target->address, PERI_SLICE("unix:")) ? PERI_SLICE("localhost") : target->address;
}

static peri_err_t set_request(struct peri_health_check *check, const struct peri_health_target *target)
{
    const struct peri_health_settings *settings = check->settings;
    struct peri_request *req = &check->req;
    peri_headers_init(&req->headers, &check->arena);
    peri_headers_init(&req->trailers, &check->arena);
    peri_headers_init(&check->res.headers, &check->arena);
    peri_headers_init(&check->res.trailers, &check->arena);
    req->version = 11;
    req->scheme = settings->pool.tls ? PERI_SLICE("https") : PERI_SLICE("http");
    req->authority = req->host = authority_of(settings, target);
    peri_err_t err = set_headers(req, settings);
    if (err == PERI_OK && settings->type == PERI_HEALTH_BY_GRPC)
        return set_grpc(req, settings, &check->arena);
    set_http(req, target);
    return err;
}

static bool check_attempt(struct peri_health_check *check, const struct peri_health_target *target)
{
    if (set_request(check, target) != PERI_OK)
        return false;
    check->attempt = (struct peri_attempt){
        .events = &attempt_events,
        .data = check,
        .pool = check->pool,
        .req = &check->req,
        .res = &check->res,
        .wants_fresh = true,
        .has_no_body = check->settings->type == PERI_HEALTH_BY_HTTP,
    };
    peri_attempt_start(&check->attempt);
    return true;
}

struct peri_health_check *
peri_health_check_start(struct peri_health_settings *settings, uint32_t index, struct peri_pool *pool,
                        void (*on_found)(void *data, const struct peri_health_finding *finding), void *data)
{
    struct peri_health_check *check = calloc(1, sizeof(*check));
    if (!check)
        return NULL;
    check->settings = peri_health_ref(settings);
    check->pool = peri_pool_ref(pool);
    check->loop = peri_pool_loop(pool);
    check->on_done = on_found;
    check->data = data;
    peri_arena_init(&check->arena, CHECK_MEMORY);
    peri_timer_init(&check->timer, on_timeout);
    peri_defer_init(&check->done, on_done);
    peri_timer_start(check->loop, &check->timer, settings->timeout_ms);
    if (settings->type == PERI_HEALTH_BY_TCP ? check_dial(check) : check_attempt(check, &settings->targets[index]))
        return check;
    check_free(check);
    return NULL;
}
