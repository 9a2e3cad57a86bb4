// SPDX-License-Identifier: MIT
// Building and changing generations: errors with their places, life cycle, state across reloads, several at once.

#include "script_world.h"

#define CONFIG(policies)                                                                                               \
    "return { listeners = { { address = '127.0.0.1:0' } }, upstreams = { o = { endpoints = { 'h:1' } } },\n"           \
    "routes = { { name = 'r', upstream = 'o', policies = { " policies " } } } }"

#define POLICY(body)                                                                                                   \
    "local perigee = require 'perigee'\n"                                                                              \
    "local P = perigee.policy { name = 'p', stage = 'auth', schema = { n = { type = 'integer' } } }\n" body            \
    "\nreturn P"

static void assert_error(const char *text)
{
    if (!world.errors || !strstr(world.errors, text))
        fail_msg("no error has %s: %s", text, world.errors ? world.errors : "(none)");
}

static void refuses(const char *name, const char *config, const char *policy, const char *error)
{
    struct world_file files[] = {{name, config}, {policy ? "policies/p/init.lua" : NULL, policy}, {NULL, NULL}};
    world_open(0);
    assert_null(world_try(files, NULL));
    assert_error(error);
    world_close();
}

static void a_syntax_error_is_told_with_file_and_line(void **state)
{
    (void)state;
    refuses("gateway.lua", "return {\n  routes = = 1\n}", NULL, "\"file\":\"gateway.lua\",\"line\":2");
    refuses("gateway.lua", CONFIG("'p'"), "local x\nend", "\"file\":\"policies/p/init.lua\",\"line\":2");
}

static void an_error_at_run_time_is_told_where_the_script_is_not_where_the_sdk_is(void **state)
{
    (void)state;
    refuses("gateway.lua", "local x = {}\nreturn x.y.z", NULL, "\"file\":\"gateway.lua\",\"line\":2");
    refuses("gateway.lua", "\n\nlocal r = reply('x')\nreturn r", NULL, "\"file\":\"gateway.lua\",\"line\":3");
    refuses("gateway.lua", "\nlocal key = file 'missing.key'\nreturn {}", NULL, "there is no file 'missing.key'");
    refuses("gateway.lua", CONFIG("'p'"), "\n\nerror({})", "\"file\":\"policies/p/init.lua\",\"line\":3");
}

static void settings_that_are_wrong_are_all_told(void **state)
{
    (void)state;
    refuses("gateway.lua", "return { listeners = { { address = '127.0.0.1:0' } },\nroutes = { { upsteam = 'x' } } }",
            NULL, "did you mean 'upstream'");
    refuses("gateway.lua", CONFIG("{ 'p', n = 'x' }"), POLICY("function P:on_request() end"),
            "\"path\":\"routes[1].policies[1].n\"");
    refuses("gateway.lua", CONFIG("'missing'"), NULL, "there is no policy 'missing'");
}

static void a_missing_or_empty_file_is_told(void **state)
{
    (void)state;
    refuses("gateway.lua", "", NULL, "must return a table");
    struct world_file none[] = {{"other.lua", "return {}"}, {NULL, NULL}};
    struct peri_source source = {.read = source_read, .data = none};
    struct peri_build build;
    world_open(0);
    assert_int_equal(peri_script_build(world.vm, &source, PERI_SLICE("gateway.lua"), 1, &build), PERI_ERR_INVALID);
    assert_non_null(strstr(build.errors, "there is no file 'gateway.lua'"));
    free(build.errors);
    world_close();
}

static void a_configuration_may_be_json(void **state)
{
    (void)state;
    refuses("gateway.json", "{\n\"routes\":\n]", NULL, "\"file\":\"gateway.json\",\"line\":3");
    struct world_file files[] = {
        {"gateway.json", "{\"listeners\":[{\"address\":\"127.0.0.1:0\"}],\"routes\":[{\"reply\":\"x\",\"policies\":[{"
                         "\"policy\":\"p\"}]}]}"},
        {"policies/p/init.lua", POLICY("function P:on_request() return perigee.reply(403) end")},
        {NULL, NULL},
    };
    world_open(0);
    world.script = world_try(files, NULL);
    assert_non_null(world.script);
    struct peri_exchange *x = world_request();
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_REPLY);
    world_end(x);
    world_close();
}

static void the_normalised_configuration_is_given_and_secrets_are_not_in_it(void **state)
{
    (void)state;
    struct world_file files[] = {
        {"gateway.lua", "local key = file 'the.key'\n" CONFIG("'p'")},
        {"policies/p/init.lua", POLICY("function P:on_request() end")},
        {"the.key", "s3cret"},
        {NULL, NULL},
    };
    world_open(0);
    world.script = world_try(files, NULL);
    assert_non_null(world.script);
    assert_non_null(strstr(world.config, "\"name\":\"r\""));
    assert_non_null(strstr(world.config, "\"hooks\":1"));
    assert_null(strstr(world.config, "s3cret"));
    world_close();
}

