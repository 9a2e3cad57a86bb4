# SPDX-License-Identifier: MIT
"""Connections on both sides: keep-alive, pipelining, pools, retries, aborts, tunnels, unix sockets."""

import base64
import contextlib
import hashlib
import os
import threading
import time

import pytest

from support import http1, wait
from support.checks import check_problem
from support.gateway import Gateway
from support.upstream import Seen, Upstream, describe

CONFIG = """
return {
  admin = "unix:$dir/admin.sock",
  access_log = "$dir/access.log",
  workers = 1,
  listeners = { { address = "127.0.0.1:0" }, { address = "unix:$dir/front.sock" } },
  upstreams = {
    origin = { endpoints = { "$origin" } },
    unix = { endpoints = { "$back" } },
    brief = { endpoints = { "$brief" }, pool = { idle = "100ms" } },
    twice = { endpoints = { "$twice" }, pool = { max_requests = 2 } },
    single = { endpoints = { "$single" }, pool = { max_idle = 0 } },
    again = { endpoints = { "$origin" }, pool = { max_idle = 0 } },
  },
  routes = {
    { name = "unix", match = { path = "/unix/*" }, upstream = "unix" },
    { name = "brief", match = { path = "/brief/*" }, upstream = "brief" },
    { name = "twice", match = { path = "/twice/*" }, upstream = "twice" },
    { name = "single", match = { path = "/single/*" }, upstream = "single" },
    { name = "again", match = { path = "/again/*" }, upstream = "again" },
    { name = "all", match = {}, upstream = "origin" },
  },
}
"""


@pytest.fixture(scope="module")
def others():
    """Upstreams beside the origin, by name: the pools of two upstreams are told apart by their addresses here."""
    with contextlib.ExitStack() as stack:
        back = stack.enter_context(Upstream("back", address=f"unix:/tmp/perigee-back-{os.getpid()}.sock"))
        yield {"back": back, **{name: stack.enter_context(Upstream(name)) for name in ("brief", "twice", "single")}}


@pytest.fixture(scope="module")
def gateway(origin, others):
    values = {"origin": origin.address, **{name: upstream.address for name, upstream in others.items()}}
    with Gateway(CONFIG, values=values) as started:
        yield started


# ---------------------------------------------------------------- clients


def test_many_requests_use_one_connection(gateway):
    with gateway.connect() as client:
        for i in range(50):
            assert Seen(client.get(f"/{i}")).target == f"/{i}"


def test_pipelined_requests_are_answered_in_order(gateway):
    with gateway.connect() as client:
        client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % i for i in range(40)))
        assert [Seen(client.read_response()).target for _ in range(40)] == [f"/{i}" for i in range(40)]


