// SPDX-License-Identifier: MIT
// Checks over memory streams, in virtual time: what is asked and how answers are judged, who asks, how many at once, and what becomes
// of checks under way when endpoints change.
#include "upstream/checker.h"

#include "base/log.h"
#include "codec/message.h"
#include "memory_peer.h"
#include "shared/metrics.h"
#include "shared/shm.h"
#include "upstream/guard.h"
#include "upstream/health_check.h"
#include "upstream/keeper.h"
#include "upstream/upstream.h"

#define WORKERS 2
#define PEERS 256

static struct peri_loop *loop;
static struct peri_pools *pools;
static struct peri_shm *shm;
static struct peri_upstream *upstreams[WORKERS];
static struct peri_keeper *keepers[WORKERS];
static struct peri_health_settings *settings;
static struct memory_peer peers[PEERS]; ///< one per connection
static unsigned peer_count;
static bool is_silent, is_refused;
static char last_address[64];
static char log_text[4096];

static void keep_line(void *data, enum peri_log_level level, const char *line, size_t len)
{
    (void)data, (void)level;
    size_t used = strlen(log_text);
    if (used + len < sizeof(log_text))
        memcpy(log_text + used, line, len);
}

static struct peri_stream *connect_to(void *data, struct peri_slice address)
{
    struct peri_stream *pair[2];
    (void)data;
    snprintf(last_address, sizeof(last_address), "%.*s", (int)address.len, address.ptr);
    if (is_refused)
        return NULL;
    assert_true(peer_count < PEERS);
    if (is_silent) {
        peers[peer_count++] = (struct memory_peer){.loop = loop};
        return PERI_STREAM_SILENCE;
    }
    assert_true(peri_stream_open_pair(loop, pair));
    memory_peer_open(&peers[peer_count++], loop, pair[1]);
    return pair[0];
}

// As guards have them: a target for each endpoint.
static struct peri_health_settings *new_settings(unsigned endpoints)
{
    struct peri_health_settings *s = peri_health_new();
    s->interval_ms = 1000;
    s->timeout_ms = 300;
    s->healthy = 2;
    s->unhealthy = 2;
    peri_health_expect(s, 200, 200);
    s->targets = peri_arena_zalloc(&s->arena, endpoints * sizeof(*s->targets));
    s->target_count = endpoints;
    for (unsigned i = 0; i < endpoints; i++)
        s->targets[i] = (struct peri_health_target){
            .address = peri_arena_printf(&s->arena, "10.0.%u.%u:80", i / 250, i % 250 + 1),
            .path = PERI_SLICE("/healthz"),
        };
    return s;
}

static struct peri_upstream *new_upstream(unsigned worker, struct peri_health_settings *health)
{
    static const struct peri_pool_settings pool_settings = {.max_idle = 1};
    struct peri_upstream *upstream = peri_upstream_new(PERI_SLICE("users"));
    struct peri_outlier_settings outlier;
    struct peri_guard_settings guard = {.outlier = &outlier, .health = health};
    peri_outlier_defaults(&outlier);
    for (unsigned i = 0; i < health->target_count; i++)
        assert_int_equal(peri_upstream_add(upstream, pools, health->targets[i].address, 1, &pool_settings), PERI_OK);
    assert_int_equal(peri_guard_new(upstream, &guard, shm, peri_shm_metrics(shm, worker)), PERI_OK);
    return upstream;
}

static int open_world(void **state)
{
    (void)state;
    peer_count = 0;
    is_silent = is_refused = false;
    memset(log_text, 0, sizeof(log_text));
    peri_log_set_sink(keep_line, NULL);
    loop = peri_loop_new(true);
    pools = peri_pools_new(&(struct peri_pools_options){.loop = loop, .connect = connect_to});
    shm = peri_shm_create(&(struct peri_shm_options){WORKERS, 0});
    settings = new_settings(1);
    for (uint32_t i = 0; i < WORKERS; i++) {
        upstreams[i] = new_upstream(i, settings);
        keepers[i] = peri_keeper_new(loop, pools, shm, i);
    }
    return 0;
}

