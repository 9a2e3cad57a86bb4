// SPDX-License-Identifier: MIT
// A VM with one generation from files in memory, exchanges without connections, and a host that notes what scripts ask of the
// proxy. For the tests of runtime/script.
#ifndef PERI_SPEC_SCRIPT_WORLD_H
#define PERI_SPEC_SCRIPT_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "codec/header.h"
#include "event/loop.h"
#include "exchange/exchange.h"
#include "script/chain.h"
#include "script/fetch.h"
#include "script/vm.h"

#define UNUSED __attribute__((unused))

struct world_file {
    const char *path;
    const char *text;
};

struct world {
    struct peri_loop *loop;
    struct peri_vm *vm;
    struct peri_script_generation *script;
    const struct world_file *files;
    char *errors; ///< of the last build or start
    char *config;
    char log[16384]; ///< what was logged, line by line
    // verdicts that came from the loop
    int verdicts;
    enum peri_verdict verdict;
    enum peri_phase phase;
    // what the host was asked
    char upstream[64];
    char endpoint[64];
    uint64_t body_limit;
    uint64_t wanted; ///< limit of the last read_body that had to wait
    struct peri_fetch_request fetch;
    char fetch_url[128];
    char fetch_headers[256];
    char fetch_body[128];
    int fetches;
    char failure[512]; // what a script failed with last
    int cancelled;
};

static struct world world;

static void on_log(void *data, enum peri_log_level level, const char *line, size_t len)
{
    (void)data;
    (void)level;
    size_t used = strlen(world.log);
    if (used + len + 2 < sizeof(world.log))
        sprintf(world.log + used, "%.*s\n", (int)len, line);
}

static void host_on_verdict(struct peri_exchange *x, enum peri_phase phase, enum peri_verdict verdict)
{
    (void)x;
    world.verdicts++;
    world.phase = phase;
    world.verdict = verdict;
}

static peri_err_t host_read_body(struct peri_exchange *x, enum peri_side side, uint64_t limit)
{
    struct peri_body *body = side == PERI_SIDE_REQUEST ? &x->req_body : &x->res_body;
    if (body->queue.len > limit)
        return PERI_ERR_BODY_TOO_LARGE;
    world.wanted = limit;
    return body->is_ended ? PERI_OK : PERI_ERR_AGAIN;
}

static peri_err_t host_set_body(struct peri_exchange *x, enum peri_side side, struct peri_slice data)
{
    return peri_body_set(side == PERI_SIDE_REQUEST ? &x->req_body : &x->res_body, data);
}

static void host_limit_body(struct peri_exchange *x, uint64_t limit)
{
    (void)x;
    world.body_limit = limit;
}

static peri_err_t host_choose(struct peri_exchange *x, struct peri_slice upstream, struct peri_slice endpoint)
{
    (void)x;
    if (!peri_slice_eq(upstream, PERI_SLICE("origin")) && !peri_slice_eq(upstream, PERI_SLICE("other")))
        return PERI_ERR_NOT_FOUND;
    snprintf(world.upstream, sizeof(world.upstream), "%.*s", (int)upstream.len, upstream.ptr);
    snprintf(world.endpoint, sizeof(world.endpoint), "%.*s", (int)endpoint.len, endpoint.ptr);
    return PERI_OK;
}

static struct peri_fetch *host_fetch_start(struct peri_fetch_request *request, peri_err_t *err)
{
    if (peri_slice_starts(request->url, PERI_SLICE("http://refused/"))) {
        *err = PERI_ERR_CONNECT;
        return NULL;
    }
    world.fetch = *request;
    world.fetches++;
    snprintf(world.fetch_url, sizeof(world.fetch_url), "%.*s %.*s", (int)request->method.len, request->method.ptr,
             (int)request->url.len, request->url.ptr);
    snprintf(world.fetch_body, sizeof(world.fetch_body), "%.*s", (int)request->body.len, request->body.ptr);
    world.fetch_headers[0] = 0;
    for (uint32_t i = 0; i < 2 * request->header_count; i++)
        snprintf(world.fetch_headers + strlen(world.fetch_headers), 64, "%.*s%s", (int)request->header_pairs[i].len,
                 request->header_pairs[i].ptr, i % 2 ? "\n" : ": ");
    return (struct peri_fetch *)&world.fetch;
}

