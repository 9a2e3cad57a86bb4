# SPDX-License-Identifier: MIT
"""`perigee explain`: the way of a request through a configuration, told without sending it."""

import json
import os
import pty
import re
import subprocess

import pytest

from support.gateway import BINARY, run

CONFIG = """
return {
  listeners = { { address = "127.0.0.1:0" } },
  upstreams = {
    users = { endpoints = { { address = "127.0.0.1:9001", weight = 2 }, "users.invalid:9002" } },
    beta = { endpoints = { "127.0.0.1:9003" }, balance = "random" },
  },
  policies = { "request_id" },
  routes = {
    { name = "rest", reply = { status = 418, body = "teapot" } },
    { name = "write", match = { path = "/users/{id}", methods = { "POST", "PUT" } }, reply = "written" },
    { name = "beta", match = { path = "/users/{id}", headers = { ["x-beta"] = { present = true } } },
      upstream = { { upstream = "users", weight = 9 }, { upstream = "beta", weight = 1 } } },
    { name = "full", match = { path = "/users/{id}", query = { full = "1" } }, handler = function() return reply(200, "full") end },
    { name = "user", match = { path = "/users/{id}" }, upstream = "users", rewrite = { path = "/v2/people/{id}" },
      policies = { { "body_limit", max = "1k", when = { methods = { "GET" } }, dry_run = true, on_failure = "open" } } },
    { name = "moved", match = { host = "*.old.example" }, redirect = { status = 308, location = "https://new.example" } },
    { name = "chosen", match = { path = "/chosen" }, upstream = function() return "beta" end },
  },
}
"""

PLAIN = """
return {
  listeners = { { address = "127.0.0.1:0" } },
  upstreams = { api = { endpoints = { "127.0.0.1:9001" } } },
  routes = {
    { name = "edited", match = { path = "/edited/*" }, upstream = "api", rewrite = { prefix = "/" },
      policies = { { "headers", request = { set = { ["x-a"] = "1" } }, response = { remove = { "server" } } } } },
    { name = "broken", match = { path = "/broken/*" }, upstream = "api", rewrite = { regex = "^(/broken/%)..", to = "$$1" } },
    { name = "slow", match = { path_regex = "^/slow/(a+)+$$" }, upstream = "api" },
    { name = "slow_too", match = { query = { slow = "1" } }, upstream = "api" },
  },
}
"""

SHAPE = ["request", "candidates", "route", "policies", "lua", "edits", "rewrite", "target", "answer"]


@pytest.fixture
def config(folder):
    return folder.write("gateway.lua", CONFIG)


def explain(config, *arguments, status=0):
    result = run("explain", config, *arguments, "--json")
    assert (result.returncode, result.stderr) == (status, ""), result.stderr
    answer = json.loads(result.stdout)
    assert list(answer) == SHAPE
    return answer


def reasons(answer):
    return {c["route"]: c["reason"] for c in answer["candidates"]}


def test_the_request_is_shown_as_routes_see_it(config):
    answer = explain(config, "GET", "http://WWW.Shop.example.:8080/a/../users//%37?x=%41&y")
    assert answer["request"] == {"method": "GET", "host": "www.shop.example", "path": "/users/7", "query": "x=%41&y"}
    assert answer["route"] == {"name": "user", "captures": {"id": "7"}}


def test_every_route_says_why_it_does_not_match(config):
    answer = explain(config, "GET", "/users/7")
    assert reasons(answer) == {"moved": "host", "chosen": "path", "write": "method", "beta": "header", "full": "query", "user": None,
                               "rest": "a route before it matched"}
    order = [c["route"] for c in answer["candidates"]]
    assert order.index("write") < order.index("user") < order.index("rest")
    assert {c["route"]: c["match"] for c in answer["candidates"]}["write"]["methods"] == ["POST", "PUT"]


@pytest.mark.parametrize("arguments, name", [
    (["GET", "/users/7", "-H", "X-Beta: "], "beta"), (["GET", "/users/7", "-HX-Beta:1"], "beta"), (["GET", "/users/7?full=1"], "full"),
    (["PUT", "/users/7"], "write"), (["GET", "/"], "rest"), (["OPTIONS", "*"], "rest"), (["GET", "http://a.old.example"], "moved"),
    (["GET", "/", "-H", "host: A.OLD.example:80"], "moved"), (["GET", "http://b.example/", "-H", "Host: a.old.example"], "rest"),
    (["GET", "http://a.old.example/", "-H", "Host: b.example"], "moved"), (["-H", "x-beta: 1", "--", "GET", "/users/7"], "beta"),
])
def test_the_route_is_the_one_that_would_be_taken(config, arguments, name):
    result = run("explain", "--json", config, *arguments)
    assert json.loads(result.stdout)["route"]["name"] == name


def test_policies_are_told_in_order_with_their_hooks(config):
    answer = explain(config, "GET", "/users/7")
    assert answer["lua"] is True
    assert answer["policies"] == [
        {"name": "request_id", "hooks": ["on_request", "on_response"], "when": False, "dry_run": False, "on_failure": "open"},
        {"name": "body_limit", "hooks": ["on_request"], "when": True, "dry_run": True, "on_failure": "open"},
    ]


