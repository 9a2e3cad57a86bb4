// SPDX-License-Identifier: MIT
// The tap stands in for three tables of calls of an exchange that it records, and passes every call on:
//
//   client --body--> owner_ops --> pipeline          pipeline --head, release--> client_ops --> client
//   upstream --ready, head, body, error--> attempt_events --> pipeline
//
// Heads are lists that share the exchange's memory; bodies are copied up to a limit. The line is written when the exchange is
// released, when all its secrets are known.
#include "proxy/tap.h"

#include <stdlib.h>

#include "base/assert.h"
#include "event/loop.h"
#include "proxy/forward.h"
#include "proxy/generation.h"
#include "proxy/pipeline.h"
#include "proxy/server_internal.h"
#include "proxy/tap_record.h"
#include "shared/text.h"

struct peri_tap {
    struct peri_loop *loop;
    struct peri_tap_options options;
    uint32_t references; ///< of the owner and of each record
    uint32_t records;    ///< under way
    uint64_t held;       ///< bytes of bodies
    uint64_t random;
    bool is_closed;
    char *names; ///< what `secrets` points into
    uint32_t secret_count;
    struct peri_secret secrets[PERI_TAP_NAMES];
};

// ---- life ----

static bool read_names(struct peri_tap *tap, struct peri_slice rest)
{
    struct peri_slice name;
    while (peri_slice_next(&rest, &name))
        if (tap->secret_count == PERI_TAP_NAMES || !peri_secret_parse(name, &tap->secrets[tap->secret_count++]))
            return false;
    return true;
}

static void tap_free(struct peri_tap *tap)
{
    free(tap->names);
    free(tap);
}

struct peri_tap *peri_tap_open(struct peri_loop *loop, const struct peri_tap_options *options)
{
    struct peri_tap *tap = calloc(1, sizeof(*tap));
    char *names = malloc(options->names.len + 1);
    if (!tap || !names) {
        free(tap);
        free(names);
        return NULL;
    }
    if (options->names.len > 0)
        memcpy(names, options->names.ptr, options->names.len);
    tap->loop = loop;
    tap->options = *options;
    tap->references = 1;
    tap->random = options->seed;
    tap->names = names;
    if (read_names(tap, peri_slice(names, options->names.len)))
        return tap;
    tap_free(tap);
    return NULL;
}

static void unref(struct peri_tap *tap)
{
    peri_assert(tap->references > 0);
    if (--tap->references == 0)
        tap_free(tap);
}

void peri_tap_close(struct peri_tap *tap)
{
    if (!tap)
        return;
    tap->is_closed = true;
    unref(tap);
}

// splitmix64: cheap, and nothing that repeats in the traffic repeats in it.
static bool is_chosen(struct peri_tap *tap)
{
    uint64_t z = tap->random += 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return (double)((z ^ z >> 31) >> 11) * 0x1p-53 < tap->options.sample;
}

// ---- bodies ----

static void keep(struct peri_tap *tap, struct peri_tap_body *body, struct peri_slice data)
{
    uint64_t room = tap->options.body_limit - body->kept.len;
    if (room > PERI_TAP_MEMORY - tap->held)
        room = PERI_TAP_MEMORY - tap->held;
    if (body->total > body->kept.len)
        room = 0; // there is a gap already
    body->total += data.len;
    if (data.len > room)
        data.len = room;
    if (data.len > 0 && peri_buf_put(&body->kept, data) == PERI_OK)
        tap->held += data.len;
}

static void drop(struct peri_tap *tap, struct peri_tap_body *body)
{
    tap->held -= body->kept.len;
    peri_buf_close(&body->kept);
    body->total = 0;
}

// ---- the client's side ----

static void on_body(struct peri_exchange *x, struct peri_slice data)
{
    struct peri_tap_record *record = x->forward->tap;
    keep(record->tap, &record->body, data);
    peri_pipeline_owner.on_body(x, data);
}

static void send_head(struct peri_exchange *x, bool ends)
{
    struct peri_tap_record *record = x->forward->tap;
    record->status = x->res.status;
    if (peri_headers_clone(&record->response, &x->arena, &x->res.headers) != PERI_OK)
        record->status = 0;
    record->client->send_head(x, ends);
}

static void write_line(struct peri_tap_record *record)
{
    struct peri_tap *tap = record->tap;
    struct peri_generation *generation = record->x->generation;
    struct peri_secrets declared = {generation->secrets, generation->secret_count};
    struct peri_mask mask;
    struct peri_text line;
    peri_mask_init(&mask, tap->options.keeps_credentials ? NULL : tap->options.key, declared,
                   (struct peri_secrets){tap->secrets, tap->secret_count});
    peri_text_init(&line);
    peri_tap_write(record, &mask, peri_loop_now_ns(tap->loop) - record->x->facts.start_ns, &line);
    bool is_whole = !line.failed && line.len <= PERI_TAP_LINE_MAX;
    tap->options.emit(tap->options.data, is_whole ? peri_slice(line.data, line.len) : peri_slice(NULL, 0));
    peri_text_close(&line);
}

