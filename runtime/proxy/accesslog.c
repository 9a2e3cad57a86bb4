// SPDX-License-Identifier: MIT
// Lines are formatted straight into the ring; text that came from a peer is escaped as JSON strings ask (RFC 8259 7), bytes that are
// not ASCII as \u00XX, so that a line is valid whatever was sent (security.md row 13).
#include "proxy/accesslog.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "event/loop.h"
#include "event/timer.h"
#include "exchange/exchange.h"
#include "proxy/flags.h"
#include "proxy/grpc.h"
#include "proxy/plan.h"
#include "shared/metrics.h"

#define PERI_LOG_RING (256 * 1024)
#define PERI_LOG_FLUSH (16 * 1024)
#define PERI_LOG_FLUSH_MS 100
#define PERI_LOG_FIELD 1024 ///< bytes that one text may take, escaped: a line is never cut
#define PERI_LOG_LINE_MAX (16 * 1024)
#define PERI_LOG_WRITE 4096 ///< PIPE_BUF: a pipe that polls writable takes this much without waiting

struct peri_accesslog {
    struct peri_loop *loop;
    struct peri_metrics_page *page;
    struct peri_timer timer;
    char *path; ///< NULL with a sink
    int fd;
    void (*emit)(void *data, struct peri_slice line); ///< sink; NULL: lines go to `fd`
    void *emit_data;
    size_t flush_at; ///< bytes that are written without waiting for the timer
    bool owns_fd;
    bool may_block; ///< not a regular file: ask before writing
    uint64_t second;
    char stamp[32]; ///< date and time of `second`, cut before the fraction
    size_t begin;   ///< first byte not written
    size_t end;     ///< one past the last line
    char ring[PERI_LOG_RING];
};

static void log_flush(struct peri_accesslog *log);

static void on_timer(struct peri_timer *timer)
{
    struct peri_accesslog *log = PERI_CONTAINER(timer, struct peri_accesslog, timer);
    log_flush(log);
    if (log->begin < log->end)
        peri_timer_start(log->loop, &log->timer, PERI_LOG_FLUSH_MS);
}

static int log_open_fd(struct peri_slice path, bool *owns)
{
    *owns = false;
    if (peri_slice_eq(path, PERI_SLICE("stdout")))
        return STDOUT_FILENO;
    if (peri_slice_eq(path, PERI_SLICE("stderr")))
        return STDERR_FILENO;
    *owns = true;
    return open(path.ptr, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK,
                0640); // a pipe must not stop the worker
}

static struct peri_accesslog *log_new(struct peri_loop *loop, struct peri_metrics_page *page)
{
    struct peri_accesslog *log = calloc(1, sizeof(*log));
    if (!log)
        return NULL;
    log->loop = loop;
    log->page = page;
    log->fd = -1;
    log->flush_at = PERI_LOG_FLUSH;
    peri_timer_init(&log->timer, on_timer);
    return log;
}

struct peri_accesslog *peri_accesslog_open(struct peri_loop *loop, struct peri_slice path,
                                           struct peri_metrics_page *page)
{
    struct peri_accesslog *log = log_new(loop, page);
    char *copy = malloc(path.len + 1);
    if (!log || !copy)
        goto fail;
    memcpy(copy, path.ptr, path.len);
    copy[path.len] = '\0';
    log->path = copy;
    log->fd = log_open_fd(peri_slice_from(copy), &log->owns_fd);
    if (log->fd < 0) {
        peri_error("access log: cannot open %s", copy);
        goto fail;
    }
    log->may_block = !log->owns_fd;
    return log;
fail:
    free(log);
    free(copy);
    return NULL;
}

struct peri_accesslog *peri_accesslog_open_sink(struct peri_loop *loop, struct peri_metrics_page *page,
                                                void (*emit)(void *data, struct peri_slice line), void *data)
{
    struct peri_accesslog *log = log_new(loop, page);
    if (!log)
        return NULL;
    log->emit = emit;
    log->emit_data = data;
    log->flush_at = 0;
    return log;
}

bool peri_accesslog_is(const struct peri_accesslog *log, struct peri_slice path)
{
    return log->path && peri_slice_eq(peri_slice_from(log->path), path);
}

