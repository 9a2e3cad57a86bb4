# SPDX-License-Identifier: MIT
"""The command line: help, exit statuses, and messages that say what is wrong and what to do."""

import json
import os
import pty
import re
import subprocess

import pytest

from support import wait
from support.gateway import BINARY, Gateway, run

COMMANDS = ["run", "gateway", "sidecar", "dev", "check", "test", "explain", "new", "stubs", "reload", "rollback", "generations", "status", "drain", "record", "replay", "version"]

GOOD = """
return {
  listeners = { { address = "127.0.0.1:0" } },
  admin = "unix:$dir/admin.sock",
  access_log = "off",
  workers = 1,
  routes = { { name = "a", match = { path = "/a" }, reply = "a" }, { name = "b", match = { path = "/b" }, reply = "b" } },
}
"""


# ---------------------------------------------------------------- help


@pytest.mark.parametrize("word", ["--help", "-h", "help"])
def test_help_lists_every_command(word):
    result = run(word)
    assert (result.returncode, result.stderr) == (0, "")
    listed = re.findall(r"^  (\w+) +\S", result.stdout, re.M)
    assert listed == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command):
    result = run(command, "--help")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith(f"usage: perigee {command}")
    assert len(result.stdout.splitlines()) >= 3


def test_without_a_command_the_help_is_an_error():
    result = run()
    assert (result.returncode, result.stdout) == (2, "")
    assert "usage: perigee COMMAND" in result.stderr


@pytest.mark.parametrize("typo, meant", [("rn", "run"), ("chekc", "check"), ("relaod", "reload"), ("stauts", "status"), ("versoin", "version"), ("rolback", "rollback"), ("Check", "check")])
def test_a_typo_gets_the_nearest_command(typo, meant):
    result = run(typo)
    assert result.returncode == 2
    assert f"did you mean '{meant}'?" in result.stderr


def test_what_is_near_nothing_gets_the_list():
    result = run("frobnicate")
    assert result.returncode == 2
    assert "did you mean" not in result.stderr
    assert "--help" in result.stderr


