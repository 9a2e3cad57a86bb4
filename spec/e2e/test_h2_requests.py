# SPDX-License-Identifier: MIT
"""Requests of HTTP/2 that would mean something else in HTTP/1.1: each is refused, and no byte of it reaches the upstream."""

import pytest

from support import http2, wait
from support.gateway import Gateway
from support.upstream import Seen

CONFIG = """
return {
  admin = "unix:$dir/admin.sock",
  access_log = "off",
  workers = 1,
  listeners = { { address = "127.0.0.1:0" } },
  upstreams = { origin = { endpoints = { "$origin" } } },
  routes = { { name = "all", match = {}, upstream = "origin" } },
}
"""

GET = {":method": "GET", ":scheme": "http", ":path": "/", ":authority": "shop.test"}


@pytest.fixture(scope="module")
def gateway(origin):
    with Gateway(CONFIG, values={"origin": origin.address}) as gateway:
        yield gateway


@pytest.fixture
def client(gateway):
    with http2.connect(gateway.address) as client:
        yield client


def fields(*more, **pseudo):
    """The fields of a GET, with pseudo fields changed (None: left out) and others behind them."""
    changed = {**GET, **{f":{name}": value for name, value in pseudo.items()}}
    return [pair for pair in changed.items() if pair[1] is not None] + list(more)


def ask(client, block, body=None, trailers=None):
    """Sends a request of these very fields; returns its stream."""
    with client.changed:
        stream = http2.Stream(client, client.next)
        client.streams[stream.number] = stream
        client.next += 2
    ends = body is None and trailers is None
    client.send_frame(http2.HEADERS, http2.END_HEADERS | (http2.END_STREAM if ends else 0), stream.number, http2.literal(block))
    if body is not None:
        client.send_frame(http2.DATA, 0 if trailers else http2.END_STREAM, stream.number, body)
    if trailers:
        client.send_frame(http2.HEADERS, http2.END_HEADERS | http2.END_STREAM, stream.number, http2.literal(trailers))
    return stream.wait_over()


def seen(stream):
    class Response:
        status, body = stream.status, bytes(stream.body)

    return Seen(Response)


MALFORMED = {
    "no :method": fields(method=None),
    "no :scheme": fields(scheme=None),
    "no :path": fields(path=None),
    "an empty :path": fields(path=""),
    "neither host nor :authority": fields(authority=None),
    "a pseudo field behind a field": [(":method", "GET"), ("x", "1"), (":scheme", "http"), (":path", "/"), (":authority", "a")],
    "a pseudo field twice": fields((":path", "/other")),
    "a pseudo field of responses": fields((":status", "200")),
    "a pseudo field that nobody knows": fields((":proto", "x")),
    ":protocol without CONNECT": fields((":protocol", "websocket")),
    "an upper-case name": fields(("X-One", "1")),
    "an empty name": fields(("", "1")),
    "a name with a space": fields(("x one", "1")),
    "a name with a colon": fields(("x:one", "1")),
    "a name with a line feed": fields(("x\nhost", "1")),
    "a value with a line feed": fields(("x", "1\nhost: evil")),
    "a value with a carriage return": fields(("x", "1\rhost: evil")),
    "a value with a NUL": fields(("x", "1\0")),
    "transfer-encoding": fields(("transfer-encoding", "chunked")),
    "connection": fields(("connection", "close")),
    "keep-alive": fields(("keep-alive", "1")),
    "proxy-connection": fields(("proxy-connection", "close")),
    "upgrade": fields(("upgrade", "websocket")),
    "te with a coding": fields(("te", "trailers, gzip")),
    "two lengths": fields(("content-length", "0"), ("content-length", "0")),
    "a length that is no number": fields(("content-length", "+0")),
    "a length without a body": fields(("content-length", "5")),
    "two hosts": fields(("host", "shop.test"), ("host", "shop.test"), authority=None),
    "a line feed in :path": fields(path="/a\nb"),
    "a space in :path": fields(path="/a HTTP/1.1"),
    "a space in :method": fields(method="GET /evil"),
    "a line feed in :authority": fields(authority="shop.test\nx: y"),
    "a space in :authority": fields(authority="shop.test evil"),
    ":path in absolute form": fields(path="http://evil.test/"),
    ":path in absolute form with a scheme of its own": fields(path="http://evil.test/", scheme="ftp"),
    "a scheme that is not of HTTP": fields(scheme="file"),
}


