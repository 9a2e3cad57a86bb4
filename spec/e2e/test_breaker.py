# SPDX-License-Identifier: MIT
"""Circuit breakers: what is beyond a limit is answered at once, and the limit is that of all workers together."""

import contextlib
import os
import signal

import pytest

from support import wait
from support.checks import check_problem
from support.gateway import Gateway
from support.metrics import Metrics
from support.upstream import Gate, Upstream, describe

CONFIG = """
return {
  admin = "unix:$dir/admin.sock",
  access_log = "$dir/access.log",
  workers = WORKERS,
  listeners = { { address = "127.0.0.1:0" } },
  upstreams = { origin = { endpoints = { "$origin" }, breaker = { LIMITS } } },
  routes = {
    { match = { path = "/urgent" }, upstream = "origin", priority = "high" },
    { match = {}, upstream = "origin" },
  },
}
"""


@contextlib.contextmanager
def serving(limits, workers=1):
    with Upstream("origin") as origin:
        config = CONFIG.replace("WORKERS", str(workers)).replace("LIMITS", limits)
        with Gateway(config, values={"origin": origin.address}) as gateway:
            yield gateway, origin


def breaker(gateway):
    upstream, = gateway.ask_json("/upstreams")
    return upstream["breaker"]


def hold(gateway, origin, requests):
    """Sends requests that the upstream keeps waiting; returns their clients."""
    clients = [gateway.connect() for _ in range(requests)]
    for client in clients:
        client.send_request("GET", "/")
    origin.wait_for_heads(requests)
    return clients


@pytest.mark.parametrize("workers", [1, 4])
def test_requests_beyond_the_limit_are_answered_at_once(workers):
    with serving("max_requests = 6", workers) as (gateway, origin):
        gate = origin.answer = Gate()
        clients = hold(gateway, origin, 6)
        assert breaker(gateway)["requests"] == 6
        for _ in range(8):
            check_problem(gateway.get("/"), 503, "upstream_overflow")
        gate.opened.set()
        for client in clients:
            assert client.read_response().status == 200
        wait.until(lambda: breaker(gateway)["requests"] == 0, "nothing was under way")
        assert gateway.get("/").status == 200
        assert breaker(gateway)["overflows"]["requests"] == 8
        metrics = Metrics(gateway.ask("GET", "/metrics").body.decode())
        assert metrics.sum("perigee_upstream_overflows_total", upstream="origin", limit="requests") == 8
        wait.until(lambda: sum(line.get("flags") == "UO" for line in gateway.log_lines()) == 8, "the log has the flags")
        for client in clients:
            client.close()


@pytest.mark.parametrize("workers", [1, 4])
def test_requests_with_high_priority_have_limits_of_their_own(workers):
    with serving("max_requests = 2, high = { max_requests = 1 }", workers) as (gateway, origin):
        gate = origin.answer = Gate()
        clients = hold(gateway, origin, 2)
        check_problem(gateway.get("/"), 503, "upstream_overflow")
        urgent = gateway.connect()
        clients.append(urgent)
        urgent.send_request("GET", "/urgent")
        origin.wait_for_heads(3)
        check_problem(gateway.get("/urgent"), 503, "upstream_overflow")
        assert (breaker(gateway)["requests"], breaker(gateway)["high"]["requests"]) == (2, 1)
        gate.opened.set()
        for client in clients:
            assert client.read_response().status == 200
            client.close()
        wait.until(lambda: breaker(gateway)["high"]["requests"] == 0, "nothing was under way")
        assert gateway.get("/urgent").status == 200
        assert breaker(gateway)["overflows"]["requests"] == breaker(gateway)["high"]["overflows"]["requests"] == 1
        metrics = Metrics(gateway.ask("GET", "/metrics").body.decode())
        assert metrics.sum("perigee_upstream_overflows_total", upstream="origin", limit="high_requests") == 1


def test_the_share_of_a_worker_that_dies_is_given_back():
    with serving("max_requests = 4", 2) as (gateway, origin):
        gate = origin.answer = Gate()
        clients = hold(gateway, origin, 4)
        check_problem(gateway.get("/"), 503, "upstream_overflow")
        for pid in gateway.workers():
            os.kill(pid, signal.SIGKILL)
            gateway.wait_replaced(pid)
        assert breaker(gateway)["requests"] == 0
        gate.opened.set()
        assert gateway.get("/").status == 200
        for client in clients:
            client.close()


def test_connections_beyond_the_limit_are_not_opened():
    with serving("max_connections = 2") as (gateway, origin):
        gate = origin.answer = Gate()
        clients = hold(gateway, origin, 2)
        check_problem(gateway.get("/"), 503, "upstream_overflow")
        gate.opened.set()
        for client in clients:
            assert client.read_response().status == 200
        wait.until(lambda: gateway.get("/").status == 200, "the connections served others")
        assert len(origin.connections) == 2
        for client in clients:
            client.close()


def test_a_connection_that_was_closing_is_replaced_at_the_limit():
    served = set()

    def once(wire, request):
        wire.read_request_body(request)
        if wire.number in served:
            wire.close()
            return
        served.add(wire.number)
        wire.respond(200)

    with serving("max_connections = 1") as (gateway, origin):
        origin.answer = once
        assert [gateway.get("/").status for _ in range(4)] == [200] * 4
        assert len(origin.connections) == 4


def test_idle_connections_to_others_keep_no_endpoint_from_its_requests():
    with Upstream("a") as first, Upstream("b") as second:
        config = CONFIG.replace("WORKERS", "1").replace("LIMITS", "max_connections = 1").replace('"$origin"', '"$a", "$b"')
        with Gateway(config, values={"a": first.address, "b": second.address}) as gateway:
            assert [gateway.get("/").status for _ in range(6)] == [200] * 6
            upstream, = gateway.ask_json("/upstreams")
            assert upstream["connections"] == 1
        assert [len(upstream.heads) for upstream in (first, second)] == [3, 3]


def test_idle_connections_of_others_keep_no_worker_from_its_requests():
    with serving("max_connections = 1", workers=3) as (gateway, _):
        assert {gateway.get("/").status for _ in range(30)} == {200}


def test_a_request_that_waits_for_a_connection_counts_as_pending():
    with serving("max_pending = 0") as (gateway, _):
        check_problem(gateway.get("/"), 503, "upstream_overflow")
        assert breaker(gateway)["overflows"]["pending"] == 1


def test_clients_that_go_away_leave_the_breaker():
    with serving("max_requests = 3") as (gateway, origin):
        origin.answer = Gate()
        for client in hold(gateway, origin, 3):
            client.close()
        wait.until(lambda: breaker(gateway)["requests"] == 0, "nothing was under way")
        origin.answer = describe
        assert gateway.get("/").status == 200


def test_limits_hold_under_a_reload():
    with serving("max_requests = 2", 2) as (gateway, origin):
        gate = origin.answer = Gate()
        clients = hold(gateway, origin, 2)
        gateway.reload()
        check_problem(gateway.get("/"), 503, "upstream_overflow")
        gate.opened.set()
        for client in clients:
            assert client.read_response().status == 200
        wait.until(lambda: breaker(gateway)["requests"] == 0, "nothing was under way")
        assert gateway.get("/").status == 200
        for client in clients:
            client.close()