def test_the_rewrite_and_the_upstream_are_told(config):
    answer = explain(config, "GET", "/users/7")
    assert answer["rewrite"] == {"from": "/users/7", "to": "/v2/people/7"}
    assert answer["target"]["kind"] == "upstream"
    (upstream,) = answer["target"]["upstreams"]
    assert (upstream["name"], upstream["weight"], upstream["balance"]) == ("users", 1, "round_robin")
    assert upstream["endpoints"] == [{"address": "127.0.0.1:9001", "weight": 2}, {"address": "users.invalid:9002", "weight": 1}]
    assert upstream["timeouts"]["connect_ms"] > 0


def test_a_split_shows_every_upstream(config):
    target = explain(config, "GET", "/users/7", "-H", "x-beta: 1")["target"]
    assert target["kind"] == "split"
    assert [(u["name"], u["weight"], u["balance"]) for u in target["upstreams"]] == [("users", 9, "round_robin"), ("beta", 1, "random")]


@pytest.mark.parametrize("url, kind, member, value", [
    ("/users/7?full=1", "handler", None, None), ("/chosen", "lua", None, None), ("/", "reply", "status", 418),
    ("http://x.old.example/", "redirect", "location", "https://new.example"),
])
def test_other_targets_are_told_by_their_kind(config, url, kind, member, value):
    target = explain(config, "GET", url)["target"]
    assert target["kind"] == kind
    assert target.get(member) == value


def test_header_edits_without_lua_are_told(folder):
    answer = explain(folder.write("gateway.lua", PLAIN), "GET", "/edited/x")
    assert answer["lua"] is False
    assert answer["edits"] == [{"on": "request", "op": "set", "name": "x-a", "value": "1"}, {"on": "response", "op": "remove", "name": "server"}]
    assert answer["rewrite"] == {"from": "/edited/x", "to": "/x"}
    assert answer["answer"] is None


def test_without_a_route_the_reasons_are_told_and_the_status_is_1(folder):
    path = folder.write("gateway.lua", PLAIN)
    answer = explain(path, "GET", "/nowhere", status=1)
    assert reasons(answer) == {"edited": "path", "broken": "path", "slow": "path", "slow_too": "query"}
    assert (answer["route"], answer["policies"], answer["rewrite"], answer["target"]) == (None, [], None, None)
    assert answer["answer"] == {"status": 404, "error": "no_route"}
    assert "The answer is 404 no_route." in run("explain", path, "GET", "/nowhere").stdout


def test_a_rewrite_that_makes_no_path_is_told(folder):
    answer = explain(folder.write("gateway.lua", PLAIN), "GET", "/broken/%c3%a9")
    assert answer["rewrite"] == {"from": "/broken/%C3%A9", "to": None}
    assert answer["answer"] == {"status": 400, "error": "bad_path"}


def test_an_expression_that_costs_too_much_lets_no_other_route_match(folder):
    answer = explain(folder.write("gateway.lua", PLAIN), "GET", "/slow/" + "a" * 5000 + "!?slow=1", status=1)
    assert answer["route"] is None
    assert reasons(answer)["slow"] == "could not be tested"
    assert reasons(answer)["slow_too"] == "a route before it could not be tested"


def test_people_read_the_same(config):
    result = run("explain", config, "GET", "http://shop.example/users/7?x=1")
    assert (result.returncode, result.stderr) == (0, "")
    for line in ["  host      shop.example", "  path      /users/7", "  query     x=1", "  > user (/users/{id}): matches",
                 "    write (POST,PUT /users/{id}): another method", "    rest (any path): a route before it matched", "  capture   id = 7",
                 "  policy    request_id: on_request, on_response; fails open",
                 "  policy    body_limit: on_request; only when its condition holds; dry run; fails open",
                 "  rewrite   /users/7 -> /v2/people/7", "    endpoint  127.0.0.1:9001, weight 2"]:
        assert line in result.stdout.splitlines()
    assert "Nothing in Lua was run" in result.stdout
    assert "\033" not in result.stdout


def test_colour_is_for_a_terminal_only(config):
    ours, theirs = pty.openpty()
    env = dict(os.environ, TERM="xterm")
    env.pop("NO_COLOR", None)
    subprocess.run([BINARY, "explain", config, "GET", "/users/7"], stdin=subprocess.DEVNULL, stdout=theirs, env=env, check=True)
    os.close(theirs)
    shown = os.read(ours, 65536)
    os.close(ours)
    assert b"\033[32m" in shown


def test_nothing_is_run(folder):
    folder.write("policies/loud/init.lua", """
local perigee = require "perigee"
local Loud = perigee.policy { name = "loud", stage = "traffic" }
function Loud:init() error("init ran") end
function Loud:on_request() error("a hook ran") end
return Loud
""")
    path = folder.write("gateway.lua", """return {
        listeners = { { address = "127.0.0.1:0" } }, routes = { { name = "r", policies = { "loud" }, handler = function() error("ran") end } },
    }""")
    assert explain(path, "GET", "/")["route"]["name"] == "r"


