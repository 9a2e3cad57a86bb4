// SPDX-License-Identifier: MIT
// The phases of a route without around(): order, verdicts, failures, body hooks, and handles that outlive their exchange.

#include "script_world.h"

// Notes in the header x-trace of the request which hooks ran.
#define TRACED                                                                                                         \
    "local function note(req, what) req.ctx.t = (req.ctx.t or '') .. what end\n"                                       \
    "function P:on_request(req) note(req, self.conf.tag) end\n"                                                        \
    "function P:on_response(req, res) note(req, self.conf.tag:upper()) res.headers['x-trace'] = req.ctx.t end\n"

static void request_hooks_run_in_order_and_response_hooks_in_reverse(void **state)
{
    (void)state;
    world_with(TRACED, "upstream = 'origin', policies = { { 'p', tag = 'a' }, { 'p', tag = 'b' } }");
    struct peri_exchange *x = world_request();
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_CONTINUE);
    world_respond(x, 200);
    assert_int_equal(run(x, PERI_PHASE_RESPONSE), PERI_VERDICT_CONTINUE);
    assert_string_equal(header_of(&x->res.headers, "x-trace"), "abBA");
    world_end(x);
    world_close();
}

static void a_reply_answers_and_runs_only_the_response_hooks_of_those_before(void **state)
{
    (void)state;
    world_with(TRACED
               "local plain = P.on_request\n"
               "function P:on_request(req)\n"
               "  if self.conf.tag == 'b' then return perigee.reply(401, 'no\\n', { ['www-authenticate'] = 'x' }) end\n"
               "  return plain(self, req)\n"
               "end",
               "upstream = 'origin', policies = { { 'p', tag = 'a' }, { 'p', tag = 'b' }, { 'p', tag = 'c' } }");
    struct peri_exchange *x = world_request();
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_REPLY);
    assert_int_equal(x->res.status, 401);
    assert_int_equal(x->res.content_length, 3);
    assert_string_equal(body_of(&x->res_body), "no\n");
    assert_string_equal(header_of(&x->res.headers, "www-authenticate"), "x");
    assert_string_equal(header_of(&x->res.headers, "content-type"), "text/plain; charset=utf-8");
    assert_string_equal(header_of(&x->res.headers, "x-trace"), "aA");
    // The pipeline may ask for the response phase of a reply: it has been done.
    assert_int_equal(run(x, PERI_PHASE_RESPONSE), PERI_VERDICT_CONTINUE);
    assert_string_equal(header_of(&x->res.headers, "x-trace"), "aA");
    world_end(x);
    world_close();
}

static void a_table_as_body_is_sent_as_json(void **state)
{
    (void)state;
    world_with("function P:on_request(req) return perigee.reply(200, { a = { 1, 2 } }) end", WORLD_ROUTE);
    struct peri_exchange *x = world_request();
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_REPLY);
    assert_string_equal(body_of(&x->res_body), "{\"a\":[1,2]}");
    assert_string_equal(header_of(&x->res.headers, "content-type"), "application/json");
    world_end(x);
    world_close();
}

static void an_error_in_a_closed_policy_fails_the_exchange_with_a_traceback_in_the_log(void **state)
{
    (void)state;
    world_with("local function deep() error('boom') end\nfunction P:on_request(req) deep() end", WORLD_ROUTE);
    struct peri_exchange *x = world_request();
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_FAIL);
    assert_int_equal(x->facts.err, PERI_ERR_POLICY);
    assert_non_null(strstr(world.failure, "failed in on_request"));
    assert_logged("policy 'p' on route 'r' failed in on_request: policies/p/init.lua:4: boom");
    assert_logged("in function 'deep'");
    assert_logged("policies/p/init.lua:5:");
    world_end(x);
    world_close();
}