def test_pipelined_bodies_are_kept_apart(gateway):
    requests = [b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s" % (i, i, b"x" * i) for i in range(20)]
    chunked = b"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + http1.chunk(b"abc") + b"0\r\n\r\n"
    with gateway.connect() as client:
        client.send(b"".join(requests) + chunked + b"GET /end HTTP/1.1\r\nHost: a\r\n\r\n")
        assert [Seen(client.read_response()).length for _ in range(20)] == list(range(20))
        assert Seen(client.read_response()).length == 3
        assert Seen(client.read_response()).target == "/end"


def test_more_pipelined_requests_than_fit_in_memory_are_answered(gateway):
    request = b"GET / HTTP/1.1\r\nHost: a\r\nX-Pad: " + b"p" * 4000 + b"\r\n\r\n"
    with gateway.connect() as client:
        sender = threading.Thread(target=client.send, args=(request * 200,), daemon=True)
        sender.start()
        for _ in range(200):
            assert client.read_response().status == 200
        sender.join()


def test_requests_of_several_connections_run_side_by_side(gateway, origin):
    first_is_done = threading.Event()

    def answer(wire, request):
        if request.target == "/waits":
            assert first_is_done.wait(wait.PATIENCE)
        describe(wire, request)

    origin.answer = answer
    with gateway.connect() as slow, gateway.connect() as quick:
        slow.send_request("GET", "/waits")
        origin.wait_for_heads(1)
        assert Seen(quick.get("/quick")).target == "/quick"
        first_is_done.set()
        assert Seen(slow.read_response()).target == "/waits"


def test_connection_close_is_honoured(gateway):
    with gateway.connect() as client:
        response = client.get("/", [("Connection", "close")])
        assert response.headers.get("connection") == "close"
        assert client.is_at_end()


def test_http_1_0_is_answered_and_closed(gateway):
    with gateway.connect() as client:
        response = client.request("GET", "/", version="1.0")
        assert Seen(response).version == "1.1"
        assert client.is_at_end()


def test_http_1_0_needs_no_host(gateway, origin):
    with gateway.connect() as client:
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        seen = Seen(client.read_response())
        assert len(seen.headers.all("host")) == 1


def test_http_1_0_keep_alive_is_honoured(gateway):
    with gateway.connect() as client:
        for _ in range(3):
            response = client.request("GET", "/", [("Connection", "keep-alive")], version="1.0")
            assert response.headers.get("connection").lower() == "keep-alive"
            assert response.status == 200


def test_http_1_0_gets_no_chunks(gateway, origin):
    def answer(wire, _):
        wire.send_head(200, [("Transfer-Encoding", "chunked")])
        wire.send(http1.chunk(b"abc") + http1.chunk(b"def") + b"0\r\n\r\n")

    origin.answer = answer
    with gateway.connect() as client:
        response = client.request("GET", "/", [("Connection", "keep-alive")], version="1.0")
        assert "transfer-encoding" not in response.headers
        assert response.body == b"abcdef"


def test_blank_lines_before_a_request_are_skipped(gateway):
    with gateway.connect() as client:
        client.send(b"\r\n\r\nGET /after-blank-lines HTTP/1.1\r\nHost: a\r\n\r\n")
        assert Seen(client.read_response()).target == "/after-blank-lines"


def test_a_unix_listener_serves(gateway):
    with gateway.connect(1) as client:
        assert Seen(client.get("/a")).target == "/a"
        assert Seen(client.request("POST", "/b", body=b"x" * 100_000)).length == 100_000


def test_a_unix_upstream_is_reached_and_pooled(gateway):
    first, second = Seen(gateway.get("/unix/1")), Seen(gateway.get("/unix/2"))
    assert (first.upstream, first.connection) == ("back", second.connection)


# ---------------------------------------------------------------- the pool


def test_upstream_connections_are_used_again(gateway):
    assert len({Seen(gateway.get("/")).connection for _ in range(10)}) == 1


def test_a_connection_is_used_again_after_every_framing(gateway, origin):
    def answer(wire, request):
        wire.read_request_body(request)
        if request.target == "/chunked":
            wire.send_head(200, [("Transfer-Encoding", "chunked")])
            wire.send(http1.chunk(b"abc") + b"0\r\n\r\n")
        else:
            wire.respond(int(request.target[1:]), [], b"")

    origin.answer = answer
    assert gateway.get("/200").status == 200
    number = len(origin.connections)
    assert gateway.get("/chunked").body == b"abc"
    assert gateway.get("/404").status == 404
    assert gateway.request("POST", "/200", body=b"x").status == 200
    assert len(origin.connections) == number


def test_an_idle_upstream_connection_is_closed_in_time(gateway, others):
    number = Seen(gateway.get("/brief/")).connection
    assert others["brief"].connections[number].is_closed.wait(wait.PATIENCE)
    assert Seen(gateway.get("/brief/")).connection != number


def test_a_connection_carries_only_as_many_requests_as_allowed(gateway):
    numbers = [Seen(gateway.get("/twice/")).connection for _ in range(4)]
    assert numbers[0] == numbers[1] != numbers[2] == numbers[3]


def test_without_a_pool_each_request_has_its_connection(gateway):
    assert len({Seen(gateway.get("/single/")).connection for _ in range(3)}) == 3


def test_two_upstreams_at_one_address_keep_their_own_pool_settings(gateway):
    assert len({Seen(gateway.get("/again/")).connection for _ in range(3)}) == 3
    assert len({Seen(gateway.get("/")).connection for _ in range(3)}) == 1


def test_an_upstream_that_closes_after_a_response_is_not_used_again(gateway, origin):
    def answer(wire, request):
        wire.read_request_body(request)
        wire.respond(200, [("Connection", "close")], b"bye")
        wire.close()

    origin.answer = answer
    with gateway.connect() as client:
        assert client.get("/").body == b"bye"
        origin.forget()
        assert Seen(client.get("/")).target == "/"


def test_bytes_beyond_a_response_are_never_taken_for_the_next_one(gateway, origin):
    origin.answer = lambda wire, _: wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    with gateway.connect() as client:
        assert client.get("/").body == b"ok"
        origin.forget()
        assert Seen(client.get("/next")).target == "/next"


def stale(origin, gateway):
    """Leaves a pooled connection that the upstream closes as soon as a request comes; returns its number."""
    number = Seen(gateway.get("/")).connection
    before = len(origin.connections)
    origin.heads.clear()

    def answer(wire, request):
        if wire.number < before:
            wire.close()
        else:
            describe(wire, request)

    origin.answer = answer
    return number


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "DELETE"])
def test_a_stale_connection_is_retried_once(gateway, origin, method):
    stale(origin, gateway)
    assert gateway.request(method, "/retry").status == 200
    assert origin.targets == ["/retry", "/retry"]


