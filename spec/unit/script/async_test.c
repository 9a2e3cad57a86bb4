// SPDX-License-Identifier: MIT
// Waiting in hooks: sleep, bodies, fetches, tasks and timers, and what becomes of them when the exchange or the generation ends.

#include "script_world.h"

static void a_sleeping_hook_does_not_hold_up_others(void **state)
{
    (void)state;
    world_with("function P:on_request(req) if req.query:get('slow') then perigee.sleep(1) req.headers['x-slept'] = "
               "'yes' end end",
               WORLD_ROUTE);
    struct peri_exchange *slow = world_request();
    slow->req.query = PERI_SLICE("slow=1");
    assert_int_equal(run(slow, PERI_PHASE_REQUEST), PERI_VERDICT_PENDING);
    struct peri_exchange *quick = world_request();
    assert_int_equal(run(quick, PERI_PHASE_REQUEST), PERI_VERDICT_CONTINUE);
    world_end(quick);
    peri_loop_advance(world.loop, 999);
    assert_int_equal(world.verdicts, 0);
    peri_loop_advance(world.loop, 5);
    assert_int_equal(world.verdicts, 1);
    assert_int_equal(world.verdict, PERI_VERDICT_CONTINUE);
    assert_string_equal(header_of(&slow->req.headers, "x-slept"), "yes");
    world_end(slow);
    world_close();
}

static void waiting_passes_through_coroutines_of_the_script(void **state)
{
    (void)state;
    world_with("function P:on_request(req)\n"
               "  local each = coroutine.wrap(function()\n"
               "    for i = 1, 3 do perigee.sleep(0.1) coroutine.yield(i) end\n"
               "  end)\n"
               "  local sum = each() + each() + each()\n"
               "  local co = coroutine.create(function() perigee.sleep(0.1) error('inside') end)\n"
               "  local ok, message = coroutine.resume(co)\n"
               "  req.headers['x-sum'] = sum .. ' ' .. tostring(ok) .. ' ' .. message:match('inside') .. ' '\n"
               "    .. coroutine.status(co)\n"
               "end",
               WORLD_ROUTE);
    struct peri_exchange *x = world_request();
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_PENDING);
    peri_loop_advance(world.loop, 450);
    assert_int_equal(world.verdict, PERI_VERDICT_CONTINUE);
    assert_string_equal(header_of(&x->req.headers, "x-sum"), "6 false inside dead");
    world_end(x);
    world_close();
}

static void a_yield_of_the_hook_itself_is_an_error_not_a_hang(void **state)
{
    (void)state;
    world_with("function P:on_request(req) coroutine.yield(1) end", WORLD_ROUTE);
    struct peri_exchange *x = world_request();
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_FAIL);
    assert_logged("coroutine.yield outside of a coroutine");
    world_end(x);
    world_close();
}

static void an_error_after_a_wait_fails_the_exchange(void **state)
{
    (void)state;
    world_with("function P:on_request(req) perigee.sleep(0.1) error('late') end", WORLD_ROUTE);
    struct peri_exchange *x = world_request();
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_PENDING);
    peri_loop_advance(world.loop, 110);
    assert_int_equal(world.verdict, PERI_VERDICT_FAIL);
    assert_int_equal(x->facts.err, PERI_ERR_POLICY);
    world_end(x);
    world_close();
}

static void an_exchange_that_ends_while_waiting_is_never_resumed(void **state)
{
    (void)state;
    world_with("function P:on_request(req) perigee.sleep(1) error('resumed') end", WORLD_ROUTE);
    struct peri_exchange *x = world_request();
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_PENDING);
    world_end(x);
    peri_loop_advance(world.loop, 2000);
    assert_int_equal(world.verdicts, 0);
    assert_string_equal(world.log, "");
    world_close();
}

static void a_wait_that_cannot_yield_is_cancelled(void **state)
{
    (void)state;
    world_with("function P:on_request(req)\n"
               "  local ok = pcall(string.gsub, 'x', 'x', function() perigee.sleep(1) end)\n"
               "  assert(not ok)\n"
               "  req.headers['x-went'] = 'on'\n"
               "end",
               WORLD_ROUTE);
    struct peri_exchange *x = world_request();
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_CONTINUE);
    assert_string_equal(header_of(&x->req.headers, "x-went"), "on");
    peri_loop_advance(world.loop, 2000);
    assert_int_equal(world.verdicts, 0);
    world_end(x);
    world_close();
}

