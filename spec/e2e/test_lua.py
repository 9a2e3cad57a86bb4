# SPDX-License-Identifier: MIT
"""Handlers and policies in the running proxy: what they can do, what their failure means, and that waiting blocks nobody."""

import json
import threading

import pytest

from support import http1, wait
from support.checks import check_problem
from support.gateway import Gateway
from support.metrics import Metrics
from support.upstream import Seen, describe, free_address

CONFIG = """
local perigee = require "perigee"
local greeting = require "words.greeting"

return {
  admin = "unix:$dir/admin.sock",
  access_log = "$dir/access.log",
  workers = 1,
  listeners = { { address = "127.0.0.1:0" } },
  upstreams = {
    origin = { endpoints = { "$origin" } },
    other = { endpoints = { "$origin" } },
    nobody = { endpoints = { "$nobody" } },
  },
  routes = {
    { name = "hello", match = { path = "/hello/{name}" }, handler = function(req)
        return reply(200, greeting .. ", " .. req.params.name .. "\\n")
      end },
    { name = "json", match = { path = "/json" }, handler = function(req)
        local value, message = req.body:json()
        if value == nil then return reply(400, message) end
        return reply(201, { sum = value.a + value.b, method = req.method, q = req.query:get "q" }, { ["x-made"] = "here" })
      end },
    { name = "raises", match = { path = "/raises" }, handler = function() error "on purpose" end },
    { name = "nothing", match = { path = "/nothing" }, handler = function() end },
    { name = "sleeps", match = { path = "/sleeps" }, handler = function() perigee.sleep(0.5) return reply(200, "slept") end },
    { name = "fetches", match = { path = "/fetches" }, handler = function()
        local res, message = perigee.http.fetch("http://origin/fetched", { method = "POST", body = "from lua", headers = { ["x-a"] = "1" } })
        if not res then return reply(502, message) end
        return reply(res.status, res.body)
      end },
    { name = "fetches-nobody", match = { path = "/fetches-nobody" }, handler = function()
        local res, message = perigee.http.fetch("http://nobody/")
        return reply(200, res and "reached" or tostring(message))
      end },
    { name = "gathers", match = { path = "/gathers" }, handler = function()
        local a = perigee.spawn(function() return perigee.http.fetch("http://origin/a").status end)
        local b = perigee.spawn(function() return perigee.http.fetch("http://origin/b").status end)
        return reply(200, tostring(perigee.wait(a) + perigee.wait(b)))
      end },
    { name = "counts", match = { path = "/counts" }, handler = function()
        return reply(200, tostring(perigee.shared "counts":incr("n", 1)))
      end },
    { name = "closed", match = { path = "/closed" }, policies = { "fails" }, upstream = "origin" },
    { name = "open", match = { path = "/open" }, policies = { { "fails", on_failure = "open" } }, upstream = "origin" },
    { name = "message", match = { path = "/message" }, policies = { { "fails", how = "message" } }, upstream = "origin" },
    { name = "dry", match = { path = "/dry" }, policies = { { "denies", dry_run = true } }, upstream = "origin" },
    { name = "denied", match = { path = "/denied" }, policies = { "edits", "denies" }, upstream = "origin" },
    { name = "when", match = { path = "/when" }, upstream = "origin",
      policies = { { "denies", when = { headers = { ["x-deny"] = { present = true } } } } } },
    { name = "when-function", match = { path = "/when-function" }, upstream = "origin",
      policies = { { "denies", when = function(req) return req.query:get "deny" == "1" end } } },
    { name = "waits", match = { path = "/waits/*" }, policies = { "waits" }, upstream = "origin" },
    { name = "edits", match = { path = "/edits" }, policies = { "edits" }, upstream = "origin" },
    { name = "shouts", match = { path = "/shouts" }, policies = { "shouts" }, upstream = "origin" },
    { name = "retries", match = { path = "/retries" }, policies = { "retries" }, upstream = "origin" },
    { name = "pauses", match = { path = "/pauses" }, policies = { "pauses" }, upstream = "origin" },
    { name = "reads", match = { path = "/reads" }, policies = { { "pauses", reads = true } }, upstream = "origin" },
    { name = "chooses", match = { path = "/chooses" }, upstream = function(req) return req.query:get "to" or "origin" end },
    { name = "quick", match = { path = "/quick" }, reply = "quick" },
    { name = "all", match = {}, upstream = "origin" },
  },
}
"""

FAILS = """
local perigee = require "perigee"
local Fails = perigee.policy { name = "fails", stage = "auth", schema = { how = { type = "string", default = "error" } } }
function Fails:on_request(req)
  if self.conf.how == "message" then return nil, "it went wrong" end
  local nothing
  return nothing.field
end
return Fails
"""

