# SPDX-License-Identifier: MIT
"""`perigee explain`, POST /explain and `x-perigee-explain`: the way of a request and what is decided about it."""

import errno
import json
import os
import pty
import re
import subprocess
import time

import pytest

from support import client, wait
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

SHAPE = ["generation", "request", "candidates", "route", "policies", "lua", "edits", "target", "decisions", "rewrite", "sent", "answer",
         "late", "cut"]


@pytest.fixture
def config(folder):
    return folder.write("gateway.lua", CONFIG)


def explain(config, *arguments, status=0):
    result = run("explain", config, *arguments, "--json")
    assert result.returncode == status, result.stderr
    assert "perigee: " not in result.stderr
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
    assert (answer["answer"]["status"], answer["answer"]["error"]) == (404, "no_route")
    assert "The answer is 404 no_route, flags NR.\n" in run("explain", path, "GET", "/nowhere").stdout


def test_a_rewrite_that_makes_no_path_is_told(folder):
    answer = explain(folder.write("gateway.lua", PLAIN), "GET", "/broken/%c3%a9")
    assert answer["rewrite"] == {"from": "/broken/%C3%A9", "to": None}
    assert (answer["answer"]["status"], answer["answer"]["error"], answer["sent"]) == (400, "bad_path", None)


def test_an_expression_that_costs_too_much_lets_no_other_route_match(folder):
    answer = explain(folder.write("gateway.lua", PLAIN), "GET", "/slow/" + "a" * 5000 + "!?slow=1", status=1)
    assert answer["route"] is None
    assert reasons(answer)["slow"] == "could not be tested"
    assert reasons(answer)["slow_too"] == "a route before it could not be tested"


def test_people_read_the_same(config):
    result = run("explain", config, "GET", "http://shop.example/users/7?x=1")
    assert result.returncode == 0, result.stderr
    for line in ["  host      shop.example", "  path      /users/7", "  query     x=1", "  > user (/users/{id}): matches",
                 "    write (POST,PUT /users/{id}): another method", "    rest (any path): a route before it matched", "  capture   id = 7",
                 "  policy    request_id: on_request, on_response; fails open",
                 "  policy    body_limit: on_request; only when its condition holds; dry run; fails open",
                 "Rewrite /users/7 -> /v2/people/7", "    endpoint  127.0.0.1:9001, weight 2", "  body_limit when: holds: it runs",
                 "  GET /v2/people/7?x=1", "  x-forwarded-host: shop.example"]:
        assert any(shown == line or shown.startswith(line + ",") for shown in result.stdout.splitlines()), line
    assert "\033" not in result.stdout


def read_terminal(fd):
    """All that was written to a terminal whose other end is closed: Linux says that with EIO."""
    shown = b""
    with os.fdopen(fd, "rb", buffering=0) as terminal:
        try:
            while part := terminal.read(65536):
                shown += part
        except OSError as error:
            assert error.errno == errno.EIO
    return shown


def test_colour_is_for_a_terminal_only(config):
    ours, theirs = pty.openpty()
    env = dict(os.environ, TERM="xterm")
    env.pop("NO_COLOR", None)
    subprocess.run([BINARY, "explain", config, "GET", "/users/7"], stdin=subprocess.DEVNULL, stdout=theirs, env=env, check=True)
    os.close(theirs)
    shown = read_terminal(ours)
    assert b"\033[32m" in shown


LOUD = """
local perigee = require "perigee"
local Loud = perigee.policy { name = "loud", stage = "traffic" }
%s
return Loud
"""


def loud(folder, code, route='handler = function(req) return reply(200, "body " .. (req.body:read() or "")) end', top=""):
    folder.write("policies/loud/init.lua", LOUD % code)
    return folder.write("gateway.lua", """return {
        listeners = { { address = "127.0.0.1:0" } }, upstreams = { api = { endpoints = { "127.0.0.1:9001" } } }, %s
        routes = { { name = "r", policies = { "loud" }, %s } },
    }""" % (top, route))


def hooks(answer):
    return [(d.get("policy"), d["hook"], d["result"]) for d in answer["decisions"]]


def test_each_decision_is_told(folder):
    path = loud(folder, """function Loud:on_request(req) req.headers["x-a"] = "1" req.headers.authorization = "Bearer hunter2" end
        function Loud:on_response(req, res) res.status = 201 end""")
    answer = explain(path, "POST", "/", "-d", "hello")
    assert hooks(answer) == [("loud", "on_request", "continue"), (None, "handler", "answer"), ("loud", "on_response", "continue")]
    assert answer["decisions"][0]["changes"] == [{"what": "req.headers.authorization", "to": "(masked)"}, {"what": "req.headers.x-a", "to": "1"}]
    assert all(d["us"] >= 0 for d in answer["decisions"])
    assert (answer["answer"]["status"], answer["answer"]["body"], answer["answer"]["error"]) == (201, "body hello", None)
    assert answer["sent"] is None


