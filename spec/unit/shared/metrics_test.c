// SPDX-License-Identifier: MIT
// Counting, summing, the metrics of scripts, and the text that Prometheus reads.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <math.h>
#include <unistd.h>

#include "shared/dict.h"
#include "shared/metrics.h"
#include "shared/prometheus.h"
#include "shared/series.h"
#include "shared/shm.h"
#include "shared/text.h"

#define MS 1000000ull

static struct peri_shm *shm;
static struct peri_text text;

static int open_memory(void **state)
{
    (void)state;
    shm = peri_shm_create(&(struct peri_shm_options){2, PERI_SHM_DICT_BYTES_MIN});
    assert_non_null(shm);
    peri_text_init(&text);
    peri_shm_metrics(shm, 0);
    peri_shm_metrics(shm, 1);
    return 0;
}

static int close_memory(void **state)
{
    (void)state;
    peri_text_close(&text);
    peri_shm_close(shm);
    return 0;
}

static const char *scrape(void)
{
    peri_text_close(&text);
    assert_int_equal(peri_metrics_write(shm, &text), PERI_OK);
    return text.data;
}

// Exactly this line is in the text.
static void assert_line(const char *line)
{
    const char *at = scrape();
    size_t len = strlen(line);
    for (; at; at = strchr(at, '\n'), at += at != NULL) {
        if (strncmp(at, line, len) == 0 && at[len] == '\n')
            return;
    }
    fail_msg("no line: %s in:\n%s", line, text.data);
}

static void assert_no_line(const char *part)
{
    if (strstr(scrape(), part))
        fail_msg("there should be no: %s", part);
}

// ---- rows

static void a_name_keeps_its_row(void **state)
{
    (void)state;
    int32_t a = peri_metrics_route(shm, PERI_SLICE("a")), b = peri_metrics_route(shm, PERI_SLICE("b"));
    assert_int_not_equal(a, b);
    assert_int_not_equal(a, 0);
    assert_int_equal(peri_metrics_route(shm, PERI_SLICE("a")), a);
    assert_int_equal(peri_metrics_route(shm, PERI_SLICE("b")), b);
    assert_int_equal(peri_metrics_route_count(shm), 3);
    assert_int_equal(peri_metrics_route(shm, PERI_SLICE("other")), 0);
    assert_true(peri_slice_eq(peri_metrics_route_name(shm, (uint32_t)b), PERI_SLICE("b")));
}

static void a_policy_has_a_row_on_each_route(void **state)
{
    (void)state;
    int32_t one = peri_metrics_policy(shm, PERI_SLICE("jwt"), PERI_SLICE("a"));
    int32_t other = peri_metrics_policy(shm, PERI_SLICE("jwt"), PERI_SLICE("b"));
    assert_int_not_equal(one, other);
    assert_int_equal(peri_metrics_policy(shm, PERI_SLICE("jwt"), PERI_SLICE("a")), one);
}

static void names_beyond_the_table_count_as_other(void **state)
{
    (void)state;
    char name[16], long_name[PERI_METRICS_NAME_MAX + 1];
    for (int i = 1; i < PERI_METRICS_UPSTREAMS; i++) {
        snprintf(name, sizeof(name), "u%d", i);
        assert_int_equal(peri_metrics_upstream(shm, peri_slice_from(name)), i);
    }
    assert_int_equal(peri_metrics_upstream(shm, PERI_SLICE("one more")), 0);
    memset(long_name, 'x', sizeof(long_name));
    assert_int_equal(peri_metrics_route(shm, peri_slice(long_name, sizeof(long_name))), 0);
    peri_metrics_attempt(peri_shm_metrics(shm, 0), 0, 200, MS);
    assert_line("perigee_upstream_requests_total{upstream=\"other\",code=\"200\"} 1");
}

// ---- counting

static void a_duration_falls_into_the_bucket_that_its_bound_closes(void **state)
{
    (void)state;
    assert_int_equal(peri_metrics_bucket(0), 0);
    assert_int_equal(peri_metrics_bucket(5 * MS), 0);
    assert_int_equal(peri_metrics_bucket(5 * MS + 1), 1);
    assert_int_equal(peri_metrics_bucket(10000 * MS), 13);
    assert_int_equal(peri_metrics_bucket(10000 * MS + 1), 14);
    assert_int_equal(peri_metrics_bucket(UINT64_MAX), 14);
}

