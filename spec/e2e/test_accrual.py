# SPDX-License-Identifier: MIT
"""Failure accrual: endpoints that fail too often are shut for all workers, and one real request decides whether they come back."""

import contextlib
import threading

import pytest

from support import wait
from support.gateway import Gateway, run
from support.metrics import Metrics
from support.upstream import Upstream, describe, free_address

CONFIG = """
return {
  admin = "unix:$dir/admin.sock",
  access_log = "off",
  workers = WORKERS,
  explain = { token = "a token of many letters" },
  listeners = { { address = "127.0.0.1:0" } },
  upstreams = { origin = { endpoints = { "$a", "$b", "$c" }, accrual = { ACCRUAL } } },
  routes = { { match = {}, upstream = "origin" } },
}
"""

QUICK = 'backoff = { min = "20ms", max = "20ms", jitter = 0 }'


def fail(wire, request):
    wire.read_request_body(request)
    wire.respond(500)


@contextlib.contextmanager
def serving(accrual="", workers=1, **values):
    with contextlib.ExitStack() as stack:
        upstreams = {name: stack.enter_context(Upstream(name)) for name in "abc" if name not in values}
        values = {**{name: upstream.address for name, upstream in upstreams.items()}, **values}
        gateway = Gateway(CONFIG.replace("WORKERS", str(workers)).replace("ACCRUAL", accrual), values=values)
        yield stack.enter_context(gateway).wait_ready(), upstreams


def endpoint(gateway, address):
    upstream, = gateway.ask_json("/upstreams")
    return next(endpoint for endpoint in upstream["endpoints"] if endpoint["address"] == address)


def statuses(gateway, requests):
    """One connection for each request: the workers take turns, as the system likes."""
    return [gateway.get("/").status for _ in range(requests)]


@pytest.mark.parametrize("workers", [1, 4])
def test_seven_failures_of_all_workers_together_shut(workers):
    with serving('backoff = { min = "1h", max = "1h" }', workers) as (gateway, upstreams):
        upstreams["a"].answer = fail
        found = statuses(gateway, 60)
        assert found.count(500) == 7  # counted over all workers: neither more nor fewer
        shut = endpoint(gateway, upstreams["a"].address)
        assert (shut["state"], shut["reason"], shut["shuts"]) == ("shut", "consecutive_failures", 1)
        assert 3500 < shut["back_in_s"] <= 5400
        metrics = Metrics(gateway.ask("GET", "/metrics").body.decode())
        assert metrics.sum("perigee_upstream_shuts_total", upstream="origin", reason="consecutive_failures") == 1
        assert metrics.sum("perigee_upstream_endpoints", upstream="origin", state="shut") == 1
        assert f"upstream origin: {upstreams['a'].address} is shut for " in gateway.errors
        answer = gateway.get("/", [("x-perigee-explain", "a token of many letters")])
        assert f"{upstreams['a'].address} is shut (consecutive_failures)" in answer.headers.get("x-perigee-explain")


@pytest.mark.parametrize("workers", [1, 4])
def test_each_probation_is_one_request(workers):
    with serving(QUICK, workers) as (gateway, upstreams):
        upstreams["a"].answer = fail
        found = statuses(gateway, 300)
        shuts = endpoint(gateway, upstreams["a"].address)["shuts"]
        assert shuts > 1
        assert found.count(500) == len(upstreams["a"].heads) == 7 + shuts - 1  # the first seven, and one for each probation
        upstreams["a"].answer = describe
        wait.until(lambda: gateway.get("/").status == 200 and endpoint(gateway, upstreams["a"].address)["state"] == "healthy",
                   "it was open again")
        wait.until(lambda: f"upstream origin: {upstreams['a'].address} is open again" in gateway.errors, "the log says so")
        upstreams["a"].heads.clear()
        assert set(statuses(gateway, 30)) == {200}
        assert len(upstreams["a"].heads) >= 5


