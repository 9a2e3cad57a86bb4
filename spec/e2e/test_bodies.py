# SPDX-License-Identifier: MIT
"""Messages on their way through the proxy: bodies of every framing, trailers, interim responses."""

import hashlib
import random
import subprocess
import threading
import time

import pytest

from support import http1, wait
from support.gateway import Gateway
from support.upstream import Seen, describe

CONFIG = """
return {
  admin = "unix:$dir/admin.sock",
  access_log = "$dir/access.log",
  workers = 1,
  listeners = { { address = "127.0.0.1:0" } },
  upstreams = { origin = { endpoints = { "$origin" } } },
  routes = {
    { name = "reply", match = { path = "/reply" }, reply = "answered here\\n" },
    { name = "empty", match = { path = "/empty" }, reply = { status = 204 } },
    { name = "moved", match = { path = "/moved" }, redirect = { location = "https://elsewhere.test/", status = 301 } },
    { name = "all", match = {}, upstream = "origin" },
  },
}
"""

EIGHT_MIB = random.Random(8).randbytes(8 * 1024 * 1024)


@pytest.fixture(scope="module")
def gateway(origin):
    with Gateway(CONFIG, values={"origin": origin.address}) as started:
        yield started


def digest(data):
    return hashlib.sha256(data).hexdigest()


def pieces(data, seed=1):
    """`data` in pieces of 1 byte to 60 KiB."""
    sizes = random.Random(seed)
    at = 0
    while at < len(data):
        size = sizes.choice((1, 7, 1000, 16384, 60000))
        yield data[at:at + size]
        at += size


def chunked(data):
    return b"".join(map(http1.chunk, pieces(data))) + b"0\r\n\r\n"


def send_in_background(wire, data):
    thread = threading.Thread(target=wire.send, args=(data,), daemon=True)
    thread.start()
    return thread


# ---------------------------------------------------------------- requests


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_method_and_target_arrive_as_they_were_sent(gateway, method):
    seen = Seen(gateway.request(method, "/a/b;c?d=1&d=2&e=%20"))
    assert (seen.method, seen.target, seen.version) == (method, "/a/b;c?d=1&d=2&e=%20", "1.1")


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 200_000])
def test_a_request_body_with_a_length_arrives_whole(gateway, size):
    seen = Seen(gateway.request("POST", "/", body=EIGHT_MIB[:size]))
    assert (seen.length, seen.sha256, seen.is_chunked) == (size, digest(EIGHT_MIB[:size]), False)
    assert seen.headers.get("content-length") == str(size)


def test_eight_mib_with_a_length_go_up_intact(gateway):
    seen = Seen(gateway.request("POST", "/", body=EIGHT_MIB))
    assert (seen.length, seen.sha256) == (len(EIGHT_MIB), digest(EIGHT_MIB))


def test_eight_mib_in_chunks_go_up_intact(gateway):
    seen = Seen(gateway.request("POST", "/", [("Transfer-Encoding", "chunked")], chunked(EIGHT_MIB)))
    assert (seen.length, seen.sha256, seen.is_chunked) == (len(EIGHT_MIB), digest(EIGHT_MIB), True)


def test_a_body_that_arrives_byte_by_byte_is_whole(gateway):
    with gateway.connect() as client:
        for byte in b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 1\r\n\r\n":
            client.send(bytes([byte]))
        seen = Seen(client.read_response())
        assert (seen.sha256, seen.trailers.get("x-t")) == (digest(b"abcde"), "1")


def test_a_chunked_body_without_bytes_is_an_empty_body(gateway):
    seen = Seen(gateway.request("POST", "/", [("Transfer-Encoding", "chunked")], b"0\r\n\r\n"))
    assert seen.length == 0


def test_a_short_chunk_extension_is_accepted_and_not_passed_on(gateway, origin):
    seen = Seen(gateway.request("POST", "/", [("Transfer-Encoding", "chunked")], b'3;a=b\r\nabc\r\n0;c="d"\r\n\r\n'))
    assert seen.sha256 == digest(b"abc")
    assert b"a=b" not in origin.connections[seen.connection].log