static void reading_a_body_waits_until_it_is_there(void **state)
{
    (void)state;
    world_with("function P:on_request(req)\n"
               "  local text, message = req.body:read(10)\n"
               "  req.headers['x-body'] = text or message\n"
               "end",
               WORLD_ROUTE);
    struct peri_exchange *x = world_request();
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_PENDING);
    assert_int_equal(world.wanted, 10);
    assert_int_equal(peri_body_put(&x->req_body, PERI_SLICE("hello")), PERI_OK);
    x->req_body.is_ended = true;
    peri_chain_body_ready(x, PERI_SIDE_RESPONSE, PERI_OK); // the other side's: nobody waits for it
    peri_loop_turn(world.loop);
    assert_int_equal(world.verdicts, 0);
    peri_chain_body_ready(x, PERI_SIDE_REQUEST, PERI_OK);
    assert_int_equal(world.verdicts, 0); // from the loop only
    peri_loop_turn(world.loop);
    assert_int_equal(world.verdict, PERI_VERDICT_CONTINUE);
    assert_string_equal(header_of(&x->req.headers, "x-body"), "hello");
    world_end(x);
    x = world_request();
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_PENDING);
    peri_chain_body_ready(x, PERI_SIDE_REQUEST, PERI_ERR_BODY_TOO_LARGE);
    peri_loop_turn(world.loop);
    assert_string_equal(header_of(&x->req.headers, "x-body"), "The request body is too large.");
    world_end(x);
    world_close();
}

static void a_body_that_is_there_is_read_at_once_and_may_be_replaced(void **state)
{
    (void)state;
    world_with("function P:on_request(req)\n"
               "  req.body:limit(1000)\n"
               "  local value = assert(req.body:json())\n"
               "  req.body:set('got ' .. value.a)\n"
               "end",
               WORLD_ROUTE);
    struct peri_exchange *x = world_request();
    assert_int_equal(peri_body_set(&x->req_body, PERI_SLICE("{\"a\":\"b\"}")), PERI_OK);
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_CONTINUE);
    assert_int_equal(world.body_limit, 1000);
    assert_string_equal(body_of(&x->req_body), "got b");
    world_end(x);
    world_close();
}

static void done(int status, const char *body, peri_err_t err)
{
    struct peri_arena arena;
    struct peri_headers headers, trailers;
    peri_arena_init(&arena, 4096);
    peri_headers_init(&headers, &arena);
    peri_headers_init(&trailers, &arena);
    add_header(&headers, "x-a", "1");
    add_header(&headers, "x-a", "2");
    struct peri_fetch_result result = {
        .err = err, .status = status, .headers = &headers, .trailers = &trailers, .body = peri_slice_from(body)};
    world.fetch.on_done(world.fetch.data, &result);
    peri_arena_close(&arena);
}

static const char *const FETCHES =
    "function P:on_request(req)\n"
    "  local res, message = perigee.http.fetch('http://origin/x?y=1',\n"
    "    { body = { a = 1 }, headers = { ['x-key'] = 'k' }, timeout = 2, max_body = 500 })\n"
    "  if not res then return perigee.reply(502, message) end\n"
    "  return perigee.reply(res.status, res.body .. ' ' .. res.headers['X-A'] .. ' ' .. tostring(res.headers.none))\n"
    "end";

static void a_fetch_sends_a_request_and_gives_the_response(void **state)
{
    (void)state;
    world_with(FETCHES, WORLD_ROUTE);
    struct peri_exchange *x = world_request();
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_PENDING);
    assert_string_equal(world.fetch_url, "POST http://origin/x?y=1");
    assert_string_equal(world.fetch_body, "{\"a\":1}");
    assert_non_null(strstr(world.fetch_headers, "x-key: k\n"));
    assert_non_null(strstr(world.fetch_headers, "content-type: application/json\n"));
    assert_int_equal(world.fetch.timeout_ms, 2000);
    assert_int_equal(world.fetch.max_body, 500);
    done(201, "made", PERI_OK);
    assert_int_equal(world.verdict, PERI_VERDICT_REPLY);
    assert_int_equal(x->res.status, 201);
    assert_string_equal(body_of(&x->res_body), "made 1, 2 nil");
    world_end(x);
    world_close();
}

