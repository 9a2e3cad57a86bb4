// SPDX-License-Identifier: MIT
// Lines go out as they come. Once a second a line with the number of dropped exchanges follows, so that the client knows of them
// and the connection is not idle.
#include "app/admin_record.h"

#include <stdio.h>
#include <stdlib.h>

#include "app/history.h"
#include "app/supervisor.h"
#include "app/worker.h"
#include "codec/json.h"
#include "codec/url.h"
#include "event/loop.h"
#include "exchange/exchange.h"
#include "proxy/reply.h"
#include "proxy/tap.h"
#include "version.h"

#define FORMAT 1 ///< version of the lines
#define STATS_MS 1000
#define BODY_LIMIT (64 * 1024)

// ---- what is asked for ----

// A number that is written in digits, with at most one point; false for anything else.
static bool parse_number(struct peri_slice text, double *number)
{
    char copy[24] = {0};
    char *end;
    if (text.len == 0 || text.len >= sizeof(copy))
        return false;
    memcpy(copy, text.ptr, text.len);
    *number = strtod(copy, &end);
    return *end == '\0' && strspn(copy, "0123456789.") == text.len;
}

// Are the names, separated by commas, ones that a tap understands? None has to be escaped in a query.
static bool has_names(struct peri_slice rest)
{
    struct peri_slice name;
    struct peri_secret secret;
    if (rest.len > 0 && memchr(rest.ptr, '%', rest.len))
        return false;
    for (unsigned count = 0; peri_slice_next(&rest, &name); count++)
        if (count == PERI_TAP_NAMES || !peri_secret_parse(name, &secret))
            return false;
    return true;
}

static const char *read_query(struct peri_slice query, struct peri_recording_settings *settings)
{
    struct peri_slice value;
    double body = BODY_LIMIT;
    settings->sample = 1;
    if (peri_url_find_query(query, PERI_SLICE("sample"), &value) &&
        (!parse_number(value, &settings->sample) || settings->sample <= 0 || settings->sample > 1))
        return "The sample is a number above 0, at most 1.";
    if (peri_url_find_query(query, PERI_SLICE("body"), &value) &&
        (!parse_number(value, &body) || body > PERI_TAP_BODY_MAX))
        return "The body limit is a number of bytes, at most 1048576.";
    settings->body_limit = (uint64_t)body;
    if (peri_url_find_query(query, PERI_SLICE("credentials"), &value)) {
        settings->keeps_credentials = peri_slice_eq(value, PERI_SLICE("keep"));
        if (!settings->keeps_credentials && !peri_slice_eq(value, PERI_SLICE("mask")))
            return "The credentials are \"mask\" or \"keep\".";
    }
    if (peri_url_find_query(query, PERI_SLICE("mask"), &value)) {
        if (value.len >= sizeof(settings->names) || !has_names(value))
            return "The names to mask are up to 32 headers, \"query:NAME\" or \"cookie:NAME\", separated by commas.";
        memcpy(settings->names, value.ptr, value.len);
    }
    return NULL;
}

// ---- lines ----

static bool send_line(struct peri_admin_record *record, struct peri_slice line)
{
    bool takes_more = record->x->client->send_body(record->x, line);
    return record->x->client->send_body(record->x, PERI_SLICE("\n")) && takes_more;
}

static bool on_line(struct peri_recording_sink *sink, struct peri_slice line)
{
    struct peri_admin_record *record = PERI_CONTAINER(sink, struct peri_admin_record, sink);
    record->is_full = !send_line(record, line);
    return !record->is_full;
}

static void on_timer(struct peri_timer *timer)
{
    struct peri_admin_record *record = PERI_CONTAINER(timer, struct peri_admin_record, timer);
    char line[64];
    int len = snprintf(line, sizeof(line), "{\"dropped\":%llu}", (unsigned long long)record->sink.dropped);
    peri_timer_start(record->loop, timer, STATS_MS);
    if (!record->is_full)
        send_line(record, peri_slice(line, (size_t)len));
}

static void send_first(struct peri_admin_record *record, const struct peri_recording_settings *settings)
{
    const struct peri_edition *edition = peri_history_current(peri_supervisor_history(record->supervisor));
    struct peri_json *first = peri_json_new_object();
    peri_json_set(first, "perigee_recording", peri_json_new_integer(FORMAT));
    peri_json_set(first, "perigee", peri_json_new_string(PERI_SLICE(PERI_VERSION)));
    peri_json_set(first, "generation", peri_json_new_integer((int64_t)edition->number));
    peri_json_set(first, "sample", peri_json_new_real(settings->sample));
    peri_json_set(first, "body_limit", peri_json_new_integer((int64_t)settings->body_limit));
    peri_json_set(first, "credentials",
                  peri_json_new_string(settings->keeps_credentials ? PERI_SLICE("kept") : PERI_SLICE("masked")));
    char *text = peri_json_format(first, false);
    peri_json_free(first);
    if (text)
        send_line(record, peri_slice_from(text));
    free(text);
}

// ---- life ----

void peri_admin_record_init(struct peri_admin_record *record, struct peri_loop *loop,
                            struct peri_supervisor *supervisor)
{
    *record = (struct peri_admin_record){.loop = loop, .supervisor = supervisor, .sink = {.on_line = on_line}};
    peri_timer_init(&record->timer, on_timer);
}

static void begin_answer(struct peri_admin_record *record, struct peri_exchange *x)
{
    record->x = x;
    record->is_full = false;
    x->res.status = 200;
    x->res.content_length = PERI_LENGTH_UNKNOWN;
    peri_headers_append(&x->res.headers, PERI_SLICE("content-type"), PERI_SLICE("application/x-ndjson"));
    peri_headers_append(&x->res.headers, PERI_SLICE("cache-control"), PERI_SLICE("no-store"));
    peri_headers_append(&x->res.headers, PERI_SLICE("x-content-type-options"), PERI_SLICE("nosniff"));
    peri_reply_add_date(record->loop, x);
    peri_exchange_set_state(x, PERI_X_RESPONSE);
    peri_exchange_set_state(x, PERI_X_SENDING);
    x->client->send_head(x, false);
    peri_timer_start(record->loop, &record->timer, STATS_MS);
}

int peri_admin_record_start(struct peri_admin_record *record, struct peri_exchange *x, const char **detail)
{
    struct peri_recording_settings settings = {0};
    *detail = read_query(x->req.query, &settings);
    if (*detail)
        return 400;
    record->sink.dropped = record->x ? record->sink.dropped : 0;
    peri_err_t err = peri_supervisor_record(record->supervisor, &settings, &record->sink);
    if (err == PERI_OK) {
        begin_answer(record, x);
        send_first(record, &settings);
        return 0;
    }
    if (err == PERI_ERR_AGAIN)
        *detail = "Another recording is under way; it ends when its client goes away.";
    else if (err == PERI_ERR_DRAINING)
        *detail = "The proxy is starting or shutting down.";
    else
        *detail = "The system gives no memory or descriptors for it.";
    return err == PERI_ERR_AGAIN ? 409 : 503;
}

void peri_admin_record_drain(struct peri_admin_record *record, const struct peri_exchange *x)
{
    if (record->x != x)
        return;
    record->is_full = false;
    peri_supervisor_record_resume(record->supervisor);
}

bool peri_admin_record_abort(struct peri_admin_record *record, struct peri_exchange *x)
{
    if (record->x != x)
        return false;
    peri_supervisor_record_stop(record->supervisor);
    peri_timer_stop(&record->timer);
    record->x = NULL;
    return true;
}
