// SPDX-License-Identifier: MIT
// Routes with around(): the whole exchange in one coroutine, FORWARD once or several times.

#include "script_world.h"

static const char *const RETRY = "function P:around(req, next)\n"
                                 "  for i = 1, 3 do\n"
                                 "    local res = next(req)\n"
                                 "    if res.status < 500 or i == 3 then return res end\n"
                                 "    perigee.sleep(0.05 * i)\n"
                                 "  end\n"
                                 "end\n";

static void a_retry_is_a_loop_that_forwards_again(void **state)
{
    (void)state;
    world_with(RETRY, WORLD_ROUTE);
    struct peri_exchange *x = world_request();
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_FORWARD);
    world_respond(x, 503);
    assert_int_equal(peri_chain_resume_response(x, PERI_OK), PERI_VERDICT_PENDING);
    peri_loop_advance(world.loop, 60);
    assert_int_equal(world.verdicts, 1);
    assert_int_equal(world.verdict, PERI_VERDICT_FORWARD);
    assert_int_equal(world.phase, PERI_PHASE_REQUEST);
    world_respond(x, 200);
    assert_int_equal(peri_chain_resume_response(x, PERI_OK), PERI_VERDICT_CONTINUE);
    assert_int_equal(x->res.status, 200);
    world_end(x);
    world_close();
}

static void layers_stand_about_each_other(void **state)
{
    (void)state;
    world_with("function P:on_request(req) req.ctx.t = (req.ctx.t or '') .. self.conf.tag .. '1' end\n"
               "function P:around(req, next)\n"
               "  req.ctx.t = req.ctx.t .. self.conf.tag .. '2'\n"
               "  local res = next(req)\n"
               "  req.ctx.t = req.ctx.t .. self.conf.tag .. '3'\n"
               "  return res\n"
               "end\n"
               "function P:on_response(req, res)\n"
               "  req.ctx.t = req.ctx.t .. self.conf.tag .. '4'\n"
               "  res.headers['x-t'] = req.ctx.t\n"
               "end",
               "upstream = 'origin', policies = { { 'p', tag = 'a' }, { 'p', tag = 'b' } }");
    struct peri_exchange *x = world_request();
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_FORWARD);
    world_respond(x, 200);
    assert_int_equal(peri_chain_resume_response(x, PERI_OK), PERI_VERDICT_CONTINUE);
    assert_string_equal(header_of(&x->res.headers, "x-t"), "a1a2b1b2b3b4a3a4");
    world_end(x);
    world_close();
}

static void other_phases_run_while_the_layers_wait_for_the_response(void **state)
{
    (void)state;
    world_with("function P:around(req, next) return next(req) end\n"
               "function P:on_upstream(req, attempt) req.headers['x-attempt'] = attempt.number end\n"
               "function P:on_response_body(req, res, chunk) return chunk:upper() end",
               WORLD_ROUTE);
    struct peri_exchange *x = world_request();
    struct peri_chain_chunk chunk = {.in = PERI_SLICE("abc"), .is_last = true};
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_FORWARD);
    x->facts.attempts = 1;
    assert_int_equal(run(x, PERI_PHASE_UPSTREAM), PERI_VERDICT_CONTINUE);
    assert_string_equal(header_of(&x->req.headers, "x-attempt"), "1");
    world_respond(x, 200);
    assert_int_equal(peri_chain_resume_response(x, PERI_OK), PERI_VERDICT_CONTINUE);
    assert_int_equal(peri_chain_run(world.script, x, 0, PERI_PHASE_RESPONSE_BODY, &chunk), PERI_VERDICT_CONTINUE);
    assert_true(peri_slice_eq(chunk.out, PERI_SLICE("ABC")));
    world_end(x);
    world_close();
}

static void a_layer_may_answer_without_asking_the_upstream(void **state)
{
    (void)state;
    world_with("function P:around(req, next) return perigee.reply(200, 'cached') end", WORLD_ROUTE);
    struct peri_exchange *x = world_request();
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_REPLY);
    assert_string_equal(body_of(&x->res_body), "cached");
    world_end(x);
    world_close();
}

static void a_layer_may_replace_what_the_upstream_answered(void **state)
{
    (void)state;
    world_with("function P:around(req, next)\n"
               "  local res = next(req)\n"
               "  if res.status == 503 then return perigee.reply(200, 'fallback') end\n"
               "  return res\n"
               "end",
               WORLD_ROUTE);
    struct peri_exchange *x = world_request();
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_FORWARD);
    world_respond(x, 503);
    assert_int_equal(peri_chain_resume_response(x, PERI_ERR_CONNECT), PERI_VERDICT_REPLY);
    assert_int_equal(x->res.status, 200);
    assert_string_equal(body_of(&x->res_body), "fallback");
    world_end(x);
    world_close();
}