static void requests_are_summed_over_workers_by_code_and_duration(void **state)
{
    (void)state;
    int32_t route = peri_metrics_route(shm, PERI_SLICE("user"));
    peri_metrics_request(peri_shm_metrics(shm, 0), route, 200, 3 * MS);
    peri_metrics_request(peri_shm_metrics(shm, 1), route, 200, 20 * MS);
    peri_metrics_request(peri_shm_metrics(shm, 1), route, 404, 20000 * MS);
    assert_line("# TYPE perigee_requests_total counter");
    assert_line("perigee_requests_total{route=\"user\",code=\"200\"} 2");
    assert_line("perigee_requests_total{route=\"user\",code=\"404\"} 1");
    assert_line("# TYPE perigee_request_duration_seconds histogram");
    assert_line("perigee_request_duration_seconds_bucket{route=\"user\",le=\"0.005\"} 1");
    assert_line("perigee_request_duration_seconds_bucket{route=\"user\",le=\"0.01\"} 1");
    assert_line("perigee_request_duration_seconds_bucket{route=\"user\",le=\"0.025\"} 2");
    assert_line("perigee_request_duration_seconds_bucket{route=\"user\",le=\"10\"} 2");
    assert_line("perigee_request_duration_seconds_bucket{route=\"user\",le=\"+Inf\"} 3");
    assert_line("perigee_request_duration_seconds_sum{route=\"user\"} 20.023000000");
    assert_line("perigee_request_duration_seconds_count{route=\"user\"} 3");
    struct peri_metrics_sum sum;
    peri_metrics_sum_route(shm, (uint32_t)route, &sum, NULL);
    assert_int_equal(sum.requests, 3);
    assert_int_equal(sum.by_class[2], 2);
    assert_int_equal(sum.by_class[4], 1);
}

static void any_number_is_a_status(void **state)
{
    (void)state;
    const int statuses[] = {0, -1, 99, 600, 999, INT32_MIN, INT32_MAX};
    struct peri_metrics_page *page = peri_shm_metrics(shm, 0);
    for (size_t i = 0; i < PERI_COUNT(statuses); i++)
        peri_metrics_request(page, 0, statuses[i], 0);
    peri_metrics_request(page, 0, 100, 0);
    peri_metrics_request(page, 0, 599, 0);
    assert_line("perigee_requests_total{route=\"other\",code=\"other\"} 7");
    assert_line("perigee_requests_total{route=\"other\",code=\"100\"} 1");
    assert_line("perigee_requests_total{route=\"other\",code=\"599\"} 1");
}

static void a_row_number_beyond_the_table_counts_as_other(void **state)
{
    (void)state;
    struct peri_metrics_page *page = peri_shm_metrics(shm, 0);
    peri_metrics_request(page, -5, 200, 0);
    peri_metrics_request(page, PERI_METRICS_ROUTES, 200, 0);
    peri_metrics_policy_call(page, INT32_MAX, 1, 0, false);
    assert_line("perigee_requests_total{route=\"other\",code=\"200\"} 2");
    assert_line("perigee_policy_calls_total{policy=\"other\",route=\"other\"} 1");
}