static bool log_can_write(const struct peri_accesslog *log)
{
    struct pollfd poll_fd = {.fd = log->fd, .events = POLLOUT};
    return !log->may_block || (poll(&poll_fd, 1, 0) == 1 && poll_fd.revents & POLLOUT);
}

static void log_flush(struct peri_accesslog *log)
{
    if (log->emit && log->begin < log->end) {
        log->emit(log->emit_data, peri_slice(log->ring + log->begin, log->end - log->begin));
        log->begin = log->end;
    }
    while (log->begin < log->end && log_can_write(log)) {
        size_t len = log->end - log->begin;
        if (log->may_block && len > PERI_LOG_WRITE)
            len = PERI_LOG_WRITE;
        ssize_t n = write(log->fd, log->ring + log->begin, len);
        if (n <= 0)
            break;
        log->begin += (size_t)n;
    }
    if (log->begin == log->end)
        log->begin = log->end = 0;
}

void peri_accesslog_close(struct peri_accesslog *log)
{
    peri_timer_stop(&log->timer);
    log_flush(log);
    if (log->owns_fd)
        close(log->fd);
    free(log->path);
    free(log);
}

// ---- formatting ----

struct line {
    char *at;
    char *limit;
};

static void put(struct line *l, const char *data, size_t len)
{
    if (len > (size_t)(l->limit - l->at))
        len = (size_t)(l->limit - l->at);
    memcpy(l->at, data, len);
    l->at += len;
}

#define PUT(l, literal) put(l, literal, sizeof(literal) - 1)

static void put_number(struct line *l, uint64_t value)
{
    char digits[20];
    unsigned n = sizeof(digits);
    do
        digits[--n] = (char)('0' + value % 10);
    while (value /= 10);
    put(l, digits + n, sizeof(digits) - n);
}

