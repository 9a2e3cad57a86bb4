# SPDX-License-Identifier: MIT
"""Failed attempts are made again: what is worth it, what is safe, how often, and what is told of it."""

import contextlib
import hashlib
import json

import pytest

from support import wait
from support.checks import check_problem
from support.gateway import Gateway
from support.metrics import Metrics
from support.upstream import Seen, Silence, Upstream, free_address

CONFIG = """
return {
  admin = "unix:$dir/admin.sock",
  access_log = "$dir/access.log",
  workers = WORKERS,
  listeners = { { address = "127.0.0.1:0" } },
  upstreams = { origin = {
    endpoints = { "$a", "$b", "$c" },
    retries = { RETRIES },
    EXTRA
  } },
  routes = { { match = {}, upstream = "origin", POLICIES } },
}
"""

AT_ONCE = 'backoff = { base = "0s" }, '


def fail(wire, request):
    wire.read_request_body(request)
    wire.respond(500, body=b"broken")


def answer_with(status, headers=()):
    def answer(wire, request):
        wire.read_request_body(request)
        wire.respond(status, headers)
    return answer


def hang_up(wire, request):
    wire.read_request_body(request)
    wire.close()


@contextlib.contextmanager
def serving(retries, workers=1, extra="", policies="", files=None, **values):
    with contextlib.ExitStack() as stack:
        upstreams = {name: stack.enter_context(Upstream(name)) for name in "abc" if name not in values}
        values = {**{name: upstream.address for name, upstream in upstreams.items()}, **values}
        config = CONFIG.replace("WORKERS", str(workers)).replace("RETRIES", retries).replace("EXTRA", extra)
        config = config.replace("POLICIES", policies)
        gateway = stack.enter_context(Gateway(config, files=files, values=values))
        yield gateway, upstreams


def heads(upstreams):
    return sum(len(upstream.heads) for upstream in upstreams.values())


def results(gateway):
    metrics = Metrics(gateway.ask("GET", "/metrics").body.decode())
    return {result: metrics.sum("perigee_upstream_retries_total", upstream="origin", result=result)
            for result in ("success", "failure", "limit", "overflow")}


def last_line(gateway):
    return wait.until(lambda: gateway.log_lines() and gateway.log_lines()[-1], "the log has the line")


def test_a_failing_endpoint_is_not_noticed_and_costs_little():
    extra = 'outlier = { base_ejection_time = "1h", max_ejection_time = "1h" },'
    with serving(AT_ONCE + 'on = { "5xx" }', workers=2, extra=extra) as (gateway, upstreams):
        upstreams["a"].answer = fail
        assert [gateway.get("/").status for _ in range(60)] == [200] * 60
        assert heads(upstreams) == 65  # the five failures that ejected it: within 1.2 times
        assert results(gateway) == {"success": 5, "failure": 0, "limit": 0, "overflow": 0}


def test_a_retry_prefers_another_endpoint():
    with serving(AT_ONCE + 'on = { "5xx" }, attempts = 1') as (gateway, upstreams):
        upstreams["a"].answer = fail
        assert [gateway.get("/").status for _ in range(12)] == [200] * 12
        assert 1 <= len(upstreams["a"].heads) < 12


@pytest.mark.parametrize("on, status, attempts", [
    ('"5xx"', 500, 3), ('"gateway-error"', 500, 1), ('"gateway-error"', 502, 3), ('"retriable-4xx"', 409, 3),
    ('"retriable-4xx"', 404, 1), ("429", 429, 3), ("429", 428, 1), ('"reset"', 503, 1),
])
def test_conditions_say_which_answers_are_worth_it(on, status, attempts):
    with serving(f"{AT_ONCE} attempts = 2, on = {{ {on} }}") as (gateway, upstreams):
        for upstream in upstreams.values():
            upstream.answer = answer_with(status)
        assert gateway.get("/").status == status  # in the end the answer is the upstream's
        assert heads(upstreams) == attempts
        line = last_line(gateway)
        assert line["attempts"] == attempts
        assert line.get("flags") == ("URX" if attempts > 1 else None)


def test_a_grpc_status_in_the_head_is_a_condition():
    grpc = [("content-type", "application/grpc"), ("grpc-status", "14")]
    with serving(AT_ONCE + 'attempts = 2, on = { "unavailable" }') as (gateway, upstreams):
        for upstream in upstreams.values():
            upstream.answer = answer_with(200, grpc)
        gateway.request("POST", "/", body=b"x")
        assert heads(upstreams) == 3
        for upstream in upstreams.values():
            upstream.forget()
            upstream.answer = answer_with(200, [grpc[0], ("grpc-status", "5")])
        gateway.request("POST", "/", body=b"x")
        assert heads(upstreams) == 1