def test_request_trailers_arrive(gateway):
    body = http1.chunk(b"abc") + b"0\r\nX-Checksum: 900150983\r\nX-Two: b\r\n\r\n"
    seen = Seen(gateway.request("POST", "/", [("Transfer-Encoding", "chunked"), ("Trailer", "X-Checksum")], body))
    assert list(seen.trailers) == [("x-checksum", "900150983"), ("x-two", "b")]


def test_framing_and_hop_by_hop_fields_in_trailers_are_dropped(gateway):
    body = http1.chunk(b"abc") + b"0\r\nConnection: X-Private\r\nX-Private: 1\r\nKeep-Alive: 1\r\nContent-Length: 9\r\nX-Ok: 1\r\n\r\n"
    seen = Seen(gateway.request("POST", "/", [("Transfer-Encoding", "chunked")], body))
    assert list(seen.trailers) == [("x-ok", "1")]


def test_curl_uploads_and_downloads_eight_mib(gateway, curl, origin, folder):
    path = folder.path / "body"
    path.write_bytes(EIGHT_MIB)

    def mirror(wire, request):
        wire.read_request_body(request)
        wire.send_head(200, [("Transfer-Encoding", "chunked")])
        wire.send(chunked(request.body))

    origin.answer = mirror
    for framing in ([], ["-H", "Transfer-Encoding: chunked"]):
        result = subprocess.run([curl, "-sS", "--fail", "--max-time", "60", "-T", path, *framing, f"http://{gateway.address}/up"],
                                capture_output=True, check=False)
        assert result.returncode == 0, result.stderr
        assert digest(result.stdout) == digest(EIGHT_MIB)


# ---------------------------------------------------------------- responses


def test_eight_mib_with_a_length_come_down_intact(gateway, origin):
    origin.answer = lambda wire, _: wire.respond(200, [], EIGHT_MIB)
    response = gateway.get("/")
    assert response.headers.get("content-length") == str(len(EIGHT_MIB))
    assert digest(response.body) == digest(EIGHT_MIB)


def test_eight_mib_in_chunks_come_down_intact(gateway, origin):
    def answer(wire, _):
        wire.send_head(200, [("Transfer-Encoding", "chunked")])
        wire.send(chunked(EIGHT_MIB))

    origin.answer = answer
    response = gateway.get("/")
    assert response.chunks
    assert digest(response.body) == digest(EIGHT_MIB)


def test_a_body_that_ends_with_the_connection_comes_down_in_chunks(gateway, origin):
    def answer(wire, _):
        wire.send_head(200)
        wire.send(EIGHT_MIB)
        wire.close()

    origin.answer = answer
    with gateway.connect() as client:
        response = client.get("/")
        assert response.chunks
        assert digest(response.body) == digest(EIGHT_MIB)
        origin.forget()
        assert client.get("/").status == 200, "the client's connection goes on"


def test_eight_mib_are_mirrored_while_they_are_sent(gateway, origin):
    def mirror(wire, _):
        wire.send_head(200, [("Transfer-Encoding", "chunked")])
        while (size := int(wire.read_until(b"\r\n"), 16)) > 0:
            wire.send(http1.chunk(wire.read_exactly(size)))
            wire.read_exactly(2)
        wire.read_until(b"\r\n")
        wire.send(b"0\r\n\r\n")

    origin.answer = mirror
    with gateway.connect() as client:
        client.send_request("POST", "/", [("Transfer-Encoding", "chunked")], b"")
        sender = send_in_background(client, chunked(EIGHT_MIB))
        response = client.read_response()
        sender.join()
        assert digest(response.body) == digest(EIGHT_MIB)


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_late_reader_gets_every_byte(gateway, origin, framing):
    body = EIGHT_MIB * 8  # more than the buffers on the way hold

    def answer(wire, _):
        if framing == "length":
            wire.respond(200, [], body)
        else:
            wire.send_head(200, [("Transfer-Encoding", "chunked")])
            wire.send(http1.chunk(body) + b"0\r\n\r\n")

    origin.answer = answer
    with gateway.connect() as client:
        client.send_request("GET", "/")
        time.sleep(0.3)  # a reader that is late
        assert digest(client.read_response().body) == digest(body)


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_late_upstream_gets_every_byte(gateway, origin, framing):
    body = EIGHT_MIB * 8

    def answer(wire, request):
        time.sleep(0.3)  # a reader that is late
        describe(wire, request)

    origin.answer = answer
    if framing == "length":
        seen = Seen(gateway.request("POST", "/", body=body))
    else:
        seen = Seen(gateway.request("POST", "/", [("Transfer-Encoding", "chunked")], http1.chunk(body) + b"0\r\n\r\n"))
    assert seen.sha256 == digest(body)