REFUSED = """
return {
  admin = "unix:$dir/admin.sock",
  access_log = "off",
  workers = 1,
  listeners = { { address = "127.0.0.1:0" } },
  upstreams = { origin = {
    endpoints = { { "$a", labels = { name = "a" } }, { "$b", labels = { name = "b" } } },
    accrual = { failures = 1, backoff = { min = "20ms", max = "20ms" } },
    breaker = { max_requests = 1 }, timeouts = { request = "1h" }, panic_threshold = "0%",
  } },
  routes = {
    { match = { path = "/a" }, upstream = "origin", labels = { name = "a" } },
    { match = { path = "/b" }, upstream = "origin", labels = { name = "b" } },
  },
}
"""


def test_a_request_that_is_refused_leaves_the_probation_to_the_next_one():
    opened = threading.Event()

    def hold(wire, request):
        assert opened.wait(wait.PATIENCE)
        describe(wire, request)

    def overflows(gateway):
        upstream, = gateway.ask_json("/upstreams")
        return upstream["breaker"]["overflows"]["requests"]

    with Upstream("a", answer=fail) as a, Upstream("b", answer=hold) as b:
        with Gateway(REFUSED, values={"a": a.address, "b": b.address}).wait_ready() as gateway, gateway.connect() as held:
            assert gateway.get("/a").status == 500
            a.answer = describe
            held.send_request("GET", "/b")
            b.wait_for_heads(1)
            wait.until(lambda: gateway.get("/a").status == 503 and overflows(gateway) > 0, "the breaker refused the probation's request")
            opened.set()
            assert held.read_response().status == 200
            wait.until(lambda: gateway.get("/a").status == 200, "another request decided")
            assert len(a.heads) == 2


def test_a_low_rate_of_successes_shuts():
    turns = []

    def fail_often(wire, request):
        turns.append(request)
        (fail if len(turns) % 3 == 0 else describe)(wire, request)

    with serving('kind = "unified", backoff = { min = "1h", max = "1h" }') as (gateway, upstreams):
        upstreams["a"].answer = fail_often
        found = statuses(gateway, 60)
        assert found.count(500) == 2  # four of six
        assert endpoint(gateway, upstreams["a"].address)["reason"] == "success_rate"


def test_an_endpoint_where_nobody_listens_is_shut():
    nobody = free_address()
    with serving('backoff = { min = "1h", max = "1h" }', a=nobody) as (gateway, _):
        assert statuses(gateway, 60).count(503) == 7
        assert endpoint(gateway, nobody)["state"] == "shut"


def test_a_state_lives_on_through_reloads_and_ends_with_the_setting():
    with serving('backoff = { min = "1h", max = "1h" }', 2) as (gateway, upstreams):
        upstreams["a"].answer = fail
        statuses(gateway, 40)
        gateway.reload()
        assert endpoint(gateway, upstreams["a"].address)["state"] == "shut"
        assert set(statuses(gateway, 12)) == {200}
        gateway.reload(CONFIG.replace("WORKERS", "2").replace("accrual = { ACCRUAL }", "breaker = {}"))
        wait.until(lambda: endpoint(gateway, upstreams["a"].address)["state"] == "healthy", "it was used again")


def test_an_only_endpoint_which_panic_uses_meanwhile_opens_again():
    with Upstream("a") as only:
        config = CONFIG.replace("WORKERS", "1").replace("ACCRUAL", QUICK).replace(', "$b", "$c"', "")
        with Gateway(config, values={"a": only.address}) as gateway:
            only.answer = fail
            assert statuses(gateway, 8) == [500] * 8
            assert endpoint(gateway, only.address)["shuts"] >= 1
            only.answer = describe
            wait.until(lambda: gateway.get("/").status == 200 and endpoint(gateway, only.address)["state"] == "healthy", "it was open")


def test_accrual_takes_the_place_of_outlier(tmp_path):
    path = tmp_path / "gateway.lua"
    path.write_text('return { upstreams = { u = { endpoints = { "a:1" }, accrual = {}, outlier = {} } }, routes = {} }')
    result = run("check", path)
    assert result.returncode == 1
    assert "upstreams.u.accrual: takes the place of 'outlier': use one of them" in result.stdout + result.stderr
