// SPDX-License-Identifier: MIT
// Scripts that do not end are ended, whatever they do about it, and what runs after them works.

#include "script/watchdog.h"
#include "script_world.h"

#define STOPPED "budget of 10 ms is spent"

// Runs a request whose policy executes `code` when the header "spin" is there; it has to be stopped and the next one to be served.
static void stops_with(const char *code, const char *route)
{
    static char policy[4096];
    snprintf(policy, sizeof(policy),
             "local function spin(req)\n%s\nend\n"
             "function P:on_request(req)\n"
             "  if req.headers['spin'] then spin(req) end\n"
             "  req.headers['x-seen'] = 'yes'\n"
             "end\n",
             code);
    world_with(policy, route);
    struct peri_exchange *x = world_request();
    add_header(&x->req.headers, "spin", "1");
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_FAIL);
    assert_logged(STOPPED);
    assert_logged("policy 'p' on route 'r' failed in on_request: ");
    assert_logged("policies/p/init.lua:");
    assert_logged("stack traceback:");
    world_end(x);
    for (int i = 0; i < 200; i++) {
        x = world_request();
        assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_CONTINUE);
        assert_string_equal(header_of(&x->req.headers, "x-seen"), "yes");
        world_end(x);
    }
    assert_int_equal(peri_watchdog.is_armed, 0);
    world_close();
}

#define BUDGET "upstream = 'origin', policies = { { 'p', budget = { cpu = '10ms' } } }"

static void stops(const char *code)
{
    stops_with(code, BUDGET);
}

static void compiled_code_can_be_stopped_here(void **state)
{
    (void)state;
    world_open(0);
    assert_int_equal(peri_watchdog.is_interpreted, 0);
    world_close();
}

static void loops_that_do_not_end_are_stopped(void **state)
{
    (void)state;
    stops("while true do end");
    stops("local n = 0 while true do n = n + 1 end");
    stops("for i = 1, math.huge do end");
    stops("repeat until false");
    stops("::again:: goto again");
    stops("local t = {} while true do for i = 1, 100 do t[i] = (t[i] or 0) + i end end");
}

static void recursion_that_does_not_end_is_stopped(void **state)
{
    (void)state;
    stops("local function f(n) return f(n + 1) end f(1)");
    stops("local function f(n) if n == 0 then return 0 end return f(n - 1) + f(n - 1) end f(200)");
}

static void calls_of_the_library_in_a_loop_are_stopped(void **state)
{
    (void)state;
    stops("while true do ('aaaa'):find('b') end");
    stops("while true do ('a'):rep(100):gsub('a', function() return 'b' end) end");
    stops(
        "while true do local t = {} for i = 1, 50 do t[i] = -i end table.sort(t, function(a, b) return a < b end) end");
    stops("while true do local _ = req.headers['accept'] end");
}

static void no_protected_call_of_the_script_outlives_the_budget(void **state)
{
    (void)state;
    stops("while true do pcall(function() while true do end end) end");
    stops("while true do pcall(error) end");
    stops("local function f() pcall(f) return f() end f()");
    stops("while true do xpcall(function() while true do end end, function() while true do end end) end");
}

static void coroutines_of_the_script_share_the_budget(void **state)
{
    (void)state;
    stops("coroutine.wrap(function() while true do end end)()");
    stops("while true do coroutine.resume(coroutine.create(function() while true do end end)) end");
    stops("local f = coroutine.wrap(function() while true do coroutine.yield() end end) while true do f() end");
}

static void a_script_cannot_pass_itself_off_as_the_sdk(void **state)
{
    (void)state;
    stops("load('while true do pcall(function() while true do end end) end', '=chain')()");
    stops("load('while true do pcall(function() while true do end end) end', '@lua/perigee/_core/chain.lua')()");
}

static void a_policy_that_is_open_is_left_out_and_the_next_one_runs(void **state)
{
    (void)state;
    world_with("function P:on_request(req)\n"
               "  if self.conf.tag == 'spin' then while true do pcall(function() while true do end end) end end\n"
               "  req.headers['x-seen'] = self.conf.tag\n"
               "end\n",
               "upstream = 'origin', policies = { { 'p', tag = 'spin', on_failure = 'open', budget = '10ms' },\n"
               "{ 'p', tag = 'next' } }");
    struct peri_exchange *x = world_request();
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_CONTINUE);
    assert_string_equal(header_of(&x->req.headers, "x-seen"), "next");
    assert_logged(STOPPED);
    world_end(x);
    world_close();
}