def test_a_post_is_not_retried(gateway, origin):
    stale(origin, gateway)
    check_problem(gateway.request("POST", "/once", body=b"pay"), 502, "upstream_reset")
    assert origin.targets == ["/once"]


def test_a_put_whose_body_is_on_its_way_is_not_retried(gateway, origin):
    stale(origin, gateway)
    check_problem(gateway.request("PUT", "/once", body=b"x" * 100_000), 502, "upstream_reset")
    assert origin.targets == ["/once"]


def test_the_retry_is_not_retried(gateway, origin):
    stale(origin, gateway)
    origin.answer = lambda wire, _: wire.close()
    check_problem(gateway.get("/twice-only"), 502, "upstream_reset")
    assert origin.targets == ["/twice-only", "/twice-only"]


def test_a_fresh_connection_that_is_closed_is_no_stale_one(gateway, others):
    single = others["single"]
    single.forget()
    single.answer = lambda wire, _: wire.close()
    check_problem(gateway.get("/single/"), 502, "upstream_reset")
    assert single.targets == ["/single/"]
    single.forget()


# ---------------------------------------------------------------- aborts


def watch_end(origin, head=None):
    """Makes the origin keep a request open until its connection ends; the event tells that it did."""
    ended = threading.Event()

    def answer(wire, _):
        if head:
            wire.send(head)
        wire.read_rest()
        ended.set()
        raise http1.Closed

    origin.answer = answer
    return ended


def test_a_client_that_leaves_before_the_response_cancels_the_upstream(gateway, origin):
    ended = watch_end(origin)
    with gateway.connect() as client:
        client.send_request("GET", "/")
        origin.wait_for_heads(1)
    assert ended.wait(wait.PATIENCE)