@pytest.mark.parametrize("pushback, attempts", [("0", 2), ("10", 2), ("-1", 1), ("soon", 1), ("", 1)])
def test_a_grpc_server_may_ask_not_to_be_called_again(pushback, attempts):
    grpc = [("content-type", "application/grpc"), ("grpc-status", "14"), ("grpc-retry-pushback-ms", pushback)]
    with serving(AT_ONCE + 'on = { "unavailable" }') as (gateway, upstreams):
        for upstream in upstreams.values():
            upstream.answer = answer_with(200, grpc)
        gateway.request("POST", "/", body=b"x")
        assert heads(upstreams) == attempts


def test_connections_that_fail_are_retried_for_every_method():
    with serving(AT_ONCE + "attempts = 2", a=free_address(), b=free_address()) as (gateway, upstreams):
        for method in ("GET", "POST") * 3:
            assert gateway.request(method, "/", body=b"x" if method == "POST" else None).status == 200
        assert heads(upstreams) == 6


def test_the_last_error_is_the_answer():
    addresses = {name: free_address() for name in "abc"}
    with serving(AT_ONCE + "attempts = 2", **addresses) as (gateway, _):
        check_problem(gateway.get("/"), 503, "connect_failed")
        assert last_line(gateway)["flags"] == "UF,URX"
        assert results(gateway) == {"success": 0, "failure": 2, "limit": 1, "overflow": 0}


@pytest.mark.parametrize("method, setting, attempts", [
    ("PUT", "", 2), ("POST", "", 1), ("POST", "non_idempotent = true,", 2),
])
def test_what_an_upstream_may_have_acted_on_is_sent_again_only_when_that_is_safe(method, setting, attempts):
    with serving(f"{AT_ONCE} {setting} attempts = 1") as (gateway, upstreams):
        for upstream in upstreams.values():
            upstream.answer = hang_up
        check_problem(gateway.request(method, "/", body=b"x"), 502, "upstream_reset")
        assert heads(upstreams) == attempts


