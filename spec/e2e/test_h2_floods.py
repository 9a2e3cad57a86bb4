# SPDX-License-Identifier: MIT
"""Peers of HTTP/2 that mean harm: each kind of flood ends its connection by rule, in little memory, and others are served all the while."""

import itertools
import socket
import struct
import threading

import hpack
import pytest

from support import http1, http2, process, wait
from support.gateway import Gateway

CONFIG = """
return {
  admin = "unix:$dir/admin.sock",
  access_log = "off",
  workers = 1,
  listeners = { { address = "127.0.0.1:0" } },
  upstreams = { origin = { endpoints = { "$origin" } } },
  routes = {
    { name = "fixed", match = { path = "/fixed" }, reply = "fixed" },
    { name = "all", match = {}, upstream = "origin" },
  },
}
"""

MIB = 1024 * 1024
GROWTH = (64 if wait.SANITIZED else 1) * MIB
MANY = 20000
GET = [(":method", "GET"), (":scheme", "http"), (":path", "/fixed"), (":authority", "a")]
BLOCK = http2.literal(GET)


@pytest.fixture(scope="module")
def gateway(origin):
    with Gateway(CONFIG, values={"origin": origin.address}) as gateway:
        with http2.connect(gateway.address) as client:  # what the first requests need is there
            client.get("/fixed")
        yield gateway


def streams():
    """Numbers of streams, without end."""
    number = 1
    while True:
        yield number
        number += 2


def headers(number, block=BLOCK, flags=http2.END_HEADERS | http2.END_STREAM):
    return http2.frame(http2.HEADERS, flags, number, block)


def rst(number, code=http2.CANCEL):
    return http2.frame(http2.RST_STREAM, 0, number, struct.pack(">I", code))


def window_update(number, increment):
    return http2.frame(http2.WINDOW_UPDATE, 0, number, struct.pack(">I", increment))


class Flood:
    """A client that sends what it likes and reads, or does not, in between."""

    def __init__(self, gateway, reads=True):
        family, target = http1.parse_address(gateway.address)
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.settimeout(wait.PATIENCE)
        self.sock.connect(target)
        self.got = bytearray()
        self.reads = reads
        self.is_closed = threading.Event()
        self.sock.sendall(http2.PREFACE + http2.settings({}))
        self.thread = threading.Thread(target=self.read, daemon=True)
        if reads:
            self.thread.start()

    def read(self):
        try:
            while data := self.sock.recv(65536):
                self.got += data
        except OSError:
            pass
        self.is_closed.set()

    def send(self, data):
        """False once the gateway does not take any more."""
        try:
            self.sock.sendall(data)
        except OSError:
            return False
        return not self.is_closed.is_set()

    def send_many(self, frames):
        """Sends frames, some at a time, until there are no more or the connection is closed."""
        frames = iter(frames)
        while batch := b"".join(itertools.islice(frames, 100)):
            if not self.send(batch):
                return

    def frames(self):
        """(kind, stream, payload) of everything that came."""
        at = 0
        while at + 9 <= len(self.got):
            size = int.from_bytes(self.got[at:at + 3], "big")
            yield self.got[at + 3], int.from_bytes(self.got[at + 5:at + 9], "big"), bytes(self.got[at + 9:at + 9 + size])
            at += 9 + size

    def code(self):
        """Waits for the end of the connection and returns the code of its GOAWAY."""
        if not self.reads:
            self.thread.start()
        assert self.is_closed.wait(wait.PATIENCE), "the connection was not closed"
        codes = [int.from_bytes(payload[4:8], "big") for kind, _, payload in self.frames() if kind == http2.GOAWAY]
        return codes[-1] if codes else None

    def close(self):
        self.sock.close()


class Watch:
    """Another client, asked again and again while the flood runs, and the memory of the worker."""

    def __init__(self, gateway):
        self.gateway = gateway
        self.pid = gateway.workers()[0]
        self.client = http2.connect(gateway.address)
        self.check()
        self.before = process.resident_bytes(self.pid)
        self.most = 0
        self.served = 0
        self.is_over = threading.Event()
        self.failures = []
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def check(self):
        stream = self.client.get("/fixed")
        assert stream.text() == "fixed"
        del self.client.streams[stream.number]

    def run(self):
        try:
            while True:
                self.check()
                self.served += 1
                self.most = max(self.most, process.resident_bytes(self.pid) - self.before)
                if self.is_over.is_set():
                    return
        except AssertionError as failure:
            self.failures.append(failure)

    def end(self):
        self.is_over.set()
        self.thread.join()
        self.client.close()
        assert not self.failures, self.failures
        assert self.served > 0
        assert self.most < GROWTH, f"grew by {self.most / MIB:.2f} MiB"
        assert self.gateway.workers() == [self.pid]