def test_a_refused_configuration_is_told_as_by_check(folder):
    path = folder.write("gateway.lua", 'return {\n  listeners = { { adress = "127.0.0.1:0" } },\n}')
    result = run("explain", path, "GET", "/")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == run("check", path).stderr != ""


def test_what_only_the_routes_themselves_find_out_is_told_with_the_file(folder):
    path = folder.write("gateway.lua", PLAIN.replace("..\", to = \"$$1", "(.*)\", to = \"/%$$1"))
    result = run("explain", path, "GET", "/")
    assert (result.returncode, result.stdout) == (1, "")
    assert re.match(re.escape(str(path)) + r":\d+: routes\[2\]\.rewrite: ", result.stderr), result.stderr


def test_secrets_are_not_shown(folder):
    path = folder.write("gateway.lua", """return {
        listeners = { { address = "127.0.0.1:0" } },
        routes = { { reply = "a", policies = { { "key_auth", keys = { ["hunter2-hunter2"] = "ann" } } } } },
    }""")
    arguments = ("GET", "/", "-H", "Authorization: Basic c2VjcmV0")
    result = run("explain", path, *arguments)
    shown = result.stdout + run("explain", path, *arguments, "--json").stdout
    assert result.returncode == 0, result.stderr
    assert "key_auth" in shown and "hunter2" not in shown and "c2VjcmV0" not in shown


# ---------------------------------------------------------------- what is not understood


@pytest.mark.parametrize("method, url, says", [
    ("GET", "/a%2fb", "400 bad_path"), ("GET", "/%00", "400 bad_path"), ("GET", "/%4", "400 bad_path"), ("GET", "/a#b", "400 bad_"),
    ("GET", "/a\\b", "400 bad_path"), ("GET", "ftp://a/", "400 bad_"), ("GET", "http://", "400 bad_"), ("GET", "http://a:99999/", "400 bad_"),
    ("GET", "http://u@a/", "400 bad_"), ("GET", "*", "400 bad_path"), ("GET", "shop.example/x", "400 bad_"), ("FROB", "/", "501 method_not_implemented"),
    ("CONNECT", "a:80", "501 method_not_implemented"), ("get", "/", "501 method_not_implemented"), ("GET", "/" + "a" * 20000, "414 uri_too_long"),
    ("GET", "/a b", "is no URL"), ("GET", "/\r\nX-A: 1", "is no URL"), ("GET", "", "is no URL"), ("GET", "/\x7f", "is no URL"),
    ("", "/", "is no method"), ("GET /x HTTP/1.1\r\n", "/", "is no method"), ("G(T", "/", "is no method"),
])
def test_a_request_that_no_route_sees_is_refused(config, method, url, says):
    result = run("explain", config, method, url)
    assert (result.returncode, result.stdout) == (2, "")
    assert says in result.stderr, result.stderr


@pytest.mark.parametrize("header, says", [
    ("", "is no header"), ("x-a", "is no header"), (": 1", "is no header"), ("x a: 1", "is no header"), ("x-a : 1", "is no header"), ("x-a: 1\r\nx-b: 2", "is no header"),
    ("x-a: \x01", "is no header"), ("x-a\n: 1", "is no header"), ("Host: a b", "400 bad_host"), ("Host:", "400 bad_host"), ("Content-Length: x", "400 "),
    ("x-a: " + "a" * 100000, "431 headers_too_large"),
])
def test_a_header_that_nobody_can_send_is_refused(config, header, says):
    result = run("explain", config, "GET", "/", "-H", header)
    assert (result.returncode, result.stdout) == (2, "")
    assert says in result.stderr, result.stderr


def test_two_hosts_are_refused(config):
    result = run("explain", config, "GET", "/", "-H", "Host: a", "-H", "host: b")
    assert result.returncode == 2
    assert "400 bad_host" in result.stderr


@pytest.mark.parametrize("arguments, says", [
    ([], "which configuration"), (["FILE"], "which method"), (["FILE", "GET"], "which URL"), (["FILE", "GET", "/", "more"], "one argument too many"),
    (["FILE", "GET", "/", "-H"], "-H needs a header"), (["FILE", "GET", "/", "--frobnicate"], "no option '--frobnicate'"),
    (["FILE", "GET", "/"] + ["-H", "a: b"] * 101, "more than 100 headers"),
])
def test_wrong_usage_is_status_2(config, arguments, says):
    result = run("explain", *[config if word == "FILE" else word for word in arguments])
    assert (result.returncode, result.stdout) == (2, "")
    assert says in result.stderr
    assert "perigee explain --help" in result.stderr


def test_control_bytes_of_names_do_not_reach_the_terminal(folder):
    path = folder.write("gateway.lua", r"""return {
        listeners = { { address = "127.0.0.1:0" } }, routes = { { name = "a\27[31m", match = { path = "/a" }, reply = "a" } },
    }""")
    result = run("explain", path, "GET", "/a")
    assert "\033" not in result.stdout + result.stderr