DENIES = """
local perigee = require "perigee"
local Denies = perigee.policy { name = "denies", stage = "auth", schema = {} }
function Denies:on_request(req)
  return perigee.reply(401, { error = "who are you?" }, { ["www-authenticate"] = "Testing" })
end
return Denies
"""

WAITS = """
local perigee = require "perigee"
local Waits = perigee.policy { name = "waits", stage = "traffic", schema = {} }
function Waits:on_request(req)
  local how = req.query:get "how"
  if how == "sleep" then
    perigee.sleep(tonumber(req.query:get "for"))
  elseif how == "fetch" then
    local res = assert(perigee.http.fetch("http://origin/slow"))
    req.headers["x-fetched"] = res.status
  end
end
return Waits
"""

EDITS = """
local perigee = require "perigee"
local Edits = perigee.policy { name = "edits", stage = "transform", schema = {} }
function Edits:on_request(req)
  req.headers["x-new"] = "n"
  req.headers["x-old"] = nil
  req.headers:add("x-many", "2")
  req.path = "/edited/./path"
  req.query:set("added", "1")
  req.ctx.seen = req.method
end
function Edits:on_response(req, res)
  res.status = 202
  res.headers["x-seen"] = req.ctx.seen
  res.headers["content-type"] = nil
end
return Edits
"""

SHOUTS = """
local perigee = require "perigee"
local Shouts = perigee.policy { name = "shouts", stage = "transform", schema = {} }
function Shouts:on_request_body(req, chunk) return chunk:upper() end
function Shouts:on_response_body(req, res, chunk, last) return chunk:upper() .. (last and "!" or "") end
return Shouts
"""

RETRIES = """
local perigee = require "perigee"
local Retries = perigee.policy { name = "retries", stage = "traffic", schema = {} }
function Retries:around(req, next)
  for i = 1, 3 do
    local res = next(req)
    if res.status < 500 or i == 3 then
      res.headers["x-tries"] = tostring(i)
      return res
    end
    perigee.sleep(0.01)
  end
end
return Retries
"""

PAUSES = """
local perigee = require "perigee"
local Pauses = perigee.policy { name = "pauses", stage = "transform", schema = { reads = { type = "boolean", default = false } } }
function Pauses:on_response(req, res)
  if self.conf.reads then
    res.headers["x-read"] = tostring(res.body:read() ~= nil)
  else
    perigee.sleep(0.1)
  end
end
return Pauses
"""

FILES = {
    "words/greeting.lua": 'return "hello"\n',
    **{f"policies/{name}/init.lua": text for name, text in
       {"fails": FAILS, "denies": DENIES, "waits": WAITS, "edits": EDITS, "shouts": SHOUTS, "retries": RETRIES, "pauses": PAUSES}.items()},
}


@pytest.fixture(scope="module")
def gateway(origin):
    with Gateway(CONFIG, files=FILES, values={"origin": origin.address, "nobody": free_address()}) as started:
        yield started


# ---------------------------------------------------------------- handlers


def test_a_handler_answers(gateway, origin):
    response = gateway.get("/hello/ada")
    assert (response.status, response.text()) == (200, "hello, ada\n")
    assert origin.targets == []


def test_a_handler_reads_and_writes_json(gateway):
    response = gateway.request("POST", "/json?q=x%20y", [("Content-Type", "application/json")], b'{"a": 40, "b": 2}')
    assert (response.status, response.headers.get("content-type"), response.headers.get("x-made")) == (201, "application/json", "here")
    assert json.loads(response.body) == {"sum": 42, "method": "POST", "q": "x y"}


def test_a_body_that_is_no_json_is_told_to_the_handler(gateway):
    assert gateway.request("POST", "/json", body=b'{"a": ').status == 400


def test_a_body_that_is_too_long_to_read_is_told_to_the_handler(gateway):
    response = gateway.request("POST", "/json", body=b" " * (1024 * 1024 + 1))
    assert response.status in (400, 413)


@pytest.mark.parametrize("path", ["/raises", "/nothing"])
def test_a_handler_that_fails_is_500(gateway, path):
    check_problem(gateway.get(path), 500, "handler_failed")


def test_the_failure_of_a_handler_is_in_the_log_with_its_place(gateway):
    gateway.get("/raises")
    wait.until(lambda: "on purpose" in gateway.errors, "the error was logged")
    assert "gateway.lua:" in gateway.errors


def test_a_connection_goes_on_after_a_failed_handler(gateway):
    with gateway.connect() as client:
        assert client.get("/raises").status == 500
        assert client.get("/hello/bob").text() == "hello, bob\n"


