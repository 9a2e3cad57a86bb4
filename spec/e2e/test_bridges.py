# SPDX-License-Identifier: MIT
"""The four bridges: a client and an upstream, each of HTTP/1.1 or HTTP/2. What one side says arrives at the other, whatever the versions are."""

import hashlib
import threading

import pytest

from support import http2, process, wait
from support.bridge import Broken, Client, Upstream
from support.gateway import Gateway

CONFIG = """
return {
  admin = "unix:$dir/admin.sock",
  access_log = "off",
  workers = 1,
  listeners = { { address = "127.0.0.1:0" } },
  upstreams = { origin = { endpoints = { "$origin" }, protocol = "$protocol" } },
  routes = { { name = "all", match = {}, upstream = "origin" } },
}
"""

MIB = 1024 * 1024
BODY = hashlib.sha256(b"bridge").digest() * (MIB // 32)
HELD = (64 if wait.SANITIZED else 2) * MIB  # what one stalled reader may hold up, with what the allocator keeps
BUSY = (128 if wait.SANITIZED else 16) * MIB  # what a hundred streams may hold that are on their way at once


def start(version):
    upstream = Upstream(version)
    values = {"origin": upstream.address, "protocol": "h2c" if version == 2 else "h1"}
    return upstream, Gateway(CONFIG, values=values)


@pytest.fixture(scope="module", params=[1, 2], ids=["upstream-h1", "upstream-h2"])
def side(request):
    upstream, gateway = start(request.param)
    with gateway:
        yield upstream, gateway
    upstream.close()


@pytest.fixture
def upstream(side):
    upstream = side[0]
    upstream.calls.clear()
    upstream.failures.clear()
    yield upstream
    assert upstream.failures == [], upstream.failures


@pytest.fixture
def gateway(side):
    return side[1]


@pytest.fixture(params=[1, 2], ids=["client-h1", "client-h2"])
def client(request, gateway):
    client = Client(request.param, gateway.address)
    yield client
    client.close()


@pytest.fixture
def client2(gateway):
    client = Client(2, gateway.address)
    yield client
    client.close()


# ---------------------------------------------------------------- bodies and trailers


def test_a_large_request_arrives_whole(client, upstream):
    def answer(call):
        body, _ = call.read()
        digest = hashlib.sha256(body).hexdigest().encode()
        call.begin(200, length=len(digest))
        call.send(digest)
        call.finish()

    upstream.answer = answer
    assert client.ask("POST", "/large", body=BODY).body.decode() == hashlib.sha256(BODY).hexdigest()
    assert upstream.calls[-1].headers.get("content-length") == str(MIB)


@pytest.mark.parametrize("length", [MIB, None], ids=["with its length", "without a length"])
def test_a_large_response_arrives_whole(client, upstream, length):
    def answer(call):
        call.begin(200, [("X-One", "1")], length)
        call.send(BODY)
        call.finish()

    upstream.answer = answer
    response = client.ask("GET", "/large")
    assert (response.status, response.headers.get("x-one")) == (200, "1")
    assert response.body == BODY
    if length:
        assert response.headers.get("content-length") == str(MIB)


def test_trailers_pass_both_ways(client, upstream):
    def answer(call):
        body, trailers = call.read()
        call.begin(200)
        call.send(body)
        call.finish([("x-seen", trailers.get("x-sum")), ("x-status", "0")])

    upstream.answer = answer
    response = client.ask("POST", "/trailers", body=b"abc", trailers=[("x-sum", "42")])
    assert response.body == b"abc"
    assert list(response.trailers) == [("x-seen", "42"), ("x-status", "0")]


def test_trailers_pass_behind_a_body_of_nothing(client, upstream):
    def answer(call):
        assert call.read() == (b"", [("x-sum", "1")])
        call.begin(200)
        call.finish([("x-status", "5")])

    upstream.answer = answer
    response = client.ask("POST", "/trailers", body=b"", trailers=[("x-sum", "1")])
    assert (response.body, list(response.trailers)) == (b"", [("x-status", "5")])


def test_te_trailers_is_kept(client, upstream):
    def answer(call):
        call.begin(200, length=0)
        call.finish()

    upstream.answer = answer
    client.ask("GET", "/te", [("TE", "trailers"), ("Connection", "TE")] if client.version == 1 else [("te", "trailers")])
    client.ask("GET", "/none")
    with_te, without = (call.headers for call in upstream.calls)
    assert with_te.get("te") == "trailers"
    assert "te" not in without


# ---------------------------------------------------------------- without bodies


def test_head_has_the_length_and_no_body(client, upstream):
    def answer(call):
        call.begin(200, [("X-Method", call.method)], length=1000)
        call.finish()

    upstream.answer = answer
    response = client.ask("HEAD", "/head")
    assert (response.status, response.body) == (200, b"")
    assert response.headers.get("x-method") == "HEAD"
    assert response.headers.get("content-length") == "1000"


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_a_body_ends_with_its_head(client, upstream, status):
    def answer(call):
        call.begin(status, [("Etag", '"1"')])
        call.finish()

    upstream.answer = answer
    for _ in range(2):  # the upstream's connection stays usable
        response = client.ask("GET", "/none")
        assert (response.status, response.body, response.headers.get("etag")) == (status, b"", '"1"')


# ---------------------------------------------------------------- order


def test_an_interim_response_comes_first(client, upstream):
    def answer(call):
        call.interim(103, [("link", "</style.css>")])
        call.begin(200, length=2)
        call.send(b"ok")
        call.finish()

    upstream.answer = answer
    response = client.ask("GET", "/hints")
    assert [(status, headers.get("link")) for status, headers in response.interim] == [(103, "</style.css>")]
    assert (response.status, response.body) == (200, b"ok")


def test_a_response_before_the_end_of_the_request_arrives(client, upstream):
    def answer(call):
        # the gateway may have sent all of the body by then, and would use the connection again
        call.begin(413, [("Connection", "close")] if call.version == 1 else [], length=9)
        call.send(b"too large")
        call.finish()
        if call.version == 1:
            call.wait_broken()

    upstream.answer = answer
    response = client.ask("POST", "/early", body=BODY * 4)
    assert (response.status, response.body) == (413, b"too large")


# ---------------------------------------------------------------- the ends


def test_a_response_that_breaks_off_is_broken_off(client, upstream):
    def answer(call):
        call.begin(200, length=1000)
        call.send(b"x" * 10)
        gate.wait(wait.PATIENCE)
        call.reset()

    gate = threading.Event()
    upstream.answer = answer
    gate.set()
    with pytest.raises(Broken):
        client.ask("GET", "/broken")


def test_an_upstream_that_breaks_off_before_its_response_is_a_502(client, upstream):
    upstream.answer = lambda call: call.reset()
    response = client.ask("POST", "/broken", body=b"x")
    assert response.status == 502
    assert response.headers.get("content-type") == "application/problem+json"


def test_a_client_that_resets_its_stream_ends_the_request_upstream(client2, upstream):
    ended = threading.Event()

    def answer(call):
        call.begin(200)
        call.send(b"x")
        call.wait_broken()
        ended.set()

    upstream.answer = answer
    stream = client2.session.open(http2.request_fields(path="/reset"))
    stream.wait_body(1)
    stream.reset()
    assert ended.wait(wait.PATIENCE)
    upstream.answer = lambda call: (call.begin(204), call.finish())
    assert client2.ask("GET", "/next").status == 204


def test_a_client_of_http_1_that_leaves_ends_the_request_upstream(gateway, upstream):
    ended = threading.Event()

    def answer(call):
        call.begin(200)
        call.send(b"x")
        call.wait_broken()
        ended.set()

    upstream.answer = answer
    with gateway.connect() as wire:
        wire.send_request("GET", "/leave")
        wire.read_until(b"x\r\n")
        wire.reset()
    assert ended.wait(wait.PATIENCE)


# ---------------------------------------------------------------- many at once


def test_a_stalled_reader_stops_nobody_else(client2, gateway, upstream):
    pid = gateway.workers()[0]
    written = []

    def answer(call):
        call.begin(200)
        if call.path == "/stalled":
            for _ in range(64):
                call.send(BODY)
                written.append(MIB)
        else:
            call.send(BODY[:65536])
        call.finish()

    upstream.answer = answer
    assert client2.ask("GET", "/warm").status == 200
    before = process.resident_bytes(pid)
    stalled = client2.session.open(http2.request_fields(path="/stalled"), ends=True)
    stalled.is_stalled = True
    stalled.wait_body(65535)
    assert client2.ask("GET", "/turn").status == 200
    assert process.resident_bytes(pid) - before < HELD
    others = [client2.session.request("GET", f"/other/{n}") for n in range(99)]
    for other in others:
        assert len(other.wait_end().body) == 65536
    assert process.resident_bytes(pid) - before < BUSY
    assert len(stalled.body) == 65535
    assert sum(written) < 32 * MIB  # the upstream is held up too; the rest is in the kernel's buffers
    stalled.reset()
    upstream.answer = lambda call: (call.begin(204), call.finish())
    assert client2.ask("GET", "/next").status == 204


def test_a_stalled_writer_stops_nobody_else(client2, upstream):
    def answer(call):
        body, _ = call.read()
        call.begin(200, length=len(str(len(body))))
        call.send(str(len(body)).encode())
        call.finish()

    upstream.answer = answer
    slow = client2.session.open(http2.request_fields("POST", "/slow"), ends=False)
    slow.send(b"x")
    for n in range(99):
        assert client2.ask("POST", f"/other/{n}", body=b"y" * 1000).body == b"1000"
    slow.send(b"z", ends=True)
    assert slow.wait_end().text() == "2"


# ---------------------------------------------------------------- GOAWAY


def test_a_request_above_the_last_stream_of_a_goaway_is_sent_again():
    lost = []

    def answer(stream):
        if stream.pseudo(":path") == "/lost" and not lost:
            lost.append(stream)
            stream.session.send_frame(http2.GOAWAY, 0, 0, (1).to_bytes(4, "big") + bytes(4))
            return
        stream.send_head([(":status", "200")])
        stream.end()

    with http2.Upstream(answer) as upstream, \
            Gateway(CONFIG, values={"origin": upstream.address, "protocol": "h2c"}) as gateway:
        assert gateway.get("/first").status == 200
        assert gateway.get("/lost").status == 200
        wait.until(lambda: len(upstream.sessions) == 2, "the second session is known")


def test_streams_below_the_last_of_a_goaway_are_finished_and_new_ones_go_elsewhere():
    gate = threading.Event()

    def answer(stream):
        stream.send_head([(":status", "200")])
        if stream.pseudo(":path") == "/slow":
            stream.send(b"half")
            stream.session.send_frame(http2.GOAWAY, 0, 0, stream.number.to_bytes(4, "big") + bytes(4))
            gate.wait(wait.PATIENCE)
            stream.send(b"done")
        stream.end()

    with http2.Upstream(answer) as upstream, \
            Gateway(CONFIG, values={"origin": upstream.address, "protocol": "h2c"}) as gateway, \
            http2.connect(gateway.address) as client:
        slow = client.request("GET", "/slow").wait_body(4)
        assert client.get("/other").status == 200
        wait.until(lambda: len(upstream.sessions) == 2, "the second session is known")
        gate.set()
        assert slow.wait_end().text() == "halfdone"
        wait.until(lambda: upstream.sessions[0].is_closed, "the session that was left is closed")


def test_a_drain_says_goaway_finishes_streams_and_refuses_new_ones(launch):
    gate = threading.Event()

    def answer(stream):
        stream.send_head([(":status", "200")])
        stream.send(b"half")
        gate.wait(wait.PATIENCE)
        stream.send(b"done")
        stream.end()

    with http2.Upstream(answer) as upstream:
        gateway = launch(CONFIG, values={"origin": upstream.address, "protocol": "h2c"})
        with http2.connect(gateway.address) as client:
            slow = client.request("GET", "/slow").wait_body(4)
            gateway.signal()
            wait.until(lambda: len(client.goaways) == 2, "both GOAWAYs came")
            assert client.goaways == [(2**31 - 1, http2.NO_ERROR), (slow.number, http2.NO_ERROR)]
            late = client.request("GET", "/late")
            gate.set()
            assert slow.wait_end().text() == "halfdone"
            assert client.wait_closed() == http2.NO_ERROR
            assert late.fields is None
        gateway.stop()
