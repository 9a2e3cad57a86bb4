# SPDX-License-Identifier: MIT
"""How long exchanges may take, with real connections and clocks: deadlines, the longest duration, and breakers of routes that all workers
share. Spans are the business of spec/contract/timing_spec.lua; here an end comes, or it does not."""

import contextlib

import pytest

from support import wait
from support.checks import check_problem
from support.gateway import Gateway
from support.upstream import Silence, Upstream

CONFIG = """
return {
  admin = "unix:$dir/admin.sock",
  access_log = "$dir/access.log",
  workers = WORKERS,
  listeners = { { address = "127.0.0.1:0", deadline_header = "X-Wait" } },
  upstreams = { origin = { endpoints = { "$origin" }, deadline_header = "X-Left", UPSTREAM } },
  routes = { { upstream = "origin", POLICIES } },
}
"""


@contextlib.contextmanager
def serving(answer=None, upstream="", policies="", workers=1):
    config = CONFIG.replace("UPSTREAM", upstream).replace("POLICIES", policies).replace("WORKERS", str(workers))
    silence = Silence()
    with Upstream("origin", answer=answer or silence) as origin, Gateway(config, values={"origin": origin.address}) as gateway:
        try:
            yield gateway, origin
        finally:
            silence.over.set()


def last_line(gateway):
    return wait.until(lambda: gateway.log_lines() and gateway.log_lines()[-1], "the log has the line")


def test_a_client_gets_no_answer_that_it_does_not_wait_for():
    with serving() as (gateway, origin):
        check_problem(gateway.get("/", headers=[("x-wait", "100")]), 504, "deadline_exceeded")
        assert last_line(gateway)["flags"] == "DT"
        assert 1 <= int(origin.heads[0].headers.get("x-left")) <= 100


def test_a_server_is_told_the_request_timeout_and_not_what_a_client_wrote():
    with serving(lambda wire, request: (wire.read_request_body(request), wire.respond(200)), 'timeouts = { request = "5s" },') as (gateway, origin):
        assert gateway.get("/", headers=[("X-Left", "999999"), ("X-Left", "1")]).status == 200
        assert origin.heads[0].headers.all("x-left") == ["5000"]


@pytest.mark.parametrize("headers, settings", [([("x-wait", "2000")], ""), ([], 'timeouts = { stream = "2s" },')],
                         ids=["deadline", "longest duration"])
def test_an_answer_is_passed_on_when_its_pushback_leaves_no_time(headers, settings):
    def refuse(wire, request):
        wire.read_request_body(request)
        wire.respond(503, [("Retry-After", "8")])

    with serving(refuse, "retries = { on = { 503 } }, " + settings) as (gateway, origin):
        assert gateway.get("/", headers=headers).status == 503
        assert last_line(gateway)["flags"] == "URX"
        assert len(origin.heads) == 1


def test_a_tunnel_ends_after_the_longest_duration():
    def upgrade(wire, request):
        wire.send_head(101, [("Connection", "upgrade"), ("Upgrade", "echo")])
        while data := wire.read_some():
            wire.send(data)

    with serving(upgrade, 'timeouts = { stream = "300ms" },') as (gateway, _):
        client = gateway.connect()
        client.send_request("GET", "/", [("Connection", "upgrade"), ("Upgrade", "echo")])
        assert client.read_head().status == 101
        client.send(b"hello")
        assert client.read_exactly(5) == b"hello"
        assert client.is_at_end()
        line = last_line(gateway)
        assert (line["status"], line["flags"]) == (101, "UMSDR")


def test_a_breaker_of_a_route_is_that_of_all_workers():
    def fail(wire, request):
        wire.read_request_body(request)
        wire.respond(500, body=b"broken")

    policies = 'policies = { { "circuit_breaker", failures = 5, open = "1h" } },'
    with serving(fail, policies=policies, workers=4) as (gateway, origin):
        found = [gateway.get("/").status for _ in range(40)]
        assert found.count(500) == len(origin.heads)
        # a result counts when its exchange is over, which is a moment after the client has the answer
        assert 5 <= found.count(500) <= 8
        assert set(found[8:]) == {503}
        gateway.reload()
        assert gateway.get("/").status == 503


def test_the_log_says_who_asked_too_often():
    policies = 'policies = { { "rate_limit", limit = 1, window = "1h" } },'
    with serving(lambda wire, request: (wire.read_request_body(request), wire.respond(200)), policies=policies) as (gateway, _):
        assert [gateway.get("/").status for _ in range(2)] == [200, 429]
        lines = wait.until(lambda: len(gateway.log_lines()) == 2 and gateway.log_lines(), "the log has both lines")
        assert [line.get("flags") for line in lines] == [None, "RL"]
