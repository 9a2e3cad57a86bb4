# SPDX-License-Identifier: MIT
"""Limits and timeouts towards clients: what is over them is answered and goes no further."""

import socket
import threading
import time

import pytest

from support import http1, wait
from support.checks import check_problem
from support.gateway import Gateway
from support.upstream import Seen, describe

CONFIG = """
return {
  admin = "unix:$dir/admin.sock",
  access_log = "$dir/access.log",
  workers = 1,
  listeners = {
    { address = "127.0.0.1:0" },
    { address = "127.0.0.2:0", limits = { headers = 10, header_bytes = "1k", uri_bytes = 100, body = "64k", connections = 3 } },
    { address = "127.0.0.3:0", timeouts = { headers = "300ms", request = "600ms", idle = "300ms" } },
    { address = "127.0.0.4:0", timeouts = { stream_idle = "300ms" } },
  },
  upstreams = { origin = { endpoints = { "$origin" } } },
  routes = { { name = "all", match = {}, upstream = "origin" } },
}
"""

DEFAULTS, SMALL, HASTY, IMPATIENT = range(4)


@pytest.fixture(scope="module")
def gateway(origin):
    with Gateway(CONFIG, values={"origin": origin.address}) as started:
        yield started


def head_of(size, target="/", name="X-Pad", count=1):
    """A request head of exactly `size` bytes, padded in `count` fields."""
    start = f"GET {target} HTTP/1.1\r\nHost: a\r\n".encode()
    rest = size - len(start) - 2
    share = rest // count
    lines = []
    for i in range(count):
        length = share if i < count - 1 else rest - share * (count - 1)
        field = f"{name}-{i}: ".encode()
        lines.append(field + b"p" * (length - len(field) - 2) + b"\r\n")
    head = start + b"".join(lines) + b"\r\n"
    assert len(head) == size
    return head


def check_refused(gateway, origin, data, status, listener=DEFAULTS):
    """The bytes are answered with the status, the connection ends and the upstream saw nothing."""
    with gateway.connect(listener) as client:
        try:
            client.send(data)
        except (BrokenPipeError, ConnectionResetError):
            pass
        check_problem(client.read_response(), status)
        assert client.is_at_end()
    assert Seen(gateway.get("/marker")).target == "/marker"
    assert origin.targets == ["/marker"]


def check_accepted(gateway, data, listener=DEFAULTS):
    with gateway.connect(listener) as client:
        client.send(data)
        return Seen(client.read_response())


# ---------------------------------------------------------------- heads

KIB = 1024


@pytest.mark.parametrize("count", [1, 4, 60])
def test_a_head_of_60_kib_passes(gateway, count):
    check_accepted(gateway, head_of(60 * KIB, count=count))


@pytest.mark.parametrize("count", [1, 4, 60])
def test_a_head_one_byte_over_60_kib_is_431(gateway, origin, count):
    check_refused(gateway, origin, head_of(60 * KIB + 1, count=count), 431)


def test_a_head_of_61_kib_is_431(gateway, origin):
    check_refused(gateway, origin, head_of(61 * KIB), 431)


