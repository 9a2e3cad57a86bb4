# SPDX-License-Identifier: MIT
"""WebSocket where HTTP/2 is on a side: extended CONNECT (RFC 8441) to and from the handshake of HTTP/1.1. Tunnels between two HTTP/1.1 are in
test_connections.py."""

import base64
import hashlib
import os
import threading

import pytest

from support import http1, http2, wait
from support.gateway import Gateway

CONFIG = """
return {
  admin = "unix:$dir/admin.sock",
  access_log = "$dir/access.log",
  workers = 1,
  listeners = { { address = "127.0.0.1:0" }, { address = "127.0.0.1:0", timeouts = { stream_idle = "300ms" } } },
  upstreams = { origin = { endpoints = { "$origin" }, protocol = "$protocol" } },
  routes = {
    { name = "reply", match = { path = "/reply" }, reply = "no WebSocket" },
    { name = "handler", match = { path = "/handler" }, handler = function() return reply(200, "no WebSocket") end },
    { name = "denied", match = { path = "/denied" }, policies = { "deny" }, upstream = "origin" },
    { name = "all", match = {}, upstream = "origin" },
  },
}
"""

DENY = """
local perigee = require "perigee"
local Deny = perigee.policy { name = "deny", stage = "auth", schema = {} }
function Deny:on_request() return perigee.reply(403, "denied") end
return Deny
"""

MIB = 1024 * 1024


def start(origin, protocol="h1"):
    return Gateway(CONFIG, files={"policies/deny/init.lua": DENY}, values={"origin": origin.address, "protocol": protocol})


@pytest.fixture(scope="module")
def gateway(origin):
    with start(origin) as gateway:
        yield gateway


@pytest.fixture
def client(gateway):
    with http2.connect(gateway.address) as client:
        yield client


def accept_of(key):
    return base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()


def agree(wire, request, accept=None, upgrade="websocket"):
    key = request.headers.get("sec-websocket-key")
    accept = accept_of(key) if accept is None else accept
    wire.send_head(101, [("Connection", "Upgrade"), ("Upgrade", upgrade), ("Sec-WebSocket-Accept", accept), ("Sec-WebSocket-Protocol", "chat")],
                   "Switching Protocols")


def echo(wire, request):
    agree(wire, request)
    while data := wire.read_some():
        wire.send(data)
    raise http1.Closed


def ask(client, path="/socket", headers=(("sec-websocket-version", "13"),), protocol="websocket"):
    fields = http2.request_fields("CONNECT", path, headers)
    return client.open([fields[0], (":protocol", protocol), *fields[1:]], ends=False)


def open_tunnel(client, origin, path="/socket"):
    origin.answer = echo
    stream = ask(client, path).wait_head()
    assert stream.status == 200, stream
    return stream


# ---------------------------------------------------------------- a client of HTTP/2


def test_the_gateway_says_that_it_takes_extended_connect(client):
    assert client.wait_settings()[http2.ENABLE_CONNECT_PROTOCOL] == 1


def test_an_extended_connect_becomes_the_handshake_of_http_1(client, origin):
    stream = open_tunnel(client, origin)
    request = origin.heads[-1]
    assert (request.method, request.target) == ("GET", "/socket")
    assert request.headers.get("connection").lower() == "upgrade"
    assert request.headers.get("upgrade") == "websocket"
    assert len(base64.b64decode(request.headers.get("sec-websocket-key"))) == 16
    assert request.headers.get("sec-websocket-version") == "13"
    assert request.headers.get("content-length") is None and request.headers.get("transfer-encoding") is None
    assert stream.headers.get("sec-websocket-protocol") == "chat"
    assert not {"sec-websocket-accept", "connection", "upgrade", "content-length"} & set(stream.headers.names())
    stream.reset()


def test_each_tunnel_has_a_key_of_its_own_and_not_one_of_the_client(client, origin):
    for _ in range(2):
        origin.answer = echo
        ask(client, headers=[("sec-websocket-key", "Y2xpZW50"), ("sec-websocket-version", "13")]).wait_head().reset()
    first, second = (request.headers.get("sec-websocket-key") for request in origin.heads)
    assert len({first, second, "Y2xpZW50"}) == 3