static void an_error_in_an_open_policy_skips_it_in_all_phases(void **state)
{
    (void)state;
    world_with("function P:on_request(req) if self.conf.tag == 'bad' then return nil, 'no database' end end\n"
               "function P:on_response(req, res) res.headers:add('x-ran', self.conf.tag) end",
               "upstream = 'origin', policies = { { 'p', tag = 'bad', on_failure = 'open' }, { 'p', tag = 'good' } }");
    struct peri_exchange *x = world_request();
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_CONTINUE);
    assert_logged("failed in on_request: no database");
    world_respond(x, 200);
    assert_int_equal(run(x, PERI_PHASE_RESPONSE), PERI_VERDICT_CONTINUE);
    assert_string_equal(header_of(&x->res.headers, "x-ran"), "good");
    world_end(x);
    world_close();
}

static void a_value_that_is_no_reply_is_a_failure(void **state)
{
    (void)state;
    world_with("function P:on_request(req) return 'allowed' end", WORLD_ROUTE);
    struct peri_exchange *x = world_request();
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_FAIL);
    assert_logged("it returned a string");
    world_end(x);
    world_close();
}

static void a_dry_run_decides_and_logs_but_does_not_enforce(void **state)
{
    (void)state;
    world_with("function P:on_request(req) return perigee.reply(403) end",
               "upstream = 'origin', policies = { { 'p', dry_run = true } }");
    struct peri_exchange *x = world_request();
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_CONTINUE);
    assert_logged("policy 'p' on route 'r' would have answered 403 in on_request (dry run)");
    assert_int_equal(x->res.status, 0);
    world_end(x);
    world_close();
}

static void when_decides_once_and_for_all_phases(void **state)
{
    (void)state;
    world_with("function P:on_request(req) req.headers['x-ran'] = 'yes' end\n"
               "function P:on_response(req, res) res.headers['x-ran'] = 'yes' end",
               "upstream = 'origin', policies = { { 'p', when = { methods = { 'POST' } } },\n"
               "{ 'p', when = function(req) return nil + 1 end, on_failure = 'open' } }");
    struct peri_exchange *x = world_request();
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_CONTINUE);
    assert_string_equal(header_of(&x->req.headers, "x-ran"), "");
    assert_logged("failed in when");
    x->req.method_name = PERI_SLICE("POST");
    world_respond(x, 200);
    assert_int_equal(run(x, PERI_PHASE_RESPONSE), PERI_VERDICT_CONTINUE);
    assert_string_equal(header_of(&x->res.headers, "x-ran"), "");
    world_end(x);
    x = world_request();
    x->req.method_name = PERI_SLICE("POST");
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_CONTINUE);
    assert_string_equal(header_of(&x->req.headers, "x-ran"), "yes");
    world_end(x);
    world_close();
}

static void a_closed_policy_whose_when_fails_fails_the_exchange(void **state)
{
    (void)state;
    world_with("function P:on_request(req) end",
               "upstream = 'origin', policies = { { 'p', when = function(req) return nil + 1 end } }");
    struct peri_exchange *x = world_request();
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_FAIL);
    world_end(x);
    world_close();
}

static void a_response_hook_without_request_hooks_runs(void **state)
{
    (void)state;
    world_with(
        "function P:on_response(req, res) res.status = 418 res.headers['x-a'] = 'b' res.headers['x-from'] = nil end",
        WORLD_ROUTE);
    struct peri_exchange *x = world_request();
    world_respond(x, 200);
    assert_int_equal(run(x, PERI_PHASE_RESPONSE), PERI_VERDICT_CONTINUE);
    assert_int_equal(x->res.status, 418);
    assert_string_equal(header_of(&x->res.headers, "x-a"), "b");
    assert_string_equal(header_of(&x->res.headers, "x-from"), "");
    world_end(x);
    world_close();
}