def test_a_head_without_an_end_is_431(gateway, origin):
    check_refused(gateway, origin, b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X-A: 123456789\r\n" * 100_000, 431)


def test_a_field_name_without_an_end_is_431(gateway, origin):
    check_refused(gateway, origin, b"GET / HTTP/1.1\r\nHost: a\r\n" + b"x" * 200_000, 431)


def test_100_fields_pass(gateway):
    seen = check_accepted(gateway, b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(b"X-%d: 1\r\n" % i for i in range(99)) + b"\r\n")
    assert sum(name.startswith("x-") and name[2:].isdigit() for name in seen.headers.names()) == 99


def test_101_fields_are_431(gateway, origin):
    check_refused(gateway, origin, b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(b"X-%d: 1\r\n" % i for i in range(100)) + b"\r\n", 431)


def test_a_target_of_16_kib_passes(gateway):
    target = "/" + "a" * (16 * KIB - 1)
    assert Seen(gateway.get(target)).target == target


def test_a_target_one_byte_longer_is_414(gateway, origin):
    check_refused(gateway, origin, b"GET /" + b"a" * 16 * KIB + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414)


def test_a_target_without_an_end_is_refused(gateway, origin):
    """It is over the limit of the target and over that of the head; which one is told depends on how the bytes come."""
    with gateway.connect() as client:
        try:
            client.send(b"GET /" + b"a" * 200_000)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert client.read_response().status in (414, 431)
        assert client.is_at_end()
    assert origin.targets == []


@pytest.mark.parametrize("size, status", [(1024, 200), (1025, 431)])
def test_the_limit_holds_when_bytes_come_one_by_one(gateway, origin, size, status):
    with gateway.connect(SMALL) as client:
        for byte in head_of(size):
            try:
                client.send(bytes([byte]))
            except (BrokenPipeError, ConnectionResetError):
                break
        assert client.read_response().status == status
    assert len(origin.targets) == (status == 200)


def test_configured_limits_are_the_listeners_own(gateway, origin):
    many = b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(b"X-%d: 1\r\n" % i for i in range(10)) + b"\r\n"
    check_accepted(gateway, many)
    origin.forget()
    check_refused(gateway, origin, many, 431, SMALL)
    origin.forget()
    check_refused(gateway, origin, b"GET /" + b"a" * 100 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414, SMALL)


def test_trailers_are_limited_like_heads(gateway, origin):
    with gateway.connect(SMALL) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"X-T: 123456789\r\n" * 100 + b"\r\n")
        assert client.read_response().status == 431
        assert client.is_at_end()
    assert Seen(gateway.get("/marker")).target == "/marker"
    assert origin.complete_targets == ["/marker"]


# ---------------------------------------------------------------- bodies


@pytest.mark.parametrize("size", [1, 64 * KIB])
def test_a_body_up_to_the_limit_passes(gateway, size):
    assert Seen(gateway.request("POST", "/", body=b"x" * size, listener=SMALL)).length == size
    body = http1.chunk(b"x" * size) + b"0\r\n\r\n"
    assert Seen(gateway.request("POST", "/", [("Transfer-Encoding", "chunked")], body, listener=SMALL)).length == size


def test_a_length_over_the_limit_is_413_at_once(gateway, origin):
    check_refused(gateway, origin, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (64 * KIB + 1), 413, SMALL)


def test_413_comes_instead_of_100_continue(gateway):
    with gateway.connect(SMALL) as client:
        client.send_request("POST", "/", [("Expect", "100-continue"), ("Content-Length", "65537")])
        response = client.read_response()
        assert (response.status, response.interim) == (413, [])


