// SPDX-License-Identifier: MIT
// Policies of tcp listeners that are asked about connections: failures, refusals, waiting, and what they see.
#include "script/connect.h"

#include "script_world.h"

static struct {
    struct peri_connect connect;
    unsigned calls;
    enum peri_verdict verdict;
} asked;

static void on_verdict(struct peri_connect *connect, enum peri_verdict verdict)
{
    assert_ptr_equal(connect, &asked.connect);
    assert_null(connect->fiber);
    asked.calls++;
    asked.verdict = verdict;
}

// A world with one tcp listener whose policies are p, which does `body` in on_connect, and q, which logs that it was asked.
static void open_with(const char *use, const char *body)
{
    static char config[1024], p[2048];
    static const char q[] = "local perigee = require 'perigee'\n"
                            "local Q = perigee.policy { name = 'q', stage = 'observe' }\n"
                            "function Q:on_connect(conn) perigee.log.info('asked') end\n"
                            "return Q\n";
    static const struct world_file files[] = {
        {"gateway.lua", config}, {"policies/p/init.lua", p}, {"policies/q/init.lua", q}, {NULL, NULL}};
    snprintf(config, sizeof(config),
             "return { listeners = { { address = '127.0.0.1:5432', protocol = 'tcp', upstream = 'one',\n"
             "policies = { { 'p' %s }, 'q' } } },\n"
             "upstreams = { one = { endpoints = { '127.0.0.1:1' } }, two = { endpoints = { '127.0.0.1:2' } } }, routes "
             "= {} }\n",
             use);
    snprintf(p, sizeof(p),
             "local perigee = require 'perigee'\n"
             "local P = perigee.policy { name = 'p', stage = 'auth' }\n"
             "function P:on_connect(conn)\n%s\nend\n"
             "return P\n",
             body);
    memset(&asked, 0, sizeof(asked));
    world_open(0);
    world.script = world_try(files, NULL);
    if (!world.script)
        fail_msg("refused: %s", world.errors);
}

static enum peri_verdict ask(void)
{
    asked.connect = (struct peri_connect){
        .client = PERI_SLICE("192.0.2.1"),
        .port = 4711,
        .server_name = PERI_SLICE("a.test"),
        .alpn = PERI_SLICE("\x02h2\x08http/1.1"),
        .on_verdict = on_verdict,
    };
    enum peri_verdict verdict = peri_connect_run(world.script, 0, &asked.connect);
    assert_int_equal(asked.calls, 0);
    assert_true((verdict == PERI_VERDICT_PENDING) == (asked.connect.fiber != NULL));
    return verdict;
}

static int close_all(void **state)
{
    (void)state;
    struct peri_loop *loop = world.loop;
    assert_int_equal(peri_loop_timers(loop), 0);
    world_close();
    return 0;
}

static void turn(void)
{
    while (peri_loop_turn(world.loop))
        ;
}

static void a_policy_that_raises_an_error_fails(void **state)
{
    (void)state;
    open_with("", "error('oh no')");
    assert_int_equal(ask(), PERI_VERDICT_FAIL);
    assert_non_null(strstr(world.log, "policy 'p' on listener '127.0.0.1:5432' failed in on_connect"));
    assert_non_null(strstr(world.log, "oh no"));
    assert_null(strstr(world.log, "asked")); // nobody behind it is
}

static void a_policy_that_returns_a_message_fails(void **state)
{
    (void)state;
    open_with("", "return nil, 'no database'");
    assert_int_equal(ask(), PERI_VERDICT_FAIL);
    assert_non_null(strstr(world.log, "no database"));
}

static void a_failure_is_passed_over_where_that_is_wanted(void **state)
{
    (void)state;
    open_with(", on_failure = 'open'", "error('oh no')");
    assert_int_equal(ask(), PERI_VERDICT_CONTINUE);
    assert_non_null(strstr(world.log, "oh no"));
    assert_non_null(strstr(world.log, "asked"));
}

static void a_condition_that_fails_is_a_failure(void **state)
{
    (void)state;
    open_with(", when = function(conn) return conn.nothing end", "");
    assert_int_equal(ask(), PERI_VERDICT_FAIL);
    assert_non_null(strstr(world.log, "conn has no field 'nothing'"));
}

