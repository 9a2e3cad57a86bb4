# SPDX-License-Identifier: MIT
"""Requests that need an HTTP/2 connection to their upstream: whatever becomes of it, those that come after are served."""

import contextlib
import socket
import ssl
import struct
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
  upstreams = { origin = { endpoints = { "$origin" }, SETTINGS } },
  routes = {
    { match = { path = "/here" }, reply = "here" },
    { match = {}, upstream = "origin" },
  },
}
"""

TLS = 'tls = { ca = "ca.pem", sni = "site.test" }, '
COUNT = 5


def answer(stream):
    stream.wait_end()
    stream.send_head([(":status", "200")])
    stream.send(b"served", ends=True)


class Gated:
    """An upstream behind TLS whose handshakes wait until `opened` lets one go on. It speaks `protocol` ("h2", "http/1.1")."""

    def __init__(self, certificate, protocol="h2"):
        self.certificate = certificate
        self.protocol = protocol
        self.opened = threading.Semaphore(0)
        self.accepted = 0
        self.sockets = []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                self.sockets.append(sock)
                self.accepted += 1
                threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        assert self.opened.acquire(timeout=wait.PATIENCE)  # pylint: disable=consider-using-with
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate.cert_file, self.certificate.key_file)
        context.set_alpn_protocols([self.protocol])
        with contextlib.suppress(OSError):
            sock = context.wrap_socket(sock, server_side=True)
            self.sockets.append(sock)
            if self.protocol == "h2":
                http2.Session(sock, False, None, answer)
            else:
                self.serve_lines(sock)

    @staticmethod
    def serve_lines(sock):
        with sock.makefile("rb") as lines:
            for line in lines:
                if line == b"\r\n":
                    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nserved")

    def open(self, count=1):
        self.opened.release(count)

    def wait_accepted(self, count):
        wait.until(lambda: self.accepted >= count, f"{count} connections were made")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.open(100)
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for sock in self.sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self.thread.join(wait.PATIENCE)


@pytest.fixture(scope="module")
def site(authority):
    return authority.issue("site.test")


@pytest.fixture
def start(authority):
    with contextlib.ExitStack() as stack:
        def start(upstream, settings):
            config = CONFIG.replace("SETTINGS", settings)
            return stack.enter_context(Gateway(config, files={"ca.pem": authority.cert}, values={"origin": upstream.address}))

        yield start


def open_streams(session, count=COUNT):
    """That many requests, all of which have reached the gateway when this returns."""
    streams = [session.open(http2.request_fields(path=f"/{i}")) for i in range(count)]
    assert session.get("/here").status == 200
    return streams


def texts(streams):
    return [(stream.wait_end().status, stream.text()) for stream in streams]


def test_who_waits_for_a_connection_that_its_client_gave_up_makes_another(start, site):
    with Gated(site) as upstream:
        gateway = start(upstream, TLS + 'protocol = "h2"')
        first = gateway.connect()
        first.send_request("GET", "/first")
        upstream.wait_accepted(1)
        with http2.connect(gateway.address) as session:
            streams = open_streams(session)
            first.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            first.sock.close()
            upstream.wait_accepted(2)
            upstream.open(2)
            assert texts(streams) == [(200, "served")] * COUNT
    assert upstream.accepted == 2


def test_requests_that_wait_for_http2_are_served_by_a_server_that_speaks_http1_now(start, site):
    with Gated(site) as upstream:
        gateway = start(upstream, TLS + "pool = { max_requests = 1 }")
        upstream.open()
        assert gateway.get("/").status == 200
        upstream.protocol = "http/1.1"
        with http2.connect(gateway.address) as session:
            streams = open_streams(session)
            upstream.open(COUNT)
            assert texts(streams) == [(200, "served")] * COUNT
    assert upstream.accepted == 1 + COUNT


def test_a_burst_is_served_by_connections_for_one_request_each(start, site):
    with Gated(site) as upstream:
        gateway = start(upstream, TLS + 'protocol = "h2", pool = { max_requests = 1 }')
        workers = gateway.workers()
        with http2.connect(gateway.address) as session:
            streams = open_streams(session)
            upstream.open(COUNT)
            assert texts(streams) == [(200, "served")] * COUNT
        assert gateway.workers() == workers
    assert upstream.accepted == COUNT


def test_a_burst_waits_for_the_only_connection_that_the_breaker_allows(start, site):
    with Gated(site) as upstream:
        gateway = start(upstream, TLS + 'protocol = "h2", breaker = { max_connections = 1 }')
        with http2.connect(gateway.address) as session:
            streams = open_streams(session)
            upstream.open(COUNT)
            assert texts(streams) == [(200, "served")] * COUNT
    assert upstream.accepted == 1


def test_a_connection_without_room_is_none_for_the_limit_of_connections(start):
    asked = threading.Semaphore(0)
    over = threading.Event()

    def answer_late(stream):
        asked.release()
        over.wait(wait.PATIENCE)
        answer(stream)

    with http2.Upstream(answer_late, values={http2.MAX_CONCURRENT_STREAMS: 1}) as upstream:
        gateway = start(upstream, 'protocol = "h2c", breaker = { max_connections = 2 }')
        with http2.connect(gateway.address) as session:
            streams = []
            for i in range(2):
                streams.append(session.open(http2.request_fields(path=f"/{i}")))
                assert asked.acquire(timeout=wait.PATIENCE)  # pylint: disable=consider-using-with
            refused = session.get("/more")
            overflows = gateway.ask_json("/upstreams")[0]["breaker"]["overflows"]
            over.set()
            assert texts(streams) == [(200, "served")] * 2
    assert refused.status == 503
    assert overflows["connections"] == 1
    assert len(upstream.sessions) == 2


class Silence:
    """Answers `/answered`; other streams of the first connection never, so that nobody could say whether it is still there."""

    def __init__(self):
        self.over = threading.Event()
        self.first = None

    def __call__(self, stream):
        self.first = self.first or stream.session
        if stream.session is self.first and stream.pseudo(":path") != "/answered":
            self.over.wait(wait.PATIENCE)
        answer(stream)


@pytest.mark.parametrize("settings", [
    'timeouts = { request = "100ms" }', 'retries = { per_try_timeout = "100ms" }, timeouts = { request = "100ms" }',
    'timeouts = { stream = "100ms" }', 'hedge = { after = "10ms" }, timeouts = { request = "100ms" }',
])
def test_a_connection_that_has_fallen_silent_gets_no_more_requests(start, settings):
    silence = Silence()
    with http2.Upstream(silence) as upstream:
        gateway = start(upstream, 'protocol = "h2c", ' + settings)
        assert gateway.get("/answered").status == 200
        assert gateway.get("/lost").status == 504
        assert gateway.get("/next").status == 200
        assert len(upstream.sessions) == 2
        silence.over.set()


def test_a_connection_that_answers_others_is_kept_when_one_request_is_too_late(start):
    silence = Silence()
    with http2.Upstream(silence) as upstream:
        gateway = start(upstream, 'protocol = "h2c", timeouts = { request = "300ms" }')
        with http2.connect(gateway.address) as session:
            late = session.open(http2.request_fields(path="/lost"))
            wait.until(lambda: upstream.sessions and len(upstream.sessions[0].streams) == 1, "the upstream has it")
            while not late.fields:
                assert session.get("/answered").status == 200
            assert late.wait_end().status == 504
            assert session.get("/answered").status == 200
        assert len(upstream.sessions) == 1
        silence.over.set()


@pytest.mark.parametrize("settings", ["", ", breaker = { max_connections = 2 }", ", breaker = { max_requests = 3, queue = {} }"])
def test_what_a_goaway_leaves_behind_shares_a_new_connection(start, settings):
    lock = threading.Lock()
    lost = []

    def leave(stream):
        with lock:
            if not lost or stream.session is lost[0].session:
                lost.append(stream)
                if len(lost) == 3:
                    stream.session.send_frame(http2.GOAWAY, payload=struct.pack(">II", 0, 0))
                return
        answer(stream)

    with http2.Upstream(leave) as upstream:
        gateway = start(upstream, 'protocol = "h2c"' + settings)
        with http2.connect(gateway.address) as session:
            streams = open_streams(session)
            assert texts(streams) == [(200, "served")] * COUNT
        assert len(upstream.sessions) == 2
