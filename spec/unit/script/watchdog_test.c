// SPDX-License-Identifier: MIT
// Scripts that do not end are ended, whatever they do about it, and what runs after them works.

#include "script/watchdog.h"

#include <lauxlib.h>
#include <lua.h>
#include <signal.h>

#include "script/script_types.h"
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
    stops("while true do xpcall(function() while true do end end, perigee.spawn) end");
    stops("local function f(n) if n > 0 then pcall(f, n - 1) end while true do end end f(150)");
    stops("local function f() pcall(f) while true do pcall(f) end end f()");
}

// Behind an error that passes through its own load(), LuaJIT runs no hook any more.
static void a_function_that_load_reads_from_is_stopped_and_so_is_what_follows(void **state)
{
    (void)state;
    stops("load(function() while true do end end) while true do end");
    stops("while true do pcall(load, function() error('no') end) end");
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

static void the_condition_of_a_policy_is_watched(void **state)
{
    (void)state;
    world_with("function P:on_request(req) req.headers['x-seen'] = 'yes' end\n"
               "function P:on_log() end\n",
               "upstream = 'origin', policies = { { 'p', budget = '10ms', when = function() while true do end end },\n"
               "{ 'p', budget = '10ms', on_failure = 'open', when = function() while true do end end } }");
    struct peri_exchange *x = world_request();
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_FAIL);
    assert_logged("policy 'p' on route 'r' failed in when: gateway.lua:");
    world_end(x);
    world_close();
}

static void handlers_and_target_functions_are_watched(void **state)
{
    (void)state;
    world_with("", "handler = function() while true do end end");
    struct peri_exchange *x = world_request();
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_FAIL);
    assert_logged("handler of route 'r' failed: gateway.lua:3: the CPU budget of 50 ms is spent");
    world_end(x);
    world_close();
    world_with("", "upstream = function() while true do end end");
    x = world_request();
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_FAIL);
    assert_logged("target function of route 'r' failed: gateway.lua:3: the CPU budget of 50 ms is spent");
    world_end(x);
    world_close();
}

static void tasks_have_the_budget_of_the_policy_that_started_them(void **state)
{
    (void)state;
    world_with(
        "function P:init()\n"
        "  perigee.timer.after(0.001, function() while true do pcall(function() while true do end end) end end)\n"
        "end\n"
        "function P:on_request(req)\n"
        "  local task = perigee.spawn(function() while true do end end)\n"
        "  local _, message = task:wait()\n"
        "  req.headers['x-seen'] = message\n"
        "end\n",
        BUDGET);
    peri_loop_advance(world.loop, 5);
    assert_logged("task failed: policies/p/init.lua:5: the CPU " STOPPED);
    world.log[0] = 0;
    struct peri_exchange *x = world_request();
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_PENDING);
    peri_loop_advance(world.loop, 5);
    assert_int_equal(world.verdict, PERI_VERDICT_CONTINUE);
    assert_logged("task failed: policies/p/init.lua:8: the CPU " STOPPED);
    assert_non_null(strstr(header_of(&x->req.headers, "x-seen"), STOPPED));
    world_end(x);
    world_close();
}

// What one entry may use bounds an around() that calls next() for ever: each call of an inner hook begins its own budget.
static void an_entry_ends_however_many_budgets_it_holds(void **state)
{
    (void)state;
    world_with("function P:around(req, next) while true do next(req) end end\n",
               "handler = function() return reply(200) end, policies = { 'p' }");
    struct peri_exchange *x = world_request();
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_FAIL);
    assert_logged("the CPU budget of 1000 ms from one wait to the next is spent");
    world_end(x);
    world_close();
}

// ---- outside exchanges

static void refuses(const char *config, const char *policy, const char *message)
{
    struct world_file files[] = {{"gateway.lua", config}, {"policies/p/init.lua", policy}, {NULL, NULL}};
    world_open(0);
    assert_null(world_try(files, NULL));
    if (!strstr(world.errors, message))
        fail_msg("no '%s' in %s", message, world.errors);
    world.script = world_try((struct world_file[]){{"gateway.lua", "return { routes = {} }"}, {NULL, NULL}}, NULL);
    assert_non_null(world.script);
    world_close();
}

static void a_configuration_that_does_not_end_is_refused(void **state)
{
    (void)state;
    refuses("local n = 0\nwhile true do n = n + 1 end", NULL,
            "\"file\":\"gateway.lua\",\"line\":2,\"message\":\"the CPU budget of 1000 ms is spent\"");
}