static void an_upstream_of_nobody_is_a_failure(void **state)
{
    (void)state;
    open_with("", "conn.upstream = 'three'");
    assert_int_equal(ask(), PERI_VERDICT_FAIL);
    assert_non_null(strstr(world.log, "there is no upstream 'three'"));
}

static void what_waits_for_nothing_is_a_failure(void **state)
{
    (void)state;
    open_with("", "coroutine.yield()");
    assert_int_equal(ask(), PERI_VERDICT_FAIL);
}

static void a_question_that_waits_may_fail_later(void **state)
{
    (void)state;
    open_with("", "perigee.sleep(1)\nerror('late')");
    assert_int_equal(ask(), PERI_VERDICT_PENDING);
    peri_loop_advance(world.loop, 999);
    turn();
    assert_int_equal(asked.calls, 0);
    peri_loop_advance(world.loop, 1);
    turn();
    assert_int_equal(asked.calls, 1);
    assert_int_equal(asked.verdict, PERI_VERDICT_FAIL);
}

static void a_question_that_is_taken_back_is_never_answered(void **state)
{
    (void)state;
    open_with("", "perigee.sleep(1)\nperigee.log.info('woke')");
    assert_int_equal(ask(), PERI_VERDICT_PENDING);
    peri_connect_cancel(&asked.connect);
    assert_null(asked.connect.fiber);
    peri_connect_cancel(&asked.connect); // no-op
    peri_loop_advance(world.loop, 2000);
    turn();
    assert_int_equal(asked.calls, 0);
    assert_null(strstr(world.log, "woke"));
}

static void a_reply_refuses_and_asks_nobody_else(void **state)
{
    (void)state;
    open_with("", "return perigee.reply(403)");
    assert_int_equal(ask(), PERI_VERDICT_REPLY);
    assert_null(strstr(world.log, "asked"));
}

static void an_upstream_may_be_chosen_also_after_waiting(void **state)
{
    (void)state;
    open_with("", "perigee.sleep(1)\nconn.upstream = 'two'");
    assert_int_equal(ask(), PERI_VERDICT_PENDING);
    peri_loop_advance(world.loop, 1000);
    turn();
    assert_int_equal(asked.verdict, PERI_VERDICT_CONTINUE);
    assert_string_equal(asked.connect.upstream, "two");
    asked.calls = 0;
    assert_int_equal(ask(), PERI_VERDICT_PENDING); // the one before is forgotten
    assert_string_equal(asked.connect.upstream, "");
    peri_connect_cancel(&asked.connect);
}

static void a_policy_sees_the_connection(void **state)
{
    (void)state;
    open_with("", "perigee.log.info(table.concat({ conn.client.ip, conn.client.port, conn.listener, conn.server_name, "
                  "#conn.alpn, conn.alpn[1], conn.alpn[2], tostring(conn.upstream) }, ' '))");
    assert_int_equal(ask(), PERI_VERDICT_CONTINUE);
    assert_non_null(strstr(world.log, "192.0.2.1 4711 127.0.0.1:5432 a.test 2 h2 http/1.1 nil"));
    assert_string_equal(asked.connect.upstream, "");
}

static void what_a_connection_does_not_have_is_nil(void **state)
{
    (void)state;
    open_with("", "perigee.log.info(tostring(conn.client.ip) .. tostring(conn.server_name) .. tostring(conn.alpn))");
    asked.connect = (struct peri_connect){.client = PERI_SLICE("unix"), .on_verdict = on_verdict};
    assert_int_equal(peri_connect_run(world.script, 0, &asked.connect), PERI_VERDICT_CONTINUE);
    assert_non_null(strstr(world.log, "nilnilnil"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, close_all)
    const struct CMUnitTest tests[] = {
        TEST(a_policy_that_raises_an_error_fails),
        TEST(a_policy_that_returns_a_message_fails),
        TEST(a_failure_is_passed_over_where_that_is_wanted),
        TEST(a_condition_that_fails_is_a_failure),
        TEST(an_upstream_of_nobody_is_a_failure),
        TEST(what_waits_for_nothing_is_a_failure),
        TEST(a_question_that_waits_may_fail_later),
        TEST(a_question_that_is_taken_back_is_never_answered),
        TEST(a_reply_refuses_and_asks_nobody_else),
        TEST(an_upstream_may_be_chosen_also_after_waiting),
        TEST(a_policy_sees_the_connection),
        TEST(what_a_connection_does_not_have_is_nil),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