def test_what_the_upstream_would_get_is_told(folder):
    path = loud(folder, """function Loud:on_request(req) req.path, req.query = "/x", "token=hunter2" end
        function Loud:on_upstream(req, attempt) req.headers["x-number"] = attempt.number end
        function Loud:on_request_body(req, chunk, last) if last then req.ctx.seen = true end return chunk:upper() end
        function Loud:on_log() error "it is not logged" end""", 'upstream = "api"')
    answer = explain(path, "POST", "http://a.example/", "-dhello", "-H", "Cookie: hunter2", "--client", "203.0.113.9")
    assert hooks(answer) == [("loud", "on_request", "continue"), ("loud", "on_upstream", "continue"), ("loud", "on_request_body", "replace")]
    sent = answer["sent"]
    assert (sent["upstream"], sent["endpoint"], sent["method"], sent["host"], sent["path"]) == ("api", "127.0.0.1:9001", "POST", "a.example", "/x")
    headers = {h["name"]: h["value"] for h in sent["headers"]}
    assert (headers["x-number"], headers["cookie"], headers["x-forwarded-for"]) == ("1", "(masked)", "203.0.113.9")
    assert answer["answer"] is None
    assert "not logged" not in run("explain", path, "GET", "/").stderr


def test_around_is_told_up_to_next(folder):
    path = loud(folder, 'function Loud:around(req, next) req.path = "/y" return next(req) end', 'upstream = "api"')
    answer = explain(path, "POST", "/", "-d", "hello")
    assert hooks(answer) == [("loud", "around", "next")]
    assert answer["sent"]["path"] == "/y"


def test_a_failure_is_told_with_its_place(folder):
    answer = explain(loud(folder, "function Loud:on_request(req) error 'no' end"), "GET", "/")
    assert answer["decisions"][0]["result"] == "fail"
    assert answer["decisions"][0]["message"] == "policies/loud/init.lua:4: no"
    assert (answer["answer"]["status"], answer["answer"]["error"]) == (503, "policy_failed")


def test_time_stands_still_for_those_who_wait(folder):
    answer = explain(loud(folder, "function Loud:on_request(req) perigee.sleep(9) return perigee.reply(202) end"), "GET", "/")
    assert (answer["answer"]["status"], answer["late"]) == (202, False)


def test_a_hook_that_never_decides_is_told(folder):
    path = loud(folder, "function Loud:on_request(req) perigee.sleep(1000) end")
    answer = explain(path, "GET", "/")
    assert (answer["late"], answer["answer"], answer["sent"]) == (True, None, None)
    assert "still waits" in run("explain", path, "GET", "/").stdout


def test_nothing_leaves_the_process(folder, origin):
    code = """function Loud:on_request(req)
        local res, message = perigee.http.fetch("http://%s/")
        return perigee.reply(200, tostring(res) .. " " .. tostring(message))
    end""" % origin.address
    answer = explain(loud(folder, code), "GET", "/")
    assert answer["answer"]["body"].startswith("nil "), answer["answer"]
    assert origin.heads == []


def test_no_file_is_written(folder):
    log = folder.path / "access.log"
    explain(loud(folder, "function Loud:on_request() end", top='access_log = "%s",' % log), "GET", "/")
    assert not log.exists()


def test_tokens_are_held_against_the_clock_of_the_machine(folder):
    answer = explain(loud(folder, "function Loud:on_request(req) return perigee.reply(200, tostring(perigee.time.now())) end"), "GET", "/")
    assert abs(float(answer["answer"]["body"]) - time.time()) < 60


def test_init_runs_and_may_refuse(folder):
    path = loud(folder, "function Loud:init() error 'not today' end function Loud:on_request() end")
    result = run("explain", path, "GET", "/")
    assert (result.returncode, result.stdout) == (1, "")
    assert "not today" in result.stderr