def test_frames_pass_untouched_both_ways(client, origin):
    stream = open_tunnel(client, origin)
    data = b"\x81\x85mask\x05\x04\x1f\x07\x02" + os.urandom(MIB) + b"\r\n\r\nGET / HTTP/1.1\r\n\r\n"
    sender = threading.Thread(target=stream.send, args=(data,), daemon=True)
    sender.start()
    assert bytes(stream.wait_body(len(data)).body) == data
    sender.join()
    assert not stream.is_ended
    stream.reset()


def test_tunnels_and_requests_share_a_connection(client, origin):
    tunnels = [open_tunnel(client, origin, f"/socket/{n}") for n in range(20)]
    assert client.get("/reply").status == 200
    for n, stream in enumerate(tunnels):
        stream.send(b"%d" % n)
    for n, stream in enumerate(tunnels):
        assert stream.wait_body(len(str(n))).text() == str(n)
        stream.reset()


def test_what_is_sent_early_waits_for_the_101(client, gateway, origin):
    gate = threading.Event()
    seen_early = []

    def answer(wire, request):
        assert gate.wait(wait.PATIENCE)
        seen_early.append(bytes(wire.log).partition(b"\r\n\r\n")[2])
        echo(wire, request)

    origin.answer = answer
    stream = ask(client)
    stream.send(b"early bytes")
    origin.wait_for_heads(1)
    for _ in range(3):  # the worker turns its loop: had it forwarded the bytes, they would be there
        assert gateway.get("/reply").status == 200
    gate.set()
    assert stream.wait_body(11).text() == "early bytes"
    assert seen_early == [b""]
    stream.reset()


def test_a_client_that_ends_early_ends_the_tunnel_behind_its_last_byte(client, origin):
    got = []

    def answer(wire, request):
        agree(wire, request)
        got.append(wire.read_rest())
        wire.send(b"bye")
        raise http1.Closed

    origin.answer = answer
    stream = ask(client)
    stream.send(b"all", ends=True)
    assert stream.wait_end().text() == "bye"
    assert got == [b"all"]


@pytest.mark.parametrize("how", ["end", "reset"])
def test_the_end_of_the_client_is_passed_on(client, origin, how):
    stream = open_tunnel(client, origin)
    tunnel = origin.connections[-1]
    stream.end() if how == "end" else stream.reset()
    assert tunnel.is_closed.wait(wait.PATIENCE)
    assert client.get("/reply").status == 200


def test_the_end_of_the_upstream_is_passed_on(client, origin):
    stream = open_tunnel(client, origin)
    origin.connections[-1].close()
    assert stream.wait_over().is_ended
    assert client.get("/reply").status == 200


# ---------------------------------------------------------------- what is no tunnel