def test_response_trailers_come_down(gateway, origin):
    def answer(wire, request):
        wire.read_request_body(request)
        wire.send_head(200, [("Transfer-Encoding", "chunked"), ("Trailer", "X-Sum")])
        wire.send(http1.chunk(b"abc") + b"0\r\nX-Sum: 7\r\n\r\n")

    origin.answer = answer
    assert list(gateway.get("/").trailers) == [("x-sum", "7")]


def test_each_chunk_is_passed_on_when_it_comes(gateway, origin):
    rest = threading.Event()

    def answer(wire, _):
        wire.send_head(200, [("Transfer-Encoding", "chunked")])
        wire.send(http1.chunk(b"first"))
        assert rest.wait(wait.PATIENCE)
        wire.send(http1.chunk(b"second") + b"0\r\n\r\n")

    origin.answer = answer
    with gateway.connect() as client:
        client.send_request("GET", "/")
        client.read_head()
        assert client.read_until(b"first")
        rest.set()
        assert client.read_until(b"0\r\n\r\n")


def test_head_has_the_length_and_no_body(gateway, origin):
    def answer(wire, request):
        wire.read_request_body(request)
        wire.send_head(200, [("Content-Length", "12345")])

    origin.answer = answer
    with gateway.connect() as client:
        response = client.request("HEAD", "/")
        assert response.headers.get("content-length") == "12345"
        origin.forget()
        assert Seen(client.get("/after")).target == "/after"


def test_head_of_a_chunked_resource_has_no_body(gateway, origin):
    origin.answer = lambda wire, _: wire.send_head(200, [("Transfer-Encoding", "chunked")])
    with gateway.connect() as client:
        client.request("HEAD", "/")
        origin.forget()
        assert Seen(client.get("/after")).target == "/after"


@pytest.mark.parametrize("status", [204, 304])
def test_204_and_304_have_no_body(gateway, origin, status):
    origin.answer = lambda wire, _: wire.send_head(status, [("ETag", '"a"')])
    with gateway.connect() as client:
        response = client.get("/")
        assert (response.status, response.headers.get("etag")) == (status, '"a"')
        assert "transfer-encoding" not in response.headers
        assert status == 304 or "content-length" not in response.headers
        origin.forget()
        assert Seen(client.get("/after")).target == "/after"


def test_304_keeps_the_length_of_what_it_stands_for(gateway, origin):
    origin.answer = lambda wire, _: wire.send_head(304, [("Content-Length", "99")])
    with gateway.connect() as client:
        assert client.get("/").headers.get("content-length") == "99"
        origin.forget()
        assert Seen(client.get("/after")).target == "/after"


@pytest.mark.parametrize("status", [200, 201, 302, 404, 429, 500, 503, 599])
def test_status_and_fields_come_down_as_they_were_sent(gateway, origin, status):
    fields = [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("X-Case", "MiXed, spaces  inside"), ("X-Latin", "caf\xe9")]
    origin.answer = lambda wire, _: wire.respond(status, fields, b"x")
    response = gateway.get("/")
    assert response.status == status
    assert response.headers.all("set-cookie") == ["a=1", "b=2"]
    assert response.headers.get("x-case") == "MiXed, spaces  inside"
    assert response.headers.get("x-latin") == "caf\xe9"


def test_a_response_before_the_end_of_the_request_comes_down(gateway, origin):
    def answer(wire, _):
        wire.respond(403, [("Connection", "close")], b"no")
        wire.read_rest()

    origin.answer = answer
    with gateway.connect() as client:
        client.send_request("POST", "/", [("Content-Length", str(len(EIGHT_MIB)))])
        client.send(EIGHT_MIB[:1000])
        response = client.read_response()
        assert (response.status, response.body) == (403, b"no")
        assert response.headers.get("connection") == "close", "most of the body was never read"