static void a_response_hook_may_replace_the_response(void **state)
{
    (void)state;
    world_with("function P:on_response(req, res) if res.status >= 500 then return perigee.reply(404, 'gone') end end",
               WORLD_ROUTE);
    struct peri_exchange *x = world_request();
    world_respond(x, 500);
    assert_int_equal(run(x, PERI_PHASE_RESPONSE), PERI_VERDICT_REPLY);
    assert_int_equal(x->res.status, 404);
    assert_string_equal(header_of(&x->res.headers, "x-from"), "");
    assert_string_equal(body_of(&x->res_body), "gone");
    world_end(x);
    world_close();
}

static void a_handler_answers(void **state)
{
    (void)state;
    world_with("function P:on_response(req, res) res.headers['x-p'] = 'seen' end",
               "handler = function(req) return reply(200, 'user ' .. req.params.id) end, policies = { 'p' }");
    struct peri_exchange *x = world_request();
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_REPLY);
    assert_string_equal(body_of(&x->res_body), "user 7");
    assert_string_equal(header_of(&x->res.headers, "x-p"), "seen");
    world_end(x);
    world_close();
}

static void a_handler_that_returns_nothing_fails_with_500(void **state)
{
    (void)state;
    world_with("function P:on_request() end", "handler = function(req) end");
    struct peri_exchange *x = world_request();
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_FAIL);
    assert_int_equal(x->facts.err, PERI_ERR_HANDLER);
    assert_logged("handler of route 'r' failed: it returned nothing");
    world_end(x);
    world_close();
}

static void a_target_function_chooses_the_upstream(void **state)
{
    (void)state;
    world_with("function P:on_request() end",
               "upstream = function(req) return req.headers.accept and 'other' or 'x' end");
    struct peri_exchange *x = world_request();
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_CONTINUE);
    assert_string_equal(world.upstream, "other");
    world_end(x);
    x = world_request();
    peri_headers_remove(&x->req.headers, PERI_SLICE("accept"));
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_FAIL);
    assert_int_equal(x->facts.err, PERI_ERR_HANDLER);
    assert_logged("upstream 'x': there is no such thing");
    world_end(x);
    world_close();
}

static void on_upstream_sees_each_attempt_and_may_choose(void **state)
{
    (void)state;
    world_with("function P:on_upstream(req, attempt)\n"
               "  req.headers['x-attempt'] = attempt.number\n"
               "  if attempt.number == 2 then attempt.endpoint = '127.0.0.1:2' end\n"
               "end",
               WORLD_ROUTE);
    struct peri_exchange *x = world_request();
    x->facts.upstream = PERI_SLICE("origin");
    x->facts.attempts = 1;
    assert_int_equal(run(x, PERI_PHASE_UPSTREAM), PERI_VERDICT_CONTINUE);
    assert_string_equal(header_of(&x->req.headers, "x-attempt"), "1");
    assert_string_equal(world.endpoint, "");
    x->facts.attempts = 2;
    assert_int_equal(run(x, PERI_PHASE_UPSTREAM), PERI_VERDICT_CONTINUE);
    assert_string_equal(header_of(&x->req.headers, "x-attempt"), "2");
    assert_string_equal(world.upstream, "origin");
    assert_string_equal(world.endpoint, "127.0.0.1:2");
    world_end(x);
    world_close();
}

static enum peri_verdict run_chunk(struct peri_exchange *x, enum peri_phase phase, const char *text, bool is_last,
                                   struct peri_slice *out)
{
    struct peri_chain_chunk chunk = {.in = peri_slice_from(text), .is_last = is_last};
    enum peri_verdict verdict = peri_chain_run(world.script, x, 0, phase, &chunk);
    *out = chunk.out;
    return verdict;
}