WRONG = {
    "a wrong Sec-WebSocket-Accept": lambda wire, request: agree(wire, request, accept="s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
    "an empty Sec-WebSocket-Accept": lambda wire, request: agree(wire, request, accept=""),
    "another protocol": lambda wire, request: agree(wire, request, upgrade="other"),
    "200": lambda wire, request: wire.respond(200, body=b"plain"),
    "204": lambda wire, request: wire.send_head(204),
}


@pytest.mark.parametrize("answer", WRONG.values(), ids=WRONG.keys())
def test_an_answer_that_opens_no_tunnel_is_a_502(client, origin, answer):
    origin.answer = answer
    stream = ask(client)
    stream.send(b"never")
    assert stream.wait_end().status == 502
    assert b"upstream_protocol" in stream.body
    assert b"never" not in bytes(origin.connections[-1].log)
    assert client.get("/reply").status == 200


@pytest.mark.parametrize("status", [301, 401, 426, 503])
def test_a_refusal_of_the_upstream_arrives(client, origin, status):
    origin.answer = lambda wire, request: wire.respond(status, body=b"no")
    stream = ask(client).wait_end()
    assert (stream.status, stream.text()) == (status, "no")


def test_a_policy_refuses_as_for_every_request(client, origin):
    assert ask(client, "/denied").wait_end().status == 403
    assert origin.heads == []


@pytest.mark.parametrize("path", ["/reply", "/handler"])
def test_a_route_that_answers_itself_opens_no_tunnel(client, path):
    assert ask(client, path).wait_end().status == 502


def test_an_extended_connect_that_ends_at_once_is_malformed(client, origin):
    fields = http2.request_fields("CONNECT", "/socket")
    stream = client.open([fields[0], (":protocol", "websocket"), *fields[1:]], ends=True).wait_over()
    assert stream.error == http2.PROTOCOL_ERROR
    assert origin.heads == []


# ---------------------------------------------------------------- time, reloads, the end


def test_an_idle_tunnel_is_closed_and_logged_as_idle(gateway, origin):
    with http2.connect(gateway.addresses[1]) as client:
        stream = open_tunnel(client, origin, "/idle")
        stream.send(b"x")
        stream.wait_body(1)
        stream.wait_over()
        assert stream.error is not None
        assert origin.connections[-1].is_closed.wait(wait.PATIENCE)
    line = wait.until(lambda: [line for line in gateway.log_lines() if line["path"] == "/idle"], "the tunnel was logged")[0]
    assert line["flags"] == "SI", line


def test_a_tunnel_survives_reloads(client, gateway, origin):
    stream = open_tunnel(client, origin)
    for word, size in ((b"one", 3), (b"two", 6)):
        gateway.reload()
        stream.send(word)
        stream.wait_body(size)
    assert stream.text() == "onetwo"
    stream.reset()


def test_a_drain_leaves_a_tunnel_its_time(origin):
    gateway = start(origin)
    with gateway, http2.connect(gateway.address) as client:
        stream = open_tunnel(client, origin)
        gateway.signal()
        wait.until(lambda: len(client.goaways) == 2, "both GOAWAYs came")
        stream.send(b"still")
        stream.wait_body(5)
        stream.end()
        assert client.wait_closed() == http2.NO_ERROR


# ---------------------------------------------------------------- an upstream of HTTP/2


def echo2(stream):
    seen.append(stream)
    assert stream.pseudo(":method") == "CONNECT" and stream.pseudo(":protocol") == "websocket"
    stream.send_head([(":status", "200"), ("sec-websocket-protocol", "chat")])
    at = 0
    while stream.until(lambda: len(stream.body) > at, "more came"):
        part, at = bytes(stream.body[at:]), len(stream.body)
        stream.send(part)
    stream.end()


seen = []


@pytest.fixture
def far():
    seen.clear()
    with http2.Upstream(echo2, {http2.ENABLE_CONNECT_PROTOCOL: 1}) as upstream, start(upstream, "h2c") as gateway:
        yield gateway
        assert upstream.failures == []


def test_the_handshake_of_http_1_becomes_an_extended_connect(far):
    key = base64.b64encode(b"0123456789abcdef").decode()
    for _ in range(2):
        with far.connect() as client:
            response = client.request("GET", "/socket", [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Key", key),
                                                         ("Sec-WebSocket-Version", "13")])
            assert response.status == 101
            assert response.headers.get("sec-websocket-accept") == accept_of(key)
            assert response.headers.get("sec-websocket-protocol") == "chat"
            client.send(b"ping")
            assert client.read_exactly(4) == b"ping"
    assert "sec-websocket-key" not in seen[0].headers
    assert seen[0].headers.get("sec-websocket-version") == "13"


def test_a_websocket_passes_from_http_2_to_http_2(far):
    with http2.connect(far.address) as client:
        stream = ask(client).wait_head()
        assert stream.status == 200, stream
        stream.send(b"ping", ends=True)
        assert stream.wait_end().text() == "ping"
        assert not any(name.startswith("sec-websocket-accept") for name in stream.headers.names())


@pytest.mark.parametrize("version", [1, 2])
def test_an_upstream_of_http_2_without_extended_connect_is_a_502(version):
    with http2.Upstream(lambda stream: None) as upstream, start(upstream, "h2c") as gateway:
        if version == 2:
            with http2.connect(gateway.address) as client:
                assert ask(client).wait_end().status == 502
        else:
            headers = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Key", "MDEyMzQ1Njc4OWFiY2RlZg==")]
            assert gateway.request("GET", "/socket", headers).status == 502