static void upstreams_show_their_connections(void **state)
{
    (void)state;
    int32_t row = peri_metrics_upstream(shm, PERI_SLICE("users"));
    peri_shm_metrics(shm, 0)->upstream_connections[row] =
        (struct peri_metrics_upstream){2, 10, 3, 100, 4, 5, {1, 2}, {3, 1}, {0}};
    peri_shm_metrics(shm, 1)->upstream_connections[row] =
        (struct peri_metrics_upstream){1, 1, 1, 1, 1, 1, {1}, {2}, {0}};
    peri_metrics_attempt(peri_shm_metrics(shm, 1), row, 503, 6 * MS);
    assert_line("perigee_upstream_connections{upstream=\"users\"} 3");
    assert_line("perigee_upstream_connects_total{upstream=\"users\"} 11");
    assert_line("perigee_upstream_connect_failures_total{upstream=\"users\"} 4");
    assert_line("perigee_upstream_reuses_total{upstream=\"users\"} 101");
    assert_line("perigee_upstream_retries_total{upstream=\"users\",result=\"stale\"} 2");
    assert_line("perigee_upstream_retries_total{upstream=\"users\",result=\"success\"} 2");
    assert_line("perigee_upstream_retries_total{upstream=\"users\",result=\"overflow\"} 0");
    assert_line("perigee_upstream_hedges_total{upstream=\"users\",result=\"won\"} 5");
    assert_line("perigee_upstream_hedges_total{upstream=\"users\",result=\"lost\"} 1");
    assert_line("perigee_upstream_hedges_total{upstream=\"users\",result=\"overflow\"} 0");
    assert_null(strstr(scrape(), "discovery_looks_total{upstream"));
    peri_look_count(peri_shm_metrics(shm, 0), row, PERI_LOOK_SUCCESS, NULL, 1);
    peri_look_count(peri_shm_metrics(shm, 1), row, PERI_LOOK_FAILURE, "no answer", 1);
    assert_line("perigee_upstream_discovery_looks_total{upstream=\"users\",result=\"success\"} 1");
    assert_line("perigee_upstream_discovery_looks_total{upstream=\"users\",result=\"empty\"} 0");
    assert_line("perigee_upstream_discovery_looks_total{upstream=\"users\",result=\"failure\"} 1");
    assert_line("perigee_upstream_timeouts_total{upstream=\"users\"} 5");
    assert_line("perigee_upstream_resets_total{upstream=\"users\"} 6");
    assert_line("perigee_upstream_requests_total{upstream=\"users\",code=\"503\"} 1");
    assert_line("perigee_upstream_request_duration_seconds_bucket{upstream=\"users\",le=\"0.01\"} 1");
}

static void policies_show_calls_errors_and_time(void **state)
{
    (void)state;
    int32_t row = peri_metrics_policy(shm, PERI_SLICE("jwt"), PERI_SLICE("user"));
    peri_metrics_policy(shm, PERI_SLICE("unused"), PERI_SLICE("user"));
    uint64_t ticks = 5000000;
    peri_metrics_policy_call(peri_shm_metrics(shm, 0), row, ticks, ticks, false);
    peri_metrics_policy_call(peri_shm_metrics(shm, 1), row, 0, 0, true);
    assert_line("perigee_policy_calls_total{policy=\"jwt\",route=\"user\"} 2");
    assert_line("perigee_policy_errors_total{policy=\"jwt\",route=\"user\"} 1");
    assert_no_line("unused");
    struct peri_metrics_policy_sum sum;
    peri_metrics_sum_policy(shm, (uint32_t)row, &sum);
    double seconds = (double)ticks / peri_metrics_ticks_per_second(shm);
    assert_true(sum.cpu_seconds > 0.5 * seconds && sum.cpu_seconds < 2 * seconds);
    assert_true(sum.duration_seconds > seconds && sum.duration_seconds < 4 * seconds);
    assert_line("perigee_policy_duration_seconds_count{policy=\"jwt\",route=\"user\"} 2");
    assert_true(peri_slice_eq(sum.policy, PERI_SLICE("jwt")) && peri_slice_eq(sum.route, PERI_SLICE("user")));
}

static void a_quarantine_counts_as_long_as_its_generation_answers(void **state)
{
    (void)state;
    int32_t row = peri_metrics_policy(shm, PERI_SLICE("jwt"), PERI_SLICE("user"));
    peri_metrics_policy_call(peri_shm_metrics(shm, 0), row, 1, 0, true);
    peri_metrics_policy_trip(peri_shm_metrics(shm, 0), row);
    peri_metrics_policy_trip(peri_shm_metrics(shm, 1), row);
    peri_metrics_policy_quarantine(peri_shm_metrics(shm, 0), row, 4);
    peri_metrics_policy_quarantine(peri_shm_metrics(shm, 1), row, 4);
    peri_shm_worker_set_generation(shm, 0, 4);
    peri_shm_worker_set_generation(shm, 1, 5);
    assert_line("perigee_policy_budget_trips_total{policy=\"jwt\",route=\"user\"} 2");
    assert_line("perigee_policy_quarantined{policy=\"jwt\",route=\"user\"} 1");
    peri_metrics_policy_quarantine(peri_shm_metrics(shm, 0), row, 0);
    assert_line("perigee_policy_quarantined{policy=\"jwt\",route=\"user\"} 0");
}