static void on_release(struct peri_exchange *x)
{
    struct peri_tap_record *record = x->forward->tap;
    struct peri_tap *tap = record->tap;
    if (!tap->is_closed)
        write_line(record);
    drop(tap, &record->body);
    for (uint32_t i = 0; i < record->attempt_count; i++)
        drop(tap, &record->attempts[i].body);
    tap->records--;
    x->client = record->client;
    x->owner = &peri_pipeline_owner;
    x->forward->tap = NULL;
    unref(tap);
    x->client->release(x);
}

// ---- the upstream's side ----

static struct peri_tap_record *record_of(struct peri_attempt *attempt)
{
    return ((struct peri_exchange *)attempt->data)->forward->tap;
}

static struct peri_tap_attempt *last_of(struct peri_attempt *attempt)
{
    struct peri_tap_record *record = record_of(attempt);
    return &record->attempts[record->attempt_count - 1];
}

static void note_request(struct peri_tap_record *record, struct peri_tap_attempt *last)
{
    struct peri_exchange *x = record->x;
    last->upstream = x->facts.upstream;
    last->endpoint = x->facts.endpoint;
    last->method = x->req.method_name;
    last->authority = x->req.authority;
    last->path = x->req.path;
    last->query = x->req.query;
    if (peri_headers_clone(&last->sent, &x->arena, &x->req.headers) != PERI_OK)
        peri_headers_init(&last->sent, &x->arena);
}

// A new attempt; one that met a connection that had gone stale is the same attempt again.
static struct peri_tap_attempt *add_attempt(struct peri_tap_record *record)
{
    bool is_again = record->attempt_count > 0 && record->x->forward->tries.is_stale_replaced &&
                    record->attempts[record->attempt_count - 1].status == 0;
    if (!is_again && record->attempt_count < PERI_TAP_ATTEMPTS)
        record->attempt_count++;
    struct peri_tap_attempt *last = &record->attempts[record->attempt_count - 1];
    drop(record->tap, &last->body);
    last->status = 0;
    last->err = PERI_OK;
    return last;
}

static void on_ready(struct peri_attempt *attempt)
{
    struct peri_tap_record *record = record_of(attempt);
    note_request(record, last_of(attempt)); // what hooks and edits made of it
    record->attempt->on_ready(attempt);
}

static void on_head(struct peri_attempt *attempt)
{
    struct peri_tap_record *record = record_of(attempt);
    struct peri_tap_attempt *last = last_of(attempt);
    last->status = attempt->res->status;
    if (peri_headers_clone(&last->received, &record->x->arena, &attempt->res->headers) != PERI_OK)
        peri_headers_init(&last->received, &record->x->arena);
    record->attempt->on_head(attempt);
}

static void on_response_body(struct peri_attempt *attempt, struct peri_slice data)
{
    struct peri_tap_record *record = record_of(attempt);
    keep(record->tap, &last_of(attempt)->body, data);
    record->attempt->on_body(attempt, data);
}

static void on_error(struct peri_attempt *attempt, peri_err_t err)
{
    last_of(attempt)->err = err;
    record_of(attempt)->attempt->on_error(attempt, err);
}

PERI_COLD const struct peri_attempt_events *peri_tap_attempt(struct peri_tap_record *record,
                                                             const struct peri_attempt_events *events)
{
    note_request(record, add_attempt(record));
    record->attempt = events;
    record->attempt_events = *events;
    record->attempt_events.on_ready = on_ready;
    record->attempt_events.on_head = on_head;
    record->attempt_events.on_body = on_response_body;
    record->attempt_events.on_error = on_error;
    return &record->attempt_events;
}

// ---- the beginning ----

static void stand_in(struct peri_tap_record *record)
{
    struct peri_exchange *x = record->x;
    record->client = x->client;
    record->client_ops = *x->client;
    record->client_ops.send_head = send_head;
    record->client_ops.release = on_release;
    x->client = &record->client_ops;
    record->owner_ops = peri_pipeline_owner;
    record->owner_ops.on_body = on_body;
    x->owner = &record->owner_ops;
    x->forward->tap = record;
}

PERI_COLD void peri_tap_begin(struct peri_tap *tap, struct peri_exchange *x)
{
    if (!is_chosen(tap))
        return;
    struct peri_tap_record *record =
        tap->records < PERI_TAP_RECORDS ? peri_arena_zalloc(&x->arena, sizeof(*record)) : NULL;
    if (!record || peri_headers_clone(&record->headers, &x->arena, &x->req.headers) != PERI_OK) {
        tap->options.emit(tap->options.data, peri_slice(NULL, 0));
        return;
    }
    record->tap = tap;
    record->x = x;
    record->wall_ms = peri_loop_wall_ms(tap->loop);
    record->method = x->req.method_name;
    record->authority = x->req.authority;
    peri_buf_init(&record->body.kept);
    for (unsigned i = 0; i < PERI_TAP_ATTEMPTS; i++)
        peri_buf_init(&record->attempts[i].body.kept);
    tap->references++;
    tap->records++;
    stand_in(record);
}

bool peri_server_tap(struct peri_server *server, const struct peri_tap_options *options)
{
    peri_tap_close(server->tap);
    server->tap = options ? peri_tap_open(server->loop, options) : NULL;
    return !options || server->tap;
}