static int close_world(void **state)
{
    (void)state;
    for (unsigned i = 0; i < WORKERS; i++) {
        peri_keeper_free(keepers[i]);
        peri_upstream_free(upstreams[i]);
    }
    peri_health_unref(settings);
    settle(loop);
    for (unsigned i = 0; i < peer_count; i++)
        memory_peer_free(&peers[i]);
    settle(loop);
    peri_pools_free(pools);
    assert_int_equal(peri_loop_streams(loop), 0);
    assert_int_equal(peri_loop_timers(loop), 0);
    peri_shm_close(shm);
    peri_loop_free(loop);
    return 0;
}

static struct peri_endpoint_row *row_of(unsigned index)
{
    return peri_endpoints_row(shm, upstreams[0]->guard->rows[index]);
}

static void keep(unsigned worker)
{
    peri_keeper_set(keepers[worker], &upstreams[worker], 1);
    peri_loop_advance(loop, 20);
}

static void answer(unsigned peer, const char *text)
{
    assert_true(peer < peer_count);
    memory_peer_send(&peers[peer], text);
}

// ---- one check

static void asks_for_the_path_on_a_connection_of_its_own(void **state)
{
    (void)state;
    keep(0);
    assert_int_equal(peer_count, 1);
    assert_string_equal(last_address, "10.0.0.1:80");
    assert_string_equal(memory_peer_text(&peers[0]),
                        "GET /healthz HTTP/1.1\r\nhost: 10.0.0.1:80\r\nuser-agent: perigee-health-check\r\n\r\n");
    answer(0, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_int_equal(row_of(0)->health.checks, 1);
    assert_int_equal(row_of(0)->health.result, PERI_HEALTH_SUCCESS);
    assert_true(peers[0].is_ended);
    peri_loop_advance(loop, 1000);
    assert_int_equal(peer_count, 2);
}

static void sends_the_host_and_headers_that_are_set(void **state)
{
    (void)state;
    struct peri_health_header header = {PERI_SLICE("user-agent"), PERI_SLICE("mine")};
    settings->host = PERI_SLICE("users.test");
    settings->headers = &header;
    settings->header_count = 1;
    settings->targets[0].path = PERI_SLICE("/a?b=c");
    keep(0);
    assert_string_equal(memory_peer_text(&peers[0]),
                        "GET /a?b=c HTTP/1.1\r\nhost: users.test\r\nuser-agent: mine\r\n\r\n");
}

static void judges_answers(void **state)
{
    (void)state;
    static const struct {
        const char *answer;
        enum peri_health_result result;
        int status;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", PERI_HEALTH_SUCCESS, 200},
        {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", PERI_HEALTH_SUCCESS, 200},
        {"HTTP/1.1 204 No Content\r\n\r\n", PERI_HEALTH_STATUS, 204},
        {"HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nno", PERI_HEALTH_STATUS, 503},
        {"HTTP/1.1 101 Yes\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", PERI_HEALTH_BROKEN, 0},
        {"SSH-2.0-OpenSSH_9.2\r\n", PERI_HEALTH_BROKEN, 0},
    };
    keep(0);
    for (unsigned i = 0; i < PERI_COUNT(cases); i++) {
        answer(i, cases[i].answer);
        if (row_of(0)->health.result != cases[i].result || row_of(0)->health.status != cases[i].status)
            fail_msg("answer %u: result %u, status %d", i, row_of(0)->health.result, row_of(0)->health.status);
        peri_loop_advance(loop, 1000);
    }
    assert_int_equal(peri_endpoints_upstream(shm, upstreams[0]->guard->row)->checks[PERI_HEALTH_STATUS], 2);
}

static void waits_for_the_end_of_an_answer_but_not_for_a_long_one(void **state)
{
    (void)state;
    static char part[16385];
    memset(part, 'x', sizeof(part) - 1);
    keep(0);
    answer(0, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
    for (unsigned i = 0; i < 4; i++)
        answer(0, part);
    assert_int_equal(row_of(0)->health.checks, 0);
    answer(0, part);
    assert_int_equal(row_of(0)->health.checks, 1);
    assert_int_equal(row_of(0)->health.result, PERI_HEALTH_SUCCESS);
    assert_true(peers[0].is_ended);
}

static void an_answer_that_does_not_come_is_a_failure(void **state)
{
    (void)state;
    keep(0);
    memory_peer_send(&peers[0], "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no"); // and no more
    peri_loop_advance(loop, 310);
    assert_int_equal(row_of(0)->health.result, PERI_HEALTH_TIMEOUT);
    assert_true(peers[0].is_ended);
    peri_loop_advance(loop, 1000);
    memory_peer_close(&peers[1]);
    peri_loop_advance(loop, 1);
    assert_int_equal(row_of(0)->health.result, PERI_HEALTH_BROKEN);
    is_refused = true;
    peri_loop_advance(loop, 1010);
    assert_int_equal(row_of(0)->health.result, PERI_HEALTH_CONNECT);
    is_refused = false;
    is_silent = true;
    peri_loop_advance(loop, 1400);
    assert_int_equal(row_of(0)->health.result, PERI_HEALTH_TIMEOUT);
    assert_int_equal(row_of(0)->health.checks, 4);
}

static void a_connection_is_enough_for_tcp(void **state)
{
    (void)state;
    settings->type = PERI_HEALTH_BY_TCP;
    keep(0);
    peri_loop_advance(loop, 1);
    assert_int_equal(row_of(0)->health.result, PERI_HEALTH_SUCCESS);
    assert_int_equal(row_of(0)->health.checks, 1);
    assert_string_equal(memory_peer_text(&peers[0]), "");
    assert_true(peers[0].is_ended);
    is_refused = true;
    peri_loop_advance(loop, 1010);
    assert_int_equal(row_of(0)->health.result, PERI_HEALTH_CONNECT);
    is_refused = false;
    is_silent = true;
    peri_loop_advance(loop, 1400);
    assert_int_equal(row_of(0)->health.result, PERI_HEALTH_TIMEOUT);
}

// ---- who checks

static void one_worker_checks_for_all(void **state)
{
    (void)state;
    keep(0);
    keep(1);
    for (unsigned i = 0; i < 5; i++) {
        answer(i, "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n");
        peri_loop_advance(loop, 1000);
        assert_int_equal(peer_count, i + 2);
    }
    for (unsigned i = 0; i < WORKERS; i++)
        assert_false(peri_endpoint_is_available(&upstreams[i]->endpoints[0]));
    assert_non_null(strstr(log_text, "upstream users: 10.0.0.1:80 is unhealthy (http 503)"));
}

static void another_worker_goes_on_when_the_first_rests(void **state)
{
    (void)state;
    keep(0);
    keep(1);
    answer(0, "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n");
    peri_loop_advance(loop, 1000);
    assert_int_equal(peer_count, 2);
    peri_keeper_rest(keepers[0]); // in the middle of a check
    settle(loop);
    assert_true(peers[1].is_ended);
    peri_loop_advance(loop, 1000);
    assert_int_equal(peer_count, 3); // at once, since one was due
    answer(2, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    peri_loop_advance(loop, 1000);
    answer(3, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_true(peri_endpoint_is_available(&upstreams[0]->endpoints[0]));
    assert_non_null(strstr(log_text, "10.0.0.1:80 is healthy"));
}

static void at_most_so_many_checks_are_under_way(void **state)
{
    (void)state;
    struct peri_health_settings *many = new_settings(100);
    struct peri_upstream *crowd = new_upstream(0, many);
    struct peri_checker *checker = peri_checker_new(loop, pools, shm);
    is_silent = true;
    peri_checker_set(checker, &crowd, 1);
    peri_loop_advance(loop, 10);
    assert_int_equal(peer_count, PERI_CHECKER_MAX);
    peri_loop_advance(loop, 310); // they time out, and others follow
    assert_int_equal(peer_count, 100);
    peri_checker_free(checker);
    peri_upstream_free(crowd);
    peri_health_unref(many);
}

// ---- endpoints that change

static void a_check_under_way_goes_on_when_endpoints_are_replaced(void **state)
{
    (void)state;
    keep(0);
    struct peri_upstream *old = upstreams[0];
    upstreams[0] = new_upstream(0, settings);
    keep(0);
    peri_upstream_free(old);
    assert_int_equal(peer_count, 1);
    answer(0, "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n");
    assert_int_equal(row_of(0)->health.result, PERI_HEALTH_STATUS);
    assert_false(peri_endpoint_is_available(&upstreams[0]->endpoints[0]));
}

static void an_endpoint_that_is_gone_is_not_checked_any_more(void **state)
{
    (void)state;
    keep(0);
    peri_keeper_set(keepers[0], NULL, 0);
    settle(loop);
    assert_true(peers[0].is_ended);
    peri_loop_advance(loop, 5000);
    assert_int_equal(peer_count, 1);
}

static void what_checks_found_ends_with_the_checks(void **state)
{
    (void)state;
    keep(0);
    answer(0, "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n");
    assert_false(peri_endpoint_is_available(&upstreams[0]->endpoints[0]));
    peri_health_unref(upstreams[0]->guard->health); // as after a reload
    upstreams[0]->guard->health = NULL;
    keep(0);
    assert_true(peri_endpoint_is_available(&upstreams[0]->endpoints[0]));
    assert_int_equal(row_of(0)->health.checks, 0);
}

static void a_success_ends_an_ejection(void **state)
{
    (void)state;
    struct peri_response res = {.status = 500};
    struct peri_result result = {.res = &res, .now_ns = peri_loop_now_ns(loop)};
    upstreams[0]->guard->outlier.max_ejection_percent = 100;
    keep(0);
    for (unsigned i = 0; i < 5; i++)
        peri_endpoint_report(upstreams[0], &upstreams[0]->endpoints[0], &result);
    assert_int_equal(row_of(0)->flags, PERI_ENDPOINT_EJECTED);
    answer(0, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_int_equal(row_of(0)->flags, 0);
    assert_non_null(strstr(log_text, "10.0.0.1:80 is back, its check succeeded"));
}

static void a_success_leaves_an_ejection_when_it_should(void **state)
{
    (void)state;
    upstreams[0]->guard->outlier.successful_active_health_check_uneject_host = false;
    keep(0);
    row_of(0)->flags = PERI_ENDPOINT_EJECTED;
    row_of(0)->outlier.until_ms = UINT64_MAX;
    answer(0, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_int_equal(row_of(0)->flags, PERI_ENDPOINT_EJECTED);
}

static void out_of_memory_says_nothing_about_an_endpoint(void **state)
{
    (void)state;
    for (unsigned n = 1; n < 12; n++) {
        fail_alloc_at(n);
        peri_keeper_set(keepers[0], &upstreams[0], 1);
        peri_loop_advance(loop, 5);
        fail_alloc_stop();
        peri_keeper_set(keepers[0], NULL, 0);
        settle(loop);
        assert_true(row_of(0)->health.checks == 0 || row_of(0)->health.result != PERI_HEALTH_SUCCESS);
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(asks_for_the_path_on_a_connection_of_its_own),
        CASE(sends_the_host_and_headers_that_are_set),
        CASE(judges_answers),
        CASE(waits_for_the_end_of_an_answer_but_not_for_a_long_one),
        CASE(an_answer_that_does_not_come_is_a_failure),
        CASE(a_connection_is_enough_for_tcp),
        CASE(one_worker_checks_for_all),
        CASE(another_worker_goes_on_when_the_first_rests),
        CASE(at_most_so_many_checks_are_under_way),
        CASE(a_check_under_way_goes_on_when_endpoints_are_replaced),
        CASE(an_endpoint_that_is_gone_is_not_checked_any_more),
        CASE(what_checks_found_ends_with_the_checks),
        CASE(a_success_ends_an_ejection),
        CASE(a_success_leaves_an_ejection_when_it_should),
        CASE(out_of_memory_says_nothing_about_an_endpoint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