static void a_fetch_that_fails_gives_nil_and_a_message(void **state)
{
    (void)state;
    world_with(FETCHES, WORLD_ROUTE);
    struct peri_exchange *x = world_request();
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_PENDING);
    done(0, "", PERI_ERR_UPSTREAM_TIMEOUT);
    assert_int_equal(x->res.status, 502);
    assert_string_equal(body_of(&x->res_body), "The upstream did not answer in time.");
    world_end(x);
    world_close();
}

static void a_fetch_that_cannot_start_gives_nil_and_a_message(void **state)
{
    (void)state;
    world_with("function P:on_request(req)\n"
               "  local res, message = perigee.http.fetch('http://refused/')\n"
               "  return perigee.reply(502, message)\n"
               "end",
               WORLD_ROUTE);
    struct peri_exchange *x = world_request();
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_REPLY);
    assert_string_equal(body_of(&x->res_body), "The upstream could not be reached.");
    world_end(x);
    world_close();
}

static void the_end_of_the_exchange_cancels_its_fetch(void **state)
{
    (void)state;
    world_with(FETCHES, WORLD_ROUTE);
    struct peri_exchange *x = world_request();
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_PENDING);
    world_end(x);
    assert_int_equal(world.cancelled, 1);
    world_close();
}

static void spawned_functions_run_beside_each_other_and_give_their_results(void **state)
{
    (void)state;
    world_with(
        "function P:on_request(req)\n"
        "  local tasks = {}\n"
        "  for i = 1, 3 do tasks[i] = perigee.spawn(function(n) perigee.sleep(1) return n * 10, 'x' end, i) end\n"
        "  local bad = perigee.spawn(function() error('no') end)\n"
        "  local a, b = tasks[1]:wait()\n"
        "  local text = a .. b .. perigee.wait(tasks[2]) .. tasks[3]:wait() .. tasks[1]:wait()\n"
        "  local none, message = bad:wait()\n"
        "  req.headers['x-r'] = text .. tostring(none) .. message:match('no$')\n"
        "end",
        WORLD_ROUTE);
    struct peri_exchange *x = world_request();
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_PENDING);
    peri_loop_advance(world.loop, 1010); // one second for all three
    assert_int_equal(world.verdict, PERI_VERDICT_CONTINUE);
    assert_string_equal(header_of(&x->req.headers, "x-r"), "10x203010nilno");
    world_end(x);
    world_close();
}

static void waiting_for_a_task_ends_after_a_time_or_when_it_is_cancelled(void **state)
{
    (void)state;
    world_with("function P:on_request(req)\n"
               "  local task = perigee.spawn(function() perigee.sleep(100) end)\n"
               "  local none, message = task:wait(0.5)\n"
               "  perigee.spawn(function() perigee.sleep(0.5) task:cancel() end)\n"
               "  local none2, message2 = task:wait()\n"
               "  req.headers['x-r'] = message .. ',' .. message2 .. ',' .. select(2, task:wait())\n"
               "end",
               WORLD_ROUTE);
    struct peri_exchange *x = world_request();
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_PENDING);
    peri_loop_advance(world.loop, 1100);
    assert_int_equal(world.verdict, PERI_VERDICT_CONTINUE);
    assert_string_equal(header_of(&x->req.headers, "x-r"), "timeout,cancelled,cancelled");
    world_end(x);
    world_close();
}

static void tasks_of_an_exchange_end_with_it(void **state)
{
    (void)state;
    world_with("function P:on_request(req)\n"
               "  perigee.spawn(function() perigee.sleep(1) perigee.log.warn('still here') end)\n"
               "  perigee.spawn(function() perigee.log.warn('never ran') end)\n"
               "end",
               WORLD_ROUTE);
    struct peri_exchange *x = world_request();
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_CONTINUE);
    world_end(x);
    peri_loop_advance(world.loop, 2000);
    assert_string_equal(world.log, "");
    world_close();
}

static void tasks_of_an_exchange_are_bounded(void **state)
{
    (void)state;
    world_with("function P:on_request(req)\n"
               "  for i = 1, 257 do perigee.spawn(function() perigee.sleep(1) end) end\n"
               "end",
               WORLD_ROUTE);
    struct peri_exchange *x = world_request();
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_FAIL);
    assert_logged("too many tasks: 256 for an exchange");
    world_end(x);
    world_close();
}