static void workers_show_the_limit_of_their_lua_heap_and_its_collections(void **state)
{
    (void)state;
    struct peri_metrics_page *page = peri_shm_metrics(shm, 1);
    struct peri_metrics_lua lua;
    assert_no_line("perigee_worker_lua_limit_bytes{");
    page->heap.limit = 1024;
    peri_metrics_gc(page, 1000, false);
    peri_metrics_gc(page, 3000, true);
    peri_metrics_gc(page, 2000, false);
    assert_line("perigee_worker_lua_limit_bytes{worker=\"1\"} 1024");
    assert_line("perigee_worker_lua_full_total{worker=\"1\"} 1");
    assert_line("perigee_worker_gc_pause_seconds_count{worker=\"1\"} 3");
    peri_metrics_lua(shm, 1, &lua);
    assert_true(lua.longest_seconds > 0.4 * lua.pause_seconds && lua.longest_seconds < 0.6 * lua.pause_seconds);
}

static void the_process_shows_reloads_generation_and_connections(void **state)
{
    (void)state;
    peri_metrics_reload(shm, PERI_RELOAD_OK);
    peri_metrics_reload(shm, PERI_RELOAD_OK);
    peri_metrics_reload(shm, PERI_RELOAD_REFUSED);
    peri_metrics_set_generation(shm, 3);
    peri_shm_metrics(shm, 0)->connections = 4;
    peri_shm_metrics(shm, 1)->connections = 5;
    peri_shm_metrics(shm, 1)->accepted = 77;
    assert_line("perigee_reloads_total{result=\"ok\"} 2");
    assert_line("perigee_reloads_total{result=\"refused\"} 1");
    assert_line("perigee_reloads_total{result=\"failed\"} 0");
    assert_line("perigee_generation 3");
    assert_line("perigee_connections 9");
    assert_line("perigee_connections_total 77");
}

static void live_workers_are_shown_and_dead_ones_only_count_restarts(void **state)
{
    (void)state;
    peri_shm_worker_begin(shm, 0, getpid(), 1);
    peri_shm_worker_begin(shm, 1, 1, 1);
    peri_shm_worker_begin(shm, 1, 2, 1);
    peri_shm_worker_end(shm, 1);
    peri_shm_worker_set_generation(shm, 0, 8);
    assert_line("perigee_worker_restarts_total{worker=\"0\"} 0");
    assert_line("perigee_worker_restarts_total{worker=\"1\"} 1");
    assert_line("perigee_worker_generation{worker=\"0\"} 8");
    assert_no_line("perigee_worker_generation{worker=\"1\"}");
    const char *at = strstr(scrape(), "perigee_worker_resident_bytes{worker=\"0\"} ");
    unsigned long long bytes = 0;
    assert_non_null(at);
    assert_int_equal(sscanf(strchr(at, ' '), " %llu", &bytes), 1);
    assert_true(bytes > 100000);
}

static void two_scrapes_give_the_same_text(void **state)
{
    (void)state;
    static char first[65536];
    for (int i = 0; i < 50; i++) {
        char name[8];
        snprintf(name, sizeof(name), "r%d", i * 37 % 50);
        peri_metrics_request(peri_shm_metrics(shm, 0), peri_metrics_route(shm, peri_slice_from(name)), 200 + i, MS);
    }
    snprintf(first, sizeof(first), "%s", scrape());
    assert_true(strlen(first) < sizeof(first) - 1 && strlen(first) > 10000);
    assert_string_equal(scrape(), first);
}

static void label_values_are_escaped_and_made_utf8(void **state)
{
    (void)state;
    int32_t row = peri_metrics_route(shm, PERI_SLICE("a\"b\\c\nd\xff\xc3\xa9"));
    peri_metrics_request(peri_shm_metrics(shm, 0), row, 200, 0);
    assert_line("perigee_requests_total{route=\"a\\\"b\\\\c\\nd\xef\xbf\xbd\xc3\xa9\",code=\"200\"} 1");
}

// ---- what scripts define

