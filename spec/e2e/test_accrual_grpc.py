# SPDX-License-Identifier: MIT
"""Failure accrual with gRPC: a call is judged by the status in its trailers, and a probation lasts until they are there."""

import contextlib
import threading

import pytest

from support import http2, wait
from support.gateway import Gateway

CONFIG = """
return {
  admin = "unix:$dir/admin.sock",
  access_log = "off",
  workers = 1,
  listeners = { { address = "127.0.0.1:0" } },
  upstreams = { calls = { endpoints = { "$a", "$b" }, protocol = "h2c", accrual = { ACCRUAL }, SETTINGS } },
  routes = {
    { match = { path = "/fetch" }, handler = function(req)
        local res = require("perigee").http.fetch("http://calls/fetched", { method = "POST", headers = HEADERS })
        return reply(res and res.status or 502)
    end },
    { match = { path = "/web" }, upstream = "calls", policies = { "grpc_web" } },
    { match = {}, upstream = "calls" },
  },
}
""".replace("HEADERS", '{ ["content-type"] = "application/grpc", te = "trailers" }')

LONG = 'backoff = { min = "1h", max = "1h" }'
QUICK = 'failures = 1, backoff = { min = "20ms", max = "20ms", jitter = 0 }'
HEAD = [(":status", "200"), ("content-type", "application/grpc")]
MESSAGE = b"\0\0\0\0\2hi"
MIDDLE = "/chat"  # a call that is kept in the middle of its response


def ended_with(status):
    """A call with a message, and its status in the trailers."""
    def answer(stream):
        stream.send_head(HEAD)
        stream.send(MESSAGE)
        stream.end([("grpc-status", status)])
    return answer


def break_off(stream):
    stream.send_head(HEAD)
    stream.send(MESSAGE)
    stream.reset(http2.INTERNAL_ERROR)


class Server:
    """An endpoint; calls of MIDDLE wait until `opened`, the others are answered by `answer`."""

    def __init__(self):
        self.answer = ended_with("0")
        self.opened = threading.Event()
        self.calls = []
        self.upstream = http2.Upstream(self.serve)
        self.address = self.upstream.address

    def serve(self, stream):
        stream.wait_end()
        self.calls.append(stream.pseudo(":path"))
        if stream.pseudo(":path") == MIDDLE:
            stream.send_head(HEAD)
            stream.send(MESSAGE)
            assert self.opened.wait(wait.PATIENCE)
            stream.end([("grpc-status", "0")])
        else:
            self.answer(stream)

    def close(self):
        self.opened.set()
        self.upstream.close()


@contextlib.contextmanager
def serving(accrual, settings=""):
    with contextlib.ExitStack() as stack:
        a, b = [stack.enter_context(contextlib.closing(Server())) for _ in range(2)]
        config = CONFIG.replace("ACCRUAL", accrual).replace("SETTINGS", settings)
        gateway = stack.enter_context(Gateway(config, values={"a": a.address, "b": b.address}))
        yield gateway, a, b


def call(gateway, path="/call", kind="application/grpc"):
    return gateway.request("POST", path, [("content-type", kind), ("te", "trailers")], b"\0\0\0\0\0")


def endpoint(gateway, server):
    upstream, = gateway.ask_json("/upstreams")
    return next(each for each in upstream["endpoints"] if each["address"] == server.address)


@contextlib.contextmanager
def chat(gateway, server):
    """A call on `server` of which the first message is there."""
    with contextlib.ExitStack() as stack:
        before = server.calls.count(MIDDLE)
        while server.calls.count(MIDDLE) == before:
            session = stack.enter_context(contextlib.closing(http2.connect(gateway.address)))
            stream = session.request("POST", MIDDLE, [("content-type", "application/grpc"), ("te", "trailers")], b"\0\0\0\0\0")
            stream.wait_body(len(MESSAGE))
        yield session, stream