def body_of(size):
    return bytes(range(256)) * (size // 256)


@pytest.mark.parametrize("size, limit, statuses", [
    (65536, "64k", {200}), (65536 + 256, "64k", {200, 500}), (524288, "1m", {200}),
])
def test_a_body_is_sent_again_when_it_was_kept(size, limit, statuses):
    with serving(f'{AT_ONCE} on = {{ "5xx" }}, body = "{limit}"') as (gateway, upstreams):
        upstreams["a"].answer = fail
        seen = set()
        for _ in range(6):
            response = gateway.request("POST", "/", body=body_of(size))
            seen.add(response.status)
            if response.status == 200:
                assert Seen(response).sha256 == hashlib.sha256(body_of(size)).hexdigest()
        assert seen == statuses
        assert upstreams["a"].heads


def test_a_per_try_timeout_moves_on():
    silence = Silence()
    with serving('attempts = 2, per_try_timeout = "50ms", ' + AT_ONCE) as (gateway, upstreams):
        upstreams["a"].answer = upstreams["b"].answer = silence
        try:
            assert [gateway.get("/").status for _ in range(3)] == [200] * 3
        finally:
            silence.over.set()


def test_the_request_timeout_is_that_of_all_attempts():
    silence = Silence()
    extra = 'timeouts = { request = "120ms" },'
    with serving('attempts = 10, per_try_timeout = "50ms", ' + AT_ONCE, extra=extra) as (gateway, upstreams):
        for upstream in upstreams.values():
            upstream.answer = silence
        try:
            check_problem(gateway.get("/"), 504, "upstream_timeout")
            assert heads(upstreams) <= 3
        finally:
            silence.over.set()


def test_a_pushback_that_leaves_no_time_is_passed_on():
    with serving('attempts = 2, on = { 503 }') as (gateway, upstreams):
        for upstream in upstreams.values():
            upstream.answer = answer_with(503, [("Retry-After", "60")])
        response = gateway.get("/")
        assert response.status == 503
        assert response.headers.get("retry-after") == "60"
        assert heads(upstreams) == 1
        assert results(gateway)["limit"] == 1


@pytest.mark.parametrize("budget", ['percent = 0, min_concurrency = 0', 'type = "rate", ratio = 0, min_per_second = 0'])
def test_nothing_is_retried_without_a_budget(budget):
    with serving(f'{AT_ONCE} on = {{ "5xx" }}, budget = {{ {budget} }}') as (gateway, upstreams):
        for upstream in upstreams.values():
            upstream.answer = fail
        assert gateway.get("/").status == 500
        assert heads(upstreams) == 1
        assert results(gateway)["overflow"] == 1
        assert last_line(gateway)["flags"] == "UO"


def test_a_budget_by_rate_holds_over_all_workers():
    budget = 'type = "rate", ratio = 0.2, min_per_second = 0, ttl = "60s"'
    with serving(f'{AT_ONCE} on = {{ "5xx" }}, budget = {{ {budget} }}', workers=2) as (gateway, upstreams):
        for upstream in upstreams.values():
            upstream.answer = fail
        for _ in range(50):
            gateway.get("/")
        assert heads(upstreams) == 60


def test_the_breaker_limits_retries():
    with serving(AT_ONCE + 'on = { "5xx" }', extra="breaker = { max_retries = 0 },") as (gateway, upstreams):
        for upstream in upstreams.values():
            upstream.answer = fail
        assert gateway.get("/").status == 500
        assert heads(upstreams) == 1


def test_a_client_that_goes_away_during_the_wait_leaves_nothing():
    with serving('attempts = 3, on = { "5xx" }, backoff = { base = "60s", max = "60s" }',
                 extra='timeouts = { request = "0s" }, breaker = {},') as (gateway, upstreams):
        for upstream in upstreams.values():
            upstream.answer = fail
        client = gateway.connect()
        client.send_request("GET", "/")
        wait.until(lambda: heads(upstreams) == 1, "the first attempt was made")
        client.close()
        wait.until(lambda: gateway.ask_json("/upstreams")[0]["breaker"]["retries"] == 0, "no retry was under way")


PROBE = """
local perigee = require "perigee"
local Probe = perigee.policy { name = "probe", stage = "transform", schema = {} }
function Probe:on_request_body(req, chunk)
  return (chunk:gsub("a", "bb"))
end
function Probe:on_upstream(req, attempt)
  req.headers["x-attempt"] = tostring((tonumber(req.headers["x-attempt"]) or 0) + 1)
end
return Probe
"""


def test_hooks_see_a_body_once_and_every_attempt():
    files = {"policies/probe/init.lua": PROBE}
    with serving(AT_ONCE + 'attempts = 2, on = { "5xx" }', policies='policies = { "probe" }', files=files) as (gateway, ups):
        ups["a"].answer = ups["b"].answer = fail
        for _ in range(3):
            response = gateway.request("POST", "/", body=b"cat" * 1000)
            assert response.status == 200
            assert Seen(response).sha256 == hashlib.sha256(b"cbbt" * 1000).hexdigest()
        assert {head.headers.get("x-attempt") for head in ups["c"].heads} <= {"1", "2", "3"}


AROUND = """
local perigee = require "perigee"
local Probe = perigee.policy { name = "probe", stage = "transform", schema = {} }
function Probe:around(req, next)
  local res = next(req)
  if res.status >= 500 then
    res = next(req)
  end
  return res
end
return Probe
"""


def test_around_has_retries_of_its_own_on_top():
    files = {"policies/probe/init.lua": AROUND}
    with serving(AT_ONCE + 'on = { "5xx" }', policies='policies = { "probe" }', files=files) as (gateway, upstreams):
        for upstream in upstreams.values():
            upstream.answer = fail
        assert gateway.request("POST", "/", body=b"x" * 100).status == 500
        assert heads(upstreams) == 4


def test_explain_says_what_became_of_each_attempt():
    config = CONFIG.replace("WORKERS", "1").replace("RETRIES", AT_ONCE + 'on = { "5xx" }').replace("EXTRA", "")
    config = config.replace("POLICIES", "").replace("return {", 'return { explain = { token = "open sesame, please" },', 1)
    with contextlib.ExitStack() as stack:
        upstreams = {name: stack.enter_context(Upstream(name, answer=fail)) for name in "abc"}
        values = {name: upstream.address for name, upstream in upstreams.items()}
        gateway = stack.enter_context(Gateway(config, values=values))
        response = gateway.get("/", headers=[("x-perigee-explain", "open sesame, please")])
        first, second = json.loads(response.headers.get("x-perigee-explain"))["attempts"]
        assert (first["status"], first["note"]) == (500, "retry after 0 ms")
        assert (second["status"], second["note"]) == (500, "no retry: no attempts or no time left")
        assert first["endpoint"] != second["endpoint"]