def test_a_handler_fetches_from_an_upstream_by_name(gateway, origin):
    seen = Seen(gateway.get("/fetches"))
    assert (seen.method, seen.target, seen.length, seen.headers.get("x-a")) == ("POST", "/fetched", 8, "1")


def test_a_fetch_that_fails_says_why(gateway):
    response = gateway.get("/fetches-nobody")
    assert response.status == 200
    assert response.text() not in ("reached", "nil", "")


def test_spawned_tasks_run_side_by_side(gateway, origin):
    both = threading.Barrier(2, timeout=wait.PATIENCE)

    def answer(wire, request):
        wire.read_request_body(request)
        both.wait()
        wire.respond(200)

    origin.answer = answer
    assert gateway.get("/gathers").text() == "400"


def test_shared_counters_count_every_request(gateway):
    def count():
        with gateway.connect() as client:
            for _ in range(25):
                assert client.get("/counts").status == 200

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert gateway.get("/counts").text() == "101"


# ---------------------------------------------------------------- policies


@pytest.mark.parametrize("path", ["/closed", "/message"])
def test_a_failing_policy_closes_the_route(gateway, origin, path):
    check_problem(gateway.get(path), 503, "policy_failed")
    assert origin.targets == []


def test_a_failing_policy_may_be_declared_open(gateway):
    assert Seen(gateway.get("/open")).target == "/open"


def test_the_failure_of_a_policy_is_in_the_log_with_its_traceback(gateway):
    gateway.get("/closed")
    wait.until(lambda: "policies/fails/init.lua" in gateway.errors, "the error was logged")
    assert "fails" in gateway.errors


def test_failures_are_counted_by_policy_and_route(gateway):
    def errors():
        return Metrics(gateway.ask("GET", "/metrics").text()).sum("perigee_policy_errors_total", policy="fails", route="closed")

    before = errors()
    for _ in range(3):
        gateway.get("/closed")
    assert errors() == before + 3


def test_a_policy_answers_instead_of_the_upstream(gateway, origin):
    response = gateway.get("/denied")
    assert response.headers.get("www-authenticate") == "Testing"
    assert json.loads(response.body) == {"error": "who are you?"}
    assert (response.status, response.headers.get("x-seen")) == (202, "GET"), "policies that were entered before it see its reply"
    assert origin.targets == []


def test_a_dry_run_decides_but_does_not_enforce(gateway):
    assert Seen(gateway.get("/dry")).target == "/dry"


@pytest.mark.parametrize("target, headers, status", [
    ("/when", [], 200), ("/when", [("X-Deny", "1")], 401), ("/when-function", [], 200), ("/when-function?deny=1", [], 401),
])
def test_when_says_whether_a_policy_runs(gateway, target, headers, status):
    assert gateway.get(target, headers).status == status


def test_a_policy_edits_request_and_response(gateway):
    response = gateway.get("/edits?a=b", [("X-Old", "1"), ("X-Many", "1")])
    assert (response.status, response.headers.get("x-seen")) == (202, "GET")
    assert "content-type" not in response.headers
    response.start = "HTTP/1.1 200 OK"
    seen = Seen(response)
    assert seen.target == "/edited/path?a=b&added=1"
    assert (seen.headers.get("x-new"), seen.headers.all("x-many"), "x-old" in seen.headers) == ("n", ["1", "2"], False)


def test_body_hooks_see_every_chunk(gateway, origin):
    def echo(wire, request):
        wire.read_request_body(request)
        wire.respond(200, [], b"you said: " + request.body)

    origin.answer = echo
    body = http1.chunk(b"some ") + http1.chunk(b"words") + b"0\r\n\r\n"
    response = gateway.request("POST", "/shouts", [("Transfer-Encoding", "chunked")], body)
    assert response.body == b"YOU SAID: SOME WORDS!"


def test_body_hooks_take_megabytes(gateway, origin):
    def echo(wire, request):
        wire.read_request_body(request)
        wire.respond(200, [], request.body)

    origin.answer = echo
    body = b"abcdefgh" * 256 * 1024
    assert gateway.request("POST", "/shouts", body=body).body == body.upper() + b"!"


def test_around_tries_again(gateway, origin):
    def answer(wire, request):
        wire.read_request_body(request)
        wire.respond(500 if len(origin.heads) < 3 else 200, [], request.body)

    origin.answer = answer
    response = gateway.request("POST", "/retries", body=b"body")
    assert (response.status, response.headers.get("x-tries"), response.body) == (200, "3", b"body")
    assert origin.complete_targets == ["/retries"] * 3