static void host_note_failure(struct peri_exchange *x, struct peri_slice text)
{
    (void)x;
    snprintf(world.failure, sizeof(world.failure), "%.*s", (int)text.len, text.ptr);
}

static void host_fetch_cancel(struct peri_fetch *fetch)
{
    (void)fetch;
    world.cancelled++;
}

static const struct peri_script_host world_host = {
    .on_verdict = host_on_verdict,
    .read_body = host_read_body,
    .set_body = host_set_body,
    .limit_body = host_limit_body,
    .choose_upstream = host_choose,
    .note_failure = host_note_failure,
    .fetch_start = host_fetch_start,
    .fetch_cancel = host_fetch_cancel,
};

static peri_err_t source_read(void *data, struct peri_slice path, struct peri_slice *bytes)
{
    for (const struct world_file *file = data; file->path; file++) {
        if (!peri_slice_eq(path, peri_slice_from(file->path)))
            continue;
        *bytes = peri_slice_from(file->text);
        return PERI_OK;
    }
    return PERI_ERR_NOT_FOUND;
}

/// A world without a generation, its Lua heap capped at `memory` bytes (0: the default).
static void world_open(uint64_t memory)
{
    memset(&world, 0, sizeof(world));
    peri_log_set_sink(on_log, NULL);
    world.loop = peri_loop_new(true);
    assert_non_null(world.loop);
    world.vm = peri_vm_new(
        &(struct peri_vm_options){.loop = world.loop, .host = &world_host, .memory_limit = memory, .worker = 3});
    if (!world.vm)
        fail_msg("the VM does not start: %s", world.log);
}

UNUSED static void world_close(void)
{
    if (world.script)
        peri_script_release(world.script);
    peri_vm_free(world.vm);
    peri_loop_free(world.loop);
    peri_exchange_pool_close();
    free(world.errors);
    free(world.config);
    peri_log_set_sink(NULL, NULL);
}

/// Builds and starts a generation of `files` (ends with a NULL path; the entry is the first). Returns NULL with world.errors when it
/// is refused.
UNUSED static struct peri_script_generation *world_try(const struct world_file *files,
                                                       struct peri_script_generation *previous)
{
    struct peri_build build;
    struct peri_source source = {.read = source_read, .data = (void *)(uintptr_t)files};
    free(world.errors);
    free(world.config);
    world.errors = world.config = NULL;
    if (peri_script_build(world.vm, &source, peri_slice_from(files[0].path), 1, &build) != PERI_OK) {
        world.errors = build.errors;
        assert_non_null(build.errors);
        assert_null(build.script);
        return NULL;
    }
    world.config = build.config;
    if (peri_script_start(build.script, previous, &world.errors) == PERI_OK)
        return build.script;
    peri_script_release(build.script);
    return NULL;
}

/// A world with one route "r" whose policy is `policy`: the body of policies/p/init.lua between the declaration of P and its return.
/// `route` is the rest of the route's table.
UNUSED static void world_with(const char *policy, const char *route)
{
    static char config[4096], source[8192];
    static struct world_file files[] = {{"gateway.lua", config}, {"policies/p/init.lua", source}, {NULL, NULL}};
    snprintf(config, sizeof(config),
             "return { listeners = { { address = '127.0.0.1:0' } },\n"
             "upstreams = { origin = { endpoints = { '127.0.0.1:1' } } },\n"
             "routes = { { name = 'r', match = { path = '/a/{id}' }, %s } } }\n",
             route);
    snprintf(source, sizeof(source),
             "local perigee = require 'perigee'\n"
             "local P = perigee.policy { name = 'p', stage = 'auth', schema = {\n"
             "  tag = { type = 'string', default = 'p' }, n = { type = 'integer', default = 0 } } }\n"
             "%s\nreturn P\n",
             policy);
    world_open(0);
    world.script = world_try(files, NULL);
    if (!world.script)
        fail_msg("refused: %s", world.errors);
}