def test_a_client_that_leaves_during_a_download_cancels_the_upstream(gateway, origin):
    ended = watch_end(origin, b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nabc")
    with gateway.connect() as client:
        client.send_request("GET", "/")
        client.read_until(b"abc")
    assert ended.wait(wait.PATIENCE)


def test_a_client_that_resets_cancels_the_upstream(gateway, origin):
    ended = watch_end(origin)
    client = gateway.connect()
    client.send_request("GET", "/")
    origin.wait_for_heads(1)
    client.reset()
    assert ended.wait(wait.PATIENCE)


@pytest.mark.parametrize("framing", [("Content-Length", "1000"), ("Transfer-Encoding", "chunked")])
def test_an_upload_that_breaks_off_never_looks_complete(gateway, origin, framing):
    with gateway.connect() as client:
        client.send_request("POST", "/", [framing])
        client.send(b"3\r\nabc\r\n")
        origin.wait_for_heads(1)
        number = len(origin.connections) - 1
    assert origin.connections[number].is_closed.wait(wait.PATIENCE)
    assert origin.complete == []


@pytest.mark.parametrize("head", [b"Content-Length: 1000\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"])
def test_an_upstream_that_breaks_off_breaks_the_transfer(gateway, origin, head):
    def answer(wire, _):
        wire.send(b"HTTP/1.1 200 OK\r\n" + head)
        wire.close()

    origin.answer = answer
    with gateway.connect() as client:
        client.send_request("GET", "/")
        with pytest.raises(http1.Closed):
            client.read_response()


def test_an_upstream_that_breaks_off_is_no_clean_end_for_http_1_0(gateway, origin):
    def answer(wire, _):
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        wire.close()

    origin.answer = answer
    with gateway.connect() as client:
        client.send_request("GET", "/", version="1.0")
        client.read_head()
        client.read_rest()
        assert client.is_reset, "the end of the connection is the end of the body: only a reset says that it is broken"


def test_aborted_exchanges_leave_the_gateway_as_it_was(gateway, origin):
    watch_end(origin)
    clients = [gateway.connect() for _ in range(50)]
    for client in clients:
        client.send_request("GET", "/")
    origin.wait_for_heads(50)
    for client in clients:
        client.reset()
    origin.forget()
    assert Seen(gateway.get("/after")).target == "/after"
    wait.until(lambda: sum(worker["connections"] for worker in gateway.ask_json("/status")["workers"]) <= 1, "the connections were gone")


# ---------------------------------------------------------------- tunnels

KEY = base64.b64encode(b"0123456789abcdef").decode()
ACCEPT = base64.b64encode(hashlib.sha1((KEY + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
WEBSOCKET = [("Connection", "keep-alive, Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Key", KEY), ("Sec-WebSocket-Version", "13")]


def echo_tunnel(wire, request):
    assert request.headers.get("upgrade") == "websocket"
    assert request.headers.get("connection").lower() == "upgrade"
    assert request.headers.get("sec-websocket-key") == KEY
    wire.send_head(101, [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Accept", ACCEPT)], "Switching Protocols")
    while (data := wire.read_some()):
        wire.send(data)
    raise http1.Closed


def open_tunnel(gateway, origin):
    origin.answer = echo_tunnel
    client = gateway.connect()
    response = client.request("GET", "/socket", WEBSOCKET)
    assert response.status == 101, response
    assert response.headers.get("upgrade") == "websocket"
    assert response.headers.get("connection").lower() == "upgrade"
    assert response.headers.get("sec-websocket-accept") == ACCEPT
    return client


def test_a_websocket_echoes_through_the_gateway(gateway, origin):
    with open_tunnel(gateway, origin) as client:
        for frame in (b"\x81\x85mask\x05\x04\x1f\x07\x02", b"\x82\xfe" + os.urandom(500), b"\x00\r\n\r\nGET / HTTP/1.1\r\n\r\n"):
            client.send(frame)
            assert client.read_exactly(len(frame)) == frame


def test_a_tunnel_carries_megabytes_both_ways(gateway, origin):
    data = os.urandom(4 * 1024 * 1024)
    with open_tunnel(gateway, origin) as client:
        sender = threading.Thread(target=client.send, args=(data,), daemon=True)
        sender.start()
        assert client.read_exactly(len(data)) == data
        sender.join()


@pytest.mark.parametrize("late", ["client", "upstream"])
def test_a_tunnel_waits_for_a_late_reader_and_loses_nothing(gateway, origin, late):
    data = os.urandom(1024 * 1024) * 64  # more than the buffers on the way hold
    may_read = threading.Event()
    arrived = []

    def answer(wire, _):
        wire.send_head(101, [("Connection", "Upgrade"), ("Upgrade", "websocket")], "Switching Protocols")
        if late == "upstream":
            assert may_read.wait(wait.PATIENCE)
            arrived.append(wire.read_exactly(len(data)))
            wire.send(b"done")
        else:
            wire.send(data)
        wire.read_rest()
        raise http1.Closed

    origin.answer = answer
    with gateway.connect() as client:
        assert client.request("GET", "/socket", WEBSOCKET).status == 101
        if late == "upstream":
            sender = threading.Thread(target=client.send, args=(data,), daemon=True)
            sender.start()
            sender.join(0.3)
            assert sender.is_alive(), "the sender is held up"
            may_read.set()
            assert client.read_exactly(4) == b"done"
        else:
            time.sleep(0.3)  # a reader that is late
            arrived.append(client.read_exactly(len(data)))
    assert hashlib.sha256(arrived[0]).digest() == hashlib.sha256(data).digest()


def test_the_end_of_a_tunnel_is_passed_on_to_the_upstream(gateway, origin):
    with open_tunnel(gateway, origin):
        tunnel = origin.connections[-1]
    assert tunnel.is_closed.wait(wait.PATIENCE)


def test_the_end_of_a_tunnel_is_passed_on_to_the_client(gateway, origin):
    with open_tunnel(gateway, origin) as client:
        origin.connections[-1].close()
        assert client.is_at_end()


def test_bytes_sent_early_wait_for_the_101(gateway, origin):
    may_answer = threading.Event()
    seen_early = []

    def answer(wire, request):
        if request.target != "/socket":
            return describe(wire, request)
        assert may_answer.wait(wait.PATIENCE)
        seen_early.append(bytes(wire.log).partition(b"\r\n\r\n")[2])
        return echo_tunnel(wire, request)

    origin.answer = answer
    with gateway.connect() as client:
        fields = "".join(f"{name}: {value}\r\n" for name, value in WEBSOCKET)
        client.send(f"GET /socket HTTP/1.1\r\nHost: a\r\n{fields}\r\nearly bytes".encode())
        origin.wait_for_heads(1)
        for _ in range(3):  # the worker turns its loop: had it forwarded the bytes, they would be there
            assert gateway.get("/other").status == 200
        may_answer.set()
        assert client.read_response().status == 101
        assert client.read_exactly(11) == b"early bytes"
    assert seen_early == [b""]


def test_200_instead_of_101_opens_no_tunnel(gateway, origin):
    origin.answer = lambda wire, _: wire.respond(200, [], b"plain")
    with gateway.connect() as client:
        response = client.request("GET", "/socket", WEBSOCKET)
        assert (response.status, response.body) == (200, b"plain")
        assert "upgrade" not in response.headers
        upstream = origin.connections[-1]
        before = len(upstream.log)
        client.send(b"\x81\x05hello\r\n\r\n")
        assert client.read_response().status in (400, 501)
        assert client.is_at_end()
        assert b"hello" not in upstream.log[before:]


def test_a_refused_upgrade_leaves_a_connection_for_requests(gateway, origin):
    origin.answer = lambda wire, _: wire.respond(426, [("Upgrade", "websocket")], b"")
    with gateway.connect() as client:
        assert client.request("GET", "/socket", WEBSOCKET).status == 426
        origin.forget()
        assert Seen(client.get("/after")).target == "/after"


def test_a_101_that_nobody_asked_for_is_an_error(gateway, origin):
    origin.answer = lambda wire, _: wire.send_head(101, [("Connection", "Upgrade"), ("Upgrade", "websocket")], "Switching Protocols")
    check_problem(gateway.get("/"), 502, "upstream_protocol")


def test_an_upgrade_that_connection_does_not_list_is_dropped(gateway):
    seen = Seen(gateway.get("/", [("Upgrade", "websocket")]))
    assert "upgrade" not in seen.headers
    assert "connection" not in seen.headers


def test_an_upgrade_to_h2c_is_not_offered_to_the_upstream(gateway):
    seen = Seen(gateway.get("/", [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABkAAQAAP__")]))
    assert "upgrade" not in seen.headers
    assert "http2-settings" not in seen.headers


def test_an_upgrade_with_a_body_is_refused(gateway, origin):
    with gateway.connect() as client:
        client.send_request("POST", "/socket", WEBSOCKET, b"body")
        assert client.read_response().status == 400
        assert client.is_at_end()
    assert gateway.get("/marker").status == 200
    assert origin.targets == ["/marker"]