@pytest.mark.parametrize("arguments", [
    ["run"], ["check"], ["run", "--frobnicate", "x"], ["run", "a", "b"], ["reload", "x"], ["reload", "--admin"], ["status", "--frobnicate"], ["rollback", "1", "2"],
    ["rollback", "one"], ["drain", "now"],
])
def test_wrong_usage_is_status_2_and_says_where_to_look(arguments):
    result = run(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("perigee: ")
    assert "--help" in result.stderr


def test_version_names_itself_and_its_libraries():
    result = run("version")
    assert result.returncode == 0
    versions = dict(line.split(None, 1) for line in result.stdout.splitlines())
    assert {"perigee", "LuaJIT", "libuv", "llhttp", "OpenSSL", "jansson", "c-ares", "PCRE2"} <= set(versions)
    assert all(re.search(r"\d+\.\d+", version) for version in versions.values())
    assert run("--version").stdout == result.stdout


# ---------------------------------------------------------------- check


def test_check_praises_a_good_file(folder):
    path = folder.write("gateway.lua", GOOD)
    result = run("check", path)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == f"{path}: ok, 1 listener, 2 routes, 0 upstreams\n"


def test_check_prints_every_error_with_its_place(folder):
    path = folder.write("gateway.lua", """
return {
  admin = "0.0.0.0:9901",
  listeners = { { adress = "127.0.0.1:0" } },
  workers = "many",
  upstreams = { users = { endpoints = { "nohost" }, balance = "fair" } },
  policies = { "no_such_policy" },
  routes = {
    { match = { path = "/a" }, upstream = "usres" },
    { match = { path = "no-slash" }, reply = "x" },
    { match = { path = "/b" }, reply = "x", handler = function() end },
  },
}
""")
    result = run("check", path)
    assert (result.returncode, result.stdout) == (1, "")
    errors = re.findall(r"^(\S+):(\d+): (\S+): (.+)$", result.stderr, re.M)
    assert {file for file, _, _, _ in errors} == {str(path)}
    found = {(int(line), where) for _, line, where, _ in errors}
    expected = {(3, "admin"), (4, "listeners[1].adress"), (5, "workers"), (6, "upstreams.users.balance.type"), (10, "routes[2].match.path")}
    assert expected <= found, result.stderr
    assert "did you mean 'address'?" in result.stderr
    assert len(errors) == len(result.stderr.splitlines()), "nothing else is printed"


def test_check_finds_wrong_references(folder):
    path = folder.write("gateway.lua", """
return {
  upstreams = { users = { endpoints = { "127.0.0.1:1" } } },
  policies = { "no_such_policy" },
  routes = {
    { name = "same", match = { path = "/a" }, upstream = "usres" },
    { name = "same", match = { path = "/{id}/{id}" }, upstream = "users" },
  },
}
""")
    result = run("check", path)
    assert result.returncode == 1
    for text in ("4: policies[1]", "no_such_policy", "6: routes[1].upstream", "did you mean 'users'?", "7: routes[2]"):
        assert text in result.stderr


def test_check_finds_what_only_the_routes_themselves_refuse(folder):
    path = folder.write("gateway.lua", """return {
  upstreams = { one = { endpoints = { "127.0.0.1:1" } } },
  routes = { { match = { path = "/a/*" }, rewrite = { regex = "^/a(.*)", to = "/$$9" }, upstream = "one" } },
}""", none="")
    result = run("check", path)
    assert result.returncode == 1
    assert result.stderr.startswith(f"{path}:3: routes[1].rewrite: ") and "'$' in '/$9'" in result.stderr


def test_check_suggests_the_policies_beside_the_file_too(folder):
    folder.write("policies/greeting/init.lua", "return {}")
    path = folder.write("gateway.lua", 'return { routes = { { reply = "x", policies = { "greting" } } } }')
    result = run("check", path)
    assert result.returncode == 1
    assert "there is no policy 'greting'; did you mean 'greeting'?" in result.stderr


def test_check_names_the_line_of_a_syntax_error(folder):
    path = folder.write("gateway.lua", "return {\n  routes = {\n    { match = },\n  },\n}\n")
    result = run("check", path)
    assert result.returncode == 1
    assert result.stderr.startswith(f"{path}:3: ")


def test_check_names_the_file_and_line_of_a_failing_module(folder):
    path = folder.write("gateway.lua", 'local words = require "words"\nreturn { routes = {} }\n')
    folder.write("words.lua", "local x\nreturn x.y\n")
    result = run("check", path)
    assert result.returncode == 1
    assert "words.lua:2: " in result.stderr


def test_check_understands_json(folder):
    good = folder.write("good.json", '{"routes": [{"match": {"path": "/a"}, "reply": "x"}]}')
    assert run("check", good).returncode == 0
    bad = folder.write("bad.json", '{\n "routes": [\n  {"match": {"path": "/a"}, "rply": "x"}\n ]\n}')
    result = run("check", bad)
    assert result.returncode == 1
    assert f"{bad}:3: routes[1].rply: " in result.stderr
    broken = folder.write("broken.json", '{"routes": [}')
    assert run("check", broken).returncode == 1


def test_check_bounds_an_endless_file(folder):
    path = folder.write("gateway.lua", "while true do end\n")
    result = run("check", path)
    assert result.returncode == 1
    assert result.stderr


def test_check_of_a_file_that_does_not_exist(folder):
    result = run("check", folder.path / "nothing.lua")
    assert result.returncode == 1
    assert "nothing.lua" in result.stderr


def test_secrets_are_not_in_messages(folder):
    folder.write("key.txt", "hunter2\n")
    path = folder.write("gateway.lua", """
return {
  policies = { { "key_auth", keys = file "key.txt", headr = "x" } },
  routes = { { match = { path = "/a" }, reply = "x" } },
}
""")
    result = run("check", path)
    assert result.returncode == 1
    assert "hunter2" not in result.stdout + result.stderr


def test_a_file_may_be_named_absolutely(folder):
    secret = folder.write("elsewhere/secret.txt", "text of the file")
    path = folder.write("inside/gateway.lua", f'return {{ routes = {{ {{ reply = file "{secret}" }} }} }}')
    assert run("check", path).returncode == 0
    path = folder.write("inside/gateway.lua", f'return {{ routes = {{ {{ reply = file "{secret}.gone" }} }} }}')
    result = run("check", path)
    assert (result.returncode, f"{secret}.gone" in result.stderr) == (1, True)


@pytest.mark.parametrize("script", [
    'io.open("/etc/passwd")', 'os.execute("true")', 'require "ffi"', 'debug.getinfo(1)', 'jit.off()', 'package.loadlib("x", "y")', 'loadstring("\\27LJ")()', 'string.dump(print)',
    'require "../../secret"',  'file "../outside"', 'x = 1', 'getmetatable("").__index = nil', 'collectgarbage("stop")',
])
def test_a_configuration_is_in_the_sandbox(folder, script):
    path = folder.write("inside/gateway.lua", f'{script}\nreturn {{ routes = {{ {{ reply = "x" }} }} }}\n')
    folder.write("outside", "secret")
    folder.write("secret.lua", "return 1")
    assert run("check", path).returncode == 1


# ---------------------------------------------------------------- talking to a gateway


@pytest.fixture(scope="module")
def gateway():
    with Gateway(GOOD, values={"a": "b"}) as started:
        yield started


def test_status_is_a_table_or_json(gateway):
    plain = gateway.command("status")
    assert plain.returncode == 0
    assert "generation 1" in plain.stdout
    assert str(gateway.workers()[0]) in plain.stdout
    as_json = gateway.command("status", "--json")
    assert json.loads(as_json.stdout)["generation"] >= 1


def test_the_admin_address_may_come_from_the_environment(gateway):
    result = run("status", env={**os.environ, "PERIGEE_ADMIN": gateway.admin})
    assert result.returncode == 0


@pytest.mark.parametrize("command", ["status", "reload", "rollback", "drain"])
@pytest.mark.parametrize("admin", ["127.0.0.1:1", "unix:/nowhere/admin.sock", "nonsense"])
def test_a_gateway_that_is_not_there_is_named(command, admin):
    result = run(command, "--admin", admin)
    assert result.returncode in (1, 2)
    assert result.stderr.startswith("perigee: ")
    assert admin in result.stderr


def terminal(*arguments):
    """What a command prints to a terminal."""
    master, slave = pty.openpty()
    process = subprocess.Popen([BINARY, *map(str, arguments)], stdin=slave, stdout=slave, stderr=slave, cwd="/",
                               env={**os.environ, "TERM": "xterm", "NO_COLOR": ""})
    os.close(slave)
    data = b""
    try:
        while (part := os.read(master, 65536)):
            data += part
    except OSError:
        pass  # the end of a terminal
    os.close(master)
    process.wait(wait.PATIENCE)
    return data.decode()


def test_colour_is_for_terminals_only(folder, gateway):
    good, missing = folder.write("good.lua", GOOD), folder.path / "missing.lua"
    for arguments in (["--help"], ["check", good], ["frobnicate"], ["status", "--admin", gateway.admin], ["check", missing]):
        plain = run(*arguments)
        assert "\033" not in plain.stdout + plain.stderr
    assert "\033[" in terminal("--help")
    assert "\033[" in terminal("frobnicate")


def test_no_color_is_respected():
    master, slave = pty.openpty()
    result = subprocess.run([BINARY, "--help"], stdout=slave, check=False, env={**os.environ, "TERM": "xterm", "NO_COLOR": "1"})
    os.close(slave)
    assert result.returncode == 0
    assert b"\033" not in os.read(master, 65536)
    os.close(master)


def test_control_bytes_in_a_file_do_not_reach_the_terminal(folder):
    path = folder.write("gateway.lua", 'return { ["\\27[31mred"] = 1, routes = {} }')
    result = run("check", path)
    assert result.returncode == 1
    assert "\033" not in result.stderr