def test_around_gives_up_with_the_last_answer(gateway, origin):
    def answer(wire, request):
        wire.read_request_body(request)
        wire.respond(503, [], b"busy")

    origin.answer = answer
    response = gateway.get("/retries")
    assert (response.status, response.headers.get("x-tries"), response.body) == (503, "3", b"busy")


def test_a_function_chooses_the_upstream(gateway):
    assert Seen(gateway.get("/chooses?to=other")).target == "/chooses?to=other"
    check_problem(gateway.get("/chooses?to=nobody"), 503, "connect_failed")


def test_a_function_that_chooses_an_unknown_upstream_fails(gateway, origin):
    assert gateway.get("/chooses?to=unheard-of").status in (500, 503)
    assert origin.targets == []


@pytest.mark.parametrize("path", ["/pauses", "/reads"])
def test_an_upstream_that_breaks_off_while_a_policy_waits_is_502(gateway, origin, path):
    def answer(wire, _):
        wire.send_head(200, [("Content-Length", "100")])
        wire.send(b"half of it")
        wire.close()

    origin.answer = answer
    check_problem(gateway.get(path), 502, "upstream_reset")


@pytest.mark.parametrize("path", ["/pauses", "/reads"])
def test_a_body_that_arrives_while_a_policy_waits_is_whole(gateway, origin, path):
    origin.answer = lambda wire, _: wire.respond(200, [], b"z" * 300_000)
    assert gateway.get(path).body == b"z" * 300_000


@pytest.mark.parametrize("path", ["/pauses", "/reads"])
def test_a_client_that_leaves_while_a_response_policy_waits_is_forgotten(gateway, origin, path):
    def answer(wire, _):
        wire.send_head(200, [("Content-Length", "100")])
        wire.send(b"half of it")
        wire.read_rest()
        raise http1.Closed

    origin.answer = answer
    with gateway.connect() as client:
        client.send_request("GET", path)
        origin.wait_for_heads(1)
        tunnel = origin.connections[-1]
    assert tunnel.is_closed.wait(wait.PATIENCE)
    assert gateway.get("/quick").text() == "quick"


# ---------------------------------------------------------------- waiting


def test_a_policy_that_sleeps_does_not_delay_others(gateway):
    with gateway.connect() as slow, gateway.connect() as quick:
        slow.send_request("GET", "/waits/?how=sleep&for=1")
        for _ in range(20):
            assert quick.get("/quick").text() == "quick"
            assert Seen(quick.get("/waits/")).target == "/waits/"
        slow.sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            slow.sock.recv(1)  # all the others were answered before it
        slow.sock.settimeout(wait.PATIENCE)
        assert slow.read_response().status == 200


def test_a_policy_that_fetches_a_slow_url_does_not_delay_others(gateway, origin):
    may_answer = threading.Event()

    def answer(wire, request):
        if request.target == "/slow":
            assert may_answer.wait(wait.PATIENCE)
        describe(wire, request)

    origin.answer = answer
    with gateway.connect() as slow, gateway.connect() as quick:
        slow.send_request("GET", "/waits/?how=fetch")
        origin.wait_for_heads(1)
        for _ in range(20):
            assert quick.get("/quick").text() == "quick"
            assert Seen(quick.get("/waits/")).target == "/waits/"
        may_answer.set()
        assert Seen(slow.read_response()).headers.get("x-fetched") == "200"


def test_hundreds_of_sleeping_requests_sleep_together(gateway):
    clients = [gateway.connect() for _ in range(200)]
    for client in clients:
        client.send_request("GET", "/sleeps")
    assert gateway.get("/quick").text() == "quick"
    for client in clients:
        assert client.read_response().text() == "slept"
        client.close()


def test_a_client_that_leaves_a_sleeping_policy_is_forgotten(gateway, origin):
    clients = [gateway.connect() for _ in range(20)]
    for client in clients:
        client.send_request("GET", "/waits/left?how=sleep&for=0.3")
    assert gateway.get("/quick").text() == "quick"
    for client in clients:
        client.reset()
    wait.until(lambda: sum(line["path"].startswith("/waits/left") for line in gateway.log_lines()) == 20, "all were logged")
    assert origin.targets == []
    assert gateway.get("/quick").text() == "quick"


def test_a_client_that_leaves_a_fetching_policy_cancels_the_fetch(gateway, origin):
    ended = threading.Event()

    def answer(wire, _):
        wire.read_rest()
        ended.set()
        raise http1.Closed

    origin.answer = answer
    with gateway.connect() as client:
        client.send_request("GET", "/waits/?how=fetch")
        origin.wait_for_heads(1)
    assert ended.wait(wait.PATIENCE)