// Packs strings as the callers of series.h do.
static struct peri_slice pack(char *out, int count, ...)
{
    va_list args;
    size_t used = 0;
    va_start(args, count);
    for (int i = 0; i < count; i++) {
        const char *item = va_arg(args, const char *);
        uint16_t len = (uint16_t)strlen(item);
        memcpy(out + used, &len, sizeof(len));
        memcpy(out + used + 2, item, len);
        used += 2 + (size_t)len;
    }
    va_end(args);
    return peri_slice(out, used);
}

static int32_t family(enum peri_series_type type, const char *name, struct peri_slice labels)
{
    struct peri_series_spec spec = {
        .type = type, .name = peri_slice_from(name), .help = PERI_SLICE("Some\nhelp \\o/."), .labels = labels};
    return peri_series_family(shm, &spec);
}

static void a_counter_of_a_script_is_summed_over_workers(void **state)
{
    (void)state;
    char labels[64], values[64];
    int32_t orders = family(PERI_SERIES_COUNTER, "orders_total", pack(labels, 2, "status", "by"));
    assert_true(orders >= 0);
    int32_t series = peri_series_open(shm, orders, pack(values, 2, "paid", "a\"b"));
    assert_true(series >= 0);
    assert_int_equal(peri_series_open(shm, orders, pack(values, 2, "paid", "a\"b")), series);
    peri_series_add(shm, 0, series, 1);
    peri_series_add(shm, 1, series, 0.5);
    peri_series_add(shm, 1, series, -3);
    peri_series_set(shm, series, 99);
    peri_series_observe(shm, 0, series, 99);
    assert_line("# HELP orders_total Some\\nhelp \\\\o/.");
    assert_line("# TYPE orders_total counter");
    assert_line("orders_total{status=\"paid\",by=\"a\\\"b\"} 1.5");
}

static void a_gauge_is_one_value_for_all_workers(void **state)
{
    (void)state;
    int32_t series = peri_series_open(shm, family(PERI_SERIES_GAUGE, "depth", PERI_SLICE("")), PERI_SLICE(""));
    peri_series_set(shm, series, 10);
    peri_series_add(shm, 0, series, 5);
    peri_series_add(shm, 1, series, -7.25);
    assert_line("depth 7.75");
    peri_series_set(shm, series, -INFINITY);
    assert_line("depth -Inf");
    peri_series_set(shm, series, 0.1);
    assert_line("depth 0.1");
}

static void a_histogram_counts_into_its_bounds(void **state)
{
    (void)state;
    const double bounds[] = {1, 2.5, 10};
    struct peri_series_spec spec = {
        .type = PERI_SERIES_HISTOGRAM, .name = PERI_SLICE("size"), .bounds = bounds, .bound_count = 3};
    int32_t number = peri_series_family(shm, &spec);
    int32_t series = peri_series_open(shm, number, PERI_SLICE(""));
    const double values[] = {0.5, 1, 2, 11, NAN};
    for (unsigned i = 0; i < 5; i++)
        peri_series_observe(shm, i % 2, series, values[i]);
    assert_line("size_bucket{le=\"1\"} 2");
    assert_line("size_bucket{le=\"2.5\"} 3");
    assert_line("size_bucket{le=\"10\"} 3");
    assert_line("size_bucket{le=\"+Inf\"} 4");
    assert_line("size_sum 14.5");
    assert_line("size_count 4");
}

static void a_histogram_without_bounds_has_those_for_seconds(void **state)
{
    (void)state;
    int32_t number = family(PERI_SERIES_HISTOGRAM, "wait_seconds", PERI_SLICE(""));
    peri_series_observe(shm, 0, peri_series_open(shm, number, PERI_SLICE("")), 0.06);
    assert_line("wait_seconds_bucket{le=\"0.05\"} 0");
    assert_line("wait_seconds_bucket{le=\"0.075\"} 1");
    assert_line("wait_seconds_bucket{le=\"10\"} 1");
}