static void a_policy_that_does_not_start_is_refused(void **state)
{
    (void)state;
    refuses("return { listeners = { { address = '127.0.0.1:0' } },"
            "routes = { { name = 'r', reply = 'x', policies = { 'p' } } } }",
            "local P = require('perigee').policy { name = 'p', stage = 'auth' }\n"
            "function P:init() while true do pcall(function() while true do end end) end end\n"
            "function P:on_request() end\n"
            "return P\n",
            "init() of policy 'p' failed: the CPU budget of 1000 ms is spent");
}

static void a_policy_that_does_not_close_is_stopped(void **state)
{
    (void)state;
    world_with("function P:on_request() end\n"
               "function P:close() while true do end end\n",
               WORLD_ROUTE);
    peri_script_release(world.script);
    world.script = NULL;
    assert_logged("close() of policy 'p' failed");
    assert_logged("the CPU budget of 1000 ms");
    world_close();
}

// ---- the SDK, the proof, what is left

// Runs `code` as the SDK's own, with a budget that it spends.
static int run_as_sdk(const char *code)
{
    lua_State *L = world.vm->work;
    assert_int_equal(luaL_loadstring(L, code), 0);
    peri_watchdog_enter(L, 0.001);
    int status = lua_pcall(L, 0, 0, 0);
    peri_watchdog_leave();
    lua_settop(L, 0);
    return status;
}

static void the_sdk_is_not_stopped_when_no_script_called_it(void **state)
{
    (void)state;
    world_open(0);
    assert_int_equal(run_as_sdk("local n = 0 while n < 1e5 do n = n + #tostring(n) / #tostring(n) end"), 0);
    assert_int_equal(run_as_sdk("jit.off() local n = 0 while n < 3e6 do n = n + 1 end jit.on()"), 0);
    world_close();
}

static void on_line(lua_State *L, lua_Debug *at)
{
    (void)L;
    (void)at;
}

static void a_hook_of_somebody_else_comes_back(void **state)
{
    (void)state;
    world_with("function P:on_request() while true do end end\n", BUDGET);
    lua_sethook(world.vm->work, on_line, LUA_MASKLINE, 0);
    struct peri_exchange *x = world_request();
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_FAIL);
    assert_logged(STOPPED);
    assert_ptr_equal(lua_gethook(world.vm->work), on_line);
    assert_int_equal(lua_gethookmask(world.vm->work), LUA_MASKLINE);
    world_end(x);
    world_close();
}

static void the_proof_fails_where_ticks_do_not_come(void **state)
{
    (void)state;
    sigset_t ticks;
    world_open(0);
    sigemptyset(&ticks);
    sigaddset(&ticks, SIGPROF);
    sigprocmask(SIG_BLOCK, &ticks, NULL);
    assert_false(peri_watchdog_prove(world.vm->work));
    sigprocmask(SIG_UNBLOCK, &ticks, NULL);
    assert_true(peri_watchdog_prove(world.vm->work));
    world_close();
}

static void scripts_that_are_not_compiled_are_stopped_too(void **state)
{
    (void)state;
    peri_watchdog.is_interpreted = 1;
    stops("while true do end");
    stops("local n = 0 while true do n = n + 1 end");
    stops("while true do pcall(function() while true do end end) end");
    stops("local function f(n) return f(n + 1) end f(1)");
    stops("load('while true do end')()");
    peri_watchdog.is_interpreted = 0;
}

// A question that LuaJIT lost would slow down compiled code for ever.
static void a_question_that_nobody_answers_is_taken_back(void **state)
{
    (void)state;
    world_open(0);
    peri_watchdog.is_asked = 1;
    peri_watchdog_leave();
    assert_int_equal(peri_watchdog.is_asked, 0);
    assert_true(peri_watchdog_prove(world.vm->work));
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
        cmocka_unit_test(a_function_that_load_reads_from_is_stopped_and_so_is_what_follows),
        cmocka_unit_test(the_condition_of_a_policy_is_watched),
        cmocka_unit_test(handlers_and_target_functions_are_watched),
        cmocka_unit_test(tasks_have_the_budget_of_the_policy_that_started_them),
        cmocka_unit_test(an_entry_ends_however_many_budgets_it_holds),
        cmocka_unit_test(a_configuration_that_does_not_end_is_refused),
        cmocka_unit_test(a_policy_that_does_not_start_is_refused),
        cmocka_unit_test(a_policy_that_does_not_close_is_stopped),
        cmocka_unit_test(the_sdk_is_not_stopped_when_no_script_called_it),
        cmocka_unit_test(a_hook_of_somebody_else_comes_back),
        cmocka_unit_test(the_proof_fails_where_ticks_do_not_come),
        cmocka_unit_test(scripts_that_are_not_compiled_are_stopped_too),
        cmocka_unit_test(a_question_that_nobody_answers_is_taken_back),
        cmocka_unit_test(five_trips_bring_a_policy_into_quarantine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