@pytest.fixture
def watch(gateway):
    watch = Watch(gateway)
    yield watch
    watch.end()


@pytest.fixture
def flood(gateway, watch):
    flood = Flood(gateway)
    yield flood
    flood.close()


# ---------------------------------------------------------------- streams that end too early


def test_rapid_resets_end_the_connection(flood):
    pairs = (headers(n) + rst(n) for n, _ in zip(streams(), range(MANY)))
    flood.send_many(pairs)
    assert flood.code() == http2.ENHANCE_YOUR_CALM


def test_rapid_resets_of_requests_on_their_way_upstream_end_the_connection(flood, origin):
    gate = threading.Event()
    origin.answer = lambda wire, request: gate.wait(wait.PATIENCE)
    block = http2.literal(http2.request_fields(path="/slow"))
    flood.send_many(headers(n, block) + rst(n) for n, _ in zip(streams(), range(MANY)))
    assert flood.code() == http2.ENHANCE_YOUR_CALM
    gate.set()
    assert len(origin.heads) <= 600


def post(number):
    return headers(number, http2.literal(http2.request_fields("POST", "/slow")), http2.END_HEADERS)


# What makes the proxy reset a stream itself.
PROVOCATIONS = {
    "a window that overflows": lambda n: post(n) + window_update(n, 2**31 - 1),
    "data behind the end": lambda n: headers(n, http2.literal(http2.request_fields(path="/slow"))) + http2.frame(http2.DATA, 0, n, b"x"),
    "a length that is not kept": lambda n: headers(n, http2.literal([*http2.request_fields("POST", "/slow"), ("content-length", "1")]),
                                                    http2.END_HEADERS) + http2.frame(http2.DATA, 1, n, b"xyz"),
    "a field that HTTP forbids": lambda n: headers(n, http2.literal([*GET, ("connection", "close")])),
    "a value with a line feed": lambda n: headers(n, http2.literal([*GET, ("x", "a\nb")])),
}


@pytest.mark.parametrize("provoke", PROVOCATIONS.values(), ids=PROVOCATIONS.keys())
def test_resets_that_the_proxy_is_made_to_send_end_the_connection(flood, origin, provoke):
    gate = threading.Event()
    origin.answer = lambda wire, request: gate.wait(wait.PATIENCE)
    flood.send_many(provoke(n) for n, _ in zip(streams(), range(MANY)))
    assert flood.code() in (http2.ENHANCE_YOUR_CALM, 5)  # STREAM_CLOSED, where the first one ends it
    gate.set()


def test_streams_above_the_limit_end_the_connection_also_of_a_client_that_never_acknowledges(gateway, watch, origin):
    gate = threading.Event()
    origin.answer = lambda wire, request: gate.wait(wait.PATIENCE)
    flood = Flood(gateway, reads=False)
    block = http2.literal(http2.request_fields(path="/slow"))
    flood.send_many(headers(n, block) for n, _ in zip(streams(), range(10 * MANY)))
    assert flood.code() == http2.ENHANCE_YOUR_CALM
    gate.set()
    flood.close()


# ---------------------------------------------------------------- control frames


PINGS = http2.frame(http2.PING, 0, 0, b"12345678")
FRAMES = {
    "PING": PINGS,
    "answers to PING that nobody sent": http2.frame(http2.PING, http2.ACK, 0, b"12345678"),
    "SETTINGS": http2.settings({http2.INITIAL_WINDOW_SIZE: 65535}),
    "SETTINGS of nothing": http2.settings({}),
    "frames of unknown kinds": http2.frame(0xee, 0, 0, b"x"),
    "WINDOW_UPDATE": window_update(0, 1),
    "PRIORITY": http2.frame(http2.PRIORITY, 0, 1, struct.pack(">IB", 0, 1)),
}


