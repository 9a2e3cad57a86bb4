// SPDX-License-Identifier: MIT
// What scripts can and cannot reach.

#include "script_world.h"

// Evaluates `code` as a configuration; its asserts are the test.
static void evaluates(const char *code)
{
    static char config[8192];
    struct world_file files[] = {
        {"gateway.lua", config},
        {"lib/util.lua", "return { twice = function(n) return n * 2 end }"},
        {"lib/init.lua", "return 'the library'"},
        {"lib/global.lua", "leaked = 1"},
        {"lib/cycle.lua", "return require 'lib.cycle'"},
        {"lib/broken.lua", "local x =\n= 1"},
        {"lib/code.lua", "\x1bLJ"},
        {NULL, NULL},
    };
    snprintf(config, sizeof(config),
             "local function refused(pattern, f, ...)\n"
             "  local ok, message = pcall(f, ...)\n"
             "  assert(not ok, 'not refused: ' .. pattern)\n"
             "  assert(message:find(pattern, 1, true), message)\n"
             "end\n"
             "%s\n"
             "return { listeners = { { address = '127.0.0.1:0' } }, routes = { { reply = 'x' } } }",
             code);
    world_open(0);
    world.script = world_try(files, NULL);
    if (!world.script)
        fail_msg("%s", world.errors);
    world_close();
}

static void the_machine_is_out_of_reach(void **state)
{
    (void)state;
    evaluates(
        "for _, name in ipairs { 'io', 'debug', 'jit', 'ffi', 'package', 'dofile', 'loadfile', 'getfenv', 'setfenv',\n"
        "  'newproxy', 'module', 'print' } do\n"
        "  assert(_G[name] == nil, name)\n"
        "end\n"
        "for _, name in ipairs { 'execute', 'exit', 'getenv', 'remove', 'rename', 'tmpname', 'setlocale' } do\n"
        "  assert(os[name] == nil, name)\n"
        "end\n"
        "assert(os.time() == 1767225600 and os.date('!%Y') == '2026' and type(os.clock()) == 'number')\n"
        "assert(string.dump == nil and (''):rep(2) == '' and (''..'x').dump == nil)\n"
        "for _, name in ipairs { 'ffi', 'jit', 'jit.opt', 'io', 'debug', 'string.buffer', 'table.new', "
        "'perigee._core.slot',\n"
        "  'perigee._core.native', 'perigee.request', 'package' } do\n"
        "  assert(not pcall(require, name), name)\n"
        "end");
}

static void globals_and_libraries_are_read_only(void **state)
{
    (void)state;
    evaluates("refused(\"assignment to global 'x': use local\", function() x = 1 end)\n"
              "refused(\"'string' is read-only\", function() string.format = nil end)\n"
              "refused(\"'string' is read-only\", function() string.mine = 1 end)\n"
              "refused(\"'table' is read-only\", function() table.insert = nil end)\n"
              "refused('protected', rawset, string, 'format', nil)\n"
              "refused('protected', rawset, _G, 'x', 1)\n"
              "local perigee = require 'perigee'\n"
              "refused(\"'perigee' is read-only\", function() perigee.reply = nil end)\n"
              "refused(\"'perigee.json' is read-only\", function() perigee.json.decode = nil end)\n"
              "refused('protected', rawset, perigee, 'reply', nil)\n"
              "assert(getmetatable('') == 'string' and getmetatable(string) == 'read-only')\n"
              "assert(x == nil and perigee.json == require 'perigee.json')");
}

static void only_text_is_loaded_and_only_into_the_sandbox(void **state)
{
    (void)state;
    evaluates("assert(load('return 1 + 1')() == 2 and loadstring('return type(string)')() == 'table')\n"
              "assert(load('return io')() == nil and load(function() return nil end))\n"
              "assert(not load('\\27LJ\\2', 'x', 'b') and not loadstring('\\27LJ\\2'))\n"
              "assert(load('return y', 'c', 't', { y = 3 })() == 3)\n"
              "refused(\"assignment to global 'z'\", load('z = 1'))");
}

static void the_garbage_collector_may_only_be_asked_for_its_count(void **state)
{
    (void)state;
    evaluates("assert(collectgarbage('count') > 0 and collectgarbage() > 0)\n"
              "refused('scripts may only count', collectgarbage, 'stop')\n"
              "refused('scripts may only count', collectgarbage, 'collect')");
}

static void modules_below_the_configuration_are_loaded_once_in_the_sandbox(void **state)
{
    (void)state;
    evaluates(
        "local util = require 'lib.util'\n"
        "assert(util.twice(2) == 4 and require('lib.util') == util and require 'lib' == 'the library')\n"
        "refused(\"module 'lib.none' not found; looked for lib/none.lua, lib/none/init.lua\", require, 'lib.none')\n"
        "refused(\"lib/global.lua:1: assignment to global 'leaked'\", require, 'lib.global')\n"
        "refused('required while it is being loaded', require, 'lib.cycle')\n"
        "refused('lib/broken.lua:2: ', require, 'lib.broken')\n"
        "refused('lib/code.lua:1: attempt to load', require, 'lib.code')\n"
        "for _, name in ipairs { '', '../x', 'a..b', '/etc/passwd', 'a.', '.a', 'a/b', 'lib.util\\0' } do\n"
        "  refused('require expects the name of a module', require, name)\n"
        "end");
}

static void the_sdk_is_there(void **state)
{
    (void)state;
    evaluates(
        "local perigee = require 'perigee'\n"
        "for _, name in ipairs { 'base64', 'cache', 'crypto', 'http', 'ip', 'json', 'jwt', 'log', 'metrics', 'regex',\n"
        "  'shared', 'time', 'timer', 'uri' } do\n"
        "  assert(perigee[name] and perigee[name] == require('perigee.' .. name), name)\n"
        "end\n"
        "assert(perigee.json.decode('[1]')[1] == 1)\n"
        "assert(perigee.shared 'x')\n"
        "assert(require 'perigee.algo.token_bucket')\n"
        "refused('perigee.sleep cannot wait here', perigee.sleep, 1)\n"
        "refused('perigee.spawn cannot be used here', perigee.spawn, function() end)");
}

static void a_deep_recursion_is_an_error_not_a_crash(void **state)
{
    (void)state;
    evaluates("local function deep(n) return 1 + deep(n + 1) end\n"
              "refused('stack overflow', deep, 1)\n"
              "local nested = string.rep('{', 1000)\n"
              "assert(not load('return ' .. nested))");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_machine_is_out_of_reach),
        cmocka_unit_test(globals_and_libraries_are_read_only),
        cmocka_unit_test(only_text_is_loaded_and_only_into_the_sandbox),
        cmocka_unit_test(the_garbage_collector_may_only_be_asked_for_its_count),
        cmocka_unit_test(modules_below_the_configuration_are_loaded_once_in_the_sandbox),
        cmocka_unit_test(the_sdk_is_there),
        cmocka_unit_test(a_deep_recursion_is_an_error_not_a_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
