# SPDX-License-Identifier: MIT
"""What the client is told when something is wrong behind the proxy, and what the access log says about it."""

import json
import socket
import threading
import time

import pytest

from support import client, http1, wait
from support.checks import check_problem
from support.gateway import Gateway
from support.upstream import Seen, describe, free_address

CONFIG = """
return {
  admin = "unix:$dir/admin.sock",
  access_log = "$dir/access.log",
  workers = 1,
  listeners = { { address = "127.0.0.1:0" } },
  upstreams = {
    origin = { endpoints = { "$origin" } },
    nobody = { endpoints = { "$nobody" } },
    socket = { endpoints = { "unix:$dir/nobody.sock" } },
    slow = { endpoints = { "$origin" }, timeouts = { request = "300ms" } },
    idle = { endpoints = { "$origin" }, timeouts = { idle = "300ms" } },
    named = { dns = "localhost:$port" },
    lost = { dns = "no-such-host.invalid:80", timeouts = { connect = "3s" } },
    deaf = { endpoints = { "$deaf" }, timeouts = { connect = "300ms" } },
  },
  routes = {
    { name = "all", match = { path = "/o/*" }, upstream = "origin" },
    { name = "busy", match = { path = "/busy" }, handler = function() while true do end end },
    { name = "nobody", match = { path = "/nobody/*" }, upstream = "nobody" },
    { name = "socket", match = { path = "/socket/*" }, upstream = "socket" },
    { name = "slow", match = { path = "/slow/*" }, upstream = "slow" },
    { name = "slow-route", match = { path = "/slow-route/*" }, upstream = "origin", timeouts = { request = "300ms" } },
    { name = "idle", match = { path = "/idle/*" }, upstream = "idle" },
    { name = "named", match = { path = "/named/*" }, upstream = "named" },
    { name = "lost", match = { path = "/lost/*" }, upstream = "lost" },
    { name = "deaf", match = { path = "/deaf/*" }, upstream = "deaf" },
    { name = "get-only", match = { path = "/get-only", methods = { "GET" } }, reply = "got" },
  },
}
"""


@pytest.fixture(scope="module")
def deaf():
    """An address where connections are never established: its queue is full."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    address = listener.getsockname()
    queue = []
    try:
        while True:
            queue.append(socket.create_connection(address, 0.2))
    except socket.timeout:
        yield "%s:%d" % address
    for waiting in [listener, *queue]:
        waiting.close()


@pytest.fixture(scope="module")
def gateway(origin, deaf):
    values = {"deaf": deaf, "origin": origin.address, "port": origin.address.rpartition(":")[2], "nobody": free_address()}
    with Gateway(CONFIG, values=values) as started:
        yield started


def log_of(gateway, path):
    """The access log's entry for the path, which is the only one with it."""
    found = wait.until(lambda: [line for line in gateway.log_lines() if line.get("path") == path], f"{path} was in the access log")
    assert len(found) == 1
    return found[0]


# ---------------------------------------------------------------- no answer to be had


def test_no_route_is_404(gateway):
    check_problem(gateway.get("/elsewhere"), 404, "no_route")
    assert log_of(gateway, "/elsewhere")["flags"] == "NR"


def test_no_route_for_the_method_is_404(gateway):
    assert gateway.get("/get-only").status == 200
    check_problem(gateway.request("POST", "/get-only"), 404, "no_route")


def test_a_connection_goes_on_after_404(gateway):
    with gateway.connect() as c:
        check_problem(c.get("/elsewhere-too"), 404)
        assert Seen(c.get("/o/")).target == "/o/"


def test_a_body_for_no_route_is_read_past(gateway):
    with gateway.connect() as c:
        check_problem(c.request("POST", "/nowhere", body=b"GET /o/inner HTTP/1.1\r\nHost: a\r\n\r\n"), 404)
        assert Seen(c.get("/o/next")).target == "/o/next"


@pytest.mark.parametrize("route", ["nobody", "socket"])
def test_an_unreachable_upstream_is_503(gateway, route):
    check_problem(gateway.get(f"/{route}/"), 503, "connect_failed")
    assert log_of(gateway, f"/{route}/")["flags"] == "UF"