static void body_hooks_replace_drop_or_keep_chunks(void **state)
{
    (void)state;
    world_with("function P:on_request_body(req, chunk, last)\n"
               "  if chunk == 'drop' then return '' end\n"
               "  if last then return chunk .. '.' end\n"
               "end",
               WORLD_ROUTE);
    struct peri_slice out;
    struct peri_exchange *x = world_request();
    assert_int_equal(run_chunk(x, PERI_PHASE_REQUEST_BODY, "keep", false, &out), PERI_VERDICT_CONTINUE);
    assert_true(peri_slice_eq(out, PERI_SLICE("keep")));
    assert_int_equal(run_chunk(x, PERI_PHASE_REQUEST_BODY, "drop", false, &out), PERI_VERDICT_CONTINUE);
    assert_int_equal(out.len, 0);
    assert_int_equal(run_chunk(x, PERI_PHASE_REQUEST_BODY, "end", true, &out), PERI_VERDICT_CONTINUE);
    assert_true(peri_slice_eq(out, PERI_SLICE("end.")));
    world_end(x);
    world_close();
}

static void response_body_hooks_run_in_reverse_and_may_wait(void **state)
{
    (void)state;
    world_with("function P:on_response_body(req, res, chunk, last)\n"
               "  perigee.sleep(1)\n"
               "  return chunk .. self.conf.tag\n"
               "end",
               "upstream = 'origin', policies = { { 'p', tag = 'a' }, { 'p', tag = 'b' } }");
    struct peri_chain_chunk chunk = {.in = PERI_SLICE("x"), .is_last = true};
    struct peri_exchange *x = world_request();
    world_respond(x, 200);
    assert_int_equal(peri_chain_run(world.script, x, 0, PERI_PHASE_RESPONSE_BODY, &chunk), PERI_VERDICT_PENDING);
    peri_loop_advance(world.loop, 2100);
    assert_int_equal(world.verdicts, 1);
    assert_int_equal(world.phase, PERI_PHASE_RESPONSE_BODY);
    assert_int_equal(world.verdict, PERI_VERDICT_CONTINUE);
    assert_true(peri_slice_eq(chunk.out, PERI_SLICE("xba")));
    world_end(x);
    world_close();
}

static void a_route_without_a_hook_for_a_phase_passes_the_chunk_on(void **state)
{
    (void)state;
    world_with("function P:on_request() end", WORLD_ROUTE);
    struct peri_slice out;
    struct peri_exchange *x = world_request();
    assert_int_equal(run_chunk(x, PERI_PHASE_RESPONSE_BODY, "same", true, &out), PERI_VERDICT_CONTINUE);
    assert_true(peri_slice_eq(out, PERI_SLICE("same")));
    world_end(x);
    world_close();
}

static void log_hooks_see_a_read_only_exchange_and_errors_are_only_logged(void **state)
{
    (void)state;
    world_with("function P:on_log(req, res)\n"
               "  assert(req.path == '/a/7' and res.status == 200)\n"
               "  req.headers['x'] = 'late'\n"
               "end",
               WORLD_ROUTE);
    struct peri_exchange *x = world_request();
    world_respond(x, 200);
    peri_exchange_set_state(x, PERI_X_SENDING);
    peri_exchange_set_state(x, PERI_X_LOG);
    assert_int_equal(run(x, PERI_PHASE_LOG), PERI_VERDICT_CONTINUE);
    assert_logged("failed in on_log: policies/p/init.lua:6: cannot set header 'x': it is too late");
    world_end(x);
    world_close();
}

static void a_request_used_after_its_exchange_is_a_clear_error(void **state)
{
    (void)state;
    world_with("local kept, headers\n"
               "function P:on_request(req)\n"
               "  if kept then\n"
               "    local ok, message = pcall(function() return kept.path end)\n"
               "    assert(not ok and message:find('used after its exchange ended', 1, true), message)\n"
               "    ok, message = pcall(function() return headers.accept end)\n"
               "    assert(not ok and message:find('used after its exchange ended', 1, true), message)\n"
               "    assert(req.path == '/a/7')\n"
               "    return perigee.reply(204)\n"
               "  end\n"
               "  kept, headers = req, req.headers\n"
               "end",
               WORLD_ROUTE);
    struct peri_exchange *x = world_request();
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_CONTINUE);
    struct peri_slot *slot = x->slot;
    world_end(x);
    x = world_request();
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_REPLY);
    assert_ptr_equal(x->slot, slot); // the same memory, and yet stale
    world_end(x);
    world_close();
}