static void a_timer_repeats_until_it_is_cancelled(void **state)
{
    (void)state;
    world_with("function P:init()\n"
               "  local n = 0\n"
               "  local timer\n"
               "  timer = perigee.timer.every(1, function(word)\n"
               "    n = n + 1\n"
               "    perigee.log.info(word .. ' ' .. n)\n"
               "    perigee.sleep(0.5)\n"
               "    if n == 3 then timer:cancel() end\n"
               "  end, 'tick')\n"
               "  perigee.timer.after(2, function() error('boom') end)\n"
               "end",
               WORLD_ROUTE);
    peri_loop_advance(world.loop, 1000);
    assert_logged("tick 1");
    assert_null(strstr(world.log, "tick 2"));
    peri_loop_advance(world.loop, 1600); // 0.5 s in the function, then 1 s
    assert_logged("tick 2");
    assert_logged("task failed: policies/p/init.lua:13: boom");
    peri_loop_advance(world.loop, 10000);
    assert_logged("tick 3");
    assert_null(strstr(world.log, "tick 4"));
    world_close();
}

static void timers_end_with_their_generation(void **state)
{
    (void)state;
    world_with("function P:init()\n"
               "  perigee.timer.every(1, function() perigee.log.info('tick') end)\n"
               "  perigee.timer.after(0, function() perigee.sleep(5) perigee.log.info('woke') end)\n"
               "end",
               WORLD_ROUTE);
    peri_loop_advance(world.loop, 100);
    peri_script_release(world.script);
    world.script = NULL;
    peri_loop_advance(world.loop, 10000);
    assert_string_equal(world.log, "");
    world_close();
}

static void init_cannot_wait_and_says_so(void **state)
{
    (void)state;
    static const struct world_file files[] = {
        {"gateway.lua",
         "return { listeners = { { address = '127.0.0.1:0' } }, policies = { 'p' }, routes = { { reply = 'x' } } }"},
        {"policies/p/init.lua", "local perigee = require 'perigee'\n"
                                "local P = perigee.policy { name = 'p', stage = 'auth' }\n"
                                "function P:init() perigee.sleep(1) end\n"
                                "return P"},
        {NULL, NULL},
    };
    world_open(0);
    assert_null(world_try(files, NULL));
    assert_non_null(strstr(world.errors, "\"file\":\"policies/p/init.lua\",\"line\":3"));
    assert_non_null(strstr(world.errors, "init() of policy 'p' failed: perigee.sleep cannot wait here"));
    world_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sleeping_hook_does_not_hold_up_others),
        cmocka_unit_test(waiting_passes_through_coroutines_of_the_script),
        cmocka_unit_test(a_yield_of_the_hook_itself_is_an_error_not_a_hang),
        cmocka_unit_test(an_error_after_a_wait_fails_the_exchange),
        cmocka_unit_test(an_exchange_that_ends_while_waiting_is_never_resumed),
        cmocka_unit_test(a_wait_that_cannot_yield_is_cancelled),
        cmocka_unit_test(reading_a_body_waits_until_it_is_there),
        cmocka_unit_test(a_body_that_is_there_is_read_at_once_and_may_be_replaced),
        cmocka_unit_test(a_fetch_sends_a_request_and_gives_the_response),
        cmocka_unit_test(a_fetch_that_fails_gives_nil_and_a_message),
        cmocka_unit_test(a_fetch_that_cannot_start_gives_nil_and_a_message),
        cmocka_unit_test(the_end_of_the_exchange_cancels_its_fetch),
        cmocka_unit_test(spawned_functions_run_beside_each_other_and_give_their_results),
        cmocka_unit_test(waiting_for_a_task_ends_after_a_time_or_when_it_is_cancelled),
        cmocka_unit_test(tasks_of_an_exchange_end_with_it),
        cmocka_unit_test(tasks_of_an_exchange_are_bounded),
        cmocka_unit_test(a_timer_repeats_until_it_is_cancelled),
        cmocka_unit_test(timers_end_with_their_generation),
        cmocka_unit_test(init_cannot_wait_and_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
