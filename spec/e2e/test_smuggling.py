# SPDX-License-Identifier: MIT
"""Requests that two readers could take apart differently are refused, the connection ends, and the upstream sees nothing of them."""

import pytest

from support.gateway import Gateway
from support.upstream import Seen

CONFIG = """
return {
  admin = "unix:$dir/admin.sock",
  access_log = "$dir/access.log",
  workers = 1,
  listeners = { { address = "127.0.0.1:0" } },
  upstreams = { origin = { endpoints = { "$origin" } } },
  routes = { { name = "all", match = {}, upstream = "origin" } },
}
"""

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture(scope="module")
def gateway(origin):
    with Gateway(CONFIG, values={"origin": origin.address}) as started:
        yield started


def send_hostile(gateway, data):
    """Sends the bytes and returns all that comes back until the connection ends."""
    with gateway.connect() as client:
        try:
            client.send(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused before all of it was sent
        response = client.read_response()
        assert client.is_at_end(), "the connection must end"
        return response


def check_untouched(gateway, origin):
    """Nothing reached the upstream before this request, which the same worker serves after the hostile one."""
    assert Seen(gateway.get("/marker")).target == "/marker"
    assert origin.targets == ["/marker"]


def fields(*lines):
    return b"POST /hostile HTTP/1.1\r\nHost: a\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


HEX_BODY = b"5\r\nhello\r\n0\r\n\r\n"

FRAMING = {
    "length and coding": fields(b"Content-Length: 5", b"Transfer-Encoding: chunked") + HEX_BODY,
    "coding and length": fields(b"Transfer-Encoding: chunked", b"Content-Length: 5") + HEX_BODY,
    "length 0 and coding": fields(b"Content-Length: 0", b"Transfer-Encoding: chunked") + HEX_BODY,
    "two equal lengths": fields(b"Content-Length: 5", b"Content-Length: 5") + b"hello",
    "two different lengths": fields(b"Content-Length: 5", b"Content-Length: 6") + b"hello",
    "a list of equal lengths": fields(b"Content-Length: 5, 5") + b"hello",
    "a list of different lengths": fields(b"Content-Length: 5,6") + b"hello",
    "a length with a plus": fields(b"Content-Length: +5") + b"hello",
    "a negative length": fields(b"Content-Length: -5") + b"hello",
    "a hexadecimal length": fields(b"Content-Length: 0x5") + b"hello",
    "an octal-looking length with text": fields(b"Content-Length: 5a") + b"hello",
    "a length after two spaces": fields(b"Content-Length:  5") + b"hello",
    "a length after a tab and a space": fields(b"Content-Length:\t 5") + b"hello",
    "a length with a space inside": fields(b"Content-Length: 5 5") + b"hello",
    "an empty length": fields(b"Content-Length:") + b"hello",
    "a quoted length": fields(b'Content-Length: "5"') + b"hello",
    "a length with a fraction": fields(b"Content-Length: 5.0") + b"hello",
    "a length of 2^64": fields(b"Content-Length: 18446744073709551616") + b"hello",
    "a length of 2^64 + 5": fields(b"Content-Length: 18446744073709551621") + b"hello",
    "a length of 2^63": fields(b"Content-Length: 9223372036854775808") + b"hello",
    "two codings": fields(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked") + HEX_BODY,
    "coding and identity in two fields": fields(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity") + HEX_BODY,
    "chunked, identity": fields(b"Transfer-Encoding: chunked, identity") + HEX_BODY,
    "identity": fields(b"Transfer-Encoding: identity") + HEX_BODY,
    "identity, chunked": fields(b"Transfer-Encoding: identity, chunked") + HEX_BODY,
    "gzip, chunked": fields(b"Transfer-Encoding: gzip, chunked") + HEX_BODY,
    "chunked, chunked": fields(b"Transfer-Encoding: chunked, chunked") + HEX_BODY,
    "xchunked": fields(b"Transfer-Encoding: xchunked") + HEX_BODY,
    "chunkedx": fields(b"Transfer-Encoding: chunkedx") + HEX_BODY,
    "chunked with a parameter": fields(b"Transfer-Encoding: chunked;q=1") + HEX_BODY,
    "quoted chunked": fields(b'Transfer-Encoding: "chunked"') + HEX_BODY,
    "chunked after a vertical tab": fields(b"Transfer-Encoding: \x0bchunked") + HEX_BODY,
    "an empty coding": fields(b"Transfer-Encoding:") + HEX_BODY,
    "chunked and a comma": fields(b"Transfer-Encoding: chunked,") + HEX_BODY,
    "a coding in HTTP/1.0": b"POST /hostile HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + HEX_BODY,
    "a space before the colon of a length": fields(b"Content-Length : 5") + b"hello",
    "a space before the colon of a coding": fields(b"Transfer-Encoding : chunked") + HEX_BODY,
    "a tab before the colon of a coding": fields(b"Transfer-Encoding\t: chunked") + HEX_BODY,
    "a folded coding": fields(b"Transfer-Encoding:\r\n chunked") + HEX_BODY,
    "a folded length": fields(b"Content-Length:\r\n 5") + b"hello",
    "a length with an underscore": fields(b"Content_Length: 5") + b"hello",
    "a coding with an underscore": fields(b"Transfer_Encoding: chunked") + HEX_BODY,
}

SYNTAX = {
    "bare LF after a field": b"POST /hostile HTTP/1.1\r\nHost: a\r\nX-A: 1\nContent-Length: 5\r\n\r\nhello",
    "bare LF after the request line": b"GET /hostile HTTP/1.1\nHost: a\r\n\r\n",
    "bare LF everywhere": b"GET /hostile HTTP/1.1\nHost: a\n\n",
    "bare LF at the end of the head": b"GET /hostile HTTP/1.1\r\nHost: a\r\n\n",
    "bare CR after a field": fields(b"X-A: 1\rContent-Length: 5") + b"hello",
    "bare CR in a value": fields(b"X-A: a\rb"),
    "bare CR in the request line": b"GET /hostile\r HTTP/1.1\r\nHost: a\r\n\r\n",
    "CR CR LF": b"GET /hostile HTTP/1.1\r\r\nHost: a\r\n\r\n",
    "a folded field": fields(b"X-A: 1", b" 2"),
    "a field folded with a tab": fields(b"X-A: 1", b"\t2"),
    "a space before the first field": b"GET /hostile HTTP/1.1\r\n Host: a\r\n\r\n",
    "a field name with a space": fields(b"X A: 1"),
    "a field without a colon": fields(b"X-A"),
    "a field without a name": fields(b": 1"),
    "NUL in a value": fields(b"X-A: a\0b"),
    "NUL in a name": fields(b"X\0A: 1"),
    "a control byte in a name": fields(b"X\x01A: 1"),
    "a byte above ASCII in a name": fields(b"X\xe9A: 1"),
    "parentheses in a name": fields(b"X(A): 1"),
    "NUL in the target": b"GET /host\0ile HTTP/1.1\r\nHost: a\r\n\r\n",
    "a space in the target": b"GET /hostile /b HTTP/1.1\r\nHost: a\r\n\r\n",
    "a tab for a space": b"GET\t/hostile\tHTTP/1.1\r\nHost: a\r\n\r\n",
    "bytes above ASCII in the target": b"GET /hostil\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n",
    "a target without a slash": b"GET hostile HTTP/1.1\r\nHost: a\r\n\r\n",
    "a fragment in the target": b"GET /hostile#frag HTTP/1.1\r\nHost: a\r\n\r\n",
    "a foreign scheme": b"GET ftp://a/hostile HTTP/1.1\r\nHost: a\r\n\r\n",
    "user info in the target": b"GET http://user@a/hostile HTTP/1.1\r\nHost: a\r\n\r\n",
    "a star that is not OPTIONS": b"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
    "no target": b"GET HTTP/1.1\r\nHost: a\r\n\r\n",
    "a version in lower case": b"GET /hostile http/1.1\r\nHost: a\r\n\r\n",
    "text after the version": b"GET /hostile HTTP/1.1 x\r\nHost: a\r\n\r\n",
    "a wrong protocol": b"GET /hostile HTTQ/1.1\r\nHost: a\r\n\r\n",
    "no protocol": b"GET /hostile\r\n\r\n",
}

NO_HTTP = {
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64 + b"\r\n\r\n",
    "binary": bytes(range(256)),
    "words": b"INVALID CONNECTION PREFACE\r\n\r\n",
}

HOSTS = {
    "no Host": b"GET /hostile HTTP/1.1\r\nX-A: 1\r\n\r\n",
    "two Hosts": b"GET /hostile HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "two equal Hosts": b"GET /hostile HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "an empty Host": b"GET /hostile HTTP/1.1\r\nHost:\r\n\r\n",
    "a Host with a space": b"GET /hostile HTTP/1.1\r\nHost: a b\r\n\r\n",
    "a list of Hosts": b"GET /hostile HTTP/1.1\r\nHost: a, b\r\n\r\n",
    "a Host with a path": b"GET /hostile HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "a Host with user info": b"GET /hostile HTTP/1.1\r\nHost: u@a\r\n\r\n",
    "a Host with a bad port": b"GET /hostile HTTP/1.1\r\nHost: a:x\r\n\r\n",
    "a Host with a port too high": b"GET /hostile HTTP/1.1\r\nHost: a:65536\r\n\r\n",
    "a Host with an open bracket": b"GET /hostile HTTP/1.1\r\nHost: [::1\r\n\r\n",
    "a Host with an empty label": b"GET /hostile HTTP/1.1\r\nHost: a..b\r\n\r\n",
    "a Host with a backslash": b"GET /hostile HTTP/1.1\r\nHost: a\\b\r\n\r\n",
}

BAD_HEADS = {**FRAMING, **SYNTAX, **HOSTS}

# What spoils the method or the version is told so.
OTHER_STATUS = {"CR CR LF": 505, "text after the version": 505, "no protocol": 505, "a tab for a space": 501}


@pytest.mark.parametrize("kind", BAD_HEADS)
def test_an_ambiguous_head_is_refused(gateway, origin, kind):
    response = send_hostile(gateway, BAD_HEADS[kind] + SMUGGLED)
    assert response.status == OTHER_STATUS.get(kind, 400), response
    assert response.headers.get("content-type") == "application/problem+json"
    assert response.headers.get("connection") == "close"
    check_untouched(gateway, origin)


@pytest.mark.parametrize("line, status", [
    (b"FOO /hostile HTTP/1.1", 501),
    (b"get /hostile HTTP/1.1", 501),
    (b"CONNECT a:443 HTTP/1.1", 501),
    (b"GET /hostile HTTP/1.2", 505),
    (b"GET /hostile HTTP/0.9", 505),
    (b"GET /hostile HTTP/2.0", 505),
    (b"GET /hostile HTTP/3.0", 505),
])
def test_unknown_methods_and_versions_are_refused(gateway, origin, line, status):
    response = send_hostile(gateway, line + b"\r\nHost: a\r\n\r\n" + SMUGGLED)
    assert response.status == status
    check_untouched(gateway, origin)


def test_half_a_preface_of_http_2_is_refused(gateway, origin):
    response = send_hostile(gateway, b"PRI * HTTP/2.0\r\n\r\nSX\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
    assert response.status in (400, 501, 505)
    check_untouched(gateway, origin)


@pytest.mark.parametrize("kind", NO_HTTP)
def test_what_is_no_http_at_all_gets_no_response(gateway, origin, kind):
    with gateway.connect() as client:
        client.send(NO_HTTP[kind] + SMUGGLED)
        assert client.read_rest() == b""
    check_untouched(gateway, origin)


BAD_CHUNKS = {
    "a size that is no number": b"xyz\r\n",
    "an empty size": b"\r\nhello\r\n",
    "a negative size": b"-5\r\nhello\r\n",
    "a size with a plus": b"+5\r\nhello\r\n",
    "a size with 0x": b"0x5\r\nhello\r\n",
    "a space before the size": b" 5\r\nhello\r\n",
    "a space after the size": b"5 \r\nhello\r\n",
    "a size of 2^64": b"10000000000000000\r\nhello\r\n",
    "a size of 2^64 + 5": b"10000000000000005\r\nhello\r\n",
    "a size of many digits": b"FFFFFFFFFFFFFFFFFFFFFFFF\r\nhello\r\n",
    "LF after the size": b"5\nhello\r\n",
    "CR after the size": b"5\rhello\r\n",
    "NUL after the size": b"5\0\r\nhello\r\n",
    "no CRLF after the data": b"5\r\nhello0\r\n\r\n",
    "LF after the data": b"5\r\nhello\n0\r\n\r\n",
    "too much data": b"5\r\nhello!\r\n",
    "LF in an extension": b"5;a\nb\r\nhello\r\n",
    "an extension of 1 MiB": b"5;" + b"a" * 1024 * 1024 + b"\r\nhello\r\n",
    "many extensions": b"".join(b"1;a=" + b"b" * 900 + b"\r\nx\r\n" for _ in range(100)),
    "LF after the last chunk": b"5\r\nhello\r\n0\n\n",
    "CR after the last chunk": b"5\r\nhello\r\n0\r\r",
    "LF at the end of the trailers": b"5\r\nhello\r\n0\r\nX-A: 1\r\n\n",
    "a folded trailer": b"5\r\nhello\r\n0\r\nX-A: 1\r\n 2\r\n\r\n",
    "a coding as a trailer": b"5\r\nhello\r\n0\r\nTransfer-Encoding: gzip\r\n\r\n",
    "a trailer with a space in its name": b"5\r\nhello\r\n0\r\nX A: 1\r\n\r\n",
    "a trailer without a colon": b"5\r\nhello\r\n0\r\nGET /smuggled HTTP/1.1\r\n\r\n",
    "NUL in a trailer": b"5\r\nhello\r\n0\r\nX-A: a\0b\r\n\r\n",
}


@pytest.mark.parametrize("kind", BAD_CHUNKS)
def test_a_malformed_chunked_body_never_becomes_a_request(gateway, origin, kind):
    response = send_hostile(gateway, fields(b"Transfer-Encoding: chunked") + BAD_CHUNKS[kind] + SMUGGLED)
    assert response.status == 400
    assert Seen(gateway.get("/marker")).target == "/marker"
    assert origin.complete_targets == ["/marker"]
    assert "/smuggled" not in origin.targets


def test_a_trailer_of_1_mib_never_becomes_a_request(gateway, origin):
    response = send_hostile(gateway, fields(b"Transfer-Encoding: chunked") + b"0\r\nX-A: " + b"a" * 1024 * 1024 + b"\r\n\r\n")
    assert response.status in (400, 431)
    assert Seen(gateway.get("/marker")).target == "/marker"
    assert origin.complete_targets == ["/marker"]


def test_a_hostile_request_does_not_spoil_the_one_before_it(gateway, origin):
    with gateway.connect() as client:
        client.send(b"GET /good HTTP/1.1\r\nHost: a\r\n\r\n" + FRAMING["length and coding"])
        assert Seen(client.read_response()).target == "/good"
        assert client.read_response().status == 400
        assert client.is_at_end()
    assert origin.targets == ["/good"]


def test_bytes_after_a_body_are_the_next_request_and_nothing_else(gateway, origin):
    with gateway.connect() as client:
        client.send(fields(b"Content-Length: 5") + b"helloGET /next HTTP/1.1\r\nHost: a\r\n\r\n")
        assert Seen(client.read_response()).length == 5
        assert Seen(client.read_response()).target == "/next"
    assert origin.targets == ["/hostile", "/next"]


@pytest.mark.parametrize("kind", ["length and coding", "two different lengths", "bare LF everywhere", "a folded coding"])
def test_a_hostile_head_is_refused_however_it_is_cut(gateway, origin, kind):
    raw = BAD_HEADS.get(kind)
    with gateway.connect() as client:
        for byte in raw:
            try:
                client.send(bytes([byte]))
            except (BrokenPipeError, ConnectionResetError):
                break
        assert client.read_response().status == 400
        assert client.is_at_end()
    check_untouched(gateway, origin)
