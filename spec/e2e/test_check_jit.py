# SPDX-License-Identifier: MIT
"""`perigee check --jit`: which lines of hooks and handlers LuaJIT does not compile, and why."""

import pytest

from support.gateway import run

POLICY = """local perigee = require "perigee"
local Greeting = perigee.policy { name = "greeting", stage = "transform" }

function Greeting:on_request(req)
    BODY
end

function Greeting:init()
    self.call = function() return 1 end
end

return Greeting
"""

CONFIG = """local perigee = require "perigee"
return {
    policies = { "greeting" },
    routes = { { name = "a", handler = function(req)
        HANDLER
        return perigee.reply(200, "a")
    end } },
}
"""

SPEC = """local test = require "perigee.test"
it("answers", function()
    local gw = test.load "gateway.lua"
    assert.response(gw:get "/").has.status(200)
    assert.equal(1, #(function() return { gw } end)())
end)
"""


@pytest.fixture
def project(folder):
    def write(body="req.headers['x-a'] = req.path", handler="", spec=SPEC):
        folder.write("policies/greeting/init.lua", POLICY.replace("BODY", body))
        if spec:
            folder.write("spec/greeting_spec.lua", spec)
        return folder.write("gateway.lua", CONFIG.replace("HANDLER", handler))

    return write


def test_hooks_that_compile_are_praised(project):
    result = run("check", "--jit", project())
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines()[0].endswith(": ok, 1 listener, 1 route, 0 upstreams")
    assert "functions of hooks and handlers: nothing keeps LuaJIT from compiling them" in result.stdout


def test_the_option_may_stand_behind_the_file(project):
    result = run("check", project(), "--jit")
    assert (result.returncode, result.stderr) == (0, "")
    assert "nothing keeps LuaJIT from compiling them" in result.stdout


def test_specs_beside_the_policy_count(project):
    path = project(spec=None)
    (path.parent / "policies/greeting/greeting_spec.lua").write_text(SPEC)
    assert "nothing keeps LuaJIT from compiling them" in run("check", "--jit", path).stdout


def test_a_hook_that_makes_a_function_is_named_with_line_and_reason(project):
    result = run("check", "--jit", project(body="local call = function() return req.path end\n    req.headers['x-a'] = call()"))
    assert result.returncode == 1
    assert "policies/greeting/init.lua:5: makes a function (NYI: bytecode FNEW), in on_request\n" in result.stdout
    assert "    local call = function() return req.path end\n" in result.stdout
    assert "init.lua:10" not in result.stdout  # init() is not hot


def test_a_handler_in_the_configuration_is_looked_at_too(project):
    result = run("check", "--jit", project(handler="local call = function() return req end call()"))
    assert result.returncode == 1
    assert "gateway.lua:5: makes a function (NYI: bytecode FNEW), in handler\n" in result.stdout


def test_a_helper_is_named_with_the_hook_that_calls_it(project):
    body = "helper(req)\nend\n\nfunction helper(req)\n    local call = function() return req.path end\n    call()"
    path = project(body)
    policy = path.parent / "policies/greeting/init.lua"
    policy.write_text(policy.read_text().replace("function Greeting:on", "local helper\nfunction Greeting:on", 1))
    result = run("check", "--jit", path)
    assert result.returncode == 1
    assert "policies/greeting/init.lua:10: makes a function (NYI: bytecode FNEW), in on_request\n" in result.stdout


def test_a_spec_that_fails_comes_first(project):
    result = run("check", "--jit", project(spec=SPEC.replace("status(200)", "status(201)")))
    assert result.returncode == 1
    assert "answers: " in result.stdout and "The specs fail" in result.stdout


def test_without_specs_nothing_can_be_said(project):
    result = run("check", "--jit", project(spec=None))
    assert result.returncode == 1
    assert "there is no spec to run" in result.stderr


def test_specs_that_run_no_hook_are_told(project):
    result = run("check", "--jit", project(spec="it('adds', function() assert.equal(2, 1 + 1) end)"))
    assert result.returncode == 1
    assert "No spec runs a hook or a handler" in result.stdout


def test_a_refused_configuration_is_told_first(project):
    path = project()
    path.write_text("return { polices = {} }")
    result = run("check", "--jit", path)
    assert result.returncode == 1
    assert "did you mean 'policies'?" in result.stderr and result.stdout == ""


@pytest.mark.parametrize("arguments", [["--jit"], ["--jot", "x"], ["--jit", "a", "b"]])
def test_wrong_usage_is_status_2(arguments):
    assert run("check", *arguments).returncode == 2