#define WORLD_ROUTE "upstream = 'origin', policies = { 'p' }"

static void add_header(struct peri_headers *headers, const char *name, const char *value)
{
    assert_int_equal(peri_headers_append(headers, peri_slice_from(name), peri_slice_from(value)), PERI_OK);
}

/// A GET of /a/7?q=1&q=two%20words with some headers.
UNUSED static struct peri_exchange *world_request(void)
{
    struct peri_exchange *x = peri_exchange_new();
    assert_non_null(x);
    peri_exchange_set_state(x, PERI_X_REQUEST);
    x->req.method = PERI_METHOD_GET;
    x->req.method_name = PERI_SLICE("GET");
    x->req.scheme = PERI_SLICE("http");
    x->req.authority = PERI_SLICE("shop.example:8080");
    x->req.host = PERI_SLICE("shop.example");
    x->req.path = PERI_SLICE("/a/7");
    x->req.query = PERI_SLICE("q=1&q=two%20words&flag");
    x->req.version = 11;
    x->captures[0] = PERI_SLICE("7");
    x->client_ip = PERI_SLICE("192.0.2.1");
    x->peer.port = 4711;
    x->facts.start_ns = peri_loop_now_ns(world.loop);
    add_header(&x->req.headers, "host", "shop.example:8080");
    add_header(&x->req.headers, "accept", "text/html");
    add_header(&x->req.headers, "user-agent", "test/1");
    add_header(&x->req.headers, "cookie", "a=1; session=\"s e\"; b=2");
    add_header(&x->req.headers, "x-many", "one");
    add_header(&x->req.headers, "x-many", "two");
    return x;
}

/// Ends the exchange as the pipeline does.
UNUSED static void world_end(struct peri_exchange *x)
{
    peri_chain_end(x);
    if (x->state != PERI_X_LOG)
        peri_exchange_set_state(x, PERI_X_LOG);
    peri_exchange_set_state(x, PERI_X_DONE);
    peri_exchange_free(x);
}

/// Gives the exchange a response of the upstream.
UNUSED static void world_respond(struct peri_exchange *x, int status)
{
    x->res = (struct peri_response){.status = status, .content_length = 2};
    peri_headers_init(&x->res.headers, &x->arena);
    peri_headers_init(&x->res.trailers, &x->arena);
    add_header(&x->res.headers, "x-from", "origin");
    if (x->state != PERI_X_RESPONSE)
        peri_exchange_set_state(x, PERI_X_RESPONSE);
}

UNUSED static enum peri_verdict run(struct peri_exchange *x, enum peri_phase phase)
{
    return peri_chain_run(world.script, x, 0, phase, NULL);
}

/// Value of a response header, or "" when there is none.
UNUSED static const char *header_of(const struct peri_headers *headers, const char *name)
{
    static char text[256];
    const struct peri_header *header = peri_headers_find_name(headers, peri_slice_from(name), 0, NULL);
    snprintf(text, sizeof(text), "%.*s", header ? (int)header->value_len : 0, header ? header->value : "");
    return text;
}

/// What a body holds.
UNUSED static const char *body_of(const struct peri_body *body)
{
    static char text[1024];
    assert_true(body->queue.len < sizeof(text));
    peri_body_copy(body, text);
    text[body->queue.len] = 0;
    return text;
}

#define assert_logged(text)                                                                                            \
    do {                                                                                                               \
        if (!strstr(world.log, text))                                                                                  \
            fail_msg("not logged: %s\nbut: %s", text, world.log);                                                      \
    } while (0)

#endif
