// SPDX-License-Identifier: MIT
// A server that is asked for the endpoints by HTTP: once an interval or, where it can keep a question until there is news (Consul's blocking
// queries), again as soon as it answers. The answer is a list as in a file, or that of Consul's health API.
//
//   look -> GET -> 200 with a list -> put; its X-Consul-Index goes into the next question, which then waits at the server
//               -> anything else: the endpoints stay; again after an interval, without an index
#include <stdio.h>
#include <stdlib.h>

#include "codec/header.h"
#include "codec/json.h"
#include "event/loop.h"
#include "event/tls.h"
#include "proxy/discovery_internal.h"
#include "proxy/fetch.h"
#include "proxy/generation_internal.h"
#include "proxy/server_internal.h"
#include "proxy/tls_config.h"
#include "script/fetch.h"
#include "upstream/endpoint_consul.h"
#include "upstream/upstream.h"

#define CONNECT_MS 5000
#define LEAST_GAP_MS 1000 // between two questions: an answer that always comes at once must not be a flood

struct poll {
    struct peri_discovery *d;
    struct peri_upstream *server; ///< of one endpoint, owned
    struct peri_fetch *fetch;     ///< under way
    struct peri_slice url;        ///< in the settings
    struct peri_slice *pairs;     ///< names and values of headers, in the settings; owned
    uint32_t pair_count;
    uint64_t interval_ms;
    uint64_t timeout_ms;
    uint64_t wait_ms;  ///< how long the server may keep a question; 0: it is not asked to
    uint64_t asked_ms; ///< when it was asked last
    uint64_t index;    ///< of its last answer; 0: none
};

// ---- the answer

static uint64_t read_index(const struct peri_headers *headers)
{
    const struct peri_header *header = peri_headers_find_name(headers, PERI_SLICE("x-consul-index"), 0, NULL);
    uint64_t value = 0;
    for (uint32_t i = 0; header && i < header->value_len; i++) {
        unsigned digit = (unsigned char)header->value[i] - (unsigned)'0';
        if (digit > 9 || value > (UINT64_MAX - digit) / 10)
            return 0;
        value = value * 10 + digit;
    }
    return value;
}

static peri_err_t take_body(struct peri_discovery *d, struct peri_slice body, char *problem, size_t size)
{
    struct peri_json *answer = peri_json_parse(body, false, problem, size);
    struct peri_json *list = answer;
    if (peri_endpoint_consul_is(answer)) {
        list = peri_endpoint_consul_convert(answer, problem, size);
        peri_json_free(answer);
    }
    list = list ? peri_endpoint_list_take(list, problem, size) : NULL;
    peri_err_t err = list ? peri_discovery_put(d, list) : PERI_ERR_INVALID;
    if (list && err != PERI_OK)
        snprintf(problem, size, "%s", peri_err_info(err)->text);
    return err;
}

static peri_err_t take(struct poll *poll, const struct peri_fetch_result *result, char *problem, size_t size)
{
    if (result->err != PERI_OK) {
        snprintf(problem, size, "%s", peri_err_info(result->err)->text);
        return result->err;
    }
    if (result->status != 200) {
        snprintf(problem, size, "it answers %d", result->status);
        return PERI_ERR_INVALID;
    }
    return take_body(poll->d, result->body, problem, size);
}

static void on_answer(void *data, const struct peri_fetch_result *result)
{
    struct poll *poll = data;
    struct peri_loop *loop = poll->d->generation->server->loop;
    uint64_t spent_ms = peri_loop_now_ms(loop) - poll->asked_ms;
    uint64_t before = poll->index;
    char problem[256];
    poll->fetch = NULL;
    poll->index = 0;
    if (take(poll, result, problem, sizeof(problem)) != PERI_OK) {
        peri_discovery_note(poll->d, problem);
    } else {
        uint64_t index = poll->wait_ms > 0 ? read_index(result->headers) : 0;
        poll->index = index < before ? 0 : index; // one that goes back means that the server began anew
        peri_discovery_note(poll->d, NULL);
    }
    if (poll->index > 0 || before > 0)
        peri_timer_start(loop, &poll->d->look, spent_ms < LEAST_GAP_MS ? LEAST_GAP_MS - spent_ms : 0);
    else
        peri_discovery_look_in(poll->d, poll->interval_ms);
}

// ---- the question