static void every_hook_is_watched(void **state)
{
    (void)state;
    world_with("local function spin() while true do pcall(function() while true do end end) end end\n"
               "P.on_response, P.on_log = spin, spin\n"
               "function P:on_response_body() spin() end\n",
               BUDGET);
    struct peri_exchange *x = world_request();
    struct peri_chain_chunk chunk = {.in = PERI_SLICE("abc"), .is_last = true};
    world_respond(x, 200);
    assert_int_equal(run(x, PERI_PHASE_RESPONSE), PERI_VERDICT_FAIL);
    assert_logged("failed in on_response: policies/p/init.lua:");
    assert_int_equal(peri_chain_run(world.script, x, 0, PERI_PHASE_RESPONSE_BODY, &chunk), PERI_VERDICT_FAIL);
    assert_logged("failed in on_response_body: policies/p/init.lua:");
    assert_int_equal(run(x, PERI_PHASE_LOG), PERI_VERDICT_CONTINUE);
    assert_logged("failed in on_log: policies/p/init.lua:");
    world_end(x);
    world_close();
}

static void around_and_what_it_surrounds_have_budgets_of_their_own(void **state)
{
    (void)state;
    world_with("function P:around(req, next)\n"
               "  if self.conf.tag == 'outer' then pcall(next, req) return perigee.reply(200) end\n"
               "  while true do pcall(function() while true do end end) end\n"
               "end\n",
               "upstream = 'origin', policies = { { 'p', tag = 'outer' }, { 'p', tag = 'inner', budget = '10ms' } }");
    struct peri_exchange *x = world_request();
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_FAIL);
    assert_logged(STOPPED);
    world_end(x);
    world_close();
}

static void the_budget_begins_again_after_a_wait(void **state)
{
    (void)state;
    world_with("function P:on_request(req)\n"
               "  perigee.sleep(0.001)\n"
               "  while true do end\n"
               "end\n",
               BUDGET);
    struct peri_exchange *x = world_request();
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_PENDING);
    peri_loop_advance(world.loop, 5);
    assert_int_equal(world.verdict, PERI_VERDICT_FAIL);
    assert_logged(STOPPED);
    world_end(x);
    world_close();
}

static void five_trips_bring_a_policy_into_quarantine(void **state)
{
    (void)state;
    world_with("function P:on_request(req) while true do end end\n", BUDGET);
    for (int i = 0; i < 5; i++) {
        assert_null(strstr(world.log, "quarantine"));
        struct peri_exchange *x = world_request();
        assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_FAIL);
        world_end(x);
    }
    assert_logged("policy 'p' on route 'r': it is in quarantine until the next reload");
    world.log[0] = 0;
    struct peri_exchange *x = world_request();
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_FAIL);
    assert_logged("failed in on_request: it is in quarantine");
    assert_null(strstr(world.log, STOPPED));
    world_end(x);
    world_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compiled_code_can_be_stopped_here),
        cmocka_unit_test(loops_that_do_not_end_are_stopped),
        cmocka_unit_test(recursion_that_does_not_end_is_stopped),
        cmocka_unit_test(calls_of_the_library_in_a_loop_are_stopped),
        cmocka_unit_test(no_protected_call_of_the_script_outlives_the_budget),
        cmocka_unit_test(coroutines_of_the_script_share_the_budget),
        cmocka_unit_test(a_script_cannot_pass_itself_off_as_the_sdk),
        cmocka_unit_test(a_policy_that_is_open_is_left_out_and_the_next_one_runs),
        cmocka_unit_test(every_hook_is_watched),
        cmocka_unit_test(around_and_what_it_surrounds_have_budgets_of_their_own),
        cmocka_unit_test(the_budget_begins_again_after_a_wait),
        cmocka_unit_test(five_trips_bring_a_policy_into_quarantine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