static void names_that_prometheus_does_not_take_are_refused(void **state)
{
    (void)state;
    char labels[512];
    const char *bad[] = {"", "1a", "a-b", "a b", "a\n", "perigee_requests_total", "\xc3\xa9"};
    for (size_t i = 0; i < PERI_COUNT(bad); i++)
        assert_int_equal(family(PERI_SERIES_COUNTER, bad[i], PERI_SLICE("")), PERI_SERIES_BAD_NAME);
    assert_true(family(PERI_SERIES_COUNTER, "_a:b9", PERI_SLICE("")) >= 0);
    const char *bad_labels[] = {"", "1a", "a:b", "__a", "le", "a\""};
    for (size_t i = 0; i < PERI_COUNT(bad_labels); i++)
        assert_int_equal(family(PERI_SERIES_COUNTER, "x", pack(labels, 1, bad_labels[i])), PERI_SERIES_BAD_LABEL);
    assert_int_equal(family(PERI_SERIES_COUNTER, "x", pack(labels, 2, "a", "a")), PERI_SERIES_BAD_LABEL);
    assert_int_equal(family(PERI_SERIES_COUNTER, "x", pack(labels, 9, "a", "b", "c", "d", "e", "f", "g", "h", "i")),
                     PERI_SERIES_BAD_LABEL);
    assert_int_equal(family(PERI_SERIES_COUNTER, "x", peri_slice("\x09\0abc", 5)), PERI_SERIES_BAD_LABEL);
}

static void bounds_that_do_not_ascend_are_refused(void **state)
{
    (void)state;
    const double wrong[][3] = {{1, 1, 2}, {2, 1, 3}, {1, 2, INFINITY}, {NAN, 1, 2}};
    struct peri_series_spec spec = {.type = PERI_SERIES_HISTOGRAM, .name = PERI_SLICE("h"), .bound_count = 3};
    for (size_t i = 0; i < PERI_COUNT(wrong); i++) {
        spec.bounds = wrong[i];
        assert_int_equal(peri_series_family(shm, &spec), PERI_SERIES_BAD_BOUNDS);
    }
    static double many[PERI_SERIES_BOUNDS + 1];
    for (unsigned i = 0; i < PERI_COUNT(many); i++)
        many[i] = i;
    spec.bounds = many;
    spec.bound_count = PERI_COUNT(many);
    assert_int_equal(peri_series_family(shm, &spec), PERI_SERIES_BAD_BOUNDS);
    spec.bound_count = PERI_SERIES_BOUNDS;
    assert_true(peri_series_family(shm, &spec) >= 0);
}

static void a_later_definition_must_agree(void **state)
{
    (void)state;
    char labels[64], other[64];
    const double bounds[] = {1, 2};
    int32_t first = family(PERI_SERIES_COUNTER, "m", pack(labels, 1, "a"));
    assert_int_equal(family(PERI_SERIES_COUNTER, "m", pack(other, 1, "a")), first);
    assert_int_equal(family(PERI_SERIES_GAUGE, "m", pack(other, 1, "a")), PERI_SERIES_CONFLICT);
    assert_int_equal(family(PERI_SERIES_COUNTER, "m", pack(other, 1, "b")), PERI_SERIES_CONFLICT);
    assert_int_equal(family(PERI_SERIES_COUNTER, "m", PERI_SLICE("")), PERI_SERIES_CONFLICT);
    assert_true(family(PERI_SERIES_HISTOGRAM, "h", PERI_SLICE("")) >= 0);
    struct peri_series_spec spec = {
        .type = PERI_SERIES_HISTOGRAM, .name = PERI_SLICE("h"), .bounds = bounds, .bound_count = 2};
    assert_int_equal(peri_series_family(shm, &spec), PERI_SERIES_CONFLICT);
}

static void series_beyond_the_cap_are_dropped_and_counted(void **state)
{
    (void)state;
    char labels[16], values[32], name[16];
    int32_t number = family(PERI_SERIES_COUNTER, "m", pack(labels, 1, "user"));
    for (int i = 0; i < PERI_SERIES_MAX; i++) {
        snprintf(name, sizeof(name), "user-%d", i);
        assert_int_equal(peri_series_open(shm, number, pack(values, 1, name)), i);
    }
    assert_int_equal(peri_series_open(shm, number, pack(values, 1, "one more")), -1);
    assert_int_equal(peri_series_open(shm, number, pack(values, 1, "user-4000")), 4000);
    peri_series_add(shm, 0, -1, 1);
    peri_series_add(shm, 0, PERI_SERIES_MAX, 1);
    assert_line("perigee_metrics_dropped_total 1");
}