def test_a_dry_run_says_what_it_would_have_done(folder):
    folder.write("policies/loud/init.lua", LOUD % 'function Loud:on_request(req) req.path = "/x" return perigee.reply(403) end')
    path = folder.write("gateway.lua", """return {
        listeners = { { address = "127.0.0.1:0" } }, routes = { { policies = { { "loud", dry_run = true } }, reply = "fine" } },
    }""")
    answer = explain(path, "GET", "/")
    (decision,) = answer["decisions"]
    assert decision["would"] == {"status": 403, "changes": [{"what": "req.path", "from": "/", "to": "/x"}]}
    assert answer["answer"]["body"] == "fine"
    shown = run("explain", path, "GET", "/").stdout
    assert "would have answered 403" in shown and "req.path: / -> /x" in shown


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
    (["FILE", "GET", "/"] + ["-H", "a: b"] * 101, "more than 100 headers"), (["FILE", "GET", "/", "-d"], "-d needs a body"),
    (["FILE", "GET", "/", "--client"], "--client needs an address"), (["FILE", "GET", "/", "--client", "ann"], "no IP address"),
    (["--admin"], "--admin needs an address"), (["--admin", "127.0.0.1:1"], "which method"), (["--admin", "127.0.0.1:1", "GET"], "which URL"),
    (["--admin=127.0.0.1:1", "FILE", "GET", "/"], "one argument too many"),
])
def test_wrong_usage_is_status_2(config, arguments, says):
    result = run("explain", *[config if word == "FILE" else word for word in arguments])
    assert (result.returncode, result.stdout) == (2, "")
    assert says in result.stderr
    assert "perigee explain --help" in result.stderr


LIMITED = """
return {
  listeners = { { address = "127.0.0.1:0" } },
  upstreams = {
    api = { endpoints = { { "127.0.0.1:9001", labels = { version = "v1" } },
                          { "127.0.0.1:9002", zone = "b", priority = 1, labels = { version = "v2" } } } },
  },
  routes = {
    { name = "v2", match = { path = "/v2" }, upstream = "api", labels = { version = "v2" } },
    { name = "any", upstream = function(req) return "api", { version = req.headers["x-version"] } end },
  },
}
"""


def test_people_read_why_an_endpoint_was_chosen_or_none(folder):
    path = folder.write("gateway.lua", LIMITED)
    chosen = run("explain", path, "GET", "/v2").stdout
    assert "    endpoint  127.0.0.1:9001, weight 1, version=v1\n" in chosen
    assert "    endpoint  127.0.0.1:9002, weight 1, priority 1, zone b, version=v2\n" in chosen
    assert "Upstream api at 127.0.0.1:9002 (round_robin among 1 of 2 endpoints of priority 1 with version=v2) would get\n" in chosen
    lacking = run("explain", path, "GET", "/", "-H", "x-version: v3").stdout
    assert re.search(r"The answer is 503 no_endpoint, flags UH\.\n  choice: none of 2 endpoints of priority \d with version=v3\n", lacking)
    answer = explain(path, "GET", "/", "-H", "x-version: v3")["answer"]
    assert answer["flags"] == "UH" and answer["choice"].startswith("none of 2 endpoints")
    assert explain(path, "GET", "/v2")["answer"] is None


def test_control_bytes_of_names_do_not_reach_the_terminal(folder):
    path = folder.write("gateway.lua", r"""return {
        listeners = { { address = "127.0.0.1:0" } }, routes = { { name = "a\27[31m", match = { path = "/a" }, reply = "a" } },
    }""")
    result = run("explain", path, "GET", "/a")
    assert "\033" not in result.stdout + result.stderr


# ---------------------------------------------------------------- a running proxy

SERVED = """
return {
  listeners = { { address = "127.0.0.1:0" } }, admin = "unix:$dir/admin.sock", workers = $workers, access_log = "off",
  explain = { token = "a-token-of-some-length" },
  upstreams = { api = { endpoints = { "$origin" } } },
  routes = {
    { name = "limited", match = { path = "/limited" }, policies = { { "rate_limit", limit = 1, window = "1h", by = "route" } }, upstream = "api" },
    { name = "waits", match = { path = "/waits" }, handler = function()
        require("perigee").log.info("asked")
        require("perigee").sleep(1000)
    end },
    { name = "api", upstream = "api" },
  },
}
"""


@pytest.fixture(params=[0, 2], ids=["single", "workers"])
def served(request, launch, origin):
    return launch(SERVED, values={"workers": str(request.param), "origin": origin.address})


def post(gateway, text):
    response = client.fetch(gateway.admin, "POST", "/explain", [("Host", "localhost")], text.encode())
    return response.status, json.loads(response.body)


