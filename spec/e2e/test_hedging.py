# SPDX-License-Identifier: MIT
"""A request that is not answered after a while goes to a second endpoint: with real connections and streams, and what is told of it."""

import contextlib
import json
import threading

import pytest

from support import http2, wait
from support.checks import check_problem
from support.gateway import Gateway
from support.metrics import Metrics
from support.upstream import Silence, Upstream

CONFIG = """
return {
  admin = "unix:$dir/admin.sock",
  access_log = "$dir/access.log",
  workers = 1,
  explain = { token = "open sesame, please" },
  listeners = { { address = "127.0.0.1:0" } },
  upstreams = { origin = { endpoints = { ENDPOINTS }, protocol = "$protocol", breaker = {}, HEDGE } },
  routes = { { upstream = "origin" } },
}
"""
AT_ONCE = 'hedge = { after = "20ms" },'


@contextlib.contextmanager
def serving(addresses, hedge=AT_ONCE, protocol="h1"):
    endpoints = ", ".join(f'"{address}"' for address in addresses)
    config = CONFIG.replace("ENDPOINTS", endpoints).replace("HEDGE", hedge)
    with Gateway(config, values={"protocol": protocol}) as gateway:
        yield gateway


@contextlib.contextmanager
def silent_and_ready(hedge=AT_ONCE):
    """One endpoint that never answers and one that does."""
    silence = Silence()
    with Upstream("silent", answer=silence) as silent, Upstream("ready") as ready:
        with serving([silent.address, ready.address], hedge) as gateway:
            try:
                yield gateway, silent, ready
            finally:
                silence.over.set()


def hedges(gateway):
    metrics = Metrics(gateway.ask("GET", "/metrics").body.decode())
    return {result: metrics.sum("perigee_upstream_hedges_total", upstream="origin", result=result)
            for result in ("won", "lost", "failed", "overflow")}


def test_an_endpoint_that_does_not_answer_is_not_noticed():
    with silent_and_ready() as (gateway, silent, ready):
        assert [gateway.get("/").status for _ in range(20)] == [200] * 20
        won = hedges(gateway)["won"]
        assert 1 <= won <= 20
        assert len(silent.heads) == won and len(ready.heads) == 20
        upstream = gateway.ask_json("/upstreams")[0]
        breaker = upstream["breaker"]
        assert (breaker["requests"], breaker["retries"], breaker["pending"]) == (0, 0, 0)
        assert upstream["hedges"] == hedges(gateway)
        lines = wait.until(lambda: len(gateway.log_lines()) == 20 and gateway.log_lines(), "the log is complete")
        assert {line["attempts"] for line in lines} <= {1, 2}
        assert {line["endpoint"] for line in lines} == {ready.address}


def test_a_hedge_sends_the_whole_body():
    with silent_and_ready('hedge = { after = "20ms", non_idempotent = true },') as (gateway, _, ready):
        body = bytes(range(256)) * 100
        for _ in range(4):
            response = gateway.request("POST", "/", body=body)
            assert response.status == 200
            assert json.loads(response.body)["length"] == len(body)
        assert hedges(gateway)["won"] >= 1
        assert len(ready.heads) == 4


def test_explain_says_what_became_of_both():
    with silent_and_ready() as (gateway, silent, ready):
        for _ in range(4):
            response = gateway.get("/", headers=[("x-perigee-explain", "open sesame, please")])
            attempts = json.loads(response.headers.get("x-perigee-explain"))["attempts"]
            if len(attempts) == 2:
                break
        first, second = attempts
        assert (first["endpoint"], first["status"], first["note"]) == (silent.address, None, "cancelled: the hedge was answered")
        assert (second["endpoint"], second["status"]) == (ready.address, 200)


class Streams:
    """Streams of HTTP/2 as they come; they are answered together, by order, when all are there."""

    def __init__(self, count):
        self.waiting = []
        self.count = count
        self.answered = threading.Event()

    def __call__(self, stream):
        self.waiting.append(stream)


def frames(stream, text, body=True):
    """The answer to a stream as one run of bytes."""
    head = http2.frame(http2.HEADERS, http2.END_HEADERS | (0 if body else http2.END_STREAM), stream.number,
                       http2.literal([(":status", "200"), ("x-from", text)]))
    return head + (http2.frame(http2.DATA, http2.END_STREAM, stream.number, text.encode()) if body else b"")


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("body", [True, False])
def test_streams_of_one_session_that_are_answered_at_once_make_one_answer(order, body):
    streams = Streams(2)
    with http2.Upstream(streams) as upstream, serving([upstream.address], protocol="h2c") as gateway:
        for _ in range(3):
            streams.waiting.clear()
            client = gateway.connect()
            client.send_request("GET", "/")
            wait.until(lambda: len(streams.waiting) == 2, "both attempts came")
            assert len(upstream.sessions) == 1
            texts = ("first", "hedge")
            upstream.sessions[0].send_bytes(b"".join(frames(streams.waiting[i], texts[i], body) for i in order))
            response = client.read_response()
            assert response.status == 200
            assert response.headers.get("x-from") == texts[order[0]]
            assert response.body == (texts[order[0]].encode() if body else b"")
            client.close()
        counts = hedges(gateway)
        assert (counts["won"], counts["lost"]) == ((0, 3) if order[0] == 0 else (3, 0))


def test_a_stream_that_is_reset_leaves_its_place():
    streams = Streams(2)
    with http2.Upstream(streams) as upstream, serving([upstream.address], protocol="h2c") as gateway:
        client = gateway.connect()
        client.send_request("GET", "/")
        wait.until(lambda: len(streams.waiting) == 2, "both attempts came")
        first, hedge = streams.waiting
        first.reset()
        hedge.send_head([(":status", "200")])
        hedge.send(b"ab")
        hedge.send(b"cd")
        hedge.end([("x-sum", "4")])
        response = client.read_response()
        assert (response.status, response.body) == (200, b"abcd")
        assert response.trailers.get("x-sum") == "4"
        client.close()


def test_a_client_that_goes_away_ends_both():
    streams = Streams(2)
    with http2.Upstream(streams) as upstream, serving([upstream.address], protocol="h2c") as gateway:
        client = gateway.connect()
        client.send_request("GET", "/")
        wait.until(lambda: len(streams.waiting) == 2, "both attempts came")
        client.close()
        wait.until(lambda: all(stream.error is not None for stream in streams.waiting), "both streams were reset")
        wait.until(lambda: gateway.ask_json("/upstreams")[0]["breaker"]["requests"] == 0, "nothing was under way")


def test_both_may_fail():
    streams = Streams(2)
    with http2.Upstream(streams) as upstream, serving([upstream.address], protocol="h2c") as gateway:
        client = gateway.connect()
        client.send_request("GET", "/")
        wait.until(lambda: len(streams.waiting) == 2, "both attempts came")
        first, hedge = streams.waiting
        hedge.reset()  # nothing had come on its connection, which may have been closing: it is made again
        wait.until(lambda: len(streams.waiting) == 3, "the hedge came again")
        streams.waiting[2].reset()
        first.reset()
        check_problem(client.read_response(), 502, "upstream_reset")
        client.close()
        assert hedges(gateway) == {"won": 0, "lost": 0, "failed": 1, "overflow": 0}