static void histograms_share_a_bounded_number_of_cells(void **state)
{
    (void)state;
    char labels[16], values[32], name[16];
    int32_t number = family(PERI_SERIES_HISTOGRAM, "m", pack(labels, 1, "user"));
    int32_t series = 0;
    for (int i = 0; i < PERI_SERIES_MAX; i++) {
        snprintf(name, sizeof(name), "user-%d", i);
        series = peri_series_open(shm, number, pack(values, 1, name));
        peri_series_observe(shm, 0, series, 1);
    }
    assert_true(series == PERI_SERIES_MAX - 1 || peri_series_dropped(shm) > 0);
    assert_line("m_count{user=\"user-0\"} 1");
    assert_line("m_count{user=\"user-4000\"} 1");
}

static void values_that_do_not_fit_the_labels_are_dropped(void **state)
{
    (void)state;
    char labels[16], values[32];
    static char big[PERI_SERIES_VALUES_MAX + 1];
    int32_t number = family(PERI_SERIES_COUNTER, "m", pack(labels, 1, "a"));
    assert_int_equal(peri_series_open(shm, number, PERI_SLICE("")), -1);
    assert_int_equal(peri_series_open(shm, number, pack(values, 2, "x", "y")), -1);
    assert_int_equal(peri_series_open(shm, number, peri_slice("\x05\0ab", 4)), -1);
    assert_int_equal(peri_series_open(shm, number, peri_slice(big, sizeof(big))), -1);
    assert_int_equal(peri_series_open(shm, number + 1, pack(values, 1, "x")), -1);
    assert_int_equal(peri_series_open(shm, -1, pack(values, 1, "x")), -1);
    assert_int_equal(peri_series_dropped(shm), 6);
}

static void the_number_of_families_is_bounded(void **state)
{
    (void)state;
    char name[16];
    for (int i = 0; i < PERI_SERIES_FAMILIES; i++) {
        snprintf(name, sizeof(name), "m%d", i);
        assert_int_equal(family(PERI_SERIES_GAUGE, name, PERI_SLICE("")), i);
    }
    assert_int_equal(family(PERI_SERIES_GAUGE, "one_more", PERI_SLICE("")), PERI_SERIES_FULL);
    assert_int_equal(family(PERI_SERIES_GAUGE, "m7", PERI_SLICE("")), 7);
}

static void a_text_grows_and_ends_in_a_zero(void **state)
{
    (void)state;
    for (int i = 0; i < 5000; i++)
        peri_text_printf(&text, "%04d\n", i);
    peri_text_add(&text, PERI_SLICE("end"));
    assert_int_equal(text.len, 25003);
    assert_memory_equal(text.data + 24995, "4999\nend", 9);
    assert_false(text.failed);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_memory, close_memory)
    const struct CMUnitTest tests[] = {
        TEST(a_name_keeps_its_row),
        TEST(a_policy_has_a_row_on_each_route),
        TEST(names_beyond_the_table_count_as_other),
        TEST(a_duration_falls_into_the_bucket_that_its_bound_closes),
        TEST(requests_are_summed_over_workers_by_code_and_duration),
        TEST(any_number_is_a_status),
        TEST(a_row_number_beyond_the_table_counts_as_other),
        TEST(upstreams_show_their_connections),
        TEST(policies_show_calls_errors_and_time),
        TEST(a_quarantine_counts_as_long_as_its_generation_answers),
        TEST(workers_show_the_limit_of_their_lua_heap_and_its_collections),
        TEST(the_process_shows_reloads_generation_and_connections),
        TEST(live_workers_are_shown_and_dead_ones_only_count_restarts),
        TEST(two_scrapes_give_the_same_text),
        TEST(label_values_are_escaped_and_made_utf8),
        TEST(a_counter_of_a_script_is_summed_over_workers),
        TEST(a_gauge_is_one_value_for_all_workers),
        TEST(a_histogram_counts_into_its_bounds),
        TEST(a_histogram_without_bounds_has_those_for_seconds),
        TEST(names_that_prometheus_does_not_take_are_refused),
        TEST(bounds_that_do_not_ascend_are_refused),
        TEST(a_later_definition_must_agree),
        TEST(series_beyond_the_cap_are_dropped_and_counted),
        TEST(histograms_share_a_bounded_number_of_cells),
        TEST(values_that_do_not_fit_the_labels_are_dropped),
        TEST(the_number_of_families_is_bounded),
        TEST(a_text_grows_and_ends_in_a_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