@pytest.mark.parametrize("block", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_request_resets_its_stream_and_reaches_nobody(client, origin, block):
    stream = ask(client, block)
    assert stream.fields is None, stream
    assert stream.error == http2.PROTOCOL_ERROR or client.wait_closed() == http2.PROTOCOL_ERROR
    assert origin.heads == []


ANSWERED = {
    "host differs from :authority": (fields(("host", "evil.test")), 400),
    "user information in :authority": (fields(authority="user@shop.test"), 400),
    "a port that is none": (fields(authority="shop.test:99999"), 400),
    "an escaped slash in :path": (fields(path="/a%2fb"), 400),
    "a fragment in :path": (fields(path="/a#b"), 400),
    "an expectation that nobody knows": (fields(("expect", "magic")), 417),
}


@pytest.mark.parametrize("block, status", ANSWERED.values(), ids=ANSWERED.keys())
def test_a_request_that_can_be_read_in_two_ways_is_refused(client, origin, block, status):
    stream = ask(client, block)
    assert stream.status == status
    assert stream.headers.get("content-type") == "application/problem+json"
    assert origin.heads == []


@pytest.mark.parametrize("length, body", [("5", b"123"), ("3", b"12345")])
def test_a_body_that_is_not_as_long_as_said_is_not_complete_upstream(client, origin, length, body):
    stream = ask(client, fields(("content-length", length), method="POST"), body)
    assert stream.error == http2.PROTOCOL_ERROR
    assert stream.fields is None
    assert client.get("/").status == 200
    assert [request.method for request in origin.complete] == ["GET"]


def test_a_body_where_none_was_announced_resets_the_stream_and_reaches_nobody(client, origin):
    assert ask(client, fields(("content-length", "0"), method="POST"), b"1").error == http2.PROTOCOL_ERROR
    assert client.get("/").status == 200
    assert [request.method for request in origin.heads] == ["GET"]


@pytest.mark.parametrize("trailers", [None, [("x-sum", "1")]])
def test_a_body_of_nothing_may_end_behind_the_head(client, trailers):
    request = seen(ask(client, fields(("content-length", "0"), method="POST"), b"", trailers))
    assert (request.length, request.headers.get("content-length")) == (0, "0")


TRAILERS = {
    "a pseudo field": [(":path", "/")],
    "an upper-case name": [("X", "1")],
    "connection": [("connection", "close")],
    "transfer-encoding": [("transfer-encoding", "chunked")],
    "a line feed": [("x", "a\nb")],
    "too many": [("x", "1")] * 101,
    "an underscore": [("x_y", "1")],
}


@pytest.mark.parametrize("trailers", TRAILERS.values(), ids=TRAILERS.keys())
def test_trailers_that_are_not_allowed_reset_the_stream(client, origin, trailers):
    stream = ask(client, fields(method="POST"), b"x", trailers)
    assert stream.error is not None or client.wait_closed() is not None
    assert stream.fields is None
    assert origin.complete == []


def test_framing_in_trailers_is_not_passed_on(client):
    stream = ask(client, fields(method="POST"), b"x", [("x-sum", "1"), ("host", "evil"), ("content-length", "9")])
    if stream.error is None:
        names = seen(stream).trailers.names()
        assert "content-length" not in names
        assert "x-sum" in names


def test_crumbs_of_a_cookie_are_joined(client):
    stream = ask(client, fields(("cookie", "a=b"), ("x", "1"), ("cookie", "c=d"), ("cookie", ""), ("cookie", "e=f")))
    assert seen(stream).headers.get("cookie") == "a=b; c=d; ; e=f"


def test_many_long_crumbs_are_joined_whole(client):
    crumbs = [f"c{n}=" + "v" * 300 for n in range(50)]
    stream = ask(client, fields(*(("cookie", crumb) for crumb in crumbs)))
    assert seen(stream).headers.get("cookie") == "; ".join(crumbs)


def test_host_stands_in_for_authority(client):
    stream = ask(client, fields(("host", "shop.test"), authority=None))
    assert seen(stream).headers.get("host") == "shop.test"


def test_a_host_that_says_the_same_in_other_case_is_fine(client):
    stream = ask(client, fields(("host", "SHOP.test")))
    assert seen(stream).headers.get("host").lower() == "shop.test"


def test_no_field_of_one_connection_reaches_the_upstream(client):
    headers = seen(ask(client, fields(("te", "trailers"), ("x", "1")))).headers
    assert headers.get("te") == "trailers"
    assert headers.get("connection") == "te"
    assert not {"transfer-encoding", "upgrade", "keep-alive"} & set(headers.names())


# ---------------------------------------------------------------- CONNECT


def test_a_plain_connect_is_refused(client, origin):
    stream = ask(client, [(":method", "CONNECT"), (":authority", "shop.test:443")], b"early")
    assert stream.status == 501
    assert "method" in stream.text()
    assert origin.heads == []


@pytest.mark.parametrize("protocol", ["connect-udp", "webtransport", ""])
def test_an_extended_connect_for_another_protocol_is_refused(client, origin, protocol):
    stream = ask(client, fields((":protocol", protocol), method="CONNECT"), b"early")
    assert stream.error is not None or stream.status == 501
    assert origin.heads == []


def test_refused_requests_leave_the_connection_usable(client, origin):
    for block in (fields(("connection", "close")), fields(("host", "evil.test")), fields(path="/a%2fb")):
        ask(client, block)
    assert client.get("/after").status == 200
    wait.until(lambda: origin.targets == ["/after"], "only the good request arrived")