# ---------------------------------------------------------------- interim responses


def test_the_body_follows_after_100_continue(gateway):
    with gateway.connect() as client:
        client.send_request("POST", "/", [("Expect", "100-continue"), ("Content-Length", "4")])
        assert client.read_head().status == 100
        client.send(b"body")
        assert Seen(client.read_response()).sha256 == digest(b"body")


def test_a_body_that_does_not_wait_for_100_is_fine(gateway):
    seen = Seen(gateway.request("POST", "/", [("Expect", "100-continue"), ("Content-Length", "4")], b"body"))
    assert seen.sha256 == digest(b"body")


def test_an_answer_that_needs_no_body_comes_without_100(gateway):
    with gateway.connect() as client:
        client.send_request("POST", "/reply", [("Expect", "100-continue"), ("Content-Length", "4")])
        response = client.read_response()
        assert (response.status, response.interim) == (200, [])
        assert response.headers.get("connection") == "close", "nobody knows whether the body follows"
        assert client.is_at_end()


def test_an_unknown_expectation_is_refused_with_417(gateway, origin):
    with gateway.connect() as client:
        response = client.request("POST", "/", [("Expect", "200-ok")], b"body")
        assert response.status == 417
        assert client.is_at_end()
    assert Seen(gateway.get("/marker")).target == "/marker"
    assert origin.targets == ["/marker"]


def test_http_1_0_knows_no_100_continue(gateway):
    with gateway.connect() as client:
        response = client.request("POST", "/", [("Expect", "100-continue")], b"body", version="1.0")
        assert response.interim == []
        assert Seen(response).sha256 == digest(b"body")


def test_curl_sends_a_large_body_with_expect(gateway, curl, folder):
    path = folder.path / "body"
    path.write_bytes(EIGHT_MIB)
    result = subprocess.run([curl, "-sSv", "--max-time", "60", "-H", "Expect: 100-continue", "--expect100-timeout", "30", "--data-binary",
                             f"@{path}", f"http://{gateway.address}/"], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "HTTP/1.1 100 Continue" in result.stderr
    assert digest(EIGHT_MIB) in result.stdout


def test_103_early_hints_are_relayed(gateway, origin):
    def answer(wire, request):
        wire.read_request_body(request)
        wire.send_head(103, [("Link", "</style.css>; rel=preload"), ("Keep-Alive", "timeout=5")], "Early Hints")
        wire.send_head(103, [("Link", "</script.js>; rel=preload")], "Early Hints")
        wire.respond(200, [], b"page")

    origin.answer = answer
    response = gateway.get("/")
    assert [hint.headers.get("link") for hint in response.interim] == ["</style.css>; rel=preload", "</script.js>; rel=preload"]
    assert all("keep-alive" not in hint.headers for hint in response.interim)
    assert response.body == b"page"


def test_http_1_0_gets_no_interim_response(gateway, origin):
    def answer(wire, request):
        wire.read_request_body(request)
        wire.send_head(103, [("Link", "</style.css>")], "Early Hints")
        wire.respond(200, [], b"page")

    origin.answer = answer
    with gateway.connect() as client:
        response = client.request("GET", "/", version="1.0")
        assert (response.status, response.interim, response.body) == (200, [], b"page")


# ---------------------------------------------------------------- answers of the proxy itself


def test_a_fixed_reply_needs_no_upstream(gateway, origin):
    response = gateway.get("/reply")
    assert (response.status, response.text()) == (200, "answered here\n")
    assert response.headers.get("content-type") == "text/plain; charset=utf-8"
    assert response.headers.get("date")
    assert origin.targets == []


def test_head_of_a_fixed_reply_has_its_length(gateway):
    with gateway.connect() as client:
        assert client.request("HEAD", "/reply").headers.get("content-length") == "14"
        assert client.get("/reply").text() == "answered here\n"


def test_an_empty_reply_leaves_the_connection_open(gateway):
    with gateway.connect() as client:
        assert client.get("/empty").status == 204
        assert client.get("/empty").status == 204


def test_a_redirect_points_elsewhere(gateway):
    response = gateway.get("/moved")
    assert (response.status, response.headers.get("location")) == (301, "https://elsewhere.test/")