def test_an_upstream_that_does_not_accept_in_time_is_503(gateway):
    check_problem(gateway.get("/deaf/"), 503, "connect_timeout")


def test_an_unreachable_upstream_does_not_eat_the_connection(gateway):
    with gateway.connect() as c:
        check_problem(c.request("POST", "/nobody/x", body=b"x" * 5000), 503)
        assert Seen(c.get("/o/next")).target == "/o/next"


def test_a_name_is_resolved(gateway):
    assert Seen(gateway.get("/named/a")).target == "/named/a"


def test_a_name_that_does_not_exist_is_503(gateway):
    problem = check_problem(gateway.get("/lost/"), 503)
    assert problem["type"].endswith(("resolve_failed", "connect_timeout"))


# ---------------------------------------------------------------- late answers


@pytest.mark.parametrize("path", ["/slow/1", "/slow-route/1"])
def test_an_upstream_that_never_answers_is_504(gateway, origin, path):
    ended = threading.Event()

    def answer(wire, _):
        wire.read_rest()
        ended.set()
        raise http1.Closed

    origin.answer = answer
    check_problem(gateway.get(path), 504, "upstream_timeout")
    assert ended.wait(wait.PATIENCE), "the attempt is cancelled"
    assert log_of(gateway, path)["flags"] == "UT"


def test_an_upload_may_take_longer_than_the_answer(gateway, origin):
    with gateway.connect() as c:
        c.send_request("POST", "/slow/upload", [("Content-Length", "8")])
        for byte in b"12345678":
            c.send(bytes([byte]))
            origin.wait_for_heads(1)
            time.sleep(0.1)  # a slow client: eight times a third of the limit
        assert Seen(c.read_response()).length == 8


def test_a_response_that_stops_is_broken_off(gateway, origin):
    def answer(wire, _):
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
        wire.read_rest()
        raise http1.Closed

    origin.answer = answer
    with gateway.connect() as c:
        c.send_request("GET", "/idle/1")
        with pytest.raises(http1.Closed):
            c.read_response()
    assert log_of(gateway, "/idle/1")["flags"] == "UT"


# ---------------------------------------------------------------- malformed answers