static void running_out_of_lua_memory_fails_that_exchange_only(void **state)
{
    (void)state;
    static const struct world_file files[] = {
        {"gateway.lua", "return { listeners = { { address = '127.0.0.1:0' } }, routes = { { name = 'r',\n"
                        "handler = function(req)\n"
                        "  local t = {}\n"
                        "  if req.query:get('q') == 'big' then for i = 1, 1e9 do t[i] = ('x'):rep(1e5) .. i end end\n"
                        "  return reply(200)\n"
                        "end } } }"},
        {NULL, NULL},
    };
    world_open(24 * 1024 * 1024);
    world.script = world_try(files, NULL);
    assert_non_null(world.script);
    struct peri_exchange *x = world_request();
    x->req.query = PERI_SLICE("q=big");
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_FAIL);
    assert_logged("not enough memory");
    world_end(x);
    peri_vm_idle(world.vm);
    assert_true(peri_vm_bytes(world.vm) < 12 * 1024 * 1024);
    x = world_request();
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_REPLY);
    world_end(x);
    world_close();
}

static void ten_thousand_exchanges_do_not_grow_the_heap(void **state)
{
    (void)state;
    world_with("function P:on_request(req) req.ctx.x = req.headers.accept req.headers['x-n'] = 'v' end\n"
               "function P:on_response(req, res) res.headers['x-n'] = req.ctx.x end",
               WORLD_ROUTE);
    uint64_t settled = 0;
    for (int i = 0; i < 20000; i++) {
        struct peri_exchange *x = world_request();
        assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_CONTINUE);
        world_respond(x, 200);
        assert_int_equal(run(x, PERI_PHASE_RESPONSE), PERI_VERDICT_CONTINUE);
        world_end(x);
        peri_vm_idle(world.vm);
        if (i == 10000)
            settled = peri_vm_bytes(world.vm);
    }
    assert_true(peri_vm_bytes(world.vm) < settled + 2 * 1024 * 1024);
    world_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(request_hooks_run_in_order_and_response_hooks_in_reverse),
        cmocka_unit_test(a_reply_answers_and_runs_only_the_response_hooks_of_those_before),
        cmocka_unit_test(a_table_as_body_is_sent_as_json),
        cmocka_unit_test(an_error_in_a_closed_policy_fails_the_exchange_with_a_traceback_in_the_log),
        cmocka_unit_test(an_error_in_an_open_policy_skips_it_in_all_phases),
        cmocka_unit_test(a_value_that_is_no_reply_is_a_failure),
        cmocka_unit_test(a_dry_run_decides_and_logs_but_does_not_enforce),
        cmocka_unit_test(when_decides_once_and_for_all_phases),
        cmocka_unit_test(a_closed_policy_whose_when_fails_fails_the_exchange),
        cmocka_unit_test(a_response_hook_without_request_hooks_runs),
        cmocka_unit_test(a_response_hook_may_replace_the_response),
        cmocka_unit_test(a_handler_answers),
        cmocka_unit_test(a_handler_that_returns_nothing_fails_with_500),
        cmocka_unit_test(a_target_function_chooses_the_upstream),
        cmocka_unit_test(on_upstream_sees_each_attempt_and_may_choose),
        cmocka_unit_test(body_hooks_replace_drop_or_keep_chunks),
        cmocka_unit_test(response_body_hooks_run_in_reverse_and_may_wait),
        cmocka_unit_test(a_route_without_a_hook_for_a_phase_passes_the_chunk_on),
        cmocka_unit_test(log_hooks_see_a_read_only_exchange_and_errors_are_only_logged),
        cmocka_unit_test(a_request_used_after_its_exchange_is_a_clear_error),
        cmocka_unit_test(running_out_of_lua_memory_fails_that_exchange_only),
        cmocka_unit_test(ten_thousand_exchanges_do_not_grow_the_heap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