static void an_error_in_init_refuses_the_generation(void **state)
{
    (void)state;
    refuses("gateway.lua", CONFIG("'p'"), POLICY("function P:init()\n  error('no database')\nend"),
            "\"file\":\"policies/p/init.lua\",\"line\":4,\"message\":\"init() of policy 'p' failed: no database\"");
    refuses("gateway.lua", CONFIG("'p'"), POLICY("function P:init() return nil, 'not today' end"), "failed: not today");
}

static void state_is_handed_over_as_a_copy_before_init(void **state)
{
    (void)state;
    static const char *const policy = POLICY("function P:init() self.state = self.state or { hits = { 0 } } end\n"
                                             "function P:save() return self.state end\n"
                                             "function P:restore(state) self.state = state end\n"
                                             "function P:on_request(req) self.state.hits[1] = self.state.hits[1] + 1 "
                                             "req.headers['x-hits'] = self.state.hits[1] end");
    struct world_file files[] = {{"gateway.lua", CONFIG("'p'")}, {"policies/p/init.lua", policy}, {NULL, NULL}};
    world_open(0);
    struct peri_script_generation *first = world_try(files, NULL);
    assert_non_null(first);
    struct peri_exchange *old = world_request();
    assert_int_equal(peri_chain_run(first, old, 0, PERI_PHASE_REQUEST, NULL), PERI_VERDICT_CONTINUE);
    world.script = world_try(files, first);
    assert_non_null(world.script);
    struct peri_exchange *x = world_request();
    assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_CONTINUE);
    assert_string_equal(header_of(&x->req.headers, "x-hits"), "2");
    world_end(x);
    // The old generation goes on with its own copy until its last exchange ends.
    assert_int_equal(peri_chain_run(first, old, 0, PERI_PHASE_REQUEST, NULL), PERI_VERDICT_CONTINUE);
    assert_string_equal(header_of(&old->req.headers, "x-hits"), "2");
    world_end(old);
    peri_script_release(first);
    world_close();
}

static void a_state_that_is_no_plain_data_refuses_the_new_generation(void **state)
{
    (void)state;
    struct world_file files[] = {
        {"gateway.lua", CONFIG("'p'")},
        {"policies/p/init.lua",
         POLICY("function P:on_request() end function P:save() return { f = function() end } end\n"
                "function P:restore() end")},
        {NULL, NULL},
    };
    world_open(0);
    world.script = world_try(files, NULL);
    assert_non_null(world.script);
    assert_null(world_try(files, world.script));
    assert_error("save() returned a function inside its state");
    world_close();
}

static void close_runs_when_the_generation_goes(void **state)
{
    (void)state;
    struct world_file files[] = {
        {"gateway.lua", CONFIG("'p'")},
        {"policies/p/init.lua",
         POLICY("function P:on_request() end function P:close() perigee.log.info('closed') error('late') end")},
        {NULL, NULL},
    };
    world_open(0);
    world.script = world_try(files, NULL);
    assert_non_null(world.script);
    assert_string_equal(world.log, "");
    peri_script_release(world.script);
    world.script = NULL;
    assert_logged("p: closed");
    assert_logged("close() of policy 'p' failed: late");
    world_close();
}

static void a_hundred_reloads_do_not_grow_the_heap(void **state)
{
    (void)state;
    struct world_file files[] = {
        {"gateway.lua", CONFIG("'p'")},
        {"policies/p/init.lua", POLICY("local big = {} for i = 1, 10000 do big[i] = 'entry ' .. i end\n"
                                       "function P:on_request(req) req.headers['x'] = big[1] end")},
        {NULL, NULL},
    };
    uint64_t after_ten = 0;
    world_open(0);
    for (int i = 0; i < 100; i++) {
        struct peri_script_generation *next = world_try(files, world.script);
        assert_non_null(next);
        if (world.script)
            peri_script_release(world.script);
        world.script = next;
        struct peri_exchange *x = world_request();
        assert_int_equal(run(x, PERI_PHASE_REQUEST), PERI_VERDICT_CONTINUE);
        world_end(x);
        for (int turn = 0; turn < 1000; turn++)
            peri_vm_idle(world.vm);
        if (i == 10)
            after_ten = peri_vm_bytes(world.vm);
    }
    assert_true(peri_vm_bytes(world.vm) < after_ten + 4 * 1024 * 1024);
    world_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_syntax_error_is_told_with_file_and_line),
        cmocka_unit_test(an_error_at_run_time_is_told_where_the_script_is_not_where_the_sdk_is),
        cmocka_unit_test(settings_that_are_wrong_are_all_told),
        cmocka_unit_test(a_missing_or_empty_file_is_told),
        cmocka_unit_test(a_configuration_may_be_json),
        cmocka_unit_test(the_normalised_configuration_is_given_and_secrets_are_not_in_it),
        cmocka_unit_test(an_error_in_init_refuses_the_generation),
        cmocka_unit_test(state_is_handed_over_as_a_copy_before_init),
        cmocka_unit_test(a_state_that_is_no_plain_data_refuses_the_new_generation),
        cmocka_unit_test(close_runs_when_the_generation_goes),
        cmocka_unit_test(a_hundred_reloads_do_not_grow_the_heap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