OK = b"HTTP/1.1 200 OK\r\n"
MALFORMED = {
    "no HTTP at all": b"garbage garbage garbage\r\n\r\n",
    "a request": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "HTTP/2": b"HTTP/2 200 OK\r\n\r\n",
    "a status of two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
    "a field name with a space": OK + b"X A: 1\r\nContent-Length: 0\r\n\r\n",
    "a space before the colon": OK + b"Content-Length : 0\r\n\r\n",
    "NUL in a value": OK + b"X-A: a\0b\r\nContent-Length: 0\r\n\r\n",
    "a folded field": OK + b"X-A: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "a bare LF": OK + b"X-A: a\nContent-Length: 0\r\n\r\n",
    "a field without a name": OK + b": a\r\nContent-Length: 0\r\n\r\n",
    "both framings": OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "two lengths": OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "a length that is no number": OK + b"Content-Length: +3\r\n\r\nabc",
    "a length list": OK + b"Content-Length: 3, 3\r\n\r\nabc",
    "an unknown coding": OK + b"Transfer-Encoding: xchunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "a huge header": OK + b"X-A: " + b"a" * 70_000 + b"\r\nContent-Length: 0\r\n\r\n",
    "too many fields": OK + b"".join(b"X-%d: 1\r\n" % i for i in range(300)) + b"Content-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_malformed_response_is_502(gateway, origin, kind):
    def answer(wire, _):
        wire.send(MALFORMED[kind])
        wire.close()

    origin.answer = answer
    with gateway.connect() as c:
        problem = check_problem(c.get("/o/"), 502)
        assert problem["type"].endswith(("upstream_protocol", "response_too_large"))
        origin.forget()
        assert Seen(c.get("/o/next")).target == "/o/next", "the client is not to blame"


@pytest.mark.parametrize("chunks", [b"zz\r\n", b"3\r\nabcd\r\n", b"-1\r\n", b"ffffffffffffffffff\r\n", b"3\nabc\n"])
def test_a_malformed_chunk_breaks_the_transfer(gateway, origin, chunks):
    def answer(wire, _):
        wire.send(OK + b"Transfer-Encoding: chunked\r\n\r\n" + http1.chunk(b"good"))
        wire.send(chunks)
        wire.read_rest()
        raise http1.Closed

    origin.answer = answer
    with gateway.connect() as c:
        c.send_request("GET", "/o/")
        with pytest.raises(http1.Closed):
            c.read_response()


def test_an_upstream_that_hangs_up_is_502(gateway, origin):
    origin.answer = lambda wire, _: wire.close()
    check_problem(gateway.get("/o/hangs-up"), 502, "upstream_reset")
    assert log_of(gateway, "/o/hangs-up")["flags"] == "UC"


def test_an_upstream_that_resets_is_502(gateway, origin):
    origin.answer = lambda wire, _: wire.reset()
    check_problem(gateway.request("POST", "/o/", body=b"x" * 10), 502, "upstream_reset")


def test_half_a_response_head_is_502(gateway, origin):
    def answer(wire, _):
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Le")
        wire.close()

    origin.answer = answer
    check_problem(gateway.get("/o/"), 502)


# ---------------------------------------------------------------- the access log


def test_the_access_log_tells_what_happened(gateway):
    gateway.request("POST", "/o/logged?q=1", [("User-Agent", "tester/1")], b"12345")
    line = log_of(gateway, "/o/logged?q=1")
    assert (line["method"], line["status"], line["route"], line["upstream"], line["bytes_in"]) == ("POST", 200, "all", "origin", 5)
    assert (line["client"], line["host"], line["user_agent"]) == ("127.0.0.1", client.HOST, "tester/1")
    assert line["bytes_out"] > 0 and line["duration_ms"] >= 0 and line["attempts"] == 1
    assert "flags" not in line


def test_the_time_that_a_script_spends_is_in_the_duration(gateway):
    gateway.get("/busy")  # until its budget of 50 ms is spent
    assert log_of(gateway, "/busy")["duration_ms"] >= 40


def test_a_client_that_leaves_is_logged(gateway, origin):
    def answer(wire, _):
        wire.read_rest()
        raise http1.Closed

    origin.answer = answer
    with gateway.connect() as c:
        c.send_request("GET", "/o/left")
        origin.wait_for_heads(1)
    assert log_of(gateway, "/o/left")["flags"] == "DC"


HOSTILE = {
    "quotes": 'a"b\\c',
    "markup": "</script><b>",
    "high bytes": "caf\xe9 \xff\xfe \x80",
    "json": '", "status": 200, "x": "',
    "long": "x" * 5000,
    "format": "%s%n%x {} $1",
    "tab": "a\tb",
    "utf-8": "\xe2\x80\xa8\xc2\x85",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_user_agent_stays_inside_its_string(gateway, kind):
    path = f"/o/agent-{kind.replace(' ', '-')}"
    gateway.get(path, [("User-Agent", HOSTILE[kind])])
    line = log_of(gateway, path)
    assert (line["status"], line["method"]) == (200, "GET")
    assert line["user_agent"] == HOSTILE[kind][:1024]


@pytest.mark.parametrize("path", ["/o/%0d%0a%1b[31m", "/o/%22%5e%7b", "/o/%e2%80%a8"])
def test_a_hostile_path_stays_inside_its_string(gateway, path):
    gateway.get(path)
    assert log_of(gateway, path)["status"] == 200


@pytest.mark.parametrize("byte", [0x00, 0x01, 0x07, 0x0a, 0x0d, 0x1b, 0x7f])
def test_control_bytes_in_a_field_are_refused(gateway, origin, byte):
    with gateway.connect() as c:
        c.send(b"GET /o/control HTTP/1.1\r\nHost: a\r\nUser-Agent: a%cb\r\n\r\n" % byte)
        assert c.read_response().status == 400
        assert c.is_at_end()
    gateway.get("/o/marker")
    assert origin.targets == ["/o/marker"]


def test_every_line_of_the_log_is_an_object(gateway, origin):
    origin.answer = describe
    gateway.get("/o/last-line")
    log_of(gateway, "/o/last-line")
    raw = (gateway.folder.path / "access.log").read_bytes()
    assert raw.isascii()
    assert all(isinstance(json.loads(line), dict) for line in raw.splitlines())