@pytest.mark.parametrize("step", [1000, 64 * KIB])
def test_chunks_over_the_limit_are_413_and_never_complete(gateway, origin, step):
    body = http1.chunk(b"x" * step) * (64 * KIB // step) + http1.chunk(b"y" * 1000) + b"0\r\n\r\n"
    with gateway.connect(SMALL) as client:
        client.send(b"POST /big HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
        check_problem(client.read_response(), 413, "body_too_large")
        assert client.is_at_end()
    assert Seen(gateway.get("/marker")).target == "/marker"
    assert origin.complete_targets == ["/marker"]


def test_a_fourth_connection_is_closed_and_a_third_is_not(gateway):
    with gateway.connect(SMALL) as a, gateway.connect(SMALL) as b, gateway.connect(SMALL) as c:
        for client in (a, b, c):
            assert client.get("/").status == 200
        with gateway.connect(SMALL) as d:
            assert d.is_at_end()
        assert a.get("/").status == 200

    def is_served():
        with gateway.connect(SMALL) as again:
            try:
                again.send_request("GET", "/")
                return again.read_response().status == 200
            except (http1.Closed, BrokenPipeError, ConnectionResetError):
                return False

    wait.until(is_served, "there was room again")


# ---------------------------------------------------------------- slow clients


def test_slow_headers_are_408(gateway, origin):
    with gateway.connect(HASTY) as client:
        client.send(b"GET /slow HTTP/1.1\r\nHost: a\r\nX-A: ")
        check_problem(client.read_response(), 408, "request_timeout")
        assert client.is_at_end()
    assert origin.targets == []


def test_a_head_that_drips_is_408(gateway):
    stop = threading.Event()
    with gateway.connect(HASTY) as client:
        client.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n")

        def drip():
            try:
                while not stop.is_set():
                    client.send(b"X-A: 1\r\n")
                    time.sleep(0.02)  # the pace of the client
            except OSError:
                pass

        dripping = threading.Thread(target=drip, daemon=True)
        dripping.start()
        try:
            assert client.read_response().status == 408
        finally:
            stop.set()
            dripping.join()


def test_a_slow_body_is_408_and_never_complete(gateway, origin):
    with gateway.connect(HASTY) as client:
        client.send_request("POST", "/slow", [("Content-Length", "10")])
        client.send(b"12345")
        check_problem(client.read_response(), 408, "request_timeout")
        assert client.is_at_end()
    origin.wait_for_heads(1)
    assert origin.connections[-1].is_closed.wait(wait.PATIENCE)
    assert origin.complete == []


def test_a_connection_without_a_request_is_closed_without_a_word(gateway):
    with gateway.connect(HASTY) as client:
        assert client.is_at_end()
        assert client.received == 0


def test_an_idle_connection_is_closed_without_a_word(gateway):
    with gateway.connect(HASTY) as client:
        assert client.get("/").status == 200
        before = client.received
        assert client.is_at_end()
        assert client.received == before


def test_a_body_that_stops_is_408(gateway, origin):
    with gateway.connect(IMPATIENT) as client:
        client.send_request("POST", "/stops", [("Transfer-Encoding", "chunked")])
        client.send(b"3\r\nabc\r\n")
        assert client.read_response().status == 408
        assert client.is_at_end()
    assert origin.complete == []


def test_a_client_that_does_not_read_is_cut_off(gateway, origin):
    ended = threading.Event()

    def answer(wire, _):
        wire.send_head(200, [("Content-Length", str(1 << 30))])
        try:
            while True:
                wire.send(b"x" * 65536)
        except OSError:
            ended.set()
            raise http1.Closed from None

    origin.answer = answer
    with gateway.connect(IMPATIENT, buffers=4096) as client:
        client.send_request("GET", "/")
        assert ended.wait(wait.PATIENCE), "the upstream is let go"
        with pytest.raises(http1.Closed):
            client.read_response()


def test_a_slow_upstream_is_not_the_clients_fault(gateway, origin):
    """The stream's idle time counts from the last byte in either direction: each piece comes in time."""
    def answer(wire, request):
        wire.read_request_body(request)
        wire.send_head(200, [("Content-Length", "8")])
        for _ in range(8):
            time.sleep(0.1)  # the pace of the upstream: eight times a third of the limit
            wire.send(b"x")

    origin.answer = answer
    assert gateway.get("/", listener=IMPATIENT).body == b"xxxxxxxx"


def test_hundreds_of_slow_clients_do_not_disturb_a_quick_one(gateway, origin):
    slow = [socket.create_connection(http1.parse_address(gateway.addresses[HASTY])[1]) for _ in range(300)]
    for connection in slow:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n")
    assert Seen(gateway.get("/quick")).target == "/quick"
    for connection in slow:
        connection.settimeout(wait.PATIENCE)
        assert connection.recv(65536).startswith(b"HTTP/1.1 408 ")
        connection.close()
    origin.answer = describe