static void on_look(struct peri_timer *timer)
{
    struct poll *poll = PERI_CONTAINER(timer, struct peri_discovery, look)->state;
    const char *join = memchr(poll->url.ptr, '?', poll->url.len) ? "&" : "?";
    size_t room = poll->url.len + 80;
    char *url = malloc(room);
    peri_err_t err = PERI_ERR_NOMEM;
    if (url && poll->index > 0)
        snprintf(url, room, "%s%sindex=%llu&wait=%llums", poll->url.ptr, join, (unsigned long long)poll->index,
                 (unsigned long long)poll->wait_ms);
    else if (url)
        snprintf(url, room, "%s", poll->url.ptr);
    struct peri_fetch_request request = {
        .generation = poll->d->generation,
        .method = PERI_SLICE("GET"),
        .url = peri_slice_from(url),
        .header_pairs = poll->pairs,
        .header_count = poll->pair_count,
        .timeout_ms = poll->timeout_ms + (poll->index > 0 ? poll->wait_ms + poll->wait_ms / 16 : 0), // Consul's jitter
        .max_body = PERI_ENDPOINT_LIST_BYTES,
        .on_done = on_answer,
        .data = poll,
    };
    poll->asked_ms = peri_loop_now_ms(poll->d->generation->server->loop);
    if (url)
        poll->fetch = peri_fetch_start_at(&request, poll->server, &err);
    free(url);
    if (!poll->fetch) {
        peri_discovery_note(poll->d, peri_err_info(err)->text);
        peri_discovery_look_in(poll->d, poll->interval_ms);
    }
}

// ---- life

static bool read_headers(struct poll *poll, const struct peri_json *headers)
{
    const struct peri_json *value;
    void *cursor = NULL;
    poll->pairs = calloc(2 * peri_json_count(headers) + 1, sizeof(*poll->pairs));
    if (!poll->pairs)
        return false;
    for (; peri_json_next(headers, &cursor, &poll->pairs[2 * poll->pair_count], &value); poll->pair_count++)
        poll->pairs[2 * poll->pair_count + 1] = peri_json_string(value);
    return true;
}

static peri_err_t refuse(struct peri_generation_builder *b, struct peri_slice upstream,
                         const struct peri_tls_fault *fault)
{
    char place[112];
    snprintf(place, sizeof(place), "upstreams.%.*s.http", (int)(upstream.len < 80 ? upstream.len : 80), upstream.ptr);
    return peri_generation_refuse_tls(b, place, fault);
}

static peri_err_t open_server(struct poll *poll, struct peri_generation_builder *b, const struct peri_json *settings)
{
    struct peri_pool_settings pool = {.max_idle = 1, .idle_ms = 60000, .protocol = PERI_POOL_H1};
    const struct peri_json *tls = peri_json_get(settings, "tls");
    struct peri_slice address = peri_json_get_string(settings, "address");
    struct peri_tls_fault fault;
    poll->server = peri_upstream_new(address);
    if (!poll->server)
        return PERI_ERR_NOMEM;
    poll->server->connect_ms = CONNECT_MS;
    if (tls)
        pool.tls = peri_tls_config_client(tls, b->source, true, false, &fault);
    if (tls && !pool.tls)
        return refuse(b, poll->d->set->upstream->name, &fault);
    peri_err_t err = peri_upstream_add(poll->server, b->generation->pools, address, 1, &pool);
    peri_tls_client_unref(pool.tls); // the pool has its own
    return err == PERI_OK ? peri_upstream_seal(poll->server) : err;
}

static peri_err_t open_poll(struct peri_discovery *d, struct peri_generation_builder *b,
                            const struct peri_json *discovery)
{
    const struct peri_json *settings = peri_json_get(discovery, "poll");
    struct poll *poll = calloc(1, sizeof(*poll));
    d->state = poll;
    if (!poll)
        return PERI_ERR_NOMEM;
    poll->d = d;
    d->place = peri_json_get_string(discovery, "http"); // without the query, which may have a token in it
    poll->url = peri_json_get_string(settings, "url");
    poll->interval_ms = (uint64_t)peri_json_get_integer(settings, "interval_ms", 10000);
    poll->timeout_ms = (uint64_t)peri_json_get_integer(settings, "timeout_ms", 5000);
    poll->wait_ms = (uint64_t)peri_json_get_integer(settings, "wait_ms", 0);
    if (!read_headers(poll, peri_json_get(settings, "headers")))
        return PERI_ERR_NOMEM;
    return open_server(poll, b, settings);
}

static void close_poll(struct peri_discovery *d)
{
    struct poll *poll = d->state;
    if (!poll)
        return;
    if (poll->server)
        peri_upstream_free(poll->server);
    free(poll->pairs);
    free(poll);
}

static void start(struct peri_discovery *d)
{
    peri_timer_start(d->generation->server->loop, &d->look, 0);
}

static void stop(struct peri_discovery *d)
{
    struct poll *poll = d->state;
    if (poll->fetch)
        peri_fetch_cancel(poll->fetch);
    poll->fetch = NULL;
}

const struct peri_discovery_source peri_discovery_http = {
    .open = open_poll, .close = close_poll, .start = start, .on_look = on_look, .stop = stop};