static void a_handler_is_the_innermost_layer_and_can_be_asked_again(void **state)
{
    (void)state;
    world_with(RETRY, "policies = { 'p' }, handler = function(req)\n"
                      "  req.ctx.n = (req.ctx.n or 0) + 1\n"
                      "  return reply(req.ctx.n < 3 and 500 or 200, 'call ' .. req.ctx.n)\n"
                      "end");
    struct peri_exchange *x = world_request();
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_PENDING);
    peri_loop_advance(world.loop, 200);
    assert_int_equal(world.verdict, PERI_VERDICT_REPLY);
    assert_string_equal(body_of(&x->res_body), "call 3");
    world_end(x);
    world_close();
}

static void a_closed_failure_inside_cannot_be_caught_outside(void **state)
{
    (void)state;
    world_with("function P:around(req, next)\n"
               "  if self.conf.tag == 'bad' then error('broken') end\n"
               "  local ok, res = pcall(next, req)\n"
               "  return perigee.reply(200, 'all is well')\n"
               "end",
               "upstream = 'origin', policies = { { 'p', tag = 'outer' }, { 'p', tag = 'bad' } }");
    struct peri_exchange *x = world_request();
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_FAIL);
    assert_int_equal(x->facts.err, PERI_ERR_POLICY);
    assert_logged("failed in around: policies/p/init.lua:5: broken");
    world_end(x);
    world_close();
}

static void an_open_failure_goes_on_without_the_layer(void **state)
{
    (void)state;
    world_with("function P:around(req, next) error('broken') end",
               "upstream = 'origin', policies = { { 'p', on_failure = 'open' } }");
    struct peri_exchange *x = world_request();
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_FORWARD);
    world_respond(x, 200);
    assert_int_equal(peri_chain_resume_response(x, PERI_OK), PERI_VERDICT_CONTINUE);
    world_end(x);
    world_close();
}

static void returning_nothing_is_a_failure(void **state)
{
    (void)state;
    world_with("function P:around(req, next) next(req) end", WORLD_ROUTE);
    struct peri_exchange *x = world_request();
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_FORWARD);
    world_respond(x, 200);
    assert_int_equal(peri_chain_resume_response(x, PERI_OK), PERI_VERDICT_FAIL);
    assert_logged("it returned nothing; around() returns the response");
    world_end(x);
    world_close();
}

static void next_belongs_to_its_layer_only(void **state)
{
    (void)state;
    world_with("local kept\n"
               "function P:around(req, next)\n"
               "  if kept then\n"
               "    local ok, message = pcall(kept, req)\n"
               "    return perigee.reply(200, message)\n"
               "  end\n"
               "  kept = next\n"
               "  local task = perigee.spawn(function() return pcall(next, req) end)\n"
               "  local _, message = task:wait()\n"
               "  return perigee.reply(200, message)\n"
               "end",
               WORLD_ROUTE);
    struct peri_exchange *x = world_request();
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_PENDING);
    peri_loop_advance(world.loop, 1);
    assert_int_equal(world.verdict, PERI_VERDICT_REPLY);
    assert_non_null(strstr(body_of(&x->res_body), "next(req): the value is not allowed here"));
    world_end(x);
    x = world_request();
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_REPLY);
    assert_non_null(strstr(body_of(&x->res_body), "next() was called after around() had returned"));
    world_end(x);
    world_close();
}

static void an_exchange_that_ends_while_forwarded_is_forgotten(void **state)
{
    (void)state;
    world_with("function P:around(req, next)\n"
               "  perigee.shared('ends'):set('ran', true)\n"
               "  local res = next(req)\n"
               "  perigee.shared('ends'):set('ran', false)\n"
               "  return res\n"
               "end",
               WORLD_ROUTE);
    struct peri_exchange *x = world_request();
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_FORWARD);
    world_end(x);
    peri_loop_advance(world.loop, 1000);
    assert_int_equal(world.verdicts, 0);
    world_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_retry_is_a_loop_that_forwards_again),
        cmocka_unit_test(layers_stand_about_each_other),
        cmocka_unit_test(other_phases_run_while_the_layers_wait_for_the_response),
        cmocka_unit_test(a_layer_may_answer_without_asking_the_upstream),
        cmocka_unit_test(a_layer_may_replace_what_the_upstream_answered),
        cmocka_unit_test(a_handler_is_the_innermost_layer_and_can_be_asked_again),
        cmocka_unit_test(a_closed_failure_inside_cannot_be_caught_outside),
        cmocka_unit_test(an_open_failure_goes_on_without_the_layer),
        cmocka_unit_test(returning_nothing_is_a_failure),
        cmocka_unit_test(next_belongs_to_its_layer_only),
        cmocka_unit_test(an_exchange_that_ends_while_forwarded_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