static void put_escaped(struct line *l, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    char text[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
    if (c == '"' || c == '\\') {
        text[1] = (char)c;
        put(l, text, 2);
    } else {
        put(l, text, 6);
    }
}

// A member with a text from outside; left out when empty.
static void put_text(struct line *l, const char *name, size_t name_len, struct peri_slice text)
{
    if (text.len == 0)
        return;
    put(l, name, name_len);
    const char *begin = l->at;
    size_t run = 0;
    size_t i = 0;
    for (; i < text.len && (size_t)(l->at - begin) + i - run < PERI_LOG_FIELD; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\')
            continue;
        put(l, text.ptr + run, i - run);
        put_escaped(l, c);
        run = i + 1;
    }
    put(l, text.ptr + run, i - run);
    PUT(l, "\"");
}

#define PUT_TEXT(l, name, text) put_text(l, ",\"" name "\":\"", sizeof(",\"" name "\":\"") - 1, text)

static void put_milliseconds(struct line *l, uint64_t ns)
{
    uint64_t us = ns / 1000;
    char fraction[4] = {'.', (char)('0' + us / 100 % 10), (char)('0' + us / 10 % 10), (char)('0' + us % 10)};
    put_number(l, us / 1000);
    put(l, fraction, sizeof(fraction));
}

static void put_time(struct peri_accesslog *log, struct line *l)
{
    uint64_t now = peri_loop_wall_ms(log->loop);
    if (now / 1000 != log->second) {
        time_t at = (time_t)(now / 1000);
        struct tm utc;
        gmtime_r(&at, &utc);
        strftime(log->stamp, sizeof(log->stamp), "%Y-%m-%dT%H:%M:%S", &utc);
        log->second = now / 1000;
    }
    char fraction[5] = {'.', (char)('0' + now / 100 % 10), (char)('0' + now / 10 % 10), (char)('0' + now % 10), 'Z'};
    PUT(l, "{\"time\":\"");
    put(l, log->stamp, 19);
    put(l, fraction, sizeof(fraction));
    PUT(l, "\"");
}

static PERI_NOINLINE void put_flags(struct line *l, const struct peri_exchange *x, int status)
{
    char room[PERI_FLAGS_ROOM];
    PUT_TEXT(l, "flags", peri_flags_format(x, status, room));
}

static void put_exchange(struct line *l, const struct peri_exchange *x, int status, uint64_t ns)
{
    const struct peri_exchange_facts *facts = &x->facts;
    PUT_TEXT(l, "client", x->client_ip);
    PUT_TEXT(l, "method", x->req.method_name);
    PUT_TEXT(l, "host", x->req.authority);
    PUT_TEXT(l, "path", x->req.target);
    PUT(l, ",\"status\":");
    put_number(l, (uint64_t)status);
    int call = peri_grpc_status(x);
    if (call >= 0) {
        PUT(l, ",\"grpc_status\":");
        put_number(l, (uint64_t)call);
    }
    if (PERI_UNLIKELY(facts->flags != 0 || facts->err != PERI_OK || x->res.is_own)) // an upstream's answer has none
        put_flags(l, x, status);
    PUT(l, ",\"duration_ms\":");
    put_milliseconds(l, ns);
    PUT(l, ",\"bytes_in\":");
    put_number(l, facts->bytes_in);
    PUT(l, ",\"bytes_out\":");
    put_number(l, facts->bytes_out);
    PUT_TEXT(l, "route", x->route ? x->route->name : peri_slice(NULL, 0));
    PUT_TEXT(l, "upstream", facts->upstream);
    PUT_TEXT(l, "endpoint", facts->endpoint);
    if (facts->attempts > 0) {
        PUT(l, ",\"attempts\":");
        put_number(l, facts->attempts);
    }
    PUT_TEXT(l, "request_id", x->request_id);
    PUT_TEXT(l, "consumer", x->consumer);
    PUT_TEXT(l, "user_agent", peri_headers_get(&x->req.headers, PERI_H_USER_AGENT));
}

static void put_tcp(struct line *l, const struct peri_accesslog_tcp *facts)
{
    PUT(l, ",\"protocol\":\"tcp\"");
    PUT_TEXT(l, "client", facts->client);
    PUT_TEXT(l, "listener", facts->listener);
    PUT_TEXT(l, "server_name", facts->server_name);
    PUT_TEXT(l, "flags", peri_slice_from(peri_err_info(facts->err)->flag));
    PUT(l, ",\"duration_ms\":");
    put_milliseconds(l, facts->ns);
    PUT(l, ",\"bytes_in\":");
    put_number(l, facts->bytes_in);
    PUT(l, ",\"bytes_out\":");
    put_number(l, facts->bytes_out);
    PUT_TEXT(l, "upstream", facts->upstream);
    PUT_TEXT(l, "endpoint", facts->endpoint);
}

// Begins a line with its time. False when there is no room for one: it is dropped and counted.
static bool line_begin(struct peri_accesslog *log, struct line *l)
{
    if (log->end + PERI_LOG_LINE_MAX > PERI_LOG_RING) {
        memmove(log->ring, log->ring + log->begin, log->end - log->begin);
        log->end -= log->begin;
        log->begin = 0;
    }
    if (log->end + PERI_LOG_LINE_MAX > PERI_LOG_RING) {
        log->page->log_drops++;
        return false;
    }
    *l = (struct line){log->ring + log->end, log->ring + log->end + PERI_LOG_LINE_MAX - 2};
    put_time(log, l);
    return true;
}

static void line_end(struct peri_accesslog *log, struct line *l)
{
    *l->at++ = '}';
    *l->at++ = '\n';
    log->end = (size_t)(l->at - log->ring);
    if (log->end - log->begin >= log->flush_at)
        log_flush(log);
    else if (!peri_timer_is_active(&log->timer))
        peri_timer_start(log->loop, &log->timer, PERI_LOG_FLUSH_MS);
}

void peri_accesslog_add(struct peri_accesslog *log, const struct peri_exchange *x, int status, uint64_t ns)
{
    struct line l;
    if (!line_begin(log, &l))
        return;
    put_exchange(&l, x, status, ns);
    line_end(log, &l);
}

void peri_accesslog_add_tcp(struct peri_accesslog *log, const struct peri_accesslog_tcp *facts)
{
    struct line l;
    if (!line_begin(log, &l))
        return;
    put_tcp(&l, facts);
    line_end(log, &l);
}