def start_explain(gateway, url):
    return subprocess.Popen([BINARY, "explain", "--admin", gateway.admin, "GET", url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_running_proxy_explains(served, origin):
    status, answer = post(served, json.dumps({"url": "http://a.example/x", "headers": {"x-a": ["1", "2"]}, "client": "203.0.113.9"}))
    assert status == 200 and list(answer) == SHAPE
    assert (answer["route"]["name"], answer["generation"], answer["request"]["method"]) == ("api", 1, "GET")
    assert [h["value"] for h in answer["sent"]["headers"] if h["name"] == "x-a"] == ["1", "2"]
    assert origin.heads == []


def test_it_runs_for_real_in_there(served):
    statuses = []
    for _ in range(2):
        answer = post(served, '{"url": "/limited"}')[1]
        statuses.append(answer["answer"] and answer["answer"]["status"])
    assert statuses == [None, 429]
    assert served.get("/limited").status == 429


def test_it_counts_as_no_request(served):
    post(served, '{"url": "/x"}')
    assert 'perigee_requests_total{route="api"' not in served.ask("GET", "/metrics").text()


def test_the_command_asks_a_running_proxy(served):
    arguments = ("GET", "http://a.example/x?y=1", "-H", "a: 1", "-H", "A: 2", "-d", "body")
    result = run("explain", "--admin", served.admin, *arguments, "--json")
    assert result.returncode == 0, result.stderr
    answer = json.loads(result.stdout)
    assert list(answer) == SHAPE
    assert [h["value"] for h in answer["sent"]["headers"] if h["name"] == "a"] == ["1", "2"]
    shown = run("explain", "--admin=" + served.admin, *arguments).stdout
    assert "Upstream api at" in shown and "  > api (any path): matches" in shown


def test_it_follows_a_reload(served):
    served.reload(SERVED.replace('name = "api", upstream', 'name = "renamed", upstream'))
    answer = post(served, '{"url": "/x"}')[1]
    assert (answer["route"]["name"], answer["generation"]) == ("renamed", 2)


WRONG = [
    ("", "line 1"), ("{", "line 1"), ("[]", "expected a JSON object"), ("{}", "there is no 'url'"), ('{"url": 7}', "'url' is of another type"),
    ('{"url": "/", "colour": "red"}', "'colour' is no member"), ('{"url": "/", "headers": ["a"]}', "'headers' is of another type"),
    ('{"url": "/", "headers": {"a": 1}}', "values that are no strings"), ('{"url": "/", "headers": {"a b": "1"}}', "is no header"),
    ('{"url": "/", "headers": {"a": "1\\r\\nb: 2"}}', "is no header"), ('{"url": "/%zz"}', "400 bad_path"), ('{"url": "/", "method": "G T"}', "is no method"),
    ('{"url": "/", "client": "ann"}', "no IP address"), ('{"url": "/", "headers": {"a": [%s]}}' % ", ".join(['"x"'] * 101), "more than 100"),
]


def test_what_is_no_request_is_refused(served):
    for text, says in WRONG:
        status, problem = post(served, text)
        assert (status, says in problem["detail"]) == (400, True), (text, problem)
    assert post(served, '{"url": "/", "body": "%s"}' % ("x" * 70000))[0] == 413
    assert post(served, '{"url": "/x"}')[0] == 200


def test_the_command_tells_why_it_was_refused():
    result = run("explain", "--admin", "127.0.0.1:1", "GET", "/")
    assert result.returncode == 1
    assert "cannot reach the admin interface" in result.stderr


def test_a_worker_that_ends_is_told(launch, origin):
    gateway = launch(SERVED, values={"workers": "1", "origin": origin.address})
    waiting = start_explain(gateway, "/waits")
    wait.until(lambda: "asked" in gateway.errors, "a worker was asked")
    (pid,) = gateway.workers()
    os.kill(pid, 9)
    out, errors = waiting.communicate(timeout=wait.PATIENCE)
    assert (waiting.returncode, out) == (1, "")
    assert "has ended, or does not answer" in errors
    gateway.wait_replaced(pid)
    assert post(gateway, '{"url": "/x"}')[0] == 200


def test_whoever_asks_may_go_away(served):
    waiting = start_explain(served, "/waits")
    wait.until(lambda: "asked" in served.errors, "a worker was asked")
    waiting.kill()
    waiting.communicate()
    assert post(served, '{"url": "/x"}')[0] == 200


def test_an_end_in_the_middle_is_clean(served):
    waiting = start_explain(served, "/waits")
    wait.until(lambda: "asked" in served.errors, "a worker was asked")
    served.stop()
    assert waiting.wait(wait.PATIENCE) == 1
    waiting.communicate()


def test_a_live_request_with_the_token_is_explained(served, origin):
    response = served.get("/x", [("X-Perigee-Explain", "a-token-of-some-length")])
    trace = json.loads(response.headers.get("x-perigee-explain"))
    assert (trace["route"], trace["status"], trace["attempts"][0]["endpoint"]) == ("api", 200, origin.address)
    assert served.get("/x", [("X-Perigee-Explain", "another")]).headers.get("x-perigee-explain") is None
    assert len(origin.heads) == 2 and all(request.headers.get("x-perigee-explain") is None for request in origin.heads)
    shown = served.ask("GET", "/routes").text() + served.ask("GET", "/generations").text() + served.errors
    assert "a-token-of-some-length" not in shown
