// SPDX-License-Identifier: MIT
// The access log: valid JSON whatever peers send, written by size and by time, and never a wait for a slow reader.
#include "proxy/accesslog.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "codec/json.h"
#include "event/loop.h"
#include "exchange/exchange.h"
#include "fail_alloc.h"
#include "proxy/plan.h"
#include "shared/metrics.h"

static struct peri_loop *loop;
static struct peri_metrics_page *page;
static struct peri_accesslog *logger;
static struct peri_exchange *x;
static char folder[64], path[96];

static int open_world(void **state)
{
    (void)state;
    strcpy(folder, P_tmpdir "/accesslog-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof(path), "%s/log", folder);
    loop = peri_loop_new(true);
    page = calloc(1, sizeof(*page));
    x = peri_exchange_new();
    x->client_ip = PERI_SLICE("192.0.2.1");
    x->req.method_name = PERI_SLICE("GET");
    x->req.authority = PERI_SLICE("shop.example");
    x->req.target = PERI_SLICE("/a?b");
    logger = NULL;
    return 0;
}

static int close_world(void **state)
{
    (void)state;
    if (logger)
        peri_accesslog_close(logger);
    peri_exchange_free(x);
    peri_exchange_pool_close();
    assert_int_equal(peri_loop_timers(loop), 0);
    peri_loop_free(loop);
    free(page);
    unlink(path);
    rmdir(folder);
    return 0;
}

static void open_log(void)
{
    logger = peri_accesslog_open(loop, peri_slice_from(path), page);
    assert_non_null(logger);
}

/// All that was written; call it once.
static char *written(void)
{
    static char text[1 << 20];
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t len = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[len] = 0;
    return text;
}

/// The first line, parsed.
static struct peri_json *first_line(void)
{
    char error[200];
    char *text = written();
    char *end = strchr(text, '\n');
    assert_non_null(end);
    struct peri_json *json = peri_json_parse(peri_slice(text, (size_t)(end - text)), false, error, sizeof(error));
    if (!json)
        fail_msg("%s: %.*s", error, (int)(end - text), text);
    return json;
}

static void assert_member(const struct peri_json *json, const char *name, const char *value)
{
    struct peri_slice text = peri_json_get_string(json, name);
    if (!peri_slice_eq(text, peri_slice_from(value)))
        fail_msg("%s is '%.*s'", name, (int)text.len, text.ptr ? text.ptr : "");
}

static void writes_a_line_of_json_for_an_exchange(void **state)
{
    (void)state;
    struct peri_route route = {.name = PERI_SLICE("shop")};
    open_log();
    x->route = &route;
    x->facts.bytes_in = 5;
    x->facts.bytes_out = 7;
    x->facts.attempts = 2;
    x->facts.upstream = PERI_SLICE("orders");
    x->facts.endpoint = PERI_SLICE("10.0.0.1:80");
    x->facts.err = PERI_ERR_UPSTREAM_TIMEOUT;
    x->request_id = PERI_SLICE("id-1");
    x->consumer = PERI_SLICE("ada");
    peri_headers_add(&x->req.headers, PERI_SLICE("user-agent"), PERI_SLICE("test/1"));
    peri_accesslog_add(logger, x, 504, 1234567890);
    peri_loop_advance(loop, 100);
    assert_string_equal(
        written(),
        "{\"time\":\"2026-01-01T00:00:00.000Z\",\"client\":\"192.0.2.1\",\"method\":\"GET\",\"host\":\"shop.example\","
        "\"path\":\"/a?b\",\"status\":504,\"flags\":\"UT\",\"duration_ms\":1234.567,\"bytes_in\":5,\"bytes_out\":7,"
        "\"route\":\"shop\",\"upstream\":\"orders\",\"endpoint\":\"10.0.0.1:80\",\"attempts\":2,"
        "\"request_id\":\"id-1\",\"consumer\":\"ada\",\"user_agent\":\"test/1\"}\n");
    x->route = NULL;
}

// The flags of an answer with this status, of the proxy or of an upstream.
static void assert_flags(int status, bool is_own, peri_err_t err, const char *flags)
{
    open_log();
    x->res.is_own = is_own;
    x->facts.err = err;
    peri_accesslog_add(logger, x, status, 1);
    peri_loop_advance(loop, 100);
    struct peri_json *json = first_line();
    assert_member(json, "flags", flags);
    peri_json_free(json);
    peri_accesslog_close(logger);
    logger = NULL;
    assert_int_equal(truncate(path, 0), 0);
}

static void says_who_asked_too_often(void **state)
{
    (void)state;
    assert_flags(429, true, PERI_OK, "RL");
    assert_flags(429, false, PERI_OK, ""); // the upstream's own affair
    assert_flags(403, true, PERI_OK, "");
    assert_flags(504, true, PERI_ERR_UPSTREAM_TIMEOUT, "UT");
    assert_flags(429, true, PERI_ERR_POLICY, "PF");
}

static void says_what_policies_and_retries_noted_each_once(void **state)
{
    (void)state;
    x->facts.flags = PERI_FLAG_DELAYED | PERI_FLAG_FAULT;
    assert_flags(503, true, PERI_OK, "DI,FI");
    x->facts.flags = PERI_FLAG_RATE_LIMITED | PERI_FLAG_RETRY_LIMIT;
    assert_flags(429, true, PERI_OK, "RL,URX");
    x->facts.flags = PERI_FLAG_OVERFLOW | PERI_FLAG_RETRY_OVERFLOW;
    assert_flags(503, true, PERI_OK, "UO");
    assert_flags(503, true, PERI_ERR_UPSTREAM_OVERFLOW, "UO");
    assert_flags(502, true, PERI_ERR_UPSTREAM_RESET, "UC,UO");
    x->facts.flags = PERI_FLAGS_OF_POLICIES | PERI_FLAGS_OF_RETRIES;
    assert_flags(504, true, PERI_ERR_DURATION, "UMSDR,DI,FI,RL,RLSE,UAEX,UO,URX");
}

struct sink {
    unsigned lines;
    char last[1024];
};

static void keep_line(void *data, struct peri_slice line)
{
    struct sink *sink = data;
    assert_true(line.len < sizeof(sink->last));
    assert_int_equal(line.ptr[line.len - 1], '\n');
    memcpy(sink->last, line.ptr, line.len);
    sink->last[line.len] = '\0';
    sink->lines++;
}

static void gives_a_sink_each_line_at_once(void **state)
{
    (void)state;
    struct sink sink = {0};
    logger = peri_accesslog_open_sink(loop, page, keep_line, &sink);
    assert_non_null(logger);
    for (unsigned i = 1; i <= 2000; i++) { // more than its memory holds
        peri_accesslog_add(logger, x, 200, 1);
        assert_int_equal(sink.lines, i);
    }
    assert_non_null(strstr(sink.last, "\"path\":\"/a?b\""));
    assert_int_equal(page->log_drops, 0);
    assert_false(peri_accesslog_is(logger, PERI_SLICE("")));
    fail_alloc_at(1);
    struct peri_accesslog *other = peri_accesslog_open_sink(loop, page, keep_line, &sink);
    fail_alloc_stop();
    assert_null(other);
}

static void writes_after_a_while_or_when_there_is_enough(void **state)
{
    (void)state;
    open_log();
    peri_accesslog_add(logger, x, 200, 1);
    peri_loop_advance(loop, 99);
    assert_string_equal(written(), "");
    peri_loop_advance(loop, 1);
    assert_int_not_equal(strlen(written()), 0);
    size_t before = strlen(written());
    for (unsigned i = 0; i < 400; i++)
        peri_accesslog_add(logger, x, 200, 1);
    assert_true(strlen(written()) > before + 16 * 1024);
    peri_accesslog_close(logger); // writes the rest
    logger = NULL;
    unsigned lines = 0;
    for (const char *p = written(); *p; p++)
        lines += *p == '\n';
    assert_int_equal(lines, 401);
    assert_int_equal(page->log_drops, 0);
}

static void says_the_time_of_each_line(void **state)
{
    (void)state;
    open_log();
    peri_loop_advance(loop, 61007);
    peri_accesslog_add(logger, x, 200, 999);
    peri_loop_advance(loop, 100);
    struct peri_json *json = first_line();
    assert_member(json, "time", "2026-01-01T00:01:01.007Z");
    peri_json_free(json);
}

static void stays_json_whatever_bytes_peers_send(void **state)
{
    (void)state;
    char bytes[256];
    open_log();
    for (unsigned i = 0; i < 256; i++)
        bytes[i] = (char)i;
    x->req.target = peri_slice(bytes, 256);
    x->req.authority = PERI_SLICE("\"}\r\n{\"status\":200}");
    x->req.method_name = PERI_SLICE("G\\ET\x1b[31m");
    peri_accesslog_add(logger, x, 400, 1);
    peri_loop_advance(loop, 100);
    const char *line = written();
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
    for (const char *p = line; *p && *p != '\n'; p++)
        assert_in_range(*p, 0x20, 0x7e);
    struct peri_json *json = first_line();
    assert_member(json, "host", "\"}\r\n{\"status\":200}");
    assert_member(json, "method", "G\\ET\x1b[31m");
    assert_int_equal(peri_json_get_integer(json, "status", 0), 400);
    peri_json_free(json);
}

static void stays_json_when_every_text_is_as_long_and_hostile_as_can_be(void **state)
{
    (void)state;
    static char hostile[20000];
    static const char kinds[] = {(char)0xff, '"', '\\', '\n', 'x'};
    for (unsigned i = 0; i < sizeof(kinds); i++) {
        memset(hostile, kinds[i], sizeof(hostile));
        struct peri_slice text = peri_slice(hostile, sizeof(hostile));
        struct peri_route route = {.name = text};
        open_log();
        x->route = &route;
        x->req.target = x->req.authority = x->req.method_name = x->request_id = x->consumer = text;
        x->facts.upstream = x->facts.endpoint = x->client_ip = text;
        x->facts.bytes_in = x->facts.bytes_out = INT64_MAX;
        x->facts.attempts = UINT32_MAX;
        peri_headers_remove(&x->req.headers, PERI_SLICE("user-agent"));
        assert_int_equal(peri_headers_append(&x->req.headers, PERI_SLICE("user-agent"), text), PERI_OK);
        peri_accesslog_add(logger, x, 599, UINT64_MAX);
        peri_accesslog_close(logger);
        logger = NULL;
        struct peri_json *json = first_line();
        assert_true(peri_json_get_string(json, "user_agent").len > 100);
        assert_true(strlen(written()) < 16 * 1024);
        peri_json_free(json);
        x->route = NULL;
        unlink(path);
    }
}

static void appends_to_what_is_there(void **state)
{
    (void)state;
    FILE *file = fopen(path, "w");
    fputs("before\n", file);
    fclose(file);
    open_log();
    assert_true(peri_accesslog_is(logger, peri_slice_from(path)));
    assert_false(peri_accesslog_is(logger, PERI_SLICE("stdout")));
    peri_accesslog_add(logger, x, 200, 1);
    peri_loop_advance(loop, 100);
    assert_memory_equal(written(), "before\n{", 8);
}

static void drop_line(void *data, enum peri_log_level level, const char *line, size_t len)
{
    (void)data;
    (void)level;
    (void)line;
    (void)len;
}

static void says_when_it_cannot_be_opened(void **state)
{
    (void)state;
    peri_log_set_sink(drop_line, NULL);
    assert_null(peri_accesslog_open(loop, PERI_SLICE("/nowhere/at/all"), page));
    peri_log_set_sink(NULL, NULL);
    for (unsigned n = 1; n <= 2; n++) {
        fail_alloc_at(n);
        struct peri_accesslog *other = peri_accesslog_open(loop, peri_slice_from(path), page);
        fail_alloc_stop();
        assert_null(other);
    }
}

/// Fills a pipe that nobody reads through the log; the lines that do not fit are counted, and no write waits.
static void fill(int reader)
{
    static char text[1 << 20];
    uint64_t added = 0, complete = 0;
    while (page->log_drops < 100) {
        peri_accesslog_add(logger, x, 200, 1);
        added++;
        assert_true(added < 100000);
        if (added % 50 == 0)
            peri_loop_advance(loop, 100);
    }
    size_t len = 0;
    for (ssize_t n; len < sizeof(text) - 1; len += (size_t)n) {
        peri_loop_advance(loop, 100);
        n = read(reader, text + len, sizeof(text) - 1 - len);
        if (n <= 0)
            break;
    }
    for (size_t i = 0; i < len; i++)
        complete += text[i] == '\n';
    assert_int_equal(complete, added - page->log_drops);
    assert_int_equal(text[len - 1], '\n');
}

static void drops_and_counts_what_a_slow_reader_leaves_no_room_for(void **state)
{
    (void)state;
    assert_int_equal(mkfifo(path, 0600), 0);
    int reader = open(path, O_RDONLY | O_NONBLOCK);
    assert_true(reader >= 0);
    open_log();
    fill(reader);
    close(reader);
}

static void drops_and_counts_on_standard_output_too(void **state)
{
    (void)state;
    int ends[2];
    fflush(stdout);
    int keep = dup(STDOUT_FILENO);
    assert_int_equal(pipe(ends), 0);
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    dup2(ends[1], STDOUT_FILENO);
    logger = peri_accesslog_open(loop, PERI_SLICE("stdout"), page);
    fill(ends[0]);
    peri_accesslog_close(logger);
    logger = NULL;
    dup2(keep, STDOUT_FILENO);
    close(keep);
    close(ends[0]);
    close(ends[1]);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)
    const struct CMUnitTest tests[] = {
        TEST(writes_a_line_of_json_for_an_exchange),
        TEST(says_who_asked_too_often),
        TEST(says_what_policies_and_retries_noted_each_once),
        TEST(gives_a_sink_each_line_at_once),
        TEST(writes_after_a_while_or_when_there_is_enough),
        TEST(says_the_time_of_each_line),
        TEST(stays_json_whatever_bytes_peers_send),
        TEST(stays_json_when_every_text_is_as_long_and_hostile_as_can_be),
        TEST(appends_to_what_is_there),
        TEST(says_when_it_cannot_be_opened),
        TEST(drops_and_counts_what_a_slow_reader_leaves_no_room_for),
        TEST(drops_and_counts_on_standard_output_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