@pytest.mark.parametrize("path, kind", [("/call", "application/grpc"), ("/fetch", "application/grpc"), ("/web", "application/grpc-web+proto")],
                         ids=["forwarded", "fetched", "translated"])
def test_seven_calls_with_a_bad_status_in_their_trailers_shut(path, kind):
    with serving(LONG) as (gateway, a, b):
        a.answer = ended_with("14")
        for _ in range(30):
            assert call(gateway, path, kind).status == 200
        assert (len(a.calls), len(b.calls)) == (7, 23)
        assert (endpoint(gateway, a)["state"], endpoint(gateway, a)["reason"]) == ("shut", "consecutive_failures")


def test_calls_that_are_refused_as_they_should_be_are_no_failures():
    with serving(LONG) as (gateway, a, _):
        a.answer = ended_with("5")  # NOT_FOUND
        for _ in range(30):
            call(gateway)
        assert len(a.calls) == 15


def test_a_status_in_the_trailers_counts_for_the_rate():
    with serving('kind = "unified", ' + LONG) as (gateway, a, _):
        a.answer = ended_with("8")  # RESOURCE_EXHAUSTED
        for _ in range(30):
            call(gateway)
        assert len(a.calls) == 5
        assert endpoint(gateway, a)["reason"] == "success_rate"


def test_calls_that_break_off_are_failures():
    with serving(LONG) as (gateway, a, b):
        a.answer = break_off
        for _ in range(30):
            with contextlib.closing(http2.connect(gateway.address)) as session:
                session.request("POST", "/call", [("content-type", "application/grpc")], b"\0\0\0\0\0").wait_over()
        assert (len(a.calls), len(b.calls)) == (7, 23)


def test_calls_that_their_clients_cancel_say_nothing():
    with serving(QUICK) as (gateway, a, b):
        for _ in range(3):
            with chat(gateway, a) as (_, stream):
                stream.reset()
        assert endpoint(gateway, a)["state"] == endpoint(gateway, b)["state"] == "healthy"


def test_a_probation_lasts_until_the_trailers_are_there():
    with serving(QUICK, 'timeouts = { request = "1h" }') as (gateway, a, b):
        a.answer = ended_with("14")
        wait.until(lambda: call(gateway) and endpoint(gateway, a)["shuts"] == 1, "it was shut")
        with chat(gateway, a) as (_, stream):
            assert endpoint(gateway, a)["state"] == "probation"
            before, others = len(a.calls), len(b.calls)
            for _ in range(10):
                call(gateway)
            assert (len(a.calls), len(b.calls)) == (before, others + 10)
            a.opened.set()
            assert stream.wait_end().trailers.get("grpc-status") == "0"
            wait.until(lambda: endpoint(gateway, a)["state"] == "healthy", "it was open again")


def test_a_probation_whose_client_leaves_is_the_next_calls():
    with serving(QUICK, 'timeouts = { request = "1h" }') as (gateway, a, _):
        a.answer = ended_with("14")
        wait.until(lambda: call(gateway) and endpoint(gateway, a)["shuts"] == 1, "it was shut")
        with chat(gateway, a) as (_, stream):
            stream.reset()
            a.answer = ended_with("0")
            wait.until(lambda: call(gateway) and endpoint(gateway, a)["state"] == "healthy", "another call decided")


def test_a_stream_that_goes_on_opens_its_endpoint_when_the_time_of_the_probation_is_over():
    with serving(QUICK, 'timeouts = { connect = "100ms", request = "300ms" }') as (gateway, a, _):
        a.answer = ended_with("14")
        wait.until(lambda: call(gateway) and endpoint(gateway, a)["shuts"] == 1, "it was shut")
        with chat(gateway, a) as (_, stream):
            a.answer = ended_with("0")
            wait.until(lambda: call(gateway) and endpoint(gateway, a)["state"] == "healthy", "it was open again")
            assert not stream.is_over()
            wait.until(lambda: f"upstream calls: {a.address} is open again" in gateway.errors, "the log says so")