@pytest.mark.parametrize("reads", [True, False], ids=["that reads", "that does not read"])
@pytest.mark.parametrize("data", FRAMES.values(), ids=FRAMES.keys())
def test_too_many_control_frames_end_the_connection_of_a_client(gateway, watch, data, reads):
    flood = Flood(gateway, reads)
    flood.send_many(data for _ in range(10 * MANY))
    assert flood.code() == http2.ENHANCE_YOUR_CALM
    flood.close()


def test_window_updates_of_streams_count_too(flood):
    flood.send(post(1))
    flood.send_many(window_update(1, 1) for _ in range(MANY))
    assert flood.code() == http2.ENHANCE_YOUR_CALM


@pytest.mark.parametrize("kind", [http2.DATA, http2.CONTINUATION])
def test_empty_frames_end_the_connection(flood, kind):
    flood.send(headers(1, http2.literal(http2.request_fields("POST", "/slow")), 0 if kind == http2.CONTINUATION else http2.END_HEADERS))
    flood.send_many(http2.frame(kind, 0, 1) for _ in range(MANY))
    assert flood.code() == http2.ENHANCE_YOUR_CALM


@pytest.mark.parametrize("size", [1, 1000, 16000])
def test_a_head_that_does_not_end_ends_the_connection(flood, size):
    flood.send(headers(1, BLOCK, http2.END_STREAM))
    field = http2.literal([("x", "y" * (size - 5 if size > 5 else 0))])
    flood.send_many(http2.frame(http2.CONTINUATION, 0, 1, field) for _ in range(MANY))
    assert flood.code() is not None


# ---------------------------------------------------------------- heads that grow


def make_bomb(times):
    name = b"x" * 8
    stored = b"\x40" + bytes([len(name)]) + name + hpack.hpack.encode_integer(3900, 7) + b"v" * 3900
    return BLOCK + stored + b"\xbe" * times


def crumbs(count, size):
    return BLOCK + http2.literal([("cookie", "c" * size)] * count)


@pytest.mark.parametrize("block", [make_bomb(12000), crumbs(10000, 0)], ids=["a bomb", "crumbs"])
def test_a_head_that_is_many_times_too_large_ends_the_connection(flood, block):
    flood.send(headers(1, block[:16000], http2.END_STREAM))
    for at in range(16000, len(block), 16000):
        flood.send(http2.frame(http2.CONTINUATION, 0, 1, block[at:at + 16000]))
    assert flood.code() == http2.ENHANCE_YOUR_CALM


def test_a_table_entry_that_is_repeated_is_counted_each_time(flood):
    for n in (1, 3, 5):
        flood.send(headers(n, make_bomb(50)))  # 200 KiB each
    wait.until(lambda: {stream for kind, stream, _ in flood.frames() if kind == http2.RST_STREAM} == {1, 3, 5}, "each was reset")


@pytest.mark.parametrize("count, size", [(2000, 0), (90, 500), (99, 1)])
def test_crumbs_of_a_cookie_are_counted_before_they_are_joined(flood, count, size):
    bomb = crumbs(count, size)
    for n, _ in zip(streams(), range(20)):
        parts = [bomb[at:at + 16000] for at in range(0, len(bomb), 16000)]
        flood.send(headers(n, parts[0], http2.END_STREAM | (http2.END_HEADERS if len(parts) == 1 else 0)))
        for part in parts[1:]:
            flood.send(http2.frame(http2.CONTINUATION, http2.END_HEADERS if part is parts[-1] else 0, n, part))
    kinds = {http2.HEADERS} if count == 90 else {http2.HEADERS, http2.RST_STREAM, http2.GOAWAY}
    wait.until(lambda: sum(kind in kinds for kind, _, _ in flood.frames()) >= 20, "each was answered or refused")


def test_settings_that_change_the_table_all_the_time_end_the_connection(flood):
    change = http2.settings({1: 0}) + http2.settings({1: 4096})
    flood.send_many(change for _ in range(MANY))
    assert flood.code() == http2.ENHANCE_YOUR_CALM


# ---------------------------------------------------------------- readers that do not read


def test_responses_for_a_client_without_a_window_wait_within_bounds(gateway, watch, origin):
    origin.answer = lambda wire, request: wire.respond(200, body=b"z" * 8 * 1024)
    with http2.connect(gateway.address, {http2.INITIAL_WINDOW_SIZE: 0}) as client:
        waiting = [client.request("GET", f"/{n}").wait_head() for n in range(50)]
        assert all(not stream.body for stream in waiting)
        assert watch.most < GROWTH
